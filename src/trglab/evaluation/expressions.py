"""Expression coefficients against the truth of rendered faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trg.geometry.expression_fit import SEEN_EXPRESSIONS, bundled_expression_fit
from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between, rotation_to_euler
from trg.geometry.shape_basis import EXPRESSION_NAMES
from trglab.datasets.sample import Sample
from trglab.evaluation.prediction import BATCH_SIZE, Method, SampleSequence
from trglab.evaluation.table import TableRow, TextTable

Floats = NDArray[np.float64]

CLEAR_LIMITS_DEG = (30.0, 30.0, 45.0)
"""Largest yaw, pitch and roll from the line of sight of a clear view."""

CLEAR_VISIBLE_SHARE = 0.9
"""Smallest share of visible landmarks inside the face's outline in a clear view."""

PRESENT_WEIGHT = 0.05
"""An expression counts as present above this weight."""

_INSIDE = slice(17, 68)
"""Those of the 68 landmarks that are not on the outline."""


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionScores:
    """True and fitted weights ``(n, 52)`` of n faces, by
    :data:`~trg.geometry.shape_basis.EXPRESSION_NAMES`.
    """

    true: Floats
    of_true_shapes: Floats
    """Fitted to the true vertices: what the fit alone can tell."""
    predicted: Floats
    """Fitted to the predicted vertices."""
    is_clear: NDArray[np.bool_]
    """``(n,)``: seen from the front, with nothing in between."""

    def table(self, title: str) -> TextTable:
        """Return a row per expression: how often it is present, and the correlations."""
        clear = self.is_clear
        columns = (
            correlations(self.of_true_shapes, self.true),
            correlations(self.predicted, self.true),
            correlations(self.predicted[clear], self.true[clear]),
        )
        present = (self.true > PRESENT_WEIGHT).mean(0)
        rows = [
            TableRow(
                name,
                [f"{100.0 * present[k]:.0f}", *(_text(column[k]) for column in columns)],
                bold=name in SEEN_EXPRESSIONS,
            )
            for k, name in enumerate(EXPRESSION_NAMES)
        ]
        means = ["", *(_text(float(np.nanmean(column))) for column in columns)]
        headings = ("present %", "true shape r", "all r", "clear views r")
        return TextTable(
            headings,
            [*rows, TableRow("mean", means)],
            title,
            f"{len(clear)} faces, {clear.sum()} of them in clear views; bold: those that "
            "blendshapes(seen_only=True) returns",
        )


def correlations(estimated: Floats, true: Floats) -> Floats:
    """Return the correlation of each column ``(k,)``; NaN where one of the two is constant."""
    a, b = estimated - estimated.mean(0), true - true.mean(0)
    norms = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.divide((a * b).sum(0), norms, out=np.full(len(norms), np.nan), where=norms > 0.0)


def measure_expressions(
    samples: SampleSequence,
    method: Method,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ExpressionScores:
    """Fit expression weights to a method's vertices and to the true ones.

    Faces that the method does not find are left out.

    Raises
    ------
    ValueError
        The samples do not tell their expressions, or the method estimates no vertices of the
        bundled landmark mesh.
    """
    fit = bundled_expression_fit()
    true, of_true_shapes, predicted, is_clear = [], [], [], []
    count = len(samples) if limit is None else min(limit, len(samples))
    for start in range(0, count, BATCH_SIZE):
        batch = [samples[index] for index in range(start, min(start + BATCH_SIZE, count))]
        for sample, estimate in zip(batch, method.estimate(batch), strict=True):
            if sample.expressions is None or sample.vertices_m is None:
                raise ValueError(
                    f"{sample.name}: expected a face that tells its expression, as rendered ones "
                    "do; packs of views do not (leave out --pack)"
                )
            if estimate is None:
                continue
            if estimate.vertices_m is None:
                raise ValueError("blendshapes: expected a method that estimates vertices")
            true.append(sample.expressions)
            of_true_shapes.append(fit.weights(sample.vertices_m))
            predicted.append(fit.weights(estimate.vertices_m))
            is_clear.append(_is_clear(sample))
        if on_progress is not None:
            on_progress(start + len(batch))
    return ExpressionScores(
        np.array(true, np.float64),
        np.array(of_true_shapes),
        np.array(predicted),
        np.array(is_clear),
    )


def _is_clear(sample: Sample) -> bool:
    assert sample.rotation is not None
    assert sample.translation_m is not None
    assert sample.landmarks68_visible is not None
    from_sight = rotation_between(OPTICAL_AXIS, sample.translation_m).T @ sample.rotation
    is_frontal = bool((np.abs(rotation_to_euler(from_sight)) <= CLEAR_LIMITS_DEG).all())
    visible_share = sample.landmarks68_visible[_INSIDE].mean()
    return is_frontal and bool(visible_share >= CLEAR_VISIBLE_SHARE)


def _text(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"
