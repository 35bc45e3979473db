"""The record of one image or video frame, and its JSON form.

Values are rounded to keep lines short, and remain exact to a micrometre and a microradian:

==============================  ========  ==========
rotation                        7 digits  after the point
lengths in metres, times        6         1 um, 1 us
angles in degrees, intrinsics   4         0.9 urad
pixels                          2
confidence, blend shapes        4
==============================  ========  ==========
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.axes import CAMERA_AXES, HEAD_AXES, FrameConvention
from trg.geometry.camera import Camera
from trg.geometry.lens import COEFFICIENT_NAMES

ANGLE_DECIMALS = INTRINSIC_DECIMALS = CONFIDENCE_DECIMALS = 4
BLENDSHAPE_DECIMALS = RATIO_DECIMALS = 4
LENGTH_DECIMALS = TIME_DECIMALS = 6
ROTATION_DECIMALS = 7
PIXEL_DECIMALS = 2

INTRINSIC_NAMES = ("fx", "fy", "cx", "cy")
DISTORTION_NAMES = COEFFICIENT_NAMES["brown_conrady"]
"""Columns of the coefficients; a fisheye lens uses k1 to k4."""

_FACE_DECIMALS = {
    "confidence": CONFIDENCE_DECIMALS,
    "rotation": ROTATION_DECIMALS,
    "translation_m": LENGTH_DECIMALS,
    "euler_deg": ANGLE_DECIMALS,
    "euler_sight_deg": ANGLE_DECIMALS,
    "distance_m": LENGTH_DECIMALS,
    "interpupillary_m": LENGTH_DECIMALS,
    "frame_interpupillary_m": LENGTH_DECIMALS,
    "size_std": RATIO_DECIMALS,
    "landmarks_m": LENGTH_DECIMALS,
    "box_xyxy": PIXEL_DECIMALS,
    "landmarks68_px": PIXEL_DECIMALS,
    "landmarks_px": PIXEL_DECIMALS,
    "rotation_std_deg": ANGLE_DECIMALS,
    "translation_std_m": LENGTH_DECIMALS,
    "landmarks_std_m": LENGTH_DECIMALS,
    "landmarks_std_px": PIXEL_DECIMALS,
    "blendshapes": BLENDSHAPE_DECIMALS,
}


class FrameFaces(NamedTuple):
    """The faces of one photo or video frame, as record writers take them."""

    source: str
    """Name of the photo or video."""
    camera: Camera
    """The camera of the whole image; its width and height are the image's."""
    faces: Sequence[Face]
    """Empty if there are none."""
    frame: int | None = None
    """Index of the frame, from 0; None for a photo."""
    time_s: float | None = None
    """From the start of the video; None for a photo."""
    axes: FrameConvention = "opencv"
    """The program in whose axes rotations, translations and 3D landmarks are written."""


class Pose3D(NamedTuple):
    """A face in the axes of a program: see :mod:`trg.geometry.axes`."""

    rotation: NDArray[np.float64]
    """``(3, 3)``: ``cam_from_head``."""
    translation_m: NDArray[np.float64]
    """``(3,)``: the head's origin in the camera frame."""
    landmarks_m: NDArray[np.float64]
    """``(n, 3)``: the dense landmarks in the head frame."""
    rotation_std_deg: NDArray[np.float64] | None
    """``(3,)``: standard deviations about the head's axes; None without error bars."""
    translation_std_m: NDArray[np.float64] | None
    """``(3,)``: standard deviations in the axes of a camera that looks straight at the head; None
    without error bars."""

    @classmethod
    def of(cls, face: Face, axes: FrameConvention) -> Pose3D:
        """Convert a face; raises ValueError if the axes are unknown."""
        pose = face.to_frame(axes)
        return cls(
            pose[:3, :3],
            pose[:3, 3],
            face.landmarks_m @ HEAD_AXES[axes].T,
            _std_in_axes(face.rotation_std_deg, HEAD_AXES[axes]),
            _std_in_axes(face.translation_std_m, CAMERA_AXES[axes]),
        )


def frame_record(
    found: FrameFaces, landmarks: bool = False, blendshapes: bool = False
) -> dict[str, Any]:
    """Return the JSON object of a photo or frame, with rounded values.

    ``distortion`` is present only if the lens has any, ``lens_model`` only if it is another than
    Brown-Conrady. ``landmarks`` adds the dense landmarks of each face, in the image and in the
    head frame; ``blendshapes`` its expression coefficients.
    """
    camera = found.camera
    values = {name: rounded(getattr(camera, name), INTRINSIC_DECIMALS) for name in INTRINSIC_NAMES}
    plain = camera.to_dict()
    lens = {name: plain[name] for name in ("lens_model", "distortion") if name in plain}
    if not camera.is_distorted:
        del lens["distortion"]
    return {
        "source": found.source,
        "frame": found.frame,
        "time_s": rounded(found.time_s, TIME_DECIMALS),
        "size": [int(camera.width), int(camera.height)],
        "camera": {**values, **lens, "source": camera.source},
        "axes": found.axes,
        "faces": [_face_record(face, found.axes, landmarks, blendshapes) for face in found.faces],
    }


def frame_columns(found: FrameFaces) -> dict[str, Any]:
    """Return the columns that the rows of all faces of a photo or frame share, not rounded."""
    camera = found.camera
    return {
        "source": found.source,
        "frame": found.frame,
        "time_s": found.time_s,
        "width_px": camera.width,
        "height_px": camera.height,
        **{f"{name}_px": getattr(camera, name) for name in INTRINSIC_NAMES},
        **_coefficients(camera),
        "lens_model": camera.lens_model,
        "camera_source": camera.source,
        "axes": found.axes,
    }


def rounded(value: Any, decimals: int) -> Any:
    """Round a number, or all numbers in an array, list or dict, to plain values; keep None."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: rounded(each, decimals) for key, each in value.items()}
    return (np.round(value, decimals) + 0.0).tolist()  # the sum turns -0.0 into 0.0


def _std_in_axes(
    std: NDArray[np.float64] | None, axes: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Convert standard deviations ``(3,)`` to axes that are permuted and reversed."""
    return None if std is None else np.abs(axes) @ std


def _coefficients(camera: Camera) -> dict[str, float | None]:
    """Return a number for each of the distortion columns; None if its model has no such one."""
    names = COEFFICIENT_NAMES[camera.lens_model]
    given = dict(zip(names[: len(camera.distortion)], camera.distortion, strict=True))
    known = dict.fromkeys(names, 0.0) | given
    return {name: known.get(name) for name in DISTORTION_NAMES}


def _face_record(
    face: Face, axes: FrameConvention, landmarks: bool, blendshapes: bool
) -> dict[str, Any]:
    values = face.to_dict(landmarks, blendshapes)
    values.update(
        (name, each) for name, each in Pose3D.of(face, axes)._asdict().items() if name in values
    )
    return {
        name: rounded(value, _FACE_DECIMALS[name]) if name in _FACE_DECIMALS else value
        for name, value in values.items()
    }
