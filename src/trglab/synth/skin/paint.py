"""Paints a person's skin: pigment, blood, lips, make-up, brows, beard, and a bump map.

The skin is built up as optical density (see :mod:`trglab.synth.skin.tone`), so that pigments
add; what lies on top of it (hair, make-up) is mixed in afterwards as linear colour.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from trglab.synth.skin.appearance import SkinAppearance
from trglab.synth.skin.maps import SkinMaps, smoothstep
from trglab.synth.skin.noise import smooth_noise
from trglab.synth.skin.painted_hair import ColourLayer, hair_layers
from trglab.synth.skin.tone import BLOOD_DENSITY, linear_from_srgb, srgb_from_linear

BUMP_M = 0.0016
"""Height that a full step of the skin's bump map stands for (``Material.bump_m``)."""


class SkinTextures(NamedTuple):
    """A painted skin.

    Attributes
    ----------
    albedo
        ``(size, size, 4)`` uint8 sRGB, opaque.
    height
        ``(size, size)`` uint8; 128 is flat, a full step is ``BUMP_M``.
    oiliness
        0 to 1: how much the skin shines.
    """

    albedo: np.ndarray
    height: np.ndarray
    oiliness: float


class SkinLayer(NamedTuple):
    """Skin of photographs, to be laid over the painted one.

    Attributes
    ----------
    density
        ``(size, size, 3)`` float32: optical density to add to the person's mean tone; where the
        photograph says nothing, a smooth continuation that fades to 0.
    weight
        ``(size, size)`` float32, 0 to 1: how much of what is seen there is photograph.
    """

    density: np.ndarray
    weight: np.ndarray


class Field(NamedTuple):
    """Noise over the texture: calling it draws a fresh field of a given wavelength."""

    chart: SkinMaps
    rng: np.random.Generator

    def __call__(self, wavelength_m: float) -> np.ndarray:
        """Return ``(size, size)`` float32, about standard normal."""
        offset = self.rng.uniform(0.0, 32.0, 3)
        position = self.chart.texels.position_m
        return smooth_noise(self.chart.lattice, position, 1.0 / wavelength_m, offset)


def paint_skin(
    chart: SkinMaps, look: SkinAppearance, rng: np.random.Generator, photo: SkinLayer | None = None
) -> SkinTextures:
    """Paint the skin texture of one person.

    Parameters
    ----------
    chart
        The face model's, from :func:`trglab.synth.skin.maps.skin_maps`.
    look
        What to paint.
    photo
        Real skin to lay in, of the chart's size; brows, lips and moles then come from it where
        its weight is high.
    """
    noise = Field(chart, rng)
    coarse, middle, fine = noise(0.030), noise(0.008), noise(0.0022)
    melanin, blood = _pigments(chart, look, rng, coarse, middle, fine)
    lips_melanin, lips_blood = _lip_pigments(chart, look, fine)
    melanin += lips_melanin
    blood += lips_blood
    density, weight = _NOTHING, _NO_WEIGHT
    if photo is not None:
        density, weight = photo
    linear = _reflect(
        look.tone.density, melanin, look.tone.melanin, blood, BLOOD_DENSITY, density, weight
    )
    bare = None if photo is None else _lacking_brows(chart, look, photo)
    coats = _make_up_coats(chart, look, coarse, middle)
    coats += hair_layers(chart, look, rng, coarse, fine, bare)
    for coat in coats:
        _mix(linear, coat.alpha, linear_from_srgb(np.asarray(coat.rgb, np.uint8)))
    albedo = np.empty((*linear.shape[:2], 4), np.uint8)
    albedo[..., :3] = srgb_from_linear(linear)
    albedo[..., 3] = 255
    return SkinTextures(albedo, _bump(chart, look, noise, middle, fine), look.oiliness)


def _lacking_brows(chart: SkinMaps, look: SkinAppearance, photo: SkinLayer) -> np.ndarray:
    """Return how far brows must be painted, ``(size, size)``: the photo has none or pale ones."""
    middle = np.abs(chart.brow_across_m - np.float32(look.brows.raise_m)) < 0.003
    middle &= (chart.brow_along > 0.2) & (chart.brow_along < 0.8)
    darkness = float((photo.density[middle].mean(axis=-1) * photo.weight[middle]).mean())
    pale = np.float32(np.clip(1.0 - darkness / 0.5, 0.1, 0.9))
    return np.maximum(np.float32(1.0) - photo.weight, pale)


def _pigments(
    chart: SkinMaps,
    look: SkinAppearance,
    rng: np.random.Generator,
    coarse: np.ndarray,
    middle: np.ndarray,
    fine: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return melanin (steps of the tone's axis) and blood above the tone's mean."""
    points, unit = chart.landmarks_m, chart.unit
    cheek = 0.5 * (points[46] + points[54]) + [0.010 * unit, -0.004, 0.0]
    ear = points[16] + [0.0, -0.005, 0.01]
    eye_ring = np.exp(-(np.square(np.maximum(chart.eyes_m, 0.0) / (0.010 * unit))))
    # Rings lie below the eyes; lids are a little darker than the cheeks.
    eye_ring *= 0.4 + 0.6 * smoothstep(
        -0.002, 0.002, chart.y_m - np.float32(points[36:48, 1].mean())
    )
    blood = 0.16 * look.ruddiness * chart.near(cheek, 0.022)
    blood += (0.10 + 0.16 * look.ruddiness) * chart.near(points[30], 0.016)
    blood += 0.20 * chart.near(ear, 0.028)
    blood += 0.06 * look.ruddiness * chart.near(points[8] - [0.0, 0.008, 0.0], 0.018)
    blood += 0.10 * eye_ring + 0.35 * smoothstep(0.0012, -0.0005, chart.eyes_m)
    blood += 0.45 * look.make_up.blush * chart.near(cheek + [0.012, -0.006, 0.0], 0.018)
    blood += (0.02 + 0.015 * look.blotches) * coarse + 0.010 * look.blotches * middle
    melanin = (0.4 + 0.6 * look.eye_rings) * eye_ring
    melanin += 0.22 * coarse + (0.08 + 0.06 * look.blotches) * middle + 0.20 * fine
    forehead = chart.near(points[[21, 22]].mean(0) - [0.0, 0.035 * unit, 0.0], 0.035)
    melanin += 0.5 * (look.tone.typology_deg < 0) * forehead
    if look.freckles > 0:
        centre = chart.near(points[29] + [0.022, 0.0, 0.01], 0.035)
        spots = smoothstep(1.3, 2.0, fine + 0.2 * middle + 0.5 * look.freckles)
        melanin += 3.0 * look.freckles * centre * spots
    for _ in range(look.moles):
        azimuth, height = rng.uniform(-1.3, 1.3), rng.uniform(points[19, 1] - 0.04, points[8, 1])
        radius = rng.uniform(0.0009, 0.0022)
        around = np.abs(chart.azimuth - azimuth) * (0.09 * unit)
        spot = smoothstep(1.3, 0.7, np.hypot(around, chart.y_m - height) / radius)
        melanin += rng.uniform(3.0, 9.0) * spot
    if look.age_years > 50.0:
        spots = smoothstep(2.0, 2.6, middle + 0.3 * fine)
        melanin += 1.5 * (look.age_years - 50.0) / 30.0 * spots
    # Blood shows less through more pigment.
    blood *= np.clip(0.7 + look.tone.typology_deg / 120.0, 0.25, 1.0)
    return melanin.astype(np.float32), blood.astype(np.float32)


def _lip_pigments(
    chart: SkinMaps, look: SkinAppearance, fine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lips: blood shows through; dark skin has lips of about its own darkness."""
    darkness = np.clip((50.0 - look.tone.typology_deg) / 110.0, 0.0, 1.0)
    ragged = chart.lips_m + 0.0004 * fine
    lips = smoothstep(0.0010, -0.0016, ragged)
    seam = smoothstep(0.0016, 0.0, chart.mouth_m) * smoothstep(0.0, -0.001, chart.lips_m)
    upper = smoothstep(0.002, -0.002, chart.y_m - np.float32(chart.landmarks_m[62, 1]))
    melanin = lips * np.float32(0.9 - 1.6 * darkness) + lips * upper * np.float32(0.6 + darkness)
    return melanin + 2.5 * seam, lips * np.float32(0.6 - 0.35 * darkness) + 0.3 * seam


def _make_up_coats(
    chart: SkinMaps, look: SkinAppearance, coarse: np.ndarray, middle: np.ndarray
) -> list[ColourLayer]:
    coats = []
    make_up = look.make_up
    if make_up.lipstick > 0:
        coats.append(
            ColourLayer(
                make_up.lipstick * smoothstep(0.0006, -0.0010, chart.lips_m), make_up.lipstick_rgb
            )
        )
    centre_y = np.float32(chart.landmarks_m[36:48, 1].mean())
    if make_up.shadow > 0:
        above = smoothstep(0.002, -0.003, chart.y_m - centre_y)
        lid = smoothstep(0.008, 0.001, chart.eyes_m) * above
        coats.append(ColourLayer(make_up.shadow * lid, make_up.shadow_rgb))
    # Without make-up too the lashes' roots draw a dark line, finer below than above.
    above = 0.3 + 0.7 * smoothstep(0.001, -0.001, chart.y_m - centre_y)
    line = smoothstep(0.0024, 0.0006, np.abs(chart.eyes_m)) * above
    coats.append(ColourLayer((0.5 + 0.35 * make_up.liner) * line, (34.0, 22.0, 19.0)))
    if make_up.paint > 0:
        patches = smoothstep(0.3, 0.5, coarse + 0.3 * middle) * (chart.eyes_m > 0.003)
        coats.append(ColourLayer((make_up.paint * patches).astype(np.float32), make_up.paint_rgb))
    return coats


def _bump(
    chart: SkinMaps, look: SkinAppearance, noise: Field, middle: np.ndarray, fine: np.ndarray
) -> np.ndarray:
    """Pores, folds that deepen with age and fine lines on the lips, as uint8 heights."""
    points, unit = chart.landmarks_m, chart.unit
    wavy = chart.y_m + 0.0016 * noise(0.025)
    brow_y = float(points[19:25, 1].mean())
    forehead = smoothstep(0.008, 0.016, brow_y - chart.y_m) * smoothstep(
        0.9, 0.5, np.abs(chart.azimuth)
    )
    forehead *= smoothstep(0.055 * unit, 0.045 * unit, brow_y - chart.y_m)
    lines = -np.maximum(np.sin(wavy * np.float32(2 * np.pi / 0.0105)), 0.3) * forehead
    outer = points[45]
    corner_x = np.abs(chart.x_m) - np.float32(outer[0] + 0.004)
    crow = smoothstep(0.0, 0.004, corner_x) * chart.near(outer + [0.014, 0.0, 0.004], 0.013)
    fan = np.arctan2(chart.y_m - np.float32(outer[1]), corner_x + np.float32(0.006))
    lines -= 0.7 * np.maximum(np.sin(fan * 13.0), 0.2) * crow
    fold = _fold(chart, points[35] + [0.004, -0.004, 0.0], points[54] + [0.009, 0.004, 0.0])
    bag = np.exp(-np.square((chart.eyes_m - np.float32(0.011)) / np.float32(0.002)))
    bag = bag * (chart.y_m > points[47, 1]) * chart.near(points[47] + [0.0, 0.011, 0.0], 0.015)
    height = look.wrinkles * (0.9 * lines - 0.5 * bag) - (0.3 + 0.9 * look.wrinkles) * fold
    lips = smoothstep(0.0, -0.002, chart.lips_m)
    creases = np.sin(chart.x_m * np.float32(2 * np.pi / 0.0021) + middle)
    height += 0.10 * lips * creases
    height += (0.07 + 0.10 * look.wrinkles) * fine + 0.10 * middle * (0.5 + look.wrinkles)
    return np.clip(128.0 + 48.0 * height, 0, 255).astype(np.uint8)


def _fold(chart: SkinMaps, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """A soft groove along the segment between two points and its mirror image."""
    dx, dy = float(end[0] - start[0]), float(end[1] - start[1])
    px, py = np.abs(chart.x_m) - np.float32(start[0]), chart.y_m - np.float32(start[1])
    along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    bow = 0.0025 * np.sin(np.pi * along)  # folds bend around the mouth
    distance = np.hypot(px - along * dx - bow, py - along * dy)
    return np.exp(-np.square(distance / np.float32(0.0024))) * (
        chart.z_m < 0.5 * chart.landmarks_m[16, 2]
    )


@numba.njit(cache=True, fastmath=True)
def _reflect(
    tone: np.ndarray,
    melanin: np.ndarray,
    melanin_axis: np.ndarray,
    blood: np.ndarray,
    blood_axis: np.ndarray,
    photo: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    rows, columns = melanin.shape
    linear = np.empty((rows, columns, 3), np.float32)
    has_photo = photo.shape[0] == rows
    for y in range(rows):
        for x in range(columns):
            w = weight[y, x] if has_photo else np.float32(0.0)
            # Real skin brings its own pigments; a little painted variety stays on top.
            own = np.float32(1.0) - np.float32(0.85) * w
            for c in range(3):
                density = tone[c] + own * (
                    melanin[y, x] * melanin_axis[c] + blood[y, x] * blood_axis[c]
                )
                if has_photo:
                    density += photo[y, x, c]
                linear[y, x, c] = np.exp(-max(density, np.float32(0.02)))
    return linear


@numba.njit(cache=True, fastmath=True)
def _mix(linear: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    for y in range(linear.shape[0]):
        for x in range(linear.shape[1]):
            a = alpha[y, x]
            if a > 0:
                for c in range(3):
                    linear[y, x, c] += a * (colour[c] - linear[y, x, c])


_NOTHING = np.zeros((0, 0, 3), np.float32)
_NO_WEIGHT = np.zeros((0, 0), np.float32)
