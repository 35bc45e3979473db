"""Faces as rows of CSV: this package's columns, and OpenFace's."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.angles import ANGLE_CONVENTIONS
from trg.geometry.axes import FrameConvention
from trg.geometry.face_mesh import LANDMARK_GROUPS
from trg.geometry.projection import transform
from trg.geometry.shape_basis import EXPRESSION_NAMES
from trg.io.records.frame_record import (
    ANGLE_DECIMALS,
    BLENDSHAPE_DECIMALS,
    CONFIDENCE_DECIMALS,
    DISTORTION_NAMES,
    INTRINSIC_DECIMALS,
    INTRINSIC_NAMES,
    LENGTH_DECIMALS,
    PIXEL_DECIMALS,
    RATIO_DECIMALS,
    ROTATION_DECIMALS,
    TIME_DECIMALS,
    FrameFaces,
    Pose3D,
    frame_columns,
    rounded,
)

LANDMARKS = range(68)
MM_DECIMALS = LENGTH_DECIMALS - 3

_ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
_SIGHT_ANGLES = ("yaw_sight_deg", "pitch_sight_deg", "roll_sight_deg")
_TRANSLATION = ("tx_m", "ty_m", "tz_m")
_BOX = ("box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px")
_ROTATION = tuple(f"r{row}{column}" for row in range(3) for column in range(3))
_ROTATION_STD = ("rx_std_deg", "ry_std_deg", "rz_std_deg")
_TRANSLATION_STD = ("tx_sight_std_m", "ty_sight_std_m", "tz_sight_std_m")
_LANDMARKS_STD = tuple(f"{group}_std_m" for group in LANDMARK_GROUPS)
_POINTS_STD = tuple(f"p{point}_std_px" for point in LANDMARKS)
_POINTS_PX = tuple(f"{axis}{point}_px" for point in LANDMARKS for axis in "xy")

CSV_COLUMNS = (
    *("source", "frame", "time_s", "width_px", "height_px"),
    *(f"{name}_px" for name in INTRINSIC_NAMES),
    *(*DISTORTION_NAMES, "lens_model", "camera_source", "axes"),
    *("face_id", "confidence", *_BOX, *_ANGLES, *_SIGHT_ANGLES, *_TRANSLATION, *_ROTATION),
    *("distance_m", "interpupillary_m", "frame_interpupillary_m", "size_std", *_POINTS_PX),
    *(*_ROTATION_STD, *_TRANSLATION_STD, *_LANDMARKS_STD, *_POINTS_STD),
    "error",
)
"""One row per face, and one for a photo or frame without faces, whose columns of a face are empty.
A failed input has a row with its error and nothing else."""

BLENDSHAPE_COLUMNS = (*CSV_COLUMNS[:-1], *EXPRESSION_NAMES, CSV_COLUMNS[-1])
"""With the expression coefficients."""

_POSE_T = ("pose_Tx", "pose_Ty", "pose_Tz")
_POSE_R = ("pose_Rx", "pose_Ry", "pose_Rz")

OPENFACE_COLUMNS = (
    *("frame", "face_id", "timestamp", "confidence", "success", *_POSE_T, *_POSE_R),
    *(f"{axis}_{point}" for axis in "xyXYZ" for point in LANDMARKS),
    "source",
)
"""OpenFace's columns without gaze and action units, and ``source``.

OpenFace's conventions, where they differ from this package's:

* ``frame`` counts from 1; ``success`` is 0 in the row of a frame without faces.
* Lengths are millimetres in the camera frame, whose axes are the same: x right, y down, z forward.
* ``pose_R`` are radians with R = Rx(pose_Rx) @ Ry(pose_Ry) @ Rz(pose_Rz), about the same axes.
* ``pose_T`` is the mean of the 68 landmarks, the origin of OpenFace's face model.
* ``x_i``, ``y_i`` have pixel centres at integers, half a pixel less than here.
"""

Row = Mapping[str, Any]

_NO_FACE: Row = {**dict.fromkeys(OPENFACE_COLUMNS, 0.0), "face_id": 0, "success": 0}


class CsvTable(NamedTuple):
    """Columns of a CSV file, and the rows of a photo or frame and of a failed input."""

    columns: tuple[str, ...]
    frame_rows: Callable[[FrameFaces], list[Row]]
    error_row: Callable[[str, str], Row]

    def to_csv(self, rows: Iterable[Row]) -> bytes:
        """Return rows as CSV without a header; missing values stay empty."""
        text = io.StringIO()
        csv.DictWriter(text, self.columns, restval="", lineterminator="\n").writerows(rows)
        return text.getvalue().encode()


def _face_rows(found: FrameFaces) -> list[Row]:
    shared = frame_columns(found)
    shared["time_s"] = rounded(found.time_s, TIME_DECIMALS)
    for name in INTRINSIC_NAMES:
        shared[f"{name}_px"] = rounded(shared[f"{name}_px"], INTRINSIC_DECIMALS)
    return [{**shared, **_face_values(face, found.axes)} for face in found.faces] or [shared]


def _face_values(face: Face, axes: FrameConvention) -> dict[str, Any]:
    pose = Pose3D.of(face, axes)
    size = face.person_size
    return {
        "face_id": face.id,
        "confidence": rounded(face.confidence, CONFIDENCE_DECIMALS),
        "distance_m": rounded(face.distance_m, LENGTH_DECIMALS),
        "interpupillary_m": rounded(face.interpupillary_m, LENGTH_DECIMALS),
        "frame_interpupillary_m": rounded(face.frame_interpupillary_m, LENGTH_DECIMALS),
        "size_std": rounded(size and size.std, RATIO_DECIMALS),
        **_named(_ANGLES, face.euler(), ANGLE_DECIMALS),
        **_named(_SIGHT_ANGLES, face.euler(relative_to="sight"), ANGLE_DECIMALS),
        **_named(_TRANSLATION, pose.translation_m, LENGTH_DECIMALS),
        **_named(_BOX, face.box_xyxy, PIXEL_DECIMALS),
        **_named(_ROTATION, pose.rotation, ROTATION_DECIMALS),
        **_named(_POINTS_PX, face.landmarks68_px, PIXEL_DECIMALS),
        **_named(_ROTATION_STD, pose.rotation_std_deg, ANGLE_DECIMALS),
        **_named(_TRANSLATION_STD, pose.translation_std_m, LENGTH_DECIMALS),
        **_named(_LANDMARKS_STD, face.landmarks_std_m, LENGTH_DECIMALS),
        **_named(_POINTS_STD, face.landmarks_std_px, PIXEL_DECIMALS),
    }


def _openface_rows(found: FrameFaces) -> list[Row]:
    """Return a row per face, or one with ``success`` 0 if there is none."""
    if found.axes != "opencv":
        raise ValueError(f"openface: has axes of its own, those of opencv; got {found.axes}")
    shared = {
        "frame": 1 if found.frame is None else found.frame + 1,
        "timestamp": rounded(found.time_s or 0.0, TIME_DECIMALS),
        "source": found.source,
    }
    if not found.faces:
        return [{**_NO_FACE, **shared}]
    return [
        {**shared, "face_id": index if face.id is None else face.id, **_openface_values(face)}
        for index, face in enumerate(found.faces)
    ]


def _openface_values(face: Face) -> dict[str, Any]:
    landmarks_m = face.landmarks_m[face.topology.landmarks68]
    landmarks_cam_mm = 1000.0 * transform(landmarks_m, face.rotation, face.translation_m)
    angles_rad = np.radians(ANGLE_CONVENTIONS["openface"].of(face))
    points_px = [f"{axis}_{point}" for point in LANDMARKS for axis in "xy"]
    points_mm = [f"{axis}_{point}" for point in LANDMARKS for axis in "XYZ"]
    return {
        "confidence": rounded(face.confidence, CONFIDENCE_DECIMALS),
        "success": 1,
        **_named(_POSE_T, landmarks_cam_mm.mean(0), MM_DECIMALS),
        **_named(_POSE_R, angles_rad, ROTATION_DECIMALS),
        **_named(points_px, face.landmarks68_px - 0.5, PIXEL_DECIMALS),
        **_named(points_mm, landmarks_cam_mm, MM_DECIMALS),
    }


def _named(
    names: Iterable[str], values: NDArray[np.float64] | None, decimals: int
) -> dict[str, float]:
    """Return rounded numbers by column; none for None, whose columns stay empty."""
    if values is None:
        return {}
    return dict(zip(names, rounded(values.ravel(), decimals), strict=True))


def _blendshape_rows(found: FrameFaces) -> list[Row]:
    shapes = [rounded(face.blendshapes(), BLENDSHAPE_DECIMALS) for face in found.faces]
    rows = _face_rows(found)  # one row without a face if there is none
    return [{**row, **each} for row, each in zip(rows, shapes or [{}], strict=True)]


def _error_row(source: str, message: str) -> Row:
    return {"source": source, "error": message}


FACE_TABLE = CsvTable(CSV_COLUMNS, _face_rows, _error_row)
BLENDSHAPE_TABLE = CsvTable(BLENDSHAPE_COLUMNS, _blendshape_rows, _error_row)
OPENFACE_TABLE = CsvTable(
    OPENFACE_COLUMNS,
    _openface_rows,
    # OpenFace has no column for a message.
    lambda source, message: {**_NO_FACE, "frame": 1, "timestamp": 0.0, "source": source},
)
