"""Synthetic clips: one person who moves, speaks and holds still before one camera.

::

    clip number ──> person, accessories, camera, light, background, sensor
                └─> movement and expression as smooth functions of time
    frame ────────> pose, expression and sensor noise ──> image and labels

They measure what a single image cannot: estimates of size and focal length from many frames, jitter
and lag. Every frame is a pure function of seed and index.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.projection import OPTICAL_AXIS, transform
from trg.geometry.rotations import rotation_between, rotation_from_euler
from trglab.datasets.sample import Sample
from trglab.synth.dataset import Conditions, SyntheticFaces
from trglab.synth.head.expressions import sample_expression
from trglab.synth.head.face_model import FaceModel
from trglab.synth.holdout import ingredients
from trglab.synth.shots import FACE_CENTRE_M, NOMINAL_FACE_BOX_M, Shot

Floats = NDArray[np.float64]

CLIPS_SEED = 3_000_003
"""Of the hold-out's people; training uses small seeds."""

CLIP_COUNT, CLIP_FRAMES = 40, 100
"""Clips of the hold-out, each of another person, and frames per clip."""

CLIP_FPS = 30.0

CLIP_DISTANCE_M = (0.4, 1.0)
"""Mean depth of the face's centre, log-uniform."""

CLIP_FOV_DEG = (45.0, 85.0)
"""Horizontal field of view, uniform: webcams and phones."""

CLIP_SIZE = (640, 480)

STOP_FRAME, STILL_FRAME = 70, 80
"""The head slows down from the first and holds still from the second on; its face goes on."""

MOVEMENT_HZ = (0.1, 0.7)

YAW_PITCH_ROLL_SD_DEG = (20.0, 8.0, 7.0)
LOG_DEPTH_SD = 0.1
SWAY_SD = (0.06, 0.04)
"""Of the face's centre in shares of the image's width and height."""

EXPRESSION_S = (0.3, 1.0)
"""Time between two expressions."""

FIRST_AFTER_CUT = 100_000
"""Number of the person who follows the first one after a cut."""

_CLIP, _MOVEMENT, _FRAME = 3, 4, 5
"""Separate random streams; :mod:`trglab.synth.dataset` has the first two."""


class SmoothNoise:
    """Random smooth functions of time, ``(n,)`` values with unit variance over all clips."""

    def __init__(self, rng: np.random.Generator, count: int, waves: int = 6) -> None:
        self._hz = rng.uniform(*MOVEMENT_HZ, (waves, count))
        self._phase_rad = rng.uniform(0.0, 2.0 * np.pi, (waves, count))

    def at(self, time_s: float) -> Floats:
        """Return the values ``(n,)`` at a time."""
        waves = np.sin(2.0 * np.pi * self._hz * time_s + self._phase_rad)
        values: Floats = np.sqrt(2.0 / len(waves)) * waves.sum(0)
        return values


class ClipMovement:
    """Camera, head pose and expression of one clip as functions of its frame."""

    def __init__(
        self, rng: np.random.Generator, model: FaceModel, distance_m: tuple[float, float]
    ) -> None:
        width, height = CLIP_SIZE
        self.camera = Camera.from_fov(rng.uniform(*CLIP_FOV_DEG), width, height)
        self._depth_m = float(np.exp(rng.uniform(*np.log(distance_m))))
        self._noise = SmoothNoise(rng, 6)
        duration_s = CLIP_FRAMES / CLIP_FPS
        times = [0.0]
        while times[-1] < duration_s:
            times.append(times[-1] + rng.uniform(*EXPRESSION_S))
        self._expression_s = np.array(times)
        self._expressions = np.stack([sample_expression(rng, model) for _ in times])

    def shot(self, frame: int) -> Shot:
        """Return the camera and the head's pose in a frame."""
        angles, sway, (depth,) = np.split(self._noise.at(movement_time_s(frame)), (3, 5))
        depth_m = self._depth_m * np.exp(LOG_DEPTH_SD * depth)
        size_px = np.array(CLIP_SIZE)
        room = 0.5 - 0.5 * NOMINAL_FACE_BOX_M / depth_m * self.camera.fx / size_px
        offset = np.clip(sway * SWAY_SD, -np.maximum(room, 0.0), np.maximum(room, 0.0))
        ray = np.append(self.camera.unproject((0.5 + offset) * size_px), 1.0)
        turn = rotation_from_euler(angles * YAW_PITCH_ROLL_SD_DEG)
        rotation = rotation_between(OPTICAL_AXIS, ray) @ turn
        return Shot(self.camera, rotation, ray * depth_m - rotation @ FACE_CENTRE_M)

    def expression(self, frame: int) -> NDArray[np.float32]:
        """Return blend shape weights ``(E,)``, eased from one expression to the next."""
        time_s = frame / CLIP_FPS
        last = int(np.searchsorted(self._expression_s, time_s, "right")) - 1
        start_s, end_s = self._expression_s[last : last + 2]
        share = (time_s - start_s) / (end_s - start_s)
        share = share * share * (3.0 - 2.0 * share)
        start, end = self._expressions[last : last + 2]
        eased: NDArray[np.float32] = (start + share * (end - start)).astype(np.float32)
        return eased


class _Clip(NamedTuple):
    """What the frames of a clip share."""

    number: int
    movement: ClipMovement
    conditions: Conditions


class SyntheticClips(SyntheticFaces):
    """An unbounded set of clips; sample ``n`` is frame ``n % 100`` of clip ``n // 100``.

    Parameters
    ----------
    seed
        Selects people, cameras and movements.
    distance_m
        Range of the clips' mean depths.
    cut_frame
        From this frame of each clip on another person has the place, the pose and the light of the
        first. None: one person per clip.
    without
        Ingredients to leave out, beside portraits and ``hidden_faces``: what hides half of a face
        would follow it for the whole clip.

    Raises
    ------
    ValueError
        An option is out of range.
    FileNotFoundError
        A required asset is missing.
    """

    def __init__(
        self,
        seed: int = CLIPS_SEED,
        *,
        distance_m: tuple[float, float] = CLIP_DISTANCE_M,
        cut_frame: int | None = None,
        without: tuple[str, ...] = (),
        face_model: str | Path | None = None,
    ) -> None:
        near_m, far_m = distance_m
        if not 0.3 <= near_m <= far_m:
            raise ValueError(f"distance_m: expected 0.3 <= nearest <= farthest, got {distance_m}")
        used: Mapping[str, Any] = ingredients((*without, "portraits", "hidden_faces"))
        super().__init__(
            seed, window=None, image_size=CLIP_SIZE, ingredients=used, face_model=face_model
        )
        self._distance_m = (near_m, far_m)
        self._cut_frame = CLIP_FRAMES if cut_frame is None else cut_frame
        self._clip: _Clip | None = None

    def sample(self, index: int) -> Sample:
        """Render frame ``index % 100`` of clip ``index // 100``."""
        if index < 0:
            raise ValueError(f"index: expected 0 or more, got {index}")
        number, frame = divmod(index, CLIP_FRAMES)
        person = self._person(index)
        subject = self._subject(person)
        clip = self._open_clip(number)
        shot = clip.movement.shot(frame)
        virtual_from_head = rotation_between(OPTICAL_AXIS, shot.translation_m).T @ shot.rotation
        model = self._studio.model
        vertices_m = model.express(
            subject.neutral_m, clip.movement.expression(frame), subject.person.scale
        )
        landmarks_cam = transform(
            vertices_m[model.landmarks68].astype(np.float64), shot.rotation, shot.translation_m
        )
        # The same stream for each frame: accessories and occluders stay what they are.
        clip_rng = np.random.default_rng((self.seed, _CLIP, number))
        surfaces = self._studio.build_surfaces(clip_rng, subject, vertices_m, virtual_from_head)
        noise_rng = np.random.default_rng((self.seed, _FRAME, index))
        image, visible = self._photograph(
            noise_rng, surfaces, shot, shot.camera, landmarks_cam, clip.conditions
        )
        landmarks_px = shot.camera.project(landmarks_cam)
        return Sample(
            image=image,
            camera=shot.camera,
            box_xyxy=face_box(landmarks_px),
            rotation=shot.rotation,
            translation_m=shot.translation_m,
            vertices_m=vertices_m[model.dense],
            landmarks68_px=landmarks_px,
            landmarks68_visible=visible,
            identity=f"{self.seed}-{person}",
            name=f"clip {number} frame {frame}",
        )

    def neutral_m(self, index: int) -> NDArray[np.float32]:
        """Return the neutral vertices ``(1220, 3)`` of the person in sample ``index``."""
        return self._subject(self._person(index)).neutral_m[self._studio.model.dense]

    def expression(self, index: int) -> NDArray[np.float32]:
        """Return the blend shape weights ``(E,)`` of sample ``index``."""
        number, frame = divmod(index, CLIP_FRAMES)
        return self._open_clip(number).movement.expression(frame)

    def _person(self, index: int) -> int:
        number, frame = divmod(index, CLIP_FRAMES)
        return number + (0 if frame < self._cut_frame else FIRST_AFTER_CUT)

    def _open_clip(self, number: int) -> _Clip:
        if self._clip is None or self._clip.number != number:
            rng = np.random.default_rng((self.seed, _MOVEMENT, number))
            movement = ClipMovement(rng, self._studio.model, self._distance_m)
            conditions = self._conditions(rng, movement.camera)
            self._clip = _Clip(number, movement, conditions)
        return self._clip


def movement_time_s(frame: int) -> float:
    """Return the time in the head's movement, which slows down to a stop at the end of a clip."""
    slowing = STILL_FRAME - STOP_FRAME
    past = float(np.clip(frame - STOP_FRAME, 0, slowing))
    return (min(frame, STOP_FRAME) + past - 0.5 * past * past / slowing) / CLIP_FPS
