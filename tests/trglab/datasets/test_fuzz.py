"""Stores with a damaged file give every record as it was written, or an error."""

from __future__ import annotations

import pytest

from tests.support.damage import survive
from tests.support.dot_faces import TOPOLOGY
from trglab.datasets.store_writer import write_store


def encoder():
    return lambda index: {"meta.json": b'{"n": %d}' % index, "array.npy": bytes([index]) * 300}


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_files_of_a_store(count, tmp_path):
    whole = tmp_path / "whole"
    description = {
        "kind": "numbers",
        "fields": ["meta.json", "array.npy"],
        "provenance": {"seed": 1, "source": "made up"},
    }
    write_store(whole, encoder, range(12), description=description, shard_size=8, topology=TOPOLOGY)
    fates = survive("store", sorted(whole.iterdir()), tmp_path / "damaged", count, 600.0)
    assert fates["refused"] > count // 2
