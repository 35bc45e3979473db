"""Projection and Eq. 2 of the paper, in normalised image coordinates.

Conventions
-----------
* Points are rows: ``(..., n, 3)``. Rotations act as ``X_cam = R @ X_head + T``.
* The camera frame is OpenCV's: x right, y down, z forward. Lengths are metres.
* A *ray* is a point on the plane z = 1 of the camera frame: ``(x / z, y / z)``.
* *Box numbers* are the square face box in rays: ``(tau_x / f, tau_y / f, b / f)``, its centre
  and its side. *Crop coordinates* run from -1 to 1 over that box.

Every function takes NumPy arrays or torch tensors and gives the same kind back, on the same
device and with gradients; torch is never imported here.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from trg._util.array_namespace import namespace_of

ArrayT = TypeVar("ArrayT", bound=Any)
"""A NumPy array or a torch tensor."""

OPTICAL_AXIS = np.array([0.0, 0.0, 1.0])
"""Viewing direction of a camera in its own frame."""

FACE_BOX_M = 0.2
"""Side of the box in space that the paper imagines around a face (section 3.4), in metres."""


def transform(points: ArrayT, rotation: ArrayT, translation: ArrayT) -> ArrayT:
    """Move points ``(..., n, 3)`` by R ``(..., 3, 3)`` and T ``(..., 3)``: ``R @ X + T`` each."""
    return points @ rotation.swapaxes(-1, -2) + translation[..., None, :]


def rays_from_points(points_cam: ArrayT, min_depth_m: float = 1e-3) -> ArrayT:
    """Project camera-space points ``(..., n, 3)`` to rays ``(..., n, 2)`` on the plane z = 1.

    Depth is clamped to ``min_depth_m`` from below, so that an early guess of a network that puts
    points behind the camera yields far-away rays rather than mirrored or infinite ones.
    """
    xp = namespace_of(points_cam)
    depth = xp.clip(points_cam[..., 2:], min_depth_m, None)
    return points_cam[..., :2] / depth


def crop_from_rays(rays: ArrayT, bbox_info: ArrayT) -> ArrayT:
    """Map rays ``(..., n, 2)`` to crop coordinates, given box numbers ``(..., 3)``."""
    centre, side = bbox_info[..., None, :2], bbox_info[..., None, 2:]
    return (rays - centre) * 2.0 / side


def rays_from_crop(crop_points: ArrayT, bbox_info: ArrayT) -> ArrayT:
    """Map crop coordinates ``(..., n, 2)`` to rays; the inverse of :func:`crop_from_rays`."""
    centre, side = bbox_info[..., None, :2], bbox_info[..., None, 2:]
    return crop_points * side / 2.0 + centre


def translation_from_correction(correction: ArrayT, bbox_info: ArrayT) -> ArrayT:
    """Eq. 2: the head's translation in metres from the correction parameters.

    Parameters
    ----------
    correction
        ``(..., 3)``: scale s, and the head centre's offset from the box centre over b, x and y.
    bbox_info
        ``(..., 3)``: ``tau_x / f, tau_y / f, b / f``.
    """
    xp = namespace_of(correction)
    face_side_m = FACE_BOX_M * correction[..., :1]
    depth_m = face_side_m / bbox_info[..., 2:]
    lateral_m = depth_m * bbox_info[..., :2] + face_side_m * correction[..., 1:]
    return xp.concatenate([lateral_m, depth_m], -1)


def correction_from_translation(translation_m: ArrayT, bbox_info: ArrayT) -> ArrayT:
    """The exact inverse of :func:`translation_from_correction`, for translations with z != 0."""
    xp = namespace_of(translation_m)
    depth_m, side = translation_m[..., 2:], bbox_info[..., 2:]
    scale = depth_m * side / FACE_BOX_M
    offset = (translation_m[..., :2] / depth_m - bbox_info[..., :2]) / side
    return xp.concatenate([scale, offset], -1)
