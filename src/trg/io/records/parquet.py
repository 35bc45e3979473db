"""Faces as Parquet: a folder of parts, which pandas, Polars, DuckDB and Arrow read as one table.

The rows are those of :class:`~trg.io.records.arrow_tables.ArrowTable`. A Parquet file is valid only
with its footer, which is written last. Hence parts of a few thousand rows or half a minute, of
which a killed run loses at most the last.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trg._util.files import remove_partial_files, write_atomic
from trg.io.records.arrow_tables import ArrowTable, Row, import_arrow
from trg.io.records.journal import Journal, Outcome
from trg.io.records.journal_lines import Entry, Inputs, part_files
from trg.io.records.writers import RecordEncoder, RecordWriter

PART_ROWS = 4096
"""Rows per part, about 30 MB with dense landmarks."""

PART_S = 30.0
"""Longest time between two parts, if there are rows."""


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
        self._arrow = import_arrow()
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(
                f"{folder}: expected a folder for Parquet, or none, got a file"
            )
        self._folder, self._part_rows, self._part_s = folder, part_rows, part_s
        self._table = ArrowTable(landmarks, blendshapes)
        self.encode = RecordEncoder("parquet", landmarks, blendshapes)
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
        self._rows: list[Row] = []
        self._new_outcomes: list[Outcome] = []
        self._noted_rows = 0
        self._is_closed = False

    def claim(self, path: str) -> None:
        """Note that a file beside the folder is about to be written."""
        self._journal.claim(path)

    def append(self, piece: list[Row]) -> None:
        """Add rows; a full part is written first."""
        self._flush_full_part()
        self._rows += piece

    def _write_error(self, source: str, message: str) -> None:
        self.append([self._table.error_row(source, message)])

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

    def _write_part(self, rows: Sequence[Row]) -> None:
        _write_table(self._folder / f"part-{self._part_count:06d}.parquet", self._table.table(rows))
        self._part_count += 1


def _write_table(path: Path, table: Any) -> None:
    from pyarrow import parquet

    write_atomic(path, lambda file: parquet.write_table(table, file, compression="zstd"))
