"""The interface of face detectors, boxes given by the user, IoU and non-maximum suppression.

All detectors return the paper's box: a square of 1.5 times the larger side of the 68 landmarks'
bounding rectangle. It may extend beyond the image.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import box_array, finite_array, rgb_image

POINT_COUNT = 5
"""Landmarks of a detection: the person's right and left eye, nose tip, right and left mouth corner.
On an upright head the right ones are on the left of the image."""

NMS_IOU = 0.4
"""Detections that overlap more than this are of one face."""


class Detections(NamedTuple):
    """Faces of one image, highest score first."""

    boxes_xyxy: NDArray[np.float64]
    """``(k, 4)`` px: square boxes, not clipped to the image"""
    scores: NDArray[np.float64]
    """``(k,)``, 0 to 1"""
    points_px: NDArray[np.float64]
    """``(k, 5, 2)``; NaN from detectors without landmarks"""

    def rolls_deg(self) -> NDArray[np.float64]:
        """Return the roll of each face ``(k,)``, clockwise in the image; 0 without landmarks.

        It is that of the direction from the eyes to the mouth, which holds in profile too.
        """
        eyes, mouth = self.points_px[:, :2].mean(1), self.points_px[:, 3:].mean(1)
        x, y = (mouth - eyes).T
        return np.where(np.isnan(x), 0.0, np.degrees(np.arctan2(-x, y)))


class Detector(Protocol):
    """Interface of face detectors."""

    def detect(
        self,
        image: NDArray[np.uint8],
        max_faces: int | None = None,
        threshold: float | None = None,
    ) -> Detections:
        """Return at most ``max_faces`` faces of an ``(h, w, 3)`` uint8 RGB image."""
        ...


class FixedBoxes:
    """A detector that returns given boxes, the same for each image.

    Parameters
    ----------
    boxes_xyxy
        ``(k, 4)`` px, of any shape; each is extended to a square.
    enlarge
        Factor on the sides: 1 for the paper's boxes, about 1.4 for tight boxes from the eyebrows to
        the chin.
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
        boxes = box_array("boxes_xyxy", boxes_xyxy)
        if not (math.isfinite(enlarge) and enlarge > 0):
            raise ValueError(f"enlarge: expected a factor above 0, got {enlarge}")
        given = np.ones(len(boxes)) if scores is None else scores
        checked = finite_array("scores", given, (len(boxes),))
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2.0
        half = enlarge * (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2.0
        points = np.full((len(boxes), POINT_COUNT, 2), np.nan)
        self._faces = sorted_by_score(
            Detections(np.hstack([centre - half, centre + half]), checked, points)
        )

    def detect(
        self,
        image: NDArray[np.uint8],
        max_faces: int | None = None,
        threshold: float | None = None,
    ) -> Detections:
        """Return the given boxes; the image is checked but not used."""
        rgb_image("image", image)
        check_max_faces(max_faces)
        threshold = checked_threshold(0.0 if threshold is None else threshold)
        kept = self._faces.scores >= threshold
        return Detections(*(array[kept][:max_faces] for array in self._faces))


def box_iou(boxes_xyxy: NDArray[np.float64], box_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union ``(k,)`` of boxes ``(k, 4)`` with one box ``(4,)``."""
    low = np.maximum(boxes_xyxy[:, :2], box_xyxy[:2])
    high = np.minimum(boxes_xyxy[:, 2:], box_xyxy[2:])
    intersection = np.prod(np.clip(high - low, 0.0, None), axis=1)
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    union = areas + np.prod(box_xyxy[2:] - box_xyxy[:2]) - intersection
    return intersection / np.maximum(union, 1e-12)


def non_maximum_suppression(faces: Detections) -> Detections:
    """Keep the highest-scoring of faces that overlap by more than the limit, sorted by score."""
    faces = sorted_by_score(faces)
    kept = np.ones(len(faces.scores), dtype=bool)
    for index, box in enumerate(faces.boxes_xyxy):
        if kept[index]:
            kept[index + 1 :] &= box_iou(faces.boxes_xyxy[index + 1 :], box) <= NMS_IOU
    return Detections(*(array[kept] for array in faces))


def sorted_by_score(faces: Detections) -> Detections:
    """Return the faces sorted by falling score."""
    order = np.argsort(-faces.scores, kind="stable")
    return Detections(*(array[order] for array in faces))


def checked_threshold(threshold: float) -> float:
    """Return the threshold, or raise ValueError if it is not a score."""
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold: expected a score from 0 to 1, got {threshold}")
    return threshold


def check_max_faces(max_faces: int | None) -> None:
    """Raise ValueError unless ``max_faces`` is None or at least 1."""
    if max_faces is not None and max_faces < 1:
        raise ValueError(f"max_faces: expected None or at least 1, got {max_faces}")
