"""How well a detector finds faces, and how often it sees some where nobody is.

Everything is measured from each picture's best answers, so that one run gives the whole curve over
thresholds::

    labelled pictures --> score of the surest answer whose IoU with the labelled box is 0.5 or more
    empty pictures    --> score of the surest answer at all

A picture without such an answer counts with the score 0: it is a miss at every threshold.
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
from PIL import Image

from trg._util.checks import finite_array
from trg.geometry.crop import face_box
from trg.inference.detections import Detector, box_iou
from trglab.detector.scenes import DetectionScene

Floats = NDArray[np.float64]

FOUND_IOU = 0.5
LEAST_SCORE = 0.005
"""Answers below this are as good as none."""

LEAST_SEEN = 0.5
SIZE_EDGES_PX = (16.0, 24.0, 32.0, 48.0, 64.0, 128.0, 256.0, 1024.0)

POINTS_FILE = "landmarks68.npz"


class LabelledImage(NamedTuple):
    """One picture and one face that is surely in it; there may be others."""

    name: str
    pixels: NDArray[np.uint8]
    box_xyxy: Floats


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a detector does at one threshold."""

    threshold: float
    found: float | None
    """Share of the labelled faces that are found; None where there were none."""
    false_alarms: float | None
    """Share of the empty pictures in which something is found; None where there were none."""

    def to_dict(self) -> dict[str, float | None]:
        """Return the numbers by name."""
        return asdict(self)


def labelled_stills(folder: Path) -> Iterator[LabelledImage]:
    """Read a folder of photographs with 68 points each; the box is 1.5 times the points' extent.

    Raises
    ------
    FileNotFoundError
        The folder has no ``landmarks68.npz``, or lacks a picture that it names.
    """
    path = folder / POINTS_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected the stills' points, found none; give a folder with pictures and "
            "that file"
        )
    with np.load(path) as arrays:
        names = [str(name) for name in arrays["names"]]
        points = finite_array(f"{path} points", arrays["points"], (len(names), 68, 2))
    for name, each in zip(names, points, strict=True):
        with Image.open(folder / name) as picture:
            yield LabelledImage(name, np.asarray(picture.convert("RGB")), face_box(each))


def positive_scores(detector: Detector, pictures: Iterable[LabelledImage]) -> Floats:
    """Return for each picture ``(n,)`` the score with which its labelled face is found, or 0."""
    return np.array([_score(detector, each.pixels, each.box_xyxy) for each in pictures])


def negative_scores(detector: Detector, pictures: Iterable[NDArray[np.uint8]]) -> Floats:
    """Return for each picture without a face ``(n,)`` the highest score, or 0."""
    return np.array([_score(detector, pixels, None) for pixels in pictures])


def _score(detector: Detector, pixels: NDArray[np.uint8], box: Floats | None) -> float:
    answers = detector.detect(pixels, threshold=LEAST_SCORE)
    scores = answers.scores
    if box is not None:
        scores = scores[box_iou(answers.boxes_xyxy, box) >= FOUND_IOU]
    return float(scores.max(initial=0.0))


def operating_point(labelled: Floats, empty: Floats, threshold: float) -> OperatingPoint:
    """Return what happens at one threshold, from the scores of both kinds of pictures."""
    return OperatingPoint(
        threshold=float(threshold),
        found=float((labelled >= threshold).mean()) if len(labelled) else None,
        false_alarms=float((empty >= threshold).mean()) if len(empty) else None,
    )


def threshold_for(empty: Floats, false_alarms: float) -> float:
    """Return the lowest threshold, in hundredths, that keeps the false alarms to that share.

    Raises
    ------
    ValueError
        There are no empty pictures, or no threshold up to 0.99 is high enough.
    """
    if not len(empty):
        raise ValueError("empty: expected scores of pictures without a face, got none")
    for threshold in np.arange(1, 100) / 100.0:
        if (empty >= threshold).mean() <= false_alarms:
            return float(threshold)
    raise ValueError(f"empty: expected at most {false_alarms:.1%} above 0.99, got more")


def operating_curve(
    labelled: Floats, empty: Floats, thresholds: Iterable[float]
) -> list[OperatingPoint]:
    """Return the trade between faces found and false alarms over thresholds."""
    return [operating_point(labelled, empty, threshold) for threshold in thresholds]


def recall_by_rotation(
    detector: Detector,
    pictures: Iterable[NDArray[np.uint8]],
    threshold: float | None = None,
) -> dict[str, float]:
    """Return the share of pictures in which a face is found, upright and turned by quarters.

    For pictures that show one face in the middle: an answer counts when its box holds the
    picture's centre.
    """
    found: dict[int, list[bool]] = {quarters: [] for quarters in range(4)}
    for pixels in pictures:
        for quarters, results in found.items():
            turned = np.ascontiguousarray(np.rot90(pixels, quarters))
            boxes = detector.detect(turned, threshold=threshold).boxes_xyxy
            centre = np.array([turned.shape[1], turned.shape[0]]) / 2.0
            results.append(bool(((boxes[:, :2] < centre) & (boxes[:, 2:] > centre)).all(1).any()))
    return {f"{90 * quarters} deg": float(np.mean(each)) for quarters, each in found.items()}


def recall_by_size(
    detector: Detector,
    scenes: Iterable[DetectionScene],
    threshold: float | None = None,
    edges_px: Sequence[float] = SIZE_EDGES_PX,
) -> dict[str, dict[str, float]]:
    """Return the share of the faces found, by the side of their box in the picture.

    Faces of which less than half is seen are left out. The entry ``"all"`` also holds the share of
    the answers that overlap no labelled head at all, hidden ones and heads from behind included.
    """
    sides: list[float] = []
    hits: list[bool] = []
    strangers: list[bool] = []
    for scene in scenes:
        answers = detector.detect(scene.image, threshold=threshold).boxes_xyxy
        heads = np.concatenate([scene.boxes_xyxy, scene.ignore_xyxy])
        strangers += [bool((box_iou(heads, answer) < 0.2).all()) for answer in answers]
        for box, seen in zip(scene.boxes_xyxy, scene.visible, strict=True):
            if seen >= LEAST_SEEN:
                sides.append(float(box[2] - box[0]))
                hits.append(bool((box_iou(answers, box) >= FOUND_IOU).any()))
    side, hit = np.array(sides), np.array(hits, bool)
    table = {}
    for low, high in pairwise(edges_px):
        chosen = (side >= low) & (side < high)
        if chosen.any():
            name = f"{low:.0f} to {high:.0f} px"
            table[name] = {"faces": int(chosen.sum()), "found": float(hit[chosen].mean())}
    table["all"] = {
        "faces": len(hit),
        "found": float(hit.mean()) if len(hit) else 0.0,
        "answers_at_no_head": float(np.mean(strangers)) if strangers else 0.0,
    }
    return table


def milliseconds(detector: Detector, width: int = 640, height: int = 480, runs: int = 60) -> float:
    """Return the fastest of several detections in a picture of noise, ms."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        detector.detect(pixels)
        times.append(time.perf_counter() - began)
    return 1e3 * min(times)


def report(labelled: Floats, empty: Floats, threshold: float) -> dict[str, Any]:
    """Return the figures that a detector's card holds: counts, the point in use and the curve."""
    thresholds = sorted({*(np.arange(5, 100, 5) / 100.0).tolist(), threshold})
    return {
        "labelled_pictures": len(labelled),
        "empty_pictures": len(empty),
        "at_threshold": operating_point(labelled, empty, threshold).to_dict(),
        "curve": [point.to_dict() for point in operating_curve(labelled, empty, thresholds)],
    }
