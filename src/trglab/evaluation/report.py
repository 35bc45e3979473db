"""The report of one method on one data set, with the paper's rows beside it.

:func:`write_report` writes it as Markdown, CSV and JSON; ``to_rich`` of :func:`report_table` is
what ``trg eval`` prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from trg import __version__
from trg.geometry.rotations import geodesic_angle_deg
from trglab.evaluation.alignment import Alignment
from trglab.evaluation.bootstrap import DRAWS, Interval
from trglab.evaluation.metrics import MM_PER_M
from trglab.evaluation.predictions import PredictionMetadata
from trglab.evaluation.protocols import BoxName, EvaluationProtocol
from trglab.evaluation.published import PublishedRow
from trglab.evaluation.reference_alignment import OriginAlignment, OriginShift
from trglab.evaluation.scores import Scores
from trglab.evaluation.summary import ErrorStatistics, EvaluationSummary, ImageGroup, summarize
from trglab.evaluation.table import (
    HEADINGS,
    TableRow,
    TextTable,
    csv_text,
    finite_or_none,
    format_error,
    json_text,
    write_texts,
)

SCHEMA = "trg report 1"
BOOTSTRAP_SEED = 0
COVERAGE_LABELS = {
    "rotation": "rotation, °",
    "across": "across the line of sight, % of the distance",
    "along": "along the line of sight, %",
    "along_sized": "along, at true size, %",
    "shape": "3D landmarks, mm",
    "shape_sized": "3D landmarks at true size, mm",
    "landmarks": "68 landmarks, % of the face box",
}
"""Rows of the table of error bars, by quantity."""

_COVERAGE_UNITS = {"rotation": 1.0, "shape": 1000.0, "shape_sized": 1000.0}
"""Factors to the units of these rows; the others are in per cent."""

MEDIAN_HEADING = "landmarks median mm"
"""Table 3 reports mean and median of the landmark error, so that the median has its own column."""


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One method on one data set."""

    protocol: EvaluationProtocol
    metadata: PredictionMetadata
    scores: Scores
    summary: EvaluationSummary
    unreadable: tuple[str, ...] = ()
    """One message per image that could not be read"""
    origins: OriginAlignment | None = None
    """The alignment of the labels' head origins; None: they are the data set's"""
    as_is: Mapping[str, ErrorStatistics] = field(default_factory=dict)
    """With the data set's own origins, where they are aligned"""

    @property
    def method(self) -> str:
        """The method's name."""
        return self.metadata.method or "unnamed method"

    @property
    def title(self) -> str:
        """Data set, method and the settings of the predictions."""
        settings = ", ".join(f"{name} {value}" for name, value in self.metadata.settings.items())
        return f"{self.protocol.title}: {self.method}" + (f" ({settings})" if settings else "")

    @property
    def caption(self) -> str:
        """Counts of images and people, and what could not be compared."""
        summary = self.summary
        people = "person" if summary.subjects == 1 else "people"
        parts = [
            f"{summary.images} images of {summary.subjects} {people}",
            f"{summary.not_found} without a face found (in no mean, worst in every median)",
        ]
        sources = dict.fromkeys(row.source for row in self.published)
        if sources:
            parts.insert(0, f"Rows above this method's: {', '.join(sources)}")
        boxes = self.metadata.settings.get("boxes")
        if boxes in get_args(BoxName):  # not of predictions of other methods
            parts.append(f"boxes: {self.protocol.describe_boxes(cast(BoxName, boxes))}")
        if self.origins is not None:
            parts.append(
                f"{MM_PER_M * self.origins.mean_residual_m:.1f} mm between the aligned landmarks"
            )
        if self.unreadable:
            parts.append(f"{len(self.unreadable)} unreadable and left out")
        return "; ".join((*parts, *self.scores.notes)) + "."

    @property
    def columns(self) -> list[str]:
        """Names of the protocol's errors that were measured."""
        return [name for name in self.protocol.columns if name in self.summary.statistics]

    @property
    def published(self) -> list[PublishedRow]:
        """The published rows that have a number in one of the columns."""
        shown = set(self.columns)
        return [row for row in self.protocol.published if shown & {*row.means, *row.medians}]


def make_report(
    protocol: EvaluationProtocol,
    metadata: PredictionMetadata,
    scores: Scores,
    unreadable: Sequence[str] = (),
) -> Report:
    """Average scores into a report. The bootstrap is seeded: equal scores give equal reports."""
    summary = summarize(scores, np.random.default_rng(BOOTSTRAP_SEED))
    return Report(protocol, metadata, scores, summary, tuple(unreadable))


def with_aligned_origins(as_is: Report, scores: Scores, origins: OriginAlignment) -> Report:
    """Return a report of scores after the alignment of the labels' head origins."""
    protocol = replace(
        as_is.protocol,
        title=f"{as_is.protocol.title}, head origins aligned to {origins.reference}",
        published=as_is.protocol.published_aligned,
        text=f"{as_is.protocol.text} The head origin of each person is moved by a translation that "
        "brings seven landmarks of the person's face onto those of the reference face with the "
        "least mean distance (TRGv2).",
    )
    aligned = make_report(protocol, as_is.metadata, scores, as_is.unreadable)
    return replace(aligned, origins=origins, as_is=as_is.summary.statistics)


def report_table(report: Report) -> TextTable:
    """Return the paper's rows, then this method's mean, its interval, median and aligned mean."""
    columns, summary = report.columns, report.summary

    def row(
        label: str,
        values: Mapping[str, float],
        medians: Mapping[str, float],
        bold: bool = False,
    ) -> TableRow:
        cells = [format_error(name, values.get(name)) for name in columns]
        if "landmarks_mm" in columns:
            cells.append(format_error("landmarks_mm", medians.get("landmarks_mm")))
        return TableRow(label, cells, bold)

    statistics = summary.statistics
    means = {name: each.mean for name, each in statistics.items()}
    medians = {name: each.median for name, each in statistics.items()}
    rows = [row(each.method, each.means, each.medians) for each in report.published]
    rows.append(row(f"{report.method}, mean", means, medians, bold=True))
    if any(each.mean_interval for each in statistics.values()):
        for end, label in (("low", "95 % of the mean, from"), ("high", "to")):
            rows.append(
                row(
                    label,
                    _interval_ends(statistics, "mean_interval", end),
                    _interval_ends(statistics, "median_interval", end),
                )
            )
    rows.append(row("median", medians, medians))
    if report.as_is:
        rows.append(
            row(
                "mean, origins as in the data set",
                {name: each.mean for name, each in report.as_is.items()},
                {name: each.median for name, each in report.as_is.items()},
            )
        )
    if summary.aligned:
        aligned_means = {name: each.mean for name, each in summary.aligned.items()}
        rows.append(row("mean, head frames aligned", aligned_means, {}))
    headings = [HEADINGS[name] for name in columns]
    if "landmarks_mm" in columns:
        headings.append(MEDIAN_HEADING)
    return TextTable(headings, rows, report.title, report.caption)


def coverage_table(report: Report) -> TextTable:
    """Return the share of the true values within one and two of the method's error bars."""
    rows = [
        TableRow(
            COVERAGE_LABELS[name],
            [
                f"{100.0 * each.within_one:.1f}",
                f"{100.0 * each.within_two:.1f}",
                f"{each.median_std * _COVERAGE_UNITS.get(name, 100.0):.2f}",
            ],
        )
        for name, each in report.scores.coverage.items()
    ]
    headings = ["within 1 std %", "within 2 std %", "median std"]
    return TextTable(headings, rows, "Error bars: true values within one and two")


def as_markdown(report: Report) -> str:
    """Return the whole report as Markdown: the table, then means by distance, yaw and person."""
    lines = [f"# {report.title}", "", *report_table(report).to_markdown()]
    lines += ["", report.caption, "", report.protocol.text]
    if report.scores.coverage:
        table = coverage_table(report)
        lines += ["", f"## {table.title}", "", *table.to_markdown()]
    if report.origins is not None:
        table = _origin_table(report.origins)
        lines += ["", f"## {table.title}", "", *table.to_markdown()]
    if report.scores.alignment is not None:
        lines += ["", _describe_alignment(report.scores.alignment)]
    for title, groups in (
        ("By distance", report.summary.by_distance),
        ("By absolute yaw", report.summary.by_yaw),
        ("By person", report.summary.by_subject),
    ):
        if 0 < len(groups) < report.summary.images:  # groups of one image each add nothing
            table = _group_table(report.columns, groups)
            lines += ["", f"## {title}: means", "", *table.to_markdown()]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain values. Names carry units; null stands for an unknown value."""
    summary, alignment, metadata = report.summary, report.scores.alignment, report.metadata
    return {
        "schema": SCHEMA,
        "trg_version": __version__,
        "dataset": report.protocol.name,
        "dataset_title": report.protocol.title,
        "dataset_sha256": metadata.dataset_sha256,
        "method": metadata.method,
        "bundle_sha256": metadata.bundle_sha256,
        "settings": metadata.settings,
        "protocol": report.protocol.text,
        "images": summary.images,
        "subjects": summary.subjects,
        "not_found": summary.not_found,
        "unreadable": list(report.unreadable),
        "notes": list(report.scores.notes),
        "bootstrap_draws": DRAWS,
        "figures": _statistics_json(summary.statistics),
        "figures_aligned": _statistics_json(summary.aligned),
        "figures_as_is": _statistics_json(report.as_is),
        "origin_alignment": None if report.origins is None else _origins_json(report.origins),
        "alignment": None if alignment is None else _alignment_json(alignment),
        "shares": dict(summary.shares),
        "error_bars": {name: each._asdict() for name, each in report.scores.coverage.items()},
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
    """Write ``report.json``, ``report.md``, ``table.csv`` and ``images.csv``; return the paths.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    texts = {
        "report.json": json_text(as_json(report)),
        "report.md": as_markdown(report),
        "table.csv": report_table(report).to_csv(),
        "images.csv": csv_text(_image_rows(report.scores)),
    }
    return write_texts(Path(folder), texts)


def _interval_ends(
    statistics: Mapping[str, ErrorStatistics], interval: str, end: str
) -> dict[str, float]:
    """Return one end of each error's interval, by name; errors without an interval are left out."""
    intervals = {name: getattr(each, interval) for name, each in statistics.items()}
    return {name: getattr(each, end) for name, each in intervals.items() if each is not None}


def _describe_alignment(alignment: Alignment) -> str:
    angle_deg = geodesic_angle_deg(alignment.rotation, np.eye(3))
    text = f"Aligned: a constant rotation of {angle_deg:.2f} degrees between the head frames"
    if alignment.offset_m is not None:
        x, y, z = alignment.offset_m * 1000.0
        text += f" and an offset of the origins of ({x:.1f}, {y:.1f}, {z:.1f}) mm"
    return text + " are removed, both estimated on these images."


def _group_table(columns: Sequence[str], groups: Sequence[ImageGroup]) -> TextTable:
    rows = []
    for group in groups:
        means = [format_error(name, group.statistics[name].mean) for name in columns]
        rows.append(TableRow(group.label, [str(group.images), str(group.not_found), *means]))
    return TextTable(["images", "not found", *(HEADINGS[name] for name in columns)], rows)


def _statistics_json(statistics: Mapping[str, ErrorStatistics]) -> dict[str, Any]:
    return {
        name: {
            "mean": finite_or_none(each.mean),
            "mean_95": _interval_json(each.mean_interval),
            "median": finite_or_none(each.median),
            "median_95": _interval_json(each.median_interval),
        }
        for name, each in statistics.items()
    }


def _group_json(group: ImageGroup) -> dict[str, Any]:
    return {
        "label": group.label,
        "images": group.images,
        "not_found": group.not_found,
        "mean": {name: finite_or_none(each.mean) for name, each in group.statistics.items()},
        "median": {name: finite_or_none(each.median) for name, each in group.statistics.items()},
    }


def _interval_json(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [finite_or_none(end) for end in interval]


def _alignment_json(alignment: Alignment) -> dict[str, Any]:
    offset_m = alignment.offset_m
    return {
        "rotation": alignment.rotation.tolist(),
        "angle_deg": float(geodesic_angle_deg(alignment.rotation, np.eye(3))),
        "offset_mm": None if offset_m is None else (offset_m * 1000.0).tolist(),
    }


def _origin_table(origins: OriginAlignment) -> TextTable:
    """Return the shift of each person's origin and what is left between the landmarks."""
    rows = []
    shifts = {
        **origins.by_subject,
        "mean": OriginShift(origins.mean_shift_m, origins.mean_residual_m),
    }
    for name, shift in shifts.items():
        numbers_m = (*shift.shift_m, shift.residual_m)
        rows.append(TableRow(name, [f"{MM_PER_M * number:.1f}" for number in numbers_m]))
    headings = ["x mm", "y mm", "z mm", "residual mm"]
    return TextTable(headings, rows, "Alignment of the head origins: shift by person")


def _origins_json(origins: OriginAlignment) -> dict[str, Any]:
    return {
        "reference": origins.reference,
        "mean_shift_mm": (MM_PER_M * origins.mean_shift_m).tolist(),
        "mean_residual_mm": MM_PER_M * origins.mean_residual_m,
        "by_subject": {
            name: {
                "shift_mm": (MM_PER_M * each.shift_m).tolist(),
                "residual_mm": MM_PER_M * each.residual_m,
            }
            for name, each in origins.by_subject.items()
        },
    }


def _image_rows(scores: Scores) -> list[list[str]]:
    """Return a line of headings and one line of errors per image; unknown numbers are empty."""
    columns = {"distance_m": scores.distance_m, "true_yaw_deg": scores.yaw_deg, **scores.errors}
    rows = [["name", "subject", "found", *columns]]
    for index, name in enumerate(scores.names):
        numbers = [values[index] for values in columns.values()]
        texts = ["" if np.isnan(number) else f"{number:.6g}" for number in numbers]
        rows.append([name, scores.subjects[index], str(int(scores.found[index])), *texts])
    return rows
