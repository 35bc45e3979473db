"""Finds faces in pictures by the package's own small network.

Boxes that a user brings stand behind the same protocol: :class:`FixedBoxes`.

A picture is looked at in windows, each an input of the network::

    picture --> levels --------> windows ------> network --> peaks --> boxes in the picture --> NMS
                the whole one     overlapping     one value
                at side_px, and   ones where a    per 8x8 px
                finer ones for    level is large
                small faces
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg._util.checks import rgb_image
from trg.inference.bundle import BUNDLES
from trg.inference.detections import (
    POINT_COUNT,
    Detections,
    Detector,
    FixedBoxes,
    check_max_faces,
    checked_threshold,
    suppress,
)
from trg.inference.onnx_session import open_session

__all__ = ["Detections", "Detector", "FaceDetector", "FixedBoxes", "bundled_model"]

STRIDE = 8
"""The network says something of each square of this many input pixels."""

UNIT_SIDE_PX = 64.0
"""The network counts sides of boxes as logarithms over this one."""

FACE_NUMBERS = 3 + 2 * POINT_COUNT
INPUTS, OUTPUTS = ("images",), ("scores", "faces")
BUNDLED = BUNDLES / "detector.onnx"
CARD = "trg.detector"
"""Key of the description in the graph's metadata."""

SMALLEST_SIDE_PX = 16.0
"""Of a box that the network can find, in its input."""

MULTIPLE = 32
WINDOW_PX = 768
"""Larger levels are looked at in windows of this side."""

LEVEL_STEP = 4.0
"""How much finer each level is than the one before."""

OVERLAP_PX = 128
"""Of neighbouring windows: more than the largest face that the coarser level cannot find."""

WINDOWS_AT_ONCE = 8
MAX_ENLARGEMENT = 2.0
"""Small pictures are not blown up further than this."""

SLIMMEST = 3.0
"""Long pictures are treated as if they were at most this many times as long as they are wide."""


class _Window(NamedTuple):
    """A rectangle of the picture, px, and how many input pixels each of its pixels becomes."""

    x0: int
    y0: int
    x1: int
    y1: int
    scale: float

    def input_size(self) -> tuple[int, int]:
        """Return width and height of what the rectangle becomes, px."""
        return (
            max(1, round((self.x1 - self.x0) * self.scale)),
            max(1, round((self.y1 - self.y0) * self.scale)),
        )


class FaceDetector:
    """The package's own detector.

    Parameters
    ----------
    model
        An ONNX file that ``trg detector export`` wrote; None: the one inside the package.
    threads
        CPU threads for one call; None: one per physical core.
    threshold
        The score from which on a face counts, 0 to 1; None: what the model's card says.
    side_px
        The picture's larger side in the network's input. Boxes below 16 px in the input are not
        found, and the time grows with its square.
    smallest_face_px
        Side of the smallest box, in the picture, that must be found: the picture is then looked at
        in finer levels too, window by window. None: only as ``side_px`` says.
    providers
        ONNX Runtime's execution providers, in order of preference. None: the CPU.

    Raises
    ------
    FileNotFoundError
        There is no such model.
    ValueError
        The file is damaged or something else, or a number does not fit.
    """

    def __init__(
        self,
        model: str | PathLike[str] | None = None,
        threads: int | None = 1,
        *,
        threshold: float | None = None,
        side_px: int = 320,
        smallest_face_px: float | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold: expected 0 to 1, got {threshold}")
        if not side_px >= MULTIPLE:
            raise ValueError(f"side_px: expected at least {MULTIPLE}, got {side_px}")
        if smallest_face_px is not None and not smallest_face_px > 0:
            raise ValueError(f"smallest_face_px: expected a size above 0, got {smallest_face_px}")
        self._session, self.card = _open(
            bundled_model() if model is None else model, threads, providers
        )
        self._threshold = float(self.card["threshold"]) if threshold is None else threshold
        self._side_px = side_px
        self._smallest_face_px = smallest_face_px

    @property
    def threshold(self) -> float:
        """The score from which on a face counts, unless :meth:`detect` is told another."""
        return self._threshold

    def detect(
        self,
        image: NDArray[np.uint8],
        max_faces: int | None = None,
        threshold: float | None = None,
    ) -> Detections:
        """Find the faces of a picture.

        Parameters
        ----------
        image
            ``(h, w, 3)`` uint8 RGB, upright, of any size from 1x1 on.
        max_faces
            Keep only this many, the surest.
        threshold
            Least score, 0 to 1; None: :attr:`threshold`.

        Raises
        ------
        ValueError
            The image is no uint8 RGB image, or a number does not fit.
        """
        return self.detect_batch([image], max_faces, threshold)[0]

    def detect_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        max_faces: int | None = None,
        threshold: float | None = None,
    ) -> list[Detections]:
        """Find the faces of several pictures; those of one size go through the network together.

        Parameters and errors are those of :meth:`detect`.
        """
        threshold = checked_threshold(self.threshold if threshold is None else threshold)
        check_max_faces(max_faces)
        pictures = [rgb_image("image", image) for image in images]
        jobs = [
            (number, window)
            for number, picture in enumerate(pictures)
            for window in self._windows(picture.shape[1], picture.shape[0])
        ]
        found: list[list[Detections]] = [[] for _ in pictures]
        for chunk in _alike(jobs):
            inputs = np.stack([_window_input(pictures[number], window) for number, window in chunk])
            scores, faces = self._session.run(OUTPUTS, {INPUTS[0]: inputs})
            for (number, window), score, face in zip(chunk, scores, faces, strict=True):
                found[number].append(_decode(score, face, window, threshold))
        return [_merge(each, max_faces) for each in found]

    def _windows(self, width: int, height: int) -> list[_Window]:
        """Return the windows that a picture is looked at in."""
        shorter, longer = sorted((width, height))
        scale = min(self._side_px / min(longer, SLIMMEST * shorter), MAX_ENLARGEMENT)
        windows = list(_tiles(width, height, scale))
        if self._smallest_face_px is not None:
            finest = min(SMALLEST_SIDE_PX / self._smallest_face_px, MAX_ENLARGEMENT)
            while scale < finest:
                scale = min(scale * LEVEL_STEP, finest)
                windows += _tiles(width, height, scale)
        return windows


def bundled_model() -> Path:
    """Return the path of the detector inside the package.

    Raises
    ------
    FileNotFoundError
        This copy of the package has none.
    """
    if not BUNDLED.is_file():
        raise FileNotFoundError(
            f"{BUNDLED}: this copy of the package has no detector; give the file of one that "
            "`trg detector export` wrote, or boxes of your own (FixedBoxes)"
        )
    return BUNDLED


def _open(
    model: str | PathLike[str], threads: int | None, providers: Sequence[str] | None
) -> tuple[Any, dict[str, Any]]:
    """Open a detector's graph, and read and verify its card."""
    path = Path(model)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a face detector (.onnx), found no file")
    data = path.read_bytes()
    session = open_session(f"face detector {path}", data, threads, providers)
    card: dict[str, Any] = json.loads(session.get_modelmeta().custom_metadata_map.get(CARD, "{}"))
    if not {"threshold", "graph_bytes", "sha256"} <= set(card):
        raise ValueError(
            f"{path}: expected a face detector of this package with its card, got another ONNX "
            "model"
        )
    digest = hashlib.sha256(data[: card["graph_bytes"]]).hexdigest()
    if digest != card["sha256"]:
        raise ValueError(
            f"{path}: expected a graph of SHA-256 {card['sha256']}, got {digest}; the file is "
            "damaged: fetch it again"
        )
    return session, card


def _tiles(width: int, height: int, scale: float) -> Iterator[_Window]:
    """Cut a level into windows that overlap; most levels are one window."""
    spans = []
    for length in (width, height):
        count = 1
        if length * scale > WINDOW_PX:
            count += math.ceil((length * scale - WINDOW_PX) / (WINDOW_PX - OVERLAP_PX))
        size = min(length, math.ceil(WINDOW_PX / scale))
        starts = [round((length - size) * k / max(count - 1, 1)) for k in range(count)]
        spans.append([(start, start + size) for start in starts])
    for y0, y1 in spans[1]:
        for x0, x1 in spans[0]:
            yield _Window(x0, y0, x1, y1, scale)


def _alike(jobs: list[tuple[int, _Window]]) -> Iterator[list[tuple[int, _Window]]]:
    """Group windows that become inputs of one size."""
    groups: dict[tuple[int, int], list[tuple[int, _Window]]] = {}
    for job in jobs:
        width, height = job[1].input_size()
        size = (-(-width // MULTIPLE) * MULTIPLE, -(-height // MULTIPLE) * MULTIPLE)
        groups.setdefault(size, []).append(job)
    for group in groups.values():
        for start in range(0, len(group), WINDOWS_AT_ONCE):
            yield group[start : start + WINDOWS_AT_ONCE]


def _window_input(image: NDArray[np.uint8], window: _Window) -> NDArray[np.uint8]:
    """Resample a window; what fills the input up to multiples of 32, right and below, is black."""
    part = np.ascontiguousarray(image[window.y0 : window.y1, window.x0 : window.x1])
    width, height = window.input_size()
    padded = np.zeros(
        (-(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE, 3), np.uint8
    )
    picture = Image.fromarray(part)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1.5)
    padded[:height, :width] = np.asarray(picture)
    return padded


def _decode(
    scores: NDArray[np.float32], faces: NDArray[np.float32], window: _Window, threshold: float
) -> Detections:
    """Turn the scores' peaks into boxes and points in the picture."""
    row, column = np.nonzero((scores >= threshold) & (scores >= _highest_around(scores)))
    cell = (np.stack([column, row], axis=1) + 0.5) * STRIDE
    numbers = faces[row, column].astype(np.float64)
    side = UNIT_SIDE_PX * np.exp(numbers[:, 2:3])
    width, height = window.input_size()
    # Rounding the input's size stretches a little; each axis is undone by its own factor.
    factor = np.array([(window.x1 - window.x0) / width, (window.y1 - window.y0) / height])
    origin = np.array([window.x0, window.y0], dtype=np.float64)
    centre = (cell + side * numbers[:, :2]) * factor + origin
    half = side * factor.mean() / 2.0
    points = cell[:, None] + side[:, None] * numbers[:, 3:].reshape(-1, POINT_COUNT, 2)
    return Detections(
        np.hstack([centre - half, centre + half]),
        scores[row, column].astype(np.float64),
        points * factor + origin,
    )


def _highest_around(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the highest score in each cell's 3x3 neighbourhood."""
    rows, columns = scores.shape
    padded = np.pad(scores, 1)
    across = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    highest: NDArray[np.float32] = np.maximum(np.maximum(across[:-2], across[1:-1]), across[2:])
    assert highest.shape == (rows, columns)
    return highest


def _merge(parts: list[Detections], max_faces: int | None) -> Detections:
    """Join what the windows of one picture show."""
    joined = Detections(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    return Detections(*(array[:max_faces] for array in suppress(joined)))
