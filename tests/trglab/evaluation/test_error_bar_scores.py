"""Errors that standard deviations describe, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.synthetic_topology import ellipsoid_topology
from trg.error_bars import QUANTITIES, STD_COUNT
from trg.geometry.crop import BOX_MARGIN
from trg.geometry.face_mesh import landmark_groups
from trg.geometry.rotations import rotation_from_euler, rotation_from_rotvec
from trglab.evaluation.error_bar_scores import (
    FaceArrays,
    calibration_factors,
    component_errors,
    coverage,
    mean_squares,
    standardized,
)

TOPOLOGY = ellipsoid_topology()
GROUPS = landmark_groups(TOPOLOGY)


def true_face() -> FaceArrays:
    points = np.random.default_rng(0).uniform(0.0, 100.0, (1, 68, 2))
    return FaceArrays(
        rotation_from_euler(np.array([20.0, -10.0, 5.0]))[None],
        np.array([[0.3, -0.1, 0.8]]),
        TOPOLOGY.template_m[None].astype(np.float64),
        points,
    )


def errors_of(estimated: FaceArrays) -> dict[str, np.ndarray]:
    squares = mean_squares(component_errors(estimated, true_face(), GROUPS))
    return {name: np.sqrt(squares[0, part]) for name, part in QUANTITIES.items()}


def test_rotation_errors_are_about_the_axes_of_the_head():
    true = true_face()
    turn = rotation_from_rotvec(np.radians([0.0, 3.0, 0.0]))
    errors = errors_of(true._replace(rotation=true.rotation @ turn))
    np.testing.assert_allclose(errors["rotation"], [0.0, 3.0, 0.0], atol=1e-6)
    assert errors["along"] == pytest.approx(0.0)


def test_position_errors_are_across_and_along_the_line_of_sight():
    true = true_face()
    farther = errors_of(true._replace(translation_m=1.1 * true.translation_m))
    assert farther["across"] == pytest.approx(0.0, abs=1e-9)
    assert farther["along"] == pytest.approx(np.log(1.1))
    distance_m = np.linalg.norm(true.translation_m)
    across = np.cross(true.translation_m, [0.0, 1.0, 0.0])
    across *= 0.01 * distance_m / np.linalg.norm(across)
    aside = errors_of(true._replace(translation_m=true.translation_m + across))
    # The mean square over both directions.
    assert aside["across"] == pytest.approx(0.01 / np.sqrt(2.0), rel=1e-3)
    assert aside["along"] == pytest.approx(0.0, abs=1e-4)


def test_a_head_taken_for_larger_and_farther_is_right_at_its_true_size():
    true = true_face()
    errors = errors_of(
        true._replace(translation_m=1.05 * true.translation_m, vertices_m=1.05 * true.vertices_m)
    )
    assert errors["along"] == pytest.approx(np.log(1.05))
    assert errors["along_sized"] == pytest.approx(0.0, abs=1e-9)
    assert errors["shape"].min() > 1e-3
    np.testing.assert_allclose(errors["shape_sized"], 0.0, atol=1e-9)


def test_landmark_errors_are_shares_of_the_face_box():
    true = true_face()
    errors = errors_of(true._replace(landmarks68=true.landmarks68 + 2.0))
    extent = np.ptp(true.landmarks68[0], axis=0).max()
    np.testing.assert_allclose(errors["landmarks"], 2.0 / (BOX_MARGIN * extent))


def test_calibrated_error_bars_cover_the_shares_of_a_normal_distribution():
    rng = np.random.default_rng(1)
    std = np.exp(rng.normal(-2.0, 1.0, (2000, STD_COUNT)))
    errors = [std[:, i, None] * rng.normal(size=(2000, 2)) for i in range(STD_COUNT)]
    too_small = std / 3.0
    factors = calibration_factors(standardized(errors, too_small))
    np.testing.assert_allclose(list(factors.values()), 3.0, rtol=0.04)
    for part in coverage(errors, 3.0 * too_small).values():
        assert part.within_one == pytest.approx(0.6827, abs=0.02)
        assert part.within_two == pytest.approx(0.9545, abs=0.01)
