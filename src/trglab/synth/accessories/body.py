"""Neck, shoulders and clothes below a head that may be turned against them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from trglab.synth.accessories.head_map import HeadFit, HeadMap
from trglab.synth.accessories.shapes import UvMesh, sheet, smooth_noise
from trglab.synth.accessories.textures import fabric_texture, random_rgb
from trglab.synth.render.surface import Material, Surface

CollarKind = Literal["crew", "v-neck", "shirt", "suit", "turtleneck", "bare"]
COLLAR_KINDS: tuple[CollarKind, ...] = get_args(CollarKind)

SKIN = Material(roughness=0.5, specular=0.028, scatter=0.15, two_sided=True)
CLOTH = Material(roughness=0.9, specular=0.02, two_sided=True)

COLUMNS = 36


@dataclass(frozen=True, slots=True)
class Body:
    """Shoulders and clothes of one person; lengths in metres for a head of mean size."""

    collar: CollarKind = "crew"
    shoulder_m: float = 0.20
    """Half the width over the shoulders."""
    slope_m: float = 0.05
    """How far the shoulders fall from the neck to their ends."""
    skin_rgb: tuple[float, float, float] = (200.0, 160.0, 140.0)
    seed: int = 0


def sample_body(
    rng: np.random.Generator, skin_rgb: tuple[float, float, float] = (200.0, 160.0, 140.0)
) -> Body:
    """Draw shoulders and clothes."""
    odds = [0.24, 0.14, 0.24, 0.30, 0.04, 0.04]
    return Body(
        collar=COLLAR_KINDS[int(rng.choice(len(odds), p=odds))],
        shoulder_m=float(np.clip(rng.normal(0.20, 0.018), 0.15, 0.25)),
        slope_m=float(rng.uniform(0.03, 0.07)),
        skin_rgb=skin_rgb,
        seed=int(rng.integers(2**31)),
    )


def body_surfaces(body: Body, chart: HeadMap, fit: HeadFit) -> list[Surface]:
    """Build the body of a person who looks straight ahead (head frame)."""
    rng = np.random.default_rng(body.seed)
    surfaces = []
    for name, mesh, picture, material in (
        ("neck", _neck(chart), skin_picture(rng, np.array(body.skin_rgb)), SKIN),
        ("clothes", _torso(body, chart, rng), _clothes_picture(body, rng), CLOTH),
    ):
        carried = UvMesh(fit.transfer(mesh.vertices_m), mesh.triangles, mesh.uv)
        surfaces.append(carried.surface(name, picture, material))
    return surfaces


def turn_body(
    surfaces: list[Surface], chart: HeadMap, fit: HeadFit, body_from_head: np.ndarray
) -> list[Surface]:
    """Turn a straight body below its head; the result stays in the head frame.

    ``body_from_head`` ``(3, 3)`` is the head's rotation against the body. The neck turns with the
    head at its top and with the body at its foot.
    """
    turn = np.asarray(body_from_head, dtype=np.float64)
    pivot = fit.transfer(_pivot(chart)[None])[0]
    return [
        replace(surface, vertices_m=_turned(surface.vertices_m, turn, pivot, fit.size))
        for surface in surfaces
    ]


def _pivot(chart: HeadMap) -> np.ndarray:
    """Middle of the neck, below the skull."""
    return np.array([0.0, chart.landmarks_m[8, 1] + 0.02, chart.centre_m[2] + 0.035])


def _turned(
    vertices_m: np.ndarray, body_from_head: np.ndarray, pivot: np.ndarray, size: float
) -> np.ndarray:
    """Turn what is well below the pivot back to the body's pose, and the neck part of the way."""
    offset = vertices_m - pivot
    share = np.clip(0.35 + offset[:, 1:2] / (0.09 * size), 0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    # Row vectors: X_head = body_from_head.T @ X_body.
    return (pivot + offset + share * (offset @ body_from_head - offset)).astype(np.float32)


def _neck(chart: HeadMap) -> UvMesh:
    """A column from inside the head's own neck down into the clothes, slightly thinner than it."""
    chin_y, (_, pivot_y, pivot_z) = chart.landmarks_m[8, 1], _pivot(chart)
    angle = np.linspace(-np.pi, np.pi, COLUMNS + 1)
    rows = []
    for y in np.linspace(chin_y + 0.05, chin_y + 0.16, 7):
        below = max(0.0, y - pivot_y)
        wide, deep = 0.053 + 2.2 * below**2, 0.052 + 1.0 * below**2
        z = pivot_z + 0.05 * below
        rows.append(
            np.stack([wide * np.sin(angle), np.full_like(angle, y), z - deep * np.cos(angle)], -1)
        )
    return sheet(np.stack(rows))


def _torso(body: Body, chart: HeadMap, rng: np.random.Generator) -> UvMesh:
    """Rings from the collar over the shoulders down to the chest."""
    pivot_z = _pivot(chart)[2]
    base = chart.landmarks_m[8, 1] + 0.030
    angle = np.linspace(-np.pi, np.pi, COLUMNS + 1)
    side, front = np.sin(angle), np.cos(angle)
    folds = smooth_noise(rng, COLUMNS + 1, 14, closed=True)
    collar_up = {"turtleneck": 0.05, "shirt": 0.022, "suit": 0.022}.get(body.collar, 0.0)
    dip = {"v-neck": 0.07, "bare": 0.17, "crew": 0.02}.get(body.collar, 0.012)
    rows = []
    if collar_up:
        for lift in (1.0, 0.5):
            y = np.full_like(angle, base - collar_up * lift) + 0.03 * np.clip(front, 0, 1) ** 3 * (
                body.collar != "turtleneck"
            )
            rows.append(np.stack([0.073 * side, y, pivot_z - 0.080 * front], -1))
    shoulders = np.array([
        # half width, half depth, and the fall from the neck to here in units of slope_m
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


def skin_picture(rng: np.random.Generator, rgb: np.ndarray) -> np.ndarray:
    """Return a faintly mottled skin picture ``(32, 32, 4)`` uint8."""
    grain = np.exp(0.02 * rng.standard_normal((32, 32, 1)))
    alpha = np.full((32, 32, 1), 255.0)
    return np.concatenate([np.clip(rgb * grain, 0, 255), alpha], -1).astype(np.uint8)


def _clothes_picture(body: Body, rng: np.random.Generator) -> np.ndarray:
    """Paint clothes around the body: the middle column is the front, row 0 the collar."""
    cloth = np.tile(fabric_texture(rng), (3, 6, 1))
    height, width = cloth.shape[:2]
    v, u = np.mgrid[0:height, 0:width].astype(float)
    v, u = v / height, np.abs(u / width - 0.5)
    if body.collar == "suit":
        dark = fabric_texture(rng, random_rgb(rng) * 0.35)
        cloth = np.tile(dark, (3, 6, 1))
        shirt = np.clip(np.array([225.0, 228.0, 232.0]) + rng.normal(0, 12, 3), 120, 255)
        wide_m = 0.073 + 0.13 * np.clip(v / 0.18, 0.0, 1.0)
        x_m = wide_m * (2.0 * np.pi * u) ** 0.85  # as the rings of the torso are laid
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
