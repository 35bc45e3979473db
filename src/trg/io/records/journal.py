"""Which sources a run has finished, so that the next one may go on where it was killed.

Beside the records ``NAME`` lies ``NAME.finished``: a line of JSON for what the records are, then
one per finished source with the records' extent after it (bytes of a file, parts of a folder).
The line is written after all records of its source. A later run cuts the records back to the last
extent, so that torn lines and half-done videos are gone, and skips the sources that are listed.
A source that failed is not listed, and will be tried again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

PART_PATTERN = "part-*.parquet"


class GrowingFile:
    """A file that grows by whole pieces; each is handed to the system at once.

    A kill between two pieces leaves whole ones. If a piece does not fit on the disk, or is
    interrupted, its torn start is removed again.
    """

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        """Open a file and cut it to its first ``keep_bytes``, or make it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._file.truncate(keep_bytes)
        self.size = self._file.seek(keep_bytes)

    def append(self, piece: bytes) -> None:
        """Add a piece at the end.

        Raises
        ------
        OSError
            The disk is full or gone.
        """
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:  # an interruption, too
            self._file.truncate(self.size)
            self._file.seek(self.size)
            raise
        self.size += len(piece)

    def close(self) -> None:
        """Bring everything to the disk and close the file."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


class Journal:
    """The list of finished sources beside the records.

    Parameters
    ----------
    records_path
        Where the records are, or will be.
    content
        What they hold: plain values, the same for a run that goes on with them.
    resume
        Go on with an earlier run's records; if there are none, start.

    Raises
    ------
    ValueError
        The earlier run's records hold something else.
    """

    def __init__(self, records_path: Path, content: dict[str, Any], resume: bool) -> None:
        earlier = _read(records_path) if resume else _Earlier()
        if earlier.content and earlier.content != content:
            raise ValueError(
                f"{records_path}: expected records of {content} to go on with, but they are of "
                f"{earlier.content}; write to another file, or start again without resuming"
            )
        self.finished = frozenset(earlier.finished)
        self.extent = earlier.extent
        self._file = GrowingFile(_journal_path(records_path), earlier.journal_bytes)
        if not self._file.size:
            self._file.append(_line(content))

    def add(self, sources: Iterable[str], extent: int) -> None:
        """Note that all records of sources are written, and how far the records go now."""
        self._file.append(b"".join(_line({"source": each, "extent": extent}) for each in sources))

    def close(self) -> None:
        """Bring the list to the disk."""
        self._file.close()


def finished_sources(records_path: str | os.PathLike[str]) -> set[str]:
    """Return the sources whose records an earlier run wrote to their end.

    Empty where there are no records.

    Raises
    ------
    ValueError
        The list beside the records is none.
    """
    return set(_read(Path(records_path)).finished)


class _Earlier(NamedTuple):
    """What an earlier run left; the extents of the records and the journal worth keeping."""

    content: dict[str, Any] | None = None
    finished: tuple[str, ...] = ()
    extent: int = 0
    journal_bytes: int = 0


def _read(records_path: Path) -> _Earlier:
    path = _journal_path(records_path)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return _Earlier()
    on_disk = _extent_on_disk(records_path)
    content: dict[str, Any] | None = None
    finished, extent, journal_bytes = [], 0, 0
    for number, line in enumerate(lines[:-1]):  # behind the last line end: nothing, or a torn line
        keys = ("source", "extent") if number else ("records",)
        entry = _entry(line, keys, f"{path}, line {number + 1}")
        if number == 0:
            content = entry
        elif entry["extent"] > on_disk:  # these records, and all that follow, were lost since
            break
        else:
            finished.append(entry["source"])
            extent = entry["extent"]
        journal_bytes += len(line) + 1
    return _Earlier(content, tuple(finished), extent, journal_bytes)


def _entry(line: bytes, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:  # no JSON, or no text
        entry = None
    if not isinstance(entry, dict) or not set(keys) <= entry.keys():
        raise ValueError(
            f"{where}: expected an entry of finished sources with {keys}, got {line[:80]!r}; "
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
