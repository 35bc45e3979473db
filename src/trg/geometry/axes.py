"""How other programs write a head's pose: their axes, Euler angles in any order, quaternions.

A pose is the 4x4 matrix ``cam_from_head``. Each program has its own axes for a camera and its
own axes for a body that faces forward; both ends of the pose change, so that a model built the
program's way, placed by the matrix under the program's camera, appears as the head does in the
picture.

============  =================================  =========================================
frame         camera: x, y, z                    head: x, y, z
============  =================================  =========================================
``opencv``    right, down, forward               person's left, down, back of the head
``opengl``    right, up, backward                person's left, up, out of the face
``ros``       forward, left, up (REP 103 body)   out of the face, person's left, up
``unity``     right, up, forward (left-handed)   person's right, up, out of the face
``blender``   right, up, backward                person's left, back of the head, up
============  =================================  =========================================

"Right", "up" and "forward" of a camera are the picture's and the optical axis's. A face that looks
straight into the camera is the identity in ``opencv`` and ``opengl``, a half turn about the
vertical in ``ros`` and ``unity`` (two bodies that face each other), and in ``blender`` the identity
as soon as the camera looks level along +y of the world.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array

Frame = Literal["opencv", "opengl", "ros", "unity", "blender"]
"""A program's, or a library's, choice of axes for a camera and a head."""

ROTATION_TOLERANCE = 1e-4
"""How far R @ R.T may be from the identity; rotations made in float32 are within 1e-6."""

GIMBAL_TOLERANCE_RAD = 1e-7


def _frozen(*rows: tuple[int, int, int]) -> NDArray[np.float64]:
    axes = np.array(rows, dtype=np.float64)
    axes.setflags(write=False)
    return axes


CAMERA_AXES: Mapping[Frame, NDArray[np.float64]] = MappingProxyType(
    {
        "opencv": _frozen((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "opengl": _frozen((1, 0, 0), (0, -1, 0), (0, 0, -1)),
        "ros": _frozen((0, 0, 1), (-1, 0, 0), (0, -1, 0)),
        "unity": _frozen((1, 0, 0), (0, -1, 0), (0, 0, 1)),
        "blender": _frozen((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    }
)
"""``(3, 3)`` a frame: ``CAMERA_AXES[frame] @ X`` takes camera coordinates here to those there."""

HEAD_AXES: Mapping[Frame, NDArray[np.float64]] = MappingProxyType(
    {
        "opencv": _frozen((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "opengl": _frozen((1, 0, 0), (0, -1, 0), (0, 0, -1)),
        "ros": _frozen((0, 0, -1), (1, 0, 0), (0, -1, 0)),
        "unity": _frozen((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
        "blender": _frozen((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    }
)
"""``(3, 3)`` a frame: ``HEAD_AXES[frame] @ X`` takes head coordinates here to those there."""


def pose_to_frame(cam_from_head: ArrayLike, frame: Frame) -> NDArray[np.float64]:
    """Turn a pose ``(4, 4)`` in the axes used here (OpenCV's) into another program's.

    Lengths stay metres. The result's rotation is proper in every frame, left-handed ones too.

    Raises
    ------
    ValueError
        The frame is unknown, or the matrix is no pose.
    """
    camera, head = _axes(frame)
    return camera @ _pose(cam_from_head) @ head.T


def pose_from_frame(cam_from_head: ArrayLike, frame: Frame) -> NDArray[np.float64]:
    """Turn a pose ``(4, 4)`` in another program's axes into ours: undoes :func:`pose_to_frame`.

    Raises
    ------
    ValueError
        The frame is unknown, or the matrix is no pose.
    """
    camera, head = _axes(frame)
    return camera.T @ _pose(cam_from_head) @ head


def quaternion_from_rotation(rotation: ArrayLike) -> NDArray[np.float64]:
    """Return the unit quaternion ``(x, y, z, w)`` of a rotation ``(3, 3)``, with w >= 0.

    Of the four ways to divide, the one with the largest divisor (Shepperd 1978). For a half turn,
    where w is 0, the first of x, y, z that is not 0 is positive.

    Raises
    ------
    ValueError
        The matrix is no rotation.
    """
    R = checked_rotation("rotation", rotation)
    trace = R[0, 0] + R[1, 1] + R[2, 2]
    largest = int(np.argmax((R[0, 0], R[1, 1], R[2, 2], trace)))
    quaternion = np.empty(4)
    if largest == 3:
        quaternion[:] = R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 1.0 + trace
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        quaternion[i] = 1.0 + 2.0 * R[i, i] - trace
        quaternion[j] = R[j, i] + R[i, j]
        quaternion[k] = R[k, i] + R[i, k]
        quaternion[3] = R[k, j] - R[j, k]
    quaternion /= np.linalg.norm(quaternion)
    x, y, z, w = quaternion
    first = next(number for number in (w, x, y, z) if number)
    return -quaternion + 0.0 if first < 0 else quaternion + 0.0  # + 0.0: no negative zeros


def euler_in_order(rotation: ArrayLike, order: str) -> NDArray[np.float64]:
    """Return the three Euler angles of a rotation ``(3, 3)`` in degrees, in the order given.

    ``order`` is SciPy's: three of ``xyz`` for turns about the fixed axes, first letter first, or
    three of ``XYZ`` for turns about the axes that turn along; a letter may return as the third.
    The first and third angles lie in [-180, 180], the second in [-90, 90], or in [0, 180] where
    the third letter is the first. At the second's ends the outer two turn about one axis: the
    third is then 0. Computed by way of the quaternion (Bernardes and Viollet 2022).

    Raises
    ------
    ValueError
        The order is none of these, or the matrix is no rotation.
    """
    i, j, k = _euler_axes(order)
    fixed_axes = order == order.lower()
    returns = i == k
    if returns:
        k = 3 - i - j
    parity = float((i - j) * (j - k) * (k - i) // 2)
    q = quaternion_from_rotation(rotation)
    a, b, c, d = q[3], q[i], q[j], q[k] * parity
    if not returns:
        a, b, c, d = a - c, b + d, c + a, d - b
    middle = 2.0 * np.arctan2(np.hypot(c, d), np.hypot(a, b))
    half_sum, half_difference = np.arctan2(b, a), np.arctan2(d, c)
    side = -1.0 if fixed_axes else 1.0
    if middle < GIMBAL_TOLERANCE_RAD:  # only the sum has a meaning
        half_difference = side * half_sum
    elif middle > np.pi - GIMBAL_TOLERANCE_RAD:  # only the difference has
        half_sum = side * half_difference
    first, third = half_sum - half_difference, half_sum + half_difference
    if not returns:
        third, middle = third * parity, middle - np.pi / 2.0
    angles = np.array((first, middle, third) if fixed_axes else (third, middle, first))
    return np.degrees(np.arctan2(np.sin(angles), np.cos(angles))) + 0.0  # no negative zeros


def checked_rotation(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return ``value`` as a rotation matrix ``(3, 3)`` float64, or raise ValueError."""
    R = finite_array(name, value, (3, 3))
    off = float(np.abs(R @ R.T - np.eye(3)).max())
    if off > ROTATION_TOLERANCE or np.linalg.det(R) < 0.0:
        raise ValueError(
            f"{name}: expected a rotation (R @ R.T the identity, determinant 1), got a matrix "
            f"with R @ R.T off by {off:.2g} and determinant {np.linalg.det(R):.3g}"
        )
    return R


def _axes(frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a frame's axes of camera and head as 4x4 matrices."""
    if frame not in get_args(Frame):
        raise ValueError(f"frame: expected one of {get_args(Frame)}, got {frame!r}")
    camera, head = np.eye(4), np.eye(4)
    camera[:3, :3], head[:3, :3] = CAMERA_AXES[frame], HEAD_AXES[frame]
    return camera, head


def _pose(value: ArrayLike) -> NDArray[np.float64]:
    pose = finite_array("cam_from_head", value, (4, 4))
    checked_rotation("cam_from_head rotation", pose[:3, :3])
    if not np.array_equal(pose[3], (0.0, 0.0, 0.0, 1.0)):
        raise ValueError(
            f"cam_from_head: expected a last row of (0, 0, 0, 1), got {pose[3].tolist()}; "
            "matrices act on columns here, transpose one that acts on rows"
        )
    return pose


def _euler_axes(order: str) -> tuple[int, int, int]:
    """Return the axes' numbers in the order of turns about the fixed axes."""
    letters = order.lower() if isinstance(order, str) else ""
    one_case = letters == order or letters.upper() == order
    if not one_case or len(letters) != 3 or not set(letters) <= set("xyz"):
        letters = ""
    if not letters or letters[0] == letters[1] or letters[1] == letters[2]:
        raise ValueError(
            "order: expected three of 'xyz' (turns about the fixed axes) or of 'XYZ' (about the "
            f"axes that turn along), no letter twice in a row, got {order!r}"
        )
    i, j, k = ("xyz".index(letter) for letter in letters)
    return (i, j, k) if letters == order else (k, j, i)
