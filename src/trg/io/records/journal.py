"""The list of finished inputs beside the records, so that a later run can resume.

Beside the records ``NAME`` lies ``NAME.finished``, lines of JSON:

=========================================  ==========================================
``{"records": ..., "settings": ...}``      first line: what the records depend on
``{"process": 123}``                       the process of a run
``{"written": "a.jpg"}``                   a file that the run is about to write
``{"source": ..., "extent": ...}``         an input, after all of its records
=========================================  ==========================================

``extent`` is that of the records so far (bytes of a file, parts of a folder), ``file`` the input's
path, size and time of change; ``failed`` marks an input that could not be read completely. A
resuming run truncates the records to the last extent, which removes torn lines and half-processed
videos, removes the records of inputs that failed or have changed since, and skips all others.

The process that writes holds a lock on the list. The system releases it when the process ends.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from trg._util.files import real_path, try_lock
from trg._util.settings import changed_settings
from trg.io.records.names import escape_name, unescape_name

JOURNAL_SUFFIX = ".finished"

_PART_NAME = re.compile(r"part-\d{6,}\.parquet")


class InputFile(NamedTuple):
    """Which file an input is, and the state of its content."""

    path: str
    """Absolute, in folders without links."""
    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: str | None) -> InputFile | None:
        """Return the state of a file; None if there is none, or it cannot be examined."""
        try:
            status = None if path is None else os.stat(path)
        except OSError:
            return None
        if path is None or status is None:
            return None
        return cls(escape_name(real_path(path)), status.st_size, status.st_mtime_ns)


Inputs = Mapping[str, InputFile | None]
"""The inputs of a run by name; None for one that is no file."""


class AppendOnlyFile:
    """An unbuffered file to which complete pieces are appended.

    A killed process leaves complete pieces. A piece that fails to fit on the disk, or whose
    writing is interrupted, is removed again.
    """

    def __init__(self, path: Path) -> None:
        """Open or create a file; its present content is kept."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self.size = self._file.seek(0, os.SEEK_END)

    def try_lock(self) -> bool:
        """Lock the file; return False if another process holds its lock."""
        return try_lock(self._file)

    def truncate(self, size: int) -> None:
        """Keep only the first ``size`` bytes."""
        self._file.truncate(size)
        self.size = self._file.seek(size)

    def append(self, piece: bytes) -> None:
        """Append a piece.

        Raises OSError if the disk is full or not available.
        """
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:  # including KeyboardInterrupt
            self.truncate(self.size)
            raise
        self.size += len(piece)

    def close(self) -> None:
        """Flush to the disk and close; does nothing if already closed."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


class Outcome(NamedTuple):
    """How the processing of an input ended."""

    source: str
    failed: bool = False


class Entry(NamedTuple):
    """An input whose records are complete, or that failed."""

    source: str
    """Escaped, as in the records."""
    start: int
    """Extent of the records before its own; only of those in a file."""
    extent: int
    file: InputFile | None = None
    failed: bool = False

    def to_line(self) -> bytes:
        """Return the entry's line."""
        more: dict[str, Any] = {"failed": True} if self.failed else {}
        if self.file is not None:
            more["file"] = list(self.file)
        return _line({"source": self.source, "extent": self.extent, **more})


class JournalState(NamedTuple):
    """What an earlier run noted."""

    content: dict[str, Any] | None = None
    """What the records depend on; None if there is no list."""
    entries: tuple[Entry, ...] = ()
    """Those whose records are still there."""
    offsets: tuple[int, ...] = ()
    """Where the line of each entry begins; then where the valid part of the list ends."""
    written: tuple[str, ...] = ()
    """Paths of other files that were written, relative to the folder of the list."""
    process: int | None = None
    """The last process that wrote."""

    @property
    def finished(self) -> frozenset[str]:
        """Names of the inputs that were finished."""
        return frozenset(unescape_name(each.source) for each in self.entries if not each.failed)


class Journal:
    """The list beside the records, open for writing and locked; the records need not exist yet.

    Parameters
    ----------
    content
        What the records depend on, as plain values.
    resume
        Continue an earlier run's list, if there is one.
    overwrite
        Replace the records and list of an earlier run, if there are any.
    inputs
        The inputs of this run. None: those of the list.
    remove_records
        Removes the records of these inputs from those of the earlier run.
    header_bytes
        Extent of the records before those of the first input.

    Raises
    ------
    FileExistsError
        There are records already, and it was not said what to do with them.
    BlockingIOError
        Another process is writing these records.
    ValueError
        The records depend on other settings than ``content``.
    """

    def __init__(
        self,
        records_path: Path,
        content: dict[str, Any],
        *,
        resume: bool,
        overwrite: bool,
        inputs: Inputs | None,
        remove_records: Callable[[Sequence[Entry]], None],
        header_bytes: int = 0,
    ) -> None:
        self._inputs = inputs
        self._file = AppendOnlyFile(_journal_path(records_path))
        try:
            if not self._file.try_lock():
                raise BlockingIOError(_in_use(records_path))
            earlier = JournalState()
            if resume:
                earlier = _resumable(records_path, content, overwrite, header_bytes)
            elif not overwrite:
                # Records that somebody deleted; the other files of that run are still known.
                earlier = JournalState(written=read_journal(records_path).written)
                _check_is_new(records_path)
            self._begin(records_path, content, earlier, remove_records)
        except BaseException:
            is_new = not self._file.size
            self._file.close()
            if is_new:
                _journal_path(records_path).unlink(missing_ok=True)
            raise

    def _begin(
        self,
        records_path: Path,
        content: dict[str, Any],
        earlier: JournalState,
        remove_records: Callable[[Sequence[Entry]], None],
    ) -> None:
        lines: list[dict[str, Any]]
        self.finished, to_remove = _compare(earlier.entries, self._inputs)
        first = next((i for i, each in enumerate(earlier.entries) if each in to_remove), None)
        kept = list(earlier.entries)
        if not earlier.offsets:
            lines = [content, {"process": os.getpid()}]
            lines += [{"written": each} for each in earlier.written]
            self._file.truncate(0)
            self._file.append(b"".join(map(_line, lines)))
        else:
            # Entries of later records are added again when those are where they say. A run that is
            # killed in between repeats these inputs.
            keep_bytes = earlier.offsets[-1 if first is None else first]
            is_cut = keep_bytes < self._file.size
            self._file.truncate(keep_bytes)
            if to_remove:
                remove_records([each for each in earlier.entries if each in to_remove])
                kept = _moved(earlier.entries, to_remove, records_path.is_dir())
            lines = [{"process": os.getpid()}]
            lines += [{"written": each} for each in earlier.written if is_cut]
            moved = [] if first is None else kept[first:]
            self._file.append(
                b"".join(map(_line, lines)) + b"".join(each.to_line() for each in moved)
            )
        self.extent = kept[-1].extent if kept else 0

    def claim(self, path: str) -> None:
        """Note that this run is about to write a file; ``path`` is relative to the list."""
        self._file.append(_line({"written": path}))

    def add(self, outcomes: Iterable[Outcome], extent: int) -> None:
        """Note inputs as finished or failed, with the extent of the records so far."""
        files = self._inputs or {}
        entries = (
            Entry(escape_name(each.source), 0, extent, files.get(each.source), each.failed)
            for each in outcomes
        )
        self._file.append(b"".join(each.to_line() for each in entries))

    def close(self) -> None:
        """Flush the list to the disk and release the lock."""
        self._file.close()


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
    entries: list[Entry] = []
    offsets: list[int] = []
    written: list[str] = []
    process = None
    offset, is_valid = 0, True
    for number, line in enumerate(lines[:-1]):  # the last one is empty or torn
        note = _parse_line(line, number, path)
        if number == 0:
            content = note
        elif "process" in note:
            process = note["process"]
        elif "written" in note:
            written.append(note["written"])
        elif not (entries[-1].extent if entries else 0) <= note["extent"] <= extent_on_disk:
            is_valid = False  # these records and all later ones were lost since
        elif is_valid:
            entries.append(_entry(note, entries[-1].extent if entries else 0))
            offsets.append(offset)
        if is_valid:
            offset += len(line) + 1
    if content is None:
        return JournalState()
    return JournalState(
        content, tuple(entries), (*offsets, offset), tuple(dict.fromkeys(written)), process
    )


def written_files(folder: Path) -> set[str]:
    """Return the paths of all files that the lists in a folder know, relative to it.

    Files that are not such lists are skipped.
    """
    known: set[str] = set()
    for path in folder.glob(f"*{JOURNAL_SUFFIX}"):
        with suppress(OSError, ValueError):
            known.update(read_journal(path.with_suffix("")).written)
    return known


def part_files(folder: Path) -> list[Path]:
    """Return the Parquet parts in a folder, in their order."""
    parts = (each for each in folder.iterdir() if _PART_NAME.fullmatch(each.name))
    return sorted(parts, key=lambda path: int(path.stem[len("part-") :]))


def _resumable(
    records_path: Path, content: dict[str, Any], overwrite: bool, header_bytes: int
) -> JournalState:
    """Return the state of an earlier run, which must have had the same settings."""
    earlier = read_journal(records_path)
    if earlier.content is None:
        if not overwrite:
            _check_is_new(records_path)
        return earlier
    changes = changed_settings(earlier.content, json.loads(json.dumps(content)))
    if changes:
        raise ValueError(
            f"{records_path}: cannot be resumed with other options; {'; '.join(changes)}. Use the "
            "options of the earlier run, write to another place, or start again (--overwrite)"
        )
    first = [each._replace(start=header_bytes) for each in earlier.entries[:1]]
    return earlier._replace(entries=(*first, *earlier.entries[1:]))


def _check_is_new(records_path: Path) -> None:
    is_empty_folder = records_path.is_dir() and not any(records_path.iterdir())
    exists = os.path.lexists(records_path) and not is_empty_folder
    if exists and _journal_path(records_path).stat().st_size:
        raise FileExistsError(
            f"{records_path}: exists already; continue it with --resume, or replace it with "
            "--overwrite"
        )
    if exists:
        raise FileExistsError(
            f"{records_path}: exists already, and was not written by trg or has lost its list "
            f"{records_path.name}{JOURNAL_SUFFIX}; choose another place, or replace it with "
            "--overwrite"
        )


def _in_use(records_path: Path) -> str:
    try:
        process = read_journal(records_path).process
    except ValueError:
        process = None
    who = "another process" if process is None else f"process {process}"
    return f"{records_path}: {who} is writing to it; wait for its end, or choose another place"


def _compare(
    entries: Sequence[Entry], inputs: Inputs | None
) -> tuple[frozenset[str], frozenset[Entry]]:
    """Return the names of finished inputs, and the entries of those that are to be repeated."""
    if inputs is None:
        finished = frozenset(unescape_name(each.source) for each in entries if not each.failed)
        return finished, frozenset(each for each in entries if each.failed)
    by_path = {each.file.path: each for each in entries if each.file is not None}
    by_source = {each.source: each for each in entries}
    finished_names: set[str] = set()
    to_remove: set[Entry] = set()
    for name, file in inputs.items():
        entry = None if file is None else by_path.get(file.path)
        if entry is None:
            entry = by_source.get(escape_name(name))
            # The same relative name in another folder is the same file only if it was moved.
            if entry is None or (file and entry.file and entry.file[1:] != file[1:]):
                continue
        if entry.failed or (file and entry.file and entry.file[1:] != file[1:]):
            to_remove.add(entry)
        else:
            finished_names.add(name)
    return frozenset(finished_names), frozenset(to_remove)


def _moved(entries: Sequence[Entry], removed: frozenset[Entry], are_parts: bool) -> list[Entry]:
    """Return the kept entries with their extents after the others' records were removed."""
    kept, removed_bytes = [], 0
    for entry in entries:
        if entry in removed:
            removed_bytes += 0 if are_parts else entry.extent - entry.start
        else:
            kept.append(entry._replace(extent=entry.extent - removed_bytes))
    return kept


def _entry(note: dict[str, Any], start: int) -> Entry:
    file = note.get("file")
    return Entry(
        note["source"],
        start,
        note["extent"],
        None if file is None else InputFile(*file),
        bool(note.get("failed")),
    )


def _parse_line(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        note = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        note = None
    if not _is_note(note, number):
        raise ValueError(
            f"{path}, line {number + 1}: expected an entry of finished inputs, got {line[:80]!r}; "
            "choose another place, or start again (--overwrite)"
        )
    return note


def _is_note(note: Any, number: int) -> TypeGuard[dict[str, Any]]:
    """Return whether a line of this number has the values and types of the module's table."""
    if not isinstance(note, dict):
        return False
    if number == 0:
        return "records" in note
    if "process" in note:
        return type(note["process"]) is int
    if "written" in note:
        return type(note["written"]) is str
    types = (type(note.get("source")), type(note.get("extent")))
    file = note.get("file")
    is_file = isinstance(file, list) and [type(each) for each in file] == [str, int, int]
    return types == (str, int) and (file is None or is_file)


def _extent_on_disk(records_path: Path) -> int:
    if records_path.is_dir():
        return len(part_files(records_path))
    return records_path.stat().st_size if records_path.is_file() else 0


def _journal_path(records_path: Path) -> Path:
    return records_path.with_name(f"{records_path.name}{JOURNAL_SUFFIX}")


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"
