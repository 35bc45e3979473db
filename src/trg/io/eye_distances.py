"""Known interpupillary distances of people, by the photo or video that shows them, from a file."""

from __future__ import annotations

import csv
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from trg._util.checks import finite_array
from trg._util.files import existing_file
from trg.geometry.head_points import MAX_INTERPUPILLARY_M, MIN_INTERPUPILLARY_M

CSV_COLUMNS = ("source", "ipd_mm")
FACE_COLUMN = "face_id"

MAX_FILE_BYTES = 100_000_000

EVERY_FACE = None
"""Key of a distance that holds for every face of a source."""


@dataclass(frozen=True, slots=True)
class EyeDistances:
    """Interpupillary distances, metres, by source and by number of the face or EVERY_FACE."""

    by_source: Mapping[str, Mapping[int | None, float]]

    def check(self, sources: Sequence[str]) -> None:
        """Raise ValueError if no source is listed; warn of those that are not."""
        missing = [source for source in sources if self._faces_of(source) is None]
        if missing and len(missing) == len(sources):
            raise ValueError(
                f"distances between the pupils: expected those of {missing[0]!r}, by path or file "
                f"name, got {list(self.by_source)!r:.200}"
            )
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            warnings.warn(
                f"distances between the pupils: none of {missing[0]!r}{more}; their faces keep the "
                "estimated size",
                stacklevel=2,
            )

    def sha256(self) -> str:
        """Return a digest of all distances."""
        plain = {
            name: {str(face): value_m for face, value_m in faces.items()}
            for name, faces in self.by_source.items()
        }
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def of_face(self, source: str, number: int) -> float | None:
        """Return the distance of a face of a source; None if it is not listed.

        ``number`` is the face's identity in a video, or its place among the faces of a photo.
        """
        faces = self._faces_of(source) or {}
        return faces.get(number, faces.get(EVERY_FACE))

    def _faces_of(self, source: str) -> Mapping[int | None, float] | None:
        names = (source, Path(source).as_posix(), Path(source).name)
        return next((self.by_source[name] for name in names if name in self.by_source), None)


def checked_interpupillary_m(name: str, value_mm: Any) -> float:
    """Convert millimetres to metres; raises ValueError if they are not a person's."""
    value_m = float(finite_array(name, value_mm, ())) / 1000.0
    if not MIN_INTERPUPILLARY_M <= value_m <= MAX_INTERPUPILLARY_M:
        raise ValueError(
            f"{name}: expected {1000 * MIN_INTERPUPILLARY_M:g} to "
            f"{1000 * MAX_INTERPUPILLARY_M:g} mm between the pupils, got {1000 * value_m:g}"
        )
    return value_m


def read_eye_distances(path: str | PathLike[str]) -> EyeDistances:
    """Read interpupillary distances in millimetres from JSON or CSV.

    JSON is an object with a distance for each source, or one for each of its faces:
    ``{"anna.jpg": 63, "clip.mp4": {"0": 61.5, "1": 66}}``. CSV has the columns ``source,ipd_mm``
    and perhaps ``face_id``; a row without a face holds for every other face of the source.

    Raises
    ------
    FileNotFoundError, OSError
        There is no such file, or it cannot be opened.
    ValueError
        The file has another format, lists a face twice, or a distance is not 30 to 90 mm.
    """
    path = existing_file(path, "a file of distances between the pupils")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_FILE_BYTES:,} bytes, got {size:,}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _json_rows(text) if text.lstrip()[:1] in ("{", "[") else _csv_rows(text)
        by_source: dict[str, dict[int | None, float]] = {}
        for source, face, value_mm in rows:
            number = EVERY_FACE if face is EVERY_FACE else _face_number(source, face)
            faces = by_source.setdefault(source, {})
            if number in faces:
                raise ValueError(f"{source!r}: expected each face once, got {face!r} twice")
            faces[number] = checked_interpupillary_m(repr(source), value_mm)
    except (ValueError, RecursionError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    return EyeDistances(by_source)


def _face_number(source: str, face: str) -> int:
    if not (face.isascii() and face.isdigit() and len(face) < 10):
        raise ValueError(f"{source!r}: expected the number of a face, from 0, got {face!r:.40}")
    return int(face)


def _json_rows(text: str) -> list[tuple[str, str | None, Any]]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError('expected an object {"photo.jpg": 63, ...}, got a list')
    rows: list[tuple[str, str | None, Any]] = []
    for source, value in content.items():
        if isinstance(value, dict):
            rows += [(source, face, each) for face, each in value.items()]
        else:
            rows.append((source, EVERY_FACE, value))
    return rows


def _csv_rows(text: str) -> list[tuple[str, str | None, Any]]:
    reader = csv.DictReader(text.splitlines())
    columns = tuple(reader.fieldnames or ())
    if not set(CSV_COLUMNS) <= set(columns):
        raise ValueError(
            f"expected JSON, or CSV with the columns {','.join(CSV_COLUMNS)} and perhaps "
            f"{FACE_COLUMN}, got {','.join(columns)[:80]!r}"
        )
    return [
        (row["source"], (row.get(FACE_COLUMN) or "").strip() or EVERY_FACE, row["ipd_mm"])
        for row in reader
    ]
