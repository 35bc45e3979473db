"""Accessories that follow facial expressions: beards and masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from trg.geometry.rotations import normalize
from trglab.synth.accessories.head_map import RayHits, cast_rays, direction
from trglab.synth.accessories.shapes import UvMesh, merge, sheet, tube, vertex_normals
from trglab.synth.accessories.strands import HairColour, StrandTexture
from trglab.synth.accessories.textures import CLOTH, fabric_texture, uniform_texture
from trglab.synth.head.face_model import FaceModel
from trglab.synth.render.surface import Material, Surface

BeardKind = Literal["full", "goatee", "moustache", "circle", "chinstrap"]
BEARD_KINDS: tuple[BeardKind, ...] = get_args(BeardKind)
MaskKind = Literal["medical", "cloth", "respirator"]
MASK_KINDS: tuple[MaskKind, ...] = get_args(MaskKind)

BEARD_MATERIAL = Material(roughness=0.8, specular=0.02, two_sided=True, coarse_light=True)

MASK_ROWS, MASK_COLUMNS = 13, 19


@dataclass(frozen=True, slots=True)
class Beard:
    """A beard: its length (3 to 40 mm) and the number of shells it is drawn with."""

    kind: BeardKind = "full"
    length_m: float = 0.008
    layers: int = 2


@dataclass(frozen=True, slots=True)
class FaceMask:
    """A face mask; ``chin_worn`` leaves the nose uncovered."""

    kind: MaskKind = "medical"
    chin_worn: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LowerFaceRegions:
    """Regions of the lower face that beards and masks cover.

    Attributes
    ----------
    vertices
        ``(n,)`` indices of the skin vertices that may carry a beard.
    triangles
        ``(m, 3)`` indices into ``vertices``.
    growth
        ``(5, n)`` float32: density of each of :data:`BEARD_KINDS`, 0 to 1.
    uv
        ``(n, 2)``: coordinates across and down the face, folded into 0 to 1 by reflection.
    landmarks68
        ``(68,)`` vertex indices.
    mask_hits
        Grid of the mask: ``(13, 19)`` rays from inside the jaw, in terms of the model's vertices.
    ears_m
        ``(2, 3)``: ends of the straps relative to landmarks 0 and 16.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    growth: np.ndarray
    uv: np.ndarray
    landmarks68: np.ndarray
    mask_hits: RayHits
    ears_m: np.ndarray

    @classmethod
    def of(cls, model: FaceModel) -> LowerFaceRegions:
        """Compute the regions on the mean head of a face model."""
        mean, skin = model.mean_m.astype(np.float64), model.part_triangles["skin"]
        landmarks = mean[model.landmarks68]
        growth = beard_growth(mean, landmarks)
        used = skin[(growth.max(axis=0)[skin] > 0.02).any(axis=1)]
        vertices, triangles = np.unique(used, return_inverse=True)
        points = mean[vertices]
        across = 4.0 * np.arctan2(points[:, 0], landmarks[0, 2] + 0.03 - points[:, 2])
        u = np.abs((across + 20.0) % 2.0 - 1.0)
        return cls(
            vertices,
            triangles.reshape(-1, 3).astype(np.int32),
            growth[:, vertices].astype(np.float32),
            np.stack([u, np.abs((points[:, 1] / 0.02) % 2.0 - 1.0)], axis=-1).astype(np.float32),
            model.landmarks68,
            _mask_rays(mean, skin, landmarks),
            np.array([[0.004, -0.012, 0.03], [-0.004, -0.012, 0.03]]),
        )


def beard_growth(points_m: np.ndarray, landmarks_m: np.ndarray) -> np.ndarray:
    """Return the density ``(5, n)`` of each kind of beard at points ``(n, 3)`` of the mean head."""
    x, y, z = np.abs(points_m[:, 0]), points_m[:, 1], points_m[:, 2]
    nose_y, chin_y = landmarks_m[33, 1], landmarks_m[8, 1]
    corner = np.abs(landmarks_m[[48, 54]]).mean(axis=0)
    lip_top, lip_bottom = landmarks_m[51, 1], landmarks_m[57, 1]
    jaw_x = np.abs(landmarks_m[[1, 15], 0]).mean()
    sideburn_z = landmarks_m[[0, 16], 2].mean()

    def above(value: np.ndarray, edge: np.ndarray | float, soft_m: float) -> np.ndarray:
        return np.clip((value - edge) / soft_m, 0.0, 1.0)

    mouth_y = np.where(y < corner[1] + 0.003, lip_top, lip_bottom)
    tall = np.abs(mouth_y - corner[1] - 0.003) + 0.001
    lips = np.hypot(x / (corner[0] + 0.002), (y - corner[1] - 0.003) / tall)
    off_lips = above(lips, 1.1, 0.12) * (z < sideburn_z)
    cheek_y = np.interp(
        x, [0.0, corner[0], 0.6 * jaw_x, 0.9 * jaw_x, jaw_x],
        [nose_y, nose_y + 0.006, corner[1] - 0.004, nose_y - 0.01, landmarks_m[0, 1]],
    )  # fmt: skip
    jaw_y = np.interp(x, [0.0, 0.5 * jaw_x, jaw_x], [chin_y + 0.012, chin_y + 0.008, chin_y - 0.03])
    whole = off_lips * above(y, cheek_y, 0.008) * above(jaw_y, y, 0.014)
    whole = whole * above(np.full_like(z, sideburn_z + 0.004), z, 0.008)
    moustache = (
        off_lips * above(y, nose_y + 0.001, 0.004) * above(np.full_like(y, corner[1]), y, 0.006)
    )
    moustache = moustache * above(np.full_like(x, corner[0] + 0.008), x, 0.006)
    chin = whole * above(np.full_like(x, corner[0] + 0.004), x, 0.008) * above(y, corner[1], 0.01)
    strap = whole * above(y, np.interp(x, [0, jaw_x], [chin_y - 0.016, chin_y - 0.085]), 0.008)
    return np.stack([whole, chin, moustache, np.maximum(chin, moustache), strap])


def beard_surfaces(
    beard: Beard,
    colour: HairColour,
    face: LowerFaceRegions,
    vertices_m: np.ndarray,
    strands: StrandTexture,
) -> list[Surface]:
    """Build a beard on vertices ``(V, 3)`` with the current expression, in the head frame."""
    growth = face.growth[BEARD_KINDS.index(beard.kind)]
    grown = growth > 0.0
    triangles = face.triangles[grown[face.triangles].any(axis=1)]
    used, triangles = np.unique(triangles, return_inverse=True)
    triangles = triangles.reshape(-1, 3).astype(np.int32)
    skin, growth = vertices_m[face.vertices[used]].astype(np.float32), growth[used]
    normals = vertex_normals(skin, triangles).astype(np.float32)
    heading = normalize(normals + np.array([0.0, 0.55, 0.0], np.float32))
    # Inside the region v stays in the upper half of the texture; towards the border it goes to its
    # end, where strands thin out.
    inside = growth * (0.05 + 0.45 * face.uv[used, 1])
    uv = np.stack([face.uv[used, 0], inside + (1.0 - growth)], axis=-1)
    shells = []
    for layer in range(beard.layers):
        share = (layer + 0.5) / beard.layers
        height = 0.0006 + beard.length_m * share * growth[:, None] ** 0.7
        ragged = np.stack([uv[:, 0], np.clip(uv[:, 1] + 0.12 * layer, 0.0, 1.0)], axis=-1)
        shells.append(UvMesh(skin + height * heading, triangles, ragged))
    return [merge(shells).surface("beard", strands.tinted(colour), BEARD_MATERIAL)]


def mask_surfaces(mask: FaceMask, face: LowerFaceRegions, vertices_m: np.ndarray) -> list[Surface]:
    """Build a mask on vertices ``(V, 3)`` with the current expression, in the head frame."""
    points = face.mask_hits.points(vertices_m.astype(np.float64))
    landmarks = vertices_m[face.landmarks68].astype(np.float64)
    inside = np.array([0.0, landmarks[48:68, 1].mean(), landmarks[[0, 16], 2].mean()])
    if mask.chin_worn:
        points = points[6:]
    out = points - inside
    radius = np.linalg.norm(out, axis=-1)
    tent = radius.copy()
    for _ in range(3 if mask.kind == "medical" else 5):  # cloth spans hollows
        padded = np.pad(tent, 1, mode="edge")
        mean = 0.25 * (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:])
        tent = np.maximum(radius, mean)
    down, across = np.mgrid[0 : len(points), 0:MASK_COLUMNS] / [
        [[len(points) - 1]],
        [[MASK_COLUMNS - 1]],
    ]
    dome = np.sin(np.pi * down) * np.sin(np.pi * across)
    swell = {"medical": 0.003, "cloth": 0.004, "respirator": 0.014}[mask.kind]
    pleats = 0.0012 * np.sin(6.0 * np.pi * down) if mask.kind == "medical" else 0.0
    tent = tent + 0.0038 + swell * dome + pleats * np.sin(np.pi * across)
    shell = sheet(inside + out * (tent / radius)[..., None])
    grid = shell.vertices_m.reshape(len(points), MASK_COLUMNS, 3)
    straps = []
    for column, ear in ((0, landmarks[0] + face.ears_m[0]), (-1, landmarks[16] + face.ears_m[1])):
        side = -1.0 if column == 0 else 1.0
        for row, lift in ((1, -0.004), (-3, 0.012)):
            end = ear + np.array([0.0, lift, 0.0])
            middle = 0.5 * (grid[row, column] + end) + np.array([side * 0.004, 0.0, 0.0])
            straps.append(tube(np.stack([grid[row, column], middle, end]), 0.0012, 4))
    return [
        shell.surface("mask", _mask_texture(mask), CLOTH),
        merge(straps).surface("straps", uniform_texture(np.full(3, 225.0)), CLOTH),
    ]


def _mask_rays(mean: np.ndarray, skin: np.ndarray, landmarks: np.ndarray) -> RayHits:
    """Cast rays from inside the jaw to the grid of a mask: bridge of the nose to below the chin."""
    inside = np.array([0.0, landmarks[48:68, 1].mean(), landmarks[[0, 16], 2].mean()])
    azimuth = np.linspace(-66.0, 66.0, MASK_COLUMNS)
    nose = landmarks[28] - inside
    top = np.degrees(np.arctan2(-nose[1], -nose[2]))
    chin = landmarks[8] - inside
    bottom = np.degrees(np.arctan2(-chin[1], -chin[2])) - 8.0
    side = np.abs(azimuth) / 66.0
    high = top - (top - 4.0) * side**0.8
    low = bottom + 10.0 * side**2
    down = np.linspace(0.0, 1.0, MASK_ROWS)[:, None]
    rays = direction(
        np.broadcast_to(azimuth + 0.01, (MASK_ROWS, MASK_COLUMNS)), high + down * (low - high)
    )
    _, far = cast_rays(inside, rays, mean, skin)
    return far


@lru_cache(maxsize=8)
def _mask_texture(mask: FaceMask) -> np.ndarray:
    """Paint a mask, ``(128, 128, 4)`` uint8; shared by all images of a person, read-only."""
    rng = np.random.default_rng(mask.seed)
    colour = {
        "medical": np.array([[120, 165, 200], [225, 230, 232], [40, 42, 46]])[rng.integers(3)],
        "respirator": np.array([232.0, 232.0, 228.0]),
        "cloth": None,
    }[mask.kind]
    texture = fabric_texture(rng) if colour is None else _ribbed_texture(rng, colour)
    texture.setflags(write=False)
    return texture


def _ribbed_texture(rng: np.random.Generator, rgb: np.ndarray) -> np.ndarray:
    texture = fabric_texture(rng, rgb).astype(np.float64)
    ribs = 1.0 - 0.10 * (np.arange(len(texture)) % 24 < 3)
    flat = 0.3 * texture[..., :3] + 0.7 * np.asarray(rgb)
    texture[..., :3] = np.clip(flat * ribs[:, None, None], 0, 255)
    return texture.astype(np.uint8)
