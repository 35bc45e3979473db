"""Cut-outs: heads rendered once with alpha and labels, to be composited into many scenes.

Each person has several heads, which differ in size, pose, expression and light, and one hard
negative: a body, headwear or hair without a head, or a hand.

Colours are relative to white light of unit brightness, so a scene can light all its heads alike.
The direction of the light of each cut-out remains visible.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg import __version__
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.projection import transform
from trg.geometry.rotations import rotation_from_euler
from trglab.detector.compositing import downsample, encode
from trglab.synth.accessories.occluders import Occluder, occluder_surfaces
from trglab.synth.environment.light import LUMINANCE, Light, white_point
from trglab.synth.environment.panorama import light_from_panorama, random_orientation
from trglab.synth.environment.procedural_lights import procedural_light
from trglab.synth.ingredients import Ingredients
from trglab.synth.render.raster import Rendering, render
from trglab.synth.render.surface import Surface
from trglab.synth.studio import Studio, Subject

CutoutKind = Literal["face", "back", "negative"]

SIZES: tuple[tuple[float, float, int], ...] = ((56.0, 2.7, 8), (120.0, 2.5, 3), (260.0, 1.9, 1))
"""Side of the face box in pixels, side of the rendering in face boxes, number per person."""

BODY_MARGIN = 0.4
"""Extra height in face boxes below small heads, for shoulders and chest."""

MAX_FACE_ANGLE_DEG = 100.0
"""Heads whose nose points farther away from the camera than this show no face."""

FIVE_POINTS = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), (30,), (48,), (54,))
"""The five points as means of the 68 landmarks: the person's right and left eye, tip of the nose,
right and left corner of the mouth."""

FACE_SAMPLES = 96
"""Number of sample points at which the visibility of a face is measured."""

PANORAMA_LIGHT_PROBABILITY = 0.65
MIN_RELATIVE_WHITE = 0.4
"""Lower limit of the exposure of a backlit head, relative to its omnidirectional light."""

_FACE_PARTS = ("skin", "mouth", "teeth", "eye", "lashes", "beard", "brows", "glasses", "lenses")
"""Prefixes of the names of surfaces that belong to a visible face; all others occlude it."""

_SUBJECT_STREAM, _HEAD_STREAM, _NEGATIVE_STREAM = 1, 2, 3
"""Keys of independent random streams."""


class Cutout(NamedTuple):
    """A head or a hard negative, cropped to its alpha; coordinates refer to the first level."""

    kind: CutoutKind
    levels: tuple[NDArray[np.uint8], ...]
    """Image pyramid: ``(h, w, 4)``, encoded as in :mod:`trglab.detector.compositing`, each level
    half as large as the one before."""
    landmarks68_px: NDArray[np.float32]
    """``(68, 2)``; of a hard negative, those of the head it was rendered for."""
    face_px: NDArray[np.float32]
    """``(FACE_SAMPLES, 2)`` sample points within the outline of the face."""
    face_seen: NDArray[np.bool_]
    """``(FACE_SAMPLES,)``: sample points where no accessory or object occludes the face."""
    light_x: float
    """Direction of the light from -1 (left) to 1 (right)."""

    @property
    def box_xyxy(self) -> NDArray[np.float64]:
        """The paper's face box ``(4,)``."""
        return face_box(self.landmarks68_px)

    @property
    def side_px(self) -> float:
        """Side of the face box."""
        return float(np.ptp(self.box_xyxy[[0, 2]]))


def five_points(landmarks68_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return eye centres, tip of the nose and corners of the mouth ``(5, 2)`` of ``(68, 2)``."""
    return np.stack([landmarks68_px[list(some)].mean(0) for some in FIVE_POINTS]).astype(np.float64)


class CutoutRenderer:
    """Renders the cut-outs of each person as a pure function of (seed, index).

    Parameters
    ----------
    ingredients
        Fields of :class:`~trglab.synth.ingredients.Ingredients` by name.
    face_model
        Path of a face model; None: the installed one, else the built-in head.
    for_training
        Warn if only the built-in head is available.
    """

    def __init__(
        self,
        seed: int = 0,
        ingredients: Mapping[str, Any] | None = None,
        face_model: str | Path | None = None,
        *,
        for_training: bool = False,
    ) -> None:
        self.seed = seed
        self.studio = Studio(
            Ingredients(**(ingredients or {})), face_model, for_training=for_training
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """Seed and assets as plain values; equal values give equal cut-outs."""
        return {"seed": self.seed, "version": __version__, **self.studio.provenance}

    def person(self, index: int) -> list[Cutout]:
        """Render all cut-outs of a person; the last one is the hard negative."""
        subject = self.studio.sample_subject(self._rng(_SUBJECT_STREAM, index))
        sizes = [size for *size, count in SIZES for _ in range(count)]
        heads = [
            self._head(self._rng(_HEAD_STREAM, index, i), subject, *size)
            for i, size in enumerate(sizes)
        ]
        return [*heads, self._negative(self._rng(_NEGATIVE_STREAM, index), subject)]

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *stream))

    def _head(
        self, rng: np.random.Generator, subject: Subject, box_px: float, margin: float
    ) -> Cutout:
        virtual_from_head = rotation_from_euler(_sample_angles_deg(rng))
        vertices_m = self.studio.sample_face_vertices(rng, subject, virtual_from_head)
        surfaces = self.studio.build_surfaces(rng, subject, vertices_m, virtual_from_head)
        angle = np.arccos(np.clip(virtual_from_head[2, 2], -1.0, 1.0))
        kind: CutoutKind = "back" if angle > np.radians(MAX_FACE_ANGLE_DEG) else "face"
        return self._render(rng, kind, surfaces, vertices_m, virtual_from_head, box_px, margin)

    def _negative(self, rng: np.random.Generator, subject: Subject) -> Cutout:
        """Render a part of a person that is no head."""
        rotation = rotation_from_euler(rng.normal(0.0, (40.0, 12.0, 8.0)))
        vertices_m = self.studio.sample_face_vertices(rng, subject, rotation)
        surfaces = self.studio.build_surfaces(rng, subject, vertices_m, rotation)
        worn = {surface.name for surface in subject.worn} - {"beard"}
        body = {surface.name for surface in subject.body}
        names = [(), sorted(body), sorted(worn)][int(rng.choice(3, p=(0.35, 0.4, 0.25)))]
        chosen = [surface for surface in surfaces if surface.name in names]
        if not chosen:
            landmarks_m = vertices_m[self.studio.model.landmarks68]
            hand = Occluder(skin_rgb=subject.skin_rgb, seed=int(rng.integers(2**31)))
            chosen = occluder_surfaces(hand, landmarks_m)
        box_px, margin, _ = SIZES[int(rng.integers(2))]
        return self._render(rng, "negative", chosen, vertices_m, rotation, box_px, margin)

    def _render(
        self,
        rng: np.random.Generator,
        kind: CutoutKind,
        surfaces: list[Surface],
        vertices_m: NDArray[np.float32],
        rotation: NDArray[np.float64],
        box_px: float,
        margin: float,
    ) -> Cutout:
        translation_m = np.array([0.0, 0.0, np.exp(rng.uniform(np.log(0.4), np.log(4.0)))])
        landmarks_m = vertices_m[self.studio.model.landmarks68].astype(np.float64)
        landmarks_cam = transform(landmarks_m, rotation, translation_m)
        camera = _camera_around(landmarks_cam, box_px, margin)
        landmarks_px = camera.project(landmarks_cam)
        light = self._sample_light(rng)
        black = np.zeros((camera.height, camera.width, 3), np.float32)
        rendering = render(surfaces, rotation, translation_m, camera, light, black)
        face_px, face_seen = _face_samples(rng, rendering, surfaces, landmarks_px)
        white_rgb = _exposure(light)
        pixels, corner_px = _crop_to_alpha(encode(rendering.rgb / white_rgb, rendering.coverage))
        levels = [pixels]
        while kind != "negative" and len(levels) < 3 and box_px < 100.0:
            levels.append(downsample(levels[-1]))
        key_light = float(light.key_rgb @ LUMINANCE) / float(white_rgb @ LUMINANCE)
        return Cutout(
            kind=kind,
            levels=tuple(levels),
            landmarks68_px=(landmarks_px - corner_px).astype(np.float32),
            face_px=(face_px - corner_px).astype(np.float32),
            face_seen=face_seen,
            light_x=float(light.key_direction[0]) * min(key_light, 1.0),
        )

    def _sample_light(self, rng: np.random.Generator) -> Light:
        """Draw a light; of two orientations of a panorama, take the one with the brighter face."""
        panoramas = self.studio.panoramas
        if not panoramas or rng.random() >= PANORAMA_LIGHT_PROBABILITY:
            return procedural_light(rng)
        panorama = panoramas[rng.integers(len(panoramas))]
        lights = [light_from_panorama(panorama, random_orientation(rng)) for _ in range(2)]
        return max(lights, key=lambda light: float(white_point(light) @ LUMINANCE))


def _sample_angles_deg(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw yaw, pitch and roll: mostly near frontal, a quarter up to profile, 6 % from behind.

    Roll is small, because scenes rotate whole cut-outs.
    """
    yaw, pitch = rng.normal(0.0, 28.0), rng.normal(0.0, 13.0)
    choice = rng.random()
    if choice < 0.25:
        yaw = rng.uniform(-95.0, 95.0)
    elif choice < 0.31:
        yaw = rng.choice([-1.0, 1.0]) * rng.uniform(105.0, 180.0)
    if rng.random() < 0.15:
        pitch = rng.uniform(-60.0, 60.0)
    return np.array([yaw, np.clip(pitch, -60.0, 60.0), rng.normal(0.0, 8.0)])


def _camera_around(landmarks_cam: NDArray[np.float64], box_px: float, margin: float) -> Camera:
    """Return the camera that shows ``margin`` face boxes; the side of the box is ``box_px``."""
    unit = Camera(1.0, 1.0, 0.5, 0.5, 1, 1)
    x0, y0, x1, y1 = face_box(unit.project(landmarks_cam)) - 0.5
    focal_px = box_px / (x1 - x0)
    side = round(box_px * margin)
    cx, cy = side / 2.0 - focal_px * np.array([x0 + x1, y0 + y1]) / 2.0
    height = side + round(BODY_MARGIN * box_px) if margin > 2.0 else side
    return Camera(focal_px, focal_px, float(cx), float(cy), side, height)


def _exposure(light: Light) -> NDArray[np.float32]:
    """Return the colour ``(3,)`` of white at the face, with a lower limit for backlit faces."""
    omnidirectional = light.irradiance_sh[0] + 0.25 * light.key_rgb
    white: NDArray[np.float32] = np.maximum(
        white_point(light), np.float32(MIN_RELATIVE_WHITE) * np.maximum(omnidirectional, 1e-4)
    )
    return white


def _face_samples(
    rng: np.random.Generator,
    rendering: Rendering,
    surfaces: list[Surface],
    landmarks_px: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Draw ``(FACE_SAMPLES, 2)`` points inside the face's outline; return whether they show it."""
    is_face = [surface.name.startswith(_FACE_PARTS) for surface in surfaces] + [False]
    height, width = rendering.surface_id.shape
    corners = rng.integers(0, len(landmarks_px), (4 * FACE_SAMPLES, 3))
    weights = rng.dirichlet(np.full(3, 0.8), 4 * FACE_SAMPLES)
    points_px = (landmarks_px[corners] * weights[..., None]).sum(1)
    column, row = np.clip(points_px.T.astype(int), 0, [[width - 1], [height - 1]])
    surface = rendering.surface_id[row, column]
    # The outline of a profile is not convex: some points between landmarks lie on the background.
    chosen = np.flatnonzero(surface >= 0)
    if len(chosen) == 0:
        chosen = np.arange(len(points_px))
    chosen = chosen[np.arange(FACE_SAMPLES) % len(chosen)]
    return points_px[chosen], np.array(is_face)[surface[chosen]]


def _crop_to_alpha(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Crop to non-zero alpha, below at the widest row of the shoulders; return the corner too."""
    covered = pixels[..., 3] > 0
    if not covered.any():
        return pixels, np.zeros(2)
    widths = pixels[..., 3].sum(1, dtype=np.float64)
    wide = np.flatnonzero(widths >= 0.9 * widths.max())
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    left, top = int(columns[0]), int(rows[0])
    bottom = max(int(wide[-1]), int(0.7 * rows[-1])) + 1
    # A height divisible by 4 keeps the last row intact in the two smaller levels.
    bottom -= (bottom - top) % 4 if bottom - top > 8 else 0
    cropped = pixels[top:bottom, left : int(columns[-1]) + 1]
    return np.ascontiguousarray(cropped), np.array([left, top], np.float64)
