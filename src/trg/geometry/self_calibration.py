"""Focal length from many views of one face: bundle adjustment with a linear basis of face shapes.

Unknown are the focal length and the identity, which all views share, and the pose and expression of
each view. The normal equations have a block for each view that only couples to the shared unknowns,
so that the views are eliminated first (Triggs et al. 2000, "Bundle adjustment - a modern
synthesis", section 6). Steps are damped as by Levenberg and Marquardt. The depth of a view is
expressed as the logarithm of depth over focal length, which the size of the face in the image gives
almost alone: what remains for the focal length is the perspective of the face.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotation_from_rotvec, skew
from trg.geometry.shape_basis import ShapeBasis

Floats = NDArray[np.floating[Any]]

LANDMARK_STD = 0.03
"""Standard deviation of a landmark's error, in sizes of the face in the image."""

TAIL = 4.0
"""Degrees of freedom of Student's t: landmarks far off count little."""

EXPRESSION_STD = 0.2
"""Prior standard deviation of the weights of ARKit's expressions."""

EXPRESSION_MODES = 20
"""Principal modes of the 52 expressions that are kept; the rest moves the landmarks too little."""

MAX_STEPS, DONE = 30, 0.02
"""Steps at most, and decrease of the cost (twice the negative log posterior) that ends them."""


class FaceViews(NamedTuple):
    """Landmarks and first poses of one face in n views, seen by a pinhole camera."""

    landmarks_px: Floats
    """``(n, p, 2)``: relative to the principal point."""
    std_px: Floats
    """``(n, p)``: standard deviations of each of their coordinates."""
    rotation: Floats
    """``(n, 3, 3)``: ``cam_from_head``."""
    translation_m: Floats
    """``(n, 3)``, for the assumed focal length."""
    focal_px: float
    """The assumed focal length."""


class FocalFit(NamedTuple):
    """The most probable focal length."""

    focal_px: float
    log_focal_std: float
    """Standard deviation of its logarithm, if the errors of landmarks were independent."""
    residuals: Floats
    """``(n, p, 2)``: landmarks of the fit minus those given, px."""


class _Unknowns(NamedTuple):
    log_focal: float
    identity: Floats  # (k,)
    rotation: Floats  # (n, 3, 3)
    ray: Floats  # (n, 2): of the head's origin
    log_depth: Floats  # (n,): of depth over focal length
    expression: Floats  # (n, m)

    def moved(self, shared: Floats, local: Floats) -> _Unknowns:
        return _Unknowns(
            self.log_focal + shared[0],
            self.identity + shared[1:],
            rotation_from_rotvec(local[:, :3]) @ self.rotation,
            self.ray + local[:, 3:5],
            self.log_depth + local[:, 5],
            self.expression + local[:, 6:],
        )


class _Problem:
    """Projection, cost and derivatives of one set of views."""

    def __init__(
        self, views: FaceViews, basis: ShapeBasis, points: NDArray[np.integer], log_std: float
    ) -> None:
        self.views, self.log_std = views, log_std
        self.mean, self.identity = basis.mean_m[points], basis.identity_m[:, points]
        _, size, modes = np.linalg.svd(
            basis.expressions_m[:, points].reshape(len(basis.expressions_m), -1),
            full_matrices=False,
        )
        kept = slice(EXPRESSION_MODES)
        self.expression = (size[kept, None] * modes[kept]).reshape(-1, len(points), 3)

    def start(self) -> _Unknowns:
        depth_m = self.views.translation_m[:, 2]
        return _Unknowns(
            np.log(self.views.focal_px),
            np.zeros(len(self.identity)),
            self.views.rotation,
            self.views.translation_m[:, :2] / depth_m[:, None],
            np.log(depth_m / self.views.focal_px),
            np.zeros((len(depth_m), len(self.expression))),
        )

    def project(self, at: _Unknowns) -> tuple[Floats, Floats, Floats, Floats]:
        """Return pixels ``(n, p, 2)``, points and turned points ``(n, p, 3)``, origins."""
        shape = self.mean + np.tensordot(at.identity, self.identity, 1)
        shape = shape + np.tensordot(at.expression, self.expression, 1)
        turned = shape @ at.rotation.transpose(0, 2, 1)
        depth_m = np.exp(at.log_depth + at.log_focal)[:, None]
        origin = np.concatenate([at.ray, np.ones_like(depth_m)], 1) * depth_m
        points = turned + origin[:, None]
        pixels = np.exp(at.log_focal) * points[..., :2] / points[..., 2:]
        return pixels, points, turned, origin

    def cost(self, at: _Unknowns) -> float:
        """Return twice the negative log posterior; infinite for points behind the camera."""
        pixels, points, _, _ = self.project(at)
        if not points[..., 2].min() > 0.0:
            return np.inf
        prior = (at.log_focal - np.log(self.views.focal_px)) / self.log_std
        total = np.sum((TAIL + 2.0) * np.log1p(self._squares(pixels) / TAIL))
        total += prior**2 + np.sum(at.identity**2) + np.sum((at.expression / EXPRESSION_STD) ** 2)
        return float(total)

    def normal_equations(self, at: _Unknowns) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Return local, mixed and shared blocks of the Hessian, local and shared gradient."""
        pixels, points, turned, origin = self.project(at)
        count = len(pixels)
        # Student's t as weights of a least-squares step.
        weight = np.sqrt((TAIL + 2.0) / (TAIL + self._squares(pixels))) / self.views.std_px
        residual = (pixels - self.views.landmarks_px) * weight[..., None]
        by_point = np.zeros((*pixels.shape, 3))  # d pixel / d point in the camera frame
        by_point[..., 0, 0] = by_point[..., 1, 1] = np.exp(at.log_focal) / points[..., 2]
        by_point[..., :, 2] = -pixels / points[..., 2:]
        by_point *= weight[..., None, None]
        by_depth = by_point @ origin[:, None, :, None]
        by_shape = by_point @ at.rotation[:, None]
        local = np.concatenate(
            [
                -by_point @ skew(turned),
                by_point[..., :2] * origin[:, None, None, 2:],
                by_depth,
                by_shape @ self.expression.transpose(1, 2, 0),
            ],
            -1,
        ).reshape(count, -1, 6 + len(self.expression))
        by_focal = pixels[..., None] * weight[..., None, None] + by_depth
        by_identity = by_shape @ self.identity.transpose(1, 2, 0)
        shared = np.concatenate([by_focal, by_identity], -1).reshape(*local.shape[:2], -1)
        transposed, residual = local.transpose(0, 2, 1), residual.reshape(count, -1, 1)
        flat = shared.reshape(-1, shared.shape[-1])
        hessian_local = transposed @ local
        places = np.arange(6, local.shape[-1])
        hessian_local[:, places, places] += EXPRESSION_STD**-2
        gradient_local = (transposed @ residual)[..., 0]
        gradient_local[:, 6:] += at.expression / EXPRESSION_STD**2
        weights = np.concatenate([[self.log_std**-2], np.ones(len(at.identity))])
        offset = np.concatenate([[at.log_focal - np.log(self.views.focal_px)], at.identity])
        gradient_shared = flat.T @ residual.ravel() + weights * offset
        hessian_shared = flat.T @ flat + np.diag(weights)
        return hessian_local, transposed @ shared, hessian_shared, gradient_local, gradient_shared

    def _squares(self, pixels: Floats) -> Floats:
        difference = (pixels - self.views.landmarks_px) / self.views.std_px[..., None]
        return np.sum(difference**2, -1)


def fit_focal(
    views: FaceViews, basis: ShapeBasis, points: NDArray[np.integer], log_std: float = 1.0
) -> FocalFit:
    """Fit focal length, identity, poses and expressions to landmarks in several views.

    Parameters
    ----------
    points
        ``(p,)``: the landmarks' indices in the basis.
    log_std
        Standard deviation of a prior on the logarithm of the focal length around the assumed one.
    """
    problem = _Problem(views, basis, points, log_std)
    at, damping = problem.start(), 1e-3
    cost = problem.cost(at)
    for _ in range(MAX_STEPS):
        equations = problem.normal_equations(at)
        while True:
            moved = at.moved(*_step(equations, damping))
            new_cost = problem.cost(moved)
            if new_cost < cost or damping > 1e6:
                break
            damping *= 10.0
        if not new_cost < cost:
            break
        gain, at, cost, damping = cost - new_cost, moved, new_cost, damping / 10.0
        if gain < DONE:
            break
    local, mixed, shared, *_ = problem.normal_equations(at)
    reduced = shared - _eliminated(mixed, np.linalg.solve(local, mixed))
    residuals = problem.project(at)[0] - views.landmarks_px
    variance = np.linalg.inv(reduced)[0, 0]
    return FocalFit(float(np.exp(at.log_focal)), float(np.sqrt(variance)), residuals)


def _step(
    equations: tuple[Floats, Floats, Floats, Floats, Floats], damping: float
) -> tuple[Floats, Floats]:
    """Return the damped Gauss-Newton step of the shared and of the local unknowns."""
    local, mixed, shared, gradient_local, gradient_shared = equations
    diagonal = np.einsum("nii->ni", local)[..., None] * np.eye(local.shape[-1])
    right = np.concatenate([mixed, gradient_local[..., None]], -1)
    solved = np.linalg.solve(local + damping * diagonal, right)
    reduced = shared - _eliminated(mixed, solved[..., :-1]) + damping * np.diag(np.diag(shared))
    eliminated_gradient = np.einsum("nls,nl->s", mixed, solved[..., -1])
    step = -np.linalg.solve(reduced, gradient_shared - eliminated_gradient)
    return step, -solved[..., -1] - solved[..., :-1] @ step


def _eliminated(mixed: Floats, solved: Floats) -> Floats:
    size = mixed.shape[-1]
    return mixed.reshape(-1, size).T @ solved.reshape(-1, size)
