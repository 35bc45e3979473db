"""Face boxes of a data set that come from elsewhere: from a detector, or from a file.

The file is JSON: ``{"NAME": [x0, y0, x1, y1], ...}`` in px, the top-left corner of the picture at
(0, 0). BIWI's names are ``NN/frame_XXXXX``; a frame without a box is one where no face was found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._atomic import write_atomic
from trg._check import finite_array
from trg.data.biwi import BIWI


class FoundFaces(Protocol):
    """Faces of one picture, the surest first."""

    @property
    def boxes_xyxy(self) -> NDArray[np.float64]:
        """``(k, 4)`` px."""


class FaceFinder(Protocol):
    """Finds faces in a picture."""

    def detect(self, image: NDArray[np.uint8], /) -> FoundFaces:
        """Find faces in ``(h, w, 3)``."""


def detect_boxes(frames: BIWI, detector: FaceFinder) -> dict[str, NDArray[np.float64]]:
    """Return the surest face's box ``(4,)`` px of each frame, without those that show none.

    Raises
    ------
    FileNotFoundError, ValueError
        A picture is missing or damaged.
    """
    boxes = {}
    for frame in frames.frames:
        found = detector.detect(frames.picture(frame)).boxes_xyxy
        if len(found):
            boxes[frame] = np.asarray(found[0], dtype=np.float64)
    return boxes


def read_boxes(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Read boxes ``(4,)`` by name.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is no JSON object, or a box is not four finite numbers with x0 < x1, y0 < y1.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, could not read it ({error})") from error
    if not isinstance(stored, dict):
        raise ValueError(
            f'{path}: expected {{"NAME": [x0, y0, x1, y1], ...}}, got a {type(stored)}'
        )
    boxes = {}
    for name, numbers in stored.items():
        box = finite_array(f"{path}: box of {name}", numbers, (4,))
        if not (box[:2] < box[2:]).all():
            raise ValueError(f"{path}: box of {name}: expected x0 < x1 and y0 < y1, got {numbers}")
        boxes[name] = box
    return boxes


def write_boxes(path: str | Path, boxes: Mapping[str, ArrayLike]) -> None:
    """Write boxes ``(4,)`` px by name, so that :func:`read_boxes` reads them; the whole file or
    none.
    """
    plain = {name: np.asarray(box, dtype=np.float64).tolist() for name, box in boxes.items()}
    content = json.dumps(plain, indent=1).encode()
    write_atomic(Path(path), lambda file: file.write(content))
