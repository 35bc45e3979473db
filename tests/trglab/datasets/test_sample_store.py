"""Stores of whole samples give back everything except for JPEG."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from tests.support.made_samples import make_samples
from trglab.datasets.catalogue import DatasetFolder
from trglab.datasets.check import check_data_set
from trglab.datasets.files import UnreadableFileError
from trglab.datasets.sample_store import SampleStore, write_samples


@dataclass(frozen=True)
class Given:
    """Made-up samples as a renderer; one lacks most labels."""

    count: int

    def sample(self, index):
        sample = make_samples(self.count)[index]
        if index == 3:
            return replace(
                sample, rotation=None, translation_m=None, vertices_m=None, landmarks68_visible=None
            )
        return sample


def test_samples_are_read_back(tmp_path):
    write_samples(tmp_path / "s", partial(Given, 5), range(5), provenance={"seed": 0})
    store = SampleStore(tmp_path / "s")
    assert len(store) == 5
    for index in range(5):
        given, got = Given(5).sample(index), store[index]
        for name in ("box_xyxy", "rotation", "translation_m", "vertices_m", "landmarks68_px",
                     "landmarks68_visible"):  # fmt: skip
            np.testing.assert_array_equal(getattr(got, name), getattr(given, name))
        assert (got.camera, got.identity, got.name) == (given.camera, given.identity, given.name)
        assert np.abs(got.image.astype(int) - given.image).mean() < 2
    assert check_data_set(DatasetFolder("packed", str(tmp_path / "s"))).is_valid


def test_damaged_samples_are_named(tmp_path):
    write_samples(tmp_path, partial(Given, 2), range(2))
    shard = tmp_path / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    content[2000:3000] = bytes(1000)
    shard.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"shard-000000\.tar: record 0"):
        SampleStore(tmp_path)[0]
    assert SampleStore(tmp_path)[1].name == "made/1"
