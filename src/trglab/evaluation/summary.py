"""From errors of single pictures to the figures of a report: over all, by distance, yaw, person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trglab.evaluation.bootstrap import Interval, SubjectBootstrap
from trglab.evaluation.scores import Scores

DISTANCE_EDGES_M = (0.0, 0.3, 0.45, 0.6, 0.75, 0.9, 1.2, 1.6, 2.0, 2.5, 3.0, np.inf)
YAW_EDGES_DEG = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, np.inf)
"""Of the yaw's size: left and right together."""

SHARES = (("ge_deg", 5.0), ("ge_deg", 10.0), ("add_mm", 20.0), ("add_mm", 50.0))
"""Errors and limits; reported is the share of all pictures that stay below."""


@dataclass(frozen=True, slots=True)
class ErrorStatistics:
    """One error over many pictures.

    The mean is over the pictures with a face found. The median is over all; it is infinite where
    half of them have none. Intervals hold 95 %, over people; None where there is one person.
    """

    mean: float
    median: float
    mean_interval: Interval | None = None
    median_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """Some of the pictures: those of one bin or one person."""

    label: str
    images: int
    not_found: int
    figures: Mapping[str, ErrorStatistics]


@dataclass(frozen=True, slots=True)
class EvaluationSummary:
    """All figures of a report."""

    images: int
    subjects: int
    not_found: int
    figures: Mapping[str, ErrorStatistics]
    aligned: Mapping[str, ErrorStatistics]
    shares: Mapping[str, float]
    """0 to 1, over all pictures; one without a face found is a wrong one"""
    by_distance: tuple[ImageGroup, ...]
    by_yaw: tuple[ImageGroup, ...]
    by_subject: tuple[ImageGroup, ...]


def summarize(scores: Scores, rng: np.random.Generator) -> EvaluationSummary:
    """Average errors; ``rng`` draws the people of the intervals."""
    bootstrap = SubjectBootstrap(scores.subjects, rng)
    subjects = np.asarray(scores.subjects)
    people = ((name, subjects == name) for name in dict.fromkeys(scores.subjects))
    return EvaluationSummary(
        images=len(scores),
        subjects=bootstrap.people,
        not_found=int((~scores.found).sum()),
        figures=_figures(scores.plain, bootstrap),
        aligned=_figures(scores.aligned, bootstrap),
        shares={
            f"share_{name}_below_{limit:g}": float((scores.plain[name] < limit).mean())
            for name, limit in SHARES
            if name in scores.plain
        },
        by_distance=_groups(scores, _bins(scores.distance_m, DISTANCE_EDGES_M, "m")),
        by_yaw=_groups(scores, _bins(np.abs(scores.yaw_deg), YAW_EDGES_DEG, "deg")),
        by_subject=_groups(scores, people),
    )


def _figures(
    errors: Mapping[str, NDArray[np.float64]], bootstrap: SubjectBootstrap | None = None
) -> dict[str, ErrorStatistics]:
    figures = {}
    for name, values in errors.items():
        known = values[np.isfinite(values)]
        with_failures = np.where(np.isfinite(values), values, np.inf)
        figures[name] = ErrorStatistics(
            mean=float(known.mean()) if len(known) else float("nan"),
            median=float(np.median(with_failures)),
            mean_interval=bootstrap.mean(values) if bootstrap else None,
            median_interval=bootstrap.median(with_failures) if bootstrap else None,
        )
    return figures


def _groups(
    scores: Scores, members: Iterator[tuple[str, NDArray[np.bool_]]]
) -> tuple[ImageGroup, ...]:
    return tuple(
        ImageGroup(
            label=label,
            images=int(chosen.sum()),
            not_found=int((~scores.found[chosen]).sum()),
            figures=_figures({name: values[chosen] for name, values in scores.plain.items()}),
        )
        for label, chosen in members
        if chosen.any()
    )


def _bins(
    values: NDArray[np.float64], edges: Sequence[float], unit: str
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield name and members of each bin, its lower edge included; NaN is in none."""
    for low, high in pairwise(edges):
        label = f"from {low:g} {unit}" if np.isinf(high) else f"{low:g} to {high:g} {unit}"
        yield label, (values >= low) & (values < high)
