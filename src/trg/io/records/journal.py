"""The list of finished inputs beside the records, open for writing, so that a later run can resume.

Its lines are those of :mod:`trg.io.records.journal_lines`. A resuming run truncates the records to
the last extent, which removes torn lines and half-processed videos, removes the records of inputs
that failed or have changed since, and skips all others.

The process that writes holds a lock on the list. The system releases it when the process ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trg._util.settings import changed_settings
from trg.io.records.append_only_file import AppendOnlyFile
from trg.io.records.journal_lines import (
    JOURNAL_SUFFIX,
    Entry,
    Inputs,
    JournalState,
    journal_path,
    read_journal,
    to_line,
)
from trg.io.records.names import escape_name, unescape_name


class Outcome(NamedTuple):
    """How the processing of an input ended."""

    source: str
    failed: bool = False


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
        self._file = AppendOnlyFile(journal_path(records_path))
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
                journal_path(records_path).unlink(missing_ok=True)
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
            self._file.append(b"".join(map(to_line, lines)))
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
                b"".join(map(to_line, lines)) + b"".join(each.to_line() for each in moved)
            )
        self.extent = kept[-1].extent if kept else 0

    def claim(self, path: str) -> None:
        """Note that this run is about to write a file; ``path`` is relative to the list."""
        self._file.append(to_line({"written": path}))

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
    if exists and journal_path(records_path).stat().st_size:
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
