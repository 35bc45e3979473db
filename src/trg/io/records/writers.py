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

Records written before an error remain. A resumed run removes them and processes that input again
from its start. Names are valid Unicode in every format (:mod:`trg.io.records.names`).
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, get_args

from trg._util.files import write_atomic
from trg.io.records.append_only_file import AppendOnlyFile
from trg.io.records.arrow_tables import ArrowTable
from trg.io.records.csv_tables import BLENDSHAPE_TABLE, FACE_TABLE, OPENFACE_TABLE, CsvTable
from trg.io.records.frame_record import FrameFaces, frame_record
from trg.io.records.journal import Journal, Outcome
from trg.io.records.journal_lines import Entry, Inputs
from trg.io.records.names import escape_name

RecordFormat = Literal["jsonl", "csv", "openface", "parquet"]


class RecordEncoder(NamedTuple):
    """Makes the records of photos and frames; can be pickled, for other processes."""

    format: RecordFormat
    """One of :data:`RecordFormat`."""
    landmarks: bool = False
    """Also the dense landmarks."""
    blendshapes: bool = False
    """Also the expression coefficients."""

    def __call__(self, found: FrameFaces) -> Any:
        """Return the record of a photo or frame for :meth:`RecordWriter.append`.

        Raises ValueError if the format cannot hold these faces.
        """
        found = found._replace(source=escape_name(found.source))
        if self.format == "parquet":
            return ArrowTable(self.landmarks, self.blendshapes).frame_rows(found)
        return _line_format(self).frame(found)


class RecordWriter(ABC):
    """Writes the results of one input after another; a context manager."""

    finished: frozenset[str] = frozenset()
    """The inputs that an earlier run finished; empty unless this run resumes it."""

    encode: RecordEncoder
    """Makes what :meth:`append` takes."""

    def write(self, found: FrameFaces) -> None:
        """Write the record of one photo or video frame."""
        self.append(self.encode(found))

    @abstractmethod
    def append(self, piece: Any) -> None:
        """Write the record of one photo or video frame, as :attr:`encode` has returned it."""

    def write_error(self, source: str, message: str) -> None:
        """Write that an input could not be read completely; nothing else of it follows."""
        self._write_error(escape_name(source), escape_name(message))
        self._note(Outcome(source, failed=True))

    def finish(self, source: str) -> None:
        """Mark an input as finished, after all its records."""
        self._note(Outcome(source))

    def claim(self, path: str) -> None:  # noqa: B027 (only writers with a journal need it)
        """Note that a file beside the records is about to be written; ``path`` is relative."""

    @abstractmethod
    def _write_error(self, source: str, message: str) -> None: ...

    def _note(self, outcome: Outcome) -> None:  # noqa: B027
        """Note how an input ended."""

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
    blendshapes: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    inputs: Inputs | None = None,
) -> RecordWriter:
    """Open a record writer.

    Parameters
    ----------
    record_format
        ``jsonl``: one object per photo or frame. ``csv``: a row per face, and one per photo or
        frame without faces (:data:`~trg.io.records.csv_tables.CSV_COLUMNS`). ``openface``: likewise
        with OpenFace's names and conventions
        (:data:`~trg.io.records.csv_tables.OPENFACE_COLUMNS`). ``parquet``: rows like ``csv``, in a
        folder of parts (:mod:`trg.io.records.parquet`).
    path
        The file, or Parquet's folder. None: standard output.
    landmarks
        Include the dense landmarks; only in ``jsonl`` and ``parquet``.
    blendshapes
        Include the expression coefficients; not in ``openface``.
    resume
        Continue an earlier run's records, if there are any.
    overwrite
        Replace records, if there are any.
    settings
        What the records depend on, as plain values; a run with others is not resumed.
    inputs
        The inputs of this run by name, each with the state of its file. With ``resume`` the
        records of those that failed or have changed are removed. None: of all that failed.

    Raises
    ------
    ValueError
        The format is unknown, or does not support the options; or the earlier run had other
        settings.
    FileExistsError
        There are records already, and neither ``resume`` nor ``overwrite``.
    BlockingIOError
        Another process is writing these records.
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
    if blendshapes and record_format == "openface":
        raise ValueError("openface: has no blend shapes; use jsonl, csv or parquet")
    if path is None and (resume or record_format == "parquet"):
        what = "resuming" if resume else "parquet"
        raise ValueError(f"{what} needs a file; the standard output cannot do that")
    if record_format == "parquet":
        from trg.io.records.parquet import ParquetWriter

        return ParquetWriter(
            Path(path or ""),
            landmarks=landmarks,
            blendshapes=blendshapes,
            resume=resume,
            overwrite=overwrite,
            settings=settings,
            inputs=inputs,
        )
    encode = RecordEncoder(record_format, landmarks, blendshapes)
    if path is None:
        return _LineWriter(encode, _write_to_stdout)
    path = Path(path)
    journal = Journal(
        path,
        {
            "records": record_format,
            "landmarks": landmarks,
            "blendshapes": blendshapes,
            **(settings or {}),
        },
        resume=resume,
        overwrite=overwrite,
        inputs=inputs,
        remove_records=partial(_remove_bytes, path),
        header_bytes=len(_line_format(encode).header),
    )
    return _FileWriter(encode, path, journal)


class _LineFormat(NamedTuple):
    """A text format of complete lines."""

    header: bytes
    frame: Callable[[FrameFaces], bytes]
    error: Callable[[str, str], bytes]


@cache
def _line_format(encode: RecordEncoder) -> _LineFormat:
    if encode.format == "jsonl":
        return _json_lines(encode.landmarks, encode.blendshapes)
    if encode.format == "csv":
        return _csv_lines(BLENDSHAPE_TABLE if encode.blendshapes else FACE_TABLE)
    return _csv_lines(OPENFACE_TABLE)


def _json_lines(landmarks: bool, blendshapes: bool) -> _LineFormat:
    def line(record: dict[str, Any]) -> bytes:
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"

    return _LineFormat(
        header=b"",
        frame=lambda found: line(frame_record(found, landmarks, blendshapes)),
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

    def __init__(
        self, encode: RecordEncoder, append: Callable[[bytes], None], has_header: bool = False
    ) -> None:
        self.encode = encode
        self._append = append
        if not has_header:
            self._append(_line_format(encode).header)

    def append(self, piece: bytes) -> None:
        self._append(piece)

    def _write_error(self, source: str, message: str) -> None:
        self._append(_line_format(self.encode).error(source, message))


class _FileWriter(_LineWriter):
    """Writes lines to a file, and lists finished inputs in a journal."""

    def __init__(self, encode: RecordEncoder, path: Path, journal: Journal) -> None:
        self.finished = journal.finished
        self._journal = journal
        self._file = AppendOnlyFile(path)
        self._file.truncate(journal.extent)
        super().__init__(encode, self._file.append, has_header=self._file.size > 0)

    def claim(self, path: str) -> None:
        self._journal.claim(path)

    def _note(self, outcome: Outcome) -> None:
        self._journal.add([outcome], self._file.size)

    def close(self) -> None:
        self._file.close()
        self._journal.close()


def _remove_bytes(path: Path, entries: Sequence[Entry]) -> None:
    """Remove the records of inputs from a file, atomically."""

    def write(file: IO[bytes]) -> None:
        with path.open("rb") as records:
            position = 0
            for start, end in [*((each.start, each.extent) for each in entries), (None, None)]:
                _copy(records, file, None if start is None else start - position)
                if end is not None:
                    position = records.seek(end)

    write_atomic(path, write)


def _copy(source: IO[bytes], target: IO[bytes], size: int | None) -> None:
    """Copy ``size`` bytes; None: all up to the end."""
    while block := source.read(2**20 if size is None else min(size, 2**20)):
        target.write(block)
        size = None if size is None else size - len(block)
