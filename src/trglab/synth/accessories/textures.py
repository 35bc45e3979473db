"""Textures and materials of accessories: cloth, skin, uniform colours."""

from __future__ import annotations

import numpy as np

from trglab.synth.colour import Rgb
from trglab.synth.noise import blurred_noise_2d
from trglab.synth.render.surface import Material

FABRIC_PX = 128

CLOTH = Material(roughness=0.9, specular=0.02, two_sided=True, coarse_light=True)
BARE_SKIN = Material(roughness=0.5, specular=0.028, scatter=0.15, two_sided=True)
PLASTIC = Material(roughness=0.3, specular=0.05, mirror=0.15, two_sided=True)


def random_rgb(rng: np.random.Generator) -> np.ndarray:
    """Draw an sRGB colour ``(3,)`` of cloth: mostly muted or dark, sometimes saturated."""
    grey = rng.choice([26.0, 45.0, 80.0, 150.0, 225.0], p=[0.3, 0.25, 0.15, 0.12, 0.18])
    hue = rng.uniform(0.0, 255.0, 3)
    strength = rng.choice([0.06, 0.25, 0.75], p=[0.55, 0.37, 0.08])
    return np.clip((1.0 - strength) * grey + strength * hue + rng.normal(0, 4, 3), 6.0, 248.0)


def fabric_texture(rng: np.random.Generator, rgb: np.ndarray | None = None) -> np.ndarray:
    """Paint cloth ``(128, 128, 4)`` uint8, opaque; ``rgb`` is its base colour, random if None."""
    base = random_rgb(rng) if rgb is None else np.asarray(rgb, dtype=np.float64)
    # The second colour is related to the first, which keeps patterns subtle.
    other = base + rng.choice([0.3, 0.9], p=[0.8, 0.2]) * (random_rgb(rng) - base)
    v, u = np.mgrid[0:FABRIC_PX, 0:FABRIC_PX] / FABRIC_PX
    pattern = rng.choice(
        ["plain", "knit", "stripes", "checks", "print"], p=[0.74, 0.14, 0.05, 0.04, 0.03]
    )
    repeats = int(rng.integers(3, 14))
    share = np.zeros((FABRIC_PX, FABRIC_PX))
    light = np.ones((FABRIC_PX, FABRIC_PX))
    if pattern == "knit":
        light = 1.0 + 0.07 * np.sin(2 * np.pi * 24 * u) * np.cos(2 * np.pi * 12 * v)
    elif pattern == "stripes":
        along = v if rng.random() < 0.6 else u
        share = ((along * repeats) % 1.0 < rng.uniform(0.15, 0.5)).astype(float)
    elif pattern == "checks":
        width = rng.uniform(0.2, 0.5)
        share = 0.5 * ((u * repeats) % 1.0 < width) + 0.5 * ((v * repeats) % 1.0 < width)
    elif pattern == "print":
        share = (blurred_noise_2d(rng, 2, FABRIC_PX) > rng.uniform(0.2, 1.0)).astype(float)
    light = light * np.exp(0.035 * rng.standard_normal(light.shape))
    light = light * np.exp(0.05 * blurred_noise_2d(rng, 5, FABRIC_PX))
    return opaque((base + share[..., None] * (other - base)) * light[..., None])


def skin_texture(rng: np.random.Generator, rgb: Rgb) -> np.ndarray:
    """Paint slightly mottled skin ``(32, 32, 4)`` uint8."""
    return opaque(np.array(rgb) * np.exp(0.02 * rng.standard_normal((32, 32, 1))))


def opaque(rgb: np.ndarray) -> np.ndarray:
    """Clip colours ``(h, w, 3)`` to 0..255 and add an opaque alpha channel: ``(h, w, 4)`` uint8."""
    alpha = np.full((*rgb.shape[:2], 1), 255.0)
    return np.concatenate([np.clip(rgb, 0, 255), alpha], axis=-1).astype(np.uint8)


def uniform_texture(rgb: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """Return a texture ``(4, 4, 4)`` uint8 of one colour; ``alpha`` from 0 to 1."""
    pixel = [*np.clip(rgb, 0, 255), 255.0 * alpha]
    return np.broadcast_to(np.array(pixel), (4, 4, 4)).astype(np.uint8)
