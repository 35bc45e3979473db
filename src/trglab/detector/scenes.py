"""Labelled scenes for face detectors: every scene a pure function of (seed, index).

place and light ──> scenery
                       │ <── cut-outs of heads, far to near, under the scene's light
                       │ <── things in front
                    sensor ──> picture, boxes, points, how much of each face is seen
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.crop import face_box
from trglab.detector.compositing import Similarity, paste
from trglab.detector.cutouts import Cutout, CutoutBank, CutoutRenderer, five_points
from trglab.synth.distractors import scatter_distractors
from trglab.synth.environment.sensor import simulate_sensor
from trglab.synth.negatives import (
    Background,
    add_speckle_noise,
    sample_background,
    sample_sensor,
    split_panoramas,
)

MOST_HEADS = 8
HEAD_COUNT_ODDS = (0.4, 0.19, 0.12, 0.08, 0.07, 0.05, 0.05, 0.04)
"""Of 1 to 8 heads, among scenes with any."""

PANORAMA_SHARE = 0.65
LARGE_SHARE = 0.5
"""Share of lone heads that fill a good part of the picture."""

LARGEST_SHARE = 1.4
"""Side of the largest face box over the picture's shorter side."""

ALIKE = 0.4
"""Spread of the logarithm of the heads' sizes within a scene."""

FRONT_THINGS_SHARE, BACK_THINGS_SHARE, ALONE_THINGS_SHARE = 0.14, 0.25, 0.7
"""Share of scenes with things before people, behind people, and without any people."""

DECOY_SHARE, ALONE_DECOY_SHARE = 0.25, 0.5
"""How often one more decoy is added, with people and without."""

SPECKLE_SHARE = 0.08
TILTED_SHARE, ANY_ROLL_SHARE = 0.16, 0.03
CUT_OFF_SHARE = 0.15

TRIES, HIDING_SHARE = 12, 0.35
"""For a place where a head hides no other, and how often it stands there if there is none."""

KNOWN_LIGHT_SHARE = 0.85
"""Share of cameras that expose and balance for faces; others go by the whole picture."""

ENDLESS, ENDLESS_SHARE = 50.0, 0.8
"""A tail that leaves every picture, and how many bodies have one."""

COARSE_BELOW_PX, FINE_ABOVE_PX = 75.0, 190.0
"""Which size of cut-outs serves which size of face boxes."""

_SWAPPED = (1, 0, 2, 4, 3)
"""The five points of a mirrored face."""

_SCENE = 5
"""Keeps scenes' random streams apart from those of people."""


class DetectionScene(NamedTuple):
    """One picture and its k heads; coordinates are pixels with centres at +0.5."""

    image: NDArray[np.uint8]
    """``(h, w, 3)``"""
    boxes_xyxy: NDArray[np.float64]
    """``(k, 4)``: the paper's box, 1.5 times the larger side of the 68 landmarks' rectangle."""
    points: NDArray[np.float64]
    """``(k, 5, 2)``: the person's right and left eye, tip of the nose, right and left corner of
    the mouth; also where they are hidden or outside the picture."""
    visible: NDArray[np.float64]
    """``(k,)``: the share of the face that is seen and inside the picture."""
    ignore_xyxy: NDArray[np.float64]
    """``(m, 4)``: boxes of heads seen from behind, which count neither as faces nor as none."""


class _Pasted(NamedTuple):
    cutout: Cutout
    pose: Similarity
    mirrored: bool


class DetectionScenes:
    """An endless set of scenes with 0 to 8 labelled heads.

    Heads come from a window of ``people`` persons that moves on by one every
    ``scenes_per_person`` scenes. The first scenes are slow: they make those people. Instances can
    be pickled; a copy starts with an empty bank.

    Parameters
    ----------
    seed
        Another seed, other people and scenes.
    size
        ``(width, height)`` of every picture.
    people
        How many persons are in use at a time; each takes some 2 MB.
    scenes_per_person
        After how many scenes a new person takes an old one's place.
    face_free_share
        Share of the pictures without a face.
    least_box_px
        Side of the smallest face box.
    folder
        Where people are kept for other processes too; None: each process makes its own. One
        folder serves one seed and one set of sources.
    ingredients
        Fields of :class:`~trglab.synth.studio.Ingredients` by name.
    face_model
        Path of a face model.
    for_training
        Warn when only the built-in head is there.

    Raises
    ------
    ValueError
        A number out of its range, or a folder of other people; the message says which.
    """

    def __init__(
        self,
        seed: int = 0,
        size: tuple[int, int] = (320, 320),
        *,
        people: int = 160,
        scenes_per_person: int = 250,
        face_free_share: float = 0.25,
        least_box_px: float = 16.0,
        folder: str | Path | None = None,
        ingredients: Mapping[str, Any] | None = None,
        face_model: str | Path | None = None,
        for_training: bool = False,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {seed}")
        if min(size) < 32:
            raise ValueError(f"size: expected a width and height of at least 32 px, got {size}")
        if people < 1 or scenes_per_person < 1:
            raise ValueError(
                "people, scenes_per_person: expected at least 1 of each, "
                f"got {people}, {scenes_per_person}"
            )
        if not 0 <= face_free_share <= 1:
            raise ValueError(f"face_free_share: expected 0 to 1, got {face_free_share}")
        if not 4 <= least_box_px <= 0.5 * min(size):
            raise ValueError(f"least_box_px: expected 4 to half of the picture, got {least_box_px}")
        self._options: dict[str, Any] = {
            "seed": seed,
            "size": (int(size[0]), int(size[1])),
            "people": people,
            "scenes_per_person": scenes_per_person,
            "face_free_share": face_free_share,
            "least_box_px": least_box_px,
            "folder": folder,
            "ingredients": dict(ingredients or {}),
            "face_model": face_model,
            "for_training": for_training,
        }
        self.seed = seed
        self.size: tuple[int, int] = self._options["size"]
        self._people = people
        self._scenes_per_person = scenes_per_person
        self._face_free_share = face_free_share
        self._least_box_px = least_box_px
        maker = CutoutRenderer(seed, ingredients, face_model, for_training=for_training)
        self._made_of = maker.provenance
        self._bank = CutoutBank(maker, people, None if folder is None else Path(folder))
        self._panoramas, _ = split_panoramas(maker.studio.panoramas)

    def __reduce__(self) -> tuple[Any, ...]:
        return _scenes_from_options, (self._options,)

    @property
    def provenance(self) -> dict[str, Any]:
        """The seed and the sources, in plain values: equal ones make equal people."""
        return self._made_of

    def warm(self, index: int = 0) -> None:
        """Make all people that scene ``index`` may show."""
        first = index // self._scenes_per_person
        for person in range(first, first + self._people):
            self._bank.person(person)

    def sample(self, index: int) -> DetectionScene:
        """Make scene number ``index``; any index from 0 on.

        Raises
        ------
        ValueError
            The index is negative.
        """
        if index < 0:
            raise ValueError(f"index: expected 0 or more, got {index}")
        rng = np.random.default_rng((self.seed, _SCENE, index))
        place = sample_background(self._panoramas, *self.size, rng, PANORAMA_SHARE)
        scene = np.ascontiguousarray(place.rgb)
        if rng.random() < SPECKLE_SHARE:
            scene = add_speckle_noise(scene, rng)
        has_faces = rng.random() >= self._face_free_share
        if rng.random() < (BACK_THINGS_SHARE if has_faces else ALONE_THINGS_SHARE):
            scatter_distractors(scene, rng, place.white_rgb, int(rng.integers(1, 7)))
        crowd = self._crowd(rng, index, self._sides_px(rng) if has_faces else np.zeros(0))
        owner = np.full(scene.shape[:2], -1, np.int16)
        pasted = self._paste(rng, scene, owner, crowd, place)
        if rng.random() < FRONT_THINGS_SHARE:
            scatter_distractors(scene, rng, place.white_rgb, int(rng.integers(1, 4)), owner)
        white = place.white_rgb if rng.random() < KNOWN_LIGHT_SHARE else None
        image = simulate_sensor(scene, rng, sample_sensor(rng), white)
        return _labelled(image, owner, pasted)

    def _sides_px(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the sides of the scene's face boxes, alike within a scene."""
        count = 1 + int(rng.choice(MOST_HEADS, p=HEAD_COUNT_ODDS))
        short_px = float(min(self.size))
        most = short_px * (LARGEST_SHARE if count == 1 else 1.15 / np.sqrt(count))
        low = 0.3 * short_px if count == 1 and rng.random() < LARGE_SHARE else self._least_box_px
        side = np.exp(rng.uniform(np.log(low), np.log(most)))
        sides = side * np.exp(rng.normal(0.0, ALIKE, count))
        return np.clip(sides, self._least_box_px, LARGEST_SHARE * short_px)

    def _crowd(
        self, rng: np.random.Generator, index: int, sides_px: NDArray[np.float64]
    ) -> list[tuple[Cutout, float]]:
        """Choose a cut-out for each side, and perhaps decoys; the far ones first."""
        first = index // self._scenes_per_person
        chosen = []
        for side_px in sides_px:
            person = self._bank.person(first + int(rng.integers(self._people)))
            heads = [c for c in person if c.kind != "decoy" and _serves(c, side_px)]
            chosen.append((heads[int(rng.integers(len(heads)))], float(side_px)))
        share = DECOY_SHARE if len(sides_px) else ALONE_DECOY_SHARE
        while rng.random() < share:
            decoy = self._bank.person(first + int(rng.integers(self._people)))[-1]
            side = np.exp(rng.uniform(np.log(self._least_box_px), np.log(0.8 * min(self.size))))
            chosen.append((decoy, float(side)))
        depth = np.array([side for _, side in chosen]) * np.exp(rng.normal(0.0, 0.15, len(chosen)))
        return [chosen[i] for i in np.argsort(depth)]

    def _paste(
        self,
        rng: np.random.Generator,
        scene: NDArray[np.float32],
        owner: NDArray[np.int16],
        crowd: list[tuple[Cutout, float]],
        place: Background,
    ) -> list[_Pasted]:
        """Lay cut-outs over the scene; ``owner`` says which of them each pixel shows."""
        tilt_rad = float(np.radians(rng.normal(0.0, 4.0)))
        taken: list[NDArray[np.float64]] = []
        pasted: list[_Pasted] = []
        for cutout, side_px in crowd:
            posed = self._pose(rng, cutout, side_px, tilt_rad, place.light_x, taken)
            if posed is None:
                continue
            pose, mirrored = posed
            level = _level(cutout, side_px)
            shine = place.white_rgb * np.exp(rng.normal(0.0, 0.18) + rng.normal(0.0, 0.03, 3))
            tail = ENDLESS if rng.random() < ENDLESS_SHARE else float(rng.uniform(1.0, 5.0))
            paste(
                scene,
                owner,
                len(pasted),
                cutout.levels[level],
                pose.of_level(level),
                shine,
                tail=tail,
            )
            pasted.append(_Pasted(cutout, pose, mirrored))
        return pasted

    def _pose(
        self,
        rng: np.random.Generator,
        cutout: Cutout,
        side_px: float,
        tilt_rad: float,
        light_x: float,
        taken: list[NDArray[np.float64]],
    ) -> tuple[Similarity, bool] | None:
        """Place a cut-out, mostly whole in the picture; None where it would hide other heads."""
        box = cutout.box_xyxy
        centre = (box[:2] + box[2:]) / 2.0
        scale = side_px / float(box[2] - box[0])
        roll_rad = tilt_rad
        about = rng.random()
        if about < ANY_ROLL_SHARE:
            roll_rad = float(rng.uniform(-np.pi, np.pi))
        elif about < ANY_ROLL_SHARE + TILTED_SHARE:
            roll_rad = float(np.radians(rng.uniform(-60.0, 60.0)))
        against = cutout.light_x * light_x < 0
        mirrored = bool(rng.random() < (0.75 if against else 0.25))
        size_px = np.array(self.size, np.float64)
        inside = np.minimum(0.42 * side_px, 0.5 * size_px)
        if rng.random() < CUT_OFF_SHARE:
            inside = np.full(2, -0.15 * side_px)
        for _ in range(TRIES):
            place = rng.uniform(inside, np.maximum(size_px - inside, inside + 1e-6))
            if not any(_hides(place, side_px, other) for other in taken):
                break
        else:
            if rng.random() >= HIDING_SHARE:
                return None
        taken.append(np.append(place, side_px))
        return Similarity.about(centre, place, scale, roll_rad, mirrored), mirrored


def _scenes_from_options(options: dict[str, Any]) -> DetectionScenes:
    return DetectionScenes(**options)


def _hides(place_px: NDArray[np.float64], side_px: float, other: NDArray[np.float64]) -> bool:
    """Say whether a head or its body would hide most of a farther head ``(x, y, side)``."""
    across, below = other[:2] - place_px
    near = np.hypot(across, below) < 0.3 * (side_px + other[2])
    return bool(near or (below > 0 and abs(across) < 0.5 * side_px))


def _serves(cutout: Cutout, side_px: float) -> bool:
    """Say whether a cut-out has about the pixels that a face box of this side needs."""
    own_px = float(np.ptp(cutout.box_xyxy[[0, 2]]))
    if side_px < COARSE_BELOW_PX:
        return own_px < 100.0
    return 100.0 <= own_px < 200.0 if side_px < FINE_ABOVE_PX else own_px >= 200.0


def _level(cutout: Cutout, side_px: float) -> int:
    """Return the level whose pixels are at most 1.5 times as fine as the scene's."""
    own_px = float(np.ptp(cutout.box_xyxy[[0, 2]]))
    wanted = int(np.floor(np.log2(max(own_px / (0.75 * side_px), 1.0))))
    return min(wanted, len(cutout.levels) - 1)


def _labelled(
    image: NDArray[np.uint8], owner: NDArray[np.int16], pasted: list[_Pasted]
) -> DetectionScene:
    height, width = owner.shape
    boxes, points, visible, ignore = [], [], [], []
    for number, (cutout, pose, mirrored) in enumerate(pasted):
        if cutout.kind == "decoy":
            continue
        landmarks = pose(cutout.landmarks68_px)
        if cutout.kind == "back":
            ignore.append(face_box(landmarks))
            continue
        places = pose(cutout.face_px)
        inside = np.asarray(((places >= 0) & (places < (width, height))).all(-1))
        column, row = np.where(inside[:, None], places, 0.0).astype(int).T
        seen = inside & cutout.face_seen & (owner[row, column] == number)
        boxes.append(face_box(landmarks))
        five = five_points(landmarks)
        points.append(five[list(_SWAPPED)] if mirrored else five)
        visible.append(seen.mean())
    return DetectionScene(
        image,
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(points, np.float64).reshape(-1, 5, 2),
        np.array(visible, np.float64),
        np.array(ignore, np.float64).reshape(-1, 4),
    )
