"""The lines of the list of finished inputs, and how they are read.

Beside the records ``NAME`` lies ``NAME.finished``, lines of JSON:

=========================================  ==========================================
``{"records": ..., "settings": ...}``      first line: what the records depend on
``{"process": 123}``                       the process of a run
``{"written": "a.jpg"}``                   a file that the run is about to write
``{"source": ..., "extent": ...}``         an input, after all of its records
=========================================  ==========================================

``extent`` is that of the records so far (bytes of a file, parts of a folder), ``file`` the input's
path, size and time of change; ``failed`` marks an input that could not be read completely.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from trg._util.files import real_path
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
    def of(cls, path: str | None, parts: Sequence[str] = ()) -> InputFile | None:
        """Return the state of a file, or of the files of a clip together.

        None if there is none, or one cannot be examined.
        """
        if path is None:
            return None
        try:
            states = [os.stat(part) for part in parts or (path,)]
        except OSError:
            return None
        size = sum(state.st_size for state in states)
        modified_ns = max(state.st_mtime_ns for state in states)
        return cls(escape_name(real_path(path)), size, modified_ns)


Inputs = Mapping[str, InputFile | None]
"""The inputs of a run by name; None for one that is no file."""


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
        return to_line({"source": self.source, "extent": self.extent, **more})


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


def journal_path(records_path: Path) -> Path:
    """Return where the list beside the records is."""
    return records_path.with_name(f"{records_path.name}{JOURNAL_SUFFIX}")


def to_line(note: Mapping[str, Any]) -> bytes:
    """Return a line of the list."""
    return json.dumps(note).encode() + b"\n"


def read_journal(records_path: Path) -> JournalState:
    """Read the list beside the records; an empty state if there is none.

    Raises ValueError if the file is not such a list.
    """
    path = journal_path(records_path)
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


def without_results(paths: Sequence[str]) -> list[str]:
    """Return the paths that are not results of runs whose lists are among the paths."""
    lists = [path for path in paths if path.endswith(JOURNAL_SUFFIX)]
    results = {*lists, *(path.removesuffix(JOURNAL_SUFFIX) for path in lists)}
    for folder in {os.path.dirname(path) for path in lists}:
        written = map(unescape_name, written_files(Path(folder)))
        results.update(os.path.join(folder, each) for each in written)
    # The parts of Parquet lie in a folder that has the name of the records.
    return [path for path in paths if not {path, os.path.dirname(path)} & results]


def part_files(folder: Path) -> list[Path]:
    """Return the Parquet parts in a folder, in their order."""
    parts = (each for each in folder.iterdir() if _PART_NAME.fullmatch(each.name))
    return sorted(parts, key=lambda path: int(path.stem[len("part-") :]))


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
