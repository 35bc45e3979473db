"""The synthetic stand-in: three parts without common people, the far one at larger distances."""

from __future__ import annotations

import numpy as np
import pytest

from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.export.synthetic_data_sets import SyntheticDataSetSizes, write_synthetic_data_sets

SIZE = SyntheticDataSetSizes(train=1, test=1, biwi=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stand-in")
    return folder, write_synthetic_data_sets(folder, SIZE)


def test_parts_are_read_by_their_readers(written):
    _, parts = written
    train, test = (ARKitFace(parts.arkitface, split) for split in ("train", "test"))
    biwi = BIWI(parts.biwi)
    assert (len(train), len(test), len(biwi)) == (1, 1, 1)
    assert 0.3 <= train[0].translation_m[2] <= 0.9
    assert biwi[0].translation_m[2] > 0.75
    # Other people: their neutral faces differ by more than expressions and rounding.
    assert np.abs(train[0].vertices_m - test[0].vertices_m).mean() > 1e-3


def test_a_finished_stand_in_is_not_written_again(written):
    folder, parts = written
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    told = []
    again = write_synthetic_data_sets(
        folder, SIZE, on_part=lambda part, count: lambda n: told.append(n)
    )
    assert again == parts
    assert told == [1, 1, 1]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    with pytest.raises(ValueError, match="begun with"):
        write_synthetic_data_sets(folder, SyntheticDataSetSizes(train=2, test=1, biwi=1))
