"""One-Euro smoothing of faces over time: calm while a head is still, close behind when it moves.

A low-pass filter whose cut-off frequency rises with speed (Casiez, Roussel and Vogel, CHI 2012),
on vectors and, in the tangent space, on rotations. It goes by timestamps, so that frames may come
at any rate; a repeated timestamp changes nothing, and time that runs backwards starts afresh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.projection import FACE_BOX_M
from trg.geometry.rotations import (
    rotation_from_6d,
    rotation_from_rotvec,
    rotation_to_6d,
    rotation_to_rotvec,
)

Floats = NDArray[np.float64]

SPEED_CUTOFF_HZ = 1.0
"""For the estimate of the speed itself; the filter's authors found no use in changing it."""


@dataclass(frozen=True, slots=True)
class SmoothingStrength:
    """How one quantity is smoothed.

    Attributes
    ----------
    min_cutoff_hz
        Cut-off frequency at rest. Lower: calmer, and slower to start moving.
    beta
        How much the cut-off rises per unit of speed. Higher: less lag, more jitter in motion.
    """

    min_cutoff_hz: float
    beta: float

    def __post_init__(self) -> None:
        if not (self.min_cutoff_hz > 0 and self.beta >= 0):
            raise ValueError(
                f"smoothing: expected min_cutoff_hz above 0 and beta of at least 0, got {self}"
            )


class OneEuro:
    """Smooths one vector, or one cloud of points, of any shape ``(..., d)``."""

    def __init__(self, strength: SmoothingStrength) -> None:
        self._strength = strength
        self._time_s = -np.inf
        self._value: Floats | None = None
        self._velocity: Floats | None = None

    def __call__(self, value: Floats, time_s: float, unit: float = 1.0) -> Floats:
        """Take the next measurement and return the smoothed value.

        Parameters
        ----------
        unit
            The length in which ``beta`` counts the speed. That of a cloud is its points' root mean
            square.
        """
        elapsed_s = time_s - self._time_s
        if self._value is None or self._velocity is None or elapsed_s < 0:
            self._value = value
            self._velocity = np.zeros_like(self._change(value, value))
            self._time_s = time_s
            return value
        if elapsed_s == 0:
            return self._value
        self._time_s = time_s
        change = self._change(self._value, value)
        share = _share_of_new(SPEED_CUTOFF_HZ, elapsed_s)
        self._velocity = self._velocity + share * (change / elapsed_s - self._velocity)
        speed = float(np.sqrt((self._velocity**2).sum(-1).mean())) / unit
        cutoff_hz = self._strength.min_cutoff_hz + self._strength.beta * speed
        self._value = self._moved(self._value, _share_of_new(cutoff_hz, elapsed_s) * change)
        return self._value

    def _change(self, start: Floats, end: Floats) -> Floats:
        return end - start

    def _moved(self, start: Floats, change: Floats) -> Floats:
        return start + change


class OneEuroRotation(OneEuro):
    """Smooths a rotation ``(3, 3)``; speeds are radians per second."""

    def _change(self, start: Floats, end: Floats) -> Floats:
        return rotation_to_rotvec(end @ start.T)

    def _moved(self, start: Floats, change: Floats) -> Floats:
        moved = rotation_from_rotvec(change) @ start
        return rotation_from_6d(rotation_to_6d(moved))  # rounding must not add up over hours


@dataclass(frozen=True, slots=True)
class FaceSmoothing:
    """How strongly the parts of a face are smoothed.

    Attributes
    ----------
    rotation
        Speeds in radians per second.
    sight
        The head's place in the picture, ``(x / z, y / z)``; speeds in face widths (0.2 m at the
        head's distance) per second.
    depth
        The logarithm of the distance: it trembles far more than the sight does, and is smoothed by
        itself so that its tremble does not open the other's filter.
    shape
        The landmarks in head space: identity, which is constant, and expression, which is quick.
        Speeds in metres per second.

    The defaults come from simulated sequences at 30 frames per second, with noise of 0.3 degrees,
    0.5 % of a face width, 0.6 % of the distance and 0.2 mm (three times what the small network
    shows on clean renders). A still head's jitter from frame to frame falls 5.4, 4.6, 5.9 and 4.8
    times. A look to the side by 60 degrees in a third of a second is followed 19 ms late, a step
    aside by one face width in half a second 17 ms, a lean of 30 % towards the camera 10 ms.
    """

    rotation: SmoothingStrength = SmoothingStrength(1.0, 8.0)
    sight: SmoothingStrength = SmoothingStrength(1.5, 8.0)
    depth: SmoothingStrength = SmoothingStrength(0.7, 15.0)
    shape: SmoothingStrength = SmoothingStrength(1.5, 200.0)


class FaceSmoother:
    """Smooths one person's faces, one after the other, so that all their numbers still agree."""

    def __init__(self, smoothing: FaceSmoothing = FaceSmoothing()) -> None:
        self._rotation = OneEuroRotation(smoothing.rotation)
        self._sight = OneEuro(smoothing.sight)
        self._depth = OneEuro(smoothing.depth)
        self._shape = OneEuro(smoothing.shape)

    def __call__(self, face: Face, time_s: float) -> Face:
        """Return the face with smoothed pose and shape, and its pixels projected from those."""
        depth_m = face.translation_m[2]
        sight = face.translation_m[:2] / depth_m
        rotation = self._rotation(face.rotation, time_s)
        sight = self._sight(sight, time_s, unit=FACE_BOX_M / depth_m)
        depth_m = np.exp(self._depth(np.log(face.translation_m[2:]), time_s)[0])
        landmarks_m = self._shape(face.landmarks_m, time_s)
        translation_m = np.append(sight, 1.0) * depth_m
        try:
            return Face.from_pose(
                rotation,
                translation_m,
                landmarks_m,
                face.confidence,
                face.camera,
                face.topology,
                face.id,
                face.time_s,
            )
        except ValueError:  # right before the lens; the smoothed head has no picture
            return face


def _share_of_new(cutoff_hz: float, elapsed_s: float) -> float:
    """Return the weight of a new value in a first-order low-pass filter."""
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff_hz * elapsed_s))
