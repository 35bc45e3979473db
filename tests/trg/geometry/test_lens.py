"""Lens models: published formulas, exact inverses, and folds that are told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trg.geometry.camera import Camera
from trg.geometry.lens import LensModelError, lens_of, reoriented_coefficients

FISHEYE = Camera(
    310.0, 305.5, 631.0, 487.5, 1280, 960, (-0.01, 0.02, -0.01, 0.001), lens_model="fisheye"
)
EQUIDISTANT = Camera(200.0, 200.0, 500.0, 500.0, 1000, 1000, (0.0,) * 4, lens_model="fisheye")
RATIONAL = (5.2, 3.1, 1e-3, -7e-4, 0.2, 5.5, 4.6, 0.9)
PRISM = (*RATIONAL, 1.2e-3, -3e-4, -8e-4, 2e-4)
FOLDING = (-0.5, 0.0, 0.0, 0.0, 0.0)


def naive_fisheye(camera: Camera, point) -> tuple[float, float]:
    """OpenCV's documented formula of cv::fisheye, with the angle beyond 90 degrees too."""
    k1, k2, k3, k4 = camera.distortion
    x, y, z = point
    r = math.hypot(x, y)
    theta = math.acos(z / math.sqrt(x * x + y * y + z * z))
    theta_d = theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6 + k4 * theta**8)
    return camera.fx * theta_d / r * x + camera.cx, camera.fy * theta_d / r * y + camera.cy


def naive_rational(coefficients, ray) -> tuple[float, float]:
    """OpenCV's documented formula with twelve coefficients."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = [*coefficients, *[0.0] * 4][:12]
    x, y = ray
    r2 = x**2 + y**2
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2) + s1 * r2 + s2 * r2**2,
        y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y + s3 * r2 + s4 * r2**2,
    )


DIRECTIONS = st.tuples(st.floats(0.0, 178.0), st.floats(0.0, 360.0)).map(
    lambda angles: np.array(
        [
            math.sin(math.radians(angles[0])) * math.cos(math.radians(angles[1])),
            math.sin(math.radians(angles[0])) * math.sin(math.radians(angles[1])),
            math.cos(math.radians(angles[0])),
        ]
    )
)


@given(DIRECTIONS, st.floats(0.1, 9.0))
def test_fisheye_is_the_textbook_formula_and_its_inverse_exact_beyond_90_degrees(direction, length):
    for camera in (EQUIDISTANT, FISHEYE):
        angle_deg = math.degrees(math.acos(min(1.0, direction[2])))
        if angle_deg > camera.lens.max_angle_deg - 0.5:
            continue
        pixel = camera.project(direction * length)
        if math.hypot(*direction[:2]) > 1e-9:
            np.testing.assert_allclose(pixel, naive_fisheye(camera, direction), atol=1e-6)
        again = camera.directions(pixel)
        np.testing.assert_allclose(again / np.linalg.norm(again), direction, atol=1e-9)


def test_an_equidistant_fisheye_puts_angles_at_their_arc_lengths():
    for angle in (0.3, math.pi / 2, 2.5):
        pixel = EQUIDISTANT.project([math.sin(angle), 0.0, math.cos(angle)])
        np.testing.assert_allclose(pixel, (500 + 200 * angle, 500), atol=1e-9)
    assert EQUIDISTANT.fov_deg() == pytest.approx(math.degrees(1000 / 200))
    np.testing.assert_allclose(EQUIDISTANT.project([0.0, 0.0, 2.0]), (500, 500))


def test_a_fisheye_pixel_beyond_90_degrees_has_a_direction_but_no_ray():
    pixel = [500 + 200 * 1.8, 500.0]
    assert EQUIDISTANT.directions(pixel)[2] < 0
    with pytest.raises(LensModelError, match="less than 90 degrees"):
        EQUIDISTANT.unproject(pixel)


@pytest.mark.parametrize("coefficients", [RATIONAL, PRISM])
def test_the_rational_and_thin_prism_models_are_the_textbook_formula(coefficients):
    camera = Camera(900.0, 880.0, 640.0, 360.0, 1280, 720, coefficients)
    rays = np.random.default_rng(0).uniform(-0.7, 0.7, (200, 2))
    naive = [naive_rational(coefficients, ray) for ray in rays]
    expected = np.array(naive) * (900.0, 880.0) + (640.0, 360.0)
    np.testing.assert_allclose(camera.pixels_from_rays(rays), expected, atol=1e-9)
    np.testing.assert_allclose(camera.unproject(expected), rays, atol=1e-9)


@pytest.mark.parametrize("camera", [FISHEYE, Camera(900, 880, 640, 360, 1280, 720, PRISM)])
def test_slopes_are_those_of_finite_differences(camera):
    rays, step = np.array([(0.0, 0.0), (0.3, -0.2), (0.6, 0.5)]), 1e-6
    x = (camera.pixels_from_rays(rays + (step, 0)) - camera.pixels_from_rays(rays - (step, 0)))[
        :, 0
    ]
    y = (camera.pixels_from_rays(rays + (0, step)) - camera.pixels_from_rays(rays - (0, step)))[
        :, 1
    ]
    slopes = np.stack([x, y], -1) / (2 * step)
    np.testing.assert_allclose(camera.pixels_per_ray(rays), slopes, rtol=1e-6)


def test_beyond_the_fold_nothing_is_seen_even_where_the_model_rises_again():
    lens = lens_of("brown_conrady", (-0.5, 0.1, 0.0, 0.0, 0.0))  # falls from 0.89, rises from 1.6
    fold = math.tan(math.radians(lens.max_angle_deg))
    assert 1 - 1.5 * fold**2 + 0.5 * fold**4 == pytest.approx(0.0, abs=1e-9)
    inside, outside = np.array([fold * 0.99, 0.0, 1.0]), np.array([3.0, 0.0, 1.0])
    assert np.isfinite(lens.project(inside)).all()
    assert np.isnan(lens.project(outside)).all()
    np.testing.assert_allclose(lens.unproject(lens.project(inside)), inside, atol=1e-8)


def test_the_share_of_the_picture_beyond_the_fold_is_told():
    assert Camera(900, 900, 640, 360, 1280, 720, (-0.1, 0.01, 0, 0, 0)).blind_share == 0.0
    assert Camera(900, 900, 640, 360, 1280, 720).blind_share == 0.0
    camera = Camera(700, 700, 640, 360, 1280, 720, FOLDING)
    radius_px = 700 * 2 / 3 * math.sqrt(2 / 3)  # at r = sqrt(2 / 3) the model turns back
    x, y = np.meshgrid(np.arange(1280) + 0.5 - 640, np.arange(720) + 0.5 - 360)
    assert camera.blind_share == pytest.approx((np.hypot(x, y) > radius_px).mean(), abs=0.04)
    assert camera.blind_share > 0.1


@pytest.mark.parametrize("flags", [(True, False, False), (False, True, False), (True, True, True)])
def test_lenses_turn_with_the_picture(flags):
    transpose, flip_x, flip_y = flags

    def turned(points):
        points = points[..., ::-1] if transpose else points
        return points * (-1.0 if flip_x else 1.0, -1.0 if flip_y else 1.0)

    rays = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2))
    camera = Camera(1.0, 1.0, 0.0, 0.0, 10, 10, PRISM)
    coefficients = reoriented_coefficients("brown_conrady", PRISM, *flags)
    other = Camera(1.0, 1.0, 0.0, 0.0, 10, 10, coefficients)
    np.testing.assert_allclose(
        other.pixels_from_rays(turned(rays)), turned(camera.pixels_from_rays(rays)), atol=1e-12
    )


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=12, max_size=12),
    st.sampled_from(["brown_conrady", "fisheye"]),
    st.integers(0, 2**32 - 1),
)
def test_any_coefficients_give_a_round_trip_or_nothing(numbers, model, seed):
    count = 4 if model == "fisheye" else 12
    camera = Camera(500, 500, 320, 240, 640, 480, tuple(numbers[:count]), lens_model=model)
    pixels = np.random.default_rng(seed).uniform(-100, 700, (30, 2))
    directions = camera.directions(pixels)
    is_seen = ~np.isnan(directions).any(-1)
    again = camera.project(directions[is_seen])
    np.testing.assert_allclose(again, pixels[is_seen], atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lens_model": "omni"}, "lens model"),
        ({"lens_model": "fisheye", "distortion": (0.1,) * 5}, "coefficients of the fisheye"),
        ({"distortion": (0.1,) * 6}, "0, 4, 5, 8, 12 or 14"),
        ({"distortion": (1e300,) * 5}, "coefficients up to"),
        ({"distortion": ("a",) * 5}, "numbers"),
        ({"distortion": (math.nan,) * 5}, "finite"),
        ({"distortion": None}, "distortion"),
        ({"fx": 1e300}, "numbers up to"),
        ({"fx": 1e-300}, "focal lengths from"),
        ({"fx": "wide"}, "numbers"),
        ({"fx": 10**400}, "numbers"),
        ({"width": 10**7}, "at most 1000000 px"),
        ({"width": 640.5}, "whole pixels"),
        ({"width": None}, "width"),
        ({"height": [480]}, "height"),
    ],
)
def test_hostile_cameras_are_refused_with_the_reason(values, message):
    sound = {"fx": 500, "fy": 500, "cx": 320, "cy": 240, "width": 640, "height": 480}
    with pytest.raises(ValueError, match=message):
        Camera(**{**sound, **values})
