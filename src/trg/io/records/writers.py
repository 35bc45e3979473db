"""Record writers: JSON Lines, CSV, OpenFace's CSV and Parquet; streaming and resumable.

In every format memory use is constant, a killed run leaves complete records only, and a resuming
run continues after the last finished input (:mod:`trg.io.records.journal`). All records of an input
count, or none::

    with open_records("jsonl", "faces.jsonl", resume=True) as records:
        for source in sources:
            if source in records.finished:
                continue
            for each frame:
                records.write(FrameFaces(source, camera, faces, frame, time_s))
            records.finish(source)          # or write_error(source, message), and no finish

Records written before an error remain. A resumed run processes that input again from its start: of
an input with an error, the records after its last error are valid.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from trg.io.records.csv_tables import FACE_TABLE, OPENFACE_TABLE, CsvTable
from trg.io.records.frame_record import FrameFaces, frame_record
from trg.io.records.journal import AppendOnlyFile, Journal

RecordFormat = Literal["jsonl", "csv", "openface", "parquet"]


class RecordWriter(ABC):
    """Writes the results of one input after another; a context manager."""

    finished: frozenset[str] = frozenset()
    """The inputs that an earlier run finished; empty unless this run resumes it."""

    @abstractmethod
    def write(self, found: FrameFaces) -> None:
        """Write the record of one photo or video frame."""

    @abstractmethod
    def write_error(self, source: str, message: str) -> None:
        """Write that an input could not be read completely."""

    def finish(self, source: str) -> None:  # noqa: B027 (only resumable writers need it)
        """Mark an input as finished, after all its records."""

    def close(self) -> None:  # noqa: B027
        """Flush everything to the disk; does nothing if already closed."""

    def __enter__(self) -> RecordWriter:
        """Return the writer."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the writer, also after an error."""
        self.close()


def open_records(
    record_format: RecordFormat,
    path: str | PathLike[str] | None,
    *,
    landmarks: bool = False,
    resume: bool = False,
) -> RecordWriter:
    """Open a record writer.

    Parameters
    ----------
    record_format
        ``jsonl``: one object per photo or frame. ``csv``: a row per face
        (:data:`~trg.io.records.csv_tables.CSV_COLUMNS`). ``openface``: a row per face with
        OpenFace's names and conventions (:data:`~trg.io.records.csv_tables.OPENFACE_COLUMNS`).
        ``parquet``: a row per face, in a folder of parts (:mod:`trg.io.records.parquet`).
    path
        The file, or Parquet's folder; replaced if it exists, unless ``resume``. None: standard
        output.
    landmarks
        Include the dense landmarks; only in ``jsonl`` and ``parquet``.
    resume
        Continue an earlier run's records.

    Raises
    ------
    ValueError
        The format is unknown, or does not support the options.
    ImportError
        Parquet needs the package pyarrow, of the extra ``data``.
    OSError
        The path is not writable.
    """
    if record_format not in get_args(RecordFormat):
        raise ValueError(
            f"record format: expected one of {get_args(RecordFormat)}, got {record_format!r}"
        )
    if landmarks and record_format in ("csv", "openface"):
        raise ValueError(f"{record_format}: cannot hold the dense landmarks; use jsonl or parquet")
    if path is None and (resume or record_format == "parquet"):
        what = "resuming" if resume else "parquet"
        raise ValueError(f"{what} needs a file; the standard output cannot do that")
    if record_format == "parquet":
        from trg.io.records.parquet import ParquetWriter

        return ParquetWriter(Path(path or ""), landmarks=landmarks, resume=resume)
    if record_format == "jsonl":
        line_format = _json_lines(landmarks)
    else:
        line_format = _csv_lines(FACE_TABLE if record_format == "csv" else OPENFACE_TABLE)
    if path is None:
        return _LineWriter(line_format, _write_to_stdout)
    content = {"records": record_format, "landmarks": landmarks}
    return _FileWriter(line_format, Path(path), Journal(Path(path), content, resume))


class _LineFormat(NamedTuple):
    """A text format of complete lines."""

    header: bytes
    frame: Callable[[FrameFaces], bytes]
    error: Callable[[str, str], bytes]


def _json_lines(landmarks: bool) -> _LineFormat:
    def line(record: dict[str, Any]) -> bytes:
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"

    return _LineFormat(
        header=b"",
        frame=lambda found: line(frame_record(found, landmarks)),
        error=lambda source, message: line({"source": source, "error": message}),
    )


def _csv_lines(table: CsvTable) -> _LineFormat:
    return _LineFormat(
        header=",".join(table.columns).encode() + b"\n",
        frame=lambda found: table.to_csv(table.frame_rows(found)),
        error=lambda source, message: table.to_csv([table.error_row(source, message)]),
    )


def _write_to_stdout(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()  # for readers that follow the records live


class _LineWriter(RecordWriter):
    """Writes lines through ``append``, which takes complete lines and does not buffer them."""

    def __init__(self, line_format: _LineFormat, append: Callable[[bytes], None]) -> None:
        self._format = line_format
        self._append = append
        self._append(line_format.header)

    def write(self, found: FrameFaces) -> None:
        self._append(self._format.frame(found))

    def write_error(self, source: str, message: str) -> None:
        self._append(self._format.error(source, message))


class _FileWriter(_LineWriter):
    """Writes lines to a file, and lists finished inputs in a journal."""

    def __init__(self, line_format: _LineFormat, path: Path, journal: Journal) -> None:
        self.finished = journal.finished
        self._journal = journal
        self._file = AppendOnlyFile(path, keep_bytes=journal.extent)
        if self._file.size:
            line_format = line_format._replace(header=b"")  # the file has one already
        super().__init__(line_format, self._file.append)

    def finish(self, source: str) -> None:
        self._journal.add([source], self._file.size)

    def close(self) -> None:
        self._file.close()
        self._journal.close()
