"""Projection and Eq. 2 of the paper, in normalised image coordinates.

Conventions
-----------
* Points are rows, ``(..., n, 3)``, with ``X_cam = R @ X_head + T`` for each.
* The camera frame is OpenCV's: x right, y down, z forward. Lengths are metres.
* A *ray* is a point on the plane z = 1 of the camera frame: ``(x / z, y / z)``.
* ``bbox_info`` is the square face box in rays, its centre and side:
  ``(tau_x / f, tau_y / f, b / f)``. *Crop coordinates* run from -1 to 1 over that box.

Every function accepts NumPy arrays or torch tensors and returns the same kind, on the same device
and with gradients; this module never imports torch.
"""

from __future__ import annotations

import numpy as np

from trg._util.array_namespace import ArrayT, namespace_of

OPTICAL_AXIS = np.array([0.0, 0.0, 1.0])
"""Viewing direction of a camera in its own frame."""

FACE_BOX_M = 0.2
"""Side of the 3D box around a face in section 3.4 of the paper, metres."""


def transform(points: ArrayT, rotation: ArrayT, translation: ArrayT) -> ArrayT:
    """Transform points ``(..., n, 3)`` by R ``(..., 3, 3)`` and T ``(..., 3)``: ``R @ X + T``."""
    return points @ rotation.swapaxes(-1, -2) + translation[..., None, :]


def rays_from_points(points_cam: ArrayT, min_depth_m: float = 1e-3) -> ArrayT:
    """Project points in the camera frame ``(..., n, 3)`` to rays ``(..., n, 2)``.

    Depth is clamped to ``min_depth_m`` from below: early in training the network may put points
    behind the camera, whose rays would be mirrored or infinite.
    """
    xp = namespace_of(points_cam)
    depth = xp.clip(points_cam[..., 2:], min_depth_m, None)
    return points_cam[..., :2] / depth


def crop_from_rays(rays: ArrayT, bbox_info: ArrayT) -> ArrayT:
    """Map rays ``(..., n, 2)`` to crop coordinates, given ``bbox_info`` ``(..., 3)``."""
    centre, side = bbox_info[..., None, :2], bbox_info[..., None, 2:]
    return (rays - centre) * (2.0 / side)


def rays_from_crop(crop_points: ArrayT, bbox_info: ArrayT) -> ArrayT:
    """Map crop coordinates ``(..., n, 2)`` to rays; the inverse of :func:`crop_from_rays`."""
    centre, side = bbox_info[..., None, :2], bbox_info[..., None, 2:]
    return crop_points * side / 2.0 + centre


def translation_from_correction(correction: ArrayT, bbox_info: ArrayT) -> ArrayT:
    """Return the head translation ``(..., 3)`` in metres from the correction parameters: Eq. 2.

    Parameters
    ----------
    correction
        ``(..., 3)``: scale s, then the offset in x and y of the projected head centre from the box
        centre, as a fraction of the box side b.
    bbox_info
        ``(..., 3)``: ``tau_x / f, tau_y / f, b / f``.
    """
    xp = namespace_of(correction)
    face_side_m = FACE_BOX_M * correction[..., :1]
    depth_m = face_side_m / bbox_info[..., 2:]
    lateral_m = depth_m * bbox_info[..., :2] + face_side_m * correction[..., 1:]
    return xp.concatenate([lateral_m, depth_m], -1)


def correction_from_translation(translation_m: ArrayT, bbox_info: ArrayT) -> ArrayT:
    """Invert :func:`translation_from_correction` exactly, for translations with z != 0."""
    xp = namespace_of(translation_m)
    depth_m, side = translation_m[..., 2:], bbox_info[..., 2:]
    scale = depth_m * side / FACE_BOX_M
    offset = (translation_m[..., :2] / depth_m - bbox_info[..., :2]) / side
    return xp.concatenate([scale, offset], -1)
