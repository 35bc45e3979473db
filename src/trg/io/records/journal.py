"""The list of finished inputs beside the records, so that a later run can resume.

Beside the records ``NAME`` lies ``NAME.finished``: a line of JSON that describes the records, then
one line per finished input with the extent of the records after it (bytes of a file, parts of a
folder). The line is appended after all records of its input. A resuming run truncates the records
to the last extent, which removes torn lines and half-processed videos, and skips the listed inputs.
A failed input is not listed and is tried again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

PART_PATTERN = "part-*.parquet"


class AppendOnlyFile:
    """An unbuffered file to which complete pieces are appended.

    A killed process leaves complete pieces. A piece that fails to fit on the disk, or whose
    writing is interrupted, is removed again.
    """

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        """Open or create a file and truncate it to its first ``keep_bytes``."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._file.truncate(keep_bytes)
        self.size = self._file.seek(keep_bytes)

    def append(self, piece: bytes) -> None:
        """Append a piece.

        Raises OSError if the disk is full or not available.
        """
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:  # including KeyboardInterrupt
            self._file.truncate(self.size)
            self._file.seek(self.size)
            raise
        self.size += len(piece)

    def close(self) -> None:
        """Flush to the disk and close; does nothing if already closed."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


class Journal:
    """Appends to the list of finished inputs beside the records, which need not exist yet.

    ``content`` describes the records in plain values. With ``resume`` an earlier run's list, if
    there is one, is continued.

    Raises ValueError if the earlier run's records have another content.
    """

    def __init__(self, records_path: Path, content: dict[str, Any], resume: bool) -> None:
        earlier = read_journal(records_path) if resume else JournalState()
        if earlier.content and earlier.content != content:
            raise ValueError(
                f"{records_path}: expected records of {content} to resume, but they are of "
                f"{earlier.content}; write to another file, or start again without resuming"
            )
        self.finished = earlier.finished
        self.extent = earlier.extent
        self._file = AppendOnlyFile(_journal_path(records_path), earlier.journal_bytes)
        if not self._file.size:
            self._file.append(_line(content))

    def add(self, sources: Iterable[str], extent: int) -> None:
        """List inputs as finished, with the extent of the records so far."""
        self._file.append(b"".join(_line({"source": each, "extent": extent}) for each in sources))

    def close(self) -> None:
        """Flush the list to the disk."""
        self._file.close()


class JournalState(NamedTuple):
    """What an earlier run finished."""

    content: dict[str, Any] | None = None
    """Description of the records."""
    finished: frozenset[str] = frozenset()
    extent: int = 0
    """Extent of the records of finished inputs."""
    journal_bytes: int = 0
    """Size of the list's valid part."""


def read_journal(records_path: Path) -> JournalState:
    """Read the list beside the records; an empty state if there is none.

    Raises ValueError if the file is not such a list.
    """
    path = _journal_path(records_path)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return JournalState()
    extent_on_disk = _extent_on_disk(records_path)
    content: dict[str, Any] | None = None
    finished: set[str] = set()
    extent = journal_bytes = 0
    for number, line in enumerate(lines[:-1]):  # the last one is empty or torn
        keys = ("source", "extent") if number else ("records",)
        entry = _parse_entry(line, keys, f"{path}, line {number + 1}")
        if number == 0:
            content = entry
        elif entry["extent"] > extent_on_disk:  # these records and all later ones were lost since
            break
        else:
            finished.add(entry["source"])
            extent = entry["extent"]
        journal_bytes += len(line) + 1
    return JournalState(content, frozenset(finished), extent, journal_bytes)


def _parse_entry(line: bytes, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:  # not JSON, or not UTF-8
        entry = None
    if not isinstance(entry, dict) or not set(keys) <= entry.keys():
        raise ValueError(
            f"{where}: expected an entry of finished inputs with {keys}, got {line[:80]!r}; "
            "remove the file to start again"
        )
    return entry


def _extent_on_disk(records_path: Path) -> int:
    if records_path.is_dir():
        return len(list(records_path.glob(PART_PATTERN)))
    return records_path.stat().st_size if records_path.is_file() else 0


def _journal_path(records_path: Path) -> Path:
    return records_path.with_name(f"{records_path.name}.finished")


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"
