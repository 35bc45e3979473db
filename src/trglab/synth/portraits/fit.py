"""Fit of the face model to a photograph's estimated landmarks: identity, expression and pose."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotation_to_rotvec
from trglab.synth.head.face_model import FaceModel
from trglab.synth.portraits.estimates import FOCAL_PX_PER_WIDTH, FaceEstimates
from trglab.synth.skin.photo_fit import fit_shape

Floats = NDArray[np.float64]

IDENTITY_MODES = 40
EXPRESSION_SD = 0.3
"""Standard deviation of an expression's weight, which is 0 or more."""

LANDMARK_SIGMA = 0.008
DENSE_SIGMA = 0.025
"""Standard deviation of landmarks and of dense vertices, over the side of the face. The dense
vertices come from one regression, so their errors are not independent."""


class PortraitFit(NamedTuple):
    """A face model fitted to a photograph; V are the model's vertices."""

    vertices_m: NDArray[np.float32]
    """``(V, 3)`` in the head frame, with expression"""
    rotation: Floats
    """``(3, 3)``, ``cam_from_head``"""
    translation_m: Floats
    focal_px: float
    """The principal point is the image centre"""
    expression: Floats
    """``(E,)`` weights"""
    mouth_gap: float
    """Between the lips, over the width of the mouth"""
    error: float
    """Median reprojection error of the 68 landmarks, over the side of the face"""

    @property
    def vertices_cam_m(self) -> NDArray[np.float32]:
        """``(V, 3)`` in the camera frame."""
        cam: Floats = self.vertices_m @ self.rotation.T + self.translation_m
        return cam.astype(np.float32)


def fit_portrait(model: FaceModel, estimates: FaceEstimates, index: int) -> PortraitFit:
    """Fit the face model to one photograph of :class:`FaceEstimates`.

    The estimate must be free of problems (:meth:`FaceEstimates.problem`).
    """
    width, height = estimates.sizes_px[index].tolist()
    subsample = model.topology.subsample
    targets = np.concatenate(
        [estimates.landmarks68_px[index], estimates.vertices_px[index][subsample]]
    )
    side_px = float(np.ptp(targets[:68], axis=0).max())
    sigma = np.repeat([LANDMARK_SIGMA * side_px, DENSE_SIGMA * side_px], [68, len(targets) - 68])
    points = np.concatenate([model.landmarks68, model.dense[subsample]])
    modes = min(IDENTITY_MODES, len(model.identity))
    shapes = np.concatenate(
        [model.identity[:modes, points], EXPRESSION_SD * model.expression[:, points]]
    ).astype(np.float64)
    start = np.concatenate([
        rotation_to_rotvec(estimates.rotation[index]),
        estimates.translation_m[index],
        [np.log(FOCAL_PX_PER_WIDTH * width)],
        np.zeros(len(shapes)),
    ])  # fmt: skip
    lowest = np.concatenate([np.full(modes, -np.inf), np.zeros(len(model.expression))])
    fitted = fit_shape(
        model.mean_m[points].astype(np.float64),
        shapes,
        lambda _: targets,
        sigma,
        np.array([width / 2.0, height / 2.0]),
        start,
        lowest,
    )
    expression = EXPRESSION_SD * fitted.coefficients[modes:]
    neutral = model.neutral(fitted.coefficients[:modes])
    points_px = fitted.projected_px[:68]
    gap = np.linalg.norm(points_px[61:64] - points_px[67:64:-1], axis=1).mean()
    offset = np.linalg.norm(points_px - targets[:68], axis=1)
    return PortraitFit(
        model.express(neutral, np.minimum(expression, 1.0)),
        fitted.rotation,
        fitted.translation_m,
        fitted.focal_px,
        expression,
        float(gap / np.linalg.norm(points_px[54] - points_px[48])),
        float(np.median(offset)) / side_px,
    )
