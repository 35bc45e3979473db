"""Faces as Parquet: a folder of parts, as pandas, Polars, DuckDB and Arrow read them at once.

A row per face; a source that failed has a row with its error and nothing else. Lists have fixed
sizes, so that a column becomes one array. A Parquet file is whole only when its end is written;
hence parts, of a few thousand rows each, and a killed run loses at most the one in the making.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._util.atomic import write_atomic
from trg.face import Face
from trg.geometry.camera import Camera
from trg.io.records.frame_record import DISTORTION_NAMES, FrameFaces
from trg.io.records.journal import PART_PATTERN, Journal

PART_ROWS = 4096
"""Some 30 MB with dense landmarks."""

DENSE_LANDMARKS = 1220

Column = tuple[str, int, Callable[[Face], Any]]
"""NumPy's name of the type, numbers per row (0: no list), and how a face gives them."""

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
"""Row by row: R is ``r00, r01, ...``, landmarks are ``x0, y0, x1, ...``."""

DENSE_COLUMN: dict[str, Column] = {
    "landmarks_m": ("float16", 3 * DENSE_LANDMARKS, lambda face: face.landmarks_m)
}
"""In the head frame: half floats are good to 0.06 mm there. In the picture they would be good to
a pixel only; project ``R @ X + T`` instead."""

FRAME_COLUMNS = {
    "source": "string",
    "frame": "int64",
    "time_s": "float64",
    **dict.fromkeys(("width_px", "height_px"), "int32"),
    **dict.fromkeys(("fx_px", "fy_px", "cx_px", "cy_px", *DISTORTION_NAMES), "float64"),
    "camera_source": "string",
    "face_id": "int64",
}
"""What comes first in a row, and Arrow's names of the types."""


class ParquetWriter:
    """Writes faces into a folder of Parquet parts; see :func:`trg.io.records.writers.open_records`.

    Raises
    ------
    ImportError
        The package pyarrow is missing.
    NotADirectoryError
        There is a file where the folder should be.
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
        self._parts = self._journal.extent
        self._rows: list[dict[str, Any]] = []
        self._newly_finished: list[str] = []
        self._finished_rows = 0
        self._closed = False

    def write(
        self,
        source: str,
        frame: int | None,
        time_s: float | None,
        size: tuple[int, int],
        camera: Camera,
        faces: Sequence[Face],
    ) -> None:
        """Add a row per face.

        Raises
        ------
        ValueError
            The dense landmarks are asked for, and are not 1220.
        """
        self._spill()
        found = FrameFaces(source, frame, time_s, size, camera, faces)
        shared = _frame_values(found)
        for face in faces:
            row = {**shared, "face_id": face.id}
            for name, (dtype, width, give) in self._columns.items():
                row[name] = values = np.asarray(give(face), dtype).ravel()
                if values.size != max(width, 1):
                    raise ValueError(f"{name}: expected {width} numbers, got {values.size}")
            self._rows.append(row)

    def write_error(self, source: str, message: str) -> None:
        """Add a row with the source and its error."""
        self._spill()
        self._rows.append({"source": _text(source), "error": _text(message)})

    def finish(self, source: str) -> None:
        """Note that all rows of a source are there; it counts once they are on the disk."""
        self._newly_finished.append(source)
        self._finished_rows = len(self._rows)

    def close(self) -> None:
        """Write the last part."""
        if self._closed:
            return
        self._closed = True
        try:
            self._write_rows()
            if not self._parts:
                self._write_part([])  # a folder without parts would be no table
        finally:
            self._journal.close()

    def __enter__(self) -> ParquetWriter:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the last part, also after an error."""
        self.close()

    def _spill(self) -> None:
        if len(self._rows) >= self._part_rows:
            self._write_rows()

    def _write_rows(self) -> None:
        """Write all rows; those of an unfinished source apart, so that they can be taken back."""
        finished = self._rows[: self._finished_rows]
        unfinished = self._rows[self._finished_rows :]
        if finished:
            self._write_part(finished)
        if self._newly_finished:
            self._journal.add(self._newly_finished, self._parts)
        if unfinished:
            self._write_part(unfinished)
        self._rows, self._newly_finished, self._finished_rows = [], [], 0

    def _write_part(self, rows: Sequence[dict[str, Any]]) -> None:
        from pyarrow import parquet

        table = self._table(rows)
        path = self._folder / f"part-{self._parts:06d}.parquet"
        write_atomic(path, lambda file: parquet.write_table(table, file, compression="zstd"))
        self._parts += 1

    def _table(self, rows: Sequence[dict[str, Any]]) -> Any:
        arrow = self._arrow
        columns = {
            name: arrow.array([row.get(name) for row in rows], getattr(arrow, kind)())
            for name, kind in FRAME_COLUMNS.items()
        }
        for name, (dtype, width, _) in self._columns.items():
            columns[name] = self._numbers([row.get(name) for row in rows], dtype, width)
        columns["error"] = arrow.array([row.get("error") for row in rows], arrow.string())
        return arrow.table(columns)

    def _numbers(self, values: Sequence[NDArray[Any] | None], dtype: str, width: int) -> Any:
        """Return a column of numbers or of lists of ``width`` of them; None becomes null."""
        missing = np.array([value is None for value in values], bool)
        nothing = np.zeros(max(width, 1), dtype)
        flat = np.concatenate(
            [nothing if value is None else value for value in values] or [nothing[:0]]
        )
        if not width:
            return self._arrow.array(flat, mask=missing)
        return self._arrow.FixedSizeListArray.from_arrays(
            self._arrow.array(flat), width, mask=self._arrow.array(missing)
        )


def _frame_values(found: FrameFaces) -> dict[str, Any]:
    camera = found.camera
    return {
        "source": _text(found.source),
        "frame": found.frame,
        "time_s": found.time_s,
        "width_px": found.size[0],
        "height_px": found.size[1],
        **{f"{name}_px": getattr(camera, name) for name in ("fx", "fy", "cx", "cy")},
        **dict(zip(DISTORTION_NAMES, camera.distortion, strict=True)),
        "camera_source": camera.source,
    }


def _text(text: str) -> str:
    """Return a text that Parquet takes: a file's name may hold bytes that are none."""
    return text.encode("utf-8", "replace").decode()


def _import_arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "Parquet needs the package pyarrow; install it with: pip install 'trg-headpose[data]'"
        ) from error
    return pyarrow
