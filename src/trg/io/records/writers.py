"""Writers of results: JSON Lines, CSV, OpenFace's CSV, Parquet; streaming and resumable.

Whatever the format, memory stays flat, a killed run leaves whole records only, and a run that is
told to resume goes on behind the last source that was finished (:mod:`trg.io.records.journal`). A
source is a photo or a video; all of a video's records count, or none::

    with open_records("jsonl", "faces.jsonl", resume=True) as records:
        for source in sources:
            if source in records.finished:
                continue
            for each frame:
                records.write(source, frame, time_s, size, camera, faces)
            records.finish(source)          # or write_error(source, message), and no finish

Records that were written before an error stay. A resumed run tries that source again, from its
start: of a source with an error count the records behind its last one.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Protocol, get_args

from trg.face import Face
from trg.geometry.camera import Camera
from trg.io.records.csv_tables import FaceTable, OpenFaceTable, Table, csv_lines
from trg.io.records.frame_record import FrameFaces, error_record, frame_record
from trg.io.records.journal import GrowingFile, Journal, finished_sources

__all__ = [
    "RecordFormat",
    "RecordWriter",
    "error_record",
    "finished_sources",
    "frame_record",
    "open_records",
]

RecordFormat = Literal["jsonl", "csv", "openface", "parquet"]


class RecordWriter(Protocol):
    """Takes the results of one source after the other; a context manager."""

    finished: frozenset[str]
    """The sources that an earlier run finished; empty unless this one resumes it."""

    def write(
        self,
        source: str,
        frame: int | None,
        time_s: float | None,
        size: tuple[int, int],
        camera: Camera,
        faces: Sequence[Face],
    ) -> None:
        """Add one picture or one frame of a video; ``size`` is its width and height."""

    def write_error(self, source: str, message: str) -> None:
        """Add that a source could not be read, or not to its end."""

    def finish(self, source: str) -> None:
        """Note that all records of a source are written."""

    def close(self) -> None:
        """Bring everything to the disk; a second time does nothing."""

    def __enter__(self) -> RecordWriter:
        """Return the writer."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the writer, also after an error."""


def open_records(
    record_format: RecordFormat,
    path: str | PathLike[str] | None,
    *,
    landmarks: bool = False,
    resume: bool = False,
) -> RecordWriter:
    """Open a writer of results.

    Parameters
    ----------
    record_format
        ``jsonl``: one object per picture or frame. ``csv``: a row per face
        (:data:`~trg.io.records.csv_tables.CSV_COLUMNS`). ``openface``: a row per face with
        OpenFace's names and conventions (:data:`~trg.io.records.csv_tables.OPENFACE_COLUMNS`).
        ``parquet``: a row per face, in a folder of parts (:mod:`trg.io.records.parquet`).
    path
        The file, or Parquet's folder; what was there is replaced, unless ``resume``. None: the
        standard output.
    landmarks
        With the dense landmarks; only ``jsonl`` and ``parquet`` have room for them.
    resume
        Go on with what an earlier run wrote there.

    Raises
    ------
    ValueError
        The format is unknown, or cannot do what is asked.
    ImportError
        Parquet needs the package pyarrow, of the extra ``data``.
    OSError
        The path cannot be written.
    """
    if record_format not in get_args(RecordFormat):
        raise ValueError(
            f"record format: expected one of {get_args(RecordFormat)}, got {record_format!r}"
        )
    if landmarks and record_format in ("csv", "openface"):
        raise ValueError(
            f"{record_format}: has no room for the dense landmarks; take jsonl or parquet"
        )
    if path is None and (resume or record_format == "parquet"):
        what = "resuming" if resume else "parquet"
        raise ValueError(f"{what} needs a file; the standard output cannot do that")
    if record_format == "parquet":
        from trg.io.records.parquet import ParquetWriter

        return ParquetWriter(Path(path or ""), landmarks=landmarks, resume=resume)
    if record_format == "jsonl":
        lines: _LineFormat = _JsonLines(landmarks)
    else:
        lines = _CsvLines(FaceTable() if record_format == "csv" else OpenFaceTable())
    if path is None:
        return _StreamWriter(sys.stdout.buffer, lines)
    content = {"records": record_format, "landmarks": landmarks}
    return _FileWriter(Path(path), lines, Journal(Path(path), content, resume))


class _LineFormat(Protocol):
    """Turns results into lines, each with its end."""

    header: bytes

    def frame(self, found: FrameFaces) -> bytes: ...

    def error(self, source: str, message: str) -> bytes: ...


class _JsonLines:
    header = b""

    def __init__(self, landmarks: bool) -> None:
        self._landmarks = landmarks

    def frame(self, found: FrameFaces) -> bytes:
        return self._line(frame_record(*found, landmarks=self._landmarks))

    def error(self, source: str, message: str) -> bytes:
        return self._line(error_record(source, message))

    @staticmethod
    def _line(record: dict[str, Any]) -> bytes:
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


class _CsvLines:
    def __init__(self, table: Table) -> None:
        self._table = table
        self.header = ",".join(table.columns).encode() + b"\n"

    def frame(self, found: FrameFaces) -> bytes:
        return csv_lines(self._table.columns, self._table.rows(found))

    def error(self, source: str, message: str) -> bytes:
        return csv_lines(self._table.columns, [self._table.error_row(source, message)])


class _LineWriter(ABC):
    """What the writers of lines share; they differ in where the lines go."""

    finished: frozenset[str] = frozenset()

    def __init__(self, lines: _LineFormat) -> None:
        self._lines = lines

    def write(
        self,
        source: str,
        frame: int | None,
        time_s: float | None,
        size: tuple[int, int],
        camera: Camera,
        faces: Sequence[Face],
    ) -> None:
        self._append(self._lines.frame(FrameFaces(source, frame, time_s, size, camera, faces)))

    def write_error(self, source: str, message: str) -> None:
        self._append(self._lines.error(source, message))

    def finish(self, source: str) -> None:  # noqa: B027  (nothing to do is an answer)
        """Nothing is kept of what is finished, unless a subclass does."""

    def close(self) -> None:  # noqa: B027
        """Nothing is open, unless in a subclass."""

    def __enter__(self) -> _LineWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _append(self, lines: bytes) -> None:
        """Write whole lines, for good when this returns."""


class _StreamWriter(_LineWriter):
    """Lines to a stream that somebody may be reading right now."""

    def __init__(self, stream: BinaryIO, lines: _LineFormat) -> None:
        super().__init__(lines)
        self._stream = stream
        self._append(lines.header)

    def _append(self, lines: bytes) -> None:
        self._stream.write(lines)
        self._stream.flush()


class _FileWriter(_LineWriter):
    def __init__(self, path: Path, lines: _LineFormat, journal: Journal) -> None:
        super().__init__(lines)
        self.finished = journal.finished
        self._journal = journal
        self._file = GrowingFile(path, keep_bytes=journal.extent)
        if not self._file.size:
            self._append(lines.header)

    def finish(self, source: str) -> None:
        self._journal.add([source], self._file.size)

    def close(self) -> None:
        self._file.close()
        self._journal.close()

    def _append(self, lines: bytes) -> None:
        self._file.append(lines)
