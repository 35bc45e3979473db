"""Faces as Parquet: a folder of parts, which pandas, Polars, DuckDB and Arrow read as one table.

A row per face, and one for a photo or frame without faces; a failed input has a row with its error
and nothing else. Lists have fixed sizes, so that a column is one array. A Parquet file is valid
only with its footer, which is written last. Hence parts of a few thousand rows or half a minute, of
which a killed run loses at most the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._util.files import remove_partial_files, write_atomic
from trg.face import Face
from trg.geometry.face_mesh import LANDMARK_GROUPS
from trg.geometry.shape_basis import EXPRESSION_NAMES
from trg.io.records.frame_record import (
    DISTORTION_NAMES,
    INTRINSIC_NAMES,
    FrameFaces,
    Pose3D,
    frame_columns,
)
from trg.io.records.journal import Journal, Outcome
from trg.io.records.journal_lines import Entry, Inputs, part_files
from trg.io.records.writers import RecordWriter

PART_ROWS = 4096
"""Rows per part, about 30 MB with dense landmarks."""

PART_S = 30.0
"""Longest time between two parts, if there are rows."""

DENSE_LANDMARKS = 1220

Column = tuple[str, int, Callable[[Face, Pose3D], Any]]
"""NumPy's name of the type, values per row (0: no list), and the values of a face in its axes."""

FACE_COLUMNS: dict[str, Column] = {
    "confidence": ("float32", 0, lambda face, _: face.confidence),
    "box_xyxy_px": ("float32", 4, lambda face, _: face.box_xyxy),
    "rotation": ("float32", 9, lambda _, pose: pose.rotation),
    "translation_m": ("float32", 3, lambda _, pose: pose.translation_m),
    "yaw_pitch_roll_deg": ("float32", 3, lambda face, _: face.euler()),
    "yaw_pitch_roll_sight_deg": ("float32", 3, lambda face, _: face.euler(relative_to="sight")),
    "distance_m": ("float32", 0, lambda face, _: face.distance_m),
    "interpupillary_m": ("float32", 0, lambda face, _: face.interpupillary_m),
    "frame_interpupillary_m": ("float32", 0, lambda face, _: face.frame_interpupillary_m),
    "size_std": ("float32", 0, lambda face, _: face.person_size and face.person_size.std),
    "landmarks68_px": ("float32", 136, lambda face, _: face.landmarks68_px),
    "rotation_std_deg": ("float32", 3, lambda _, pose: pose.rotation_std_deg),
    "translation_std_m": ("float32", 3, lambda _, pose: pose.translation_std_m),
    "landmarks_std_m": ("float32", len(LANDMARK_GROUPS), lambda face, _: face.landmarks_std_m),
    "landmarks_std_px": ("float32", 68, lambda face, _: face.landmarks_std_px),
}
"""Arrays in row-major order: ``r00, r01, ...`` and ``x0, y0, x1, ...``."""

DENSE_COLUMN: dict[str, Column] = {
    "landmarks_m": ("float16", 3 * DENSE_LANDMARKS, lambda _, pose: pose.landmarks_m)
}
"""In the head frame, where float16 is exact to 0.06 mm. Pixels would be exact to one pixel only;
project ``R @ X + T`` instead."""

BLENDSHAPE_COLUMN: dict[str, Column] = {
    "blendshapes": (
        "float32",
        len(EXPRESSION_NAMES),
        lambda face, _: list(face.blendshapes().values()),
    )
}
"""In the order of :data:`~trg.geometry.shape_basis.EXPRESSION_NAMES`."""

FRAME_COLUMNS = {
    "source": "string",
    "frame": "int64",
    "time_s": "float64",
    **dict.fromkeys(("width_px", "height_px"), "int32"),
    **dict.fromkeys((f"{name}_px" for name in INTRINSIC_NAMES), "float64"),
    **dict.fromkeys(DISTORTION_NAMES, "float64"),
    "lens_model": "string",
    "camera_source": "string",
    "axes": "string",
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
    FileExistsError
        ``folder`` holds other Parquet files, which readers would take for parts.
    """

    def __init__(
        self,
        folder: Path,
        *,
        landmarks: bool,
        blendshapes: bool = False,
        resume: bool = False,
        overwrite: bool = False,
        settings: Mapping[str, Any] | None = None,
        inputs: Inputs | None = None,
        part_rows: int = PART_ROWS,
        part_s: float = PART_S,
    ) -> None:
        self._arrow = _import_arrow()
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(
                f"{folder}: expected a folder for Parquet, or none, got a file"
            )
        self._folder, self._part_rows, self._part_s = folder, part_rows, part_s
        self._columns = {
            **FACE_COLUMNS,
            **(DENSE_COLUMN if landmarks else {}),
            **(BLENDSHAPE_COLUMN if blendshapes else {}),
        }
        self._journal = Journal(
            folder,
            {
                "records": "parquet",
                "landmarks": landmarks,
                "blendshapes": blendshapes,
                **(settings or {}),
            },
            resume=resume,
            overwrite=overwrite,
            inputs=inputs,
            remove_records=self._remove_records,
        )
        try:
            self._prepare_folder()
        except BaseException:
            self._journal.close()
            raise
        self.finished = self._journal.finished
        self._part_count = self._journal.extent
        self._part_start_s = time.monotonic()
        self._rows: list[dict[str, Any]] = []
        self._new_outcomes: list[Outcome] = []
        self._noted_rows = 0
        self._is_closed = False

    def claim(self, path: str) -> None:
        """Note that a file beside the folder is about to be written."""
        self._journal.claim(path)

    def _write_frame(self, found: FrameFaces) -> None:
        """Add a row per face, or one without a face.

        Raises ValueError if the dense landmarks are requested, and are not 1220.
        """
        self._flush_full_part()
        shared = frame_columns(found)
        if not found.faces:
            self._rows.append(shared)
        for face in found.faces:
            row, pose = {**shared, "face_id": face.id}, Pose3D.of(face, found.axes)
            for name, (dtype, width, value_of) in self._columns.items():
                value = value_of(face, pose)
                if value is None:
                    continue
                row[name] = values = np.asarray(value, dtype).ravel()
                if values.size != max(width, 1):
                    raise ValueError(f"{name}: expected {width} numbers, got {values.size}")
            self._rows.append(row)

    def _write_error(self, source: str, message: str) -> None:
        self._flush_full_part()
        self._rows.append({"source": source, "error": message})

    def _note(self, outcome: Outcome) -> None:
        """Keep the outcome, which is listed once the input's rows are on the disk."""
        self._new_outcomes.append(outcome)
        self._noted_rows = len(self._rows)

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
        is_late = time.monotonic() - self._part_start_s >= self._part_s
        if len(self._rows) >= self._part_rows or (is_late and self._rows):
            self._flush()

    def _flush(self) -> None:
        """Write all rows, with those of an unfinished input in a part that can be removed."""
        complete = self._rows[: self._noted_rows]
        incomplete = self._rows[self._noted_rows :]
        if complete:
            self._write_part(complete)
        if self._new_outcomes:
            self._journal.add(self._new_outcomes, self._part_count)
        if incomplete:
            self._write_part(incomplete)
        self._rows, self._new_outcomes, self._noted_rows = [], [], 0
        self._part_start_s = time.monotonic()

    def _prepare_folder(self) -> None:
        """Create the folder; remove the parts after those of complete inputs."""
        self._folder.mkdir(exist_ok=True)
        remove_partial_files([self._folder])
        parts = part_files(self._folder)
        others = sorted(set(self._folder.glob("*.parquet")) - set(parts))
        if others:
            raise FileExistsError(
                f"{self._folder}: expected no Parquet files of other programs, got "
                f"{others[0].name}; choose another folder"
            )
        for part in parts[self._journal.extent :]:
            part.unlink()

    def _remove_records(self, entries: Sequence[Entry]) -> None:
        """Remove the rows of inputs from the parts that have any; the parts keep their numbers."""
        from pyarrow import compute, parquet

        sources = self._arrow.array(sorted({each.source for each in entries}))
        for part in part_files(self._folder):
            found = compute.is_in(parquet.read_table(part, columns=["source"])["source"], sources)
            if compute.any(found).as_py():
                kept = parquet.read_table(part).filter(compute.invert(found))
                _write_table(part, kept)

    def _write_part(self, rows: Sequence[dict[str, Any]]) -> None:
        _write_table(self._folder / f"part-{self._part_count:06d}.parquet", self._table(rows))
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


def _write_table(path: Path, table: Any) -> None:
    from pyarrow import parquet

    write_atomic(path, lambda file: parquet.write_table(table, file, compression="zstd"))


def _import_arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "Parquet needs the package pyarrow; install it with: pip install 'trg-headpose[data]'"
        ) from error
    return pyarrow
