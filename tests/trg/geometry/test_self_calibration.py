"""Focal length from many views of one made-up face."""

from __future__ import annotations

import numpy as np
import pytest

from trg.geometry.rotations import rotation_from_euler
from trg.geometry.self_calibration import LANDMARK_STD, FaceViews, fit_focal
from trg.geometry.shape_basis import bundled_shape_basis

POINTS = np.arange(0, 1220, 18)
ASSUMED_PX, SIZE_PX = 700.0, (1280, 720)


def views(focal_px, *, count=16, distance_m=0.5, noise=0.0, yaw_deg=25.0, seed=0):
    """Views of one person with changing expressions; poses as a wrong camera would tell them."""
    rng = np.random.default_rng(seed)
    basis = bundled_shape_basis()
    identity = rng.standard_normal(len(basis.identity_m))
    rotation = np.array(
        [rotation_from_euler(rng.normal(0.0, (yaw_deg, 12.0, 8.0))) for _ in range(count)]
    )
    depth_m = distance_m * np.exp(rng.normal(0.0, 0.15, count))
    ray = rng.normal(0.0, 0.08, (count, 2))
    landmarks_px = np.empty((count, len(POINTS), 2))
    for index in range(count):
        weights = rng.uniform(0.0, 0.3, len(basis.expressions_m)) * (rng.random(52) < 0.15)
        shape = basis.vertices_m(identity, weights)[POINTS]
        points = shape @ rotation[index].T + np.append(ray[index], 1.0) * depth_m[index]
        landmarks_px[index] = focal_px * points[:, :2] / points[:, 2:]
    size = np.sqrt(np.ptp(landmarks_px, axis=1).prod(1))
    landmarks_px += rng.standard_normal(landmarks_px.shape) * noise * size[:, None, None]
    seen_ray = ray * focal_px / ASSUMED_PX
    translation_m = np.column_stack([seen_ray, np.ones(count)]) * depth_m[:, None]
    translation_m *= ASSUMED_PX / focal_px
    std_px = np.repeat(LANDMARK_STD * size[:, None], len(POINTS), 1)
    return FaceViews(landmarks_px, std_px, rotation, translation_m, ASSUMED_PX)


@pytest.mark.parametrize("focal_px", [500.0, 700.0, 1000.0])
def test_a_varied_clip_gives_the_focal_length_whatever_was_assumed(focal_px):
    fit = fit_focal(views(focal_px, noise=0.005), bundled_shape_basis(), POINTS)
    assert fit.focal_px == pytest.approx(focal_px, rel=0.05)
    assert np.abs(fit.residuals).mean() < 3.0


def test_the_standard_deviation_grows_with_distance_and_shrinks_with_turns_and_views():
    basis = bundled_shape_basis()

    def deviation(**changes):
        return fit_focal(views(800.0, noise=0.01, **changes), basis, POINTS).log_focal_std

    usual = deviation()
    assert deviation(distance_m=1.2) > 1.5 * usual
    assert deviation(yaw_deg=2.0) > 1.1 * usual
    assert deviation(count=6) > 1.3 * usual


def test_a_strong_prior_keeps_the_assumed_focal_length():
    fit = fit_focal(views(1000.0), bundled_shape_basis(), POINTS, log_std=1e-4)
    assert fit.focal_px == pytest.approx(ASSUMED_PX, rel=1e-3)
    assert fit.log_focal_std == pytest.approx(1e-4, rel=0.01)


def test_landmarks_far_off_count_little():
    given = views(900.0, noise=0.003)
    landmarks_px = given.landmarks_px.copy()
    landmarks_px[::3, 5] += 80.0
    fit = fit_focal(given._replace(landmarks_px=landmarks_px), bundled_shape_basis(), POINTS)
    assert fit.focal_px == pytest.approx(900.0, rel=0.06)
