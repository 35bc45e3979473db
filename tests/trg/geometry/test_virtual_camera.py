"""Crops of turned cameras: things land where their rays say, with any lens, anywhere alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from trg.geometry import virtual_camera as facing
from trg.geometry.camera import Camera
from trg.geometry.virtual_camera import (
    facing_rotation,
    virtual_camera_of_box,
    virtual_camera_of_landmarks,
)

PLAIN = Camera.from_fov(90.0, 640, 480)
SKEWED = Camera(420.0, 380.0, 250.0, 280.0, 640, 480)
BENT = Camera(420.0, 380.0, 250.0, 280.0, 640, 480, (0.05, -0.02, 0.001, -0.002, 0.0))
STRAIGHT = Camera(420.0, 380.0, 250.0, 280.0, 640, 480, (1e-12, 0, 0, 0, 0))


def crop_from_virtual_camera(image, camera, box, size):
    view = virtual_camera_of_box(camera, box)
    return None if view is None else facing.crop_from_virtual_camera(image, camera, view, size)


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 3))
def test_the_turn_is_the_smallest_that_faces_a_direction(x, y, z):
    direction = np.array([x, y, z]) / np.linalg.norm([x, y, z])
    turn = facing_rotation((x, y, z))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turn @ (0, 0, 1), direction, atol=1e-12)
    angle = np.linalg.norm(Rotation.from_matrix(turn).as_rotvec())
    assert angle == pytest.approx(np.arccos(direction[2]), abs=1e-6)


def picture_of_rays(camera: Camera) -> np.ndarray:
    """Colours that tell the direction that each pixel looks in, smoothly."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = camera.unproject(np.stack([x, y], -1))
    return colours_of(rays)


def colours_of(rays):
    blue = np.full(rays.shape[:-1], 90.0)
    colours = [128 + 80 * np.sin(2 * rays[..., 0]), 128 + 80 * np.sin(2 * rays[..., 1]), blue]
    return np.rint(np.stack(colours, -1)).astype(np.uint8)


@pytest.mark.parametrize("camera", [PLAIN, SKEWED, BENT])
@pytest.mark.parametrize("box", [(270, 190, 370, 290), (480, 20, 620, 160), (20, 200, 300, 470)])
@pytest.mark.parametrize("size", [32, 192])
def test_each_crop_pixel_shows_what_its_ray_meets(camera, box, size):
    crop = crop_from_virtual_camera(picture_of_rays(camera), camera, box, size)
    middles = ((np.arange(size) + 0.5) / size * 2 - 1) * crop.bbox_info[2] / 2
    x, y = np.meshgrid(middles, middles)
    directions = np.stack([x, y, np.ones_like(x)], -1) @ crop.cam_from_virtual.T
    expected = colours_of(directions[..., :2] / directions[..., 2:])
    seen = crop.pixels[..., 2] >= 89  # not at the picture's border
    assert seen.mean() > 0.9
    difference = np.abs(crop.pixels.astype(int) - expected)[seen]
    assert difference.mean() < 1.0
    assert difference.max() <= 6


@pytest.mark.parametrize("box", [(270, 190, 370, 290), (480, 20, 620, 160), (-90, -80, 60, 70)])
def test_bent_and_straight_lenses_take_two_ways_to_one_crop(box):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC))
    straight = crop_from_virtual_camera(image, SKEWED, box, 96)
    bent = crop_from_virtual_camera(image, STRAIGHT, box, 96)
    np.testing.assert_allclose(straight.bbox_info, bent.bbox_info, atol=1e-9)
    inner = np.abs(straight.pixels.astype(int) - bent.pixels)[2:-2, 2:-2]
    assert np.median(inner) <= 1
    assert np.percentile(inner, 97) <= 12


def test_square_boxes_keep_their_middle_and_about_their_size():
    """In the middle exactly; towards an edge between what width and height become."""
    middle = virtual_camera_of_box(PLAIN, (270, 190, 370, 290))
    np.testing.assert_allclose(middle.sight, (0, 0, 1), atol=1e-12)
    assert middle.side == pytest.approx(100 / PLAIN.fx, rel=1e-2)
    edge = virtual_camera_of_box(PLAIN, (490, 190, 590, 290))
    cos = np.cos(np.arctan(220 / PLAIN.fx))
    np.testing.assert_allclose(edge.sight[:2], PLAIN.unproject((540, 240)))
    assert edge.side == pytest.approx(100 / PLAIN.fx * cos**1.5, rel=2e-2)


@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_landmarks_fill_two_thirds_of_their_view_wherever_they_are(x, y):
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.04, (68, 3)) + (0, 0, 0.6)
    turn = facing_rotation((x, y, 1.0))
    view = virtual_camera_of_landmarks(points @ turn.T)
    straight = virtual_camera_of_landmarks(points)
    turned = points @ turn.T @ facing_rotation(view.sight)
    rays = turned[:, :2] / turned[:, 2:]
    low, high = rays.min(0), rays.max(0)
    np.testing.assert_allclose(low + high, 0, atol=1e-3)
    assert (high - low).max() * 1.5 == pytest.approx(view.side, rel=1e-3)
    assert view.side == pytest.approx(straight.side, rel=0.15)  # the turn may roll a little


def test_fine_patterns_become_grey_and_not_coarse():
    x, y = np.meshgrid(np.arange(1920), np.arange(1080))
    checks = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, -1)
    crop = crop_from_virtual_camera(
        checks, Camera.from_fov(60, 1920, 1080), (400, 100, 1200, 900), 96
    )
    assert np.abs(crop.pixels.astype(int) - 127).max() <= 8


def test_what_sticks_out_is_black_and_nothing_is_shifted():
    white = np.full((480, 640, 3), 255, np.uint8)
    half = crop_from_virtual_camera(white, PLAIN, (-100, 140, 100, 340), 100).pixels
    assert (half[:, :40] == 0).all()
    assert (half[:, 60:] == 255).all()


@pytest.mark.parametrize(
    "box",
    [(900, 900, 1000, 1000), (-50, 0, -1, 49), (10, 10, 12, 12), (-9e6, -9e6, 9e6, 9e6)],
)
@pytest.mark.parametrize("camera", [PLAIN, BENT])
def test_boxes_that_show_nothing_give_none(box, camera):
    assert crop_from_virtual_camera(np.zeros((480, 640, 3), np.uint8), camera, box, 64) is None


@given(
    st.floats(-300, 800), st.floats(-300, 700), st.floats(1, 3000), st.sampled_from([PLAIN, BENT])
)
def test_any_box_gives_a_crop_or_none(x, y, side, camera):
    crop = crop_from_virtual_camera(
        np.zeros((480, 640, 3), np.uint8), camera, (x, y, x + side, y + side), 16
    )
    assert crop is None or (crop.pixels.shape == (16, 16, 3) and crop.bbox_info[2] > 0)


def test_views_that_show_nothing_give_none():
    image = np.zeros((480, 640, 3), np.uint8)
    for sight, side in [
        ((2.0, 0.0, 1.0), 0.3),
        ((0.0, 0.0, -1.0), 0.3),
        ((0.0, 0.0, 1.0), 50.0),
        ((0.0, 0.0, 1.0), 1e-3),
        ((0.0, 0.0, 1.0), 0.0),
    ]:
        assert (
            facing.crop_from_virtual_camera(image, PLAIN, facing.View(np.array(sight), side), 64)
            is None
        )


def test_bad_input_says_what_is_wrong():
    with pytest.raises(ValueError, match="100x100"):
        crop_from_virtual_camera(np.zeros((100, 100, 3), np.uint8), PLAIN, (0, 0, 50, 50), 64)
    with pytest.raises(ValueError, match="finite"):
        virtual_camera_of_box(PLAIN, (0, 0, np.nan, 50))
