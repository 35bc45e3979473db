"""Crops of virtual cameras: every pixel shows its ray, with any lens and anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from trg.geometry import virtual_camera
from trg.geometry.camera import Camera
from trg.geometry.lens import LensModelError
from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between, rotation_from_euler
from trg.geometry.virtual_camera import (
    VirtualCamera,
    virtual_camera_of_box,
    virtual_camera_of_landmarks,
)

PLAIN = Camera.from_fov(90.0, 640, 480)
SKEWED = Camera(420.0, 380.0, 250.0, 280.0, 640, 480)
DISTORTED = Camera(420.0, 380.0, 250.0, 280.0, 640, 480, (0.05, -0.02, 0.001, -0.002, 0.0))
FISHEYE = Camera(
    330.0, 325.0, 325.0, 236.0, 640, 480, (-0.01, 0.02, -0.01, 0.001), lens_model="fisheye"
)
EQUIDISTANT = Camera(90.0, 90.0, 320.0, 240.0, 640, 480, (0.0,) * 4, lens_model="fisheye")
FOLDING = Camera(420.0, 420.0, 320.0, 240.0, 640, 480, (-0.5, 0.0, 0.0, 0.0, 0.0))
NEARLY_IDEAL = Camera(420.0, 380.0, 250.0, 280.0, 640, 480, (1e-12, 0, 0, 0, 0))


def crop_from_virtual_camera(image, camera, box, size, roll_deg=0.0):
    virtual = virtual_camera_of_box(camera, box, roll_deg)
    if virtual is None:
        return None
    return virtual_camera.crop_from_virtual_camera(image, camera, virtual, size)


def image_of_rays(camera: Camera) -> np.ndarray:
    """Colours that tell the direction that each pixel looks in, smoothly."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = camera.unproject(np.stack([x, y], -1))
    return colours_of(rays)


def colours_of(rays):
    blue = np.full(rays.shape[:-1], 90.0)
    colours = [128 + 80 * np.sin(2 * rays[..., 0]), 128 + 80 * np.sin(2 * rays[..., 1]), blue]
    return np.rint(np.stack(colours, -1)).astype(np.uint8)


@pytest.mark.parametrize("camera", [PLAIN, SKEWED, DISTORTED, FISHEYE])
@pytest.mark.parametrize("box", [(270, 190, 370, 290), (480, 20, 620, 160), (20, 200, 300, 470)])
@pytest.mark.parametrize(("size", "roll_deg"), [(32, 0.0), (192, 0.0), (96, -130.0)])
def test_each_crop_pixel_shows_what_its_ray_meets(camera, box, size, roll_deg):
    crop = crop_from_virtual_camera(image_of_rays(camera), camera, box, size, roll_deg)
    middles = ((np.arange(size) + 0.5) / size * 2 - 1) * crop.bbox_info[2] / 2
    x, y = np.meshgrid(middles, middles)
    directions = np.stack([x, y, np.ones_like(x)], -1) @ crop.cam_from_virtual.T
    expected = colours_of(directions[..., :2] / directions[..., 2:])
    seen = crop.pixels[..., 2] >= 89  # not at the image's border
    assert seen.mean() > 0.85
    difference = np.abs(crop.pixels.astype(int) - expected)[seen]
    assert difference.mean() < 1.0
    assert difference.max() <= 6


@pytest.mark.parametrize("box", [(270, 190, 370, 290), (480, 20, 620, 160), (-90, -80, 60, 70)])
def test_rendering_by_ray_equals_the_homography_where_the_lens_is_ideal(box):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC))
    straight = crop_from_virtual_camera(image, SKEWED, box, 96)
    bent = crop_from_virtual_camera(image, NEARLY_IDEAL, box, 96)
    np.testing.assert_allclose(straight.bbox_info, bent.bbox_info, atol=1e-9)
    inner = np.abs(straight.pixels.astype(int) - bent.pixels)[2:-2, 2:-2]
    assert np.median(inner) <= 1
    assert np.percentile(inner, 97) <= 12


@pytest.mark.parametrize("camera", [DISTORTED, FISHEYE])
@pytest.mark.parametrize("box", [(290, 210, 350, 270), (270, 190, 370, 290), (60, 100, 300, 340)])
def test_interpolating_a_lens_between_fewer_points_shows_the_same(camera, box, monkeypatch):
    image, tolerance_px = image_of_rays(camera), virtual_camera.MAP_TOLERANCE
    usual = crop_from_virtual_camera(image, camera, box, 96)
    monkeypatch.setattr(virtual_camera, "MAP_TOLERANCE", 0.0)
    finest = crop_from_virtual_camera(image, camera, box, 96)
    slope = 80 * 2 * usual.bbox_info[2] / 96  # colour levels per crop pixel, at most
    difference = np.abs(usual.pixels.astype(int) - finest.pixels)[2:-2, 2:-2]
    assert difference.max() <= np.ceil(slope * tolerance_px) + 1


def test_square_boxes_keep_their_centre_and_about_their_size():
    """In the middle exactly; towards an edge between what width and height become."""
    middle = virtual_camera_of_box(PLAIN, (270, 190, 370, 290))
    np.testing.assert_allclose(middle.view_direction, (0, 0, 1), atol=1e-12)
    assert middle.side_rays == pytest.approx(100 / PLAIN.fx, rel=1e-2)
    edge = virtual_camera_of_box(PLAIN, (490, 190, 590, 290))
    cos = np.cos(np.arctan(220 / PLAIN.fx))
    np.testing.assert_allclose(edge.view_direction[:2], PLAIN.unproject((540, 240)))
    assert edge.side_rays == pytest.approx(100 / PLAIN.fx * cos**1.5, rel=2e-2)


@pytest.mark.parametrize("roll_deg", [-150.0, 30.0, 180.0])
def test_a_head_that_rolls_with_its_virtual_camera_looks_the_same(roll_deg):
    head = np.random.default_rng(0).normal(0, 0.05, (68, 3)) + (0.0, 0.0, 0.7)
    roll = rotation_from_euler(np.array([0.0, 0.0, roll_deg]))
    level = virtual_camera_of_landmarks(head)
    virtual = virtual_camera_of_landmarks(head @ roll.T, roll_deg)
    assert virtual.side_rays == pytest.approx(level.side_rays, rel=1e-3)
    np.testing.assert_allclose(
        head @ roll.T @ virtual.cam_from_virtual, head @ level.cam_from_virtual, atol=1e-3
    )


@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_landmarks_fill_two_thirds_of_the_virtual_camera_wherever_they_are(x, y):
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.04, (68, 3)) + (0, 0, 0.6)
    turn = rotation_between(OPTICAL_AXIS, (x, y, 1.0))
    virtual = virtual_camera_of_landmarks(points @ turn.T)
    straight = virtual_camera_of_landmarks(points)
    turned = points @ turn.T @ virtual.cam_from_virtual
    rays = turned[:, :2] / turned[:, 2:]
    low, high = rays.min(0), rays.max(0)
    np.testing.assert_allclose(low + high, 0, atol=1e-3)
    assert (high - low).max() * 1.5 == pytest.approx(virtual.side_rays, rel=1e-3)
    # The rotation may roll a little.
    assert virtual.side_rays == pytest.approx(straight.side_rays, rel=0.15)


def test_fine_patterns_are_averaged_and_not_aliased():
    x, y = np.meshgrid(np.arange(1920), np.arange(1080))
    checks = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, -1)
    crop = crop_from_virtual_camera(
        checks, Camera.from_fov(60, 1920, 1080), (400, 100, 1200, 900), 96
    )
    assert np.abs(crop.pixels.astype(int) - 127).max() <= 8


def test_outside_the_image_the_crop_is_black_and_not_shifted():
    white = np.full((480, 640, 3), 255, np.uint8)
    half = crop_from_virtual_camera(white, PLAIN, (-100, 140, 100, 340), 100).pixels
    assert (half[:, :40] == 0).all()
    assert (half[:, 60:] == 255).all()


@pytest.mark.parametrize(
    "box",
    [(900, 900, 1000, 1000), (-50, 0, -1, 49), (10, 10, 12, 12), (-9e6, -9e6, 9e6, 9e6)],
)
@pytest.mark.parametrize("camera", [PLAIN, DISTORTED])
def test_boxes_that_show_nothing_give_none(box, camera):
    assert crop_from_virtual_camera(np.zeros((480, 640, 3), np.uint8), camera, box, 64) is None


@given(
    st.floats(-300, 800),
    st.floats(-300, 700),
    st.floats(1, 3000),
    st.sampled_from([PLAIN, DISTORTED, FISHEYE, FOLDING]),
)
@example(0.0, 0.0, 1333.0, DISTORTED)
def test_any_box_gives_a_crop_or_none(x, y, side, camera):
    box = (x, y, x + side, y + side)
    try:
        crop = crop_from_virtual_camera(np.zeros((480, 640, 3), np.uint8), camera, box, 16)
    except LensModelError:
        centre = (x + side / 2, y + side / 2)
        assert np.isnan(camera.directions(centre)).any()
        return
    assert crop is None or (crop.pixels.shape == (16, 16, 3) and crop.bbox_info[2] > 0)


def test_virtual_cameras_that_show_nothing_give_none():
    image = np.zeros((480, 640, 3), np.uint8)
    for direction, side in [
        ((2.0, 0.0, 1.0), 0.3),
        ((0.0, 0.0, -1.0), 0.3),
        ((0.0, 0.0, 1.0), 50.0),
        ((0.0, 0.0, 1.0), 1e-3),
        ((0.0, 0.0, 1.0), 0.0),
    ]:
        assert (
            virtual_camera.crop_from_virtual_camera(
                image, PLAIN, VirtualCamera(np.array(direction), side), 64
            )
            is None
        )


def test_invalid_input_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="100x100"):
        crop_from_virtual_camera(np.zeros((100, 100, 3), np.uint8), PLAIN, (0, 0, 50, 50), 64)
    with pytest.raises(ValueError, match="finite"):
        virtual_camera_of_box(PLAIN, (0, 0, np.nan, 50))


def test_a_fisheye_crop_beyond_90_degrees_shows_what_its_rays_meet():
    x, y = np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5)
    directions = EQUIDISTANT.directions(np.stack([x, y], -1))

    def shown(unit):
        return np.rint(128 + 100 * np.nan_to_num(unit)).astype(np.uint8)

    image = shown(directions / np.linalg.norm(directions, axis=-1)[..., None])
    pixel = EQUIDISTANT.project([np.sin(1.9), 0.1, np.cos(1.9)])
    crop = crop_from_virtual_camera(image, EQUIDISTANT, (*(pixel - 20), *(pixel + 20)), 64)
    assert crop.cam_from_virtual[2, 2] < -0.2
    middles = ((np.arange(64) + 0.5) / 64 * 2 - 1) * crop.bbox_info[2] / 2
    x, y = np.meshgrid(middles, middles)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ crop.cam_from_virtual.T
    expected = shown(rays / np.linalg.norm(rays, axis=-1)[..., None])
    assert np.abs(crop.pixels.astype(int) - expected).max() <= 3


def test_a_box_that_reaches_beyond_the_fold_keeps_its_visible_part():
    fold_px = 420 * 2 / 3 * np.sqrt(2 / 3)
    box = (320 + fold_px - 60, 200, 320 + fold_px + 20, 280)
    virtual = virtual_camera_of_box(FOLDING, box)
    whole = virtual_camera_of_box(FOLDING, (320 + fold_px - 75, 200, 320 + fold_px - 5, 280))
    assert virtual.side_rays == pytest.approx(whole.side_rays, rel=0.3)
    beyond = (320 + fold_px - 20, 200, 320 + fold_px + 60, 280)
    with pytest.raises(LensModelError, match="folds over"):
        virtual_camera_of_box(FOLDING, beyond)
