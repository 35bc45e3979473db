"""What detectors say, and what they have in common: the answer, the protocol, overlaps, checks.

All detectors hand over the paper's box: a square of 1.5 times the larger side of the 68 landmarks'
bounding rectangle. It may stick out of the picture.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array, rgb_image

POINT_COUNT = 5
"""Points of a face: the person's right and left eye, the nose's tip, the mouth's right and left
corner. In the picture of an upright head the right ones are on the left."""

NMS_IOU = 0.4


class Detections(NamedTuple):
    """Faces of one picture, the surest first."""

    boxes_xyxy: NDArray[np.float64]
    """``(k, 4)`` px: the paper's squares, whole even where the picture ends"""
    scores: NDArray[np.float64]
    """``(k,)``, 0 to 1"""
    points: NDArray[np.float64]
    """``(k, 5, 2)`` px; NaN from detectors that give none"""


@runtime_checkable
class Detector(Protocol):
    """What the estimator needs to find faces."""

    def detect(
        self,
        image: NDArray[np.uint8],
        max_faces: int | None = None,
        threshold: float | None = None,
    ) -> Detections:
        """Return the faces of an ``(h, w, 3)`` uint8 RGB picture, at most ``max_faces``."""
        ...


class FixedBoxes:
    """Boxes that the user brings, the same for each picture.

    Parameters
    ----------
    boxes_xyxy
        ``(k, 4)`` px, of any shape; each becomes the square around it.
    enlarge
        By how much: 1 where the boxes are the paper's, about 1.4 where they hold the face tightly
        from the brows to the chin.
    scores
        ``(k,)``, 0 to 1; None: 1.

    Raises
    ------
    ValueError
        A box is empty or not finite.
    """

    def __init__(
        self, boxes_xyxy: ArrayLike, enlarge: float = 1.0, scores: ArrayLike | None = None
    ) -> None:
        boxes = finite_array("boxes_xyxy", boxes_xyxy, (None, 4))
        if not (boxes[:, 2:] > boxes[:, :2]).all():
            raise ValueError(f"boxes_xyxy: expected x0 < x1 and y0 < y1, got {boxes.tolist()}")
        if not (math.isfinite(enlarge) and enlarge > 0):
            raise ValueError(f"enlarge: expected a factor above 0, got {enlarge}")
        given = np.ones(len(boxes)) if scores is None else scores
        sure = finite_array("scores", given, (len(boxes),))
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2.0
        half = enlarge * (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2.0
        points = np.full((len(boxes), POINT_COUNT, 2), np.nan)
        self._faces = sorted_by_score(
            Detections(np.hstack([centre - half, centre + half]), sure, points)
        )

    def detect(
        self,
        image: NDArray[np.uint8],
        max_faces: int | None = None,
        threshold: float | None = None,
    ) -> Detections:
        """Return the boxes; the picture is only checked."""
        rgb_image("image", image)
        check_max_faces(max_faces)
        least = checked_threshold(0.0 if threshold is None else threshold)
        sure = self._faces.scores >= least
        return Detections(*(array[sure][:max_faces] for array in self._faces))


def overlap(boxes_xyxy: NDArray[np.float64], box_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union ``(k,)`` of boxes ``(k, 4)`` with one box ``(4,)``."""
    low = np.maximum(boxes_xyxy[:, :2], box_xyxy[:2])
    high = np.minimum(boxes_xyxy[:, 2:], box_xyxy[2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    union = areas + np.prod(box_xyxy[2:] - box_xyxy[:2]) - shared
    return shared / np.maximum(union, 1e-12)


def suppress(faces: Detections, iou: float = NMS_IOU) -> Detections:
    """Keep the surest of faces that overlap by more than ``iou``, in falling order."""
    faces = sorted_by_score(faces)
    left = np.ones(len(faces.scores), dtype=bool)
    for index, box in enumerate(faces.boxes_xyxy):
        if left[index]:
            left[index + 1 :] &= overlap(faces.boxes_xyxy[index + 1 :], box) <= iou
    return Detections(*(array[left] for array in faces))


def sorted_by_score(faces: Detections) -> Detections:
    """Return the same faces, the surest first."""
    order = np.argsort(-faces.scores, kind="stable")
    return Detections(*(array[order] for array in faces))


def checked_threshold(threshold: float) -> float:
    """Return a threshold if it is a score, or raise ValueError."""
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold: expected a score from 0 to 1, got {threshold}")
    return threshold


def check_max_faces(max_faces: int | None) -> None:
    """Raise ValueError unless this is None or a number of faces."""
    if max_faces is not None and max_faces < 1:
        raise ValueError(f"max_faces: expected None or at least 1, got {max_faces}")
