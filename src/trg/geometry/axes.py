"""Axis conventions of other programs for a camera and a head.

A pose is the 4x4 matrix ``cam_from_head``. Each program has its own axes for a camera and for a
body that faces forward, and a conversion changes both. A head model built in the program's axes,
posed by the converted matrix under the program's camera, appears at the same pixels.

============  =================================  =========================================
frame         camera: x, y, z                    head: x, y, z
============  =================================  =========================================
``opencv``    right, down, forward               person's left, down, back of the head
``opengl``    right, up, backward                person's left, up, out of the face
``ros``       forward, left, up (REP 103 body)   out of the face, person's left, up
``unity``     right, up, forward (left-handed)   person's right, up, out of the face
``blender``   right, up, backward                person's left, back of the head, up
============  =================================  =========================================

A camera's "right" and "up" are those of the image; "forward" is the viewing direction. A face that
looks straight into the camera has the identity rotation in ``opencv`` and ``opengl``, and a half
turn about the vertical axis in ``ros`` and ``unity``, where two bodies face each other. In
``blender`` it has the identity rotation in the world if the camera is level and looks along +y.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.rotations import checked_rotation

FrameConvention = Literal["opencv", "opengl", "ros", "unity", "blender"]
"""The program, or library, whose axes a pose is written in."""


def _axes(*rows: tuple[int, int, int]) -> NDArray[np.float64]:
    matrix = np.array(rows, dtype=np.float64)
    matrix.setflags(write=False)
    return matrix


CAMERA_AXES: Mapping[FrameConvention, NDArray[np.float64]] = MappingProxyType(
    {
        "opencv": _axes((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "opengl": _axes((1, 0, 0), (0, -1, 0), (0, 0, -1)),
        "ros": _axes((0, 0, 1), (-1, 0, 0), (0, -1, 0)),
        "unity": _axes((1, 0, 0), (0, -1, 0), (0, 0, 1)),
        "blender": _axes((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    }
)
"""``CAMERA_AXES[frame] @ X``, ``(3, 3)``, converts camera coordinates from OpenCV's axes."""

HEAD_AXES: Mapping[FrameConvention, NDArray[np.float64]] = MappingProxyType(
    {
        "opencv": _axes((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "opengl": _axes((1, 0, 0), (0, -1, 0), (0, 0, -1)),
        "ros": _axes((0, 0, -1), (1, 0, 0), (0, -1, 0)),
        "unity": _axes((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
        "blender": _axes((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    }
)
"""``HEAD_AXES[frame] @ X``, ``(3, 3)``, converts head coordinates from OpenCV's axes."""


def pose_to_frame(cam_from_head: ArrayLike, frame: FrameConvention) -> NDArray[np.float64]:
    """Convert a pose ``(4, 4)`` from OpenCV's axes to another program's. Lengths stay metres.

    The rotation of the result is proper (determinant 1) in every frame, left-handed ones included.

    Raises ValueError if the frame is unknown, or the matrix is not a pose.
    """
    if frame not in get_args(FrameConvention):
        raise ValueError(f"frame: expected one of {get_args(FrameConvention)}, got {frame!r}")
    pose = finite_array("cam_from_head", cam_from_head, (4, 4))
    checked_rotation("cam_from_head rotation", pose[:3, :3])
    if not np.array_equal(pose[3], (0.0, 0.0, 0.0, 1.0)):
        raise ValueError(
            f"cam_from_head: expected a last row of (0, 0, 0, 1), got {pose[3].tolist()}; "
            "matrices act on columns here, transpose one that acts on rows"
        )
    converted = np.eye(4)
    converted[:3] = CAMERA_AXES[frame] @ pose[:3]
    converted[:3, :3] = converted[:3, :3] @ HEAD_AXES[frame].T
    return converted
