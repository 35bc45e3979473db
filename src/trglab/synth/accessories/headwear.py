"""Hats, scarves, hoods, helmets, headphones, earrings, modelled on the mean head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from trg.geometry.rotations import normalize
from trglab.synth.accessories.head_map import HeadFit, HeadMap, direction, slerp
from trglab.synth.accessories.shapes import UvMesh, ellipsoid, horizontal_ring, merge, sheet, tube
from trglab.synth.accessories.textures import (
    CLOTH,
    PLASTIC,
    fabric_texture,
    random_rgb,
    uniform_texture,
)
from trglab.synth.choice import choose
from trglab.synth.noise import smooth_noise_1d
from trglab.synth.render.surface import Material, Surface

HeadwearKind = Literal[
    "cap", "beanie", "brimmed hat", "headscarf", "hood", "helmet", "headband", "turban"
]
HEADWEAR_KINDS: tuple[HeadwearKind, ...] = get_args(HeadwearKind)
_HEADWEAR_PROBABILITIES: dict[HeadwearKind, float] = {
    "cap": 0.3, "beanie": 0.2, "brimmed hat": 0.1, "headscarf": 0.14, "hood": 0.08, "helmet": 0.06,
    "headband": 0.06, "turban": 0.06,
}  # fmt: skip

METAL = Material(roughness=0.2, specular=0.6, mirror=0.4)

COLUMNS = 40


@dataclass(frozen=True, slots=True)
class Headwear:
    """A piece of headwear.

    Attributes
    ----------
    front_deg, back_deg
        Elevation of its edge above the forehead and at the back, seen from the skull's centre.
    height_m
        Height of its top above the skull.
    brim_m
        Width of the brim.
    turn_deg
        Rotation about the vertical axis: 180 for a cap worn backwards.
    seed
        For folds and cloth.
    """

    kind: HeadwearKind = "cap"
    front_deg: float = 30.0
    back_deg: float = -8.0
    height_m: float = 0.03
    brim_m: float = 0.07
    turn_deg: float = 0.0
    seed: int = 0

    @property
    def covers_hair(self) -> bool:
        """Whether it hides all hair."""
        return self.kind in ("headscarf", "hood", "helmet", "turban")


def sample_headwear(rng: np.random.Generator) -> Headwear:
    """Draw a piece of headwear; caps and beanies are most frequent."""
    kind = choose(rng, _HEADWEAR_PROBABILITIES)
    front = {"beanie": (25.0, 36.0), "headband": (30.0, 40.0), "helmet": (20.0, 32.0)}
    backwards = kind == "cap" and rng.random() < 0.15
    return Headwear(
        kind=kind,
        front_deg=float(rng.uniform(*front.get(kind, (26.0, 37.0)))),
        back_deg=float(rng.uniform(-22.0, -2.0)),
        height_m=float({"beanie": rng.uniform(0.008, 0.03), "helmet": 0.035}.get(
            kind, rng.uniform(0.012, 0.03))),
        brim_m=float(rng.uniform(0.05, 0.08) if kind == "cap" else rng.uniform(0.035, 0.075)),
        turn_deg=float((180.0 if backwards else 0.0) + rng.normal(0.0, 6.0)),
        seed=int(rng.integers(2**31)),
    )  # fmt: skip


def headwear_surfaces(headwear: Headwear, head_map: HeadMap, fit: HeadFit) -> list[Surface]:
    """Build headwear on a person's head, in the head frame."""
    rng = np.random.default_rng(headwear.seed)
    cloth = fabric_texture(rng)
    material = PLASTIC if headwear.kind == "helmet" else CLOTH
    if headwear.kind in ("headscarf", "hood"):
        mesh = _wrap(headwear, head_map, rng)
    elif headwear.kind == "headband":
        mesh = _band(headwear, head_map)
    else:
        mesh = _crown(headwear, head_map, rng)
    surfaces = [fit.transfer_mesh(mesh).surface(headwear.kind, cloth, material)]
    if headwear.kind in ("cap", "brimmed hat", "helmet"):
        texture = fabric_texture(rng) if rng.random() < 0.3 else cloth
        brim = fit.transfer_mesh(_brim(headwear, head_map))
        surfaces.append(brim.surface("brim", texture, material))
    return surfaces


def _edge(
    headwear: Headwear, head_map: HeadMap, clearance_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return azimuths ``(n,)`` in degrees and points ``(n, 3)`` of the lower edge."""
    azimuth = np.linspace(-180.0, 180.0, COLUMNS + 1)
    turned = np.radians(azimuth - headwear.turn_deg)
    mix = 0.5 + 0.5 * np.cos(turned)
    elevation = headwear.back_deg + (headwear.front_deg - headwear.back_deg) * mix
    if headwear.kind == "beanie":  # may cover the ears
        elevation = np.where(np.abs(azimuth) > 60, elevation - 4.0, elevation)
    directions = direction(azimuth, elevation)
    return azimuth, head_map.above_skull(directions, clearance_m)


def _crown(headwear: Headwear, head_map: HeadMap, rng: np.random.Generator) -> UvMesh:
    """Return the part of a hat that covers the skull, from its top down to its edge."""
    clearance = 0.009 if headwear.kind != "helmet" else 0.02
    azimuth, edge = _edge(headwear, head_map, clearance)
    ends = normalize(edge - head_map.centre_m)
    top = np.broadcast_to(direction(np.array(180.0), np.array(75.0)), ends.shape)
    at = np.linspace(0.0, 1.0, 12) ** 0.8
    directions = slerp(top, ends, at)
    dome = np.clip(1.0 - at[:, None] ** 3.0, 0.0, 1.0)
    if headwear.kind == "brimmed hat":
        dome = np.clip((1.0 - at[:, None]) * 3.0, 0.0, 1.0) * 1.8
    folds = smooth_noise_1d(rng, len(azimuth), 12, closed=True) * (
        0.003 if headwear.kind != "helmet" else 0.0
    )
    swell = clearance + (headwear.height_m + folds) * dome
    if headwear.kind == "turban":
        slope = np.sin(np.linspace(0, 9.0 * np.pi, len(at)))[:, None] * 0.003
        swell = clearance + 0.012 + headwear.height_m * np.sin(np.pi * np.clip(at, 0.15, 1))[
            :, None
        ] ** 0.5 + slope + folds  # fmt: skip
    hull = head_map.hull_radius_m(directions)
    radius = np.maximum(head_map.skull_radius_m(directions), 0.8 * hull)
    points = head_map.centre_m + directions * (radius + swell)[..., None]
    if headwear.kind in ("beanie", "turban"):  # a rolled edge
        out = normalize(points[-1:] - points[-1:].mean(axis=1, keepdims=True))
        roll = np.concatenate([points[-2:-1] + 0.006 * out, points[-1:] + 0.006 * out])
        points = np.concatenate([points[:-2], roll, points[-1:] - 0.002 * out])
    return sheet(points)


def _brim(headwear: Headwear, head_map: HeadMap) -> UvMesh:
    """Return a visor (cap, helmet) or a brim all around, with an upper and a lower side."""
    azimuth, edge = _edge(headwear, head_map, 0.0095 if headwear.kind != "helmet" else 0.02)
    turned = np.radians((azimuth - headwear.turn_deg + 180.0) % 360.0 - 180.0)
    if headwear.kind == "brimmed hat":
        width = np.full(len(azimuth), headwear.brim_m)
    else:
        width = headwear.brim_m * np.clip(np.cos(turned * 90.0 / 72.0), 0.0, None) ** 0.6
        width[np.abs(turned) > np.radians(72.0)] = 0.0
    ahead = direction(np.array(headwear.turn_deg), np.array(0.0))
    out = normalize((edge - head_map.centre_m) * np.array([1.0, 0.0, 1.0]))
    if headwear.kind != "brimmed hat":
        out = normalize(out + 1.2 * ahead)
    down = np.array([0.0, 1.0, 0.0]) * (0.28 if headwear.kind != "brimmed hat" else 0.12)
    rows = [edge + (out + down * (0.4 + part)) * (width * part)[:, None] for part in (0, 0.5, 1.0)]
    thick = rows[-1] + np.array([0.0, 0.003, 0.0])
    back = [row + np.array([0.0, 0.003, 0.0]) for row in reversed(rows)]
    return sheet(np.stack([*rows, thick, *back[1:]]))


def _wrap(headwear: Headwear, head_map: HeadMap, rng: np.random.Generator) -> UvMesh:
    """Return a scarf or hood: from the back of the head to the opening, and around the neck."""
    loose = headwear.height_m * (1.0 if headwear.kind == "hood" else 0.35)
    around = np.linspace(-np.pi, np.pi, COLUMNS + 1)  # 0 at the top of the opening
    upright, sideways = np.cos(around), np.sin(around)
    over = np.where(upright > 0, 90.0 - headwear.front_deg - 28.0, 58.0 if loose < 0.02 else 68.0)
    reach = np.radians(over * upright**2 + 72.0 * sideways**2)
    ends = np.stack([np.sin(reach) * sideways, -np.sin(reach) * upright, -np.cos(reach)], axis=-1)
    back = np.broadcast_to(direction(np.array(180.0), np.array(10.0)), ends.shape)
    at = np.linspace(0.0, 1.0, 13)
    directions = slerp(back, ends, at)
    folds = 0.5 * smooth_noise_1d(rng, len(around), 16, closed=True)
    swell = 0.008 + loose * (0.4 + 0.6 * at[:, None]) + 0.003 * folds * np.sin(np.pi * at)[:, None]
    points = head_map.above_hull(directions, swell)
    # Move the hem below the chin.
    chin = head_map.landmarks_m[8]
    under = np.clip((-upright - 0.3) / 0.5, 0.0, 1.0) * (at[:, None] > 0.5)
    points[..., 1] += (
        under * np.maximum(chin[1] + 0.006 - points[..., 1], 0.0) * (at[:, None] > 0.9)
    )
    rim = points[-1] - 0.006 * normalize(points[-1] - points[-1].mean(axis=0))
    rim[:, 2] += 0.012
    hood = sheet(np.concatenate([points, rim[None]]))
    return merge([hood, _drape(head_map, rng, loose)])


def _drape(head_map: HeadMap, rng: np.random.Generator, loose: float) -> UvMesh:
    """Return cloth around the neck that widens towards the shoulders."""
    chin = head_map.landmarks_m[8]
    around = np.linspace(-np.pi, np.pi, COLUMNS + 1)
    folds = smooth_noise_1d(rng, len(around), 10, closed=True)
    rows = []
    for part in np.linspace(0.0, 1.0, 7):
        wide = 0.070 + loose + (0.05 * part + 0.10 * part**3)
        y = chin[1] - 0.012 + 0.13 * part
        depth = wide * (1.0 - 0.25 * part)
        ring = horizontal_ring(around, wide, depth, y, head_map.centre_m[2] + 0.022)
        ring += (0.004 + 0.008 * part) * folds[:, None] * np.array([1.0, 0.6, 1.0])
        rows.append(ring)
    return sheet(np.stack(rows))


def _band(headwear: Headwear, head_map: HeadMap) -> UvMesh:
    """Return a headband, 2 to 4 cm high."""
    rows = []
    width = 6.0 + 8.0 * headwear.brim_m / 0.1
    for part, clearance in ((1.0, 0.008), (0.5, 0.013), (0.0, 0.013), (-0.5, 0.008)):
        azimuth = np.linspace(-180.0, 180.0, COLUMNS + 1)
        mix = 0.5 + 0.5 * np.cos(np.radians(azimuth))
        elevation = headwear.back_deg + (headwear.front_deg - headwear.back_deg) * mix
        directions = direction(azimuth, elevation + width * part)
        rows.append(head_map.above_skull(directions, clearance))
    return sheet(np.stack(rows))


def headphone_surfaces(
    rng: np.random.Generator, head_map: HeadMap, fit: HeadFit, clearance_m: float = 0.015
) -> list[Surface]:
    """Build over-ear headphones with a gap ``clearance_m`` between band and skull."""
    colour = random_rgb(rng)
    angle = np.radians(np.linspace(-98.0, 98.0, 19))
    lean = rng.uniform(-0.15, 0.25)
    arc = np.stack([np.sin(angle), -np.cos(angle), 0.25 + lean * np.cos(angle)], -1)
    path = head_map.above_hull(normalize(arc), clearance_m)
    band = tube(path, 0.004, 6, flat=3.0, up=(0.0, 0.0, 1.0))
    parts = [band]
    size = rng.uniform(0.030, 0.043)
    for side in (-1.0, 1.0):
        ear = ear_centre_m(head_map, side)
        cup = ellipsoid((0.020, size * 1.15, size), 7, 14)
        parts.append(cup.transformed(np.eye(3), ear + np.array([side * 0.010, 0.0, 0.0])))
    mesh = fit.transfer_mesh(merge(parts))
    return [mesh.surface("headphones", uniform_texture(colour), PLASTIC)]


def earring_surfaces(rng: np.random.Generator, head_map: HeadMap, fit: HeadFit) -> list[Surface]:
    """Build a pair of studs, drops or hoops."""
    kind = rng.integers(3)
    size = rng.uniform(0.004, 0.018)
    parts = []
    for side in (-1.0, 1.0):
        lobe = ear_centre_m(head_map, side) + np.array([-0.004 * side, 0.030, -0.012])
        if kind == 0:
            parts.append(ellipsoid((0.004, 0.004, 0.004), 5, 8).transformed(np.eye(3), lobe))
        elif kind == 1:
            drop = ellipsoid((0.004, size, 0.004), 6, 8)
            parts.append(drop.transformed(np.eye(3), lobe + np.array([0.0, size, 0.0])))
        else:
            turn = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)
            hoop = np.stack([0.2 * np.sin(turn), 1.0 - np.cos(turn), np.sin(turn)], -1) * size
            parts.append(tube(lobe + hoop, 0.0011, 4, closed=True, up=(1.0, 0.0, 0.0)))
    mesh = fit.transfer_mesh(merge(parts))
    colour = np.array([[205, 165, 80], [200, 200, 205], [150, 30, 40]])[rng.integers(3)]
    return [mesh.surface("earrings", uniform_texture(colour), METAL)]


def ear_centre_m(head_map: HeadMap, side: float) -> np.ndarray:
    """Return the centre of the mean head's ear ``(3,)``; ``side`` is -1 or +1 (image right)."""
    jaw_start = head_map.landmarks_m[0 if side < 0 else 16]
    towards = jaw_start + np.array([0.0, 0.022, 0.035]) - head_map.centre_m
    radius = float(head_map.hull_radius_m(towards))
    return head_map.centre_m + towards / np.linalg.norm(towards) * radius
