"""The camera: projection against OpenCV's formula, its inverse, crop, resize, validation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trg.geometry.camera import Camera

LENS = (0.12, -0.08, 0.002, -0.003, 0.01)
CAMERAS = st.builds(
    Camera,
    fx=st.floats(300, 2000),
    fy=st.floats(300, 2000),
    cx=st.floats(-200, 1000),
    cy=st.floats(-200, 1000),
    width=st.just(640),
    height=st.just(480),
    distortion=st.sampled_from([(0.0,) * 5, LENS]),
)


def naive_projection(camera: Camera, point: np.ndarray) -> tuple[float, float]:
    """OpenCV's documented formula, one number at a time."""
    k1, k2, p1, p2, k3 = camera.distortion
    x, y = point[0] / point[2], point[1] / point[2]
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    x_lens = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    y_lens = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    return camera.fx * x_lens + camera.cx, camera.fy * y_lens + camera.cy


@given(CAMERAS, st.integers(0, 2**32 - 1))
def test_project_is_the_textbook_formula(camera, seed):
    points = np.random.default_rng(seed).normal(size=(5, 3)) * 0.2 + (0, 0, 1.5)
    naive = [naive_projection(camera, point) for point in points]
    # Pixels are sums of terms up to about 2000: eps times that is 5e-13.
    np.testing.assert_allclose(camera.project(points), naive, rtol=1e-12, atol=1e-11)


@given(CAMERAS, st.integers(0, 2**32 - 1))
def test_unproject_inverts_project(camera, seed):
    rays = np.random.default_rng(seed).uniform(-0.6, 0.6, size=(20, 2))
    again = camera.unproject(camera.pixels_from_rays(rays))
    np.testing.assert_allclose(again, rays, atol=1e-9)


def test_points_behind_the_camera_project_to_nan():
    camera = Camera.from_fov(60, 640, 480)
    assert np.isnan(camera.project([[0.1, 0.2, -1.0], [0.1, 0.2, 0.0]])).all()


@pytest.mark.parametrize(
    ("axis", "side"), [("horizontal", 640), ("vertical", 480), ("diagonal", 800)]
)
def test_field_of_view_round_trip(axis, side):
    camera = Camera.from_fov(70, 640, 480, axis)
    assert camera.fx == pytest.approx(side / 2 / math.tan(math.radians(35)))
    assert camera.fov_deg(axis) == pytest.approx(70)
    assert camera.source == "fov"
    assert (camera.cx, camera.cy) == (320, 240)


def test_matrix_round_trip_and_pixel_centre():
    K = [[500, 0, 319.5], [0, 510, 239.5], [0, 0, 1]]
    opencv = Camera.from_matrix(K, 640, 480, LENS[:4], pixel_centre=0.0)
    assert (opencv.cx, opencv.cy) == (320, 240)
    assert opencv.distortion == (*LENS[:4], 0.0)
    again = Camera.from_matrix(opencv.matrix, 640, 480, opencv.distortion)
    assert again == opencv


@given(CAMERAS)
def test_crop_and_resize_follow_the_pixels(camera):
    points = np.array([[0.1, -0.2, 1.0], [0.3, 0.1, 2.0]])
    pixels = camera.project(points)
    cropped = camera.crop(30, 50, 200, 100)
    np.testing.assert_allclose(cropped.project(points), pixels - (30, 50), atol=1e-11)
    half = camera.resize(320, 160)
    np.testing.assert_allclose(half.project(points), pixels * (1 / 2, 1 / 3), atol=1e-11)


@given(CAMERAS)
def test_pixels_per_ray_is_the_slope_of_the_projection(camera):
    ray, step = np.array([0.2, -0.1]), 1e-6
    slope_x = (camera.pixels_from_rays(ray + (step, 0)) - camera.pixels_from_rays(ray))[0] / step
    slope_y = (camera.pixels_from_rays(ray + (0, step)) - camera.pixels_from_rays(ray))[1] / step
    np.testing.assert_allclose(camera.pixels_per_ray(ray), (slope_x, slope_y), rtol=1e-4)


def test_pixels_beyond_the_fold_of_the_lens_model_are_refused():
    camera = Camera(500, 500, 320, 240, 640, 480, (-0.5, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="folds over"):
        camera.unproject([5000.0, 240.0])
    assert np.isnan(camera.pixels_per_ray([2.0, 0.0])).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Camera(0, 500, 1, 1, 10, 10), "positive focal"),
        (lambda: Camera(math.nan, 500, 1, 1, 10, 10), "finite"),
        (lambda: Camera(500, 500, 1, 1, 0, 10), "at least 1x1"),
        (lambda: Camera.from_matrix(np.zeros((3, 3)), 10, 10), "invertible"),
        (lambda: Camera.from_matrix(np.eye(4), 10, 10), r"shape \(3, 3\)"),
        (
            lambda: Camera.from_matrix([[500, 9, 1], [0, 500, 1], [0, 0, 1]], 10, 10),
            r"\[\[fx, 0, cx\]",
        ),
        (lambda: Camera.from_matrix(np.eye(3), 10, 10, [0.1, 0.2]), "0, 4, 5, 8, 12 or 14"),
        (lambda: Camera.from_fov(180, 10, 10), "0 < degrees < 180"),
        (lambda: Camera.from_fov(5e-324, 10, 10), "0 < degrees < 180"),
        (lambda: Camera.from_fov(60, 10, 10, "sideways"), "horizontal"),
        (lambda: Camera.from_fov(60, 10, 10).fov_deg("sideways"), "horizontal"),
    ],
)
def test_invalid_cameras_are_refused_with_the_reason(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
