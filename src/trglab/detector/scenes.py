"""Detection scenes with labels: a pure function of (seed, index).

background and light
      | <- cut-outs of heads and hard negatives, back to front, under the scene's light
      | <- distractors in front, objects that cover part of a face
    sensor -> image, boxes, points, visible share of each face
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.crop import face_box
from trglab.detector.compositing import Similarity, composite
from trglab.detector.covers import cover_face
from trglab.detector.cutouts import Cutout, CutoutRenderer, five_points
from trglab.synth.distractors import scatter_distractors
from trglab.synth.environment.sensor import simulate_sensor
from trglab.synth.negatives import (
    Background,
    add_speckle_noise,
    sample_background,
    sample_sensor,
    split_panoramas,
)

HEAD_COUNT_PROBABILITIES = (0.4, 0.19, 0.12, 0.08, 0.07, 0.05, 0.05, 0.04)
"""Of 1 to 8 heads, among scenes with faces and without a crowd."""

CROWD_PROBABILITY, CROWD_HEADS = 0.1, (10, 40)
"""Probability of a crowd among scenes with faces, and the range of its heads."""

PANORAMA_PROBABILITY = 0.65
LARGE_PROBABILITY = 0.5
"""Probability that a single head fills a large part of the image."""

MAX_RELATIVE_SIDE = 1.4
"""Side of the largest face box relative to the shorter side of the image."""

SIZE_LOG_STD, CROWD_SIZE_LOG_STD = 0.4, 0.2
"""Standard deviation of the logarithm of the head sizes within a scene and within a crowd."""

FOREGROUND_DISTRACTORS = 0.14
BACKGROUND_DISTRACTORS, BACKGROUND_DISTRACTORS_WITHOUT_FACES = 0.25, 0.7
"""Probabilities of distractors in front of people, behind them, and in scenes without people."""

HARD_NEGATIVES, HARD_NEGATIVES_WITHOUT_FACES = 0.4, 0.6
"""Probability of each further hard negative, in scenes with and without people."""

SPECKLE_PROBABILITY = 0.08
TILTED_PROBABILITY, ANY_ROLL_PROBABILITY = 0.2, 0.15
"""Probabilities of a head rolled by up to 60 and by up to 180 degrees. Training also turns whole
scenes (:mod:`trglab.detector.mixing`)."""

CUT_OFF_PROBABILITY = 0.2
CUT_OFF_SIDES = (-0.1, 0.35)
"""Probability of a head at the border, and the distance of its centre from it, in box sides."""

COVERED_PROBABILITY, MIN_COVERED_PX = 0.12, 24.0
"""Probability that an object covers part of a face, and the smallest such face."""

PLACEMENT_TRIES, OVERLAP_PROBABILITY = 12, 0.35
"""Attempts to position a head without occlusion, and the probability to keep it otherwise."""

FACE_METERED_PROBABILITY = 0.85
"""Probability that exposure and white balance are set for faces rather than for the whole image."""

LONG_TAIL, LONG_TAIL_PROBABILITY = 50.0, 0.8
"""Downward extension of bodies, in cut-out heights, that leaves any image; and its probability."""

COARSE_BELOW_PX, FINE_ABOVE_PX = 75.0, 190.0
"""Limits of the face box side between the three resolutions of cut-outs."""

FLIPPED_POINTS = [1, 0, 2, 4, 3]
"""Order of the five points in a horizontally flipped image."""

_SCENE_STREAM = 5
"""Key of the random stream, distinct from those of cut-outs."""


class DetectionScene(NamedTuple):
    """An image with k labelled faces; pixel coordinates with pixel centres at +0.5."""

    image: NDArray[np.uint8]
    """``(h, w, 3)``"""
    boxes_xyxy: NDArray[np.float64]
    """``(k, 4)``: the paper's box, 1.5 times the larger side of the 68 landmarks' bounding box."""
    points: NDArray[np.float64]
    """``(k, 5, 2)``: the person's right and left eye, tip of the nose, right and left corner of the
    mouth; also if they are occluded or outside the image."""
    visible: NDArray[np.float64]
    """``(k,)``: share of the face that is unoccluded and inside the image."""
    ignore_xyxy: NDArray[np.float64]
    """``(m, 4)``: boxes of heads seen from behind, neither positives nor negatives."""


class _Placed(NamedTuple):
    cutout: Cutout
    scene_from_cutout: Similarity
    flipped: bool


@dataclass(eq=False)
class DetectionScenes:
    """An endless data set of scenes with 0 to 8 labelled heads, or a crowd of up to 40.

    Heads come from a window of ``people`` persons that advances by one every ``scenes_per_person``
    scenes. The first scenes are slow, because they render those people. Instances can be pickled;
    copies render their people again.

    Parameters
    ----------
    seed
        Determines people and scenes.
    size
        ``(width, height)`` of the images.
    people
        Number of persons in use at a time; each takes about 2 MB.
    scenes_per_person
        Number of scenes after which a new person replaces the oldest.
    face_free_share
        Share of the images without a face.
    min_box_px
        Side of the smallest face box.
    ingredients
        Fields of :class:`~trglab.synth.ingredients.Ingredients` by name.
    face_model
        Path of a face model.
    for_training
        Warn if only the built-in head is available.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """

    seed: int = 0
    size: tuple[int, int] = (320, 320)
    _: KW_ONLY
    people: int = 160
    scenes_per_person: int = 250
    face_free_share: float = 0.25
    min_box_px: float = 16.0
    ingredients: Mapping[str, Any] | None = None
    face_model: str | Path | None = None
    for_training: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if min(self.size) < 32:
            raise ValueError(
                f"size: expected a width and height of at least 32 px, got {self.size}"
            )
        if self.people < 1 or self.scenes_per_person < 1:
            raise ValueError(
                "people, scenes_per_person: expected at least 1 of each, "
                f"got {self.people}, {self.scenes_per_person}"
            )
        if not 0 <= self.face_free_share <= 1:
            raise ValueError(f"face_free_share: expected 0 to 1, got {self.face_free_share}")
        if not 4 <= self.min_box_px <= 0.5 * min(self.size):
            raise ValueError(f"min_box_px: expected 4 to half of the image, got {self.min_box_px}")
        renderer = CutoutRenderer(
            self.seed, self.ingredients, self.face_model, for_training=self.for_training
        )
        self.provenance: dict[str, Any] = renderer.provenance
        """Seed and assets as plain values; equal values give equal people."""
        self._person = lru_cache(maxsize=self.people)(renderer.person)
        self._panoramas, _ = split_panoramas(renderer.studio.panoramas)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # renders its people again

    def sample(self, index: int) -> DetectionScene:
        """Render scene ``index``.

        Raises
        ------
        ValueError
            The index is negative.
        """
        if index < 0:
            raise ValueError(f"index: expected 0 or more, got {index}")
        rng = np.random.default_rng((self.seed, _SCENE_STREAM, index))
        background = sample_background(self._panoramas, *self.size, rng, PANORAMA_PROBABILITY)
        scene = np.ascontiguousarray(background.rgb)
        if rng.random() < SPECKLE_PROBABILITY:
            scene = add_speckle_noise(scene, rng)
        has_faces = rng.random() >= self.face_free_share
        distractors = BACKGROUND_DISTRACTORS if has_faces else BACKGROUND_DISTRACTORS_WITHOUT_FACES
        if rng.random() < distractors:
            scatter_distractors(scene, rng, background.white_rgb, int(rng.integers(1, 7)))
        sides_px = self._sample_sides_px(rng) if has_faces else np.zeros(0)
        cutouts = self._sample_cutouts(rng, index, sides_px)
        cutout_index = np.full(scene.shape[:2], -1, np.int16)
        placed = self._composite(rng, scene, cutout_index, cutouts, background)
        if rng.random() < FOREGROUND_DISTRACTORS:
            count = int(rng.integers(1, 4))
            scatter_distractors(scene, rng, background.white_rgb, count, cutout_index)
        for cutout, pose, _ in placed:
            if cutout.kind == "face" and rng.random() < COVERED_PROBABILITY:
                box = face_box(pose.apply(cutout.landmarks68_px))
                if box[2] - box[0] >= MIN_COVERED_PX:
                    cover_face(scene, cutout_index, box, rng, background.white_rgb)
        white = background.white_rgb if rng.random() < FACE_METERED_PROBABILITY else None
        image = simulate_sensor(scene, rng, sample_sensor(rng), white)
        return _label(image, cutout_index, placed)

    def _sample_sides_px(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the sides of the face boxes, which are similar within a scene."""
        if rng.random() < CROWD_PROBABILITY:
            count = int(rng.integers(CROWD_HEADS[0], CROWD_HEADS[1] + 1))
        else:
            probabilities = HEAD_COUNT_PROBABILITIES
            count = 1 + int(rng.choice(len(probabilities), p=probabilities))
        short_px = float(min(self.size))
        high = short_px * (MAX_RELATIVE_SIDE if count == 1 else 1.15 / np.sqrt(count))
        is_large = count == 1 and rng.random() < LARGE_PROBABILITY
        low = 0.3 * short_px if is_large else self.min_box_px
        side = np.exp(rng.uniform(np.log(low), np.log(max(high, low))))
        spread = SIZE_LOG_STD if count < CROWD_HEADS[0] else CROWD_SIZE_LOG_STD
        sides = side * np.exp(rng.normal(0.0, spread, count))
        return np.clip(sides, self.min_box_px, MAX_RELATIVE_SIDE * short_px)

    def _sample_cutouts(
        self, rng: np.random.Generator, index: int, sides_px: NDArray[np.float64]
    ) -> list[tuple[Cutout, float]]:
        """Draw a head for each side, and hard negatives; sorted from back to front."""
        first = index // self.scenes_per_person
        chosen = []
        for side_px in sides_px:
            person = self._person(first + int(rng.integers(self.people)))
            heads = [c for c in person if c.kind != "negative" and _resolution_fits(c, side_px)]
            chosen.append((heads[int(rng.integers(len(heads)))], float(side_px)))
        probability = HARD_NEGATIVES if len(sides_px) else HARD_NEGATIVES_WITHOUT_FACES
        while rng.random() < probability:
            negative = self._person(first + int(rng.integers(self.people)))[-1]
            side = np.exp(rng.uniform(np.log(self.min_box_px), np.log(0.8 * min(self.size))))
            chosen.append((negative, float(side)))
        depth = np.array([side for _, side in chosen]) * np.exp(rng.normal(0.0, 0.15, len(chosen)))
        return [chosen[i] for i in np.argsort(depth)]

    def _composite(
        self,
        rng: np.random.Generator,
        scene: NDArray[np.float32],
        cutout_index: NDArray[np.int16],
        cutouts: list[tuple[Cutout, float]],
        background: Background,
    ) -> list[_Placed]:
        """Composite cut-outs in place; ``cutout_index`` is the one that each pixel shows, or -1."""
        tilt_rad = float(np.radians(rng.normal(0.0, 4.0)))
        occupied: list[NDArray[np.float64]] = []
        placed: list[_Placed] = []
        for cutout, side_px in cutouts:
            pose = self._place(rng, cutout, side_px, tilt_rad, background.light_x, occupied)
            if pose is None:
                continue
            level = _pyramid_level(cutout, side_px)
            brightness = np.exp(rng.normal(0.0, 0.18) + rng.normal(0.0, 0.03, 3))
            has_long_tail = rng.random() < LONG_TAIL_PROBABILITY
            composite(
                scene,
                cutout_index,
                len(placed),
                cutout.levels[level],
                pose.scene_from_cutout.at_level(level),
                background.white_rgb * brightness,
                tail=LONG_TAIL if has_long_tail else float(rng.uniform(1.0, 5.0)),
            )
            placed.append(pose)
        return placed

    def _place(
        self,
        rng: np.random.Generator,
        cutout: Cutout,
        side_px: float,
        tilt_rad: float,
        light_x: float,
        occupied: list[NDArray[np.float64]],
    ) -> _Placed | None:
        """Draw a position, mostly inside the image; None if it would occlude other heads."""
        box = cutout.box_xyxy
        centre = (box[:2] + box[2:]) / 2.0
        scale = side_px / float(box[2] - box[0])
        roll_rad = tilt_rad
        choice = rng.random()
        if choice < ANY_ROLL_PROBABILITY:
            roll_rad = float(rng.uniform(-np.pi, np.pi))
        elif choice < ANY_ROLL_PROBABILITY + TILTED_PROBABILITY:
            roll_rad = float(np.radians(rng.uniform(-60.0, 60.0)))
        # Flip more often if the cut-out is lit from the opposite side of the scene's light.
        opposite = cutout.light_x * light_x < 0
        flipped = bool(rng.random() < (0.75 if opposite else 0.25))
        size_px = np.array(self.size, np.float64)
        inset = np.minimum(0.42 * side_px, 0.5 * size_px)
        cut_off = rng.random() < CUT_OFF_PROBABILITY
        for _ in range(PLACEMENT_TRIES):
            position = rng.uniform(inset, np.maximum(size_px - inset, inset + 1e-6))
            if cut_off:
                axis, distance = int(rng.integers(2)), side_px * rng.uniform(*CUT_OFF_SIDES)
                position[axis] = distance if rng.random() < 0.5 else size_px[axis] - distance
            if not any(_occludes(position, side_px, other) for other in occupied):
                break
        else:
            if rng.random() >= OVERLAP_PROBABILITY:
                return None
        if cutout.kind != "negative":
            occupied.append(np.append(position, side_px))
        pose = Similarity.from_centre(centre, position, scale, roll_rad, flipped)
        return _Placed(cutout, pose, flipped)


def _occludes(centre_px: NDArray[np.float64], side_px: float, other: NDArray[np.float64]) -> bool:
    """Return whether a head or its body would hide most of a head ``(x, y, side)`` behind it."""
    across, below = other[:2] - centre_px
    is_near = np.hypot(across, below) < 0.3 * (side_px + other[2])
    return bool(is_near or (below > 0 and abs(across) < 0.5 * side_px))


def _resolution_fits(cutout: Cutout, side_px: float) -> bool:
    """Return whether the resolution of a cut-out suits a face box of this side."""
    if side_px < COARSE_BELOW_PX:
        return cutout.side_px < 100.0
    return 100.0 <= cutout.side_px < 200.0 if side_px < FINE_ABOVE_PX else cutout.side_px >= 200.0


def _pyramid_level(cutout: Cutout, side_px: float) -> int:
    """Return the level whose resolution exceeds the scene's by at most a factor of 1.5."""
    level = int(np.floor(np.log2(max(cutout.side_px / (0.75 * side_px), 1.0))))
    return min(level, len(cutout.levels) - 1)


def _label(
    image: NDArray[np.uint8], cutout_index: NDArray[np.int16], placed: list[_Placed]
) -> DetectionScene:
    height, width = cutout_index.shape
    boxes, points, visible, ignore = [], [], [], []
    for index, (cutout, pose, flipped) in enumerate(placed):
        if cutout.kind == "negative":
            continue
        landmarks_px = pose.apply(cutout.landmarks68_px)
        if cutout.kind == "back":
            ignore.append(face_box(landmarks_px))
            continue
        samples_px = pose.apply(cutout.face_px)
        inside = np.asarray(((samples_px >= 0) & (samples_px < (width, height))).all(-1))
        column, row = np.where(inside[:, None], samples_px, 0.0).astype(int).T
        seen = inside & cutout.face_seen & (cutout_index[row, column] == index)
        boxes.append(face_box(landmarks_px))
        five = five_points(landmarks_px)
        points.append(five[FLIPPED_POINTS] if flipped else five)
        visible.append(seen.mean())
    return DetectionScene(
        image,
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(points, np.float64).reshape(-1, 5, 2),
        np.array(visible, np.float64),
        np.array(ignore, np.float64).reshape(-1, 4),
    )
