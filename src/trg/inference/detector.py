"""The package's own face detector: an anchor-free convolutional network in ONNX Runtime.

Each level of an image pyramid is split into overlapping tiles, which the network sees one by one::

    image --> pyramid levels ------> tiles -------> network -----> peaks --> boxes, NMS
              the image at side_px,  overlapping,   one output
              and finer levels for   where a level  per 8x8 px
              small faces            is large

For given boxes behind the same interface see :class:`~trg.inference.detections.FixedBoxes`.
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
from trg._util.files import existing_file
from trg.inference.bundle import BUNDLES
from trg.inference.detections import (
    POINT_COUNT,
    Detections,
    check_max_faces,
    checked_threshold,
    non_maximum_suppression,
)
from trg.inference.onnx_session import OnnxSession

STRIDE = 8
"""Input pixels per output cell."""

UNIT_SIDE_PX = 64.0
"""The network's output for a box side is ``log(side / UNIT_SIDE_PX)``."""

FACE_CHANNELS = 3 + 2 * POINT_COUNT
"""Outputs per cell besides the score: box centre x, y, log side, landmarks x, y."""

INPUTS, OUTPUTS = ("images",), ("scores", "faces")
BUNDLED = BUNDLES / "detector.onnx"
CARD = "trg.detector"
"""Key of the model's card in the graph's metadata."""

MIN_INPUT_SIDE_PX = 16.0
"""Side of the smallest box that the network finds, in its input."""

MULTIPLE = 32
"""The sides of the network's input are multiples of this: its largest stride."""

TILE_PX = 768
"""Larger pyramid levels are split into tiles of this side."""

LEVEL_STEP = 2.0
"""Ratio of the scales of neighbouring pyramid levels. The levels do not depend on the smallest face
to find, which only sets their number: a smaller one adds levels and changes none."""

MAX_FINER_SCALE = 0.5
"""Largest scale of levels that are added without being asked for: photos of two pixels per input
pixel have detail left there, and small images cost no more time."""

TILE_OVERLAP_PX = 128
"""Overlap of neighbouring tiles: more than the largest face that the coarser level misses."""

TILES_PER_BATCH = 8
MAX_ENLARGEMENT = 2.0
"""Largest factor by which small images are enlarged."""

MAX_ASPECT = 3.0
"""The input size of longer images is computed as if they had this aspect ratio, so that faces in
panoramas do not become too small."""


class _Tile(NamedTuple):
    """A rectangle of the image, px, and the scale at which the network sees it."""

    x0: int
    y0: int
    x1: int
    y1: int
    scale: float

    def input_size(self) -> tuple[int, int]:
        """Return width and height of the scaled rectangle, px."""
        return (
            max(1, round((self.x1 - self.x0) * self.scale)),
            max(1, round((self.y1 - self.y0) * self.scale)),
        )

    def padded_size(self) -> tuple[int, int]:
        """Return width and height of the network's input, multiples of 32 px."""
        width, height = (-(-side // MULTIPLE) * MULTIPLE for side in self.input_size())
        return width, height


class FaceDetector:
    """The package's own detector.

    Parameters
    ----------
    model
        An ONNX file written by ``trg detector export``; None: the one inside the package.
    threads
        CPU threads per call; None: one per physical core.
    threshold
        Least score of a face, 0 to 1; None: as the model's card says.
    fallback_threshold
        Least score of the best face of an image in which no face reaches ``threshold``; None: such
        an image has no face.
    side_px
        Larger side of the image in the network's input. Boxes below 16 px in the input are not
        found. The cost grows with the square.
    smallest_face_px
        Side of the smallest box to find, in image pixels. Adds finer pyramid levels, each twice as
        fine as the last and seen tile by tile, where ``side_px`` is too coarse. A smaller value
        only adds levels. None: ``finer_levels``.
    finer_levels
        Largest number of finer pyramid levels of large images: the first where the image's larger
        side is four times ``side_px``, each further one at twice that size.
    providers
        ONNX Runtime's execution providers, in order of preference. None: the CPU.

    Raises
    ------
    FileNotFoundError
        The model does not exist.
    ValueError
        The file is damaged or another model, or a parameter is out of range.
    """

    def __init__(
        self,
        model: str | PathLike[str] | None = None,
        threads: int | None = 1,
        *,
        threshold: float | None = None,
        fallback_threshold: float | None = None,
        side_px: int = 320,
        smallest_face_px: float | None = None,
        finer_levels: int = 0,
        providers: Sequence[str] | None = None,
    ) -> None:
        for each in (threshold, fallback_threshold):
            if each is not None:
                checked_threshold(each)
        if not side_px >= MULTIPLE:
            raise ValueError(f"side_px: expected at least {MULTIPLE}, got {side_px}")
        if smallest_face_px is not None and not smallest_face_px > 0:
            raise ValueError(f"smallest_face_px: expected a size above 0, got {smallest_face_px}")
        if finer_levels < 0:
            raise ValueError(f"finer_levels: expected 0 or more, got {finer_levels}")
        self._session, self.card = _open(
            bundled_model() if model is None else model, threads, providers
        )
        self.threshold = float(self.card["threshold"]) if threshold is None else threshold
        """Least score of a face where :meth:`detect` is given none."""
        self._fallback_threshold = fallback_threshold
        self._side_px = side_px
        self._smallest_face_px = smallest_face_px
        self._finer_levels = finer_levels

    def detect(
        self,
        image: NDArray[np.uint8],
        max_faces: int | None = None,
        threshold: float | None = None,
    ) -> Detections:
        """Detect the faces of an image.

        Parameters
        ----------
        image
            ``(h, w, 3)`` uint8 RGB, upright, of any size from 1x1.
        max_faces
            Return at most this many, those with the highest scores.
        threshold
            Least score, 0 to 1, without a fallback; None: :attr:`threshold`.

        Raises
        ------
        ValueError
            The image is not uint8 RGB, or a parameter is out of range.
        """
        return self.detect_batch([image], max_faces, threshold)[0]

    def detect_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        max_faces: int | None = None,
        threshold: float | None = None,
    ) -> list[Detections]:
        """Detect the faces of several images; tiles of equal size share a call of the network.

        Parameters and errors are those of :meth:`detect`.
        """
        if threshold is None:
            threshold, fallback = self.threshold, self._fallback_threshold
        else:
            threshold, fallback = checked_threshold(threshold), None
        least = threshold if fallback is None else min(threshold, fallback)
        check_max_faces(max_faces)
        checked = [rgb_image("image", image) for image in images]
        jobs = [
            (index, tile)
            for index, image in enumerate(checked)
            for tile in self._tiles(image.shape[1], image.shape[0])
        ]
        found: list[list[Detections]] = [[] for _ in checked]
        for batch in _batches_of_equal_size(jobs):
            inputs = np.stack([_tile_input(checked[index], tile) for index, tile in batch])
            scores, faces = self._session.run(OUTPUTS, {INPUTS[0]: inputs})
            for (index, tile), score, face in zip(batch, scores, faces, strict=True):
                found[index].append(_decode(score, face, tile, least))
        return [_merge(each, threshold, max_faces) for each in found]

    def _tiles(self, width: int, height: int) -> list[_Tile]:
        """Return the tiles of all pyramid levels of an image."""
        shorter, longer = sorted((width, height))
        scale = min(self._side_px / min(longer, MAX_ASPECT * shorter), MAX_ENLARGEMENT)
        tiles = list(_tiles_of_level(width, height, scale))
        for finer in self._finer_scales(scale):
            tiles += _tiles_of_level(width, height, finer)
        return tiles

    def _finer_scales(self, scale: float) -> Iterator[float]:
        """Yield the scales of the levels beyond the first."""
        if self._smallest_face_px is None:
            for _ in range(self._finer_levels):
                scale *= LEVEL_STEP
                if scale <= MAX_FINER_SCALE:
                    yield scale
            return
        while scale < min(MIN_INPUT_SIDE_PX / self._smallest_face_px, MAX_ENLARGEMENT):
            scale = min(LEVEL_STEP * scale, MAX_ENLARGEMENT)
            yield scale


def bundled_model() -> Path:
    """Return the path of the detector inside the package.

    Raises FileNotFoundError if the package was built without a detector.
    """
    if not BUNDLED.is_file():
        raise FileNotFoundError(
            f"{BUNDLED}: this copy of the package has no detector; pass a file written by "
            "`trg detector export`, or boxes (FixedBoxes)"
        )
    return BUNDLED


def _open(
    model: str | PathLike[str], threads: int | None, providers: Sequence[str] | None
) -> tuple[OnnxSession, dict[str, Any]]:
    """Open a detector's graph, and read and verify its card."""
    path = existing_file(model, "a face detector (.onnx)")
    data = path.read_bytes()
    session = OnnxSession(f"face detector {path}", data, threads, providers)
    card = _card(path, session.metadata.get(CARD, "{}"))
    if (tuple(session.inputs), tuple(session.outputs)) != (INPUTS, OUTPUTS):
        raise ValueError(
            f"{path}: expected a graph from {INPUTS} to {OUTPUTS}, got one from "
            f"{tuple(session.inputs)} to {tuple(session.outputs)}"
        )
    digest = hashlib.sha256(data[: card["graph_bytes"]]).hexdigest()
    if digest != card["sha256"]:
        raise ValueError(
            f"{path}: expected a graph of SHA-256 {card['sha256']}, got {digest}; the file is "
            "damaged: fetch it again"
        )
    return session, card


def _card(path: Path, text: str) -> dict[str, Any]:
    """Parse a detector's card and check what the detector uses of it."""
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the face detector's card is damaged, {error}") from error
    if not isinstance(card, dict) or not {"threshold", "graph_bytes", "sha256"} <= set(card):
        raise ValueError(
            f"{path}: expected a face detector of this package with its card, got another ONNX "
            "model"
        )
    for key, kind in (("threshold", int | float), ("graph_bytes", int), ("sha256", str)):
        if not isinstance(card[key], kind) or isinstance(card[key], bool):
            raise ValueError(f"{path}: its card has a wrong {key}, {card[key]!r}")
    return card


def _tiles_of_level(width: int, height: int, scale: float) -> Iterator[_Tile]:
    """Split a pyramid level into overlapping tiles; most levels are one tile."""
    spans = []
    for length in (width, height):
        count = 1
        if length * scale > TILE_PX:
            count += math.ceil((length * scale - TILE_PX) / (TILE_PX - TILE_OVERLAP_PX))
        size = min(length, math.ceil(TILE_PX / scale))
        starts = [round((length - size) * k / max(count - 1, 1)) for k in range(count)]
        spans.append([(start, start + size) for start in starts])
    for y0, y1 in spans[1]:
        for x0, x1 in spans[0]:
            yield _Tile(x0, y0, x1, y1, scale)


def _batches_of_equal_size(jobs: list[tuple[int, _Tile]]) -> Iterator[list[tuple[int, _Tile]]]:
    """Group tiles whose network inputs have the same size."""
    groups: dict[tuple[int, int], list[tuple[int, _Tile]]] = {}
    for job in jobs:
        groups.setdefault(job[1].padded_size(), []).append(job)
    for group in groups.values():
        for start in range(0, len(group), TILES_PER_BATCH):
            yield group[start : start + TILES_PER_BATCH]


def _tile_input(image: NDArray[np.uint8], tile: _Tile) -> NDArray[np.uint8]:
    """Resample a tile and pad it with black, right and below, to a multiple of 32 px."""
    scaled = Image.fromarray(np.ascontiguousarray(image[tile.y0 : tile.y1, tile.x0 : tile.x1]))
    width, height = tile.input_size()
    if scaled.size != (width, height):
        # A gap of 1 averages whole pixels as far as possible, which is several times faster.
        scaled = scaled.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1.0)
    padded_width, padded_height = tile.padded_size()
    padded = np.zeros((padded_height, padded_width, 3), np.uint8)
    padded[:height, :width] = np.asarray(scaled)
    return padded


def _decode(
    scores: NDArray[np.float32], faces: NDArray[np.float32], tile: _Tile, threshold: float
) -> Detections:
    """Convert score peaks to boxes and landmarks in image pixels."""
    row, column = np.nonzero((scores >= threshold) & (scores >= _max_pool_3x3(scores)))
    cell = (np.stack([column, row], axis=1) + 0.5) * STRIDE
    channels = faces[row, column].astype(np.float64)
    side = UNIT_SIDE_PX * np.exp(channels[:, 2:3])
    width, height = tile.input_size()
    # The input size is rounded, so the axes have slightly different scales.
    factor = np.array([(tile.x1 - tile.x0) / width, (tile.y1 - tile.y0) / height])
    origin = np.array([tile.x0, tile.y0], dtype=np.float64)
    centre = (cell + side * channels[:, :2]) * factor + origin
    half = side * factor.mean() / 2.0
    points = cell[:, None] + side[:, None] * channels[:, 3:].reshape(-1, POINT_COUNT, 2)
    return Detections(
        np.hstack([centre - half, centre + half]),
        scores[row, column].astype(np.float64),
        points * factor + origin,
    )


def _max_pool_3x3(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the maximum over each cell's 3x3 neighbourhood, zero-padded."""
    padded = np.pad(scores, 1)
    across = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    pooled: NDArray[np.float32] = np.maximum(np.maximum(across[:-2], across[1:-1]), across[2:])
    return pooled


def _merge(parts: list[Detections], threshold: float, max_faces: int | None) -> Detections:
    """Merge the detections of an image's tiles; without one of ``threshold``, the best remains."""
    joined = Detections(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    merged = non_maximum_suppression(joined)
    count = max(1, np.count_nonzero(merged.scores >= threshold))
    return Detections(*(array[:count][:max_faces] for array in merged))
