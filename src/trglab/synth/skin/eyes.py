"""Textures of eyes, lashes, teeth and the inside of the mouth.

Eyes are painted as a function of the distance from the optical axis, independent of the UV layout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trglab.synth.colour import Rgb, linear_from_srgb, rgb_tuple, srgb_from_linear
from trglab.synth.head.face_model import FaceModel
from trglab.synth.noise import lattice_noise, noise_lattice
from trglab.synth.skin.maps import smoothstep
from trglab.synth.skin.texels import TexelMap, texel_map

EYE_SIZE = 160
MOUTH_SIZE = 64
LASH_SIZE = 192

IRIS_RADIUS_M = 0.00585
"""Half the visible iris' 11.7 mm: Rufer et al. 2005, "White-to-white corneal diameter", Cornea."""

_IRISES = np.array(
    [[62, 38, 22], [45, 27, 18], [92, 62, 34], [116, 92, 52], [98, 106, 72], [96, 122, 134],
     [82, 104, 128], [122, 128, 130]], dtype=np.float64,
)  # fmt: skip
_LIGHT_SKIN_WEIGHTS = np.array([0.18, 0.10, 0.14, 0.12, 0.12, 0.14, 0.12, 0.08])
_DARK_SKIN_WEIGHTS = np.array([0.42, 0.48, 0.08, 0.02, 0.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True)
class EyeMaps:
    """Coordinates of the texels of an eyeball, from :func:`eye_maps`; maps are ``(size, size)``.

    Attributes
    ----------
    texels
        Position of each texel on the mean head.
    radius_m
        Distance from the optical axis.
    angle
        Angle around that axis, rad.
    toward_lids_m
        Height above (+) or below (-) the axis.
    lattice
        Noise lattice for iris fibres, see :func:`~trglab.synth.noise.lattice_noise`.
    """

    texels: TexelMap
    radius_m: np.ndarray
    angle: np.ndarray
    toward_lids_m: np.ndarray
    lattice: np.ndarray


@dataclass(frozen=True, slots=True)
class EyeAppearance:
    """Parameters of one person's eyes; amounts from 0 to 1."""

    iris_rgb: Rgb
    inner_rgb: Rgb
    iris_scale: float
    pupil: float
    """Radius of the pupil relative to the iris."""
    limbal: float
    pinkness: float
    yellowness: float
    veins: float


def eye_maps(model: FaceModel, part: str, size: int = EYE_SIZE) -> EyeMaps:
    """Compute the maps of an eyeball: ``part`` is ``eyeball_left`` or ``eyeball_right``."""
    triangles = model.part_triangles[part]
    texels = texel_map(model.mean_m, triangles, np.clip(model.uv, 0.0, 1.0), size)
    ball = model.mean_m[model.part_vertices[part]].astype(np.float64)
    # The optical axis passes through the foremost point of the cornea.
    foremost = ball[ball[:, 2] < ball[:, 2].min() + 0.0004].mean(axis=0)
    offset = texels.position_m - foremost.astype(np.float32)
    return EyeMaps(
        texels,
        np.hypot(offset[..., 0], offset[..., 1]),
        np.arctan2(offset[..., 1], offset[..., 0]),
        -offset[..., 1],
        noise_lattice(np.random.default_rng(36)),
    )


def sample_eye_appearance(rng: np.random.Generator, typology_deg: float) -> EyeAppearance:
    """Draw eyes for a skin typology angle in degrees; darker skin goes with browner eyes."""
    darkness = float(np.clip((45.0 - typology_deg) / 60.0, 0.0, 1.0))
    weights = (1.0 - darkness) * _LIGHT_SKIN_WEIGHTS + darkness * _DARK_SKIN_WEIGHTS
    colour = _IRISES[int(rng.choice(len(_IRISES), p=weights / weights.sum()))]
    colour = np.clip(colour * rng.uniform(0.7, 1.1) + rng.normal(0.0, 4.0, 3), 10.0, 170.0)
    warm = np.clip(colour * rng.uniform(0.9, 1.15) + [8.0, 3.0, -5.0], 10.0, 170.0)
    return EyeAppearance(
        iris_rgb=rgb_tuple(colour),
        inner_rgb=rgb_tuple(warm),
        iris_scale=float(rng.normal(1.0, 0.035)),
        pupil=float(rng.uniform(0.24, 0.58)),
        limbal=float(rng.uniform(0.3, 1.0)),
        pinkness=float(rng.beta(2.0, 4.0)),
        yellowness=float(rng.beta(2.0, 4.0) * (0.6 + 0.6 * darkness)),
        veins=float(rng.beta(1.5, 4.0)),
    )


def paint_eye(maps: EyeMaps, appearance: EyeAppearance, rng: np.random.Generator) -> np.ndarray:
    """Paint an eyeball: ``(size, size, 4)`` uint8 sRGB, opaque."""
    offset = rng.uniform(0.0, 32.0, 3)
    radius = maps.radius_m / np.float32(IRIS_RADIUS_M * appearance.iris_scale)
    around = np.stack([np.cos(maps.angle), np.sin(maps.angle), radius * 0.12], axis=-1)
    fibres = lattice_noise(maps.lattice, around, 9.0, offset)
    streaks = lattice_noise(maps.lattice, around, 3.5, offset + 7.0)
    white = np.array([0.60, 0.565, 0.53], np.float32)
    sclera = np.broadcast_to(white, (*radius.shape, 3)).copy()
    outward = smoothstep(1.1, 2.2, radius)
    pink = appearance.pinkness * (0.25 + 0.6 * outward)
    position = maps.texels.position_m
    branching = lattice_noise(maps.lattice, position, 900.0, offset)
    vein = appearance.veins * outward * smoothstep(0.22, 0.0, np.abs(branching + 0.5 * streaks))
    redness = (0.55 * pink + 0.35 * vein)[..., None]
    sclera *= np.exp(-redness * np.array([0.15, 0.75, 0.65], np.float32))
    sclera *= np.exp(-0.4 * appearance.yellowness * np.array([0.1, 0.2, 0.9], np.float32))
    mix = smoothstep(0.95, 0.35, radius)[..., None]
    iris = linear_from_srgb(np.asarray(appearance.iris_rgb, np.uint8)) * (1.0 - mix)
    iris = iris + linear_from_srgb(np.asarray(appearance.inner_rgb, np.uint8)) * mix
    iris = iris * np.clip(1.0 + 0.28 * fibres + 0.18 * streaks, 0.35, 1.8)[..., None]
    iris *= (1.0 - 0.65 * appearance.limbal * smoothstep(0.78, 1.0, radius))[..., None]
    outside_pupil = smoothstep(appearance.pupil - 0.03, appearance.pupil + 0.06, radius)
    iris *= outside_pupil[..., None] * 0.985 + 0.015
    inside = smoothstep(1.06, 0.96, radius)[..., None]
    linear = sclera * (1.0 - inside) + iris * inside
    # Upper lids and lashes shade the top of the eyeball.
    linear *= (1.0 - 0.5 * smoothstep(0.001, 0.006, maps.toward_lids_m))[..., None]
    return _opaque(srgb_from_linear(linear))


def paint_mouth(rng: np.random.Generator, size: int = MOUTH_SIZE) -> np.ndarray:
    """Paint gums, tongue and oral cavity: ``(size, size, 4)`` uint8 sRGB."""
    base = np.array([0.36, 0.115, 0.105]) * rng.uniform(0.7, 1.2) + rng.normal(0.0, 0.01, 3)
    speckle = 1.0 + 0.12 * _plane_noise(rng, size, 9.0)
    return _opaque(srgb_from_linear(np.clip(base, 0.02, 1.0) * speckle[..., None]))


def paint_teeth(rng: np.random.Generator, size: int = MOUTH_SIZE) -> np.ndarray:
    """Paint teeth: ``(size, size, 4)`` uint8 sRGB."""
    stain = rng.beta(1.6, 3.0)
    base = np.array([0.74, 0.68, 0.58]) * np.exp(-stain * np.array([0.10, 0.2, 0.45]))
    speckle = 1.0 + 0.05 * _plane_noise(rng, size, 6.0)
    return _opaque(
        srgb_from_linear(np.clip(base * rng.uniform(0.8, 1.1) * speckle[..., None], 0, 1))
    )


def paint_lashes(
    texels: TexelMap,
    landmarks_m: np.ndarray,
    rng: np.random.Generator,
    rgb: Rgb,
    fullness: float,
) -> np.ndarray:
    """Paint lashes as tapering strokes.

    Parameters
    ----------
    texels
        Texels of the lash cards.
    landmarks_m
        ``(68, 3)`` of the mean head.
    fullness
        0 sparse to 1 dense (mascara).

    Returns
    -------
    numpy.ndarray
        ``(size, size, 4)`` uint8; alpha below one half is transparent.
    """
    position = texels.position_m
    middle = 0.5 * (landmarks_m[42] + landmarks_m[45])
    x = np.abs(position[..., 0]) - np.float32(abs(middle[0]))
    y = position[..., 1] - np.float32(middle[1])
    z = position[..., 2] - np.float32(middle[2])
    half_m = 0.5 * abs(landmarks_m[45, 0] - landmarks_m[42, 0])
    reach = (np.sqrt(x * x + 1.5 * y * y + z * z) - half_m) / (0.6 * half_m)
    fan = np.stack([np.arctan2(y, x), reach * 0.06, 0.0 * x], axis=-1)
    lattice = noise_lattice(np.random.default_rng(25))
    strokes = lattice_noise(lattice, fan, (60.0, 4.0, 1.0), rng.uniform(0.0, 32.0, 3))
    lower = np.where(y > 0.001, np.float32(1.0), np.float32(0.0))
    # Lower lashes are too thin to show unless they wear mascara.
    keep = strokes + 1.4 * fullness - 1.3 - 2.0 * lower - 3.2 * np.clip(reach, 0.0, 2.0)
    texture = np.empty((*reach.shape, 4), np.uint8)
    texture[..., :3] = np.asarray(rgb, np.uint8)
    texture[..., 3] = np.clip(128.0 + 120.0 * keep, 0, 255)
    return texture


def _plane_noise(rng: np.random.Generator, size: int, cells: float) -> np.ndarray:
    axis = np.linspace(0.0, 1.0, size, dtype=np.float32)
    plane = np.stack(np.broadcast_arrays(axis[:, None], axis[None], np.float32(0.0)), axis=-1)
    return lattice_noise(noise_lattice(rng), plane, cells, np.zeros(3))


def _opaque(rgb: np.ndarray) -> np.ndarray:
    texture = np.full((*rgb.shape[:2], 4), 255, np.uint8)
    texture[..., :3] = rgb
    return texture
