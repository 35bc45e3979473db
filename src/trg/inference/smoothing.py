"""Temporal smoothing of faces with One-Euro filters.

A One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) is a low-pass filter whose cut-off frequency
rises with speed: little jitter at rest, little lag in motion. Here it runs on vectors and, in the
tangent space, on rotations. Time steps come from timestamps, so the frame rate may vary. A repeated
timestamp leaves the state unchanged; a decreasing one resets it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.projection import FACE_BOX_M
from trg.geometry.rotations import orthonormalize, rotation_from_rotvec, rotation_to_rotvec

Floats = NDArray[np.float64]

SPEED_CUTOFF_HZ = 1.0
"""Cut-off of the filter on the speed; its authors found no benefit in tuning it."""


@dataclass(frozen=True, slots=True)
class OneEuroParameters:
    """Parameters of one One-Euro filter."""

    min_cutoff_hz: float
    """Cut-off frequency at rest. Lower: less jitter, more lag at the start of a motion."""
    beta: float
    """Rise of the cut-off per unit of speed. Higher: less lag, more jitter in motion."""

    def __post_init__(self) -> None:
        if not (self.min_cutoff_hz > 0 and self.beta >= 0):
            raise ValueError(
                f"smoothing: expected min_cutoff_hz above 0 and beta of at least 0, got {self}"
            )


PerAxis: TypeAlias = "OneEuroParameters | tuple[OneEuroParameters, ...]"
"""Parameters of all axes together, or those of each axis."""


class OneEuroFilter:
    """One-Euro filter of one vector or point set ``(..., d)``."""

    def __init__(self, parameters: PerAxis) -> None:
        self._parameters = parameters
        self._time_s = -np.inf
        self._value: Floats | None = None
        self._velocity: Floats | None = None

    def smooth(self, value: Floats, time_s: float, unit: float = 1.0) -> Floats:
        """Return the filtered value after the measurement ``value`` at ``time_s``.

        ``unit`` is the length that counts as 1 in the speed that ``beta`` multiplies. The speed of
        a point set is the root mean square over its points. With parameters per axis each axis of
        a vector has its own speed.
        """
        elapsed_s = time_s - self._time_s
        if self._value is None or self._velocity is None or elapsed_s < 0:
            self._value = value
            self._velocity = np.zeros_like(self._difference(value, value))
            self._time_s = time_s
            return value
        if elapsed_s == 0:
            return self._value
        self._time_s = time_s
        change = self._difference(self._value, value)
        alpha = _smoothing_factor(SPEED_CUTOFF_HZ, elapsed_s)
        self._velocity = self._velocity + alpha * (change / elapsed_s - self._velocity)
        self._value = self._add(self._value, self._weight(self._velocity, elapsed_s, unit) * change)
        return self._value

    def _weight(self, velocity: Floats, elapsed_s: float, unit: float) -> Any:
        """Return the weight of the new value, or the weights of its axes."""
        if isinstance(self._parameters, tuple):
            pairs = zip(self._parameters, np.abs(velocity) / unit, strict=True)
            cutoffs_hz = (each.min_cutoff_hz + each.beta * speed for each, speed in pairs)
            return np.array([_smoothing_factor(cutoff_hz, elapsed_s) for cutoff_hz in cutoffs_hz])
        points = velocity.size / velocity.shape[-1]
        speed = math.sqrt(np.vdot(velocity, velocity) / points) / unit
        cutoff_hz = self._parameters.min_cutoff_hz + self._parameters.beta * speed
        return _smoothing_factor(cutoff_hz, elapsed_s)

    def _difference(self, start: Floats, end: Floats) -> Floats:
        return end - start

    def _add(self, start: Floats, change: Floats) -> Floats:
        return start + change


class OneEuroRotationFilter(OneEuroFilter):
    """One-Euro filter of a rotation ``(3, 3)``; differences are rotation vectors, radians."""

    def _difference(self, start: Floats, end: Floats) -> Floats:
        return rotation_to_rotvec(end @ start.T)

    def _add(self, start: Floats, change: Floats) -> Floats:
        return orthonormalize(rotation_from_rotvec(change) @ start)  # rounding would accumulate


@dataclass(frozen=True, slots=True)
class FaceSmoothing:
    """Smoothing parameters of the parts of a face.

    The defaults were tuned on simulated sequences at 30 frames per second with noise of 0.3
    degrees, 0.5 % of a face width, 0.6 % of the distance and 0.2 mm (three times the noise of the
    small network on clean renders). They reduce the frame-to-frame jitter of a still head by
    factors of 5.4, 4.6, 5.9 and 4.8. The lag is 19 ms in a 60 degree head turn within a third of a
    second, 17 ms in a step aside by one face width within half a second, and 10 ms in a lean of 30
    % towards the camera.
    """

    rotation: PerAxis = OneEuroParameters(1.0, 8.0)
    """Speeds in radians per second. Per axis: about the camera's x, y and z, which are pitch, yaw
    and roll of a face that looks into the camera."""
    position: PerAxis = OneEuroParameters(1.5, 8.0)
    """The head's position in the image, ``(x / z, y / z)``; speeds in face widths (0.2 m at the
    head's distance) per second."""
    depth: OneEuroParameters = OneEuroParameters(0.7, 15.0)
    """The logarithm of the distance. It is filtered separately because it is much noisier than the
    position and would raise the position's cut-off."""
    shape: OneEuroParameters = OneEuroParameters(1.5, 200.0)
    """The landmarks in the head frame: identity, which is constant, and expression, which is fast.
    Speeds in metres per second."""


class FaceSmoother:
    """Smooths the faces of one track, frame by frame, and keeps each face self-consistent."""

    def __init__(self, smoothing: FaceSmoothing = FaceSmoothing()) -> None:
        self._rotation = OneEuroRotationFilter(smoothing.rotation)
        self._position = OneEuroFilter(smoothing.position)
        self._depth = OneEuroFilter(smoothing.depth)
        self._shape = OneEuroFilter(smoothing.shape)

    def smooth(self, face: Face, time_s: float) -> Face:
        """Return the face with smoothed pose and shape, and its pixels projected from those.

        Error bars stay those of the frame: most of a network's error, such as a wrong size, is the
        same in all frames of a person, and smoothing does not reduce it.
        """
        depth_m = face.translation_m[2]
        if depth_m <= 0.0:  # beside a very wide lens; its logarithm would leave NaN in the filter
            return face
        position = self._position.smooth(
            face.translation_m[:2] / depth_m, time_s, unit=FACE_BOX_M / depth_m
        )
        rotation = self._rotation.smooth(face.rotation, time_s)
        depth_m = math.exp(self._depth.smooth(np.log(face.translation_m[2:]), time_s)[0])
        landmarks_m = self._shape.smooth(face.landmarks_m, time_s)
        translation_m = np.array([*position.tolist(), 1.0]) * depth_m
        try:
            return replace(
                face, rotation=rotation, translation_m=translation_m, landmarks_m=landmarks_m
            )
        except ValueError:  # very close to the lens, smoothing can move a landmark behind it
            return face


def _smoothing_factor(cutoff_hz: float, elapsed_s: float) -> float:
    """Return the weight of a new value in a first-order low-pass filter."""
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff_hz * elapsed_s))
