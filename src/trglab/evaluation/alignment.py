"""What is constant between two data sets' head frames, measured and taken out.

Data sets put the head's axes and origin elsewhere: ``X_head_true = A @ X_head_pred + o`` with one
turn A and one offset o for all pictures. A network that was trained on one and is scored on the
other carries both as an error. Cobo et al. 2024 (reference 9 of the paper) estimate the turn as the
mean of the rotations between predictions and labels, and also report errors after removing it; the
offset of the origins is treated here in the same way. Both are estimated on the very pictures that
are scored, so that aligned figures are a lower bound, and are always labelled as aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import nearest_rotation

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The constants between predicted and labelled heads.

    ``rotation`` ``(3, 3)`` is the mean of ``R_true.T @ R_pred``; ``offset_m`` ``(3,)`` the mean of
    where the predicted origin lies, in the labelled head frame; None without translations.
    """

    rotation: Floats
    offset_m: Floats | None

    def apply(
        self, rotation_pred: Floats, translation_pred_m: Floats | None
    ) -> tuple[Floats, Floats | None]:
        """Return rotations ``(n, 3, 3)`` and translations ``(n, 3)`` without the constants."""
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
    """Estimate the constants from poses ``(n, 3, 3)`` and ``(n, 3)``, n at least 1.

    The offset is the least-squares one for the aligned rotations.
    """
    mean = mean_rotation(rotation_true.swapaxes(-1, -2) @ rotation_pred)
    if translation_pred_m is None or translation_true_m is None:
        return Alignment(mean, None)
    aligned = rotation_pred @ mean.T
    offsets = np.einsum("nji,nj->ni", aligned, translation_pred_m - translation_true_m)
    return Alignment(mean, offsets.mean(0))


def mean_rotation(rotations: Floats) -> Floats:
    """Return the rotation with the least squared distance (Frobenius) to ``(n, 3, 3)``.

    The chordal mean (Hartley et al. 2013): the mean matrix, projected onto SO(3).
    """
    return nearest_rotation(rotations.mean(0))
