"""Hard light: from one side, from behind, from a phone below the face, from a high sun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from trglab.synth.choice import choose
from trglab.synth.environment.light import Light
from trglab.synth.environment.procedural_lights import (
    Ambient,
    Source,
    light_from_sources,
    rgb_from_kelvin,
)


class HardLight(NamedTuple):
    """A light and what belongs to it."""

    light: Light
    background_gain: float
    """Brightness of the background relative to one in even light."""


class _Setup(NamedTuple):
    sources: list[Source]
    dim: float
    """Radiance of the surroundings."""
    background_gain: float


def hard_light(rng: np.random.Generator, kind: str | None = None) -> HardLight:
    """Draw one of :data:`HARD_LIGHTS` in the camera frame.

    Raises
    ------
    ValueError
        ``kind`` is not one of them.
    """
    if kind is None:
        kind = choose(rng, {name: share for name, (share, _) in HARD_LIGHTS.items()})
    if kind not in HARD_LIGHTS:
        raise ValueError(f"hard light: expected one of {tuple(HARD_LIGHTS)}, got {kind!r}")
    setup = HARD_LIGHTS[kind][1](rng)
    dim = rgb_from_kelvin(rng.uniform(3000, 9000)) * setup.dim
    light = light_from_sources(setup.sources, Ambient(dim, dim, 0.6 * dim))
    return HardLight(light, setup.background_gain)


def _side(rng: np.random.Generator) -> _Setup:
    side = rng.choice([-1.0, 1.0])
    rgb = rgb_from_kelvin(rng.uniform(2500, 8000)) * rng.uniform(1.0, 2.4)
    sources = [Source(side * rng.uniform(65, 115), rng.uniform(-10, 35), rng.uniform(1, 12), rgb)]
    if rng.random() < 0.3:  # a dim coloured lamp on the dark side
        colour = rng.uniform(0.0, 1.0, 3) ** 2 * 0.3
        sources.append(Source(-side * rng.uniform(40, 120), rng.uniform(-10, 30), 12.0, colour))
    return _Setup(sources, rng.uniform(0.01, 0.12), rng.uniform(0.1, 1.0))


def _behind(rng: np.random.Generator) -> _Setup:
    rgb = rgb_from_kelvin(rng.uniform(3500, 8000)) * rng.uniform(1.5, 4.0)
    source = Source(180 + rng.normal(0, 25), rng.uniform(5, 45), rng.uniform(2, 20), rgb)
    return _Setup([source], rng.uniform(0.08, 0.3), rng.uniform(1.5, 5.0))


def _phone(rng: np.random.Generator) -> _Setup:
    rgb = rgb_from_kelvin(rng.uniform(5500, 11000)) * rng.uniform(0.4, 0.9)
    source = Source(rng.normal(0, 15), rng.uniform(-65, -25), rng.uniform(6, 16), rgb)
    return _Setup([source], rng.uniform(0.005, 0.05), rng.uniform(0.03, 0.25))


def _high_sun(rng: np.random.Generator) -> _Setup:
    rgb = rgb_from_kelvin(rng.uniform(4800, 5800)) * rng.uniform(1.5, 2.8)
    source = Source(rng.uniform(-180, 180), rng.uniform(55, 85), 0.5, rgb)
    return _Setup([source], rng.uniform(0.1, 0.35), rng.uniform(0.8, 2.0))


HARD_LIGHTS: Mapping[str, tuple[float, Callable[[np.random.Generator], _Setup]]] = {
    "side": (0.42, _side),
    "behind": (0.22, _behind),
    "phone": (0.2, _phone),
    "high sun": (0.16, _high_sun),
}
"""Share of each kind and the function that draws it."""
