"""Prediction of a pose by up to one frame, against the delay of camera and network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotation_from_rotvec, rotation_to_rotvec

Floats = NDArray[np.float64]

MAX_GAP_S = 0.25
"""After a gap as long as this the speed is unknown."""
SPEED_WEIGHT = 0.5
"""Weight of the newest speed in their running mean, which limits the noise that is added."""


class PosePredictor:
    """Extrapolates the pose of one person at constant speed.

    Parameters
    ----------
    frames
        How far, in frames: 0 to 1.

    Raises
    ------
    ValueError
        ``frames`` is out of range.
    """

    def __init__(self, frames: float) -> None:
        if not 0.0 <= frames <= 1.0:
            raise ValueError(f"prediction: expected 0 to 1 frames, got {frames:g}")
        self._frames = frames
        self._pose: Floats | None = None
        self._velocity = np.zeros(6)
        self._time_s = 0.0
        self._id: int | None = None

    def predict(self, pose: Floats, person_id: int | None, time_s: float) -> Floats:
        """Return the pose ``(4, 4)`` that is expected a little later than ``time_s``."""
        elapsed_s = time_s - self._time_s
        if self._pose is None or person_id != self._id or not 0.0 < elapsed_s <= MAX_GAP_S:
            self._velocity, elapsed_s = np.zeros(6), 0.0
        else:
            change = np.concatenate(
                [
                    rotation_to_rotvec(pose[:3, :3] @ self._pose[:3, :3].T),
                    pose[:3, 3] - self._pose[:3, 3],
                ]
            )
            self._velocity += SPEED_WEIGHT * (change / elapsed_s - self._velocity)
        self._pose, self._time_s, self._id = pose, time_s, person_id
        ahead = self._frames * elapsed_s * self._velocity
        predicted = pose.copy()
        predicted[:3, :3] = rotation_from_rotvec(ahead[:3]) @ pose[:3, :3]
        predicted[:3, 3] += ahead[3:]
        return predicted
