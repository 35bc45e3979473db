"""Objects in front of a face: hands, phones, cups, books, microphones, sticks, cloth, blobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from trg.geometry.rotations import rotation_from_euler
from trglab.synth.accessories.shapes import UvMesh, box, capsule, ellipsoid, lathe, merge, sheet
from trglab.synth.accessories.textures import (
    BARE_SKIN,
    CLOTH,
    fabric_texture,
    opaque,
    random_rgb,
    uniform_texture,
)
from trglab.synth.choice import choose
from trglab.synth.colour import Rgb
from trglab.synth.render.surface import Material, Surface

OccluderKind = Literal[
    "hand", "phone", "cup", "book", "microphone", "stick", "cigarette", "cloth", "blob"
]
OCCLUDER_KINDS: tuple[OccluderKind, ...] = get_args(OccluderKind)
_OCCLUDER_PROBABILITIES: dict[OccluderKind, float] = {
    "hand": 0.44, "phone": 0.09, "cup": 0.08, "book": 0.06, "microphone": 0.09, "stick": 0.05,
    "cigarette": 0.04, "cloth": 0.05, "blob": 0.10,
}  # fmt: skip

HAND = replace(BARE_SKIN, two_sided=False)
HARD = Material(roughness=0.35, specular=0.04, mirror=0.1, two_sided=True)

_TOUCHED = (4, 8, 12, 2, 14, 19, 24, 36, 45, 30, 51, 57)
"""Landmarks near which occluders are placed: jaw, chin, brows, eyes, nose, mouth."""

_FLAT = ("phone", "book", "cloth", "stick")
"""Large rigid objects stay in front of the tip of the nose."""


@dataclass(frozen=True, slots=True)
class Occluder:
    """An object near the face.

    Attributes
    ----------
    landmark
        Index of the nearest of the 68 landmarks.
    offset_m
        ``(3,)`` from that landmark, head frame.
    yaw_pitch_roll_deg
        Orientation.
    skin_rgb
        sRGB of hands.
    seed
        Seed of shape and texture.
    """

    kind: OccluderKind = "hand"
    landmark: int = 8
    offset_m: tuple[float, float, float] = (0.0, 0.0, -0.02)
    yaw_pitch_roll_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    skin_rgb: Rgb = (200.0, 160.0, 140.0)
    seed: int = 0


def sample_occluder(rng: np.random.Generator, skin_rgb: Rgb = (200.0, 160.0, 140.0)) -> Occluder:
    """Draw an occluder; nearly half are hands."""
    kind = choose(rng, _OCCLUDER_PROBABILITIES)
    landmark = {"cup": 51, "cigarette": 51}.get(kind, int(rng.choice(_TOUCHED)))
    if kind == "microphone":
        landmark = 57
    spread = 0.004 if kind == "cigarette" else 0.02
    near = {"hand": 0.012, "cup": 0.05, "microphone": 0.05, "cigarette": 0.001}.get(
        kind, rng.uniform(0.04, 0.15)
    )
    x, y, z = rng.normal(0.0, spread, 3) * (1.0, 1.0, 0.2) - (0.0, 0.0, near)
    if kind in ("book", "phone", "cloth"):  # enters from below or from a side
        aside = rng.uniform(-0.7 * np.pi, 0.7 * np.pi)
        reach = {"book": 0.15, "phone": 0.06, "cloth": 0.14}[kind] * rng.uniform(0.8, 1.3)
        x, y = x + reach * np.sin(aside), y + reach * np.cos(aside)
    roll = rng.uniform(-180.0, 180.0) if kind in ("stick", "blob") else rng.normal(0.0, 30.0)
    return Occluder(
        kind=kind,
        landmark=landmark,
        offset_m=(float(x), float(y), float(z)),
        yaw_pitch_roll_deg=(float(rng.normal(0, 20)), float(rng.normal(0, 15)), float(roll)),
        skin_rgb=skin_rgb,
        seed=int(rng.integers(2**31)),
    )


def occluder_surfaces(occluder: Occluder, landmarks_m: np.ndarray) -> list[Surface]:
    """Build an occluder at landmarks ``(68, 3)`` with the current expression, in the head frame."""
    rng = np.random.default_rng(occluder.seed)
    anchor = landmarks_m[occluder.landmark].astype(np.float64)
    if occluder.kind in _FLAT:
        anchor[2] = min(anchor[2], landmarks_m[30, 2])
    rotation = rotation_from_euler(np.array(occluder.yaw_pitch_roll_deg))
    if occluder.kind == "hand":
        on_midline = abs(anchor[0]) <= 0.005
        is_left = anchor[0] < -0.005 or (on_midline and rng.random() < 0.5)
        side = -1.0 if is_left else 1.0
        mesh, texture, material = hand_mesh(rng, side), hand_texture(rng, occluder.skin_rgb), HAND
    else:
        mesh, texture, material = _BUILDERS[occluder.kind](rng)
    placed = mesh.transformed(rotation, anchor + np.array(occluder.offset_m))
    return [placed.surface(occluder.kind, texture, material)]


def hand_mesh(rng: np.random.Generator, side: float) -> UvMesh:
    """Return a hand and forearm: palm towards the face (+z), fingertips near the origin."""
    curl = rng.uniform(0.1, 1.1)
    spread = rng.uniform(0.0, 0.25)
    size = rng.uniform(0.85, 1.05)
    parts = [ellipsoid((0.040, 0.050, 0.014), 7, 10)]
    lengths = rng.normal(1.0, 0.03) * np.array([0.066, 0.075, 0.070, 0.056])
    bent = rng.random(4) < 0.15  # folded fingers
    for finger in range(4):
        base = np.array([(finger - 1.5) * 0.0195, -0.044 + 0.004 * abs(finger - 1.3), 0.0])
        fan = (finger - 1.5) * spread
        bend = curl + rng.normal(0.0, 0.12) + 1.6 * bent[finger]
        path = [base]
        for joint, share in enumerate((0.44, 0.31, 0.25)):
            lean = bend * (joint + 0.3) * 0.45
            across, along = np.sin(fan) * np.cos(lean), -np.cos(fan) * np.cos(lean)
            bone = np.array([across, along, np.sin(lean)])
            path.append(path[-1] + bone * lengths[finger] * share)
        parts.append(capsule(np.array(path), np.array([0.0095, 0.0088, 0.0082, 0.0072]), 7))
    thumb = np.array([[0.030, 0.020, 0.004], [0.050, -0.005, 0.010], [0.058, -0.030, 0.014]])
    parts.append(capsule(thumb, np.array([0.0125, 0.0105, 0.009]), 7))
    arm = np.array([[0.0, 0.030, 0.0], [0.0, 0.075, -0.003], [0.004, 0.30, -0.02]])
    parts.append(capsule(arm, np.array([0.026, 0.025, 0.038]), 9))
    mesh = merge(parts)
    # The forearm comes from below and from its own side.
    lean = np.array([0.0, 0.0, side * rng.uniform(5.0, 55.0)])
    mirrored = mesh.vertices_m * np.array([side, 1.0, 1.0], np.float32)
    triangles = mesh.triangles if side > 0 else mesh.triangles[:, ::-1].copy()
    tip = np.array([0.0, 0.085, -0.012 - 0.045 * min(curl, 0.9)])
    hand = UvMesh(size * (mirrored + tip).astype(np.float32), triangles, mesh.uv)
    return hand.transformed(rotation_from_euler(-lean), np.zeros(3))


def hand_texture(rng: np.random.Generator, rgb: Rgb) -> np.ndarray:
    """Paint the skin of a hand ``(48, 48, 4)`` uint8."""
    grain = np.exp(0.03 * rng.standard_normal((48, 48, 1)))
    red = 1.0 + 0.05 * np.sin(np.linspace(0, 9, 48))[:, None, None] * np.array([1.0, -0.3, -0.3])
    return opaque(np.array(rgb) * grain * red)


Parts = tuple[UvMesh, np.ndarray, Material]
"""Mesh, texture and material."""


def _phone(rng: np.random.Generator) -> Parts:
    body = box((0.072, 0.15, 0.009))
    texture = np.full((48, 24, 3), rng.uniform(10.0, 60.0))
    if rng.random() < 0.4:
        texture[2:-2, 2:-2] = random_rgb(rng)
    texture[3:10, 3:10] = 8.0
    return body, opaque(texture), HARD


def _cup(rng: np.random.Generator) -> Parts:
    wide, tall = rng.uniform(0.033, 0.045), rng.uniform(0.08, 0.12)
    taper = rng.uniform(0.7, 1.0)
    profile = np.array([
        [wide * 0.93, 0.0], [wide, 0.0], [wide * taper, tall], [1e-4, tall]
    ])  # fmt: skip
    parts = [lathe(profile, 18)]
    if rng.random() < 0.5:
        turn = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 8)
        loop = np.stack(
            [wide + 0.025 * np.cos(turn), 0.5 * tall + 0.028 * np.sin(turn), 0 * turn], -1
        )
        parts.append(capsule(loop, 0.005, 5))
    return merge(parts), fabric_texture(rng), HARD


def _book(rng: np.random.Generator) -> Parts:
    size = (rng.uniform(0.12, 0.3), rng.uniform(0.15, 0.3), rng.uniform(0.002, 0.03))
    texture = fabric_texture(rng)
    for _ in range(int(rng.integers(2, 7))):  # lines of print
        row, column = (int(start) for start in rng.integers(8, 100, 2))
        texture[row : row + int(rng.integers(2, 9)), column : column + 50, :3] = random_rgb(rng)
    return box(size), texture, CLOTH


def _microphone(rng: np.random.Generator) -> Parts:
    size = rng.uniform(0.018, 0.035)
    ball = ellipsoid((size, size, size), 7, 12)
    handle = capsule(np.array([[0, 0.01, 0], [0.0, 0.20, -0.04]]), 0.5 * size, 8)
    grey = rng.uniform(15.0, 110.0)
    grain = np.where((np.indices((32, 32)).sum(0) % 4)[..., None] < 2, 1.3, 0.7)
    return merge([ball, handle]), opaque(grain * np.full(3, grey)), HARD


def _stick(rng: np.random.Generator) -> Parts:
    half = rng.uniform(0.1, 0.3)
    bow = rng.normal(0.0, 0.02)
    path = np.array([[0.0, -half, 0.0], [bow, 0.0, 0.0], [0.0, half, 0.0]])
    return capsule(path, rng.uniform(0.002, 0.012), 7), fabric_texture(rng), HARD


def _cigarette(rng: np.random.Generator) -> Parts:
    length = rng.uniform(0.03, 0.085)
    path = np.array([[0.0, 0.0, 0.01], [0.0, 0.004, 0.01 - length]])
    texture = np.full((16, 4, 3), 232.0)
    texture[:5], texture[-2:] = (196.0, 140.0, 80.0), (70.0, 60.0, 55.0)
    return capsule(path, 0.004, 7), opaque(texture), CLOTH


def _cloth(rng: np.random.Generator) -> Parts:
    rows, columns = 14, 14
    v, u = np.mgrid[0:rows, 0:columns] / (rows - 1) - 0.5
    size = rng.uniform(0.1, 0.3)
    waves = 0.012 * np.sin(u * rng.uniform(8, 20) + 3.0 * v + rng.uniform(0, 6))
    points = np.stack([u * size * (1.0 + 0.2 * v), v * size * 1.3, waves], axis=-1)
    return sheet(points), fabric_texture(rng), CLOTH


def _blob(rng: np.random.Generator) -> Parts:
    ball = ellipsoid(rng.uniform(0.015, 0.07, 3).tolist(), 10, 16)
    shape = rng.normal(0.0, 12.0, (3, 4)) * 2.0
    lumps = 1.0 + 0.12 * np.sin(ball.vertices_m @ shape + rng.uniform(0, 6, 4)).sum(axis=1)
    mesh = ball.with_vertices(ball.vertices_m * lumps[:, None])
    texture = fabric_texture(rng) if rng.random() < 0.7 else uniform_texture(random_rgb(rng))
    return mesh, texture, CLOTH if rng.random() < 0.5 else HARD


_BUILDERS: dict[str, Callable[[np.random.Generator], Parts]] = {
    "phone": _phone,
    "cup": _cup,
    "book": _book,
    "microphone": _microphone,
    "stick": _stick,
    "cigarette": _cigarette,
    "cloth": _cloth,
    "blob": _blob,
}
