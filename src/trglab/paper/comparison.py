"""A finished table of the paper: printed rows beside measured ones, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trg import __version__
from trglab.evaluation.bootstrap import Interval
from trglab.evaluation.table import (
    HEADINGS,
    TableRow,
    TextTable,
    format_error,
    json_text,
    write_texts,
)
from trglab.paper.tables_1_to_4 import Column

SCHEMA = "trg table 1"

DIFFERENCES_TITLE = "Minus the full network, image by image: mean (95 % over people)"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One method's numbers by :attr:`~trglab.paper.tables_1_to_4.Column.key`."""

    label: str
    source: Literal["paper", "ours"]
    values: Mapping[str, float]


class PairedDifference(NamedTuple):
    """Mean over images of one method's error minus another's on the same image."""

    mean: float
    interval: Interval | None
    """95 %, over people; None for a single person"""

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.mean:+.2f}"
        return f"{self.mean:+.2f} ({self.interval.low:+.2f} to {self.interval.high:+.2f})"


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """Differences of one measured row to the full network, by column key."""

    label: str
    values: Mapping[str, PairedDifference]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished table."""

    number: str
    title: str
    columns: tuple[Column, ...]
    test_sets: Mapping[str, str]
    """Short names of the test sets by role"""
    rows: tuple[ComparisonRow, ...]
    notes: tuple[str, ...]
    """Sentences below the table"""
    differences: tuple[DifferenceRow, ...] = ()
    """Of the other measured rows to the full network; empty without the full network"""

    @property
    def headings(self) -> list[str]:
        """One text per column."""
        return [
            f"{self.test_sets[column.role]}: {HEADINGS[column.error]}"
            + (" (median)" if column.statistic == "median" else "")
            for column in self.columns
        ]


def comparison_table(comparison: Comparison) -> TextTable:
    """Return the printed and the measured rows, the latter in bold."""
    rows = [
        TableRow(
            f"paper: {row.label}" if row.source == "paper" else row.label,
            [format_error(each.error, row.values.get(each.key)) for each in comparison.columns],
            bold=row.source == "ours",
        )
        for row in comparison.rows
    ]
    return TextTable(comparison.headings, rows, comparison.title, " ".join(comparison.notes))


def differences_table(comparison: Comparison) -> TextTable | None:
    """Return the paired differences, or None if there are none."""
    if not comparison.differences:
        return None
    rows = [
        TableRow(row.label, [str(row.values.get(each.key, "-")) for each in comparison.columns])
        for row in comparison.differences
    ]
    return TextTable(comparison.headings, rows, DIFFERENCES_TITLE)


def as_markdown(comparison: Comparison) -> str:
    """Return the table, its notes and the differences as Markdown."""
    lines = [f"## {comparison.title}", "", *comparison_table(comparison).to_markdown()]
    for note in comparison.notes:
        lines += ["", note]
    differences = differences_table(comparison)
    if differences is not None:
        lines += ["", f"### {DIFFERENCES_TITLE}", "", *differences.to_markdown()]
    return "\n".join(lines) + "\n"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return the table as plain values. Keys carry units; unknown numbers are left out."""
    return {
        "schema": SCHEMA,
        "trg_version": __version__,
        "table": comparison.number,
        "title": comparison.title,
        "test_sets": dict(comparison.test_sets),
        "columns": [column.key for column in comparison.columns],
        "rows": [
            {
                "label": row.label,
                "source": row.source,
                **{key: value for key, value in row.values.items() if isfinite(value)},
            }
            for row in comparison.rows
        ],
        "differences_to_full": [
            {
                "label": row.label,
                **{
                    key: {"mean": difference.mean, "mean_95": difference.interval}
                    for key, difference in row.values.items()
                },
            }
            for row in comparison.differences
        ],
        "notes": list(comparison.notes),
    }


def write_comparison(folder: Path, comparison: Comparison) -> list[Path]:
    """Write ``table-N.md``, ``.csv`` and ``.json``; return the paths.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    stem = f"table-{comparison.number}"
    texts = {
        f"{stem}.md": as_markdown(comparison),
        f"{stem}.csv": comparison_table(comparison).to_csv(),
        f"{stem}.json": json_text(as_json(comparison)),
    }
    return write_texts(folder, texts)
