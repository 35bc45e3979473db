"""Error measures of the paper (section 4.3) per sample, in degrees and millimetres.

Every function takes a batch and returns one row or number per sample. Callers average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.projection import transform
from trg.geometry.rotations import checked_rotation, geodesic_angle_deg, rotation_to_euler

Floats = NDArray[np.float64]
MM_PER_M = 1000.0


def euler_errors_deg(rotation_pred: ArrayLike, rotation_true: ArrayLike) -> Floats:
    """Return absolute errors ``(n, 3)`` of yaw, pitch and roll of rotations ``(n, 3, 3)``.

    The angles are SciPy's ``as_euler('yxz')``; errors are wrapped to at most 180 degrees.
    """
    predicted = rotation_to_euler(checked_rotation("rotation_pred", rotation_pred, (None, 3, 3)))
    true = rotation_to_euler(checked_rotation("rotation_true", rotation_true, (None, 3, 3)))
    _same_count(predicted, true)
    return np.abs((predicted - true + 180.0) % 360.0 - 180.0)


def mae_r_deg(rotation_pred: ArrayLike, rotation_true: ArrayLike) -> Floats:
    """Return MAE_r ``(n,)``, the mean of the three Euler angle errors."""
    return euler_errors_deg(rotation_pred, rotation_true).mean(-1)


def geodesic_error_deg(rotation_pred: ArrayLike, rotation_true: ArrayLike) -> Floats:
    """Return GE ``(n,)``, the angle of ``R_pred @ R_true.T``."""
    predicted = checked_rotation("rotation_pred", rotation_pred, (None, 3, 3))
    true = checked_rotation("rotation_true", rotation_true, (None, 3, 3))
    _same_count(predicted, true)
    return geodesic_angle_deg(predicted, true)


def translation_errors_mm(translation_pred_m: ArrayLike, translation_true_m: ArrayLike) -> Floats:
    """Return absolute errors ``(n, 3)`` of t_x, t_y, t_z of translations ``(n, 3)`` in metres."""
    predicted = finite_array("translation_pred_m", translation_pred_m, (None, 3))
    true = finite_array("translation_true_m", translation_true_m, (None, 3))
    _same_count(predicted, true)
    return np.abs(predicted - true) * MM_PER_M


def add_mm(
    vertices_true_m: ArrayLike,
    rotation_pred: ArrayLike,
    translation_pred_m: ArrayLike,
    rotation_true: ArrayLike,
    translation_true_m: ArrayLike,
) -> Floats:
    """Return ADD ``(n,)`` (Eq. 8): mean distance of true vertices ``(n, v, 3)`` in both poses."""
    vertices = finite_array("vertices_true_m", vertices_true_m, (None, None, 3))
    predicted = transform(
        vertices,
        checked_rotation("rotation_pred", rotation_pred, (None, 3, 3)),
        finite_array("translation_pred_m", translation_pred_m, (None, 3)),
    )
    true = transform(
        vertices,
        checked_rotation("rotation_true", rotation_true, (None, 3, 3)),
        finite_array("translation_true_m", translation_true_m, (None, 3)),
    )
    _same_count(predicted, true)
    return np.linalg.norm(predicted - true, axis=-1).mean(-1) * MM_PER_M


def landmark_error_mm(vertices_pred_m: ArrayLike, vertices_true_m: ArrayLike) -> Floats:
    """Return mean distances ``(n,)`` of vertices ``(n, v, 3)`` in the head frame.

    Table 3 reports the mean and the median of these numbers over the images.
    """
    predicted = finite_array("vertices_pred_m", vertices_pred_m, (None, None, 3))
    true = finite_array("vertices_true_m", vertices_true_m, (None, None, 3))
    if predicted.shape != true.shape:
        raise ValueError(
            f"vertices: expected the shapes to agree, got {predicted.shape} and {true.shape}"
        )
    return np.linalg.norm(predicted - true, axis=-1).mean(-1) * MM_PER_M


def size_ratio(vertices_pred_m: ArrayLike, vertices_true_m: ArrayLike) -> Floats:
    """Return the factors ``(n,)`` that fit predicted faces ``(n, v, 3)`` best to the true ones.

    Least squares over the vertices in the head frame. One image does not determine a face's
    absolute size: a face and its depth scale together (Eq. 2).
    """
    predicted = finite_array("vertices_pred_m", vertices_pred_m, (None, None, 3))
    true = finite_array("vertices_true_m", vertices_true_m, predicted.shape)
    ratio: Floats = (predicted * true).sum((1, 2)) / (predicted**2).sum((1, 2))
    return ratio


def nme(points_pred_px: ArrayLike, points_true_px: ArrayLike, size_px: ArrayLike) -> Floats:
    """Return mean distances ``(n,)`` of points ``(n, k, 2)`` as a fraction of sizes ``(n,)``."""
    predicted = finite_array("points_pred_px", points_pred_px, (None, None, 2))
    true = finite_array("points_true_px", points_true_px, (None, None, 2))
    size = finite_array("size_px", size_px, (None,))
    if predicted.shape != true.shape or len(size) != len(true):
        raise ValueError(
            "points: expected the shapes to agree and one size per sample, "
            f"got {predicted.shape}, {true.shape} and {size.shape}"
        )
    if not (size > 0).all():
        raise ValueError("size_px: expected sizes above 0")
    return np.linalg.norm(predicted - true, axis=-1).mean(-1) / size


def rectangle_size_px(points_px: ArrayLike) -> Floats:
    """Return sqrt(width x height) ``(n,)`` of the bounding rectangles of points ``(n, k, 2)``."""
    points = finite_array("points_px", points_px, (None, None, 2))
    return np.sqrt(np.prod(points.max(1) - points.min(1), axis=-1))


def _same_count(predicted: Floats, true: Floats) -> None:
    if len(predicted) != len(true):
        raise ValueError(
            f"expected as many predictions as truths, got {len(predicted)} and {len(true)}"
        )
