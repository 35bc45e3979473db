"""Detection recall and false-positive rate.

One pass over the images gives the curves over all thresholds, from one score per image::

    image with a labelled face -> highest score of a detection with IoU >= 0.5
    negative                   -> highest score of any detection

An image without such a detection has the score 0: it counts as a miss at every threshold.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.crop import face_box
from trg.inference.detections import Detections, Detector, box_iou
from trglab.detector.scenes import DetectionScene
from trglab.evaluation.stills import read_stills

Floats = NDArray[np.float64]

MATCH_IOU = 0.5
MIN_SCORE = 0.005
"""Detections with a lower score are ignored."""

MAX_STRAY_IOU = 0.2
"""A detection whose IoU with every head is below this is a stray detection."""

MIN_VISIBLE = 0.5
SIZE_EDGES_PX = (16.0, 24.0, 32.0, 48.0, 64.0, 128.0, 256.0, 1024.0)
ROLL_EDGES_DEG = (0.0, 30.0, 60.0, 120.0, 180.01)
VISIBLE_EDGES = (0.1, 0.25, 0.5, 0.75, 1.01)


class LabelledImage(NamedTuple):
    """An image with one labelled face; there may be other, unlabelled faces."""

    name: str
    pixels: NDArray[np.uint8]
    box_xyxy: Floats


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Performance at one threshold; None without images of that kind."""

    threshold: float
    recall: float | None
    """Share of the labelled faces that are detected."""
    false_positive_rate: float | None
    """Share of the negatives with a detection."""


def labelled_stills(folder: Path) -> Iterator[LabelledImage]:
    """Read a folder of images with 68 landmarks each, which give the paper's face box.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`trglab.evaluation.stills.read_stills`.
    """
    for still in read_stills(folder):
        yield LabelledImage(still.name, still.image, face_box(still.points_px))


def positive_scores(detector: Detector, images: Iterable[LabelledImage]) -> Floats:
    """Return for each image ``(n,)`` the score with which its labelled face is detected, or 0."""
    return np.array([_max_score(detector, each.pixels, each.box_xyxy) for each in images])


def negative_scores(detector: Detector, images: Iterable[NDArray[np.uint8]]) -> Floats:
    """Return for each negative ``(n,)`` the highest score, or 0."""
    return np.array([_max_score(detector, pixels) for pixels in images])


def _max_score(
    detector: Detector, pixels: NDArray[np.uint8], box_xyxy: Floats | None = None
) -> float:
    detections = detector.detect(pixels, threshold=MIN_SCORE)
    scores = detections.scores
    if box_xyxy is not None:
        scores = scores[box_iou(detections.boxes_xyxy, box_xyxy) >= MATCH_IOU]
    return float(scores.max(initial=0.0))


def operating_point(positives: Floats, negatives: Floats, threshold: float) -> OperatingPoint:
    """Return the performance at a threshold, from the scores of both kinds of images."""
    return OperatingPoint(
        threshold=float(threshold),
        recall=float((positives >= threshold).mean()) if len(positives) else None,
        false_positive_rate=float((negatives >= threshold).mean()) if len(negatives) else None,
    )


def threshold_for(negatives: Floats, max_false_positive_rate: float) -> float:
    """Return the lowest threshold, in hundredths, with at most that false-positive rate.

    Raises
    ------
    ValueError
        There are no negatives, or no threshold up to 0.99 is high enough.
    """
    if not len(negatives):
        raise ValueError("negatives: expected scores of images without a face, got none")
    for threshold in np.arange(1, 100) / 100.0:
        if (negatives >= threshold).mean() <= max_false_positive_rate:
            return float(threshold)
    raise ValueError(f"negatives: expected at most {max_false_positive_rate:.1%} above 0.99")


def recall_by_rotation(
    detector: Detector,
    images: Iterable[NDArray[np.uint8]],
    threshold: float | None = None,
) -> dict[str, float]:
    """Return the recall on images rotated by multiples of 90 degrees.

    For images with one central face: it counts as detected if a box contains the image centre.
    """
    found: dict[int, list[bool]] = {quarters: [] for quarters in range(4)}
    for pixels in images:
        for quarters, results in found.items():
            rotated = np.ascontiguousarray(np.rot90(pixels, quarters))
            boxes = detector.detect(rotated, threshold=threshold).boxes_xyxy
            centre = np.array([rotated.shape[1], rotated.shape[0]]) / 2.0
            results.append(bool(((boxes[:, :2] < centre) & (boxes[:, 2:] > centre)).all(1).any()))
    return {f"{90 * quarters} deg": float(np.mean(each)) for quarters, each in found.items()}


@dataclass(frozen=True, eq=False)
class SceneResults:
    """What a detector found in scenes: one entry per labelled face."""

    side_px: Floats
    """Side of the face box in the image."""
    roll_deg: Floats
    """True roll, -180 to 180, clockwise in the image."""
    visible: Floats
    """Share of the face that is unoccluded and inside the image."""
    faces_in_scene: Floats
    found: NDArray[np.bool_]
    """Whether a detection has an IoU of at least 0.5 with the face."""
    roll_error_deg: Floats
    """Absolute error of the roll that the five points tell; NaN if the face is not found."""
    stray: NDArray[np.bool_]
    """Per detection: whether it is at no head, labelled or ignored."""

    @classmethod
    def measure(
        cls, detector: Detector, scenes: Iterable[DetectionScene], threshold: float | None = None
    ) -> SceneResults:
        """Detect the faces of scenes."""
        rows, stray = [], []
        for scene in scenes:
            found = detector.detect(scene.image, threshold=threshold)
            heads = np.concatenate([scene.boxes_xyxy, scene.ignore_xyxy])
            stray += [bool((box_iou(heads, box) < MAX_STRAY_IOU).all()) for box in found.boxes_xyxy]
            true = Detections(scene.boxes_xyxy, scene.visible, scene.points)
            rolls, true_rolls = found.rolls_deg(), true.rolls_deg()
            for face, roll, visible in zip(
                scene.boxes_xyxy, true_rolls, scene.visible, strict=True
            ):
                iou = box_iou(found.boxes_xyxy, face)
                is_found = bool((iou >= MATCH_IOU).any())
                error = abs((rolls[iou.argmax()] - roll + 180) % 360 - 180) if is_found else np.nan
                rows.append(
                    (face[2] - face[0], roll, visible, len(scene.boxes_xyxy), is_found, error)
                )
        side, roll, visible, count, hit, error = np.array(rows, float).reshape(-1, 6).T
        return cls(side, roll, visible, count, hit > 0, error, np.array(stray, bool))

    def recall_between(
        self, values: Floats, edges: Sequence[float], chosen: NDArray[np.bool_] | None = None
    ) -> dict[str, dict[str, float]]:
        """Return number, recall and roll error of the faces in each interval of a quantity.

        Parameters
        ----------
        values
            ``(k,)``: the quantity of each face.
        edges
            Limits of the intervals; empty intervals are left out.
        chosen
            ``(k,)``: faces to count; None: those of which at least half is visible.
        """
        chosen = self.visible >= MIN_VISIBLE if chosen is None else chosen
        table = {}
        for low, high in pairwise(edges):
            some = chosen & (values >= low) & (values < high)
            if some.any():
                entry = {"faces": int(some.sum()), "recall": float(self.found[some].mean())}
                errors = self.roll_error_deg[some & self.found]
                if len(errors):
                    entry["median_roll_error_deg"] = float(np.median(errors))
                    entry["roll_within_30_deg"] = float((errors < 30.0).mean())
                table[f"{low:g} to {high:g}"] = entry
        return table

    def report(self) -> dict[str, Any]:
        """Return recall by size, roll and visibility, in crowds, and the share of strays."""
        everything = np.full(len(self.found), True)
        return {
            "by_side_px": self.recall_between(self.side_px, SIZE_EDGES_PX),
            "by_roll_deg": self.recall_between(np.abs(self.roll_deg), ROLL_EDGES_DEG),
            "by_visible_share": self.recall_between(self.visible, VISIBLE_EDGES, everything),
            "by_faces_in_scene": self.recall_between(self.faces_in_scene, (1, 2, 4, 10, 1000)),
            "stray_detections": float(self.stray.mean()) if len(self.stray) else 0.0,
        }


def detection_time_ms(
    detector: Detector, width: int = 640, height: int = 480, runs: int = 60
) -> float:
    """Return the shortest time of several detections in an image of noise, ms."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        detector.detect(pixels)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def evaluation_report(positives: Floats, negatives: Floats, threshold: float) -> dict[str, Any]:
    """Return the figures of a detector's card: counts, operating point and curve."""
    thresholds = sorted({*(np.arange(5, 100, 5) / 100.0).tolist(), threshold})
    curve = [asdict(operating_point(positives, negatives, each)) for each in thresholds]
    return {
        "labelled_images": len(positives),
        "negatives": len(negatives),
        "at_threshold": asdict(operating_point(positives, negatives, threshold)),
        "curve": curve,
    }
