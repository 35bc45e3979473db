"""Methods that know the truth, for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trg.geometry.rotations import rotation_from_euler, rotation_to_euler
from trglab.datasets.sample import Sample
from trglab.evaluation.prediction import Estimate
from trglab.evaluation.predictions import PredictionMetadata

YAW_DEG, Z_MM = 2.0, 10.0
"""What :func:`disturbed` adds."""


class Known:
    """Answers with labels, changed by ``change``; ``label`` finds the one that was drawn."""

    def __init__(
        self,
        change: Callable[[Estimate], Estimate | None] = lambda estimate: estimate,
        label: Callable[[Sample], Sample] = lambda sample: sample,
        mesh_sha256: str = "",
    ) -> None:
        self._change, self._label = change, label
        self.metadata = PredictionMetadata("known", mesh_sha256=mesh_sha256)

    def estimate(self, samples: Sequence[Sample]) -> list[Estimate | None]:
        estimates = []
        for sample in samples:
            drawn = self._label(sample)
            assert drawn.rotation is not None
            is_metric = sample.translation_m is not None
            estimate = Estimate(
                rotation=drawn.rotation,
                translation_m=drawn.translation_m if is_metric else None,
                vertices_m=drawn.vertices_m if is_metric else None,
                landmarks68_px=sample.landmarks68_px,
                box_xyxy=sample.box_xyxy,
            )
            estimates.append(self._change(estimate))
        return estimates


def disturbed(estimate: Estimate) -> Estimate:
    """Turn the head's yaw further and move the head away."""
    yaw, pitch, roll = rotation_to_euler(estimate.rotation)
    rotation = rotation_from_euler(np.array([yaw + YAW_DEG, pitch, roll]))
    if estimate.translation_m is None:
        return estimate._replace(rotation=rotation)
    moved = estimate.translation_m + np.array([0.0, 0.0, Z_MM / 1000.0])
    return estimate._replace(rotation=rotation, translation_m=moved)
