"""Errors of predictions, one number per image and error.

An image in which a method finds no face has no errors, but is counted: means are over the images
with a face found, as in the paper; medians and shares count the other images as wrong, so that a
method does not gain by finding fewer faces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotation_to_euler
from trglab.evaluation.alignment import Alignment, align
from trglab.evaluation.error_bar_scores import (
    Coverage,
    component_errors,
    coverage,
    predicted_faces,
    true_faces,
)
from trglab.evaluation.ground_truth import GroundTruth
from trglab.evaluation.metrics import (
    MM_PER_M,
    add_mm,
    euler_errors_deg,
    geodesic_error_deg,
    landmark_error_mm,
    nme,
    rectangle_size_px,
    size_ratio,
    translation_errors_mm,
)
from trglab.evaluation.predictions import Predictions

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Errors of n images, in the data set's order."""

    names: tuple[str, ...]
    subjects: tuple[str, ...]
    found: NDArray[np.bool_]
    distance_m: Floats
    """``(n,)``, of the head's origin from the camera; NaN if not labelled"""
    yaw_deg: Floats
    """``(n,)``, the true yaw; NaN if not labelled"""
    errors: dict[str, Floats]
    """``(n,)`` each, by name with the unit; NaN where no face was found"""
    aligned_errors: dict[str, Floats]
    """Pose errors after the alignment of the head frames"""
    alignment: Alignment | None
    notes: tuple[str, ...] = ()
    """What could not be compared, and why"""
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    """Of the method's error bars by quantity, over the images with a face found; empty if it has
    none or the data set lacks a label"""

    def __len__(self) -> int:
        return len(self.names)


def score(predictions: Predictions, truth: GroundTruth) -> Scores:
    """Compare predictions with labels.

    Raises
    ------
    ValueError
        The predictions belong to other labels or to unknown images only, or contain nothing that
        the data set labels.
    """
    metadata = predictions.metadata
    if metadata.dataset_sha256 and metadata.dataset_sha256 != truth.sha256():
        raise ValueError(
            "predictions: they were made on a data set with other images or labels than this "
            f"one, or with another limit (SHA-256 {metadata.dataset_sha256[:12]}..., "
            f"here {truth.sha256()[:12]}...)"
        )
    unknown = len(set(predictions.names) - set(truth.names))
    predictions = predictions.in_order(truth.names)
    found = np.flatnonzero(predictions.found)
    errors, notes = _errors(predictions, truth, found)
    if not errors:
        raise ValueError("predictions: expected something that the data set labels, found nothing")
    if unknown:
        notes += (f"{unknown} predictions are for images that are not among these",)
    alignment, aligned_errors = _aligned_errors(predictions, truth, found)
    count = len(truth)
    unlabelled = np.full(count, np.nan)
    translation_m, rotation = truth.translation_m, truth.rotation
    return Scores(
        names=truth.names,
        subjects=truth.subjects,
        found=predictions.found,
        distance_m=unlabelled if translation_m is None else np.linalg.norm(translation_m, axis=-1),
        yaw_deg=unlabelled if rotation is None else rotation_to_euler(rotation)[:, 0],
        errors={name: _scatter(values, found, count) for name, values in errors.items()},
        aligned_errors={
            name: _scatter(values, found, count) for name, values in aligned_errors.items()
        },
        alignment=alignment,
        notes=notes,
        coverage=_coverage(predictions, truth, found),
    )


def _errors(
    predictions: Predictions, truth: GroundTruth, found: NDArray[np.int64]
) -> tuple[dict[str, Floats], tuple[str, ...]]:
    """Return all errors of the rows in ``found``, and notes on what could not be compared."""
    translation_m = predictions.translation_m
    errors = _pose_errors(
        predictions.rotation[found],
        None if translation_m is None else translation_m[found],
        truth,
        found,
    )
    notes: tuple[str, ...] = ()
    vertices_m, points_m = predictions.vertices_m, truth.points_m
    if vertices_m is not None and points_m is not None and truth.has_vertices:
        meshes = {predictions.metadata.mesh_sha256, truth.mesh_sha256} - {""}
        if len(meshes) > 1 or vertices_m.shape[1:] != points_m[0].shape:
            notes = ("landmarks are not compared: the predicted ones are of another mesh",)
        else:
            errors |= _shape_errors(vertices_m, translation_m, truth, found)
    if predictions.landmarks68_px is not None and truth.landmarks68_px is not None:
        true_px = truth.landmarks68_px[found]
        errors["nme68"] = nme(
            predictions.landmarks68_px[found], true_px, rectangle_size_px(true_px)
        )
    return errors, notes


def _coverage(
    predictions: Predictions, truth: GroundTruth, found: NDArray[np.int64]
) -> dict[str, Coverage]:
    """Return the coverage of the error bars, if there are any and all labels they describe."""
    estimated, true = predicted_faces(predictions, found), true_faces(truth, found)
    if predictions.std is None or truth.groups is None or estimated is None or true is None:
        return {}
    if estimated.vertices_m.shape != true.vertices_m.shape:
        return {}
    errors = component_errors(estimated, true, truth.groups)
    return coverage(errors, predictions.std[found])


def _aligned_errors(
    predictions: Predictions, truth: GroundTruth, found: NDArray[np.int64]
) -> tuple[Alignment | None, dict[str, Floats]]:
    """Estimate the alignment of the head frames and return the pose errors after it."""
    if truth.rotation is None or not len(found):
        return None, {}
    rotation_pred, translation_pred_m, translation_true_m = predictions.rotation[found], None, None
    if truth.translation_m is not None and predictions.translation_m is not None:
        translation_pred_m = predictions.translation_m[found]
        translation_true_m = truth.translation_m[found]
    alignment = align(rotation_pred, truth.rotation[found], translation_pred_m, translation_true_m)
    aligned = alignment.apply(rotation_pred, translation_pred_m)
    return alignment, _pose_errors(*aligned, truth, found)


def _pose_errors(
    rotation: Floats, translation_m: Floats | None, truth: GroundTruth, found: NDArray[np.int64]
) -> dict[str, Floats]:
    """Return the errors of poses ``(k, 3, 3)`` and ``(k, 3)`` of the k rows in ``found``."""
    if truth.rotation is None:
        return {}
    rotation_true = truth.rotation[found]
    angles = euler_errors_deg(rotation, rotation_true)
    errors = dict(zip(("yaw_deg", "pitch_deg", "roll_deg"), angles.T, strict=True))
    errors["mae_r_deg"] = angles.mean(-1)
    errors["ge_deg"] = geodesic_error_deg(rotation, rotation_true)
    if truth.translation_m is None or translation_m is None:
        return errors
    translation_true_m = truth.translation_m[found]
    offsets = translation_errors_mm(translation_m, translation_true_m)
    errors |= dict(zip(("tx_mm", "ty_mm", "tz_mm"), offsets.T, strict=True))
    errors["mae_t_mm"] = offsets.mean(-1)
    errors["tz_relative"] = offsets[:, 2] / MM_PER_M / translation_true_m[:, 2]
    points_m = truth.points_m
    if points_m is not None:
        errors["add_mm"] = _per_image(
            found,
            lambda k, row: add_mm(
                points_m[row][None],
                rotation[k, None],
                translation_m[k, None],
                rotation_true[k, None],
                translation_true_m[k, None],
            ),
        )
    return errors


def _shape_errors(
    vertices_m: NDArray[np.float32],
    translation_m: Floats | None,
    truth: GroundTruth,
    found: NDArray[np.int64],
) -> dict[str, Floats]:
    """Return landmark errors, and landmark and depth errors at the true size.

    One image does not determine a face's absolute size (Eq. 2). The errors at the true size are
    those after the predicted face and its depth are scaled together to fit the true face best.
    """
    points_m, translation_true_m = truth.points_m, truth.translation_m
    assert points_m is not None

    ratio = _per_image(found, lambda _, row: size_ratio(vertices_m[row, None], points_m[row][None]))
    errors = {
        "landmarks_mm": _per_image(
            found, lambda _, row: landmark_error_mm(vertices_m[row, None], points_m[row][None])
        ),
        "landmarks_sized_mm": _per_image(
            found,
            lambda k, row: landmark_error_mm(ratio[k] * vertices_m[row, None], points_m[row][None]),
        ),
    }
    if translation_m is not None and translation_true_m is not None:
        depth_true_m = translation_true_m[found, 2]
        depth_m = ratio * translation_m[found, 2]
        errors["tz_sized_relative"] = np.abs(depth_m - depth_true_m) / depth_true_m
    return errors


def _per_image(rows: NDArray[np.int64], error: Callable[[int, int], Floats]) -> Floats:
    """Call ``error(k, rows[k])`` for each row, because meshes of different size do not stack."""
    return np.array([error(k, row)[0] for k, row in enumerate(rows)], dtype=np.float64)


def _scatter(values: Floats, rows: NDArray[np.int64], count: int) -> Floats:
    """Return ``(count,)`` numbers with ``values`` at ``rows`` and NaN elsewhere."""
    scattered = np.full(count, np.nan)
    scattered[rows] = values
    return scattered
