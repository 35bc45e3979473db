"""Short hair that is painted onto the skin: brows, stubble, beards, the shaved scalp."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trglab.synth.skin.appearance import PaintedBeard, SkinAppearance
from trglab.synth.skin.maps import SkinMaps, smoothstep
from trglab.synth.skin.noise import smooth_noise


class ColourLayer(NamedTuple):
    """Something opaque on the skin: ``alpha (size, size)`` and one sRGB colour (0 to 255)."""

    alpha: np.ndarray
    rgb: tuple[float, float, float]


def hair_layers(
    chart: SkinMaps,
    look: SkinAppearance,
    rng: np.random.Generator,
    coarse: np.ndarray,
    fine: np.ndarray,
    bare: np.ndarray | None,
) -> list[ColourLayer]:
    """Return what to mix over the skin, in order.

    Parameters
    ----------
    coarse, fine
        ``(size, size)`` noise that makes edges ragged.
    bare
        ``(size, size)``: where brows have to be painted because no photograph brings them, or
        None for everywhere.
    """
    coats: list[ColourLayer] = []
    shadow = np.maximum(chart.beard, chart.moustache)
    if look.beard.shadow > 0:
        # A shaved beard is hair under the skin: a cool grey veil.
        veil = np.asarray(look.beard.rgb) * 0.6 + np.array([6.0, 9.0, 12.0])
        amount = np.float32(0.24 * look.beard.shadow) * shadow * (1.0 + 0.25 * fine)
        coats.append(ColourLayer(np.clip(amount, 0.0, 1.0), _rgb(veil)))
    brows = _brow_alpha(chart, look, rng, fine)
    coats.append(ColourLayer(brows if bare is None else brows * bare, look.brows.rgb))
    if look.beard.kind is not None:
        coats += _beard_coats(chart, look.beard, rng, coarse, fine)
    if look.scalp > 0:
        ragged = chart.scalp_m + 0.004 * coarse + 0.002 * fine
        cover = smoothstep(-0.004, 0.010, ragged) * look.scalp
        strands = 1.0 + 0.04 * fine
        alpha = np.clip(cover * 0.985 * strands, 0.0, 1.0).astype(np.float32)
        coats.append(ColourLayer(alpha, look.hair_rgb))
    return coats


def _brow_alpha(
    chart: SkinMaps, look: SkinAppearance, rng: np.random.Generator, fine: np.ndarray
) -> np.ndarray:
    brows = look.brows
    along = chart.brow_along / np.float32(brows.tail)
    across = chart.brow_across_m - np.float32(brows.raise_m)
    start = smoothstep(-0.16, 0.14, along)
    taper = np.clip(1.0 - 0.72 * np.clip(along - 0.45, 0.0, 1.0) / 0.55, 0.2, 1.0)
    half_m = 0.5 * np.float32(brows.thickness_m) * chart.unit * taper * (0.6 + 0.4 * start)
    body = smoothstep(1.5, 0.4, np.abs(across) / half_m + 0.22 * fine)
    body *= start * smoothstep(1.06, 0.92, along)
    place = np.flatnonzero(body > 0.01)
    alpha = np.zeros(body.size, np.float32)
    # Strands stand up at the inner end and lie along the brow further out.
    length_m = 0.045 * chart.unit
    lean = 0.9 - 1.6 * np.clip(along.ravel()[place], 0.0, 1.0)
    u, v = along.ravel()[place] * length_m, across.ravel()[place]
    side = np.sign(chart.x_m.ravel()[place])
    strand_space = np.stack([v * np.sin(lean) - u * np.cos(lean), u * np.sin(lean) + v, side], -1)
    stripes = smooth_noise(chart.lattice, strand_space, (1400.0, 220.0, 7.3), rng.uniform(0, 32, 3))
    hairs = np.clip(0.76 + 0.12 * stripes + 0.9 * (brows.density - 0.5), 0.05, 1.0)
    alpha[place] = body.ravel()[place] * hairs * (0.35 + 0.5 * brows.density)
    return np.clip(alpha, 0.0, 1.0).reshape(body.shape)


def _beard_coats(
    chart: SkinMaps,
    beard: PaintedBeard,
    rng: np.random.Generator,
    coarse: np.ndarray,
    fine: np.ndarray,
) -> list[ColourLayer]:
    """A beard, and the strands in it that catch light."""
    area = _beard_area(chart, beard)
    place = np.flatnonzero(area > 0.02)
    # Strands grow down and, on the cheeks, backwards.
    around = chart.azimuth.ravel()[place] * np.float32(0.085 * chart.unit)
    down = chart.y_m.ravel()[place]
    strand_space = np.stack([around - 0.3 * down * np.sign(around), down, 0.0 * down], axis=-1)
    offset = rng.uniform(0, 32, 3)
    stripes = smooth_noise(chart.lattice, strand_space, (800.0, 150.0, 1.0), offset)
    solid = np.clip((beard.density - 0.3) / 0.7, 0.0, 1.0)
    texture = (1.0 - solid) * fine.ravel()[place] + solid * stripes
    edge = area.ravel()[place] + 0.10 * coarse.ravel()[place] + (0.05 + 0.13 * solid) * texture
    alpha = np.zeros(area.size, np.float32)
    cover = 0.22 + 0.66 * beard.density
    alpha[place] = smoothstep(0.12, 0.95, edge) * cover * (0.94 + 0.03 * texture)
    glints = np.zeros(area.size, np.float32)
    glints[place] = alpha[place] * (0.15 * solid) * smoothstep(0.4, 1.6, stripes)
    bright = _rgb(np.asarray(beard.rgb) * 1.5 + 12.0)
    return [
        ColourLayer(np.clip(alpha, 0.0, 0.97).reshape(area.shape), beard.rgb),
        ColourLayer(glints.reshape(area.shape), bright),
    ]


def _beard_area(chart: SkinMaps, beard: PaintedBeard) -> np.ndarray:
    """Cut a style out of the full beard, ``(size, size)``."""
    mouth_x = abs(float(chart.landmarks_m[54, 0]))
    chin = smoothstep(1.15 * mouth_x, 0.85 * mouth_x, np.abs(chart.x_m))
    goatee = chart.beard * chin
    if beard.kind == "moustache":
        return chart.moustache
    if beard.kind == "goatee":
        below_lip = smoothstep(0.004, 0.010, chart.y_m - np.float32(chart.landmarks_m[57, 1]))
        return goatee * below_lip
    if beard.kind == "circle":
        return np.maximum(goatee, chart.moustache)
    if beard.kind == "chinstrap":
        jaw = smoothstep(0.028, 0.016, chart.landmarks_m[8, 1] - chart.y_m)
        side = smoothstep(0.75, 0.95, np.abs(chart.azimuth))
        return chart.beard * np.maximum(jaw, side)
    return np.maximum(chart.beard, chart.moustache)


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = np.clip(values, 0.0, 255.0).tolist()
    return red, green, blue
