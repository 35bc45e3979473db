"""Crops: projection through any camera, padding, and validation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trg.geometry import crop, projection, rotations
from trg.geometry.camera import Camera

DISTORTED = Camera(820.0, 760.0, 250.0, 330.0, 640, 480, (0.1, -0.06, 0.003, -0.002, 0.01))
IDEAL = Camera(820.0, 760.0, 250.0, 330.0, 640, 480)
PLAIN = Camera.from_fov(50, 640, 480)


@pytest.mark.parametrize("camera", [DISTORTED, IDEAL, PLAIN])
def test_the_true_pose_projects_to_the_true_pixels(camera):
    """Labels -> correction -> Eq. 2 -> crop coordinates -> image: within 1e-3 px."""
    rng = np.random.default_rng(3)
    vertices = rng.normal(size=(1220, 3)) * (0.05, 0.07, 0.04)
    rotation = rotations.rotation_from_euler(np.array([25.0, -15.0, 8.0]))
    translation = np.array([0.16, -0.09, 0.7])
    true_px = camera.project(projection.transform(vertices, rotation, translation))
    numbers = crop.bbox_info_from_box(camera, crop.face_box(true_px))
    correction = projection.correction_from_translation(translation, numbers)
    again = projection.translation_from_correction(correction, numbers)
    rays = projection.rays_from_points(projection.transform(vertices, rotation, again))
    in_crop = projection.crop_from_rays(rays, numbers)
    assert np.abs(in_crop).max() < 1.0
    np.testing.assert_allclose(crop.pixels_from_crop(camera, in_crop, numbers), true_px, atol=1e-3)
    np.testing.assert_allclose(crop.crop_from_pixels(camera, true_px, numbers), in_crop, atol=1e-6)


def image_with_dot(camera: Camera, centre_px: np.ndarray, radius_px: float) -> np.ndarray:
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    distance = np.hypot(x - centre_px[0], y - centre_px[1])
    grey = np.clip(radius_px + 0.5 - distance, 0, 1) * 255
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("camera", [DISTORTED, IDEAL, PLAIN])
@pytest.mark.parametrize("size", [64, 192])
def test_a_dot_appears_in_the_crop_where_its_ray_says(camera, size):
    dot_px = np.array([300.3, 215.8])
    face = crop.crop_face(image_with_dot(camera, dot_px, 8.0), camera, (180, 100, 400, 330), size)
    weight = face.pixels[..., 0].astype(float)
    y, x = np.mgrid[:size, :size] + 0.5
    centroid = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    expected = crop.crop_from_pixels(camera, dot_px[None], face.bbox_info)[0]
    np.testing.assert_allclose(centroid / size * 2 - 1, expected, atol=0.05 * 2 / size)


def test_both_resamplers_agree_where_the_lens_is_ideal():
    nearly_ideal = Camera(820, 760, 250, 330, 640, 480, (1e-9, 0, 0, 0, 0))
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC))
    for box in [(200, 150, 400, 350), (-60, -40, 140, 160), (500, 300, 760, 560)]:
        slow = crop.crop_face(image, nearly_ideal, box, 96).pixels.astype(int)
        fast = crop.crop_face(image, IDEAL, box, 96).pixels.astype(int)
        inner = np.abs(slow - fast)[2:-2, 2:-2]
        assert np.median(inner) <= 1
        assert np.percentile(inner, 98) <= 12


def test_outside_the_image_the_crop_is_black_and_not_shifted():
    white = np.full((480, 640, 3), 255, dtype=np.uint8)
    face = crop.crop_face(white, PLAIN, (-100, 140, 100, 340), 100)
    assert (face.pixels[:, :48] == 0).all()
    assert (face.pixels[:, 52:] == 255).all()
    np.testing.assert_allclose(
        crop.box_from_bbox_info(PLAIN, face.bbox_info), (-100, 140, 100, 340), atol=1e-9
    )
    away = crop.crop_face(white, PLAIN, (900, 900, 1000, 1000), 10)
    assert (away.pixels == 0).all()


@given(st.floats(-100, 700), st.floats(-100, 500), st.floats(1, 500), st.floats(1, 500))
def test_any_box_becomes_the_square_around_it(x, y, width, height):
    numbers = crop.bbox_info_from_box(PLAIN, (x, y, x + width, y + height))
    square = crop.box_from_bbox_info(PLAIN, numbers)
    side = max(width, height)
    middle = np.array([x + width / 2, y + height / 2])
    expected = np.concatenate([middle - side / 2, middle + side / 2])
    np.testing.assert_allclose(square, expected, atol=1e-6)


def test_face_box_is_one_and_a_half_times_the_landmarks():
    box = crop.face_box([[10, 20], [110, 60]])
    np.testing.assert_allclose(box, (60 - 75, 40 - 75, 60 + 75, 40 + 75))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((10, 10, 10, 20), "x0 < x1"),
        ((20, 10, 10, 20), "x0 < x1"),
        ((10, 10, np.nan, 20), "finite"),
        ((10, 10, 20), r"shape \(4\)"),
        ((-1e6, -1e6, 1e6, 1e6), "16 times"),
    ],
)
def test_invalid_boxes_are_refused_with_the_reason(box, message):
    with pytest.raises(ValueError, match=message):
        crop.crop_face(np.zeros((480, 640, 3), np.uint8), PLAIN, box, 64)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((480, 640), np.uint8), "RGB"),
        (np.zeros((480, 640, 3), np.float32), "uint8"),
        (np.zeros((0, 640, 3), np.uint8), "RGB"),
        (np.zeros((100, 100, 3), np.uint8), "100x100"),
    ],
)
def test_invalid_images_are_refused_with_the_reason(image, message):
    with pytest.raises(ValueError, match=message):
        crop.crop_face(image, PLAIN, (10, 10, 50, 50), 64)
