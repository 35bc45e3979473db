"""Hair textures, whose strands run along v from root (0) to tip (1), and hair colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from trglab.synth.colour import Rgb, rgb_tuple
from trglab.synth.noise import blurred_noise_2d, linear_noise_1d

StrandKind = Literal["straight", "wavy", "curly", "coily", "buzz"]
STRAND_KINDS: tuple[StrandKind, ...] = ("straight", "wavy", "curly", "coily", "buzz")

TEXTURE_PX = 256

HAIR_COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (24, 21, 21),
    "dark brown": (46, 33, 26),
    "brown": (74, 52, 37),
    "light brown": (112, 83, 57),
    "dark blond": (141, 112, 76),
    "blond": (184, 154, 106),
    "platinum": (214, 199, 168),
    "red": (124, 58, 31),
    "auburn": (86, 41, 27),
    "grey": (120, 118, 115),
    "white": (208, 207, 203),
}
"""Mean sRGB colours of hair in diffuse light."""

_DARK_SKIN_PROBABILITIES = (0.75, 0.18, 0.03, 0.005, 0.001, 0.002, 0.001, 0.001, 0.01, 0.015, 0.005)
_LIGHT_SKIN_PROBABILITIES = (0.12, 0.24, 0.25, 0.14, 0.09, 0.06, 0.01, 0.02, 0.04, 0.02, 0.01)


@dataclass(frozen=True, slots=True)
class HairColour:
    """Colours of one person's hair."""

    root_rgb: Rgb
    tip_rgb: Rgb
    grey_share: float = 0.0
    """Share of strands without pigment."""


def sample_hair_colour(rng: np.random.Generator, skin_darkness: float) -> HairColour:
    """Draw a hair colour for skin of a darkness from 0 (lightest) to 1 (darkest).

    About 90 % of people with dark skin have black or dark brown hair; 1 % of all have dyed hair.
    :func:`greyed` adds the grey of age.
    """
    darkness = float(np.clip(1.6 * skin_darkness - 0.2, 0.0, 1.0))
    light, dark = np.array(_LIGHT_SKIN_PROBABILITIES), np.array(_DARK_SKIN_PROBABILITIES)
    weights = (1.0 - darkness) * light + darkness * dark
    colours = np.array(list(HAIR_COLOURS.values()), dtype=float)
    base = colours[rng.choice(len(weights), p=weights / weights.sum())]
    if rng.random() < 0.01:
        base = rng.uniform(40, 230, 3)
    base = base * rng.uniform(0.8, 1.25) + rng.normal(0.0, 3.0, 3)
    tip = base * rng.uniform(1.0, 1.12)
    if rng.random() < 0.04:  # bleached ends
        tip = 0.4 * tip + 0.6 * np.array([190.0, 158.0, 112.0])
    grey = float(rng.uniform(0.05, 0.3)) if rng.random() < 0.1 else 0.0
    root = base * rng.uniform(0.82, 1.0)
    return HairColour(rgb_tuple(root, 4.0, 240.0), rgb_tuple(tip, 4.0, 240.0), grey)


def greyed(rng: np.random.Generator, colour: HairColour, age_years: float) -> HairColour:
    """Add the grey of age: none before 38 years, in three quarters of all people past 70."""
    likely = float(np.clip((age_years - 38.0) / 45.0, 0.0, 0.75))
    turned, share = rng.random() < likely, rng.beta(1.2, 1.6)
    if not turned:
        return colour
    most = float(np.clip((age_years - 30.0) / 35.0, 0.2, 0.95))
    return replace(colour, grey_share=max(colour.grey_share, most * float(share)))


@dataclass(frozen=True, slots=True)
class StrandTexture:
    """A texture of strands without colour, ``(256, 256)`` each.

    Attributes
    ----------
    shade
        float32: brightness of each strand, about 1.
    pigment
        float32 0 to 1: rank of each strand in the order of greying.
    alpha
        uint8: 0 between strands and past their tips.
    """

    shade: np.ndarray
    pigment: np.ndarray
    alpha: np.ndarray

    def tinted(self, colour: HairColour, opaque: float = 0.0) -> np.ndarray:
        """Return the strands in a colour, ``(256, 256, 4)`` uint8.

        Up to v = ``opaque`` there are no gaps between strands, as the bottom layer of hair needs.
        """
        v = np.linspace(0.0, 1.0, TEXTURE_PX, dtype=np.float32)[:, None, None]
        root, tip = (np.array(rgb, np.float32) for rgb in (colour.root_rgb, colour.tip_rgb))
        rgb = root * (1.0 - v) + tip * v
        if colour.grey_share > 0.0:
            # Seen from a distance, single grey strands blend into their lock.
            grey = np.clip(0.5 + 2.0 * (colour.grey_share - self.pigment), 0.0, 1.0)
            share = (0.6 * colour.grey_share + 0.4 * grey)[..., None]
            rgb = rgb + 0.85 * share * (np.float32(158.0) - rgb)
        rgb = np.clip(rgb * self.shade[..., None], 0, 255).astype(np.uint8)
        alpha = np.where(v[..., 0] < opaque, np.uint8(255), self.alpha)
        return np.concatenate([rgb, alpha[..., None]], axis=-1)


def strand_texture(rng: np.random.Generator, kind: StrandKind) -> StrandTexture:
    """Paint strands of one kind; about 10 ms, so textures are shared by many heads."""
    size = TEXTURE_PX
    v, u = np.meshgrid(np.linspace(0, 1, size), np.arange(size), indexing="ij")
    if kind in ("coily", "buzz"):
        return _dotted_texture(rng, kind)
    waves = {"straight": 2.0, "wavy": 7.0, "curly": 11.0}[kind]
    turns = {"straight": 0.8, "wavy": 2.5, "curly": 5.0}[kind]
    # The texture repeats by mirroring: strands are straight at both sides to avoid a seam.
    upright = np.sin(np.pi * u / (size - 1)) ** 0.7
    layers = []
    for _ in range(3):
        phase = linear_noise_1d(rng, size, 6)[np.clip(u.astype(int), 0, size - 1)] * 2.0
        bend = waves * np.sin(2.0 * np.pi * turns * v * rng.uniform(0.8, 1.2) + phase)
        bend += 10.0 * linear_noise_1d(rng, size, 4)[:, None] * v
        layers.append(np.clip(u + bend * upright, 0, size - 1).astype(int))
    depth = np.stack([linear_noise_1d(rng, size, 40)[layer] for layer in layers])
    top = depth.argmax(axis=0)  # where locks cross, the highest is visible
    at = np.take_along_axis(np.stack(layers), top[None], 0)[0]
    locks, fine = linear_noise_1d(rng, size, 22), rng.standard_normal(size)
    hairs = 0.5 * fine + 0.5 * linear_noise_1d(rng, size, 90)
    gloss = 0.07 * np.sin(2.0 * np.pi * (1.3 * v + rng.random()) + locks[at])
    shade = np.exp(0.055 * locks[at] + 0.09 * hairs[at] + gloss + 0.04 * depth.max(0) - 0.04)
    shade *= 0.72 + 0.28 * np.clip(v / 0.25, 0, 1)
    ends = 0.9 - 0.1 * np.abs(linear_noise_1d(rng, size, 24)) - 0.05 * np.abs(fine)
    ends[rng.random(size) < 0.10] += 0.08
    gaps = 0.9 * locks + 0.6 * hairs
    alpha = (v < ends[at]) & (gaps[at] > -2.0 + 1.5 * v)
    return StrandTexture(
        shade.astype(np.float32),
        rng.random(size).astype(np.float32)[at],
        np.where(alpha, 255, 0).astype(np.uint8),
    )


def _dotted_texture(rng: np.random.Generator, kind: StrandKind) -> StrandTexture:
    """Paint coils or stubble, which have no visible direction: spots of two sizes."""
    size = TEXTURE_PX
    v = np.linspace(0, 1, size)[:, None]
    fine = blurred_noise_2d(rng, 1 if kind == "buzz" else 2, size)
    coarse = blurred_noise_2d(rng, 7, size)
    density = 1.25 - 1.4 * v if kind == "coily" else 0.15 - 0.6 * np.clip(v - 0.6, 0, 1) / 0.4
    alpha = 0.8 * fine + 0.45 * coarse + density > 0.0
    spread = 0.16 if kind == "coily" else 0.09
    shade = np.exp(spread * fine + 0.07 * coarse)
    patches = 0.5 * fine + 0.9 * blurred_noise_2d(rng, 4, size)
    return StrandTexture(
        shade.astype(np.float32),
        (1.0 / (1.0 + np.exp(-1.7 * patches))).astype(np.float32),
        np.where(alpha, 255, 0).astype(np.uint8),
    )
