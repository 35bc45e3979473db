"""The pose of a known 3D face from its 2D points: what optimisation-based methods end with.

::

    points (n, 3) m, rays (n, 2) --POSIT on small draws--> the pose most points agree with
                                 --Levenberg-Marquardt, Cauchy weights--> R, T, inliers

POSIT (DeMenthon and Davis 1995) needs no first guess; the refinement minimises the reprojection
error over rotations and translations with weights that fade for points that do not fit (Cauchy).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.projection import rays_from_points, transform
from trg.geometry.rotations import cross, rotation_from_6d, rotation_from_rotvec

Floats = NDArray[np.float64]

FEWEST_POINTS = 6
"""As many points as a draw has; fewer say too little in the presence of noise."""

DRAWS = 48
POSIT_STEPS = 6
REWEIGHTINGS = 3
LARGEST_STEPS = 50
"""Of one refinement; it ends long before, when steps become small."""

TOLERANCE = 1e-8
"""Relative: a refinement ends where its cost falls by less."""

FLAT = 1e-4
"""Points whose least extent is below this share of their largest lie in a plane."""

CAUCHY_WIDTH = 2.385
"""In standard deviations: 95 % of the efficiency of least squares under Gaussian noise."""

INLIER_LIMIT = 3.0
"""In standard deviations, as told from the median."""

NOISE_FLOOR = 1e-9
"""Rays: below this there is no noise to tell."""


class PnPResult(NamedTuple):
    """A pose, and how well the points agree with it."""

    rotation: Floats
    """``(3, 3)``, ``cam_from_head``"""
    translation_m: Floats
    """``(3,)``"""
    inliers: NDArray[np.bool_]
    """``(n,)``: points within three standard deviations of their projection."""
    median_error: float
    """Of the points' distances from their projections, in rays; times f it is pixels."""


def solve_pnp(
    points_m: ArrayLike, rays: ArrayLike, rng: np.random.Generator | None = None
) -> PnPResult:
    """Find the pose under which points project onto rays.

    Parameters
    ----------
    points_m
        ``(n, 3)`` in the head frame, n at least 6 and not all in one plane.
    rays
        ``(n, 2)``: where each is seen, ``(x / z, y / z)``.
    rng
        Draws points for the start, so that up to about 40 % of them may be wrong. None: the start
        uses them all.

    Raises
    ------
    ValueError
        Shapes do not fit, the points are too few or in a plane, or no pose in front of the camera
        fits them.
    """
    points = finite_array("points_m", points_m, (None, 3))
    rays = finite_array("rays", rays, (None, 2))
    if len(points) < FEWEST_POINTS or len(points) != len(rays):
        raise ValueError(
            f"PnP: expected at least {FEWEST_POINTS} points and a ray for each, "
            f"got {len(points)} and {len(rays)}"
        )
    extents = np.linalg.svd(points - points.mean(0), compute_uv=False)
    if extents[-1] <= FLAT * extents[0]:
        raise ValueError("PnP: expected points that do not lie in one plane")
    if np.ptp(rays, axis=0).max() <= NOISE_FLOOR:
        raise ValueError("PnP: no pose fits points that are all seen at one place")
    draws = np.arange(len(points))[None]
    if rng is not None:
        chosen = [rng.choice(len(points), FEWEST_POINTS, replace=False) for _ in range(DRAWS)]
        draws = np.stack(chosen)
    rotation, translation_m = _best_start(points, rays, draws)
    if rng is None:
        rotation, translation_m = _refine(points, rays, rotation, translation_m, None)
    for _ in range(REWEIGHTINGS):
        width = CAUCHY_WIDTH * _noise(points, rays, rotation, translation_m)
        rotation, translation_m = _refine(points, rays, rotation, translation_m, width)
    errors = _errors(points, rays, rotation, translation_m)
    limit = INLIER_LIMIT * _noise(points, rays, rotation, translation_m)
    return PnPResult(rotation, translation_m, errors <= limit, float(np.median(errors)))


def posit(points_m: Floats, rays: Floats) -> tuple[Floats, Floats]:
    """Return poses ``(d, 3, 3)`` and ``(d, 3)`` of d draws of points ``(d, k, 3)`` and their rays.

    Each draw is solved by itself. One that says nothing gives a pose all the same, or NaN.
    """
    ones = np.ones_like(points_m[..., :1])
    inverse = np.linalg.pinv(np.concatenate([points_m, ones], -1))
    depth_ratio = np.ones_like(ones)
    for _ in range(POSIT_STEPS):
        # Rows of R and T over T_z: an affine map, were it not for the points' own depths.
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


def _best_start(points: Floats, rays: Floats, draws: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the draws' pose that has the smallest median error over all points."""
    rotations, translations_m = posit(points[draws], rays[draws])
    whole = np.isfinite(translations_m).all(-1) & np.isfinite(rotations).all((-1, -2))
    rotations, translations_m = rotations[whole], translations_m[whole]
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
    """Return a coordinate's standard deviation, told from the median distance."""
    median = float(np.median(_errors(points, rays, rotation, translation_m)))
    return max(median / np.sqrt(2.0 * np.log(2.0)), NOISE_FLOOR)  # Rayleigh's median


def _refine(
    points: Floats, rays: Floats, rotation: Floats, translation_m: Floats, width: float | None
) -> tuple[Floats, Floats]:
    """Minimise the reprojection error from a pose on: squares, or Cauchy's loss of a width."""
    damping = 1e-3
    cost = _cost(_errors(points, rays, rotation, translation_m), width)
    for _ in range(LARGEST_STEPS):
        jacobian, residual, weight = _linearise(points, rays, rotation, translation_m, width)
        normal = (jacobian * weight[:, None]).T @ jacobian
        slope = (jacobian * weight[:, None]).T @ residual
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -slope)
        tried = rotation_from_rotvec(step[:3]) @ rotation, translation_m + step[3:]
        tried_cost = _cost(_errors(points, rays, *tried), width)
        if not tried_cost < cost:
            damping *= 10.0
            if damping > 1e8:
                break
            continue
        settled = cost - tried_cost < TOLERANCE * cost
        (rotation, translation_m), cost, damping = tried, tried_cost, max(damping / 10.0, 1e-12)
        if settled:
            break
    return rotation, translation_m


def _linearise(
    points: Floats, rays: Floats, rotation: Floats, translation_m: Floats, width: float | None
) -> tuple[Floats, Floats, Floats]:
    """Return the Jacobian ``(2n, 6)`` by turn and shift, residuals ``(2n,)``, weights ``(2n,)``."""
    turned = points @ rotation.T
    in_camera = turned + translation_m
    depth = in_camera[:, 2:]
    seen = in_camera[:, :2] / depth
    residual = seen - rays
    by_shift = np.zeros((len(points), 2, 3))
    by_shift[:, 0, 0] = by_shift[:, 1, 1] = 1.0 / depth[:, 0]
    by_shift[:, :, 2] = -seen / depth
    # d(w x p) along a row g of by_shift is (p x g) . w
    by_turn = cross(np.repeat(turned[:, None], 2, axis=1), by_shift)
    jacobian = np.concatenate([by_turn, by_shift], -1).reshape(-1, 6)
    weight = np.ones(len(points))
    if width is not None:
        weight = 1.0 / (1.0 + (residual**2).sum(-1) / width**2)
    return jacobian, residual.reshape(-1), np.repeat(weight, 2)


def _cost(errors: Floats, width: float | None) -> float:
    if width is None:
        return float((errors**2).sum())
    return float(width**2 * np.log1p((errors / width) ** 2).sum())
