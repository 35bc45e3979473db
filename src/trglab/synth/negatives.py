"""Pictures without a face: views of places, patterns, and things that are round, spotted or skin.

They teach a detector to stay silent, and measure whether it does.
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
    light_from_panorama,
    load_panoramas,
    random_orientation,
)
from trglab.synth.environment.sensor import SensorParams, simulate_sensor

FOV_DEG = (45.0, 110.0)
"""Larger field of view of a view of a panorama; narrower ones show its pixels."""

STEEP_SHARE = 0.2
FRONT_LIT_SHARE = 0.5
"""Share of views from where the brighter of two lights falls on faces."""

HELD_OUT_EVERY = 4
"""Every so many panoramas, one shows in :func:`face_free_images` only."""

GREY_SHARE, DARK_SHARE, BLURRED_SHARE = 0.06, 0.1, 0.1
"""On top of what cameras do anyway."""

_EVALUATION = 4
"""Keeps the evaluation's random stream apart from those of scenes."""


class Background(NamedTuple):
    """What is behind everything, ``(h, w, 3)`` linear, and the colour of white there, ``(3,)``."""

    rgb: FloatImage
    white_rgb: NDArray[np.float32]
    light_x: float
    """From -1 to 1: the side from which the light comes, positive for the right."""


def background_from_panorama(
    panorama: Panorama, width: int, height: int, rng: np.random.Generator
) -> Background:
    """SensorMode into a panorama with some lens, towards where faces are lit rather than not."""
    turns = [random_orientation(rng), random_orientation(rng)]
    if rng.random() < STEEP_SHARE:  # looking up to the ceiling, down to the floor, askew
        steep = rotation_from_euler(rng.uniform((0.0, -75.0, -30.0), (0.0, 75.0, 30.0)))
        turns = [steep @ turn for turn in turns]
    lights = [light_from_panorama(panorama, turn) for turn in turns]
    whites = [white_point(light) for light in lights]
    chosen = 0
    if rng.random() < FRONT_LIT_SHARE:
        chosen = int(np.argmax([white @ LUMINANCE for white in whites]))
    fov_deg = float(np.exp(rng.uniform(np.log(FOV_DEG[0]), np.log(FOV_DEG[1]))))
    focal_px = 0.5 * max(width, height) / float(np.tan(np.radians(fov_deg / 2.0)))
    camera = Camera(focal_px, focal_px, width / 2.0, height / 2.0, width, height)
    tint = random_tint(rng)
    rgb = render_panorama(panorama, camera, turns[chosen], rng)
    key = lights[chosen]
    share = float(key.key_rgb @ LUMINANCE) / max(float(whites[chosen] @ LUMINANCE), 1e-6)
    light_x = float(key.key_direction[0]) * min(share, 1.0)
    return Background(rgb * tint, whites[chosen] * tint, light_x)


def background_from_painter(width: int, height: int, rng: np.random.Generator) -> Background:
    """Paint a room or a pattern."""
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
    """Draw a view of a panorama, if there are any, or a made-up place."""
    if len(panoramas) and rng.random() < panorama_share:
        return background_from_panorama(
            panoramas[int(rng.integers(len(panoramas)))], width, height, rng
        )
    return background_from_painter(width, height, rng)


def sample_sensor(rng: np.random.Generator) -> SensorParams:
    """Draw a camera for pictures of many people: grey, dark and blurred ones more often."""
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
    """Roughen a place with noise of any scale: gravel, leaves, plaster, fur."""
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
    """Yield the evaluation's pictures without a face, ``(h, w, 3)`` uint8.

    The even ones are views of panoramas that no training scene shows (see
    :func:`split_panoramas`), the odd ones are made up. Picture i depends on (seed, size, i) alone.

    Parameters
    ----------
    size
        Width and height.
    panoramas
        The places; None: the installed ones that are kept back. Without any, all are made up.
    """
    if panoramas is None:
        folder = find_asset("panoramas")
        panoramas = [] if folder is None else split_panoramas(load_panoramas(folder))[1]
    for index in range(count):
        rng = np.random.default_rng((seed, _EVALUATION, index))
        is_view = index % 2 == 0
        place = sample_background(panoramas, *size, rng, 1.0 if is_view else 0.0)
        rgb = place.rgb
        if not is_view:
            if rng.random() < 0.3:
                rgb = add_speckle_noise(rgb, rng)
            scatter_distractors(rgb, rng, place.white_rgb, int(rng.integers(0, 8)))
        yield simulate_sensor(rgb, rng, sample_sensor(rng))


def split_panoramas(
    panoramas: Sequence[Panorama],
) -> tuple[list[Panorama], list[Panorama]]:
    """Return those for training, and those that are kept back for :func:`face_free_images`.

    Where there are fewer than :data:`HELD_OUT_EVERY`, both get all of them.
    """
    if len(panoramas) < HELD_OUT_EVERY:
        return list(panoramas), list(panoramas)
    kept_back = list(panoramas[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
    return [panorama for panorama in panoramas if panorama not in kept_back], kept_back
