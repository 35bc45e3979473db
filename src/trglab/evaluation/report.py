"""Reports: one table with the paper's rows beside ours, as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from trg import __version__
from trg._util.atomic import write_atomic
from trg.geometry.rotations import geodesic_angle_deg
from trglab.evaluation.bootstrap import DRAWS, Interval
from trglab.evaluation.predictions import PredictionMetadata
from trglab.evaluation.protocols import EvaluationProtocol
from trglab.evaluation.scores import Scores
from trglab.evaluation.summary import ErrorStatistics, EvaluationSummary, ImageGroup, summarize

SCHEMA = "trg report 1"
SEED = 0
"""Of the intervals' draws."""

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
LANDMARK_MEDIAN = "landmarks median mm"
"""Table 3 has both statistics of one error, so it has a column of its own."""

_IN_PERCENT = ("tz_relative", "tz_sized_relative", "nme68")
Row = tuple[str, list[str]]
"""A method's or statistic's name, and one text for each column."""


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One method on one data set."""

    protocol: EvaluationProtocol
    facts: PredictionMetadata
    scores: Scores
    summary: EvaluationSummary
    unreadable: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Data set and method, and what the predictions were made with."""
        settings = ", ".join(f"{name} {value}" for name, value in self.facts.settings.items())
        method = self.facts.method or "unnamed method"
        return f"{self.protocol.title}: {method}" + (f" ({settings})" if settings else "")

    @property
    def caption(self) -> str:
        """How many pictures and people there were, and what could not be done."""
        summary = self.summary
        parts = [
            f"{summary.images} pictures of {summary.subjects} "
            + ("person" if summary.subjects == 1 else "people"),
            f"{summary.not_found} without a face found (in no mean, worst in every median)",
        ]
        sources = dict.fromkeys(row.source for row in self.protocol.published)
        if sources:
            parts.insert(0, f"Rows above this method's: {', '.join(sources)}")
        if self.unreadable:
            parts.append(f"{len(self.unreadable)} unreadable and left out")
        return "; ".join((*parts, *self.scores.notes)) + "."


def make_report(
    protocol: EvaluationProtocol,
    facts: PredictionMetadata,
    scores: Scores,
    unreadable: Sequence[str] = (),
) -> Report:
    """Average scores into a report; equal scores give equal reports."""
    summary = summarize(scores, np.random.default_rng(SEED))
    return Report(protocol, facts, scores, summary, tuple(unreadable))


def table_rows(report: Report) -> tuple[list[str], list[Row]]:
    """Return headings and rows of the report's table: the paper's methods, then this one."""
    summary = report.summary
    columns = [name for name in report.protocol.columns if name in summary.figures]
    headings = [HEADINGS[name] for name in columns]
    if "landmarks_mm" in columns:
        headings.append(LANDMARK_MEDIAN)
    rows = [
        (row.method, _texts(columns, row.means, row.medians)) for row in report.protocol.published
    ]
    figures = summary.figures
    means = {name: figure.mean for name, figure in figures.items()}
    medians = {name: figure.median for name, figure in figures.items()}
    rows.append((f"{report.facts.method or 'this method'}, mean", _texts(columns, means, medians)))
    intervals = {name: figure.mean_interval for name, figure in figures.items()}
    if any(intervals.values()):
        median_intervals = {name: figure.median_interval for name, figure in figures.items()}
        for end, label in ((0, "95 % of the mean, from"), (1, "to")):
            low_or_high = [
                {name: each[end] for name, each in of.items() if each is not None}
                for of in (intervals, median_intervals)
            ]
            rows.append((label, _texts(columns, *low_or_high)))
    rows.append(("median", _texts(columns, medians, medians)))
    if summary.aligned:
        means = {name: figure.mean for name, figure in summary.aligned.items()}
        rows.append(("mean, head frames aligned", _texts(columns, means, {})))
    return headings, rows


def as_table(report: Report) -> Table:
    """Return the table for a terminal."""
    headings, rows = table_rows(report)
    table = Table(title=report.title, caption=report.caption, caption_justify="left")
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    published = len(report.protocol.published)
    for number, (label, texts) in enumerate(rows):
        ours = number == published
        table.add_row(label, *texts, style="bold" if ours else None, end_section=ours)
    return table


def as_markdown(report: Report) -> str:
    """Return the whole report as Markdown: the table, then bins."""
    headings, rows = table_rows(report)
    lines = [f"# {report.title}", "", *_markdown_table(["", *headings], rows)]
    lines += ["", report.caption, "", report.protocol.text]
    alignment = report.scores.alignment
    if alignment is not None:
        angle = geodesic_angle_deg(alignment.rotation, np.eye(3))
        lines += ["", f"Aligned: a constant turn of {angle:.2f} degrees between the head frames"]
        if alignment.offset_m is not None:
            x, y, z = alignment.offset_m * 1000.0
            lines[-1] += f" and an offset of the origins of ({x:.1f}, {y:.1f}, {z:.1f}) mm"
        lines[-1] += " are taken out, both estimated on these pictures."
    columns = [name for name in report.protocol.columns if name in report.summary.figures]
    for title, groups in (
        ("By distance", report.summary.by_distance),
        ("By yaw (size)", report.summary.by_yaw),
        ("By person", report.summary.by_subject),
    ):
        if 0 < len(groups) < report.summary.images:  # one picture each says nothing new
            lines += ["", f"## {title}: means", "", *_group_table(columns, groups)]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain values; units are in the names, what is not known is null."""
    summary, alignment = report.summary, report.scores.alignment
    facts = report.facts
    return {
        "schema": SCHEMA,
        "trg_version": __version__,
        "dataset": report.protocol.name,
        "dataset_title": report.protocol.title,
        "dataset_sha256": facts.dataset_sha256,
        "method": facts.method,
        "bundle_sha256": facts.bundle_sha256,
        "settings": facts.settings,
        "protocol": report.protocol.text,
        "images": summary.images,
        "subjects": summary.subjects,
        "not_found": summary.not_found,
        "unreadable": list(report.unreadable),
        "notes": list(report.scores.notes),
        "bootstrap_draws": DRAWS,
        "figures": _figures_json(summary.figures),
        "figures_aligned": _figures_json(summary.aligned),
        "alignment": None
        if alignment is None
        else {
            "rotation": alignment.rotation.tolist(),
            "angle_deg": float(geodesic_angle_deg(alignment.rotation, np.eye(3))),
            "offset_mm": None
            if alignment.offset_m is None
            else (alignment.offset_m * 1000.0).tolist(),
        },
        "shares": dict(summary.shares),
        "by_distance": [_group_json(group) for group in summary.by_distance],
        "by_yaw": [_group_json(group) for group in summary.by_yaw],
        "by_subject": [_group_json(group) for group in summary.by_subject],
        "published": [
            {
                "method": row.method,
                "source": row.source,
                "mean": dict(row.means),
                "median": dict(row.medians),
            }
            for row in report.protocol.published
        ],
    }


def write_report(folder: str | Path, report: Report) -> list[Path]:
    """Write ``report.json``, ``report.md``, ``table.csv`` and ``pictures.csv``; return the paths.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    headings, rows = table_rows(report)
    texts = {
        "report.json": json.dumps(as_json(report), indent=1, allow_nan=False) + "\n",
        "report.md": as_markdown(report),
        "table.csv": _csv([["", *headings], *([label, *texts] for label, texts in rows)]),
        "pictures.csv": _csv(_picture_rows(report.scores)),
    }
    for name, text in texts.items():
        _write_text(folder / name, text)
    return [folder / name for name in texts]


def _write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda file: file.write(text.encode("utf-8")))


def _texts(
    columns: Sequence[str], values: Mapping[str, float], medians: Mapping[str, float]
) -> list[str]:
    texts = [_number_text(name, values.get(name)) for name in columns]
    if "landmarks_mm" in columns:
        texts.append(_number_text("landmarks_mm", medians.get("landmarks_mm")))
    return texts


def _number_text(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if not isfinite(value):
        return "none"
    return f"{100.0 * value:.2f}" if name in _IN_PERCENT else f"{value:.2f}"


def _markdown_table(headings: Sequence[str], rows: Sequence[Row]) -> list[str]:
    lines = ["| " + " | ".join(headings) + " |"]
    lines.append("|---|" + "---:|" * (len(headings) - 1))
    lines += ["| " + " | ".join((label, *texts)) + " |" for label, texts in rows]
    return lines


def _group_table(columns: Sequence[str], groups: Sequence[ImageGroup]) -> list[str]:
    headings = ["", "pictures", "not found", *(HEADINGS[name] for name in columns)]
    rows = [
        (
            group.label,
            [
                str(group.images),
                str(group.not_found),
                *(_number_text(name, group.figures[name].mean) for name in columns),
            ],
        )
        for group in groups
    ]
    return _markdown_table(headings, rows)


def _figures_json(figures: Mapping[str, ErrorStatistics]) -> dict[str, Any]:
    return {
        name: {
            "mean": _or_none(figure.mean),
            "mean_95": _interval_json(figure.mean_interval),
            "median": _or_none(figure.median),
            "median_95": _interval_json(figure.median_interval),
        }
        for name, figure in figures.items()
    }


def _group_json(group: ImageGroup) -> dict[str, Any]:
    return {
        "label": group.label,
        "images": group.images,
        "not_found": group.not_found,
        "mean": {name: _or_none(figure.mean) for name, figure in group.figures.items()},
        "median": {name: _or_none(figure.median) for name, figure in group.figures.items()},
    }


def _interval_json(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_or_none(interval.low), _or_none(interval.high)]


def _or_none(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if isfinite(value) else None


def _picture_rows(scores: Scores) -> list[list[str]]:
    names = list(scores.plain)
    rows = [["name", "subject", "found", "distance_m", "true_yaw_deg", *names]]
    for row, name in enumerate(scores.names):
        numbers = (
            scores.distance_m[row],
            scores.yaw_deg[row],
            *(scores.plain[n][row] for n in names),
        )
        texts = ("" if np.isnan(number) else f"{number:.6g}" for number in numbers)
        rows.append([name, scores.subjects[row], str(int(scores.found[row])), *texts])
    return rows


def _csv(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()
