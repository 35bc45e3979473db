"""Glasses and sunglasses, fitted to eyes, nose and ears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from trglab.synth.accessories.head_map import HeadFit, HeadMap
from trglab.synth.accessories.headwear import ear_centre_m
from trglab.synth.accessories.shapes import UvMesh, merge, tube
from trglab.synth.accessories.textures import random_rgb, uniform_texture
from trglab.synth.colour import Rgb, rgb_tuple
from trglab.synth.render.surface import Material, Surface

LensShape = Literal["round", "oval", "rectangle", "aviator", "cat eye", "square"]
LENS_SHAPES: tuple[LensShape, ...] = get_args(LensShape)

LENS = Material(roughness=0.05, specular=0.025, mirror=0.4, blend=True, two_sided=True)
FRAME_MATERIAL = Material(roughness=0.3, specular=0.05, mirror=0.1, two_sided=True)

OUTLINE_POINTS = 28


@dataclass(frozen=True, slots=True)
class Glasses:
    """A pair of glasses. Lengths are for an adult's face and scale with the face.

    Attributes
    ----------
    width_m, height_m
        Size of one lens.
    rim_m
        Half the thickness of the rim; 0: rimless.
    tint
        Opacity of the lenses: 0.05 clear to 0.95 dark.
    drop_m
        Offset of the frame down the nose.
    """

    shape: LensShape = "rectangle"
    width_m: float = 0.050
    height_m: float = 0.034
    rim_m: float = 0.0014
    frame_rgb: Rgb = (25.0, 22.0, 20.0)
    tint: float = 0.06
    tint_rgb: Rgb = (30.0, 32.0, 30.0)
    drop_m: float = 0.002


def sample_glasses(rng: np.random.Generator) -> Glasses:
    """Draw glasses: about two thirds clear, the others sunglasses."""
    dark = rng.random() < 0.33
    height = rng.uniform(0.026, 0.044) + (0.006 if dark else 0.0)
    rim = rng.choice([0.0, 0.0008, 0.0014, 0.0026], p=[0.12, 0.38, 0.3, 0.2])
    colours = [(25, 22, 20), (70, 45, 30), (150, 150, 155), (190, 155, 90), tuple(random_rgb(rng))]
    frame_rgb = colours[int(rng.choice(5, p=[0.45, 0.15, 0.17, 0.11, 0.12]))]
    tints = [(22, 22, 24), (60, 42, 25), (30, 45, 60), (120, 90, 60)]
    tint_rgb = tints[int(rng.integers(4))]
    return Glasses(
        shape=LENS_SHAPES[int(rng.integers(len(LENS_SHAPES)))],
        width_m=float(rng.uniform(0.044, 0.056)),
        height_m=float(height),
        rim_m=float(rim),
        frame_rgb=rgb_tuple(np.array(frame_rgb, float)),
        tint=float(rng.uniform(0.5, 0.97) if dark else rng.uniform(0.02, 0.10)),
        tint_rgb=rgb_tuple(np.array(tint_rgb, float)),
        drop_m=float(rng.exponential(0.003)),
    )


def glasses_surfaces(
    glasses: Glasses, landmarks_m: np.ndarray, head_map: HeadMap, fit: HeadFit
) -> list[Surface]:
    """Build glasses on a person with neutral landmarks ``(68, 3)``, in the head frame.

    Eyes and the bridge of the nose determine the position of the frame; the temples end at the
    ears.
    """
    eyes = np.stack([landmarks_m[36:42].mean(0), landmarks_m[42:48].mean(0)])
    spacing = eyes[1, 0] - eyes[0, 0]
    size = spacing / 0.064  # mean adult interpupillary distance: 63 to 64 mm
    width, height = glasses.width_m * size, glasses.height_m * size
    height = min(height, 1.02 * width)
    bridge = landmarks_m[27]
    front_z = min(bridge[2] - 0.004, eyes[:, 2].min() - 0.017 * size)
    middle_y = eyes[:, 1].mean() + 0.003 * size + glasses.drop_m
    gap = max(spacing - width, 0.012 * size)
    outlines = []
    for side in (-1.0, 1.0):
        outline = _outline(glasses.shape, side) * (0.5 * width, 0.5 * height)
        x = outline[:, 0] + side * 0.5 * (gap + width)
        z = front_z + 1.6 * np.maximum(np.abs(x) - 0.02, 0.0) ** 2 / size  # slightly wrapped
        outlines.append(np.stack([x, outline[:, 1] + middle_y, z], axis=-1))
    frame = _frame(glasses, outlines, head_map, fit, size)
    surfaces = [
        frame.surface("glasses", uniform_texture(np.array(glasses.frame_rgb)), FRAME_MATERIAL)
    ]
    lenses = merge([_lens(outline) for outline in outlines])
    surfaces.append(lenses.surface("lenses", _lens_texture(glasses), LENS))
    return surfaces


def _outline(shape: LensShape, side: float) -> np.ndarray:
    """Return a superellipse-like lens outline in [-1, 1], ``(28, 2)``, counter-clockwise, y up."""
    angle = np.linspace(0.0, 2.0 * np.pi, OUTLINE_POINTS, endpoint=False)
    power = {
        "round": 2.0, "oval": 2.3, "rectangle": 5.0, "square": 3.6, "aviator": 2.5, "cat eye": 3.0,
    }[shape]  # fmt: skip
    cos, sin = np.cos(angle), np.sin(angle)
    radius = (np.abs(cos) ** power + np.abs(sin) ** power) ** (-1.0 / power)
    x, y = radius * cos, -radius * sin
    outer = 0.5 + 0.5 * x * side  # 1 at the temple
    if shape == "aviator":
        y = np.where(y > 0, y * (1.25 - 0.35 * outer), y * 0.8)
        x = x * (1.0 - 0.12 * np.clip(y, 0.0, 1.0))
    elif shape == "cat eye":
        y = y - 0.35 * outer * (y < 0)
    elif shape == "rectangle":
        x = x * (1.0 - 0.06 * np.clip(y, -1.0, 1.0))
    return np.stack([x, y], axis=-1)


def _frame(
    glasses: Glasses, outlines: list[np.ndarray], head_map: HeadMap, fit: HeadFit, size: float
) -> UvMesh:
    rim = max(glasses.rim_m, 0.0006)
    parts = []
    if glasses.rim_m > 0.0:
        parts = [tube(line, rim * size, 4, closed=True, up=(0, 0, 1)) for line in outlines]
    left, right = outlines
    inner_left, inner_right = left[left[:, 0].argmax()], right[right[:, 0].argmin()]
    arch = np.linspace(0.0, 1.0, 5)[:, None]
    bridge = inner_left + (inner_right - inner_left) * arch
    bridge[:, 1] -= 0.004 * size * np.sin(np.pi * arch[:, 0]) + 0.15 * glasses.height_m
    bridge[:, 2] -= 0.002 * np.sin(np.pi * arch[:, 0])
    parts.append(tube(bridge, 1.1 * rim, 4))
    for side, line in ((-1.0, left), (1.0, right)):
        hinge = line[(side * line[:, 0]).argmax()] + [side * 0.002, -0.3 * glasses.height_m, 0.002]
        ear = fit.transfer(ear_centre_m(head_map, side))
        ear = ear + np.array([-side * 0.006, -0.030, 0.0]) * size
        hook = ear + np.array([-side * 0.006, 0.022, 0.022]) * size
        bow = np.stack([hinge, hinge + [side * 0.002, 0, 0.01], 0.5 * (hinge + ear), ear, hook])
        # Keep the temples outside the widest part of the head.
        bow[2, 0] = side * max(abs(bow[2, 0]), abs(ear[0]) - 0.002, abs(hinge[0]))
        parts.append(tube(bow, rim * 0.9, 4, flat=1.8))
    return merge(parts)


def _lens(outline: np.ndarray) -> UvMesh:
    """Return a triangle fan around the middle of the outline, with planar texture coordinates."""
    middle = outline.mean(axis=0)
    bulge = middle - np.array([0.0, 0.0, 0.0015])
    vertices = np.concatenate([outline, bulge[None]]).astype(np.float32)
    at = np.arange(len(outline))
    triangles = np.stack([at, np.roll(at, -1), np.full_like(at, len(outline))], axis=-1)
    low, high = outline[:, :2].min(0), outline[:, :2].max(0)
    uv = (vertices[:, :2] - low) / (high - low)
    return UvMesh(vertices, triangles.astype(np.int32), uv.astype(np.float32))


def _lens_texture(glasses: Glasses) -> np.ndarray:
    """Return tinted glass; sunglasses get lighter towards the bottom."""
    v = np.linspace(0.0, 1.0, 16)[:, None, None]
    alpha = 255.0 * glasses.tint * (1.0 - 0.3 * v * (glasses.tint > 0.3))
    rgb = np.broadcast_to(np.array(glasses.tint_rgb), (16, 16, 3))
    return np.concatenate([rgb, np.broadcast_to(alpha, (16, 16, 1))], -1).astype(np.uint8)
