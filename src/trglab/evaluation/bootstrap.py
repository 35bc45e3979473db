"""Confidence intervals that know that a person's pictures resemble each other.

People, not pictures, are drawn with replacement (cluster bootstrap): hundreds of frames of one
person are not hundreds of independent trials. Percentile intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
LEVEL = 0.95


class Interval(NamedTuple):
    """Ends of an interval, in the unit of what was measured."""

    low: float
    high: float


class SubjectBootstrap:
    """Draws of people, used for every figure alike.

    Parameters
    ----------
    subjects
        ``(n,)``: who is in each picture.
    rng
        Where the draws come from.
    """

    def __init__(
        self, subjects: Sequence[str], rng: np.random.Generator, draws: int = DRAWS
    ) -> None:
        people, self._person = np.unique(np.asarray(subjects), return_inverse=True)
        self.people = len(people)
        share = np.full(self.people, 1.0 / max(self.people, 1))
        self._times_drawn = rng.multinomial(self.people, share, size=draws)

    def mean(self, values: NDArray[np.float64]) -> Interval | None:
        """Return the interval of the mean of values ``(n,)``, NaN left out; None for one person."""
        known = np.isfinite(values)
        if self.people < 2 or not known.any():
            return None
        sums = np.bincount(self._person[known], values[known], self.people)
        counts = np.bincount(self._person[known], minlength=self.people)
        drawn = self._times_drawn @ counts
        means = (self._times_drawn @ sums)[drawn > 0] / drawn[drawn > 0]
        return _percentiles(means)

    def median(self, values: NDArray[np.float64]) -> Interval | None:
        """Return the interval of the median of values ``(n,)``; infinite ones count as largest."""
        if self.people < 2 or not len(values):
            return None
        order = np.argsort(values, kind="stable")
        ordered, person = values[order], self._person[order]
        medians = np.empty(len(self._times_drawn))
        for draw, times in enumerate(self._times_drawn):
            cumulative = np.cumsum(times[person])
            medians[draw] = ordered[np.searchsorted(cumulative, cumulative[-1] / 2.0)]
        return _percentiles(medians)


def _percentiles(statistics: NDArray[np.float64]) -> Interval:
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    # "lower" and "higher" take a value that occurred: nothing is averaged with infinity.
    low = np.percentile(statistics, tail, method="lower")
    high = np.percentile(statistics, 100.0 - tail, method="higher")
    return Interval(float(low), float(high))
