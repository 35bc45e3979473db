"""R_0 and V_0 from the training samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from tests.support.dot_faces import TOPOLOGY, DotFaces
from tests.trglab.training.test_training import dots, train
from trg.geometry.rotations import geodesic_angle_deg, is_rotation
from trg.network.checkpoint import load_checkpoint
from trglab.datasets.view import ViewSpec
from trglab.training import initial_estimate as module
from trglab.training.config import DatasetConfig
from trglab.training.initial_estimate import initial_estimate
from trglab.training.recipes import recipe
from trglab.training.state import BEST, LAST

SPEC = ViewSpec(32, 1.6, TOPOLOGY.vertex_count)
COUNT = 6


class FewFaces(list):
    """A finite dataset, of which some samples lack the pose."""

    def __init__(self, unlabelled: tuple[int, ...] = ()) -> None:
        super().__init__(
            DotFaces(dots=(), posed=i not in unlabelled).sample(i) for i in range(COUNT)
        )


def few(unlabelled: tuple[int, ...] = ()) -> DatasetConfig:
    return DatasetConfig(f"{__name__}:FewFaces", {"unlabelled": unlabelled})


def test_the_papers_recipes_start_from_a_sample_and_others_from_the_template() -> None:
    options = {"arkitface": "a", "w300lp": "b"}
    assert recipe("paper", options).initial_estimate == "sample"
    assert recipe("paper_single/2-iter", {"arkitface": "a"}).initial_estimate == "sample"
    assert recipe("small").initial_estimate == "template"
    assert initial_estimate(recipe("small"), SPEC) is None
    with pytest.raises((ValueError, TypeCheckError), match="initial_estimate"):
        dots(initial_estimate="nobody")


def test_a_sample_is_one_of_the_training_data_and_the_seed_chooses_it() -> None:
    faces, chosen = FewFaces(), set()
    for seed in range(12):
        found = initial_estimate(
            dots(initial_estimate="sample", datasets=(few(),), seed=seed), SPEC
        )
        (index,) = (i for i, face in enumerate(faces) if np.allclose(face.rotation, found.rotation))
        np.testing.assert_array_equal(found.vertices_m, np.float32(faces[index].vertices_m))
        chosen.add(index)
        again = initial_estimate(
            dots(initial_estimate="sample", datasets=(few(),), seed=seed), SPEC
        )
        np.testing.assert_array_equal(again.rotation, found.rotation)
    assert len(chosen) > 2


def test_the_mean_is_over_all_labelled_samples() -> None:
    found = initial_estimate(dots(initial_estimate="mean", datasets=(few((1, 4)),)), SPEC)
    faces = [face for i, face in enumerate(FewFaces()) if i not in (1, 4)]
    mean_m = np.mean([face.vertices_m for face in faces], axis=0)
    np.testing.assert_allclose(found.vertices_m, mean_m, atol=1e-7)
    assert is_rotation(found.rotation.astype(np.float64))
    spread = [geodesic_angle_deg(face.rotation, found.rotation) for face in faces]
    others = [
        sum(geodesic_angle_deg(face.rotation, other.rotation) ** 2 for face in faces)
        for other in faces
    ]
    assert sum(angle**2 for angle in spread) < min(others)


def test_samples_without_labels_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEAN_SAMPLES", 4)
    unlabelled = few(tuple(range(COUNT)))
    mixed = dots(initial_estimate="sample", datasets=(unlabelled, few((0,))))
    assert initial_estimate(mixed, SPEC) is not None
    with pytest.raises(ValueError, match="expected samples with pose and vertices"):
        initial_estimate(replace(mixed, datasets=(unlabelled,)), SPEC)


def test_a_training_starts_there_and_its_checkpoints_keep_it(tmp_path: Path) -> None:
    chosen = dots(initial_estimate="sample", steps=2, holdout=None)
    expected = initial_estimate(chosen, ViewSpec(chosen.view_size, chosen.view_margin, 1220))
    train(tmp_path / "first", chosen)
    for name in (BEST, LAST):
        network = load_checkpoint(tmp_path / "first" / name).network
        assert torch.equal(network.start_vertices_m, torch.from_numpy(expected.vertices_m))
        start = network.start_rotation_6d.reshape(2, 3).T
        np.testing.assert_array_equal(start, expected.rotation[:, :2])
    # Other weights keep their own start.
    train(
        tmp_path / "second",
        dots(steps=1, holdout=None, start_from=str(tmp_path / "first" / BEST)),
    )
    second = load_checkpoint(tmp_path / "second" / LAST).network
    assert torch.equal(second.start_vertices_m, network.start_vertices_m)
    # A resumed training does not draw again.
    assert train(tmp_path / "first", chosen, resume=True).finished
