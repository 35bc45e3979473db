"""Face boxes of photos from a file, in place of a detector."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import box_array
from trg._util.files import existing_file
from trg.io.records.names import escape_name

CSV_COLUMNS = ("source", "x0", "y0", "x1", "y1")

MAX_BYTES = 2**28
"""Limit of the file: millions of boxes."""

PhotoBoxes: TypeAlias = Mapping[str, NDArray[np.float64]]
"""Face boxes ``(k, 4)`` of each photo, ``x0, y0, x1, y1`` in pixels, by its name."""


def read_boxes(path: str | PathLike[str]) -> PhotoBoxes:
    """Read face boxes in pixels from JSON or CSV.

    JSON is an object, ``{"a.jpg": [[x0, y0, x1, y1], ...], "empty.jpg": []}``. CSV has the columns
    ``source,x0,y0,x1,y1`` and a row per box; a row with four empty numbers stands for a photo
    without faces. The image spans (0, 0) at its top left corner to (width, height).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file cannot be opened.
    ValueError
        The file has another format, or a box is empty.
    """
    path = existing_file(path, "a file of boxes")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: expected a file of boxes of at most {MAX_BYTES:,} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected boxes as JSON or CSV, got no text ({error})") from error
    by_source = _from_json(path, text) if text.lstrip()[:1] in ("{", "[") else _from_csv(path, text)
    return {
        source: box_array(f"{path}, boxes of {source!r}", boxes)
        for source, boxes in by_source.items()
    }


def boxes_for(boxes: PhotoBoxes, source: str) -> NDArray[np.float64]:
    """Return the boxes ``(k, 4)`` of a photo, listed by its path or else by its file name.

    A name that is not UTF-8 is listed as in the records: :mod:`trg.io.records.names`.

    Raises ValueError if the photo is not listed.
    """
    for name in (source, Path(source).as_posix(), Path(source).name):
        for listed in (name, escape_name(name)):
            if listed in boxes:
                return boxes[listed]
    raise ValueError(
        f"{source}: expected its boxes in the file of boxes, found none; list a photo without "
        "faces with an empty list"
    )


def _from_json(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected boxes as JSON, got a damaged file ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(
            f'{path}: expected an object {{"photo.jpg": [[x0, y0, x1, y1], ...]}}, got a list'
        )
    return content


def _from_csv(path: Path, text: str) -> dict[str, Any]:
    reader = csv.DictReader(text.splitlines())
    try:
        columns = tuple(reader.fieldnames or ())
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(f"{path}: expected boxes as JSON or CSV, cannot read ({error})") from error
    if not set(CSV_COLUMNS) <= set(columns):
        raise ValueError(
            f"{path}: expected JSON, or CSV with the columns {','.join(CSV_COLUMNS)}, "
            f"got {','.join(columns)[:80]!r}"
        )
    by_source: dict[str, Any] = {}
    for row in rows:
        numbers = [row[name] or "" for name in CSV_COLUMNS[1:]]
        boxes = by_source.setdefault(row["source"], [])
        if any(number.strip() for number in numbers):
            boxes.append(numbers)
    return by_source
