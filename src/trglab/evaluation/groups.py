"""Errors by group of images: age, sex and skin of rendered people, distance, yaw, visibility."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trglab.datasets.sample import Traits
from trglab.evaluation.bootstrap import Interval, SubjectBootstrap
from trglab.evaluation.ground_truth import GroundTruth
from trglab.evaluation.report import BOOTSTRAP_SEED
from trglab.evaluation.scores import Scores
from trglab.evaluation.table import HEADINGS, TableRow, TextTable, format_error

Floats = NDArray[np.float64]
Members = Iterator[tuple[str, NDArray[np.bool_]]]

COLUMNS = ("ge_deg", "mae_r_deg", "tz_relative", "add_mm", "landmarks_mm", "nme68")
"""Errors in the tables, of those that a data set has."""

MIN_PEOPLE = 2
"""Groups of fewer people have no interval and are left out."""

AGE_EDGES_YEARS = (0.0, 17.0, 35.0, 50.0, 65.0, np.inf)
DISTANCE_EDGES_M = (0.0, 0.5, 1.0, 1.5, 2.0, np.inf)
YAW_EDGES_DEG = (0.0, 20.0, 40.0, 60.0, np.inf)
SKIN_CLASSES = (
    ("very light", 55.0),
    ("light", 41.0),
    ("intermediate", 28.0),
    ("tan", 10.0),
    ("brown", -30.0),
    ("dark", -np.inf),
)
"""Classes by the individual typology angle, with their lower limits (Del Bino and Bernerd 2013)."""

VISIBLE_CLASSES = (
    ("90 to 100 % of the landmarks visible", 0.9),
    ("70 to 90 %", 0.7),
    ("50 to 70 %", 0.5),
    ("below 50 %", -np.inf),
)
"""Classes with their lower limits; a landmark counts as hidden by the head itself, too."""


def _age(scores: Scores, truth: GroundTruth) -> Members:
    return _between(_trait(truth, lambda each: each.age_years), AGE_EDGES_YEARS, "years")


def _sex(scores: Scores, truth: GroundTruth) -> Members:
    values = np.array(["" if each is None else each.sex for each in _traits(truth)])
    for name in ("woman", "man"):
        yield name, values == name


def _skin(scores: Scores, truth: GroundTruth) -> Members:
    return _above(_trait(truth, lambda each: each.skin_typology_deg), SKIN_CLASSES)


def _distance(scores: Scores, truth: GroundTruth) -> Members:
    return _between(_known(scores.distance_m, "distance"), DISTANCE_EDGES_M, "m")


def _yaw(scores: Scores, truth: GroundTruth) -> Members:
    return _between(np.abs(_known(scores.yaw_deg, "yaw")), YAW_EDGES_DEG, "degrees")


def _occlusion(scores: Scores, truth: GroundTruth) -> Members:
    if truth.visible_share is None:
        raise ValueError("--by occlusion: expected labels of visible landmarks, found none")
    return _above(truth.visible_share, VISIBLE_CLASSES)


GROUPINGS: Mapping[str, Callable[[Scores, GroundTruth], Members]] = {
    "age": _age,
    "sex": _sex,
    "skin": _skin,
    "distance": _distance,
    "yaw": _yaw,
    "occlusion": _occlusion,
}
"""By the names that ``trg eval --by`` takes."""


def group_names(text: str) -> list[str]:
    """Split a comma-separated list of groupings; ValueError if one does not exist."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := sorted(set(names) - set(GROUPINGS)):
        raise ValueError(f"--by: expected some of {list(GROUPINGS)}, got {unknown}")
    return names


def group_tables(scores: Scores, truth: GroundTruth, by: Sequence[str]) -> list[TextTable]:
    """Return one table of medians, with 95 % intervals over people, for each of some groupings.

    An image without a face found counts as worst.

    Raises
    ------
    ValueError
        The data set does not record a grouping.
    """
    columns = [name for name in COLUMNS if name in scores.errors]
    return [_table(name, columns, scores, GROUPINGS[name](scores, truth)) for name in by]


def _table(name: str, columns: Sequence[str], scores: Scores, members: Members) -> TextTable:
    subjects = np.asarray(scores.subjects)
    rows = []
    for label, chosen in members:
        people = len(set(subjects[chosen].tolist()))
        if people < MIN_PEOPLE:
            continue
        bootstrap = SubjectBootstrap(
            subjects[chosen].tolist(), np.random.default_rng(BOOTSTRAP_SEED)
        )
        counts = [chosen.sum(), people, (~scores.found[chosen]).sum()]
        cells = [str(int(count)) for count in counts]
        for column in columns:
            values = scores.errors[column][chosen]
            values = np.where(np.isfinite(values), values, np.inf)
            cells.append(_cell(column, float(np.median(values)), bootstrap.median(values)))
        rows.append(TableRow(label, cells))
    headings = ["images", "people", "not found", *(HEADINGS[column] for column in columns)]
    return TextTable(headings, rows, f"By {name}: medians (95 % over people)")


def _cell(column: str, median: float, interval: Interval | None) -> str:
    text = format_error(column, median)
    if interval is None:
        return text
    low, high = (format_error(column, end) for end in interval)
    return f"{text} ({low} to {high})"


def _traits(truth: GroundTruth) -> Sequence[Traits | None]:
    if not truth.traits:
        raise ValueError(
            "--by: expected rendered images that record who was drawn, found none; real data sets "
            "and packs of earlier versions do not, render the hold-out again"
        )
    return truth.traits


def _trait(truth: GroundTruth, value: Callable[[Traits], float]) -> Floats:
    return np.array([np.nan if each is None else value(each) for each in _traits(truth)])


def _known(values: Floats, name: str) -> Floats:
    if np.isnan(values).all():
        raise ValueError(f"--by {name}: expected a data set that labels it")
    return values


def _between(values: Floats, edges: Sequence[float], unit: str) -> Members:
    """Yield the half-open bins ``[low, high)``; NaN is in no bin."""
    for low, high in pairwise(edges):
        label = f"from {low:g} {unit}" if np.isinf(high) else f"{low:g} to {high:g} {unit}"
        yield label, (values >= low) & (values < high)


def _above(values: Floats, classes: Sequence[tuple[str, float]]) -> Members:
    """Yield the classes of falling lower limits; NaN is in no class."""
    upper = np.inf
    for label, low in classes:
        yield label, (values >= low) & (values < upper)
        upper = low
