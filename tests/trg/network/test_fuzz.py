"""Damaged bundles and checkpoints are read as they were, or refused with the file's name."""

from __future__ import annotations

import pytest

from tests.support.constant_bundle import write_constant_bundle
from tests.support.damage import survive
from tests.support.network_cases import seeded_network, tiny_config
from tests.support.synthetic_topology import ellipsoid_topology
from trg.network.checkpoint import save_checkpoint


def write_seed(kind, folder):
    folder.mkdir()
    if kind == "bundle":
        path = folder / "model.trg"
        write_constant_bundle(path, ellipsoid_topology(), (0.0, 0.0, 1.0))
    else:
        path = folder / "network.pt"
        save_checkpoint(path, seeded_network(tiny_config(), ellipsoid_topology()))
    return [path]


@pytest.mark.parametrize("kind", ["bundle", "checkpoint"])
@pytest.mark.parametrize("count", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_files_of_each_kind(kind, count, tmp_path):
    seeds = write_seed(kind, tmp_path / "whole")
    fates = survive(kind, seeds, tmp_path / "damaged", count, 600.0)
    assert fates["refused"] > count // 3
