"""Rotations: one home for every representation, for NumPy arrays and torch tensors alike.

A rotation is a matrix ``(..., 3, 3)`` that acts on columns: ``X_cam = R @ X_head``. Functions take
NumPy arrays or torch tensors and return the same kind, on the same device and with gradients;
torch is never imported here. Those that say so take NumPy arrays only.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from trg._util.array_namespace import namespace_of

ArrayT = TypeVar("ArrayT", bound=Any)
"""A NumPy array or a torch tensor."""


def normalize(vectors: ArrayT, eps: float = 1e-12) -> ArrayT:
    """Scale vectors ``(..., d)`` to unit length; those shorter than ``eps`` stay finite."""
    xp = namespace_of(vectors)
    length_squared = (vectors * vectors).sum(-1)[..., None]
    return vectors / xp.sqrt(xp.clip(length_squared, eps * eps, None))


def rotation_from_6d(rotation_6d: ArrayT) -> ArrayT:
    """Turn ``(..., 6)`` numbers, the first then the second column of R, into ``(..., 3, 3)``.

    Gram-Schmidt, as in Zhou et al. 2019 (reference 52 of the paper), Eq. 15.
    """
    xp = namespace_of(rotation_6d)
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    x_axis = normalize(first)
    y_axis = normalize(second - (x_axis * second).sum(-1)[..., None] * x_axis)
    z_axis = cross(x_axis, y_axis)
    return xp.stack([x_axis, y_axis, z_axis], -1)


def rotation_to_6d(rotation: ArrayT) -> ArrayT:
    """Return the first two columns of ``(..., 3, 3)`` as ``(..., 6)``."""
    xp = namespace_of(rotation)
    return xp.concatenate([rotation[..., :, 0], rotation[..., :, 1]], -1)


def cross(a: ArrayT, b: ArrayT) -> ArrayT:
    """Return the cross product of vectors ``(..., 3)``."""
    xp = namespace_of(a)
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return xp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def rotation_from_euler(yaw_pitch_roll_deg: ArrayT) -> ArrayT:
    """Build ``(..., 3, 3)`` from degrees ``(..., 3)``: R = Rz(roll) @ Rx(pitch) @ Ry(yaw).

    The same as SciPy's ``Rotation.from_euler('yxz', ...)``, the order of the paper's tables.
    """
    xp = namespace_of(yaw_pitch_roll_deg)
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
    xp = namespace_of(rotation)
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
    xp = namespace_of(rotation_a)
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
