"""Robust PnP: the pose of a known 3D face from 2D points, as in optimisation-based methods.

::

    points (n, 3) m, rays (n, 2) --POSIT on random subsets--> pose of smallest median error
                                 --Levenberg-Marquardt, Cauchy weights--> R, T, inliers

POSIT (DeMenthon and Davis 1995) needs no initial pose. The refinement minimises the reprojection
error with a Cauchy loss, iteratively reweighted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.projection import rays_from_points, transform
from trg.geometry.rotations import cross, rotation_from_6d, rotation_from_rotvec

Floats = NDArray[np.float64]

MIN_POINTS = 6
"""Also the size of a random subset; fewer points are too sensitive to noise"""

SUBSETS = 48
POSIT_ITERATIONS = 6
REWEIGHTINGS = 3
MAX_ITERATIONS = 50

TOLERANCE = 1e-8
"""Relative decrease of the cost at which a refinement ends"""

COPLANAR_RATIO = 1e-4
"""Points whose smallest extent is below this share of the largest count as coplanar"""

CAUCHY_WIDTH = 2.385
"""In standard deviations: 95 % efficiency under Gaussian noise"""

INLIER_LIMIT = 3.0
"""In standard deviations, estimated from the median error"""

NOISE_FLOOR = 1e-9
"""In rays; lower limit of the estimated standard deviation"""


class PnPResult(NamedTuple):
    """A pose and its agreement with the points."""

    rotation: Floats
    """``(3, 3)``, ``cam_from_head``"""
    translation_m: Floats
    """``(3,)``"""
    inliers: NDArray[np.bool_]
    """``(n,)``, points within three standard deviations of their projection"""
    median_error: float
    """Median distance of the points from their projections, in rays (pixels over f)"""


def solve_pnp(
    points_m: ArrayLike, rays: ArrayLike, rng: np.random.Generator | None = None
) -> PnPResult:
    """Estimate the pose under which points project onto rays.

    Parameters
    ----------
    points_m
        ``(n, 3)`` in the head frame, n at least 6 and not all in one plane.
    rays
        ``(n, 2)``, their observed positions ``(x / z, y / z)``.
    rng
        Draws random subsets for the initial pose, which tolerates up to about 40 % outliers. None:
        the initial pose uses all points.

    Raises
    ------
    ValueError
        Shapes do not match, the points are too few or coplanar, or no pose in front of the camera
        fits them.
    """
    points = finite_array("points_m", points_m, (None, 3))
    rays = finite_array("rays", rays, (None, 2))
    if len(points) < MIN_POINTS or len(points) != len(rays):
        raise ValueError(
            f"PnP: expected at least {MIN_POINTS} points and a ray for each, "
            f"got {len(points)} and {len(rays)}"
        )
    extents = np.linalg.svd(points - points.mean(0), compute_uv=False)
    if extents[-1] <= COPLANAR_RATIO * extents[0]:
        raise ValueError("PnP: expected points that do not lie in one plane")
    if np.ptp(rays, axis=0).max() <= NOISE_FLOOR:
        raise ValueError("PnP: no pose fits points that are all seen at one place")
    subsets = np.arange(len(points))[None]
    if rng is not None:
        chosen = [rng.choice(len(points), MIN_POINTS, replace=False) for _ in range(SUBSETS)]
        subsets = np.stack(chosen)
    rotation, translation_m = _initial_pose(points, rays, subsets)
    if rng is None:
        rotation, translation_m = _refine(points, rays, rotation, translation_m, None)
    for _ in range(REWEIGHTINGS):
        width = CAUCHY_WIDTH * _noise(points, rays, rotation, translation_m)
        rotation, translation_m = _refine(points, rays, rotation, translation_m, width)
    errors = _errors(points, rays, rotation, translation_m)
    limit = INLIER_LIMIT * _noise(points, rays, rotation, translation_m)
    return PnPResult(rotation, translation_m, errors <= limit, float(np.median(errors)))


def posit(points_m: Floats, rays: Floats) -> tuple[Floats, Floats]:
    """Return poses ``(d, 3, 3)`` and ``(d, 3)`` of d sets of points ``(d, k, 3)`` and their rays.

    The sets are independent. A degenerate set gives an arbitrary pose or NaN.
    """
    ones = np.ones_like(points_m[..., :1])
    inverse = np.linalg.pinv(np.concatenate([points_m, ones], -1))
    depth_ratio = np.ones_like(ones)
    for _ in range(POSIT_ITERATIONS):
        # Scaled orthographic projection gives rows 1 and 2 of R and T over T_z; the depths of the
        # points correct it in the next iteration.
        x_axis, y_axis = np.moveaxis(inverse @ (rays * depth_ratio), -1, 0)
        rotation = rotation_from_6d(np.concatenate([x_axis[:, :3], y_axis[:, :3]], -1))
        rotation = rotation.swapaxes(-1, -2)
        lengths = np.linalg.norm(x_axis[:, :3], axis=-1) * np.linalg.norm(y_axis[:, :3], axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            depth_m = 1.0 / np.sqrt(lengths)
            depth_ratio = 1.0 + (points_m @ rotation[:, 2, :, None]) / depth_m[:, None, None]
        depth_ratio = np.nan_to_num(depth_ratio, nan=1.0, posinf=1.0, neginf=1.0)
    directions = np.stack([x_axis[:, 3], y_axis[:, 3], np.ones_like(depth_m)], -1)
    with np.errstate(invalid="ignore"):
        return rotation, directions * depth_m[:, None]


def _initial_pose(
    points: Floats, rays: Floats, subsets: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the subsets' pose with the smallest median error over all points."""
    rotations, translations_m = posit(points[subsets], rays[subsets])
    valid = np.isfinite(translations_m).all(-1) & np.isfinite(rotations).all((-1, -2))
    rotations, translations_m = rotations[valid], translations_m[valid]
    scores = np.median(_errors(points, rays, rotations, translations_m), axis=-1)
    if not np.isfinite(scores).any():
        raise ValueError("PnP: no pose in front of the camera fits the points")
    best = int(np.argmin(scores))
    return rotations[best], translations_m[best]


def _errors(points: Floats, rays: Floats, rotation: Floats, translation_m: Floats) -> Floats:
    """Return ``(..., n)`` distances in rays; infinite where any point is behind the camera."""
    in_camera = transform(points, rotation, translation_m)
    errors = np.linalg.norm(rays_from_points(in_camera) - rays, axis=-1)
    return np.where(in_camera[..., 2].min(-1, keepdims=True) > 0, errors, np.inf)


def _noise(points: Floats, rays: Floats, rotation: Floats, translation_m: Floats) -> float:
    """Estimate the standard deviation of a coordinate from the median distance."""
    median = float(np.median(_errors(points, rays, rotation, translation_m)))
    return max(
        median / np.sqrt(2.0 * np.log(2.0)), NOISE_FLOOR
    )  # median of a Rayleigh distribution


def _refine(
    points: Floats, rays: Floats, rotation: Floats, translation_m: Floats, width: float | None
) -> tuple[Floats, Floats]:
    """Levenberg-Marquardt from an initial pose: least squares, or a Cauchy loss of ``width``."""
    damping = 1e-3
    cost = _cost(_errors(points, rays, rotation, translation_m), width)
    for _ in range(MAX_ITERATIONS):
        jacobian, residual, weight = _linearise(points, rays, rotation, translation_m, width)
        normal = (jacobian * weight[:, None]).T @ jacobian
        gradient = (jacobian * weight[:, None]).T @ residual
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
        tried = rotation_from_rotvec(step[:3]) @ rotation, translation_m + step[3:]
        tried_cost = _cost(_errors(points, rays, *tried), width)
        if not tried_cost < cost:
            damping *= 10.0
            if damping > 1e8:
                break
            continue
        has_converged = cost - tried_cost < TOLERANCE * cost
        (rotation, translation_m), cost, damping = tried, tried_cost, max(damping / 10.0, 1e-12)
        if has_converged:
            break
    return rotation, translation_m


def _linearise(
    points: Floats, rays: Floats, rotation: Floats, translation_m: Floats, width: float | None
) -> tuple[Floats, Floats, Floats]:
    """Return the Jacobian ``(2n, 6)`` by rotation vector and translation, residuals, weights."""
    rotated = points @ rotation.T
    in_camera = rotated + translation_m
    depth = in_camera[:, 2:]
    projected = in_camera[:, :2] / depth
    residual = projected - rays
    by_translation = np.zeros((len(points), 2, 3))
    by_translation[:, 0, 0] = by_translation[:, 1, 1] = 1.0 / depth[:, 0]
    by_translation[:, :, 2] = -projected / depth
    # d(w x p) along a row g of by_translation is (p x g) . w
    by_rotation = cross(np.repeat(rotated[:, None], 2, axis=1), by_translation)
    jacobian = np.concatenate([by_rotation, by_translation], -1).reshape(-1, 6)
    weight = np.ones(len(points))
    if width is not None:
        weight = 1.0 / (1.0 + (residual**2).sum(-1) / width**2)
    return jacobian, residual.reshape(-1), np.repeat(weight, 2)


def _cost(errors: Floats, width: float | None) -> float:
    if width is None:
        return float((errors**2).sum())
    return float(width**2 * np.log1p((errors / width) ** 2).sum())
