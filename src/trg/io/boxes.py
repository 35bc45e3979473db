"""Face boxes that users bring in a file: which faces to look at in which picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array

CSV_COLUMNS = ("source", "x0", "y0", "x1", "y1")

PictureBoxes = Mapping[str, NDArray[np.float64]]
"""Boxes ``(k, 4)``, ``x0, y0, x1, y1`` in pixels, by the name of the picture."""


def read_boxes(path: str | PathLike[str]) -> PictureBoxes:
    """Read face boxes, of any shape and in pixels, from JSON or CSV.

    JSON is an object, ``{"a.jpg": [[x0, y0, x1, y1], ...], "empty.jpg": []}``. CSV has the columns
    ``source,x0,y0,x1,y1`` and a row per box; a row with four empty numbers says that its picture
    has none. A picture's top left corner is at (0, 0), its bottom right one at (width, height).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        It cannot be opened.
    ValueError
        It is neither of the two, or a box has no extent.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: expected a file of boxes, found none") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected boxes as JSON or CSV, got no text ({error})") from error
    by_source = _from_json(path, text) if text.lstrip()[:1] in ("{", "[") else _from_csv(path, text)
    return {source: _checked(path, source, boxes) for source, boxes in by_source.items()}


def boxes_of(boxes: PictureBoxes, source: str) -> NDArray[np.float64]:
    """Return a picture's boxes ``(k, 4)``, which the file has under its path or its file name.

    Raises
    ------
    ValueError
        The file says nothing of this picture.
    """
    for name in (source, Path(source).as_posix(), Path(source).name):
        if name in boxes:
            return boxes[name]
    raise ValueError(
        f"{source}: expected its boxes in the file of boxes, found none; a picture without faces "
        "is listed there with an empty list"
    )


def _from_json(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: expected boxes as JSON, got a damaged file ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(
            f'{path}: expected an object {{"picture.jpg": [[x0, y0, x1, y1], ...]}}, got a list'
        )
    return content


def _from_csv(path: Path, text: str) -> dict[str, Any]:
    reader = csv.DictReader(text.splitlines())
    columns = tuple(reader.fieldnames or ())
    if not set(CSV_COLUMNS) <= set(columns):
        raise ValueError(
            f"{path}: expected JSON, or CSV with the columns {','.join(CSV_COLUMNS)}, "
            f"got {','.join(columns)[:80]!r}"
        )
    by_source: dict[str, Any] = {}
    for row in reader:
        numbers = [row[name] or "" for name in CSV_COLUMNS[1:]]
        boxes = by_source.setdefault(row["source"], [])
        if any(number.strip() for number in numbers):
            boxes.append(numbers)
    return by_source


def _checked(path: Path, source: str, boxes: Any) -> NDArray[np.float64]:
    where = f"{path}, boxes of {source!r}"
    if isinstance(boxes, list) and not boxes:
        return np.zeros((0, 4))
    checked = finite_array(where, boxes, (None, 4))
    if not (checked[:, :2] < checked[:, 2:]).all():
        raise ValueError(f"{where}: expected x0 < x1 and y0 < y1 in each, got {checked.tolist()}")
    return checked
