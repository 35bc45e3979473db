"""A table with the paper's figures beside ours, as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.table import Table

from trg import __version__
from trg._util.atomic import write_atomic
from trglab.evaluation.bootstrap import Interval
from trglab.evaluation.report import HEADINGS
from trglab.paper.table_plans import Column

SCHEMA = "trg table 1"

DIFFERENCES_TITLE = "Minus the full network, picture by picture: mean (95 % over people)"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One method's figures by :attr:`~trglab.paper.table_plans.Column.key`."""

    label: str
    source: Literal["paper", "ours"]
    values: Mapping[str, float]


class PairedDifference(NamedTuple):
    """The mean over pictures of one method's error minus another's on the same picture."""

    mean: float
    interval: Interval | None
    """95 %, over people; None with one person"""


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """One of our methods against the full network, by column key."""

    label: str
    values: Mapping[str, PairedDifference]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished table."""

    number: str
    title: str
    columns: tuple[Column, ...]
    test_sets: Mapping[str, str]
    """What stands behind the columns' roles here, in a word or two."""
    rows: tuple[ComparisonRow, ...]
    notes: tuple[str, ...]
    """Sentences that go under the table."""
    differences: tuple[DifferenceRow, ...] = ()
    """Of our other rows to the full network; empty where it is not among them."""

    @property
    def headings(self) -> list[str]:
        """One text for each column."""
        return [
            f"{self.test_sets[column.role]}: {HEADINGS[column.error]}"
            + (" (median)" if column.statistic == "median" else "")
            for column in self.columns
        ]


def as_table(table: Comparison) -> Table:
    """Return the table for a terminal, our rows in bold."""
    shown = Table(title=table.title, caption=" ".join(table.notes), caption_justify="left")
    shown.add_column("", no_wrap=True)
    for heading in table.headings:
        shown.add_column(heading, justify="right", overflow="fold")
    for row in table.rows:
        style = "bold" if row.source == "ours" else None
        shown.add_row(*_texts(table, row), style=style)
    return shown


def differences_table(table: Comparison) -> Table | None:
    """Return the paired differences for a terminal, or None where there are none."""
    if not table.differences:
        return None
    shown = Table(title=DIFFERENCES_TITLE)
    shown.add_column("", no_wrap=True)
    for heading in table.headings:
        shown.add_column(heading, justify="right", overflow="fold")
    for row in table.differences:
        shown.add_row(*_difference_texts(table, row))
    return shown


def as_markdown(table: Comparison) -> str:
    """Return the table as Markdown, our rows in bold, and the differences under it."""
    rows = [_texts(table, row) for row in table.rows]
    for row, texts in zip(table.rows, rows, strict=True):
        if row.source == "ours":
            texts[:] = [text if text == "-" else f"**{text}**" for text in texts]
    lines = [f"## {table.title}", "", *_markdown(table, rows)]
    for note in table.notes:
        lines += ["", note]
    if table.differences:
        differences = [_difference_texts(table, row) for row in table.differences]
        lines += ["", f"### {DIFFERENCES_TITLE}", "", *_markdown(table, differences)]
    return "\n".join(lines) + "\n"


def as_json(table: Comparison) -> dict[str, Any]:
    """Return the table as plain values; units are in the keys, what is not known is left out."""
    return {
        "schema": SCHEMA,
        "trg_version": __version__,
        "table": table.number,
        "title": table.title,
        "test_sets": dict(table.test_sets),
        "columns": [column.key for column in table.columns],
        "rows": [
            {
                "label": row.label,
                "source": row.source,
                **{key: value for key, value in row.values.items() if isfinite(value)},
            }
            for row in table.rows
        ],
        "differences_to_full": [
            {
                "label": row.label,
                **{
                    key: {"mean": found.mean, "mean_95": found.interval}
                    for key, found in row.values.items()
                },
            }
            for row in table.differences
        ],
        "notes": list(table.notes),
    }


def write_comparison(folder: Path, table: Comparison) -> list[Path]:
    """Write ``table-N.md``, ``.csv`` and ``.json``; return the paths.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["", *table.headings])
    writer.writerows(_texts(table, row) for row in table.rows)
    texts = {
        "md": as_markdown(table),
        "csv": stream.getvalue(),
        "json": json.dumps(as_json(table), indent=1, allow_nan=False) + "\n",
    }
    paths = []
    for ending, text in texts.items():
        path = folder / f"table-{table.number}.{ending}"
        _write_text(path, text)
        paths.append(path)
    return paths


def _write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda file: file.write(text.encode("utf-8")))


def _texts(table: Comparison, row: ComparisonRow) -> list[str]:
    """Return one text for the label and each column."""
    label = f"paper: {row.label}" if row.source == "paper" else row.label
    return [label, *(_number(row.values.get(column.key), column) for column in table.columns)]


def _difference_texts(table: Comparison, row: DifferenceRow) -> list[str]:
    return [row.label, *(_difference(row.values.get(column.key)) for column in table.columns)]


def _difference(found: PairedDifference | None) -> str:
    if found is None:
        return "-"
    if found.interval is None:
        return f"{found.mean:+.2f}"
    return f"{found.mean:+.2f} ({found.interval.low:+.2f} to {found.interval.high:+.2f})"


def _markdown(table: Comparison, rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| | " + " | ".join(table.headings) + " |"]
    lines.append("|---|" + "---:|" * len(table.columns))
    return lines + ["| " + " | ".join(texts) + " |" for texts in rows]


def _number(value: float | None, column: Column) -> str:
    if value is None or not isfinite(value):
        return "-"
    if column.error == "tz_relative":
        return f"{100.0 * value:.2f}"
    return f"{value:.2f}" if value < 1000.0 else f"{value:.0f}"
