"""Which person a face is, by its shape and by the colours of its skin and features.

A signature is the shape of the face without its size, and the image's colours at the landmarks. The
difference of two faces is the product of the differences of both: another person has another shape
and other colours, while a turn of the head, an expression or a shadow changes mostly one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.projection import transform

Floats = NDArray[np.float64]

POINT_STEP = 10
"""Every tenth landmark is part of a signature."""

OTHER_DIFFERENCE = 0.08
"""Least difference of two people. On synthetic clips and two real ones, faces of one person in
successive frames differ by at most 0.062, and those before and after a cut to another person in the
same pose and light by at least 0.104."""

BRIDGED_DIFFERENCE = 0.15
"""The same for a face that reappears soon, at the same place: its pose may have changed."""

CLEARLY = 0.6
"""A person is recognised if the difference is less than this share of that from anybody else."""

AVERAGED_FRAMES = 30
"""Number of frames over which signatures are averaged."""


@dataclass(frozen=True, eq=False)
class Signature:
    """What tells people apart, at k landmarks."""

    shape: Floats
    """``(k, 3)``, with a root mean square distance of 1 from the mean."""
    colours: Floats
    """``(k, 3)``, RGB from 0 to 255."""

    @classmethod
    def of(cls, face: Face, image: NDArray[np.uint8]) -> Signature:
        """Return the signature of a face in its image ``(h, w, 3)``."""
        points_m = face.landmarks_m[::POINT_STEP]
        count = len(points_m)
        shape = points_m - np.ones(count) @ points_m / count  # faster than points_m.mean(0)
        points_px = face.camera.project(transform(points_m, face.rotation, face.translation_m))
        height, width = image.shape[:2]
        inside = np.minimum(np.maximum(points_px, 0.0), (width - 1.0, height - 1.0))
        column, row = inside.astype(np.intp).T
        scale = math.sqrt(count / np.vdot(shape, shape))
        return cls(shape * scale, image[row, column].astype(np.float64))

    @cached_property
    def pattern(self) -> Floats:
        """The brightness ``(k,)`` with mean 0 and length 1."""
        brightness = self.colours @ np.ones(3)
        brightness -= brightness.sum() / len(brightness)
        result: Floats = brightness / max(math.sqrt(brightness @ brightness), 1e-6)
        return result

    def difference(self, other: Signature) -> float:
        """Return how much two faces differ: 0 for equal ones, about 0.2 for two people."""
        moved = self.shape - other.shape
        shape = float(np.vdot(moved, moved)) / len(moved)
        changed = np.abs(self.colours - other.colours)
        colours = max(float(changed.sum()) / changed.size, 1.0)
        pattern = 1.0 - float(self.pattern @ other.pattern)
        return math.sqrt(shape * colours * max(pattern, 0.0))

    def towards(self, other: Signature, share: float) -> Signature:
        """Return the mean of this one and a share of the other."""
        return Signature(
            self.shape + share * (other.shape - self.shape),
            self.colours + share * (other.colours - self.colours),
        )


@dataclass(slots=True)
class Person:
    """Somebody who was seen in a video."""

    signature: Signature
    """The mean of the last frames."""
    last_signature: Signature
    last_face: Face
    last_time_s: float
    frames: int = 1

    def see(self, signature: Signature, face: Face, time_s: float) -> None:
        """Add a frame."""
        self.frames = min(self.frames + 1, AVERAGED_FRAMES)
        self.signature = self.signature.towards(signature, 1.0 / self.frames)
        self.last_signature, self.last_face, self.last_time_s = signature, face, time_s

    def is_like(self, signature: Signature, limit: float) -> bool:
        """Return whether a face differs from the last one, or else from the mean, by less."""
        return (
            self.last_signature.difference(signature) < limit
            or self.signature.difference(signature) < limit
        )

    def difference(self, signature: Signature) -> float:
        """Return how much a face differs from the mean or the last one, whichever it is nearer."""
        return min(self.signature.difference(signature), self.last_signature.difference(signature))


def recognize(
    signature: Signature, people: Mapping[int, Person], nearby: Iterable[int] = ()
) -> int | None:
    """Return the id of the person whom a new face shows; None if that is not sure.

    Parameters
    ----------
    people
        Those who are not in the picture.
    nearby
        The ids of those who were lost a short while ago at the same place.
    """
    differences = {number: person.difference(signature) for number, person in people.items()}
    if not differences:
        return None
    best = min(differences, key=lambda number: differences[number])
    others = [value for number, value in differences.items() if number != best]
    limit = BRIDGED_DIFFERENCE if best in set(nearby) else OTHER_DIFFERENCE
    is_sure = differences[best] < min(limit, CLEARLY * min(others, default=float("inf")))
    return best if is_sure else None
