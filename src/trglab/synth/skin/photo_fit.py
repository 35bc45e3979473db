"""Fit of a face model to a photograph with landmarks: identity, pose and focal length."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from trg.geometry.projection import transform
from trg.geometry.rotations import rotation_from_rotvec, rotation_to_rotvec
from trglab.synth.head.face_model import FaceModel

LONDON_TO_68: dict[int, tuple[int, ...]] = {
    17: (71,), 18: (72, 83), 19: (73, 84), 20: (74, 84), 21: (76,),
    22: (77,), 23: (78, 85), 24: (79, 85), 25: (81, 86), 26: (82,),
    27: (50, 51, 56, 57), 28: (52, 58), 29: (53, 59), 30: (54, 60),
    31: (64,), 33: (55,), 35: (69,),
    36: (18,), 37: (19, 20), 38: (20, 21), 39: (22,), 40: (29, 30), 41: (28, 29),
    42: (23,), 43: (24, 25), 44: (25, 26), 45: (27,), 46: (32, 33), 47: (31, 32),
    48: (87,), 49: (88,), 50: (89,), 51: (90,), 52: (91,), 53: (92,), 54: (93,),
    55: (108,), 56: (107,), 57: (106,), 58: (105,), 59: (104,),
    61: (95,), 62: (96,), 63: (97,), 65: (102,), 66: (101,), 67: (100,),
    8: (129,),
}  # fmt: skip
"""For each of the 68 landmarks, the points of the London Set's 189 whose mean matches it."""

LONDON_CONTOUR = (109, 110, 111, *range(125, 134), 114, 113, 112)
"""Contour of the face from ear to ear via the chin, as indices of the London Set's points."""

LONDON_HAIRLINE = tuple(range(134, 145))
"""Hairline from the left to the right of the image."""

IDENTITY_MODES = 40
PRIOR_FOCAL_PX_PER_WIDTH = 4.0
"""Mean of the prior on focal length over image width: a portrait lens."""

LANDMARK_SIGMA_PX = 2.5
BROW_SIGMA_PX = 8.0
CONTOUR_SIGMA_PX = 4.0
STEPS = 12


class PhotoFit(NamedTuple):
    """Result of :func:`fit_photo`.

    Attributes
    ----------
    vertices_cam_m
        ``(V, 3)`` in the camera frame.
    focal_px
        Focal length; the principal point is the image centre.
    error_px
        Median reprojection error of the landmarks.
    """

    vertices_cam_m: np.ndarray
    focal_px: float
    error_px: float


def fit_photo(model: FaceModel, points_px: np.ndarray, width: int, height: int) -> PhotoFit:
    """Fit a face model by regularised Gauss-Newton.

    Parameters
    ----------
    points_px
        ``(189, 2)``: landmarks of the London Set.
    width, height
        Size of the image, px.
    """
    targets = np.stack([points_px[list(of)].mean(axis=0) for of in LONDON_TO_68.values()])
    indices = np.array(list(LONDON_TO_68))
    contour = points_px[list(LONDON_CONTOUR)].astype(np.float64)
    jaw = np.array([1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15])
    used = np.concatenate([indices, jaw])
    sigma = np.full(len(used), LANDMARK_SIGMA_PX)
    sigma[(used >= 17) & (used <= 26)] = BROW_SIGMA_PX
    sigma[len(indices) :] = CONTOUR_SIGMA_PX
    vertices = model.landmarks68[used]
    modes = min(IDENTITY_MODES, len(model.identity))
    shapes = model.identity[:modes, vertices].astype(np.float64)
    mean = model.mean_m[vertices].astype(np.float64)
    centre_px = np.array([width / 2.0, height / 2.0])

    def goal(projected: np.ndarray) -> np.ndarray:
        return np.concatenate([targets, _closest_on_line(projected[len(indices) :], contour)])

    start = _initial_state(mean, targets, indices, modes, width, centre_px)
    fitted = fit_shape(mean, shapes, goal, sigma, centre_px, start)
    offset = fitted.projected_px[: len(indices)] - targets
    head = model.mean_m + np.tensordot(fitted.coefficients, model.identity[:modes], axes=1)
    cam = transform(head.astype(np.float64), fitted.rotation, fitted.translation_m)
    return PhotoFit(cam, fitted.focal_px, float(np.median(np.linalg.norm(offset, axis=1))))


class FittedShape(NamedTuple):
    """Result of :func:`fit_shape`: pose, focal length and coefficients ``(m,)`` of the modes."""

    rotation: np.ndarray
    """``(3, 3)``, ``cam_from_head``"""
    translation_m: np.ndarray
    focal_px: float
    coefficients: np.ndarray
    projected_px: np.ndarray
    """``(n, 2)``: the fitted points"""


def fit_shape(
    mean_m: np.ndarray,
    modes_m: np.ndarray,
    goal: Callable[[np.ndarray], np.ndarray],
    sigma_px: np.ndarray,
    centre_px: np.ndarray,
    start: np.ndarray,
    lowest: np.ndarray | None = None,
) -> FittedShape:
    """Fit pose, focal length and shape of n points to an image by regularised Gauss-Newton.

    Parameters
    ----------
    mean_m, modes_m
        ``(n, 3)`` and ``(m, n, 3)``: the points, and their offsets at one standard deviation.
    goal
        Returns the targets ``(n, 2)`` px of the points that are projected to ``(n, 2)`` px.
    sigma_px
        ``(n,)``: standard deviation of each target.
    centre_px
        ``(2,)``: principal point.
    start
        ``(7 + m,)``: rotation vector, translation, logarithm of the focal length, coefficients.
        The focal length is the mean of its prior; its logarithm has a standard deviation of 0.15.
    lowest
        ``(m,)``: lower bounds of the coefficients; None: unbounded.
    """
    state = np.array(start, np.float64)
    for _ in range(STEPS):
        targets = goal(_project(state, mean_m, modes_m, centre_px))
        state = _step(state, mean_m, modes_m, centre_px, targets, sigma_px, start[6])
        if lowest is not None:
            state[7:] = np.maximum(state[7:], lowest)
    projected = _project(state, mean_m, modes_m, centre_px)
    rotation = rotation_from_rotvec(state[:3])
    return FittedShape(rotation, state[3:6], float(np.exp(state[6])), state[7:], projected)


def _initial_state(
    mean: np.ndarray,
    targets: np.ndarray,
    indices: np.ndarray,
    modes: int,
    width: int,
    centre_px: np.ndarray,
) -> np.ndarray:
    """Return the start values: rotation vector, translation, log focal length, identity."""
    focal = PRIOR_FOCAL_PX_PER_WIDTH * width
    model_xy = mean[: len(indices), :2]
    spread_px = np.linalg.norm(targets - targets.mean(axis=0))
    spread_m = np.linalg.norm(model_xy - model_xy.mean(axis=0))
    depth = focal * spread_m / spread_px
    shift = (targets.mean(axis=0) - centre_px) * depth / focal - model_xy.mean(axis=0)
    return np.concatenate([np.zeros(3), shift, [depth, np.log(focal)], np.zeros(modes)])


def _project(
    state: np.ndarray, mean: np.ndarray, shapes: np.ndarray, centre_px: np.ndarray
) -> np.ndarray:
    head = mean + np.tensordot(state[7:], shapes, axes=1)
    cam = head @ rotation_from_rotvec(state[:3]).T + state[3:6]
    return np.exp(state[6]) * cam[:, :2] / cam[:, 2:] + centre_px


def _step(
    state: np.ndarray,
    mean: np.ndarray,
    shapes: np.ndarray,
    centre_px: np.ndarray,
    goal: np.ndarray,
    sigma: np.ndarray,
    prior_log_focal: float,
) -> np.ndarray:
    head = mean + np.tensordot(state[7:], shapes, axes=1)
    rotation, focal = rotation_from_rotvec(state[:3]), float(np.exp(state[6]))
    turned = head @ rotation.T
    cam = turned + state[3:6]
    inverse_depth = 1.0 / cam[:, 2]
    count = len(head)
    from_cam = np.zeros((count, 2, 3))
    from_cam[:, 0, 0] = from_cam[:, 1, 1] = focal * inverse_depth
    from_cam[:, :, 2] = -focal * cam[:, :2] * inverse_depth[:, None] ** 2
    jacobian = np.zeros((count, 2, len(state)))
    # The rotation vector is updated on the left: d(turned) = omega x turned.
    x, y, z = turned.T
    zero = np.zeros(count)
    cross = np.stack([[zero, z, -y], [-z, zero, x], [y, -x, zero]]).transpose(2, 0, 1)
    jacobian[:, :, :3] = from_cam @ cross
    jacobian[:, :, 3:6] = from_cam
    jacobian[:, :, 6] = focal * cam[:, :2] * inverse_depth[:, None]
    jacobian[:, :, 7:] = np.einsum("nij,mnj->nim", from_cam @ rotation, shapes)
    residual = goal - (focal * cam[:, :2] * inverse_depth[:, None] + centre_px)
    weight = np.repeat(1.0 / sigma, 2)
    rows = jacobian.reshape(2 * count, -1) * weight[:, None]
    prior = np.zeros(len(state))
    prior[6], prior[7:] = 1.0 / 0.15, 1.0
    target = np.zeros(len(state))
    target[6] = prior_log_focal - state[6]
    target[7:] = -state[7:]
    normal = rows.T @ rows + np.diag(prior**2) + 1e-9 * np.eye(len(state))
    update = np.linalg.solve(normal, rows.T @ (residual.ravel() * weight) + prior**2 * target)
    new = state + update
    new[:3] = rotation_to_rotvec(rotation_from_rotvec(update[:3]) @ rotation)
    return new


def _closest_on_line(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return the points ``(n, 2)`` of an open polyline ``(k, 2)`` closest to points ``(n, 2)``."""
    start, edge = line[:-1], np.diff(line, axis=0)
    along = ((points[:, None] - start) * edge).sum(-1) / (edge**2).sum(-1)
    nearest = start + np.clip(along, 0.0, 1.0)[..., None] * edge
    best = np.linalg.norm(points[:, None] - nearest, axis=-1).argmin(axis=1)
    return nearest[np.arange(len(points)), best]
