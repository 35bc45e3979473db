"""Calibration of error bars: one factor per quantity, fitted by ``trg calibrate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.error_bars import QUANTITIES, STD_COUNT, ErrorBars

CARD_KEY = "error_bars"
"""Key of the factors in a weight card's ``training``."""


@dataclass(frozen=True, slots=True)
class ErrorBarCalibration:
    """Factors on a network's standard deviations, one for each of :data:`QUANTITIES`."""

    factors: tuple[float, ...] = (1.0,) * len(QUANTITIES)

    def __post_init__(self) -> None:
        factors = finite_array("error bar factors", self.factors, (len(QUANTITIES),))
        if factors.min() <= 0.0:
            raise ValueError(f"error bar factors: expected numbers above 0, got {factors.min()}")

    @classmethod
    def from_training(cls, training: Mapping[str, Any]) -> ErrorBarCalibration:
        """Return the factors on a weight card; all 1 if there are none.

        Raises ValueError if the card names other quantities than :data:`QUANTITIES`.
        """
        stored = training.get(CARD_KEY)
        if stored is None:
            return cls()
        if set(stored) != set(QUANTITIES):  # order differs: cards are sorted
            raise ValueError(
                f"weight card, {CARD_KEY}: expected factors for {tuple(QUANTITIES)}, got "
                f"{tuple(stored)}; calibrate the bundle again"
            )
        return cls(tuple(float(stored[name]) for name in QUANTITIES))

    def to_dict(self) -> dict[str, float]:
        """Return the factors by quantity, for a weight card."""
        return dict(zip(QUANTITIES, self.factors, strict=True))

    def error_bars(self, std: NDArray[np.floating]) -> ErrorBars:
        """Return the calibrated error bars of one face, ``(86,)`` from the network."""
        return ErrorBars(std * _by_number(self.factors))


@lru_cache
def _by_number(factors: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the factor of each of the 86 numbers."""
    result = np.empty(STD_COUNT)
    for part, factor in zip(QUANTITIES.values(), factors, strict=True):
        result[part] = factor
    return result
