"""Objects that hide half of a face: hands, a phone, a cup, a pillow, an edge, microphones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from trg.geometry.rotations import rotation_from_euler
from trglab.synth.accessories.occluders import HAND, HARD, hand_mesh, hand_texture
from trglab.synth.accessories.shapes import box, capsule, ellipsoid, lathe, merge
from trglab.synth.accessories.textures import (
    CLOTH,
    fabric_texture,
    opaque,
    random_rgb,
    uniform_texture,
)
from trglab.synth.choice import choose
from trglab.synth.colour import Rgb
from trglab.synth.render.surface import Material, Surface

SCREEN = Material(roughness=0.8, specular=0.01, blend=True, two_sided=True)
"""The mesh before a studio microphone, which one sees through."""

FOAM = Material(roughness=0.95, specular=0.01, two_sided=True)

CHIN, TIP_OF_NOSE, UPPER_LIP, LOWER_LIP = 8, 30, 51, 57
"""Indices of the 68 landmarks."""


def hiding_surfaces(
    rng: np.random.Generator, landmarks_m: np.ndarray, skin_rgb: Rgb, kind: str | None = None
) -> list[Surface]:
    """Build an object, drawn if not given, that hides a large part of a face, in the head frame.

    Parameters
    ----------
    landmarks_m
        ``(68, 3)`` with the current expression.
    skin_rgb
        sRGB of hands.
    kind
        One of :data:`HIDING_OBJECTS`.

    Raises
    ------
    ValueError
        ``kind`` is not one of them.
    """
    if kind is None:
        kind = choose(rng, {name: share for name, (share, _) in HIDING_OBJECTS.items()})
    if kind not in HIDING_OBJECTS:
        raise ValueError(f"hiding object: expected one of {tuple(HIDING_OBJECTS)}, got {kind!r}")
    return HIDING_OBJECTS[kind][1](rng, landmarks_m.astype(np.float64), skin_rgb)


def _covering_hand(
    rng: np.random.Generator, tips_m: np.ndarray, landmarks_m: np.ndarray, side: float, rgb: Rgb
) -> Surface:
    """Return a hand before the face with its fingertips at a point."""
    at = tips_m + rng.normal(0.0, 0.008, 3)
    # The palm lies on what protrudes most below the fingertips.
    at[2] = min(at[2], landmarks_m[TIP_OF_NOSE, 2] + 0.4 * abs(at[0])) - 0.004
    turn = rotation_from_euler(rng.normal(0.0, (12.0, 8.0, 16.0)))
    placed = hand_mesh(rng, side).transformed(turn, at)
    return placed.surface("hand", hand_texture(rng, rgb), HAND)


def _one_hand(rng: np.random.Generator, landmarks_m: np.ndarray, rgb: Rgb) -> list[Surface]:
    side = rng.choice([-1.0, 1.0])
    left, right = (17, 36, 31, 2), (26, 45, 35, 14)
    tips_m = landmarks_m[rng.choice([*(left if side < 0 else right), 33, UPPER_LIP, 27])]
    return [_covering_hand(rng, tips_m, landmarks_m, side, rgb)]


def _two_hands(rng: np.random.Generator, landmarks_m: np.ndarray, rgb: Rgb) -> list[Surface]:
    row = [(17, 26), (39, 42), (48, 54), (31, 35)][rng.integers(4)]
    return [
        _covering_hand(rng, landmarks_m[index], landmarks_m, side, rgb)
        for index, side in zip(row, (-1.0, 1.0), strict=True)
    ]


def _phone(rng: np.random.Generator, landmarks_m: np.ndarray, rgb: Rgb) -> list[Surface]:
    """Return a phone: half of the time before the face, as in mirrors, else at an ear."""
    side = rng.choice([-1.0, 1.0])
    if rng.random() < 0.5:
        at = landmarks_m[TIP_OF_NOSE] + rng.normal(0.0, (0.03, 0.03, 0.0))
        at[2] -= rng.uniform(0.03, 0.15)
        turn = rotation_from_euler(rng.normal(0.0, (8.0, 8.0, 25.0)))
        hold_m = at + (side * 0.03, 0.03, 0.012)
    else:
        at = landmarks_m[2 if side < 0 else 14] + (side * 0.012, -0.01, 0.01)
        turn = rotation_from_euler(np.array([side * 70.0, 0.0, -side * rng.uniform(10.0, 35.0)]))
        hold_m = at + (side * 0.02, -0.01, -0.01)
    texture = np.full((48, 24, 3), rng.uniform(10.0, 230.0))
    texture[3:12, 3:10] = 12.0  # its cameras
    phone = box((rng.uniform(0.068, 0.08), rng.uniform(0.14, 0.165), 0.009))
    hand = hand_mesh(rng, side).transformed(turn, hold_m)
    return [
        phone.transformed(turn, at).surface("phone", opaque(texture), HARD),
        hand.surface("hand", hand_texture(rng, rgb), HAND),
    ]


def _cup(rng: np.random.Generator, landmarks_m: np.ndarray, rgb: Rgb) -> list[Surface]:
    """Return a cup or glass one drinks from, tilted towards the mouth, and the hand at it."""
    wide, tall = rng.uniform(0.03, 0.045), rng.uniform(0.08, 0.13)
    # Wall and bottom share no vertices, which keeps their edge sharp.
    wall = lathe(np.array([[wide, 0.0], [0.92 * wide, tall]]), 20)
    bottom = lathe(np.array([[0.92 * wide, tall], [1e-4, tall + 1e-4]]), 20)
    rim = landmarks_m[LOWER_LIP] + (0.0, rng.uniform(-0.012, 0.0), -0.002)
    turn = rotation_from_euler(np.array([0.0, -rng.uniform(5.0, 50.0), rng.normal(0.0, 8.0)]))
    cup = merge([wall, bottom])
    placed = cup.transformed(turn, rim - turn @ np.array([0.0, 0.0, wide]))
    texture = fabric_texture(rng) if rng.random() < 0.6 else uniform_texture(random_rgb(rng))
    side = rng.choice([-1.0, 1.0])
    hold_m = rim + turn @ np.array([side * (wide + 0.008), 0.4 * tall, -wide])
    hand = hand_mesh(rng, side).transformed(turn, hold_m)
    return [
        placed.surface("cup", texture, HARD),
        hand.surface("hand", hand_texture(rng, rgb), HAND),
    ]


def _pillow(rng: np.random.Generator, landmarks_m: np.ndarray, _: Rgb) -> list[Surface]:
    """Return a pillow into which one side of the face is pressed."""
    side = rng.choice([-1.0, 1.0])
    half = np.array([rng.uniform(0.08, 0.13), rng.uniform(0.2, 0.3), rng.uniform(0.1, 0.16)])
    ball = ellipsoid(half.tolist(), 14, 22)
    unit = ball.vertices_m / half
    flat = np.sign(unit) * np.abs(unit) ** 0.6 * half  # flatter than an ellipsoid
    folds = 0.006 * np.sin(flat @ rng.normal(0.0, 25.0, (3, 3)) + rng.uniform(0, 6, 3)).sum(1)
    mesh = ball.with_vertices(flat + folds[:, None] * unit)
    edge_x = rng.uniform(-0.015, 0.035)  # of the face that stays visible
    at = np.array([side * (edge_x + half[0]), landmarks_m[28, 1], landmarks_m[27, 2] + 0.06])
    turn = rotation_from_euler(rng.normal(0.0, (10.0, 10.0, 12.0)))
    pale = np.clip(rng.normal(215.0, 25.0) + rng.normal(0.0, 8.0, 3), 60.0, 248.0)
    texture = fabric_texture(rng, pale if rng.random() < 0.7 else None)
    return [mesh.transformed(turn, at).surface("pillow", texture, CLOTH)]


def _edge(rng: np.random.Generator, landmarks_m: np.ndarray, _: Rgb) -> list[Surface]:
    """Return a straight edge of a wall, door or book that hides one side of the face."""
    size = np.array([0.5, 0.5, 0.01])
    aside = rng.choice([0.0, 90.0, 180.0, 270.0], p=[0.3, 0.3, 0.3, 0.1]) + rng.normal(0.0, 12.0)
    turn = rotation_from_euler(np.array([0.0, 0.0, aside]))
    away = turn @ np.array([0.25 + rng.uniform(-0.01, 0.04), 0.0, 0.0])
    at = landmarks_m[TIP_OF_NOSE] + away - (0.0, 0.0, rng.uniform(0.01, 0.04))
    texture = fabric_texture(rng) if rng.random() < 0.4 else uniform_texture(random_rgb(rng))
    return [box(tuple(size.tolist())).transformed(turn, at).surface("edge", texture, CLOTH)]


def _handheld_microphone(
    rng: np.random.Generator, landmarks_m: np.ndarray, rgb: Rgb
) -> list[Surface]:
    radius = rng.uniform(0.02, 0.03)
    ball = ellipsoid((radius, radius, radius), 8, 14)
    body = np.array([[0.0, 0.6 * radius, 0.0], [0.0, 0.06, 0.0], [0.0, 0.22, 0.0]])
    tapered = capsule(body, np.array([0.85, 0.62, 0.45]) * radius, 9)
    tilt = rotation_from_euler(np.array([rng.normal(0, 25), rng.uniform(-75, -15), 0.0]))
    at = landmarks_m[rng.choice([UPPER_LIP, LOWER_LIP, CHIN])].copy()
    at[2] = min(at[2], landmarks_m[UPPER_LIP, 2]) - rng.uniform(0.8, 1.8) * radius
    at[:2] += rng.normal(0.0, 0.008, 2)
    side = rng.choice([-1.0, 1.0])
    held_m = at + tilt @ np.array([0.0, 0.06, 0.03])
    upright = rotation_from_euler(np.array([0.0, -rng.uniform(0.0, 20.0), 0.0]))
    grip = hand_mesh(rng, side).transformed(upright, held_m)
    return [
        ball.transformed(tilt, at).surface("microphone", _grille(rng), HARD),
        tapered.transformed(tilt, at).surface(
            "microphone handle", uniform_texture(np.full(3, rng.uniform(15, 70))), HARD
        ),
        grip.surface("hand", hand_texture(rng, rgb), HAND),
    ]


def _boom_microphone(rng: np.random.Generator, landmarks_m: np.ndarray, _: Rgb) -> list[Surface]:
    """Return a long windshield on a pole that comes into the picture from above or below."""
    radius, half = rng.uniform(0.025, 0.045), rng.uniform(0.06, 0.12)
    shield = capsule(np.array([[0.0, 0.0, -half], [0.0, 0.0, half]]), radius, 12)
    lumps = 1.0 + 0.06 * rng.standard_normal(len(shield.vertices_m))
    shield = shield.with_vertices(shield.vertices_m * lumps[:, None])
    rises = rng.choice([-1.0, 1.0], p=[0.3, 0.7])  # y points down
    pole = capsule(np.array([[0.0, 0.0, 0.0], [0.0, rises * 0.4, -0.25]]), 0.008, 7)
    at = landmarks_m[CHIN] + rng.normal(0.0, (0.03, 0.012, 0.0)) + (0.0, rises * 0.015, 0.0)
    at[2] = landmarks_m[TIP_OF_NOSE, 2] - half * rng.uniform(0.5, 1.2) - 0.02
    turn = rotation_from_euler(rng.normal(0.0, (30.0, 15.0, 0.0)))
    grey = np.full(3, rng.uniform(20.0, 130.0))
    return [
        shield.transformed(turn, at).surface("microphone", fabric_texture(rng, grey), FOAM),
        pole.transformed(turn, at).surface("pole", uniform_texture(np.full(3, 25.0)), HARD),
    ]


def _studio_microphone(rng: np.random.Generator, landmarks_m: np.ndarray, _: Rgb) -> list[Surface]:
    """Return a large microphone on an arm, in half of all draws behind a mesh screen."""
    radius, tall = rng.uniform(0.022, 0.034), rng.uniform(0.07, 0.12)
    path = np.array([[0.0, -0.5 * tall, 0.0], [0.0, 0.5 * tall, 0.0]])
    side = rng.choice([-1.0, 1.0])
    arm = np.array([[0.0, 0.4 * tall, 0.0], [side * 0.1, 0.12, -0.02], [side * 0.3, 0.3, 0.0]])
    at = landmarks_m[LOWER_LIP] + rng.normal(0.0, (0.012, 0.012, 0.0))
    at[2] = landmarks_m[TIP_OF_NOSE, 2] - radius - rng.uniform(0.03, 0.12)
    turn = rotation_from_euler(rng.normal(0.0, (10.0, 10.0, 20.0)))
    surfaces = [
        capsule(path, radius, 14)
        .transformed(turn, at)
        .surface("microphone", _grille(rng), replace(HARD, roughness=0.4)),
        capsule(arm, 0.009, 7)
        .transformed(turn, at)
        .surface("arm", uniform_texture(np.full(3, 30.0)), HARD),
    ]
    if rng.random() < 0.5:
        disc = ellipsoid((0.07, 0.07, 0.002), 6, 24)
        disc = disc.transformed(turn, at + (0.0, 0.0, radius + rng.uniform(0.0, 0.02)))
        surfaces.append(disc.surface("screen", uniform_texture(np.full(3, 14.0), 0.7), SCREEN))
    return surfaces


def _worn_microphone(rng: np.random.Generator, landmarks_m: np.ndarray, _: Rgb) -> list[Surface]:
    """Return a headset's arm with foam at a corner of the mouth, or a clip below the chin."""
    foam_rgb = np.full(3, rng.uniform(12.0, 60.0))
    if rng.random() < 0.3:
        clip = ellipsoid((0.006, 0.011, 0.006), 6, 9)
        at = landmarks_m[CHIN] + (rng.normal(0.0, 0.02), rng.uniform(0.07, 0.13), 0.0)
        return [clip.transformed(np.eye(3), at).surface("clip", uniform_texture(foam_rgb), FOAM)]
    left = rng.random() < 0.5
    corner = landmarks_m[48 if left else 54]
    ear = landmarks_m[1 if left else 15]
    side = -1.0 if left else 1.0
    end = corner + (side * rng.uniform(-0.015, 0.012), rng.uniform(-0.002, 0.02), -0.018)
    middle = 0.5 * (ear + end) + (side * 0.016, 0.006, -0.012)
    start = ear + (side * 0.006, 0.0, 0.012)
    size = rng.uniform(0.006, 0.014)
    foam = ellipsoid((size, size, size), 7, 10)
    return [
        capsule(np.stack([start, middle, end]), 0.0018, 6).surface(
            "arm", uniform_texture(np.full(3, 20.0)), HARD
        ),
        foam.transformed(np.eye(3), end).surface("microphone", uniform_texture(foam_rgb), FOAM),
    ]


def _grille(rng: np.random.Generator) -> np.ndarray:
    grey = rng.uniform(25.0, 150.0)
    grain = np.where((np.indices((32, 32)).sum(0) % 4)[..., None] < 2, 1.15, 0.85)
    return opaque(grain * np.full(3, grey))


Builder = Callable[[np.random.Generator, np.ndarray, Rgb], list[Surface]]

HIDING_OBJECTS: Mapping[str, tuple[float, Builder]] = {
    "hand": (0.16, _one_hand),
    "hands": (0.12, _two_hands),
    "phone": (0.12, _phone),
    "cup": (0.12, _cup),
    "pillow": (0.12, _pillow),
    "edge": (0.10, _edge),
    "handheld microphone": (0.10, _handheld_microphone),
    "boom microphone": (0.05, _boom_microphone),
    "studio microphone": (0.06, _studio_microphone),
    "worn microphone": (0.05, _worn_microphone),
}
"""Share of each kind and the function that builds it."""
