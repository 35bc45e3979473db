"""Rigid geometry of heads and cameras: rotations, projection, and Eq. 2 of the paper.

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

from types import ModuleType
from typing import Any, TypeVar

import numpy as np

ArrayT = TypeVar("ArrayT", bound=Any)
"""A NumPy array or a torch tensor."""

FACE_BOX_M = 0.2
"""Side of the box in space that the paper imagines around a face (section 3.4), in metres."""


def _namespace(array: Any) -> ModuleType:
    """Return the array library that ``array`` belongs to."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    import sys

    return sys.modules[type(array).__module__.partition(".")[0]]


def normalize(vectors: ArrayT, eps: float = 1e-12) -> ArrayT:
    """Scale vectors ``(..., d)`` to unit length; those shorter than ``eps`` stay finite."""
    xp = _namespace(vectors)
    length_squared = (vectors * vectors).sum(-1)[..., None]
    return vectors / xp.sqrt(xp.clip(length_squared, eps * eps, None))


def rotation_from_6d(rotation_6d: ArrayT) -> ArrayT:
    """Turn ``(..., 6)`` numbers, the first then the second column of R, into ``(..., 3, 3)``.

    Gram-Schmidt, as in Zhou et al. 2019 (reference 52 of the paper), Eq. 15.
    """
    xp = _namespace(rotation_6d)
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    x_axis = normalize(first)
    y_axis = normalize(second - (x_axis * second).sum(-1)[..., None] * x_axis)
    z_axis = cross(x_axis, y_axis)
    return xp.stack([x_axis, y_axis, z_axis], -1)


def rotation_to_6d(rotation: ArrayT) -> ArrayT:
    """Return the first two columns of ``(..., 3, 3)`` as ``(..., 6)``."""
    xp = _namespace(rotation)
    return xp.concatenate([rotation[..., :, 0], rotation[..., :, 1]], -1)


def cross(a: ArrayT, b: ArrayT) -> ArrayT:
    """Return the cross product of vectors ``(..., 3)``."""
    xp = _namespace(a)
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return xp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def rotation_from_euler(yaw_pitch_roll_deg: ArrayT) -> ArrayT:
    """Build ``(..., 3, 3)`` from degrees ``(..., 3)``: R = Rz(roll) @ Rx(pitch) @ Ry(yaw).

    The same as SciPy's ``Rotation.from_euler('yxz', ...)``, the order of the paper's tables.
    """
    xp = _namespace(yaw_pitch_roll_deg)
    radians = yaw_pitch_roll_deg * (np.pi / 180.0)
    cos, sin = xp.cos(radians), xp.sin(radians)
    cy, cp, cr = cos[..., 0], cos[..., 1], cos[..., 2]
    sy, sp, sr = sin[..., 0], sin[..., 1], sin[..., 2]
    rows = [
        xp.stack([cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy], -1),
        xp.stack([sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy], -1),
        xp.stack([-cp * sy, sp, cp * cy], -1),
    ]
    return xp.stack(rows, -2)


def euler_from_rotation(rotation: ArrayT) -> ArrayT:
    """Return yaw, pitch, roll in degrees, ``(..., 3)``, of rotations ``(..., 3, 3)``.

    The inverse of :func:`rotation_from_euler`; pitch lies in [-90, 90]. At pitch = +-90 degrees
    yaw and roll turn about one axis, and only their sum or difference has a meaning.
    """
    xp = _namespace(rotation)
    yaw = xp.arctan2(-rotation[..., 2, 0], rotation[..., 2, 2])
    pitch = xp.arctan2(
        rotation[..., 2, 1], xp.sqrt(rotation[..., 2, 0] ** 2 + rotation[..., 2, 2] ** 2)
    )
    roll = xp.arctan2(-rotation[..., 0, 1], rotation[..., 1, 1])
    return xp.stack([yaw, pitch, roll], -1) * (180.0 / np.pi)


def geodesic_angle_deg(rotation_a: ArrayT, rotation_b: ArrayT) -> ArrayT:
    """Return the angle of ``rotation_a @ rotation_b.T`` in degrees, ``(...)``.

    Taken from sine and cosine together, so that it stays exact near 0 and 180 degrees, where
    the usual arc cosine of the trace loses half its digits.
    """
    xp = _namespace(rotation_a)
    relative = rotation_a @ rotation_b.swapaxes(-1, -2)
    axis_times_two_sin = xp.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        -1,
    )
    two_sin = xp.sqrt((axis_times_two_sin**2).sum(-1))
    two_cos = relative[..., 0, 0] + relative[..., 1, 1] + relative[..., 2, 2] - 1.0
    return xp.arctan2(two_sin, two_cos) * (180.0 / np.pi)


def transform(points: ArrayT, rotation: ArrayT, translation: ArrayT) -> ArrayT:
    """Move points ``(..., n, 3)`` by R ``(..., 3, 3)`` and T ``(..., 3)``: ``R @ X + T`` each."""
    return points @ rotation.swapaxes(-1, -2) + translation[..., None, :]


def rays_from_points(points_cam: ArrayT, min_depth_m: float = 1e-3) -> ArrayT:
    """Project camera-space points ``(..., n, 3)`` to rays ``(..., n, 2)`` on the plane z = 1.

    Depth is clamped to ``min_depth_m`` from below, so that an early guess of a network that puts
    points behind the camera yields far-away rays rather than mirrored or infinite ones.
    """
    xp = _namespace(points_cam)
    depth = xp.clip(points_cam[..., 2:], min_depth_m, None)
    return points_cam[..., :2] / depth


def crop_from_rays(rays: ArrayT, box_numbers: ArrayT) -> ArrayT:
    """Map rays ``(..., n, 2)`` to crop coordinates, given box numbers ``(..., 3)``."""
    centre, side = box_numbers[..., None, :2], box_numbers[..., None, 2:]
    return (rays - centre) * 2.0 / side


def rays_from_crop(crop_points: ArrayT, box_numbers: ArrayT) -> ArrayT:
    """Map crop coordinates ``(..., n, 2)`` to rays; the inverse of :func:`crop_from_rays`."""
    centre, side = box_numbers[..., None, :2], box_numbers[..., None, 2:]
    return crop_points * side / 2.0 + centre


def translation_from_correction(correction: ArrayT, box_numbers: ArrayT) -> ArrayT:
    """Eq. 2: the head's translation in metres from the correction parameters.

    Parameters
    ----------
    correction
        ``(..., 3)``: scale s, and the head centre's offset from the box centre over b, x and y.
    box_numbers
        ``(..., 3)``: ``tau_x / f, tau_y / f, b / f``.
    """
    xp = _namespace(correction)
    face_side_m = FACE_BOX_M * correction[..., :1]
    depth_m = face_side_m / box_numbers[..., 2:]
    lateral_m = depth_m * box_numbers[..., :2] + face_side_m * correction[..., 1:]
    return xp.concatenate([lateral_m, depth_m], -1)


def correction_from_translation(translation_m: ArrayT, box_numbers: ArrayT) -> ArrayT:
    """The exact inverse of :func:`translation_from_correction`, for translations with z != 0."""
    xp = _namespace(translation_m)
    depth_m, side = translation_m[..., 2:], box_numbers[..., 2:]
    scale = depth_m * side / FACE_BOX_M
    offset = (translation_m[..., :2] / depth_m - box_numbers[..., :2]) / side
    return xp.concatenate([scale, offset], -1)
