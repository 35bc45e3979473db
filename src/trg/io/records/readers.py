"""Poses of videos from records in any of their formats, also those that OpenFace writes itself."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from trg.geometry.angles import ANGLE_CONVENTIONS
from trg.movement.poses import NO_FACE, ROTATION_COLUMNS, TRANSLATION_COLUMNS, PoseTable

_OPENFACE_ROTATION = ("pose_Rx", "pose_Ry", "pose_Rz")
_OPENFACE_TRANSLATION = ("pose_Tx", "pose_Ty", "pose_Tz")
_OWN_COLUMNS = ("time_s", "face_id", *ROTATION_COLUMNS, *TRANSLATION_COLUMNS)
_ARROW_COLUMNS = ("source", "time_s", "axes", "face_id", "rotation", "translation_m")


def read_poses(path: str | PathLike[str]) -> PoseTable:
    """Read the poses of JSON Lines, CSV, OpenFace's CSV, or a folder of Parquet.

    Photos, whose records have no time, and failed inputs are left out. In OpenFace's format the
    translation is that of the mean of the 68 landmarks.

    Raises
    ------
    FileNotFoundError
        The path does not exist.
    ValueError
        The file is damaged or of another format, or holds no pose with a time.
    ImportError
        Parquet needs the package pyarrow, of the extra ``data``.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected records of trg predict, found no such file")
    try:
        if path.is_dir() or path.suffix.lower() == ".parquet":
            table = _read_parquet(path)
        else:
            with path.open(encoding="utf-8-sig", newline="") as lines:
                first = lines.readline()
                lines.seek(0)
                table = _read_lines(lines) if first.lstrip()[:1] == "{" else _read_csv(lines, path)
        if not len(table.source):
            raise ValueError("no record has a time; are these photos? Movement needs a video")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected records of trg predict, got a file that is not text; of a video, "
            "estimate the poses with trg predict first"
        ) from error
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    return table


def _read_lines(lines: Iterable[str]) -> PoseTable:
    columns: dict[str, list[Any]] = {name: [] for name in _ARROW_COLUMNS}
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if "error" in record or record["time_s"] is None:
                continue
            rows = [
                (face["id"] if face["id"] is not None else place, *_pose_of(face))
                for place, face in enumerate(record["faces"])
            ]
            for face_id, rotation, translation_m in rows or [(None, None, None)]:
                values = (record["source"], record["time_s"], record.get("axes"), face_id)
                for name, value in zip(
                    _ARROW_COLUMNS, (*values, rotation, translation_m), strict=True
                ):
                    columns[name].append(value)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"line {number}: expected a record of trg predict, {_short(error)}"
            ) from error
    return PoseTable.from_columns(columns)


def _pose_of(face: Mapping[str, Any]) -> tuple[Any, Any]:
    return face["rotation"], face["translation_m"]


def _read_csv(lines: Iterable[str], path: Path) -> PoseTable:
    reader = csv.DictReader(lines)
    # OpenFace's own files have spaces after the commas of the header.
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    if set(_OPENFACE_ROTATION) <= set(names):
        return _openface_table(_columns(reader, names), path.stem)
    if missing := [name for name in _OWN_COLUMNS if name not in names]:
        raise ValueError(
            "expected records of trg predict: JSON Lines, CSV, OpenFace's CSV or a folder of "
            f"Parquet; the column {missing[0]} is missing"
        )
    kept = (*_OWN_COLUMNS, *(name for name in ("source", "axes") if name in names))
    return PoseTable.from_columns(_columns(reader, kept))


def _columns(
    rows: Iterator[dict[str | Any, str | Any]], names: Iterable[str]
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ValueError(f"row {number}: expected as many values as there are columns")
        for name, values in columns.items():
            values.append(row[name])
    return columns


def _openface_table(columns: Mapping[str, list[Any]], stem: str) -> PoseTable:
    needed = ("timestamp", "success", *_OPENFACE_ROTATION, *_OPENFACE_TRANSLATION)
    if missing := [name for name in needed if name not in columns]:
        raise ValueError(f"expected OpenFace's columns, {missing[0]} is missing")
    count = len(columns["timestamp"])
    numbers = {name: np.array(columns[name], dtype=np.float64) for name in needed}
    face_id = np.array(columns.get("face_id", [0] * count), dtype=np.float64)
    angles_rad = np.stack([numbers[name] for name in _OPENFACE_ROTATION], axis=1)
    rotation = ANGLE_CONVENTIONS["openface"].to_rotation(np.degrees(angles_rad))
    translation_mm = np.stack([numbers[name] for name in _OPENFACE_TRANSLATION], axis=1)
    return PoseTable(
        tuple(columns.get("source", [stem] * count)),
        numbers["timestamp"],
        np.where(numbers["success"] > 0.0, face_id, NO_FACE),
        rotation,
        translation_mm / 1000.0,
    )


def _read_parquet(path: Path) -> PoseTable:
    from pyarrow import ArrowException, parquet

    try:
        return PoseTable.from_columns(parquet.read_table(path, columns=list(_ARROW_COLUMNS)))
    except (ArrowException, KeyError, OSError) as error:
        raise ValueError(
            f"expected a folder of Parquet that trg predict wrote, {_short(error)}"
        ) from error


def _short(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{type(error).__name__}: {text[:200]}"
