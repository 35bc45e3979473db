"""A person's size, remembered over the images of one identity.

A single image hardly tells a large head far away from a small one near by, but a person's size is
constant. The memory holds the posterior of the logarithm of the face's size on a grid. Each view
counts by its own uncertainty and by how much is new in it since the last view. Its error has
Student's t-distribution, so that outliers hardly count. Old views are slowly forgotten.

A face gets the person's size by a scaling about the camera's centre: size and distance change
together, and no pixel moves. The angular size, and with it all true motion in depth, comes from the
frame alone, so that the memory adds no lag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.error_bars import INTERPUPILLARY_STD
from trg.face import Face

CORRELATION_S = 0.3
"""Time in which the errors of a moving head's sizes fall to 1/e of their correlation."""

FORGET_S = 60.0
"""Time in which a view's weight falls to 1/e."""

COMMON_STD = 0.04
"""Relative error of the size that all views of a person share, which no memory reduces: 0.041
between 40 people in clips, 0.044 between 250 in single images (docs/results.md)."""

VIEW_STD, DOUBT, DOUBT_POWER = 0.0137, 1e-3, 0.21
"""Relative error of the size in a view of the confidence 1 - DOUBT, apart from the common one, and
the power of the doubt with which it grows. Fitted to synthetic clips; the size in the image and the
yaw add nothing to the confidence."""

LEAST_STD = 0.005
"""Of a view with error bars."""

EYES_STD = 0.03
"""Relative error of the eyes' estimated distance in a view without error bars."""

DEGREES_OF_FREEDOM = 4.0
"""Of Student's t-distribution."""

OFFSETS = np.linspace(-0.3, 0.3, 241)
"""The grid of log sizes, from that of the first view."""


class SizeEstimate(NamedTuple):
    """A person's size."""

    log_size: float
    """Of :func:`log_face_size`."""
    std: float
    """Standard deviation of the person's views' mean; the error they share is not in it."""
    common_std: float = COMMON_STD
    """The error they share."""

    @property
    def total_std(self) -> float:
        """Relative standard deviation of the person's true size."""
        return math.hypot(self.std, self.common_std)


class SizeMemory:
    """Posterior of one person's face size.

    Parameters
    ----------
    known
        The size from an earlier pass over the same images; further views do not change it.
    interpupillary_m
        The person's distance between the pupils: each view then tells the size of a face with that
        distance.
    """

    def __init__(
        self, known: SizeEstimate | None = None, interpupillary_m: float | None = None
    ) -> None:
        self._known = known
        self._interpupillary_m = interpupillary_m
        self._log_sizes = OFFSETS
        self._log_likelihood: NDArray[np.float64] | None = None
        """``(n,)``, of the sizes of the grid."""
        self._time_s = -math.inf

    @property
    def estimate(self) -> SizeEstimate | None:
        """The person's size; None before the first view."""
        if self._known is not None or self._log_likelihood is None:
            return self._known
        share = np.exp(self._log_likelihood - self._log_likelihood.max())
        share /= share.sum()
        mean = float(share @ self._log_sizes)
        common_std = COMMON_STD if self._interpupillary_m is None else INTERPUPILLARY_STD
        std = math.sqrt(float(share @ (self._log_sizes - mean) ** 2))
        return SizeEstimate(mean, std, common_std)

    def remember(self, face: Face, time_s: float | None = None) -> Face:
        """Add a view of the person, and return it in the person's size.

        ``time_s`` is the time of its video frame; None for a photo, whose errors are independent of
        those of others.
        """
        log_size = log_face_size(face)
        if self._known is None:
            seen, std = log_size, view_std(face)
            if self._interpupillary_m is not None:
                sized = face.with_interpupillary(self._interpupillary_m)
                seen, std = log_face_size(sized), eyes_std(face)
            self.add(seen, std, time_s)
        size = self.estimate
        assert size is not None
        return face.with_person_size(math.exp(size.log_size - log_size), size.total_std)

    def add(self, log_size: float, std: float, time_s: float | None = None) -> None:
        """Update the posterior with a view whose size has a standard deviation of its own."""
        elapsed_s = 0.0 if time_s is None else max(time_s - self._time_s, 0.0)
        novelty = 1.0
        if self._log_likelihood is None:
            self._log_sizes = log_size + OFFSETS
            self._log_likelihood = np.zeros(len(OFFSETS))
        elif time_s is not None:
            # Of many values with the correlation r from each to the next, each tells as much as
            # (1 - r) / (1 + r) independent ones.
            novelty = math.tanh(0.5 * elapsed_s / CORRELATION_S)
            self._log_likelihood *= math.exp(-elapsed_s / FORGET_S)
        if time_s is not None:
            self._time_s = time_s
        off = (self._log_sizes - log_size) / std
        power = 0.5 * (DEGREES_OF_FREEDOM + 1.0)
        self._log_likelihood -= novelty * power * np.log1p(off * off / DEGREES_OF_FREEDOM)


def largest_face(faces: Sequence[Face]) -> int:
    """Return the index of the face that is largest in the image; there is at least one."""
    return int(np.argmax([face.box_xyxy[2] - face.box_xyxy[0] for face in faces]))


def in_one_size(faces: Sequence[Face], size: SizeEstimate | None) -> list[Face]:
    """Return the faces of a photo of some person: the largest in their size, others as they are."""
    result = list(faces)
    if result and size is not None:
        index = largest_face(result)
        result[index] = SizeMemory(size).remember(result[index])
    return result


def log_face_size(face: Face) -> float:
    """Return the logarithm of the root mean square distance of the landmarks from their mean."""
    points_m = face.landmarks_m
    count = len(points_m)
    mean_m = np.ones(count) @ points_m / count  # faster than points_m.mean(0)
    return 0.5 * math.log(np.vdot(points_m, points_m) / count - mean_m @ mean_m)


def eyes_std(face: Face) -> float:
    """Return the standard deviation of the estimated distance between the pupils over the size."""
    if face.error_bars is None:
        return EYES_STD
    return max(face.error_bars.eyes_std(face.interpupillary_m), LEAST_STD)


def view_std(face: Face) -> float:
    """Return the standard deviation of a face's :func:`log_face_size`, about the person's mean.

    From the face's error bars; without them, from its confidence.
    """
    if face.error_bars is not None:
        along, along_sized = (float(face.error_bars[name][0]) for name in ("along", "along_sized"))
        return math.sqrt(max(along**2 - along_sized**2 - COMMON_STD**2, LEAST_STD**2))
    return VIEW_STD * (max(1.0 - face.confidence, 1e-4) / DOUBT) ** DOUBT_POWER
