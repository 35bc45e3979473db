"""Procedural hair: layered sheets of strands along guide curves.

Guides start at a *parting*, an arc of a great circle on the skull, run over the skull to the
*hairline*, and hang down from there. A parting at the crown gives hair combed forward, one along
the top a side or middle parting, one low at the back a bun or a ponytail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trg.geometry.rotations import normalize
from trglab.synth.accessories.head_map import (
    HeadFit,
    HeadMap,
    azimuth_elevation,
    direction,
    slerp,
)
from trglab.synth.accessories.shapes import UvMesh, ellipsoid, merge, sheet, tube
from trglab.synth.accessories.strands import HairColour, StrandKind, StrandTexture
from trglab.synth.noise import smooth_noise_1d
from trglab.synth.render.surface import Material, Surface

GUIDES = 56
SKULL_STEPS = 8
HANG_STEPS = 7
FRAYED_FROM = 0.72
"""v up to which the texture of the lowest layer has no gaps."""

HAIR_MATERIAL = Material(
    roughness=0.45, specular=0.022, anisotropy=0.8, two_sided=True, coarse_light=True
)
COILY_MATERIAL = Material(roughness=0.8, specular=0.015, two_sided=True, coarse_light=True)


@dataclass(frozen=True, slots=True)
class Hairline:
    """The hairline: elevations in degrees, seen from the centre of the skull."""

    forehead_deg: float = 38.0
    temple_deg: float = 36.0
    peak_deg: float = 0.0
    """Depth of a widow's peak."""
    sideburn_deg: float = -10.0
    ear_deg: float = 7.0
    """Above the ears; below about -5 hair covers them."""
    nape_deg: float = -42.0

    def elevation_deg(self, azimuth_deg: np.ndarray) -> np.ndarray:
        """Return the elevation of the hairline at azimuths in degrees."""
        side = np.abs(azimuth_deg)
        at = [0, 16, 36, 50, 63, 71, 78, 85, 104, 116, 132, 180]
        cheek = 0.5 * (self.temple_deg + self.sideburn_deg)
        values = [
            self.forehead_deg - self.peak_deg, self.forehead_deg + 1.0, self.temple_deg + 3.0,
            self.temple_deg - 7.0, cheek, self.sideburn_deg + 1.0, self.sideburn_deg,
            self.ear_deg, self.ear_deg - 1.0, 0.5 * (self.ear_deg + self.nape_deg),
            self.nape_deg, self.nape_deg - 3.0,
        ]  # fmt: skip
        return np.interp(side, at, values)


@dataclass(frozen=True, slots=True)
class GrownHair:
    """Parameters of a procedural hairstyle; lengths are for a head of mean size.

    Attributes
    ----------
    parting_deg
        ``((azimuth, elevation), (azimuth, elevation))`` of both ends of the parting.
    fringe_m, side_m, back_m
        Length below the hairline over the forehead, in front of the ears, and behind them.
    top_m, flank_m
        Thickness of the hair on top and at the sides.
    lift
        Share of the thickness that remains at the hairline: 0 flat, 1 upright.
    gather
        ``none``, or what the strands form at the parting: ``bun`` or ``ponytail``.
    in_front
        Long hair falls in front of the shoulders.
    """

    kind: StrandKind = "straight"
    hairline: Hairline = Hairline()
    parting_deg: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 65.0), (180.0, 75.0))
    fringe_m: float = 0.0
    side_m: float = 0.0
    back_m: float = 0.0
    top_m: float = 0.02
    flank_m: float = 0.012
    lift: float = 0.3
    wave_m: float = 0.0
    mess: float = 0.3
    """0 combed, 1 tousled."""
    locks: int = 60
    gather: str = "none"
    in_front: bool = True
    layers: int = 3
    pressed_above_deg: float | None = None
    """Hair above this elevation is pressed flat by headwear."""
    seed: int = 0


def grown_hair_surfaces(
    hair: GrownHair, colour: HairColour, head_map: HeadMap, fit: HeadFit, strands: StrandTexture
) -> list[Surface]:
    """Build a hairstyle on a person's head, in the head frame; deterministic.

    ``strands`` must be of the kind ``hair.kind``.
    """
    rng = np.random.default_rng(hair.seed)
    material = COILY_MATERIAL if hair.kind in ("coily", "buzz") else HAIR_MATERIAL
    base, over = strands.tinted(colour, opaque=FRAYED_FROM), strands.tinted(colour)
    under: list[UvMesh] = []
    outer: list[UvMesh] = []
    top_layer = None
    for layer in range(hair.layers):
        height = (layer + 1.0) / hair.layers
        guides = _comb(hair, head_map, rng, height, float(rng.uniform(0.0, 0.5)))
        (under if layer == 0 else outer).append(_sheet_of(guides, hair.kind, rng))
        top_layer = guides
    assert top_layer is not None
    if hair.locks and hair.kind not in ("coily", "buzz"):
        outer.append(_loose_locks(hair, top_layer, head_map, rng))
    if hair.gather != "none":
        outer.append(_gathered(hair, head_map, rng))
    surfaces = []
    for name, meshes, texture in (("hair", under, base), ("hair outer", outer, over)):
        if meshes:
            surfaces.append(fit.transfer_mesh(merge(meshes)).surface(name, texture, material))
    return surfaces


@dataclass(frozen=True, slots=True)
class _Guides:
    """Guide strands: points ``(steps, guides, 3)`` and texture v ``(steps, guides)``."""

    points_m: np.ndarray
    v: np.ndarray


def _comb(
    hair: GrownHair, head_map: HeadMap, rng: np.random.Generator, height: float, phase: float
) -> _Guides:
    """Return one layer of guide strands at a share ``height`` of the full thickness."""
    turn = np.linspace(-1.0, 1.0, GUIDES + 1)
    azimuth = 180.0 * np.sign(turn) * np.abs(turn) ** 1.25  # denser around the face
    jitter = smooth_noise_1d(rng, GUIDES + 1, 30, closed=True)
    line = hair.hairline.elevation_deg(azimuth) + (0.8 + 2.0 * hair.mess) * jitter
    line += 3.0 * (1.0 - height) * (np.abs(azimuth) < 60)  # the lowest layer starts farther back
    ends = direction(azimuth, line)
    roots = _nearest_on_arc(ends, hair.parting_deg)
    at = np.linspace(0.0, 1.0, SKULL_STEPS) ** 0.8
    directions = slerp(roots, ends, at)
    offset = _thickness(hair, directions, at, rng) * height + 0.0015
    radius = head_map.skull_radius_m(directions)
    covers = np.clip((-hair.hairline.ear_deg + 2.0) / 8.0, 0.0, 1.0)
    radius = radius + covers * np.clip(head_map.hull_radius_m(directions) - radius, 0.0, 0.02)
    skull = head_map.centre_m + directions * (radius + offset)[..., None]
    length = _hang_length(hair, azimuth) * (1.0 + 0.12 * hair.mess * jitter) * (0.8 + 0.2 * height)
    hang = _hang(hair, head_map, skull, length, azimuth, height)
    points = np.concatenate([skull, hang]) if length.max() > 0.0 else skull
    points = points + _waves(hair, points, rng, phase)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    path = np.concatenate([np.zeros((1, len(azimuth))), np.cumsum(steps, axis=0)])
    # 14 mm of short hair and up to 60 mm of long hair are frayed.
    frayed = np.clip(0.3 * length, 0.014, 0.06)
    return _Guides(points, frayed_v(path, path[-1], frayed))


def frayed_v(path_m: np.ndarray, total_m: np.ndarray, frayed_m: np.ndarray) -> np.ndarray:
    """Return texture v at ``path_m`` along strands of length ``total_m`` with frayed ends."""
    intact_m = total_m - frayed_m
    return np.where(
        path_m < intact_m,
        FRAYED_FROM * path_m / intact_m,
        FRAYED_FROM + (1.0 - FRAYED_FROM) * (path_m - intact_m) / frayed_m,
    )


def _nearest_on_arc(
    directions: np.ndarray, arc_deg: tuple[tuple[float, float], tuple[float, float]]
) -> np.ndarray:
    """Return the unit vectors on an arc that lie approximately nearest to each direction."""
    (azimuth_0, elevation_0), (azimuth_1, elevation_1) = arc_deg
    start = direction(np.array(azimuth_0), np.array(elevation_0))
    end = direction(np.array(azimuth_1), np.array(elevation_1))
    span = end - start
    along = (directions - start) @ span / max(float(span @ span), 1e-9)
    along = 0.5 + 0.5 * np.tanh(1.6 * (along - 0.5))
    return normalize(start + along[:, None] * span)


def _thickness(
    hair: GrownHair, directions: np.ndarray, at: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the distance of the outermost layer from the skull along the guides, metres."""
    _, elevation = azimuth_elevation(directions)
    upper = np.clip((elevation - 5.0) / 45.0, 0.0, 1.0)
    upper = upper * upper * (3.0 - 2.0 * upper)
    full = hair.flank_m + (hair.top_m - hair.flank_m) * upper
    rise = np.clip(at / 0.25, 0.35, 1.0)[:, None]  # flat at the parting
    hangs = _hang_length(hair, azimuth_elevation(directions[-1])[0]) > 0.01
    keep = np.where(hangs, np.maximum(hair.lift, 0.6), hair.lift)
    fall = 1.0 - (1.0 - keep) * np.clip((at[:, None] - 0.55) / 0.45, 0.0, 1.0) ** 1.5
    lumps = smooth_noise_1d(rng, directions.shape[1], 18, closed=True)
    thickness = full * rise * fall * (1.0 + 0.18 * hair.mess * lumps)
    if hair.pressed_above_deg is not None:
        pressed = np.clip((elevation - hair.pressed_above_deg + 12.0) / 10.0, 0.0, 1.0)
        thickness = thickness + pressed * (np.minimum(thickness, 0.004) - thickness)
    return thickness


def _hang_length(hair: GrownHair, azimuth_deg: np.ndarray) -> np.ndarray:
    """Return the length below the hairline at each azimuth, metres."""
    knots = [0, 32, 46, 62, 84, 112, 180]
    fringe, side, back = hair.fringe_m, hair.side_m, hair.back_m
    values = [fringe, 0.96 * fringe, 0.5 * (fringe + side), side, side, back, back]
    return np.interp(np.abs(azimuth_deg), knots, values)


def _hang(
    hair: GrownHair,
    head_map: HeadMap,
    skull: np.ndarray,
    length_m: np.ndarray,
    azimuth_deg: np.ndarray,
    height: float,
) -> np.ndarray:
    """Continue guides downwards from the hairline, outside the head: ``(HANG_STEPS, n, 3)``."""
    point, step = skull[-1], (length_m / HANG_STEPS)[:, None]
    heading = normalize(skull[-1] - skull[-2])
    down = np.array([0.0, 1.0, 0.0])
    clear = 0.004 + 0.006 * height
    shoulder_y = head_map.landmarks_m[8, 1] + 0.055
    points = []
    for _ in range(HANG_STEPS):
        heading = normalize(0.5 * heading + 0.5 * down)
        point = point + step * heading
        out = point - head_map.centre_m
        far = np.linalg.norm(out, axis=-1)
        least = head_map.hull_radius_m(out) + clear
        point = np.where(
            (far < least)[:, None], head_map.centre_m + out * (least / far)[:, None], point
        )
        # Keep long hair on the chest or on the back, outside the shoulders.
        under = np.clip((point[:, 1] - shoulder_y + 0.03) / 0.05, 0.0, 1.0)
        front = (np.abs(azimuth_deg) < 96) if hair.in_front else np.zeros(len(azimuth_deg), bool)
        depth = np.where(
            front, np.minimum(point[:, 2], -0.055 - 0.01 * height),
            np.maximum(point[:, 2], 0.125 + 0.01 * height),
        )  # fmt: skip
        point = point.copy()
        point[:, 2] += under * (depth - point[:, 2])
        points.append(point)
    return np.stack(points)


def _waves(
    hair: GrownHair, points: np.ndarray, rng: np.random.Generator, phase: float
) -> np.ndarray:
    """Return offsets of waves, curls and tousled hair, ``(steps, guides, 3)``."""
    steps, guides = points.shape[:2]
    along = np.linspace(0.0, 1.0, steps)[:, None]
    lag = 1.5 * smooth_noise_1d(rng, guides, 16, closed=True)
    swing = np.sin(2.0 * np.pi * (3.0 * along + phase) + lag) * hair.wave_m
    # Smooth over neighbouring strands; otherwise the surface looks crumpled.
    tousle = rng.standard_normal((steps, guides))
    for _ in range(2):
        tousle = 0.5 * tousle + 0.25 * (np.roll(tousle, 1, 1) + np.roll(tousle, -1, 1))
        tousle[1:-1] = 0.5 * tousle[1:-1] + 0.25 * (tousle[2:] + tousle[:-2])
    swing = swing + 0.005 * hair.mess * tousle
    if hair.kind == "coily":
        swing = swing + 0.06 * hair.top_m * rng.standard_normal((steps, guides))
    swing = swing * np.clip(3.0 * along, 0.0, 1.0)
    swing[:, -1] = swing[:, 0]
    if hair.pressed_above_deg is not None:
        swing = 0.3 * swing
    outward = normalize(points * np.array([1.0, 0.3, 1.0]))
    sideways = np.cross(outward, [0.0, 1.0, 0.0])
    # Limit inward offsets, which would end below the skin.
    return np.maximum(swing, -0.001)[..., None] * outward + 0.8 * swing[..., None] * sideways


def _sheet_of(guides: _Guides, kind: StrandKind, rng: np.random.Generator) -> UvMesh:
    steps, count = guides.v.shape
    repeats = 3 if kind in ("straight", "wavy") else 2
    # u runs to and fro, so that neither repeats nor ends show a seam.
    turn = np.linspace(0.0, 2.0 * repeats, count) + rng.uniform(0.0, 2.0)
    u = np.abs((turn % 2.0) - 1.0)
    uv = np.stack([np.broadcast_to(u, (steps, count)), guides.v], axis=-1)
    return sheet(guides.points_m, uv)


def _loose_locks(
    hair: GrownHair, guides: _Guides, head_map: HeadMap, rng: np.random.Generator
) -> UvMesh:
    """Return narrow ribbons over the outer layer that break up its outline."""
    steps, count = guides.v.shape
    meshes = []
    for _ in range(hair.locks):
        guide = int(rng.integers(1, count - 1))
        first = int(rng.integers(0, max(1, steps // 2)))
        last = min(steps, first + int(rng.integers(4, max(5, steps))))
        path = guides.points_m[first:last, guide]
        side = guides.points_m[first:last, guide + 1] - guides.points_m[first:last, guide - 1]
        along = np.linspace(0.0, 1.0, len(path))[:, None]
        width = rng.uniform(0.003, 0.010) * (1.0 - 0.75 * along**2)
        outward = normalize(path - head_map.centre_m)
        raise_m = (0.0006 + hair.mess * rng.uniform(0.0, 0.006)) * along**1.5
        drift = rng.normal(0.0, 0.012 * (0.2 + hair.mess)) * along**2
        across = normalize(side)
        middle = path + raise_m * outward + drift * across
        uv = np.zeros((len(path), 2, 2))
        uv[..., 0] = rng.uniform(0.0, 0.9) + np.array([0.0, 0.1])
        uv[..., 1] = 0.15 + 0.83 * along
        meshes.append(sheet(np.stack([middle - width * across, middle + width * across], 1), uv))
    return merge(meshes)


def _gathered(hair: GrownHair, head_map: HeadMap, rng: np.random.Generator) -> UvMesh:
    """Return a bun or a ponytail at the start of the parting."""
    towards = direction(*(np.array(angle) for angle in hair.parting_deg[0]))
    radius = head_map.skull_radius_m(towards) + 0.006
    seat = head_map.centre_m + towards * radius
    if hair.gather == "bun":
        size = rng.uniform(0.024, 0.04)
        ball = ellipsoid((size, size * 0.85, size * 0.9), 7, 12)
        lumps = 1.0 + 0.08 * rng.standard_normal(len(ball.vertices_m))
        moved = ball.vertices_m * lumps[:, None] + seat + towards * size * 0.6
        return UvMesh(
            moved.astype(np.float32), ball.triangles, ball.uv * np.array([1, 0.7], np.float32)
        )
    at = np.linspace(0.0, 1.0, 9)[:, None]
    length = max(hair.back_m, 0.12)
    path = seat + towards * 0.05 * np.sqrt(at) + np.array([0.0, 1.0, 0.0]) * length * at**1.4
    path = path + np.array([rng.normal(0.0, 0.02), 0.0, 0.0]) * at
    girth = 0.021 * (1.0 + 0.35 * np.sin(np.pi * at[:, 0])) * (1.0 - 0.6 * at[:, 0] ** 3)
    return tube(path, girth, 9, up=(1.0, 0.0, 0.1))
