"""Targets, losses and size of the detector's network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trg.inference.detector import STRIDE, UNIT_SIDE_PX
from trg.network.cost import multiply_adds, parameter_count
from trglab.detector.network import (
    ARCHITECTURES,
    FULL_SIDE_PX,
    MIN_WEIGHT,
    DetectionTargets,
    DetectorNetwork,
    DetectorOutput,
    detection_losses,
    detection_targets,
)

NO_BOXES = np.zeros((0, 4))


def one_face(centre: tuple[float, float], side: float) -> tuple[np.ndarray, np.ndarray]:
    middle = np.array(centre)
    box = np.concatenate([middle - side / 2, middle + side / 2])
    return box[None], (middle + side * np.linspace(-0.3, 0.3, 10).reshape(5, 2))[None]


def targets_for(boxes, points, ignore=NO_BOXES, size=(96, 128)) -> DetectionTargets:
    return detection_targets(size, boxes, points, ignore)


@pytest.mark.parametrize(
    ("centre", "side"), [((50.0, 41.0), 16.0), ((3.0, 90.0), 40.0), ((64.0, 48.0), 170.0)]
)
def test_targets_encode_the_face_in_every_regression_cell(centre, side) -> None:
    boxes, points = one_face(centre, side)
    targets = targets_for(boxes, points)
    row, column = np.unravel_index(targets.heat.argmax(), targets.heat.shape)
    assert (column, row) == (centre[0] // STRIDE, centre[1] // STRIDE)
    assert (targets.heat == 1.0).sum() == 1
    face_weight = np.clip(side / FULL_SIDE_PX, MIN_WEIGHT, 1.0)
    assert targets.weight[row, column] == pytest.approx(face_weight)
    assert (np.delete(targets.weight.ravel(), targets.heat.argmax()) == 1.0).all()
    cells = np.argwhere(targets.faces_weight[..., 0] > 0)
    assert len(cells) >= 1
    np.testing.assert_allclose(targets.faces_weight.sum((0, 1)), face_weight, rtol=1e-5)
    for row, column in cells:
        cell = (np.array([column, row]) + 0.5) * STRIDE
        numbers = targets.faces[row, column].astype(float)
        decoded = UNIT_SIDE_PX * np.exp(numbers[2])
        assert decoded == pytest.approx(side, rel=1e-5)
        np.testing.assert_allclose(cell + decoded * numbers[:2], centre, atol=1e-3)
        np.testing.assert_allclose(cell + decoded * numbers[3:].reshape(5, 2), points[0], atol=1e-3)


def test_small_outside_and_unlabelled_faces_are_ignored() -> None:
    small, points = one_face((20.0, 20.0), 9.0)
    targets = targets_for(small, points)
    assert targets.heat.max() == 0.0
    assert targets.weight[2, 2] == 0.0
    outside, points = one_face((-4.0, 40.0), 40.0)
    targets = targets_for(outside, points)
    assert targets.heat.max() == 0.0
    assert targets.weight[5, 0] == 0.0
    assert targets.weight[5, 8] == 1.0
    box, points = one_face((64.0, 48.0), 24.0)
    targets = targets_for(box, points, np.array([[0.0, 0.0, 128.0, 96.0]]))
    assert targets.heat.max() == 1.0
    assert targets.weight[6, 8] == pytest.approx(24.0 / FULL_SIDE_PX)
    assert targets.weight[0, 0] == 0.0


def test_an_unknown_point_has_no_weight() -> None:
    box, points = one_face((64.0, 48.0), 32.0)
    points[0, 2] = np.nan
    targets = targets_for(box, points)
    assert np.isfinite(targets.faces).all()
    np.testing.assert_array_equal(targets.faces_weight[..., 7:9], 0.0)
    assert targets.faces_weight[..., 0].sum() == pytest.approx(32.0 / FULL_SIDE_PX)


def as_batch(targets: DetectionTargets) -> DetectionTargets:
    return DetectionTargets(*(torch.from_numpy(array)[None] for array in targets))


def test_losses_equal_a_loop_over_cells() -> None:
    rng = np.random.default_rng(0)
    boxes = np.vstack([one_face((30.0, 30.0), 30.0)[0], one_face((90.0, 60.0), 60.0)[0]])
    points = np.vstack([one_face((30.0, 30.0), 30.0)[1], one_face((90.0, 60.0), 60.0)[1]])
    targets = targets_for(boxes, points, np.array([[100.0, 0.0, 128.0, 20.0]]))
    logits = rng.normal(0, 1.5, targets.heat.shape).astype(np.float32)
    faces = rng.normal(0, 1, targets.faces.shape).astype(np.float32)
    got = detection_losses(
        DetectorOutput(torch.from_numpy(logits)[None], torch.from_numpy(faces)[None]),
        as_batch(targets),
    )
    heat = box = point = 0.0
    for cell in np.ndindex(targets.heat.shape):
        share = 1.0 / (1.0 + np.exp(-float(logits[cell])))
        if targets.heat[cell] == 1.0:
            heat -= targets.weight[cell] * (1.0 - share) ** 2 * np.log(share)
        else:
            heat -= (
                targets.weight[cell]
                * (1.0 - targets.heat[cell]) ** 4
                * share**2
                * np.log(1.0 - share)
            )
        error = np.abs(faces[cell] - targets.faces[cell]) * targets.faces_weight[cell]
        box, point = box + 4.0 * error[:3].sum(), point + 4.0 * error[3:].sum() / 5.0
    np.testing.assert_allclose(
        [got.heat, got.box, got.points], np.array([heat, box, point]) / 2, rtol=1e-4
    )
    assert got.total == pytest.approx(float(got.heat + got.box + got.points), rel=1e-6)


def test_a_perfect_prediction_has_no_loss_and_a_negative_is_accepted() -> None:
    targets = as_batch(targets_for(*one_face((64.0, 48.0), 32.0)))
    logits = torch.where(targets.heat == 1.0, 20.0, -20.0)
    assert detection_losses(DetectorOutput(logits, targets.faces), targets).total < 1e-4
    negative = as_batch(targets_for(NO_BOXES, np.zeros((0, 5, 2))))
    zeros = torch.zeros_like(negative.heat)
    losses = detection_losses(DetectorOutput(zeros, negative.faces), negative)
    assert float(losses.heat) == pytest.approx(zeros.numel() * 0.25 * np.log(2), rel=1e-5)
    assert losses.box == losses.points == 0.0


@pytest.mark.parametrize(
    ("architecture", "parameters", "operations"),
    [("dense", 480_000, 290e6), ("separable", 216_000, 78e6)],
)
def test_the_network_stays_in_its_budget(architecture, parameters, operations) -> None:
    network = DetectorNetwork(ARCHITECTURES[architecture])
    assert parameter_count(network) <= parameters
    image = torch.zeros(1, 256, 320, 3, dtype=torch.uint8)
    assert multiply_adds(network, image) <= operations
    output = network.eval()(torch.zeros(2, 64, 96, 3, dtype=torch.uint8))
    assert output.logits.shape == (2, 8, 12)
    assert output.faces.shape == (2, 8, 12, 13)
