"""Confidence of an estimate: the probability that its landmarks lie on a face.

The network locates 68 landmarks in two ways: by heatmaps, and by projecting the regressed head. On
a face the two agree; elsewhere they rarely do. A logistic regression on their disagreement, on the
heatmaps' peaks and on the fit of the head to its box gives the probability.
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
"""Inputs of the regression, defined in :func:`confidence_features`."""

CARD_KEY = "confidence"
"""Key of the fitted regression in a weight card's ``training``."""

WORST_FEATURES = (1.0, 7.0, 7.0, -9.0, 7.0, 3.0)
"""Features of estimates that are not finite; their confidence is about 0."""

LARGEST_LOGIT = 9.0
"""Clips confidence to 1e-4 from 0 and 1: a fit to a few thousand samples supports no more."""


@dataclass(frozen=True, slots=True)
class ConfidenceModel:
    """A logistic regression on :data:`FEATURES`, fitted by ``trg calibrate``."""

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        finite_array("confidence weights", self.weights, (len(FEATURES),))

    @classmethod
    def from_training(cls, training: Mapping[str, Any]) -> ConfidenceModel:
        """Return the regression stored on a weight card, or :data:`UNCALIBRATED` if there is none.

        Raises ValueError if the card names other features than :data:`FEATURES`.
        """
        stored = training.get(CARD_KEY)
        if stored is None:
            return UNCALIBRATED
        if set(stored) != set(FEATURES):  # order differs: cards are sorted
            raise ValueError(
                f"weight card, {CARD_KEY}: expected weights for {FEATURES}, got {tuple(stored)}; "
                "fit them again"
            )
        return cls(tuple(float(stored[name]) for name in FEATURES))

    def to_dict(self) -> dict[str, float]:
        """Return the weights by name, for a weight card."""
        return dict(zip(FEATURES, self.weights, strict=True))

    def predict(self, features: Floats) -> Floats:
        """Return probabilities ``(b,)`` for features ``(b, 6)``."""
        logit = features @ np.array(self.weights)
        return 1.0 / (1.0 + np.exp(-np.minimum(np.maximum(logit, -LARGEST_LOGIT), LARGEST_LOGIT)))


UNCALIBRATED = ConfidenceModel((8.7, -0.7, -3.0, 13.3, -17.5, -3.2))
"""For weights without a fit: ``trg calibrate --images 350`` on a small, half-trained network.
It ranks estimates well; as probabilities its values are rough."""


def confidence_features(arrays: PoseArrays, landmarks68: NDArray[np.int32]) -> Floats:
    """Return the regression's features, ``(b, 6)``, in the order of :data:`FEATURES`.

    Distances are fractions of the crop box's side:

    * bias: 1;
    * disagreement: log of the median distance between heatmap landmark and projected landmark;
    * tail: log of the 90th percentile of these distances;
    * peak: log of the mean heatmap peak;
    * side: absolute log ratio of the sides of the landmarks' box and the crop box;
    * offset: distance between the centres of the two boxes.
    """
    projected = arrays.vertices_crop[:, landmarks68].astype(np.float64) / 2.0
    off = projected - arrays.landmarks68_crop / 2.0
    distance = np.hypot(off[..., 0], off[..., 1])
    distance.sort(axis=1)  # NaN comes last
    low, high = projected.min(1), projected.max(1)
    centre = (low + high) / 2.0
    peak = arrays.peaks.sum(1, dtype=np.float64) / arrays.peaks.shape[1]
    features = np.empty((len(distance), len(FEATURES)))
    features[:, 0] = 1.0
    features[:, 1] = np.log(distance[:, 34] + 1e-3)
    features[:, 2] = np.log(distance[:, 61] + 1e-3)
    features[:, 3] = np.log(np.maximum(peak, 1e-4))
    side = np.minimum(np.maximum(BOX_MARGIN * (high - low).max(-1), 1e-3), 1e3)
    features[:, 4] = np.abs(np.log(side))
    features[:, 5] = np.minimum(np.hypot(centre[:, 0], centre[:, 1]), 3.0)
    if not np.isfinite(features.sum()):
        features[~np.isfinite(features).all(1)] = WORST_FEATURES
    return features
