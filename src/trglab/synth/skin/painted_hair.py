"""Short hair in the skin texture: brows, stubble, beards, the scalp."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trglab.synth.colour import Rgb, rgb_tuple
from trglab.synth.noise import lattice_noise
from trglab.synth.skin.appearance import PaintedBeard, SkinAppearance
from trglab.synth.skin.maps import SkinMaps, smoothstep


class ColourLayer(NamedTuple):
    """A layer of one sRGB colour (0 to 255) with opacities ``alpha (size, size)``."""

    alpha: np.ndarray
    rgb: Rgb


def hair_layers(
    maps: SkinMaps,
    appearance: SkinAppearance,
    rng: np.random.Generator,
    coarse: np.ndarray,
    fine: np.ndarray,
    brow_weight: np.ndarray | None,
) -> list[ColourLayer]:
    """Return the layers to blend over the skin, bottom first.

    Parameters
    ----------
    coarse, fine
        ``(size, size)`` noise that makes edges irregular.
    brow_weight
        ``(size, size)``: opacity factor of the brows, or None for 1.
    """
    layers: list[ColourLayer] = []
    if appearance.beard.shadow > 0:
        # Shaved hair below the skin surface gives a cool grey tint.
        veil = np.asarray(appearance.beard.rgb) * 0.6 + np.array([6.0, 9.0, 12.0])
        area = np.maximum(maps.beard, maps.moustache)
        amount = np.float32(0.24 * appearance.beard.shadow) * area * (1.0 + 0.25 * fine)
        layers.append(ColourLayer(np.clip(amount, 0.0, 1.0), rgb_tuple(veil)))
    brow_alpha = _brow_alpha(maps, appearance, rng, fine)
    if brow_weight is not None:
        brow_alpha = brow_alpha * brow_weight
    layers.append(ColourLayer(brow_alpha, appearance.brows.rgb))
    if appearance.beard.kind is not None:
        layers += _beard_layers(maps, appearance.beard, rng, coarse, fine)
    if appearance.scalp > 0:
        ragged = maps.scalp_m + 0.004 * coarse + 0.002 * fine
        cover = smoothstep(-0.004, 0.010, ragged) * appearance.scalp
        strands = 1.0 + 0.04 * fine
        alpha = np.clip(cover * 0.985 * strands, 0.0, 1.0).astype(np.float32)
        layers.append(ColourLayer(alpha, appearance.hair_rgb))
    return layers


def _brow_alpha(
    maps: SkinMaps, appearance: SkinAppearance, rng: np.random.Generator, fine: np.ndarray
) -> np.ndarray:
    brows = appearance.brows
    along = maps.brow_along / np.float32(brows.tail)
    across = maps.brow_across_m - np.float32(brows.raise_m)
    start = smoothstep(-0.16, 0.14, along)
    taper = np.clip(1.0 - 0.72 * np.clip(along - 0.45, 0.0, 1.0) / 0.55, 0.2, 1.0)
    half_m = 0.5 * np.float32(brows.thickness_m) * maps.unit * taper * (0.6 + 0.4 * start)
    body = smoothstep(1.5, 0.4, np.abs(across) / half_m + 0.22 * fine)
    body *= start * smoothstep(1.06, 0.92, along)
    texels = np.flatnonzero(body > 0.01)
    alpha = np.zeros(body.size, np.float32)
    # Strands are upright at the inner end and follow the brow further out.
    length_m = 0.045 * maps.unit
    lean = 0.9 - 1.6 * np.clip(along.ravel()[texels], 0.0, 1.0)
    u, v = along.ravel()[texels] * length_m, across.ravel()[texels]
    side = np.sign(maps.x_m.ravel()[texels])
    strand_space = np.stack([v * np.sin(lean) - u * np.cos(lean), u * np.sin(lean) + v, side], -1)
    stripes = lattice_noise(maps.lattice, strand_space, (1400.0, 220.0, 7.3), rng.uniform(0, 32, 3))
    hairs = np.clip(0.76 + 0.12 * stripes + 0.9 * (brows.density - 0.5), 0.05, 1.0)
    alpha[texels] = body.ravel()[texels] * hairs * (0.35 + 0.5 * brows.density)
    return np.clip(alpha, 0.0, 1.0).reshape(body.shape)


def _beard_layers(
    maps: SkinMaps,
    beard: PaintedBeard,
    rng: np.random.Generator,
    coarse: np.ndarray,
    fine: np.ndarray,
) -> list[ColourLayer]:
    """Return a beard and its highlights."""
    area = _beard_area(maps, beard)
    texels = np.flatnonzero(area > 0.02)
    # Strands grow down and, on the cheeks, backwards.
    around = maps.azimuth.ravel()[texels] * np.float32(0.085 * maps.unit)
    down = maps.y_m.ravel()[texels]
    strand_space = np.stack([around - 0.3 * down * np.sign(around), down, 0.0 * down], axis=-1)
    offset = rng.uniform(0, 32, 3)
    stripes = lattice_noise(maps.lattice, strand_space, (800.0, 150.0, 1.0), offset)
    solid = np.clip((beard.density - 0.3) / 0.7, 0.0, 1.0)
    texture = (1.0 - solid) * fine.ravel()[texels] + solid * stripes
    edge = area.ravel()[texels] + 0.10 * coarse.ravel()[texels] + (0.05 + 0.13 * solid) * texture
    alpha = np.zeros(area.size, np.float32)
    cover = 0.22 + 0.66 * beard.density
    alpha[texels] = smoothstep(0.12, 0.95, edge) * cover * (0.94 + 0.03 * texture)
    glints = np.zeros(area.size, np.float32)
    glints[texels] = alpha[texels] * (0.15 * solid) * smoothstep(0.4, 1.6, stripes)
    bright = rgb_tuple(np.asarray(beard.rgb) * 1.5 + 12.0)
    return [
        ColourLayer(np.clip(alpha, 0.0, 0.97).reshape(area.shape), beard.rgb),
        ColourLayer(glints.reshape(area.shape), bright),
    ]


def _beard_area(maps: SkinMaps, beard: PaintedBeard) -> np.ndarray:
    """Return the density ``(size, size)`` of a kind of beard."""
    mouth_x = abs(float(maps.landmarks_m[54, 0]))
    chin = smoothstep(1.15 * mouth_x, 0.85 * mouth_x, np.abs(maps.x_m))
    goatee = maps.beard * chin
    if beard.kind == "moustache":
        return maps.moustache
    if beard.kind == "goatee":
        below_lip = smoothstep(0.004, 0.010, maps.y_m - np.float32(maps.landmarks_m[57, 1]))
        return goatee * below_lip
    if beard.kind == "circle":
        return np.maximum(goatee, maps.moustache)
    if beard.kind == "chinstrap":
        jaw = smoothstep(0.028, 0.016, maps.landmarks_m[8, 1] - maps.y_m)
        side = smoothstep(0.75, 0.95, np.abs(maps.azimuth))
        return maps.beard * np.maximum(jaw, side)
    return np.maximum(maps.beard, maps.moustache)
