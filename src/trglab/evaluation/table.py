"""Tables of results as terminal output, Markdown and CSV, and the texts of single numbers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from rich.table import Table

from trg._util.files import write_text_atomic

HEADINGS = {
    "yaw_deg": "yaw °",
    "pitch_deg": "pitch °",
    "roll_deg": "roll °",
    "mae_r_deg": "MAE_r °",
    "ge_deg": "GE °",
    "tx_mm": "t_x mm",
    "ty_mm": "t_y mm",
    "tz_mm": "t_z mm",
    "mae_t_mm": "MAE_t mm",
    "add_mm": "ADD mm",
    "tz_relative": "t_z %",
    "landmarks_mm": "landmarks mm",
    "tz_sized_relative": "t_z at true size %",
    "landmarks_sized_mm": "landmarks at true size mm",
    "nme68": "NME-68 %",
}
"""Column headings by name of the error (:mod:`trglab.evaluation.scores`)."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: a label and one text per column."""

    label: str
    cells: Sequence[str]
    bold: bool = False


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table whose first column holds labels and whose other columns hold numbers as text."""

    headings: Sequence[str]
    """One per cell; the label column has none"""
    rows: Sequence[TableRow]
    title: str = ""
    caption: str = ""

    def to_rich(self) -> Table:
        """Return the table for a terminal."""
        table = Table(title=self.title, caption=self.caption or None, caption_justify="left")
        table.add_column("", no_wrap=True)
        for heading in self.headings:
            table.add_column(heading, justify="right", overflow="fold")
        for row in self.rows:
            table.add_row(row.label, *row.cells, style="bold" if row.bold else None)
        return table

    def to_markdown(self) -> list[str]:
        """Return the table's lines as Markdown, without title and caption."""
        lines = [_markdown_line(["", *self.headings]), "|---|" + "---:|" * len(self.headings)]
        for row in self.rows:
            cells = [row.label, *row.cells]
            if row.bold:
                cells = [cell if cell == "-" else f"**{cell}**" for cell in cells]
            lines.append(_markdown_line(cells))
        return lines

    def to_csv(self) -> str:
        """Return the table as CSV with a line of headings."""
        return csv_text([["", *self.headings], *([row.label, *row.cells] for row in self.rows)])


def format_error(name: str, value: float | None) -> str:
    """Return an error's text; relative errors are given in percent.

    ``-`` stands for a number that is not known, ``none`` for one that does not exist, such as the
    median of a method that finds fewer than half of the faces.
    """
    if value is None:
        return "-"
    if not isfinite(value):
        return "none"
    if HEADINGS[name].endswith("%"):
        return f"{100.0 * value:.2f}"
    return f"{value:.2f}" if value < 1000.0 else f"{value:.0f}"


def csv_text(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of texts as CSV."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def json_text(value: Any) -> str:
    """Return plain values as indented JSON; NaN and infinity are refused."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def finite_or_none(value: float) -> float | None:
    """Return a number as JSON can hold it: NaN and infinity become null."""
    return value if isfinite(value) else None


def write_texts(folder: Path, texts: dict[str, str]) -> list[Path]:
    """Write UTF-8 files by name into a folder, each atomically; return their paths.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text_atomic(folder / name, text)
    return [folder / name for name in texts]


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
