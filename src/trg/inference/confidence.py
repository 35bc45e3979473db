"""How much an estimate is to be trusted: do two ways through the network agree?

The heatmaps find 68 points by looking at each; the regressor predicts a whole head, whose 68
points are projected. On a face the two fall together; on anything else they have no reason to. A
logistic regression on that disagreement, on how sharp the heatmaps are, and on whether the head
fills its box as faces do, gives a probability: that of the head's points lying on a face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.geometry.crop import BOX_MARGIN
from trg.inference.runtime import PoseArrays

Floats = NDArray[np.float64]

FEATURES = ("bias", "disagreement", "tail", "peak", "side", "offset")
"""What the regression sees; :func:`confidence_features` says what each is."""

CARD_KEY = "confidence"
"""Where a weight card's training facts hold the regression that was fitted to those weights."""

WORST = (1.0, 7.0, 7.0, -9.0, 7.0, 3.0)
"""Features that are no face's, for estimates with numbers that are not finite."""

LARGEST_LOGIT = 9.0
"""A few thousand samples cannot tell more than one error in ten thousand."""


@dataclass(frozen=True, slots=True)
class ConfidenceModel:
    """A logistic regression on :data:`FEATURES`, fitted by :mod:`trglab.evaluation.calibration`."""

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        finite_array("confidence weights", self.weights, (len(FEATURES),))

    @classmethod
    def from_training_facts(cls, facts: Mapping[str, Any]) -> ConfidenceModel:
        """Return the regression on a weight card, or one of an earlier network if there is none.

        Raises
        ------
        ValueError
            The card holds other features than this version computes.
        """
        stored = facts.get(CARD_KEY)
        if stored is None:
            return UNCALIBRATED
        if set(stored) != set(FEATURES):  # a card's entries are sorted by name
            raise ValueError(
                f"weight card, {CARD_KEY}: expected weights for {FEATURES}, got {tuple(stored)}; "
                "fit them again"
            )
        return cls(tuple(float(stored[name]) for name in FEATURES))

    def to_facts(self) -> dict[str, float]:
        """Return the weights by name, for a weight card."""
        return dict(zip(FEATURES, self.weights, strict=True))

    def __call__(self, features: Floats) -> Floats:
        """Return probabilities ``(b,)`` for features ``(b, 6)``."""
        logit = features @ np.array(self.weights)
        return 1.0 / (1.0 + np.exp(-np.clip(logit, -LARGEST_LOGIT, LARGEST_LOGIT)))


UNCALIBRATED = ConfidenceModel((8.7, -0.7, -3.0, 13.3, -17.5, -3.2))
"""For weights whose card says nothing: what ``trg calibrate --pictures 350`` fitted to a small
network half way through its training. The order is right, the probabilities are rough."""


def confidence_features(arrays: PoseArrays, landmarks68: NDArray[np.int32]) -> Floats:
    """Return the regression's features, ``(b, 6)``, in the order of :data:`FEATURES`.

    Distances are in sides of the box:

    * bias: 1;
    * disagreement: logarithm of the median distance between heatmap point and projected point;
    * tail: logarithm of the ninth decile of the same distances;
    * peak: logarithm of the heatmaps' mean peak;
    * side: logarithm of the side of the head's own box over the box it was seen in, without sign;
    * offset: distance between the two boxes' centres.
    """
    projected = arrays.vertices_crop[:, landmarks68].astype(np.float64) / 2.0
    apart = np.sqrt(((projected - arrays.landmarks68_crop / 2.0) ** 2).sum(-1))
    apart.sort(axis=1)  # NaN comes last
    low, high = projected.min(1), projected.max(1)
    middle = (low + high) / 2.0
    features = np.empty((len(apart), len(FEATURES)))
    features[:, 0] = 1.0
    features[:, 1] = np.log(apart[:, 34] + 1e-3)
    features[:, 2] = np.log(apart[:, 61] + 1e-3)
    features[:, 3] = np.log(np.maximum(arrays.peaks.mean(1, dtype=np.float64), 1e-4))
    features[:, 4] = np.abs(np.log(np.clip(BOX_MARGIN * (high - low).max(-1), 1e-3, 1e3)))
    features[:, 5] = np.minimum(np.sqrt((middle**2).sum(-1)), 3.0)
    features[~np.isfinite(features).all(1)] = WORST
    return features


def fit_logistic(
    features: Floats, is_right: NDArray[np.bool_], ridge: float = 1e-2, steps: int = 50
) -> Floats:
    """Return the weights ``(k,)`` of a logistic regression, by Newton's method.

    Parameters
    ----------
    features
        ``(n, k)``, the first column 1.
    is_right
        ``(n,)``.
    ridge
        Penalty on the squared weights of standardised features, but not on the bias, over the
        whole sum: keeps weights finite where the features separate the classes.

    Raises
    ------
    ValueError
        All samples are right, or all are wrong.
    """
    if is_right.all() or not is_right.any():
        raise ValueError(f"is_right: expected both kinds, got {int(is_right.sum())} right")
    mean, spread = features.mean(0), features.std(0)
    mean[0], spread[0] = 0.0, 1.0
    spread = np.where(spread > 0, spread, 1.0)
    standard = (features - mean) / spread
    penalty = np.full(features.shape[1], ridge * len(features) / 100.0)
    penalty[0] = 0.0
    weights = np.zeros(features.shape[1])
    for _ in range(steps):
        probability = 1.0 / (1.0 + np.exp(-np.clip(standard @ weights, -30.0, 30.0)))
        slope = standard.T @ (is_right - probability) - penalty * weights
        curvature = probability * (1.0 - probability) + 1e-9
        hessian = (standard * curvature[:, None]).T @ standard + np.diag(penalty)
        weights = weights + np.linalg.solve(hessian, slope)
    weights = weights / spread
    weights[0] -= weights[1:] @ mean[1:]
    return weights


def reliability(
    confidence: Floats, is_right: NDArray[np.bool_], bins: int = 10
) -> list[tuple[float, float, int]]:
    """Return, per occupied bin of confidence: its mean, the share that is right, and the count."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        (float(confidence[place == i].mean()), float(is_right[place == i].mean()), int(count))
        for i, count in enumerate(np.bincount(place, minlength=bins))
        if count
    ]
