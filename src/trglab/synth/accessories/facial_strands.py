"""Beards, moustaches and brows with volume: cards of strands that grow from the skin.

Roots are points of the mean head's skin, so they follow each person's shape and expression.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from trg.geometry.rotations import cross, normalize
from trglab.synth.accessories.facewear import BEARD_KINDS, BeardKind, LowerFaceRegions
from trglab.synth.accessories.shapes import UvMesh, vertex_normals
from trglab.synth.accessories.strands import HairColour
from trglab.synth.choice import choose
from trglab.synth.colour import Rgb, rgb_tuple
from trglab.synth.render.surface import Material, Surface

BeardLength = Literal["stubble", "short", "medium", "full", "long"]
LENGTHS_M: dict[BeardLength, tuple[float, float]] = {
    "stubble": (0.001, 0.003),
    "short": (0.004, 0.010),
    "medium": (0.010, 0.025),
    "full": (0.025, 0.060),
    "long": (0.060, 0.160),
}
"""Length of the strands at the chin."""

_YOUNG: dict[BeardLength, float] = {
    "stubble": 0.34,
    "short": 0.40,
    "medium": 0.17,
    "full": 0.07,
    "long": 0.02,
}
_OLD: dict[BeardLength, float] = {
    "stubble": 0.20,
    "short": 0.32,
    "medium": 0.24,
    "full": 0.17,
    "long": 0.07,
}

ROOTS, STEPS = 900, 4
BROW_STRANDS = 46
TEXTURE_PX = 64

STRANDS = Material(
    roughness=0.65, specular=0.02, anisotropy=0.5, two_sided=True, coarse_light=True, coverage=True
)


@dataclass(frozen=True, slots=True)
class FacialHair:
    """Volume of a person's beard and brows.

    Attributes
    ----------
    kind, length_m
        The beard, None for none, and its length at the chin.
    overhang
        How far a moustache hangs over the mouth: 0 trimmed above the upper lip, 1 over both lips.
    brow_m
        Length of the strands of the brows; 0: the brows are painted only.
    """

    kind: BeardKind | None = None
    length_m: float = 0.0
    overhang: float = 0.0
    beard_colour: HairColour = field(default=HairColour((40, 30, 25), (55, 42, 34)))
    brow_m: float = 0.0
    brow_rgb: Rgb = (40.0, 30.0, 25.0)
    seed: int = 0


def sample_facial_hair(
    rng: np.random.Generator,
    kind: BeardKind | None,
    colour: HairColour,
    age_years: float,
    masculine: bool,
) -> FacialHair:
    """Draw the volume of a beard, which has one of the length classes, and of the brows."""
    old = float(np.clip((age_years - 25.0) / 45.0, 0.0, 1.0))
    shares = {name: (1.0 - old) * _YOUNG[name] + old * _OLD[name] for name in _YOUNG}
    low, high = LENGTHS_M[choose(rng, shares)]
    length_m = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    if kind in ("moustache", "chinstrap"):
        length_m = min(length_m, 0.03)
    redder = rng.uniform(0.0, 1.0) if rng.random() < 0.25 else 0.0
    shift = redder * np.array([26.0, 4.0, -6.0])
    grey = min(1.0, colour.grey_share + (rng.uniform(0.0, 0.4) * old if age_years > 35 else 0.0))
    beard_colour = HairColour(
        rgb_tuple(np.asarray(colour.root_rgb) * 0.9 + shift, 4.0, 240.0),
        rgb_tuple(np.asarray(colour.tip_rgb) + shift, 4.0, 240.0),
        float(grey),
    )
    bushy = rng.random() < (0.1 + 0.35 * old if masculine else 0.04)
    has_volume = rng.random() < (0.6 if masculine else 0.35)
    brow_m = rng.uniform(0.010, 0.017) if bushy else rng.uniform(0.004, 0.008)
    return FacialHair(
        kind=kind,
        length_m=length_m,
        overhang=float(rng.beta(1.2, 1.8)) if length_m > 0.004 else 0.0,
        beard_colour=beard_colour,
        brow_m=float(brow_m) if has_volume or bushy else 0.0,
        seed=int(rng.integers(2**31)),
    )


@dataclass(frozen=True, slots=True)
class StrandRoots:
    """Roots of the strands of beards on one face model.

    Attributes
    ----------
    corners, weights
        ``(n, 3)``: vertices of the model and barycentric coordinates of each root.
    growth
        ``(5, n)``: density of each kind of beard.
    """

    corners: np.ndarray
    weights: np.ndarray
    growth: np.ndarray
    region: LowerFaceRegions

    @classmethod
    def of(cls, face: LowerFaceRegions, mean_m: np.ndarray) -> StrandRoots:
        """Scatter roots evenly over the lower face of the mean head, denser around the mouth."""
        rng = np.random.default_rng(20261129)
        corners = face.vertices[face.triangles]
        a, b, c = (mean_m[corners[:, k]].astype(np.float64) for k in range(3))
        area = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
        centre = mean_m[face.landmarks68[[48, 54, 51, 57]]].mean(axis=0)
        near = np.exp(-((np.linalg.norm((a + b + c) / 3.0 - centre, axis=-1) / 0.045) ** 2))
        share = area * face.growth.max(axis=0)[face.triangles].mean(axis=1) * (0.5 + 2.0 * near)
        drawn = rng.choice(len(share), ROOTS, p=share / share.sum())
        weights = rng.dirichlet((1.0, 1.0, 1.0), ROOTS)
        growth = (face.growth[:, face.triangles[drawn]] * weights).sum(axis=-1)
        return cls(corners[drawn], weights, growth, face)


def beard_strands(
    hair: FacialHair, roots: StrandRoots, vertices_m: np.ndarray, size: float = 1.0
) -> list[Surface]:
    """Build the strands of a beard on vertices ``(V, 3)`` with the current expression."""
    if hair.kind is None or hair.length_m < LENGTHS_M["short"][0]:
        return []
    rng = np.random.default_rng(hair.seed)
    growth = roots.growth[BEARD_KINDS.index(hair.kind)]
    grown = rng.random(ROOTS) < np.clip(1.6 * growth - 0.15, 0.0, 1.0)
    corners, weights = roots.corners[grown], roots.weights[grown][..., None]
    face = roots.region
    normals = np.zeros_like(vertices_m, np.float64)
    normals[face.vertices] = vertex_normals(vertices_m[face.vertices], face.triangles)
    root = (vertices_m[corners] * weights).sum(axis=1).astype(np.float64)
    normal = normalize((normals[corners] * weights).sum(axis=1))
    mouth = vertices_m[face.landmarks68].astype(np.float64)
    is_moustache = (root[:, 1] < mouth[[48, 54], 1].mean()) & (
        np.abs(root[:, 0] - mouth[51, 0]) < 0.5 * (mouth[54, 0] - mouth[48, 0]) + 0.008
    )
    down = np.array([0.0, 1.0, 0.0])
    out = np.stack([np.sign(root[:, 0]), 0.0 * root[:, 0], 0.0 * root[:, 0]], axis=-1)
    # Moustaches part below the nose; beards hang, on the cheeks a little backwards.
    lean = np.where(is_moustache[:, None], 0.42 * out, np.array([0.0, 0.0, 0.12]))
    fall = down + lean + rng.normal(0.0, 0.16, root.shape)
    lift = rng.uniform(0.25, 0.6, (len(root), 1))
    low_face = np.clip((root[:, 1] - mouth[33, 1]) / (mouth[8, 1] - mouth[33, 1]), 0.15, 1.0)
    length = hair.length_m * np.where(is_moustache, 0.0, low_face**1.5)
    to_lip = np.clip(mouth[62, 1] - root[:, 1], 0.003, 0.03)
    reach = np.minimum(to_lip * (0.6 + 1.7 * hair.overhang), 0.006 + 1.2 * hair.length_m)
    length = np.where(is_moustache, np.maximum(reach, 0.003), np.maximum(length, 0.003))
    length = length * rng.uniform(0.7, 1.15, len(root))
    # The path leaves the skin along its normal and bends into the direction of fall.
    tangent = normalize(fall - (fall * normal).sum(-1, keepdims=True) * normal * 0.9)
    at = np.linspace(0.0, 1.0, STEPS)[:, None, None]
    away = 0.0012 + np.minimum(length, 0.02)[:, None] * lift * np.sin(0.5 * np.pi * at)
    hang = np.clip(length[:, None] / 0.03, 0.0, 1.0) * at
    along = (1.0 - hang) * tangent + hang * normalize(down + 0.4 * normal * (1.0 - hang))
    path = root + away * normal + length[:, None] * at * along
    width = np.clip(0.16 * length, 0.0016, 0.006)[:, None] * size
    mesh = _cards(path, _tapered(cross(tangent, normal) * width), rng)
    occlusion = np.repeat(np.linspace(0.45, 1.0, STEPS), 2 * len(root)).astype(np.float32)
    texture = strand_card(hair.seed, hair.beard_colour)
    return [replace(mesh.surface("beard strands", texture, STRANDS), occlusion=occlusion)]


def brow_strands(hair: FacialHair, landmarks_m: np.ndarray) -> list[Surface]:
    """Build the strands of both brows at landmarks ``(68, 3)`` with the current expression."""
    if hair.brow_m <= 0.0:
        return []
    brows = _brows(hair)
    paths = []
    for brow in brows.sides:
        line = landmarks_m[brow.landmarks].astype(np.float64)
        root = np.stack([np.interp(brow.along, np.arange(5), line[:, k]) for k in range(3)], -1)
        paths.append(root + brow.shift_m + brow.growth_m + brow.drop_m)
    mesh = brows.cards.with_vertices(_card_points(np.concatenate(paths, axis=1), brows.across_m))
    return [mesh.surface("brows", brows.texture, STRANDS)]


class _Brow(NamedTuple):
    """Strands of one brow, relative to its landmarks, of which ``along`` counts 0 to 4."""

    landmarks: list[int]
    """Inner end first."""
    along: np.ndarray
    shift_m: np.ndarray
    """``(n, 3)``: from the line of the landmarks to the roots."""
    growth_m: np.ndarray
    drop_m: np.ndarray
    """``(STEPS, n, 3)`` each: along the strands and what bends them."""


class _Brows(NamedTuple):
    """What all images of a person share; read-only."""

    sides: list[_Brow]
    across_m: np.ndarray
    """``(STEPS, 2 n, 3)``: half widths."""
    cards: UvMesh
    texture: np.ndarray


@lru_cache(maxsize=4)
def _brows(hair: FacialHair) -> _Brows:
    rng = np.random.default_rng(hair.seed + 1)
    sides, across = [], []
    at = np.linspace(0.0, 1.0, STEPS)[:, None, None]
    for inner_first, outward in (([21, 20, 19, 18, 17], -1.0), ([22, 23, 24, 25, 26], 1.0)):
        along = rng.beta(1.1, 1.4, BROW_STRANDS)
        shift = np.zeros((BROW_STRANDS, 3))
        shift[:, 1] = rng.normal(0.0, 0.0018, BROW_STRANDS) * (1.0 - 0.6 * along) - 0.001
        shift[:, 2] = -0.0008
        upright = np.clip(0.8 - 1.9 * along, -0.5, 0.8)
        heading = np.stack([outward * np.ones_like(along), -upright, 0.25 * along], axis=-1)
        heading = normalize(heading + rng.normal(0.0, 0.15, heading.shape))
        length = hair.brow_m * rng.uniform(0.6, 1.1, BROW_STRANDS) * (1.0 - 0.35 * along)
        bow = 0.35 * length[:, None] * np.sin(np.pi * 0.7 * at)
        droop = 0.3 * length[:, None] * at**2 * np.clip(hair.brow_m / 0.012, 0.0, 1.2)
        drop = bow * np.array([0.0, 0.0, -1.0]) + droop * np.array([0.0, 1.0, 0.0])
        growth = length[:, None] * at * heading
        sides.append(_Brow(inner_first, along * 4.0, shift, growth, drop))
        width = np.clip(0.13 * length, 0.0007, 0.0016)[:, None]
        across.append(cross(heading, np.array([0.0, 0.0, -1.0])) * width)
    across_m = _tapered(np.concatenate(across))
    cards = _cards(np.zeros_like(across_m), across_m, rng)
    texture = strand_card(hair.seed + 1, HairColour(hair.brow_rgb, hair.brow_rgb))
    return _Brows(sides, across_m, cards, texture)


@lru_cache(maxsize=8)
def strand_card(seed: int, colour: HairColour) -> np.ndarray:
    """Paint a card of tapering strands, ``(64, 64, 4)`` uint8; roots are at the top.

    Cached, because all images of a person share it; read-only.
    """
    rng = np.random.default_rng(seed)
    v = np.linspace(0.0, 1.0, TEXTURE_PX)[:, None]
    u = np.arange(TEXTURE_PX)[None]
    count = 22
    start, sway = rng.uniform(0, TEXTURE_PX, count), rng.normal(0.0, 4.0, count)
    end = rng.uniform(0.6, 1.0, count)
    alpha, shade = np.zeros((TEXTURE_PX, TEXTURE_PX)), np.ones((TEXTURE_PX, TEXTURE_PX))
    grey = np.zeros((TEXTURE_PX, TEXTURE_PX))
    for k in range(count):
        across = np.abs((u - start[k] - sway[k] * v**2 + 32.0) % TEXTURE_PX - 32.0)
        half = 2.3 * np.clip((end[k] - v) / 0.35, 0.0, 1.0) + 1e-3
        cover = np.clip(1.3 * (1.0 - across / half), 0.0, 1.0)
        front = cover > alpha
        shade[front] = np.exp(0.16 * rng.standard_normal())
        grey[front] = float(rng.random() < colour.grey_share)
        alpha = np.maximum(alpha, cover)
    down = v[..., None]
    rgb = np.array(colour.root_rgb) * (1.0 - down) + np.array(colour.tip_rgb) * down
    rgb = rgb + 0.8 * grey[..., None] * (165.0 - rgb)
    pixels = np.concatenate([rgb * shade[..., None], 255.0 * alpha[..., None]], axis=-1)
    card = np.clip(pixels, 0, 255).astype(np.uint8)
    card.setflags(write=False)
    return card


def _tapered(across_m: np.ndarray) -> np.ndarray:
    """Return the half widths ``(STEPS, n, 3)`` of ribbons that are ``(n, 3)`` at their roots."""
    return np.linspace(1.0, 0.55, STEPS)[:, None, None] * across_m


def _card_points(path_m: np.ndarray, across_m: np.ndarray) -> np.ndarray:
    """Return the vertices ``(STEPS * n * 2, 3)`` of ribbons."""
    points = np.stack([path_m - across_m, path_m + across_m], axis=2)
    return points.reshape(-1, 3).astype(np.float32)


def _cards(path_m: np.ndarray, across_m: np.ndarray, rng: np.random.Generator) -> UvMesh:
    """Return ribbons along paths ``(STEPS, n, 3)`` with half widths ``across_m``, likewise."""
    count = path_m.shape[1]
    u = np.asarray(rng.uniform(0.0, 0.7, count))[None, :, None] + np.array([0.0, 0.3])
    v = np.linspace(0.02, 0.98, STEPS)[:, None, None]
    uv = np.stack(np.broadcast_arrays(u, v), axis=-1)
    index = np.arange(STEPS * count * 2).reshape(STEPS, count, 2)
    a, b, c, d = index[:-1, :, 0], index[:-1, :, 1], index[1:, :, 1], index[1:, :, 0]
    triangles = np.concatenate([np.stack([a, d, c], -1), np.stack([a, c, b], -1)])
    return UvMesh(
        _card_points(path_m, across_m),
        triangles.reshape(-1, 3).astype(np.int32),
        uv.reshape(-1, 2).astype(np.float32),
    )
