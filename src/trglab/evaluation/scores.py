"""From predictions and labels to one row of errors for each picture: plain NumPy.

Protocol: a picture in which a method found no face has no errors but is counted. Means are over
the pictures with a face found, as in the paper; medians and shares count the others as wrong, so
that a method cannot gain by staying silent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotation_to_euler
from trglab.evaluation.alignment import Alignment, align
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
    """Errors of n pictures, in the data set's order."""

    names: tuple[str, ...]
    subjects: tuple[str, ...]
    found: NDArray[np.bool_]
    distance_m: Floats
    """``(n,)``: of the head's origin from the camera; NaN where the data set does not say"""
    yaw_deg: Floats
    """``(n,)``: the true yaw; NaN where the data set does not say"""
    plain: dict[str, Floats]
    """``(n,)`` each, by name with unit; NaN where no face was found"""
    aligned: dict[str, Floats]
    """The same after what is constant between the head frames has been taken out"""
    alignment: Alignment | None
    notes: tuple[str, ...] = ()
    """What could not be compared, and why."""

    def __len__(self) -> int:
        return len(self.names)


def score(predictions: Predictions, truth: GroundTruth) -> Scores:
    """Compare predictions with labels.

    Raises
    ------
    ValueError
        The predictions were made on other labels or name only unknown pictures, or there is
        nothing to compare.
    """
    facts = predictions.facts
    if facts.dataset_sha256 and facts.dataset_sha256 != truth.sha256():
        raise ValueError(
            "predictions: they were made on a data set with other pictures or labels than this "
            f"one, or with another limit (SHA-256 {facts.dataset_sha256[:12]}..., "
            f"here {truth.sha256()[:12]}...)"
        )
    others = len(set(predictions.names) - set(truth.names))
    predictions = predictions.in_order(truth.names)
    found = np.flatnonzero(predictions.found)
    plain, notes = _plain(predictions, truth, found)
    if others:
        notes += (f"{others} predictions are for pictures that are not among these",)
    aligned: dict[str, Floats] = {}
    alignment = None
    if truth.rotation is not None and len(found):
        rotation_pred, translation_pred_m = predictions.rotation[found], None
        translation_true_m = None
        if truth.translation_m is not None and predictions.translation_m is not None:
            translation_pred_m = predictions.translation_m[found]
            translation_true_m = truth.translation_m[found]
        alignment = align(
            rotation_pred, truth.rotation[found], translation_pred_m, translation_true_m
        )
        aligned = _pose_errors(*alignment.apply(rotation_pred, translation_pred_m), truth, found)
    if not plain:
        raise ValueError("predictions: expected something that the data set labels, found nothing")
    count = len(truth)
    nothing = np.full(count, np.nan)
    distances = truth.translation_m
    return Scores(
        names=truth.names,
        subjects=truth.subjects,
        found=predictions.found,
        distance_m=nothing if distances is None else np.linalg.norm(distances, axis=-1),
        yaw_deg=nothing if truth.rotation is None else rotation_to_euler(truth.rotation)[:, 0],
        plain={name: _spread(values, found, count) for name, values in plain.items()},
        aligned={name: _spread(values, found, count) for name, values in aligned.items()},
        alignment=alignment,
        notes=notes,
    )


def _plain(
    predictions: Predictions, truth: GroundTruth, found: NDArray[np.int64]
) -> tuple[dict[str, Floats], tuple[str, ...]]:
    """Return all errors of the rows in ``found``, and what could not be compared."""
    translation_m = predictions.translation_m
    errors = _pose_errors(
        predictions.rotation[found],
        None if translation_m is None else translation_m[found],
        truth,
        found,
    )
    notes = []
    vertices_m, points_m = predictions.vertices_m, truth.points_m
    if vertices_m is not None and points_m is not None and truth.has_vertices:
        meshes = (predictions.facts.mesh_sha256, truth.mesh_sha256)
        if (all(meshes) and meshes[0] != meshes[1]) or vertices_m.shape[1:] != points_m[0].shape:
            notes.append("landmarks are not compared: the predicted ones are of another mesh")
        else:
            errors["landmarks_mm"] = _each(
                found, lambda row: landmark_error_mm(vertices_m[row, None], points_m[row][None])
            )
            errors |= _errors_at_true_size(vertices_m, translation_m, truth, found)
    landmarks68_px = predictions.landmarks68_px
    if landmarks68_px is not None and truth.landmarks68_px is not None:
        true_px = truth.landmarks68_px[found]
        errors["nme68"] = nme(landmarks68_px[found], true_px, rectangle_size_px(true_px))
    return errors, tuple(notes)


def _pose_errors(
    rotation: Floats, translation_m: Floats | None, truth: GroundTruth, found: NDArray[np.int64]
) -> dict[str, Floats]:
    """Return the errors of poses of the rows in ``found``."""
    errors: dict[str, Floats] = {}
    if truth.rotation is None:
        return errors
    rotation_true = truth.rotation[found]
    angles = euler_errors_deg(rotation, rotation_true)
    errors |= dict(zip(("yaw_deg", "pitch_deg", "roll_deg"), angles.T, strict=True))
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
        place = {row: index for index, row in enumerate(found)}
        errors["add_mm"] = _each(
            found,
            lambda row: add_mm(
                points_m[row][None],
                rotation[place[row], None],
                translation_m[place[row], None],
                rotation_true[place[row], None],
                translation_true_m[place[row], None],
            ),
        )
    return errors


def _errors_at_true_size(
    vertices_m: NDArray[np.float32],
    translation_m: Floats | None,
    truth: GroundTruth,
    found: NDArray[np.int64],
) -> dict[str, Floats]:
    """Return what is left of two errors where the face's size is known, face and depth scaled."""
    points_m, translation_true_m = truth.points_m, truth.translation_m
    assert points_m is not None
    ratio = _each(found, lambda row: size_ratio(vertices_m[row, None], points_m[row][None]))
    of_row = dict(zip(found, ratio, strict=True))
    errors = {
        "landmarks_sized_mm": _each(
            found,
            lambda row: landmark_error_mm(of_row[row] * vertices_m[row, None], points_m[row][None]),
        )
    }
    if translation_m is not None and translation_true_m is not None:
        depth_true_m = translation_true_m[found, 2]
        depth_m = ratio * translation_m[found, 2]
        errors["tz_sized_relative"] = np.abs(depth_m - depth_true_m) / depth_true_m
    return errors


def _each(rows: NDArray[np.int64], error: Callable[[int], Floats]) -> Floats:
    """One picture at a time: meshes differ in size, and a data set's would fill the memory."""
    return np.array([error(row)[0] for row in rows], dtype=np.float64)


def _spread(values: Floats, found: NDArray[np.int64], count: int) -> Floats:
    spread = np.full(count, np.nan)
    spread[found] = values
    return spread
