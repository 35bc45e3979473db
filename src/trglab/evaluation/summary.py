"""Statistics of a report: over all images, by distance, by yaw and by person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trglab.evaluation.bootstrap import Interval, SubjectBootstrap
from trglab.evaluation.scores import Scores

Floats = NDArray[np.float64]

DISTANCE_EDGES_M = (0.0, 0.3, 0.45, 0.6, 0.75, 0.9, 1.2, 1.6, 2.0, 2.5, 3.0, np.inf)
YAW_EDGES_DEG = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, np.inf)
"""Of the absolute yaw"""

THRESHOLDS = (("ge_deg", 5.0), ("ge_deg", 10.0), ("add_mm", 20.0), ("add_mm", 50.0))
"""The report gives the share of all images whose error is below each threshold."""


@dataclass(frozen=True, slots=True)
class ErrorStatistics:
    """One error over many images.

    The mean is over the images with a face found. The median is over all images and infinite if
    more than half of them have no face found. The intervals are 95 % intervals over people; None
    for a single person.
    """

    mean: float
    median: float
    mean_interval: Interval | None = None
    median_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """The images of one bin or one person."""

    label: str
    images: int
    not_found: int
    statistics: Mapping[str, ErrorStatistics]
    """By name of the error"""


@dataclass(frozen=True, slots=True)
class EvaluationSummary:
    """All statistics of a report, by name of the error."""

    images: int
    subjects: int
    not_found: int
    statistics: Mapping[str, ErrorStatistics]
    aligned: Mapping[str, ErrorStatistics]
    """After the alignment of the head frames"""
    shares: Mapping[str, float]
    """0 to 1, over all images; images without a face found count as wrong"""
    by_distance: tuple[ImageGroup, ...]
    by_yaw: tuple[ImageGroup, ...]
    by_subject: tuple[ImageGroup, ...]


def summarize(scores: Scores, rng: np.random.Generator) -> EvaluationSummary:
    """Average scores; ``rng`` draws the people of the bootstrap intervals."""
    bootstrap = SubjectBootstrap(scores.subjects, rng)
    subjects = np.asarray(scores.subjects)
    people = ((name, subjects == name) for name in dict.fromkeys(scores.subjects))
    return EvaluationSummary(
        images=len(scores),
        subjects=bootstrap.subject_count,
        not_found=int((~scores.found).sum()),
        statistics=_statistics(scores.errors, bootstrap),
        aligned=_statistics(scores.aligned_errors, bootstrap),
        shares={
            f"share_{name}_below_{limit:g}": float((scores.errors[name] < limit).mean())
            for name, limit in THRESHOLDS
            if name in scores.errors
        },
        by_distance=_groups(scores, _bins(scores.distance_m, DISTANCE_EDGES_M, "m")),
        by_yaw=_groups(scores, _bins(np.abs(scores.yaw_deg), YAW_EDGES_DEG, "deg")),
        by_subject=_groups(scores, people),
    )


def _statistics(
    errors: Mapping[str, Floats], bootstrap: SubjectBootstrap | None = None
) -> dict[str, ErrorStatistics]:
    statistics = {}
    for name, values in errors.items():
        known = values[np.isfinite(values)]
        with_failures = np.where(np.isfinite(values), values, np.inf)
        statistics[name] = ErrorStatistics(
            mean=float(known.mean()) if len(known) else float("nan"),
            median=float(np.median(with_failures)),
            mean_interval=bootstrap.mean(values) if bootstrap else None,
            median_interval=bootstrap.median(with_failures) if bootstrap else None,
        )
    return statistics


def _groups(
    scores: Scores, members: Iterator[tuple[str, NDArray[np.bool_]]]
) -> tuple[ImageGroup, ...]:
    return tuple(
        ImageGroup(
            label=label,
            images=int(chosen.sum()),
            not_found=int((~scores.found[chosen]).sum()),
            statistics=_statistics({name: each[chosen] for name, each in scores.errors.items()}),
        )
        for label, chosen in members
        if chosen.any()
    )


def _bins(
    values: Floats, edges: Sequence[float], unit: str
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield label and membership of each half-open bin ``[low, high)``; NaN is in no bin."""
    for low, high in pairwise(edges):
        label = f"from {low:g} {unit}" if np.isinf(high) else f"{low:g} to {high:g} {unit}"
        yield label, (values >= low) & (values < high)
