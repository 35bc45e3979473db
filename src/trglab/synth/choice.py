"""Random choice with named probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def choose(rng: np.random.Generator, probabilities: Mapping[T, float]) -> T:
    """Draw a key of ``probabilities``, whose values sum to 1."""
    values = list(probabilities.values())
    return list(probabilities)[int(rng.choice(len(values), p=values))]
