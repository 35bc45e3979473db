"""Neck, shoulders and clothes; the head can rotate relative to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from trglab.synth.accessories.head_map import HeadFit, HeadMap
from trglab.synth.accessories.shapes import UvMesh, horizontal_ring, sheet
from trglab.synth.accessories.textures import (
    BARE_SKIN,
    CLOTH,
    fabric_texture,
    random_rgb,
    skin_texture,
)
from trglab.synth.choice import choose
from trglab.synth.colour import Rgb
from trglab.synth.noise import smooth_noise_1d
from trglab.synth.render.surface import Surface

CollarKind = Literal["crew", "v-neck", "shirt", "suit", "turtleneck", "bare"]
COLLAR_KINDS: tuple[CollarKind, ...] = get_args(CollarKind)
_COLLAR_PROBABILITIES: dict[CollarKind, float] = {
    "crew": 0.24, "v-neck": 0.14, "shirt": 0.24, "suit": 0.30, "turtleneck": 0.04, "bare": 0.04,
}  # fmt: skip

COLUMNS = 36


@dataclass(frozen=True, slots=True)
class Body:
    """Shoulders and clothes of one person; lengths for a head of mean size."""

    collar: CollarKind = "crew"
    shoulder_m: float = 0.20
    """Half the shoulder width."""
    slope_m: float = 0.05
    """Drop of the shoulders from the neck to their ends."""
    skin_rgb: Rgb = (200.0, 160.0, 140.0)
    seed: int = 0


def sample_body(rng: np.random.Generator, skin_rgb: Rgb = (200.0, 160.0, 140.0)) -> Body:
    """Draw shoulders and clothes."""
    return Body(
        collar=choose(rng, _COLLAR_PROBABILITIES),
        shoulder_m=float(np.clip(rng.normal(0.20, 0.018), 0.15, 0.25)),
        slope_m=float(rng.uniform(0.03, 0.07)),
        skin_rgb=skin_rgb,
        seed=int(rng.integers(2**31)),
    )


def body_surfaces(body: Body, head_map: HeadMap, fit: HeadFit) -> list[Surface]:
    """Build the body of a person who looks straight ahead, in the head frame."""
    rng = np.random.default_rng(body.seed)
    surfaces = []
    for name, mesh, texture, material in (
        ("neck", _neck(head_map), skin_texture(rng, body.skin_rgb), BARE_SKIN),
        ("clothes", _torso(body, head_map, rng), _clothes_texture(body, rng), CLOTH),
    ):
        surfaces.append(fit.transfer_mesh(mesh).surface(name, texture, material))
    return surfaces


def turn_body(
    surfaces: list[Surface], head_map: HeadMap, fit: HeadFit, body_from_head: np.ndarray
) -> list[Surface]:
    """Rotate a body relative to the head; the result is in the head frame.

    ``body_from_head`` ``(3, 3)`` is the head's rotation relative to the body. The rotation is
    interpolated along the neck.
    """
    turn = np.asarray(body_from_head, dtype=np.float64)
    pivot = fit.transfer(_pivot(head_map)[None])[0]
    return [
        replace(surface, vertices_m=_turned(surface.vertices_m, turn, pivot, fit.size))
        for surface in surfaces
    ]


def _pivot(head_map: HeadMap) -> np.ndarray:
    """Return the centre of rotation, in the neck below the skull, ``(3,)``."""
    return np.array([0.0, head_map.landmarks_m[8, 1] + 0.02, head_map.centre_m[2] + 0.035])


def _turned(
    vertices_m: np.ndarray, body_from_head: np.ndarray, pivot: np.ndarray, size: float
) -> np.ndarray:
    """Rotate vertices around the pivot by a share that grows from the neck down to the body."""
    offset = vertices_m - pivot
    share = np.clip(0.35 + offset[:, 1:2] / (0.09 * size), 0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    # Row vectors: X_head = body_from_head.T @ X_body.
    return (pivot + offset + share * (offset @ body_from_head - offset)).astype(np.float32)


def _neck(head_map: HeadMap) -> UvMesh:
    """Return a column from inside the head model's neck, slightly thinner, into the clothes."""
    chin_y, (_, pivot_y, pivot_z) = head_map.landmarks_m[8, 1], _pivot(head_map)
    angle = np.linspace(-np.pi, np.pi, COLUMNS + 1)
    rows = []
    for y in np.linspace(chin_y + 0.05, chin_y + 0.16, 7):
        below = max(0.0, y - pivot_y)
        wide, deep = 0.053 + 2.2 * below**2, 0.052 + 1.0 * below**2
        rows.append(horizontal_ring(angle, wide, deep, y, pivot_z + 0.05 * below))
    return sheet(np.stack(rows))


def _torso(body: Body, head_map: HeadMap, rng: np.random.Generator) -> UvMesh:
    """Return a sheet of rings from the collar over the shoulders down to the chest."""
    pivot_z = _pivot(head_map)[2]
    base = head_map.landmarks_m[8, 1] + 0.030
    angle = np.linspace(-np.pi, np.pi, COLUMNS + 1)
    side, front = np.sin(angle), np.cos(angle)
    folds = smooth_noise_1d(rng, COLUMNS + 1, 14, closed=True)
    collar_up = {"turtleneck": 0.05, "shirt": 0.022, "suit": 0.022}.get(body.collar, 0.0)
    dip = {"v-neck": 0.07, "bare": 0.17, "crew": 0.02}.get(body.collar, 0.012)
    rows = []
    if collar_up:
        for lift in (1.0, 0.5):
            rise = 0.03 * np.clip(front, 0, 1) ** 3 * (body.collar != "turtleneck")
            y = base - collar_up * lift + rise
            rows.append(horizontal_ring(angle, 0.073, 0.080, y, pivot_z))
    shoulders = np.array([
        # half width and half depth in metres, drop below the neck in units of slope_m
        [0.072, 0.074, 0.000], [0.105, 0.088, 0.20], [0.145, 0.100, 0.50],
        [0.180, 0.108, 0.85], [0.200, 0.114, 1.25], [0.205, 0.118, 2.0],
        [0.205, 0.122, 3.4], [0.200, 0.125, 6.0],
    ])  # fmt: skip
    for wide, deep, fall in shoulders:
        wide = 0.072 + (wide - 0.072) * (body.shoulder_m - 0.072) / (0.20 - 0.072)
        y = (
            base
            + fall * body.slope_m
            + dip * np.clip(front, 0, 1) ** 4 * max(0.0, 1.0 - 2.0 * fall)
        )
        ring = np.stack([
            wide * np.sign(side) * np.abs(side) ** 0.85, y,
            pivot_z - deep * np.sign(front) * np.abs(front) ** 0.8 - 0.008 * fall * (front > 0),
        ], -1)  # fmt: skip
        ring += 0.003 * min(fall, 1.0) * folds[:, None] * np.array([1.0, 0.5, 1.0])
        rows.append(ring)
    points = np.stack(rows)
    u = np.linspace(0.0, 1.0, COLUMNS + 1)
    path = np.linalg.norm(np.diff(points[:, COLUMNS // 2], axis=0), axis=-1)
    v = np.concatenate([[0.0], np.cumsum(path)])
    uv = np.stack(np.meshgrid(u, v / v[-1]), axis=-1)
    return sheet(points, uv)


def _clothes_texture(body: Body, rng: np.random.Generator) -> np.ndarray:
    """Paint the clothes: the middle column is the front, row 0 the collar."""
    cloth = np.tile(fabric_texture(rng), (3, 6, 1))
    height, width = cloth.shape[:2]
    v, u = np.mgrid[0:height, 0:width].astype(float)
    v, u = v / height, np.abs(u / width - 0.5)
    if body.collar == "suit":
        dark = fabric_texture(rng, random_rgb(rng) * 0.35)
        cloth = np.tile(dark, (3, 6, 1))
        shirt = np.clip(np.array([225.0, 228.0, 232.0]) + rng.normal(0, 12, 3), 120, 255)
        wide_m = 0.073 + 0.13 * np.clip(v / 0.18, 0.0, 1.0)
        x_m = wide_m * (2.0 * np.pi * u) ** 0.85  # matches the rings of the torso
        lapel_m = 0.05 * (1.0 - v / 0.55)
        opening = x_m < lapel_m
        cloth[opening | (v < 0.045), :3] = shirt.astype(np.uint8)
        cloth[(np.abs(x_m - lapel_m) < 0.003) & (v < 0.55), :3] //= 2
        if rng.random() < 0.7:
            tie = (x_m < 0.015 + 0.04 * v) & (v > 0.06) & opening
            cloth[tie, :3] = np.tile(fabric_texture(rng), (3, 6, 1))[tie, :3]
    elif body.collar == "shirt":
        seam = (u < 0.002) | ((u < 0.05) & (np.abs(v - 0.10 - u) < 0.005))
        cloth[seam, :3] = (0.7 * cloth[seam, :3]).astype(np.uint8)
    return cloth
