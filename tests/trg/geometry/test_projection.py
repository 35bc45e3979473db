"""Projection and Eq. 2, each against a naive implementation and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from trg.geometry import projection

SEEDS = st.integers(0, 2**32 - 1)


def random_rotations(seed: int, count: int = 6) -> np.ndarray:
    return Rotation.random(count, random_state=np.random.RandomState(seed)).as_matrix()


@given(SEEDS)
def test_transform_and_rays_equal_a_loop_over_points(seed):
    rng = np.random.default_rng(seed)
    points, translation = rng.normal(size=(2, 5, 3)) * 0.1, rng.normal(size=(2, 3)) + (0, 0, 2)
    rotation = random_rotations(seed, 2)
    moved = projection.transform(points, rotation, translation)
    rays = projection.rays_from_points(moved)
    for i in range(2):
        for n in range(5):
            x, y, z = rotation[i] @ points[i, n] + translation[i]
            np.testing.assert_allclose(moved[i, n], (x, y, z), atol=1e-12)
            if z > 1e-3:
                np.testing.assert_allclose(rays[i, n], (x / z, y / z), atol=1e-9)


def test_points_behind_the_camera_give_finite_rays():
    assert np.isfinite(projection.rays_from_points(np.array([[0.1, 0.1, -1.0]]))).all()


@st.composite
def boxes_and_heads(draw):
    finite = {"allow_nan": False, "allow_infinity": False}
    box = [draw(st.floats(-2, 2, **finite)) for _ in range(2)] + [draw(st.floats(0.01, 3))]
    head = [draw(st.floats(-3, 3, **finite)) for _ in range(2)] + [draw(st.floats(0.1, 10))]
    return np.array(box), np.array(head)


@given(boxes_and_heads())
def test_eq_2_and_its_inverse_are_exact(case):
    bbox_info, translation_m = case
    correction = projection.correction_from_translation(translation_m, bbox_info)
    again = projection.translation_from_correction(correction, bbox_info)
    np.testing.assert_allclose(again, translation_m, rtol=1e-9, atol=1e-9)


@given(boxes_and_heads(), st.floats(200, 5000), st.floats(-400, 400), st.floats(-400, 400))
def test_eq_2_as_the_paper_writes_it_in_pixels(case, f_px, centre_x_px, centre_y_px):
    """tau_bbox counts from the principal point, wherever in the image that lies."""
    bbox_info, translation_m = case
    s, tau_x_face, tau_y_face = projection.correction_from_translation(translation_m, bbox_info)
    b = bbox_info[2] * f_px
    box_centre_px = bbox_info[:2] * f_px + (centre_x_px, centre_y_px)
    tau_x_bbox, tau_y_bbox = box_centre_px - (centre_x_px, centre_y_px)
    naive = (
        0.2 * s / b * tau_x_bbox + 0.2 * s * tau_x_face,
        0.2 * s / b * tau_y_bbox + 0.2 * s * tau_y_face,
        0.2 * s / b * f_px,
    )
    np.testing.assert_allclose(naive, translation_m, rtol=1e-6, atol=1e-6)


@given(boxes_and_heads(), SEEDS, st.floats(0.2, 5))
def test_a_head_twice_as_large_and_twice_as_far_gives_the_same_image(case, seed, factor):
    """Only s changes, by the factor: what the image alone does not determine."""
    bbox_info, translation_m = case
    vertices = np.random.default_rng(seed).normal(size=(9, 3)) * 0.02
    rotation = random_rotations(seed, 1)[0]
    near = projection.rays_from_points(projection.transform(vertices, rotation, translation_m), 0.0)
    far = projection.rays_from_points(
        projection.transform(factor * vertices, rotation, factor * translation_m), 0.0
    )
    if (projection.transform(vertices, rotation, translation_m)[:, 2] > 0.01).all():
        np.testing.assert_allclose(far, near, atol=1e-9)
    small = projection.correction_from_translation(translation_m, bbox_info)
    large = projection.correction_from_translation(factor * translation_m, bbox_info)
    np.testing.assert_allclose(large, small * (factor, 1, 1), rtol=1e-9, atol=1e-9)


@given(SEEDS, st.floats(-180, 180))
def test_rolling_the_world_rolls_the_rays(seed, roll_deg):
    rng = np.random.default_rng(seed)
    vertices, translation = rng.normal(size=(5, 3)) * 0.1, np.array([0.2, -0.1, 1.0])
    rotation = random_rotations(seed, 1)[0]
    roll = Rotation.from_euler("z", roll_deg, degrees=True).as_matrix()
    rays = projection.rays_from_points(projection.transform(vertices, rotation, translation))
    rolled = projection.rays_from_points(
        projection.transform(vertices, roll @ rotation, roll @ translation)
    )
    np.testing.assert_allclose(rolled, rays @ roll[:2, :2].T, atol=1e-9)


@given(boxes_and_heads(), SEEDS)
def test_crop_coordinates_and_rays_are_inverse(case, seed):
    bbox_info, _ = case
    rays = np.random.default_rng(seed).normal(size=(4, 2))
    crop = projection.crop_from_rays(rays, bbox_info)
    np.testing.assert_allclose(projection.rays_from_crop(crop, bbox_info), rays, atol=1e-9)
    corners = projection.rays_from_crop(np.array([[-1.0, -1.0], [1.0, 1.0]]), bbox_info)
    np.testing.assert_allclose(corners[1] - corners[0], bbox_info[2], rtol=1e-9)


@settings(max_examples=30)
@given(SEEDS)
def test_torch_gives_the_same_results_as_numpy(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    box = np.abs(rng.normal(size=(3, 3))) + 0.1
    translation = rng.normal(size=(3, 3)) + (0, 0, 4)
    points, rotation = rng.normal(size=(3, 5, 3)), random_rotations(seed, 3)

    def everything(box, translation, points, rotation):
        rays = projection.rays_from_points(projection.transform(points, rotation, translation))
        correction = projection.correction_from_translation(translation, box)
        return [
            projection.crop_from_rays(rays, box),
            correction,
            projection.translation_from_correction(correction, box),
        ]

    arrays = (box, translation, points, rotation)
    for ours, theirs in zip(
        everything(*arrays), everything(*map(torch.from_numpy, arrays)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-8, atol=1e-8)
