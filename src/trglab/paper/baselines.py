"""Rivals of the paper's families (section 2), so that its argument can be checked anywhere.

* **Optimisation-based** (JMLR, PerspNet, MICA): landmarks first, then a pose that projects a 3D
  face onto them. :class:`PnPRuntime` does that with any bundle's landmarks.
* **Direct regression** of translation without landmarks: a configuration of the network,
  ``landmark-free`` with ``translation="direct"`` (:func:`baseline_configs`).
* **Pose in the proposal** (img2pose): the network is not told where in the picture the box lies
  nor how large it is; its pose in an imagined camera around the box is turned into the picture's
  afterwards. :func:`local_views` are what it is trained on, :class:`LocalNetwork` runs it.

Each implements :class:`~trg.inference.pose_pipeline.PoseNetwork`, so that everything that takes
a bundle's runtime takes it too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trg.geometry.projection import (
    OPTICAL_AXIS,
    correction_from_translation,
    crop_from_rays,
    rays_from_crop,
    rays_from_points,
    transform,
    translation_from_correction,
)
from trg.geometry.rotations import rotation_between
from trg.inference.runtime import ModelWrapper, PoseArrays, PoseNetwork
from trg.network.config import TRGConfig, table1_variants
from trglab.datasets.view import Views
from trglab.paper.pnp import solve_pnp

Floats = NDArray[np.float64]

Points = Literal["heatmap", "projected"]
"""68 points from the heatmaps, which know of no pose; or the projections of all vertices."""

Shape = Literal["predicted", "mean"]
"""Which 3D face is fitted: the one that the network says, or the mean face."""

LOCAL_BOX = np.array([0.0, 0.0, 0.5])
"""Box numbers in img2pose's imagined camera: its axis meets the box's centre, and its focal length
is the sum of the box's two sides."""


def baseline_configs(base: TRGConfig) -> dict[str, TRGConfig]:
    """Return the landmark-free rivals as changes to ``base``, the full network."""
    free = table1_variants(base)["landmark-free"]
    return {"direct": replace(free, translation="direct"), "local": free}


class PnPNetwork(ModelWrapper):
    """A network whose landmarks are kept and whose pose is found from them by PnP.

    Parameters
    ----------
    network
        A bundle's runtime, or anything like it.
    points
        Where the 2D points come from.
    shape
        Which 3D face is fitted. The predicted one onto its own projections would give back the
        network's own pose, and is refused.

    Raises
    ------
    ValueError
        The choice says nothing.
    """

    def __init__(
        self, network: PoseNetwork, points: Points = "heatmap", shape: Shape = "predicted"
    ) -> None:
        if (points, shape) == ("projected", "predicted"):
            raise ValueError(
                "PnP: expected another face than the one that was projected, or heatmap points"
            )
        super().__init__(network, f"PnP: {points} points, {shape} face")
        self._points, self._shape = points, shape

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate faces; arguments and errors as the network's. Where PnP fails: its own pose."""
        arrays = self._network(crops, bbox_info)
        topology = self.topology
        vertices_m = np.asarray(arrays.vertices_m)
        if self._shape == "mean":
            vertices_m = np.broadcast_to(topology.template_m, vertices_m.shape)
        chosen: Any = slice(None)
        points_crop = arrays.vertices_crop
        if self._points == "heatmap":
            chosen, points_crop = topology.landmarks68, arrays.landmarks68_crop
        boxes = np.asarray(bbox_info, dtype=np.float64)
        rays = rays_from_crop(points_crop.astype(np.float64), boxes)
        rotation, translation_m = arrays.rotation.copy(), arrays.translation_m.copy()
        for face, points_m in enumerate(vertices_m[:, chosen]):
            try:
                found = solve_pnp(points_m, rays[face], np.random.default_rng(0))
            except ValueError:  # a trained network's points never make it so
                continue
            rotation[face], translation_m[face] = found.rotation, found.translation_m
        projected = _project(vertices_m, rotation, translation_m, boxes)
        return arrays._replace(
            rotation=rotation,
            translation_m=translation_m,
            vertices_m=np.ascontiguousarray(vertices_m),
            vertices_crop=projected,
        )


class LocalNetwork(ModelWrapper):
    """A network that was trained on :func:`local_views`, giving poses in the picture's camera."""

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__(network, "not told the box")

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate faces; arguments and errors as the network's."""
        boxes = np.asarray(bbox_info, dtype=np.float64)
        local_boxes = np.broadcast_to(LOCAL_BOX, boxes.shape).astype(np.float32)
        arrays = self._network(crops, local_boxes)
        rotation, translation_m = cam_from_local(
            arrays.rotation.astype(np.float64), arrays.translation_m.astype(np.float64), boxes
        )
        return arrays._replace(
            rotation=rotation.astype(np.float32),
            translation_m=translation_m.astype(np.float32),
            vertices_crop=_project(arrays.vertices_m, rotation, translation_m, boxes),
        )


def local_from_cam(
    rotation: Floats, translation_m: Floats, bbox_info: Floats
) -> tuple[Floats, Floats]:
    """Turn poses ``(..., 3, 3)``, ``(..., 3)`` into those in the boxes' imagined cameras.

    The translation is the one of the same correction (Eq. 2), so that the head appears at the same
    place and size in the box; the rotation is counted from the line of sight to the box's centre.
    """
    correction = correction_from_translation(translation_m, bbox_info)
    towards = _rotation_to_box(bbox_info)
    boxes = np.broadcast_to(LOCAL_BOX, bbox_info.shape)
    return towards.swapaxes(-1, -2) @ rotation, translation_from_correction(correction, boxes)


def cam_from_local(
    rotation: Floats, translation_m: Floats, bbox_info: Floats
) -> tuple[Floats, Floats]:
    """Undo :func:`local_from_cam`."""
    boxes = np.broadcast_to(LOCAL_BOX, bbox_info.shape)
    correction = correction_from_translation(translation_m, boxes)
    towards = _rotation_to_box(bbox_info)
    return towards @ rotation, translation_from_correction(correction, bbox_info)


def local_views(views: Views) -> Views:
    """Return one view as the imagined camera around its face box sees it.

    The picture stays; boxes, landmarks and pose are told in that camera, so that nothing is left
    in them of where the box was in the picture and how large.
    """
    box = views.face_bbox_info.astype(np.float64)
    zoom = LOCAL_BOX[2] / box[2]

    def local(bbox_info: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = np.append(bbox_info[:2] - box[:2], bbox_info[2])
        return (moved * zoom).astype(np.float32)

    rotation, translation_m = local_from_cam(
        views.rotation.astype(np.float64), views.translation_m.astype(np.float64), box
    )
    return views._replace(
        view_bbox_info=local(views.view_bbox_info),
        face_bbox_info=LOCAL_BOX.astype(np.float32),
        landmarks68_rays=((views.landmarks68_rays - box[:2]) * zoom).astype(np.float32),
        rotation=rotation.astype(np.float32) if views.has_pose else views.rotation,
        translation_m=translation_m.astype(np.float32) if views.has_pose else views.translation_m,
    )


def _rotation_to_box(bbox_info: Floats) -> Floats:
    """Return the least rotations ``(..., 3, 3)`` of the optical axis onto the box centres."""
    centre = np.concatenate([bbox_info[..., :2], np.ones_like(bbox_info[..., 2:])], -1)
    return rotation_between(OPTICAL_AXIS, centre)


def _project(
    vertices_m: NDArray[Any], rotation: NDArray[Any], translation_m: NDArray[Any], boxes: Floats
) -> NDArray[np.float32]:
    rays = rays_from_points(transform(vertices_m.astype(np.float64), rotation, translation_m))
    return crop_from_rays(rays, boxes).astype(np.float32)
