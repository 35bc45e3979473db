"""How many true values lie within the reported standard deviations.

Quantities, and the errors that their standard deviations describe, are those of
:mod:`trg.error_bars`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.error_bars import QUANTITIES, STD_COUNT
from trg.geometry.crop import BOX_MARGIN
from trg.geometry.face_mesh import LANDMARK_GROUPS
from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between, rotation_to_rotvec
from trglab.evaluation.ground_truth import GroundTruth
from trglab.evaluation.metrics import size_ratio
from trglab.evaluation.predictions import Predictions

Floats = NDArray[np.float64]

WITHIN_ONE, WITHIN_TWO = 0.6827, 0.9545
"""Shares of a normal distribution within one and two standard deviations."""

ComponentErrors = Sequence[Floats]
"""For each of the 86 standard deviations, the errors ``(n, c)`` that it describes: of n faces, each
with c components."""


class FaceArrays(NamedTuple):
    """n faces, estimated or true, in one camera frame per face."""

    rotation: Floats
    """``(n, 3, 3)``, ``cam_from_head``"""
    translation_m: Floats
    """``(n, 3)``"""
    vertices_m: Floats
    """``(n, v, 3)`` in the head frame"""
    landmarks68: Floats
    """``(n, 68, 2)``, in pixels or in any other unit that both sides share"""


class Coverage(NamedTuple):
    """The error bars of one quantity against the truth."""

    within_one: float
    """Share of the true values within one standard deviation"""
    within_two: float
    median_std: float
    """In the quantity's unit"""


def predicted_faces(predictions: Predictions, rows: NDArray[np.int64]) -> FaceArrays | None:
    """Return some rows of predictions; None if they lack a part."""
    translation_m, vertices_m = predictions.translation_m, predictions.vertices_m
    landmarks68_px = predictions.landmarks68_px
    if not len(rows) or translation_m is None or vertices_m is None or landmarks68_px is None:
        return None
    return FaceArrays(
        predictions.rotation[rows],
        translation_m[rows],
        vertices_m[rows].astype(np.float64),
        landmarks68_px[rows],
    )


def true_faces(truth: GroundTruth, rows: NDArray[np.int64]) -> FaceArrays | None:
    """Return some rows of labels; None if they lack a part."""
    rotation, translation_m = truth.rotation, truth.translation_m
    points_m, landmarks68_px = truth.points_m, truth.landmarks68_px
    if not len(rows) or rotation is None or translation_m is None or landmarks68_px is None:
        return None
    if points_m is None or not truth.has_vertices:
        return None
    vertices_m = np.stack([points_m[row] for row in rows]).astype(np.float64)
    return FaceArrays(rotation[rows], translation_m[rows], vertices_m, landmarks68_px[rows])


def component_errors(
    estimated: FaceArrays, true: FaceArrays, groups: NDArray[np.int32]
) -> ComponentErrors:
    """Return the errors of estimates, in the units of the standard deviations.

    ``groups``, ``(v,)``, are :func:`~trg.geometry.face_mesh.landmark_groups`.
    """
    errors: list[Floats] = [np.empty((0, 0))] * STD_COUNT

    def put(quantity: str, values: Sequence[Floats]) -> None:
        errors[QUANTITIES[quantity]] = values

    head_from_true = estimated.rotation.swapaxes(1, 2) @ true.rotation
    turns_deg = np.degrees([rotation_to_rotvec(each) for each in head_from_true]).reshape(-1, 3)
    put("rotation", [turns_deg[:, axis, None] for axis in range(3)])
    across, along = _position_errors(estimated.translation_m, true.translation_m)
    ratio = size_ratio(estimated.vertices_m, true.vertices_m)
    put("across", [across])
    put("along", [along[:, None]])
    put("along_sized", [(along + np.log(ratio))[:, None]])
    difference_m = estimated.vertices_m - true.vertices_m
    sized_m = ratio[:, None, None] * estimated.vertices_m - true.vertices_m
    members = [groups == group for group in range(len(LANDMARK_GROUPS))]
    count = len(ratio)
    put("shape", [difference_m[:, each].reshape(count, -1) for each in members])
    put("shape_sized", [sized_m[:, each].reshape(count, -1) for each in members])
    extent = (estimated.landmarks68.max(1) - estimated.landmarks68.min(1)).max(1)
    offsets = (estimated.landmarks68 - true.landmarks68) / (BOX_MARGIN * extent)[:, None, None]
    put("landmarks", list(offsets.swapaxes(0, 1)))
    return errors


def mean_squares(errors: ComponentErrors) -> Floats:
    """Return the mean square of each standard deviation's components, ``(n, 86)``."""
    return np.stack([(each**2).mean(1) for each in errors], 1)


def standardized(errors: ComponentErrors, std: Floats) -> dict[str, Floats]:
    """Return absolute errors over their standard deviations ``(n, 86)``, by quantity.

    One-dimensional arrays: all components of all faces.
    """
    ratios = [np.abs(each) / std[:, i, None] for i, each in enumerate(errors)]
    return {
        name: np.concatenate([each.ravel() for each in ratios[part]])
        for name, part in QUANTITIES.items()
    }


def coverage(errors: ComponentErrors, std: Floats) -> dict[str, Coverage]:
    """Return the coverage of the standard deviations ``(n, 86)`` of n faces, by quantity."""
    return {
        name: Coverage(
            float((each < 1.0).mean()),
            float((each < 2.0).mean()),
            float(np.median(std[:, QUANTITIES[name]])),
        )
        for name, each in standardized(errors, std).items()
    }


def calibration_factors(ratios: Mapping[str, Floats]) -> dict[str, float]:
    """Return the factor on each quantity's standard deviations that calibrates them.

    ``ratios`` are :func:`standardized` errors. The errors of a network have heavier tails than a
    normal distribution, so that no factor gives both its shares: the geometric mean of the two
    that give one each errs equally on both sides.
    """
    return {
        name: float(
            np.sqrt(np.quantile(each, WITHIN_ONE) * np.quantile(each, WITHIN_TWO) / 2.0).clip(1e-6)
        )
        for name, each in ratios.items()
    }


def _position_errors(estimated_m: Floats, true_m: Floats) -> tuple[Floats, Floats]:
    """Return the errors ``(n, 2)`` across and ``(n,)`` along the line of sight, relative."""
    distance_m, true_distance_m = (np.linalg.norm(each, axis=1) for each in (estimated_m, true_m))
    in_sight = np.stack(
        [
            true @ rotation_between(OPTICAL_AXIS, estimate)
            for true, estimate in zip(true_m, estimated_m, strict=True)
        ]
    )
    across = in_sight[:, :2] / true_distance_m[:, None]
    return across, np.log(distance_m / true_distance_m)
