"""Removal of constant differences between two data sets' head frames.

Data sets define the axes and the origin of the head differently:
``X_head_true = A @ X_head_pred + o`` with one rotation A and one offset o for all images. A network
trained on one data set and evaluated on another carries both as an error. Cobo et al. 2024
(reference 9 of the paper) estimate A as the mean rotation between predictions and labels and also
report errors without it; the offset is treated in the same way here. Both are estimated on the
images that are scored, so that aligned errors are a lower bound and are always labelled as aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import nearest_rotation

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Constant transform from the predicted to the labelled head frame.

    ``rotation`` ``(3, 3)`` is the mean of ``R_true.T @ R_pred``; ``offset_m`` ``(3,)`` is the mean
    position of the predicted origin in the labelled head frame, None without translations.
    """

    rotation: Floats
    offset_m: Floats | None

    def apply(
        self, rotation_pred: Floats, translation_pred_m: Floats | None
    ) -> tuple[Floats, Floats | None]:
        """Return poses ``(n, 3, 3)`` and ``(n, 3)`` of the labelled head frame."""
        rotation = rotation_pred @ self.rotation.T
        if translation_pred_m is None or self.offset_m is None:
            return rotation, None
        return rotation, translation_pred_m - rotation @ self.offset_m


def align(
    rotation_pred: Floats,
    rotation_true: Floats,
    translation_pred_m: Floats | None = None,
    translation_true_m: Floats | None = None,
) -> Alignment:
    """Estimate the alignment from poses ``(n, 3, 3)`` and ``(n, 3)``, n at least 1.

    The offset is the least-squares solution for the aligned rotations.
    """
    mean = mean_rotation(rotation_true.swapaxes(-1, -2) @ rotation_pred)
    if translation_pred_m is None or translation_true_m is None:
        return Alignment(mean, None)
    aligned = rotation_pred @ mean.T
    offsets = np.einsum("nji,nj->ni", aligned, translation_pred_m - translation_true_m)
    return Alignment(mean, offsets.mean(0))


def mean_rotation(rotations: Floats) -> Floats:
    """Return the rotation with the least squared Frobenius distance to ``(n, 3, 3)``.

    The chordal mean (Hartley et al. 2013): the mean matrix, projected onto SO(3).
    """
    return nearest_rotation(rotations.mean(0))
