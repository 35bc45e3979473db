"""Faces as Parquet: a folder of parts, which pandas, Polars, DuckDB and Arrow read as one table.

A row per face; a failed input has a row with its error and nothing else. Lists have fixed sizes, so
that a column is one array. A Parquet file is valid only with its footer, which is written last.
Hence parts of a few thousand rows, of which a killed run loses at most the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._util.files import write_atomic
from trg.face import Face
from trg.io.records.frame_record import (
    DISTORTION_NAMES,
    INTRINSIC_NAMES,
    FrameFaces,
    frame_columns,
)
from trg.io.records.journal import PART_PATTERN, Journal
from trg.io.records.writers import RecordWriter

PART_ROWS = 4096
"""Rows per part, about 30 MB with dense landmarks."""

DENSE_LANDMARKS = 1220

Column = tuple[str, int, Callable[[Face], Any]]
"""NumPy's name of the type, values per row (0: no list), and the values of a face."""

FACE_COLUMNS: dict[str, Column] = {
    "confidence": ("float32", 0, lambda face: face.confidence),
    "box_xyxy_px": ("float32", 4, lambda face: face.box_xyxy),
    "rotation": ("float32", 9, lambda face: face.rotation),
    "translation_m": ("float32", 3, lambda face: face.translation_m),
    "yaw_pitch_roll_deg": ("float32", 3, lambda face: face.euler()),
    "distance_m": ("float32", 0, lambda face: face.distance_m),
    "interpupillary_m": ("float32", 0, lambda face: face.interpupillary_m),
    "landmarks68_px": ("float32", 136, lambda face: face.landmarks68_px),
}
"""Arrays in row-major order: ``r00, r01, ...`` and ``x0, y0, x1, ...``."""

DENSE_COLUMN: dict[str, Column] = {
    "landmarks_m": ("float16", 3 * DENSE_LANDMARKS, lambda face: face.landmarks_m)
}
"""In the head frame, where float16 is exact to 0.06 mm. Pixels would be exact to one pixel only;
project ``R @ X + T`` instead."""

FRAME_COLUMNS = {
    "source": "string",
    "frame": "int64",
    "time_s": "float64",
    **dict.fromkeys(("width_px", "height_px"), "int32"),
    **dict.fromkeys((f"{name}_px" for name in INTRINSIC_NAMES), "float64"),
    **dict.fromkeys(DISTORTION_NAMES, "float64"),
    "camera_source": "string",
    "face_id": "int64",
}
"""The first columns, with Arrow's names of the types."""


class ParquetWriter(RecordWriter):
    """Writes faces into a folder of Parquet parts; see :func:`trg.io.records.writers.open_records`.

    Raises
    ------
    ImportError
        The package pyarrow is missing.
    NotADirectoryError
        ``folder`` is a file.
    """

    def __init__(
        self, folder: Path, *, landmarks: bool, resume: bool, part_rows: int = PART_ROWS
    ) -> None:
        self._arrow = _import_arrow()
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(
                f"{folder}: expected a folder for Parquet, or none, got a file"
            )
        self._folder, self._part_rows = folder, part_rows
        self._columns = {**FACE_COLUMNS, **(DENSE_COLUMN if landmarks else {})}
        content = {"records": "parquet", "landmarks": landmarks}
        self._journal = Journal(folder, content, resume)
        self.finished = self._journal.finished
        folder.mkdir(exist_ok=True)
        for part in sorted(folder.glob(PART_PATTERN))[self._journal.extent :]:
            part.unlink()
        self._part_count = self._journal.extent
        self._rows: list[dict[str, Any]] = []
        self._newly_finished: list[str] = []
        self._finished_rows = 0
        self._is_closed = False

    def write(self, found: FrameFaces) -> None:
        """Add a row per face.

        Raises ValueError if the dense landmarks are requested, and are not 1220.
        """
        self._flush_full_part()
        shared = {**frame_columns(found), "source": _utf8(found.source)}
        for face in found.faces:
            row = {**shared, "face_id": face.id}
            for name, (dtype, width, value_of) in self._columns.items():
                row[name] = values = np.asarray(value_of(face), dtype).ravel()
                if values.size != max(width, 1):
                    raise ValueError(f"{name}: expected {width} numbers, got {values.size}")
            self._rows.append(row)

    def write_error(self, source: str, message: str) -> None:
        """Add a row with the input's name and its error."""
        self._flush_full_part()
        self._rows.append({"source": _utf8(source), "error": _utf8(message)})

    def finish(self, source: str) -> None:
        """Mark an input as finished; it is listed once its rows are on the disk."""
        self._newly_finished.append(source)
        self._finished_rows = len(self._rows)

    def close(self) -> None:
        """Write the last part; does nothing if already closed."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._flush()
            if not self._part_count:
                self._write_part([])  # a folder without parts is not a table
        finally:
            self._journal.close()

    def _flush_full_part(self) -> None:
        if len(self._rows) >= self._part_rows:
            self._flush()

    def _flush(self) -> None:
        """Write all rows, with those of an unfinished input in a part that can be removed."""
        finished = self._rows[: self._finished_rows]
        unfinished = self._rows[self._finished_rows :]
        if finished:
            self._write_part(finished)
        if self._newly_finished:
            self._journal.add(self._newly_finished, self._part_count)
        if unfinished:
            self._write_part(unfinished)
        self._rows, self._newly_finished, self._finished_rows = [], [], 0

    def _write_part(self, rows: Sequence[dict[str, Any]]) -> None:
        from pyarrow import parquet

        table = self._table(rows)
        path = self._folder / f"part-{self._part_count:06d}.parquet"
        write_atomic(path, lambda file: parquet.write_table(table, file, compression="zstd"))
        self._part_count += 1

    def _table(self, rows: Sequence[dict[str, Any]]) -> Any:
        arrow = self._arrow
        columns = {
            name: arrow.array([row.get(name) for row in rows], getattr(arrow, kind)())
            for name, kind in FRAME_COLUMNS.items()
        }
        for name, (dtype, width, _) in self._columns.items():
            columns[name] = self._number_column([row.get(name) for row in rows], dtype, width)
        columns["error"] = arrow.array([row.get("error") for row in rows], arrow.string())
        return arrow.table(columns)

    def _number_column(self, values: Sequence[NDArray[Any] | None], dtype: str, width: int) -> Any:
        """Return a column of numbers, or of lists of ``width`` numbers; None becomes null."""
        missing = np.array([value is None for value in values], bool)
        zeros = np.zeros(max(width, 1), dtype)
        flat = np.concatenate(
            [zeros if value is None else value for value in values] or [zeros[:0]]
        )
        if not width:
            return self._arrow.array(flat, mask=missing)
        return self._arrow.FixedSizeListArray.from_arrays(
            self._arrow.array(flat), width, mask=self._arrow.array(missing)
        )


def _utf8(text: str) -> str:
    """Return valid UTF-8, as Parquet requires; file names may contain other bytes."""
    return text.encode("utf-8", "replace").decode()


def _import_arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "Parquet needs the package pyarrow; install it with: pip install 'trg-headpose[data]'"
        ) from error
    return pyarrow
