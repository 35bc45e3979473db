"""Baselines of the method families that the paper compares with (section 2).

* Optimisation-based (JMLR, PerspNet, MICA): landmarks first, then the pose that projects a 3D face
  onto them. :class:`PnPNetwork` does so with any network's landmarks.
* Direct regression of the translation, without landmarks: the configuration ``direct`` of
  :func:`baseline_configs`.
* Pose in the proposal (img2pose): the configuration ``local`` and :mod:`trglab.paper.img2pose`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trg.geometry.projection import crop_from_rays, rays_from_crop, rays_from_points, transform
from trg.inference.runtime import ModelWrapper, PoseArrays, PoseNetwork
from trg.network.config import TRGConfig, table1_variants
from trglab.paper.pnp import solve_pnp

Floats = NDArray[np.float64]

PointSource = Literal["heatmap", "projected"]
"""68 points from the heatmaps, which do not depend on the pose; or all projected vertices."""

ShapeSource = Literal["predicted", "mean"]
"""The 3D face that is fitted: the network's, or the mean face."""


def baseline_configs(base: TRGConfig) -> dict[str, TRGConfig]:
    """Return the landmark-free baselines as changes to ``base``, the full network."""
    landmark_free = table1_variants(base)["landmark-free"]
    return {"direct": replace(landmark_free, translation="direct"), "local": landmark_free}


class PnPNetwork(ModelWrapper):
    """A network whose pose is replaced by the PnP solution for its landmarks.

    Parameters
    ----------
    network
        A bundle's runtime or any other pose network.
    points
        Source of the 2D points.
    shape
        The 3D face that is fitted.

    Raises
    ------
    ValueError
        Projected points with the predicted shape, which would return the network's own pose.
    """

    def __init__(
        self,
        network: PoseNetwork,
        points: PointSource = "heatmap",
        shape: ShapeSource = "predicted",
    ) -> None:
        if (points, shape) == ("projected", "predicted"):
            raise ValueError(
                "PnP: expected heatmap points or the mean face; projected points with the "
                "predicted face return the network's own pose"
            )
        super().__init__(network, f"PnP: {points} points, {shape} face")
        self._points, self._shape = points, shape

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate faces; arguments and errors as the network's. Without a PnP pose: its own."""
        arrays = self._network(crops, bbox_info)
        topology = self.topology
        vertices_m = np.asarray(arrays.vertices_m)
        if self._shape == "mean":
            vertices_m = np.broadcast_to(topology.template_m, vertices_m.shape)
        used_vertices: Any = slice(None)
        points_crop = arrays.vertices_crop
        if self._points == "heatmap":
            used_vertices, points_crop = topology.landmarks68, arrays.landmarks68_crop
        boxes = np.asarray(bbox_info, dtype=np.float64)
        rays = rays_from_crop(points_crop.astype(np.float64), boxes)
        rotation, translation_m = arrays.rotation.copy(), arrays.translation_m.copy()
        for face, points_m in enumerate(vertices_m[:, used_vertices]):
            try:
                pose = solve_pnp(points_m, rays[face], np.random.default_rng(0))
            except ValueError:  # degenerate points, which only untrained networks produce
                continue
            rotation[face], translation_m[face] = pose.rotation, pose.translation_m
        return arrays._replace(
            rotation=rotation,
            translation_m=translation_m,
            vertices_m=np.ascontiguousarray(vertices_m),
            vertices_crop=project_to_crop(vertices_m, rotation, translation_m, boxes),
        )


def project_to_crop(
    vertices_m: NDArray[Any], rotation: NDArray[Any], translation_m: NDArray[Any], bbox_info: Floats
) -> NDArray[np.float32]:
    """Return crop coordinates ``(b, n, 2)`` of vertices ``(b, n, 3)`` in the head frame."""
    rays = rays_from_points(transform(vertices_m.astype(np.float64), rotation, translation_m))
    return crop_from_rays(rays, bbox_info).astype(np.float32)
