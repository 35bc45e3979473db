"""Cluster bootstrap over people: confidence intervals of means and medians.

People, not images, are drawn with replacement, because the images of one person are not
independent. The intervals are percentile intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
LEVEL = 0.95

CHUNK_SIZE = 1 << 20
"""Numbers in memory at a time while medians are drawn"""


class Interval(NamedTuple):
    """A confidence interval, in the unit of the measured quantity."""

    low: float
    high: float


class SubjectBootstrap:
    """Draws of people, shared by all errors.

    Parameters
    ----------
    subjects
        ``(n,)``: the person in each image.
    rng
        Source of the draws.
    """

    def __init__(
        self, subjects: Sequence[str], rng: np.random.Generator, draws: int = DRAWS
    ) -> None:
        names, self._subject_of_image = np.unique(np.asarray(subjects), return_inverse=True)
        self.subject_count = len(names)
        probability = np.full(self.subject_count, 1.0 / max(self.subject_count, 1))
        self._multiplicity = rng.multinomial(self.subject_count, probability, size=draws)
        """``(draws, subjects)``: how often each draw contains each person"""

    def mean(self, values: NDArray[np.float64]) -> Interval | None:
        """Return the interval of the mean of values ``(n,)`` without NaN; None for one person."""
        known = np.isfinite(values)
        if self.subject_count < 2 or not known.any():
            return None
        sums = np.bincount(self._subject_of_image[known], values[known], self.subject_count)
        counts = np.bincount(self._subject_of_image[known], minlength=self.subject_count)
        drawn = self._multiplicity @ counts
        means = (self._multiplicity @ sums)[drawn > 0] / drawn[drawn > 0]
        return _percentile_interval(means)

    def median(self, values: NDArray[np.float64]) -> Interval | None:
        """Return the interval of the median of values ``(n,)``, which may be infinite."""
        if self.subject_count < 2 or not len(values):
            return None
        order = np.argsort(values, kind="stable")
        ordered, subject = values[order], self._subject_of_image[order]
        chunk = max(1, CHUNK_SIZE // len(values))
        medians = []
        for start in range(0, len(self._multiplicity), chunk):
            multiplicity = self._multiplicity[start : start + chunk]
            cumulative = np.cumsum(multiplicity[:, subject], axis=1)
            below_half = cumulative < cumulative[:, -1:] / 2.0
            medians.append(ordered[below_half.sum(axis=1)])
        return _percentile_interval(np.concatenate(medians))


def _percentile_interval(statistics: NDArray[np.float64]) -> Interval:
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    # "lower" and "higher" pick values that occurred: interpolation would average with infinity.
    low = np.percentile(statistics, tail, method="lower")
    high = np.percentile(statistics, 100.0 - tail, method="higher")
    return Interval(float(low), float(high))
