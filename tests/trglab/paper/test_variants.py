"""The compared networks, and the training data of the img2pose-style baseline."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.dot_faces import TOPOLOGY, DotFaces, MeshedDots
from tests.support.made_samples import make_samples, write
from tests.support.network_cases import seeded_network, tiny_config
from trg.network.checkpoint import Checkpoint
from trg.network.export import ExportedForward
from trglab.datasets.view import ViewSpec, make_view
from trglab.datasets.view_store import ViewStoreSettings, write_views
from trglab.paper.img2pose import (
    LOCAL_BBOX_INFO,
    LocalPoseDataset,
    local_config,
    local_view,
)
from trglab.paper.tables_1_to_4 import TABLES
from trglab.paper.variants import CheckpointNetwork, variant_configs, variant_recipe
from trglab.training.config import DatasetConfig
from trglab.training.data import open_dataset
from trglab.training.recipes import ARKITFACE, recipe, stored_dataset, tiny

SPEC = ViewSpec(48, 1.6, TOPOLOGY.vertex_count)


def test_every_row_of_every_table_has_its_network_and_its_printed_row():
    known = variant_configs(tiny().model)
    for plan in TABLES.values():
        names = [line.name for line in plan.rows]
        assert len(set(names)) == len(names)
        printed = set(plan.published)
        for line in plan.rows:
            assert line.network in known
            assert not line.published or line.published in printed
        for values in plan.published.values():
            assert set(values) <= {column.key for column in plan.columns}
    counts = {number: len(plan.published) for number, plan in TABLES.items()}
    assert counts == {"1": 8, "2": 11, "3": 7, "4": 30}


def test_variants_differ_only_in_the_network():
    base = recipe("small", {"pack": "a", "holdout_pack": "b"})
    full = variant_recipe(base, "full")
    assert full.model == base.model
    assert full.holdout is None
    for name, model in variant_configs(base.model).items():
        other = variant_recipe(base, name)
        changed = {
            key for key, value in other.to_dict().items() if value != full.to_dict()[key]
        } - {"name"}
        assert other.model == model
        assert changed <= ({"model", "datasets"} if name == "local" else {"model"})
    with pytest.raises(ValueError, match="variant: expected one of"):
        variant_recipe(base, "fuller")


def test_a_checkpoint_network_equals_the_exported_forward_pass():
    network = seeded_network(tiny_config(), TOPOLOGY)
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    boxes = np.float32([[0.1, 0.0, 0.3]] * 3)
    found = CheckpointNetwork(Checkpoint(network, {"step": 5}), "name")
    assert (found.step, found.crop_size, found.card.name) == (5, 32, "name")
    import torch

    with torch.inference_mode():
        expected = ExportedForward(network.eval())(torch.from_numpy(crops), torch.from_numpy(boxes))
    for got, tensor in zip(found(crops, boxes)[: len(expected)], expected, strict=True):
        np.testing.assert_array_equal(got, tensor.numpy())


def same(views, others) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(views, others, strict=True))


def test_local_poses_of_an_infinite_dataset():
    faces = LocalPoseDataset("tests.support.dot_faces:DotFaces", {"seed": 3})
    assert same(faces.view(5, SPEC), local_view(make_view(DotFaces(seed=3), 5, SPEC)))
    assert faces.topology is None
    sample = faces.sample(2)
    assert sample.camera.fx == pytest.approx(192 / (1.6 * LOCAL_BBOX_INFO[2]))


def test_local_poses_of_a_view_store(tmp_path):
    settings = ViewStoreSettings(SPEC.size, image_format="raw")
    write_views(tmp_path / "pack", MeshedDots, settings, indices=range(6))
    config = local_config(stored_dataset(str(tmp_path / "pack")))
    assert (config.buffer_size, config.reuse) == (1, 1)
    faces = open_dataset(config)
    np.testing.assert_array_equal(faces.topology.triangles, TOPOLOGY.triangles)
    depths = [float(faces.view(index, SPEC).image.astype(int).sum()) for index in range(6)]
    assert len(set(depths)) == 6
    assert same(faces.view(4, SPEC), LocalPoseDataset(**config.options).view(4, SPEC))
    assert faces.sample(0).image.shape == (48, 48, 3)
    with pytest.raises(ValueError, match="expected views of"):
        faces.view(0, ViewSpec(64, 1.6, TOPOLOGY.vertex_count))


def test_local_poses_of_a_finite_dataset(tmp_path):
    write(make_samples(3), tmp_path / "set", "arkitface", split="train")
    config = local_config(DatasetConfig(ARKITFACE, {"folder": str(tmp_path / "set")}, reuse=4))
    assert config.reuse == 4
    faces = open_dataset(config)
    assert faces.topology.vertex_count == TOPOLOGY.vertex_count
    np.testing.assert_array_equal(faces.view(1, SPEC).face_bbox_info, np.float32(LOCAL_BBOX_INFO))
