"""Images without a face: views of panoramas, painted backgrounds and face-like distractors.

They are the detector's training negatives and measure its false-positive rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera
from trg.geometry.rotations import rotation_from_euler
from trglab.synth.assets import find_asset
from trglab.synth.distractors import scatter_distractors
from trglab.synth.environment.backgrounds import (
    BACKGROUND_PAINTERS,
    fractal_noise,
    paint_background,
    render_panorama,
)
from trglab.synth.environment.filters import FloatImage
from trglab.synth.environment.light import LUMINANCE, random_tint, white_point
from trglab.synth.environment.panorama import (
    Panorama,
    choose_orientation,
    load_panoramas,
    random_orientation,
)
from trglab.synth.environment.sensor import SensorParams, simulate_sensor

FOV_DEG = (45.0, 110.0)
"""Field of view along the longer side; narrower ones would show the panorama's pixels."""

STEEP_SHARE = 0.2
"""Share of views that look up, down or askew."""
FRONT_LIT_SHARE = 0.5
"""Share of views whose direction is the one of two that lights faces better."""

HELD_OUT_EVERY = 4
"""One panorama in this many is reserved for :func:`face_free_images`."""

GREY_SHARE, DARK_SHARE, BLURRED_SHARE = 0.06, 0.1, 0.1
"""In addition to what :meth:`SensorParams.sample` draws."""

_EVALUATION = 4
"""Separates the evaluation's random stream from those of scenes."""


class Background(NamedTuple):
    """A background and the light that belongs to it."""

    rgb: FloatImage
    """``(h, w, 3)``, linear."""
    white_rgb: NDArray[np.float32]
    """``(3,)``: colour of a white surface in this light."""
    light_x: float
    """From -1 to 1: side from which the light comes, positive for the right."""


def background_from_panorama(
    panorama: Panorama, width: int, height: int, rng: np.random.Generator
) -> Background:
    """Draw a view of a panorama: direction, field of view and tint."""
    orientations = [random_orientation(rng), random_orientation(rng)]
    if rng.random() < STEEP_SHARE:
        steep = rotation_from_euler(rng.uniform((0.0, -75.0, -30.0), (0.0, 75.0, 30.0)))
        orientations = [steep @ orientation for orientation in orientations]
    cam_from_world, light = choose_orientation(panorama, orientations, rng, FRONT_LIT_SHARE)
    fov_deg = float(np.exp(rng.uniform(np.log(FOV_DEG[0]), np.log(FOV_DEG[1]))))
    focal_px = 0.5 * max(width, height) / float(np.tan(np.radians(fov_deg / 2.0)))
    camera = Camera(focal_px, focal_px, width / 2.0, height / 2.0, width, height)
    tint = random_tint(rng)
    rgb = render_panorama(panorama, camera, cam_from_world, rng)
    white_rgb = white_point(light)
    key_share = float(light.key_rgb @ LUMINANCE) / max(float(white_rgb @ LUMINANCE), 1e-6)
    light_x = float(light.key_direction[0]) * min(key_share, 1.0)
    return Background(rgb * tint, white_rgb * tint, light_x)


def background_from_painter(width: int, height: int, rng: np.random.Generator) -> Background:
    """Paint a procedural background under tinted light."""
    kind = str(rng.choice(list(BACKGROUND_PAINTERS))) if rng.random() < 0.4 else None
    tint = random_tint(rng)
    rgb = paint_background(width, height, rng, kind)
    return Background(rgb * tint, tint, float(rng.uniform(-1.0, 1.0)))


def sample_background(
    panoramas: Sequence[Panorama],
    width: int,
    height: int,
    rng: np.random.Generator,
    panorama_share: float,
) -> Background:
    """Draw a view of a panorama with probability ``panorama_share``, else a painted background."""
    if len(panoramas) and rng.random() < panorama_share:
        return background_from_panorama(
            panoramas[int(rng.integers(len(panoramas)))], width, height, rng
        )
    return background_from_painter(width, height, rng)


def sample_sensor(rng: np.random.Generator) -> SensorParams:
    """Draw sensor parameters; grey, dark and blurred images are more frequent than for faces."""
    sensor = SensorParams.sample(rng)
    if sensor.mode == "infrared" or rng.random() < GREY_SHARE:
        sensor = replace(sensor, mode="grey")
    if rng.random() < DARK_SHARE:
        noise = max(sensor.noise, rng.uniform(0.01, 0.06))
        sensor = replace(sensor, exposure_stops=rng.uniform(-3.5, -1.2), noise=noise)
    if rng.random() < BLURRED_SHARE:
        sensor = replace(sensor, defocus=rng.uniform(0.002, 0.01))
    return sensor


def add_speckle_noise(rgb: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Multiply an image by noise of a random scale: gravel, leaves, plaster, fur."""
    height, width = rgb.shape[:2]
    first = int(np.exp(rng.uniform(np.log(4.0), np.log(0.4 * width))))
    grain = fractal_noise(width, height, rng, first, 3)
    return (rgb * np.exp(rng.uniform(0.3, 2.0) * grain)).astype(np.float32)


def face_free_images(
    seed: int,
    count: int = 1000,
    size: tuple[int, int] = (320, 320),
    panoramas: Sequence[Panorama] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the evaluation's images without a face, ``(h, w, 3)`` uint8.

    Images with an even index are views of panoramas that no training scene shows (see
    :func:`split_panoramas`); the others are painted. Image i depends on seed, size and i only.

    Parameters
    ----------
    size
        Width and height.
    panoramas
        Panoramas to show; None: the reserved installed ones. If there are none, all are painted.
    """
    if panoramas is None:
        folder = find_asset("panoramas")
        panoramas = [] if folder is None else split_panoramas(load_panoramas(folder))[1]
    for index in range(count):
        rng = np.random.default_rng((seed, _EVALUATION, index))
        is_view = index % 2 == 0
        background = sample_background(panoramas, *size, rng, 1.0 if is_view else 0.0)
        rgb = background.rgb
        if not is_view:
            if rng.random() < 0.3:
                rgb = add_speckle_noise(rgb, rng)
            scatter_distractors(rgb, rng, background.white_rgb, int(rng.integers(0, 8)))
        yield simulate_sensor(rgb, rng, sample_sensor(rng))


def split_panoramas(
    panoramas: Sequence[Panorama],
) -> tuple[list[Panorama], list[Panorama]]:
    """Return the panoramas for training and those reserved for :func:`face_free_images`.

    Both are all panoramas if there are fewer than :data:`HELD_OUT_EVERY`.
    """
    if len(panoramas) < HELD_OUT_EVERY:
        return list(panoramas), list(panoramas)
    held_out = list(panoramas[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
    return [panorama for panorama in panoramas if panorama not in held_out], held_out
