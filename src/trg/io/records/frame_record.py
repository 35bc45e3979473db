"""What is recorded of one picture or frame, and its JSON form.

Numbers are rounded so that lines stay short, yet exact to a micrometre and a microradian:

==============================  ========  ==========
rotation                        7 digits  after the point
lengths in metres, times        6         1 um, 1 us
angles in degrees, intrinsics   4         0.9 urad
pixels                          2
confidence                      4
==============================  ========  ==========
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trg.face import Face
from trg.geometry.camera import Camera

ANGLE_DECIMALS = INTRINSIC_DECIMALS = CONFIDENCE_DECIMALS = 4
LENGTH_DECIMALS = TIME_DECIMALS = 6
ROTATION_DECIMALS = 7
PIXEL_DECIMALS = 2

DISTORTION_NAMES = ("k1", "k2", "p1", "p2", "k3")
"""Of the numbers in :attr:`Camera.distortion`, for tables."""

_FACE_DECIMALS = {
    "confidence": CONFIDENCE_DECIMALS,
    "rotation": ROTATION_DECIMALS,
    "translation_m": LENGTH_DECIMALS,
    "euler_deg": ANGLE_DECIMALS,
    "distance_m": LENGTH_DECIMALS,
    "interpupillary_m": LENGTH_DECIMALS,
    "landmarks_m": LENGTH_DECIMALS,
    "box_xyxy": PIXEL_DECIMALS,
    "landmarks68_px": PIXEL_DECIMALS,
    "landmarks_px": PIXEL_DECIMALS,
}


class FrameFaces(NamedTuple):
    """The faces of one picture or of one frame of a video, and where they were found.

    ``frame`` counts from 0 and ``time_s`` from the start of the video; both are None for a single
    picture. ``size`` is ``(width, height)`` in pixels.
    """

    source: str
    frame: int | None
    time_s: float | None
    size: tuple[int, int]
    camera: Camera
    faces: Sequence[Face]


def frame_record(
    source: str,
    frame: int | None,
    time_s: float | None,
    size: tuple[int, int],
    camera: Camera,
    faces: Sequence[Face],
    landmarks: bool = False,
) -> dict[str, Any]:
    """Return the JSON object of one picture or frame, of plain rounded values.

    The camera's distortion is there only if the lens has any. ``landmarks`` adds the dense
    landmarks of each face, in the picture and in the head frame.
    """
    intrinsics = {name: rounded(getattr(camera, name), INTRINSIC_DECIMALS) for name in _INTRINSICS}
    lens = {"distortion": list(camera.distortion)} if camera.is_distorted else {}
    return {
        "source": source,
        "frame": frame,
        "time_s": rounded(time_s, TIME_DECIMALS),
        "size": [int(side) for side in size],
        "camera": {**intrinsics, **lens, "source": camera.source},
        "faces": [_face_record(face, landmarks) for face in faces],
    }


def error_record(source: str, message: str) -> dict[str, Any]:
    """Return the JSON object of a source that could not be read, or not to its end."""
    return {"source": source, "error": message}


def rounded(value: Any, decimals: int) -> Any:
    """Round a number, or all numbers in an array, a list or a dict, to plain values; keep None."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: rounded(each, decimals) for key, each in value.items()}
    return (np.round(value, decimals) + 0.0).tolist()  # the sum turns -0.0 into 0.0


_INTRINSICS = ("fx", "fy", "cx", "cy")


def _face_record(face: Face, landmarks: bool) -> dict[str, Any]:
    values = face.to_dict(landmarks=landmarks)
    return {
        name: rounded(value, _FACE_DECIMALS[name]) if name in _FACE_DECIMALS else value
        for name, value in values.items()
    }
