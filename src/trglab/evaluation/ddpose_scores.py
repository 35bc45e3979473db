"""DD-Pose's own scores: BMAE, position error and recall of all, easy, moderate and hard frames.

After the data set's development kit (Roth and Gavrila 2019). The angle of a frame is that between
the head and a frontal one; the angular error is the geodesic one. BMAE is the mean over bins of 5
degrees from 0 to 75, each with its mean error, so that rare poses count as much as frequent ones;
empty bins are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import geodesic_angle_deg
from trglab.evaluation.bootstrap import SubjectBootstrap
from trglab.evaluation.report import BOOTSTRAP_SEED
from trglab.evaluation.scores import Scores
from trglab.evaluation.table import TableRow, TextTable

Floats = NDArray[np.float64]

BIN_DEG, LAST_DEG = 5.0, 75.0
EASY_DEG, MODERATE_DEG = 35.0, 60.0
SUBSETS = ("all", "easy", "moderate", "hard")

PUBLISHED: Mapping[str, tuple[tuple[float, ...], tuple[float, ...] | None, float]] = {
    "img2pose": ((10.3, 6.4, 11.1, 20.3), None, 85.0),
    "intrApose": ((5.8, 4.2, 6.2, 9.5), (25.0, 21.5, 29.4, 41.5), 97.0),
    "TRGv2": ((4.8, 3.4, 5.3, 8.8), (18.3, 16.1, 21.8, 22.1), 99.0),
}
"""BMAE and MAE_t of :data:`SUBSETS`, and recall in per cent, on the test set, whose poses are not
published (the paper of TRGv2). img2pose's positions are off by metres."""


def subsets(rotation: Floats, occlusion: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Return which frames ``(n,)`` belong to each of :data:`SUBSETS`.

    Easy: below 35 degrees from frontal and not occluded. Moderate: below 60 and at most partially
    occluded, without the easy ones. Hard: from 60, or fully occluded.
    """
    angle = geodesic_angle_deg(rotation, np.eye(3))
    states = np.asarray(occlusion)
    easy = (angle < EASY_DEG) & (states == "none")
    moderate = (angle < MODERATE_DEG) & np.isin(states, ("none", "partial")) & ~easy
    hard = (angle >= MODERATE_DEG) | (states == "full")
    return {"all": np.ones(len(angle), bool), "easy": easy, "moderate": moderate, "hard": hard}


def bmae_deg(error_deg: Floats, angle_deg: Floats) -> float:
    """Return the mean over bins of the angle of the mean error; NaN errors are left out."""
    bins = np.floor(angle_deg / BIN_DEG).astype(int)
    means = []
    for number in range(int(LAST_DEG / BIN_DEG)):
        chosen = error_deg[(bins == number) & np.isfinite(error_deg)]
        if len(chosen):
            means.append(chosen.mean())
    return float(np.mean(means)) if means else float("nan")


def recall(found: NDArray[np.bool_], occlusion: Sequence[str]) -> float:
    """Return found frames over those that are not fully occluded, as the kit does: may exceed 1."""
    visible = int((np.asarray(occlusion) != "full").sum())
    return float(found.sum()) / visible if visible else float("nan")


def ddpose_table(scores: Scores, rotation: Floats, occlusion: Sequence[str]) -> TextTable:
    """Return the scores of :data:`SUBSETS`, with 95 % intervals over people.

    Parameters
    ----------
    rotation
        ``(n, 3, 3)``, the labels'.
    occlusion
        State of each frame, ``none``, ``partial`` or ``full``.
    """
    angle = geodesic_angle_deg(rotation, np.eye(3))
    members = subsets(rotation, occlusion)
    rows = [_published_row(name) for name in PUBLISHED]
    cells, lows, highs = [], [], []
    for name in SUBSETS:
        chosen = members[name]
        value, low, high = _with_interval(
            scores.errors["ge_deg"][chosen], angle[chosen], np.asarray(scores.subjects)[chosen]
        )
        cells.append(_text(value, 2))
        lows.append(_text(low, 2))
        highs.append(_text(high, 2))
    for name in SUBSETS:
        chosen = members[name]
        errors = scores.errors.get("mae_t_mm", np.full(len(chosen), np.nan))[chosen]
        known = errors[np.isfinite(errors)]
        bootstrap = _bootstrap(np.asarray(scores.subjects)[chosen])
        interval = bootstrap.mean(errors) if len(known) else None
        cells.append(_text(known.mean() if len(known) else np.nan, 1))
        lows.append("-" if interval is None else _text(interval.low, 1))
        highs.append("-" if interval is None else _text(interval.high, 1))
    cells.append(_text(100.0 * recall(scores.found, occlusion), 1))
    rows += [
        TableRow("measured here", cells, bold=True),
        TableRow("95 % over people, from", [*lows, "-"]),
        TableRow("to", [*highs, "-"]),
    ]
    headings = [f"BMAE ° {name}" for name in SUBSETS] + [f"MAE_t mm {name}" for name in SUBSETS]
    caption = (
        "Published rows are of the test set, whose poses are not public: they do not compare with "
        "figures of other frames. BMAE bins the angle from frontal; MAE_t is the mean of the three "
        "axes. Recall counts frames that are not fully occluded."
    )
    return TextTable([*headings, "recall %"], rows, "DD-Pose's scores", caption)


def _with_interval(
    error_deg: Floats, angle_deg: Floats, subjects: NDArray[np.str_]
) -> tuple[float, float, float]:
    """Return BMAE and its interval; frames of people are drawn with their multiplicity."""
    value = bmae_deg(error_deg, angle_deg)
    names, of_frame = np.unique(subjects, return_inverse=True)
    known = np.isfinite(error_deg) & (angle_deg < LAST_DEG)
    if len(names) < 2 or not known.any():
        return value, np.nan, np.nan
    bins = np.floor(angle_deg[known] / BIN_DEG).astype(int)
    shape = (len(names), int(LAST_DEG / BIN_DEG))
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (of_frame[known], bins), error_deg[known])
    np.add.at(counts, (of_frame[known], bins), 1.0)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=1000)
    drawn = drawn[(drawn @ counts).any(axis=1)]  # not those of people without a known frame
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.nanmean((drawn @ sums) / (drawn @ counts), axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return value, float(low), float(high)


def _bootstrap(subjects: NDArray[np.str_]) -> SubjectBootstrap:
    return SubjectBootstrap(subjects.tolist(), np.random.default_rng(BOOTSTRAP_SEED))


def _published_row(name: str) -> TableRow:
    angles, positions, share = PUBLISHED[name]
    cells = [_text(value, 1) for value in angles]
    cells += ["-"] * 4 if positions is None else [_text(value, 1) for value in positions]
    return TableRow(f"{name} (test set)", [*cells, _text(share, 0)])


def _text(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"
