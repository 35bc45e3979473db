"""Skin texture synthesis: pigment, blood, lips, make-up, brows, beard, and a bump map.

Pigments add as optical densities (see :mod:`trglab.synth.skin.tone`). Hair and make-up are alpha
blended over them in linear RGB.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trglab.synth.colour import linear_from_srgb, srgb_from_linear
from trglab.synth.kernels import fastmath_kernel
from trglab.synth.noise import lattice_noise
from trglab.synth.skin.appearance import SkinAppearance
from trglab.synth.skin.maps import SkinMaps, smoothstep
from trglab.synth.skin.painted_hair import ColourLayer, hair_layers
from trglab.synth.skin.tone import BLOOD_DENSITY

BUMP_M = 0.0016
"""Scale of the bump map in metres (``Material.bump_m``)."""


class SkinTextures(NamedTuple):
    """Textures of one person's skin.

    Attributes
    ----------
    albedo
        ``(size, size, 4)`` uint8 sRGB, opaque.
    height
        ``(size, size)`` uint8 bump map; 128 is flat, the scale is :data:`BUMP_M`.
    oiliness
        0 to 1: lowers the roughness of the skin.
    """

    albedo: np.ndarray
    height: np.ndarray
    oiliness: float


class SkinLayer(NamedTuple):
    """Skin detail from photographs, relative to the person's mean tone.

    Attributes
    ----------
    density
        ``(size, size, 3)`` float32 optical density, to be added to the mean tone. Texels that the
        photograph does not show hold a smooth extrapolation that fades to 0.
    weight
        ``(size, size)`` float32, 0 to 1: confidence in the photograph at each texel.
    """

    density: np.ndarray
    weight: np.ndarray


def paint_skin(
    maps: SkinMaps,
    appearance: SkinAppearance,
    rng: np.random.Generator,
    photo: SkinLayer | None = None,
) -> SkinTextures:
    """Paint the skin textures of one person.

    Parameters
    ----------
    maps
        Maps of the face model, from :func:`trglab.synth.skin.maps.skin_maps`.
    photo
        Real skin at the maps' resolution. Where its weight is high, it replaces painted brows, lips
        and moles.
    """
    coarse, middle, fine = (_noise(maps, rng, scale_m) for scale_m in (0.030, 0.008, 0.0022))
    melanin, blood = _pigments(maps, appearance, rng, coarse, middle, fine)
    lips_melanin, lips_blood = _lip_pigments(maps, appearance, fine)
    melanin += lips_melanin
    blood += lips_blood
    density, weight = _NO_DENSITY, _NO_WEIGHT
    if photo is not None:
        density, weight = photo
    tone = appearance.tone
    linear = _reflect(tone.density, melanin, tone.melanin, blood, BLOOD_DENSITY, density, weight)
    brow_weight = None if photo is None else _painted_brow_weight(maps, appearance, photo)
    layers = _make_up_layers(maps, appearance, coarse, middle)
    layers += hair_layers(maps, appearance, rng, coarse, fine, brow_weight)
    for layer in layers:
        _alpha_blend(linear, layer.alpha, linear_from_srgb(np.asarray(layer.rgb, np.uint8)))
    albedo = np.empty((*linear.shape[:2], 4), np.uint8)
    albedo[..., :3] = srgb_from_linear(linear)
    albedo[..., 3] = 255
    height = _bump_map(maps, appearance, _noise(maps, rng, 0.025), middle, fine)
    return SkinTextures(albedo, height, appearance.oiliness)


def _noise(maps: SkinMaps, rng: np.random.Generator, wavelength_m: float) -> np.ndarray:
    """Draw a noise field over the texture: ``(size, size)`` float32, about standard normal."""
    offset = rng.uniform(0.0, 32.0, 3)
    return lattice_noise(maps.lattice, maps.texels.position_m, 1.0 / wavelength_m, offset)


def _painted_brow_weight(
    maps: SkinMaps, appearance: SkinAppearance, photo: SkinLayer
) -> np.ndarray:
    """Return the opacity ``(size, size)`` of painted brows: high if the photo has pale or none."""
    middle = np.abs(maps.brow_across_m - np.float32(appearance.brows.raise_m)) < 0.003
    middle &= (maps.brow_along > 0.2) & (maps.brow_along < 0.8)
    darkness = float((photo.density[middle].mean(axis=-1) * photo.weight[middle]).mean())
    pale = np.float32(np.clip(1.0 - darkness / 0.5, 0.1, 0.9))
    return np.maximum(np.float32(1.0) - photo.weight, pale)


def _pigments(
    maps: SkinMaps,
    appearance: SkinAppearance,
    rng: np.random.Generator,
    coarse: np.ndarray,
    middle: np.ndarray,
    fine: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return melanin and haemoglobin relative to the mean tone, ``(size, size)`` each."""
    points, unit, around = maps.landmarks_m, maps.unit, maps.gaussian_around
    ruddiness, blotches = appearance.ruddiness, appearance.blotches
    cheek = 0.5 * (points[46] + points[54]) + [0.010 * unit, -0.004, 0.0]
    ear = points[16] + [0.0, -0.005, 0.01]
    eye_ring = np.exp(-(np.square(np.maximum(maps.eyes_m, 0.0) / (0.010 * unit))))
    # Rings are strongest below the eyes; lids are slightly darker than the cheeks.
    eye_ring *= 0.4 + 0.6 * smoothstep(
        -0.002, 0.002, maps.y_m - np.float32(points[36:48, 1].mean())
    )
    blood = 0.16 * ruddiness * around(cheek, 0.022)
    blood += (0.10 + 0.16 * ruddiness) * around(points[30], 0.016)
    blood += 0.20 * around(ear, 0.028)
    blood += 0.06 * ruddiness * around(points[8] - [0.0, 0.008, 0.0], 0.018)
    blood += 0.10 * eye_ring + 0.35 * smoothstep(0.0012, -0.0005, maps.eyes_m)
    blood += 0.45 * appearance.make_up.blush * around(cheek + [0.012, -0.006, 0.0], 0.018)
    blood += (0.02 + 0.015 * blotches) * coarse + 0.010 * blotches * middle
    melanin = (0.4 + 0.6 * appearance.eye_rings) * eye_ring
    melanin += 0.22 * coarse + (0.08 + 0.06 * blotches) * middle + 0.20 * fine
    forehead = around(points[[21, 22]].mean(0) - [0.0, 0.035 * unit, 0.0], 0.035)
    melanin += 0.5 * (appearance.tone.typology_deg < 0) * forehead
    if appearance.freckles > 0:
        centre = around(points[29] + [0.022, 0.0, 0.01], 0.035)
        spots = smoothstep(1.3, 2.0, fine + 0.2 * middle + 0.5 * appearance.freckles)
        melanin += 3.0 * appearance.freckles * centre * spots
    for _ in range(appearance.moles):
        azimuth, height = rng.uniform(-1.3, 1.3), rng.uniform(points[19, 1] - 0.04, points[8, 1])
        radius = rng.uniform(0.0009, 0.0022)
        across = np.abs(maps.azimuth - azimuth) * (0.09 * unit)
        spot = smoothstep(1.3, 0.7, np.hypot(across, maps.y_m - height) / radius)
        melanin += rng.uniform(3.0, 9.0) * spot
    if appearance.age_years > 50.0:
        spots = smoothstep(2.0, 2.6, middle + 0.3 * fine)
        melanin += 1.5 * (appearance.age_years - 50.0) / 30.0 * spots
    # Melanin hides blood.
    blood *= np.clip(0.7 + appearance.tone.typology_deg / 120.0, 0.25, 1.0)
    return melanin.astype(np.float32), blood.astype(np.float32)


def _lip_pigments(
    maps: SkinMaps, appearance: SkinAppearance, fine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return melanin and haemoglobin of lips; on dark skin they are about as dark as the skin."""
    darkness = np.clip((50.0 - appearance.tone.typology_deg) / 110.0, 0.0, 1.0)
    ragged = maps.lips_m + 0.0004 * fine
    lips = smoothstep(0.0010, -0.0016, ragged)
    seam = smoothstep(0.0016, 0.0, maps.mouth_m) * smoothstep(0.0, -0.001, maps.lips_m)
    upper = smoothstep(0.002, -0.002, maps.y_m - np.float32(maps.landmarks_m[62, 1]))
    melanin = lips * np.float32(0.9 - 1.6 * darkness) + lips * upper * np.float32(0.6 + darkness)
    return melanin + 2.5 * seam, lips * np.float32(0.6 - 0.35 * darkness) + 0.3 * seam


def _make_up_layers(
    maps: SkinMaps, appearance: SkinAppearance, coarse: np.ndarray, middle: np.ndarray
) -> list[ColourLayer]:
    layers = []
    make_up = appearance.make_up
    if make_up.lipstick > 0:
        layers.append(
            ColourLayer(
                make_up.lipstick * smoothstep(0.0006, -0.0010, maps.lips_m), make_up.lipstick_rgb
            )
        )
    centre_y = np.float32(maps.landmarks_m[36:48, 1].mean())
    if make_up.shadow > 0:
        above = smoothstep(0.002, -0.003, maps.y_m - centre_y)
        lid = smoothstep(0.008, 0.001, maps.eyes_m) * above
        layers.append(ColourLayer(make_up.shadow * lid, make_up.shadow_rgb))
    # The roots of the lashes form a dark line even without eyeliner, thinner at the lower lid.
    above = 0.3 + 0.7 * smoothstep(0.001, -0.001, maps.y_m - centre_y)
    line = smoothstep(0.0024, 0.0006, np.abs(maps.eyes_m)) * above
    layers.append(ColourLayer((0.5 + 0.35 * make_up.liner) * line, (34.0, 22.0, 19.0)))
    if make_up.paint > 0:
        patches = smoothstep(0.3, 0.5, coarse + 0.3 * middle) * (maps.eyes_m > 0.003)
        layers.append(ColourLayer((make_up.paint * patches).astype(np.float32), make_up.paint_rgb))
    return layers


def _bump_map(
    maps: SkinMaps,
    appearance: SkinAppearance,
    waviness: np.ndarray,
    middle: np.ndarray,
    fine: np.ndarray,
) -> np.ndarray:
    """Return heights ``(size, size)`` uint8: pores, lip creases and wrinkles."""
    points, unit, around = maps.landmarks_m, maps.unit, maps.gaussian_around
    wrinkles = appearance.wrinkles
    wavy = maps.y_m + 0.0016 * waviness
    brow_y = float(points[19:25, 1].mean())
    forehead = smoothstep(0.008, 0.016, brow_y - maps.y_m) * smoothstep(
        0.9, 0.5, np.abs(maps.azimuth)
    )
    forehead *= smoothstep(0.055 * unit, 0.045 * unit, brow_y - maps.y_m)
    lines = -np.maximum(np.sin(wavy * np.float32(2 * np.pi / 0.0105)), 0.3) * forehead
    outer = points[45]
    corner_x = np.abs(maps.x_m) - np.float32(outer[0] + 0.004)
    crow = smoothstep(0.0, 0.004, corner_x) * around(outer + [0.014, 0.0, 0.004], 0.013)
    fan = np.arctan2(maps.y_m - np.float32(outer[1]), corner_x + np.float32(0.006))
    lines -= 0.7 * np.maximum(np.sin(fan * 13.0), 0.2) * crow
    fold = _fold(maps, points[35] + [0.004, -0.004, 0.0], points[54] + [0.009, 0.004, 0.0])
    bag = np.exp(-np.square((maps.eyes_m - np.float32(0.011)) / np.float32(0.002)))
    bag = bag * (maps.y_m > points[47, 1]) * around(points[47] + [0.0, 0.011, 0.0], 0.015)
    height = appearance.wrinkles * (0.9 * lines - 0.5 * bag) - (0.3 + 0.9 * wrinkles) * fold
    lips = smoothstep(0.0, -0.002, maps.lips_m)
    creases = np.sin(maps.x_m * np.float32(2 * np.pi / 0.0021) + middle)
    height += 0.10 * lips * creases
    height += (0.07 + 0.10 * wrinkles) * fine + 0.10 * middle * (0.5 + appearance.wrinkles)
    return np.clip(128.0 + 48.0 * height, 0, 255).astype(np.uint8)


def _fold(maps: SkinMaps, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return a soft groove along a segment and its mirror image, ``(size, size)``."""
    dx, dy = float(end[0] - start[0]), float(end[1] - start[1])
    px, py = np.abs(maps.x_m) - np.float32(start[0]), maps.y_m - np.float32(start[1])
    along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    bow = 0.0025 * np.sin(np.pi * along)  # nasolabial folds curve around the mouth
    distance = np.hypot(px - along * dx - bow, py - along * dy)
    return np.exp(-np.square(distance / np.float32(0.0024))) * (
        maps.z_m < 0.5 * maps.landmarks_m[16, 2]
    )


@fastmath_kernel
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
            # The photograph has its own pigments: keep only a little of the painted variation.
            own = np.float32(1.0) - np.float32(0.85) * w
            for c in range(3):
                density = tone[c] + own * (
                    melanin[y, x] * melanin_axis[c] + blood[y, x] * blood_axis[c]
                )
                if has_photo:
                    density += photo[y, x, c]
                linear[y, x, c] = np.exp(-max(density, np.float32(0.02)))
    return linear


@fastmath_kernel
def _alpha_blend(linear: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    for y in range(linear.shape[0]):
        for x in range(linear.shape[1]):
            a = alpha[y, x]
            if a > 0:
                for c in range(3):
                    linear[y, x, c] += a * (colour[c] - linear[y, x, c])


_NO_DENSITY = np.zeros((0, 0, 3), np.float32)
_NO_WEIGHT = np.zeros((0, 0), np.float32)
