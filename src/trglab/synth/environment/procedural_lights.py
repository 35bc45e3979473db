"""Procedural lighting setups: studio, window, flash, screen, sun, infrared and others.

Each setup places disc-shaped sources around the head in front of a gradient. The strongest source
becomes the key light; everything else goes into the spherical harmonics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trglab.synth.environment.light import (
    ENVIRONMENT_MAP_SHAPE,
    LUMINANCE,
    Light,
    project_irradiance,
    sphere_grid,
)

Rgb = NDArray[np.floating]

_MIN_PAINTED_RADIUS_RAD = np.radians(7.0)
"""Smaller sources are enlarged with constant flux: the map has pixels of 5.6 degrees."""


@dataclass(frozen=True, slots=True)
class Source:
    """A disc-shaped light source at infinity.

    Attributes
    ----------
    azimuth_deg
        Direction as seen from the head: 0 behind the camera, 90 to the image's right, 180 behind
        the head.
    elevation_deg
        Above the horizon.
    radius_deg
        Angular radius, at most 90.
    rgb
        ``(3,)``: radiance of a white surface that faces it.
    """

    azimuth_deg: float
    elevation_deg: float
    radius_deg: float
    rgb: Rgb

    @property
    def direction(self) -> NDArray[np.float32]:
        """Unit vector ``(3,)`` from the head to the source, camera frame."""
        azimuth, elevation = np.radians([self.azimuth_deg, self.elevation_deg])
        level = np.cos(elevation)
        return np.array(
            [level * np.sin(azimuth), -np.sin(elevation), -level * np.cos(azimuth)],
            dtype=np.float32,
        )


@dataclass(frozen=True, slots=True)
class Ambient:
    """Radiance ``(3,)`` from above, from the horizon and from below, blended smoothly."""

    above: Rgb
    level: Rgb
    below: Rgb


def light_from_sources(sources: list[Source], ambient: Ambient) -> Light:
    """Combine sources and a gradient; the strongest source becomes the key light."""
    directions, _ = sphere_grid(*ENVIRONMENT_MAP_SHAPE)
    up = -directions[..., 1:2]
    radiance = np.where(
        up > 0,
        ambient.level + (ambient.above - ambient.level) * np.abs(up),
        ambient.level + (ambient.below - ambient.level) * np.abs(up),
    ).astype(np.float32)
    key = max(sources, key=lambda source: float(source.rgb @ LUMINANCE), default=None)
    for source in sources:
        if source is not key:
            _paint(radiance, source)
    irradiance_sh = project_irradiance(radiance)
    if key is None:
        overhead = np.array([0.0, -1.0, 0.0], dtype=np.float32)
        return Light(irradiance_sh, overhead, np.zeros(3, np.float32), 1.0, radiance)
    _paint(radiance, key)
    return Light(
        irradiance_sh=irradiance_sh,
        key_direction=key.direction,
        key_rgb=np.asarray(key.rgb, dtype=np.float32),
        key_softness=min(key.radius_deg / 90.0, 1.0),
        environment_map=radiance,
    )


def procedural_light(rng: np.random.Generator) -> Light:
    """Draw a lighting setup and its parameters, with a brightness of about 1."""
    setups = list(LIGHTING_SETUPS.values())
    weights = np.array([weight for weight, _ in setups])
    _, setup = setups[rng.choice(len(setups), p=weights / weights.sum())]
    return light_from_sources(*setup(rng))


def infrared_light(rng: np.random.Generator) -> Light:
    """Draw grey light from lamps beside the lens, as in driver monitoring and depth cameras."""
    lamps = [
        Source(rng.normal(0, 12), rng.normal(0, 8), rng.uniform(1, 4), np.full(3, share))
        for share in (rng.uniform(0.7, 1.3), rng.uniform(0.1, 0.5))
    ]
    dim = np.full(3, rng.uniform(0.02, 0.2))
    return light_from_sources(lamps, Ambient(dim, dim, dim))


def rgb_from_kelvin(kelvin: float) -> NDArray[np.float64]:
    """Return the linear RGB ``(3,)`` of a black body, with luminance 1; white at 6500 K.

    The Planckian locus in xy by Kim et al. 2002 (US patent 7024034), valid from 1667 to 25000 K,
    then to linear sRGB.
    """
    t = 1000.0 / float(np.clip(kelvin, 1667.0, 25000.0))
    if t > 0.25:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if t > 1.0 / 2.222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif t > 0.25:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    xyz = np.array([x / y, 1.0, (1.0 - x - y) / y])
    rgb = (
        np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
        @ xyz
    )
    return np.maximum(rgb, 0.0)


def _paint(radiance: NDArray[np.float32], source: Source) -> None:
    """Add a soft-edged disc with the flux of ``source`` to a radiance map."""
    directions, solid_angles = sphere_grid(*radiance.shape[:2])
    radius = max(float(np.radians(source.radius_deg)), _MIN_PAINTED_RADIUS_RAD)
    angle = np.arccos(np.clip(directions @ source.direction, -1.0, 1.0))
    shape = np.clip(1.5 - angle / radius, 0.0, 1.0)
    cosine = np.maximum(directions @ source.direction, 0.0)
    reflected = float((shape * cosine * solid_angles).sum()) / np.pi
    radiance += (shape / reflected)[..., None].astype(np.float32) * source.rgb.astype(np.float32)


def _grey(rng: np.random.Generator, low: float, high: float) -> Rgb:
    return rgb_from_kelvin(rng.uniform(4200, 7500)) * rng.uniform(low, high)


def _warm(rng: np.random.Generator, low: float, high: float) -> Rgb:
    return rgb_from_kelvin(rng.uniform(2200, 3800)) * rng.uniform(low, high)


def _studio(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    side = rng.choice([-1.0, 1.0])
    key = Source(
        side * rng.uniform(15, 70), rng.uniform(10, 50), rng.uniform(12, 30), _grey(rng, 0.5, 1.1)
    )
    fill = Source(
        -side * rng.uniform(20, 80), rng.uniform(-5, 30), 30.0, key.rgb * rng.uniform(0.1, 0.7)
    )
    rim = Source(-side * rng.uniform(120, 170), rng.uniform(10, 50), 10.0, _grey(rng, 0.0, 0.9))
    dim = _grey(rng, 0.02, 0.25)
    return [key, fill, rim], Ambient(dim, dim, dim * 0.6)


def _ring(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    rgb = _grey(rng, 0.1, 0.18)
    tilt, reach = rng.normal(0, 5), rng.uniform(10, 22)
    lamps = [
        Source(reach * np.cos(turn), tilt + reach * np.sin(turn), 4.0, rgb)
        for turn in np.linspace(0, 2 * np.pi, 6, endpoint=False)
    ]
    dim = _grey(rng, 0.05, 0.25)
    return lamps, Ambient(dim, dim, dim)


def _window(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    side = rng.choice([-1.0, 1.0])
    sky = rgb_from_kelvin(rng.uniform(5500, 11000))
    window = Source(
        side * rng.uniform(40, 110),
        rng.uniform(0, 30),
        rng.uniform(15, 35),
        sky * rng.uniform(0.5, 1.3),
    )
    lamp = Source(-side * rng.uniform(0, 120), rng.uniform(20, 70), 8.0, _warm(rng, 0.0, 0.3))
    wall = sky * rng.uniform(0.06, 0.3)
    return [window, lamp], Ambient(wall, wall, wall * rng.uniform(0.4, 1.0))


def _back(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    rgb = rgb_from_kelvin(rng.uniform(3500, 9000)) * rng.uniform(0.8, 2.5)
    behind = Source(180 + rng.normal(0, 25), rng.uniform(0, 40), rng.uniform(3, 35), rgb)
    dim = _grey(rng, 0.12, 0.4)
    return [behind], Ambient(dim, dim, dim * 0.7)


def _flash(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    flash = Source(rng.normal(0, 4), rng.uniform(0, 8), 0.7, _grey(rng, 0.7, 1.6))
    dim = _warm(rng, 0.01, 0.25)
    return [flash], Ambient(dim, dim, dim)


def _coloured(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    lamps = []
    for _ in range(rng.integers(2, 4)):
        rgb = rng.uniform(0.0, 1.0, 3) ** 2
        rgb = rgb / (rgb @ LUMINANCE + 0.1) * rng.uniform(0.15, 0.7)
        lamps.append(Source(rng.uniform(-130, 130), rng.uniform(-20, 50), rng.uniform(4, 20), rgb))
    dim = _grey(rng, 0.08, 0.35)
    return lamps, Ambient(dim, dim, dim)


def _screen(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    rgb = rgb_from_kelvin(rng.uniform(6000, 12000)) * rng.uniform(0.2, 0.8)
    screen = Source(rng.normal(0, 15), rng.uniform(-35, -5), rng.uniform(12, 28), rgb)
    lamp = Source(rng.uniform(-180, 180), rng.uniform(20, 80), 6.0, _warm(rng, 0.0, 0.25))
    dim = _warm(rng, 0.02, 0.15)
    return [screen, lamp], Ambient(dim, dim, dim)


def _night(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    lamps = [
        Source(
            rng.uniform(-180, 180), rng.uniform(10, 70), rng.uniform(1, 5), _warm(rng, 0.05, 0.7)
        )
        for _ in range(rng.integers(1, 4))
    ]
    dim = rgb_from_kelvin(rng.uniform(5000, 12000)) * rng.uniform(0.02, 0.12)
    return lamps, Ambient(dim, dim, dim * 0.5)


def _overcast(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    above = rgb_from_kelvin(rng.uniform(5800, 8500)) * rng.uniform(0.9, 1.6)
    level = above * rng.uniform(0.4, 0.9)
    return [], Ambient(above, level, level * rng.uniform(0.2, 0.8))


def _sun(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    elevation = rng.uniform(10, 75)
    sun_rgb = rgb_from_kelvin(3000 + 2600 * min(elevation / 40, 1)) * rng.uniform(1.0, 2.5)
    sun = Source(rng.uniform(-180, 180), elevation, 0.5, sun_rgb)
    above = rgb_from_kelvin(rng.uniform(8000, 14000)) * rng.uniform(0.2, 0.6)
    ground = sun_rgb * rng.uniform(0.05, 0.25)
    return [sun], Ambient(above, above * 1.2, ground)


def _ceiling(rng: np.random.Generator) -> tuple[list[Source], Ambient]:
    rgb = rgb_from_kelvin(rng.uniform(2700, 6500)) * rng.uniform(0.2, 0.7)
    lamps = [
        Source(rng.uniform(-180, 180), rng.uniform(40, 85), rng.uniform(6, 20), rgb)
        for _ in range(rng.integers(1, 4))
    ]
    wall = rgb * rng.uniform(0.3, 0.8)
    return lamps, Ambient(wall * 1.2, wall, wall * rng.uniform(0.3, 0.8))


LightingSetup = Callable[[np.random.Generator], tuple[list[Source], Ambient]]

LIGHTING_SETUPS: dict[str, tuple[float, LightingSetup]] = {
    "studio": (3.5, _studio),
    "ring": (0.7, _ring),
    "window": (2.5, _window),
    "back": (0.4, _back),
    "flash": (0.8, _flash),
    "coloured": (0.2, _coloured),
    "screen": (0.5, _screen),
    "night": (0.3, _night),
    "overcast": (1.5, _overcast),
    "sun": (0.9, _sun),
    "ceiling": (2.5, _ceiling),
}
"""Relative frequency of each setup and the function that draws it."""
