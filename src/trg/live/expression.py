"""Expressions by ARKit's names, for avatars."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.head_points import LEFT_EYELIDS, RIGHT_EYELIDS

Floats = NDArray[np.float64]

# fmt: off
ARKIT_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft",
    "eyeSquintLeft", "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight",
    "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft",
    "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft",
    "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft", "browDownRight",
    "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)
# fmt: on
"""The 52 blendshapes in the order in which Live Link Face sends them."""

INNER_LIPS = slice(60, 68)

CLOSED_EYE = 0.35
"""Opening of an eye, in those of the mean face, that counts as closed."""
OPEN_MOUTH = 0.6
"""Opening of the mouth, in widths of the inner lips of the mean face, that counts as wide open."""


def expression_of(face: Face) -> dict[str, float]:
    """Return those of ARKit's coefficients that are measured, each 0 to 1.

    The eyes from the 68 landmarks. The others are the ones of :meth:`trg.face.Face.blendshapes`
    that the networks see; on another landmark mesh than the bundled ones, ``jawOpen`` alone, from
    the 68 landmarks.
    """
    values = openings(face)
    with suppress(ValueError):  # another mesh
        values |= face.blendshapes(seen_only=True)
    return values


def openings(face: Face) -> dict[str, float]:
    """Return ``eyeBlinkLeft``, ``eyeBlinkRight`` and ``jawOpen``, each 0 to 1.

    Gaps between the 68 landmarks in the head frame, relative to the mean face's.
    """
    points_m = face.landmarks_m[face.topology.landmarks68]
    mean_m = face.topology.template_m[face.topology.landmarks68].astype(np.float64)
    opening = {
        name: 1.0
        - (_eye_opening(points_m[eye]) / _eye_opening(mean_m[eye]) - CLOSED_EYE)
        / (1.0 - CLOSED_EYE)
        for name, eye in (("eyeBlinkLeft", LEFT_EYELIDS), ("eyeBlinkRight", RIGHT_EYELIDS))
    }
    lips_m, mean_lips_m = points_m[INNER_LIPS], mean_m[INNER_LIPS]
    gap = _gap_m(lips_m[[1, 2, 3]], lips_m[[7, 6, 5]])
    rest = _gap_m(mean_lips_m[[1, 2, 3]], mean_lips_m[[7, 6, 5]])
    width = float(np.linalg.norm(mean_lips_m[4] - mean_lips_m[0]))
    opening["jawOpen"] = (gap - rest) / (OPEN_MOUTH * width)
    return {name: min(max(value, 0.0), 1.0) for name, value in opening.items()}


def _eye_opening(eyelids_m: Floats) -> float:
    """Return the gap of six eyelid landmarks as a fraction of the eye's width."""
    width = float(np.linalg.norm(eyelids_m[3] - eyelids_m[0]))
    return _gap_m(eyelids_m[[1, 2]], eyelids_m[[5, 4]]) / max(width, 1e-6)


def _gap_m(upper_m: Floats, lower_m: Floats) -> float:
    return float(np.linalg.norm(upper_m - lower_m, axis=-1).mean())
