"""Faces as rows of comma-separated values: our own columns, and OpenFace's."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.projection import transform
from trg.io.records.frame_record import (
    ANGLE_DECIMALS,
    CONFIDENCE_DECIMALS,
    DISTORTION_NAMES,
    INTRINSIC_DECIMALS,
    LENGTH_DECIMALS,
    PIXEL_DECIMALS,
    ROTATION_DECIMALS,
    TIME_DECIMALS,
    FrameFaces,
    rounded,
)

LANDMARKS = range(68)
MM_DECIMALS = LENGTH_DECIMALS - 3

CSV_COLUMNS = (
    *("source", "frame", "time_s", "width_px", "height_px"),
    *("fx_px", "fy_px", "cx_px", "cy_px", *DISTORTION_NAMES, "camera_source"),
    *("face_id", "confidence", "box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px"),
    *("yaw_deg", "pitch_deg", "roll_deg", "tx_m", "ty_m", "tz_m"),
    *(f"r{row}{column}" for row in range(3) for column in range(3)),
    *("distance_m", "interpupillary_m"),
    *(f"{axis}{point}_px" for point in LANDMARKS for axis in "xy"),
    "error",
)
"""One row per face; a source that failed has a row with its error and nothing else."""

OPENFACE_COLUMNS = (
    *("frame", "face_id", "timestamp", "confidence", "success"),
    *("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"),
    *(f"{axis}_{point}" for axis in "xyXYZ" for point in LANDMARKS),
    "source",
)
"""OpenFace's names, without its gaze and action units; ours is the last.

OpenFace's conventions, as far as they differ from ours:

* ``frame`` counts from 1; ``success`` is 0 in the row of a frame without faces.
* Lengths are millimetres in the camera frame, which is ours: x right, y down, z forward.
* ``pose_R`` are radians with R = Rx(pose_Rx) @ Ry(pose_Ry) @ Rz(pose_Rz), about the same axes.
* ``pose_T`` is where the mean of the 68 landmarks is: the origin of OpenFace's face model.
* ``x_i``, ``y_i`` count pixel centres from 0, half a pixel less than ours.
"""

Row = Mapping[str, Any]


class Table(Protocol):
    """Turns frames into rows with the given columns."""

    columns: tuple[str, ...]

    def rows(self, found: FrameFaces) -> Iterable[Row]:
        """Return the rows of one picture or frame."""

    def error_row(self, source: str, message: str) -> Row:
        """Return the row of a source that failed."""


class FaceTable:
    """Our own columns, :data:`CSV_COLUMNS`."""

    columns = CSV_COLUMNS

    def rows(self, found: FrameFaces) -> Iterable[Row]:
        """Return a row per face."""
        camera = found.camera
        shared: dict[str, Any] = {
            "source": found.source,
            "frame": found.frame,
            "time_s": rounded(found.time_s, TIME_DECIMALS),
            "width_px": found.size[0],
            "height_px": found.size[1],
            "camera_source": camera.source,
            **dict(zip(DISTORTION_NAMES, camera.distortion, strict=True)),
        }
        for name in ("fx", "fy", "cx", "cy"):
            shared[f"{name}_px"] = rounded(getattr(camera, name), INTRINSIC_DECIMALS)
        return [{**shared, **_face_row(face)} for face in found.faces]

    def error_row(self, source: str, message: str) -> Row:
        """Return a row with the source and its error."""
        return {"source": source, "error": message}


class OpenFaceTable:
    """OpenFace's columns and conventions, :data:`OPENFACE_COLUMNS`."""

    columns = OPENFACE_COLUMNS

    def rows(self, found: FrameFaces) -> Iterable[Row]:
        """Return a row per face, or one that says that there is none."""
        shared = {
            "frame": 1 if found.frame is None else found.frame + 1,
            "timestamp": rounded(found.time_s or 0.0, TIME_DECIMALS),
            "source": found.source,
        }
        if not len(found.faces):
            return [{**_NO_FACE, **shared}]
        return [
            {**shared, "face_id": number if face.id is None else face.id, **_openface_row(face)}
            for number, face in enumerate(found.faces)
        ]

    def error_row(self, source: str, message: str) -> Row:
        """Return a row without success; OpenFace has no place for a message."""
        return {**_NO_FACE, "frame": 1, "timestamp": 0.0, "source": source}


def csv_lines(columns: tuple[str, ...], rows: Iterable[Row]) -> bytes:
    """Return rows as comma-separated values; what a row lacks stays empty."""
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    # A file's name may hold bytes that are no text; they come out as they are on the disk.
    return text.getvalue().encode("utf-8", "surrogateescape")


_NO_FACE: Row = {**dict.fromkeys(OPENFACE_COLUMNS, 0.0), "face_id": 0, "success": 0}


def _face_row(face: Face) -> dict[str, Any]:
    row: dict[str, Any] = {
        "face_id": face.id,
        "confidence": rounded(face.confidence, CONFIDENCE_DECIMALS),
        "distance_m": rounded(face.distance_m, LENGTH_DECIMALS),
        "interpupillary_m": rounded(face.interpupillary_m, LENGTH_DECIMALS),
    }
    angles = ("yaw_deg", "pitch_deg", "roll_deg")
    row.update(_named(angles, face.euler(), ANGLE_DECIMALS))
    row.update(_named(("tx_m", "ty_m", "tz_m"), face.translation_m, LENGTH_DECIMALS))
    corners = ("box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px")
    row.update(_named(corners, face.box_xyxy, PIXEL_DECIMALS))
    entries = [f"r{row_}{column}" for row_ in range(3) for column in range(3)]
    row.update(_named(entries, face.rotation, ROTATION_DECIMALS))
    points = [f"{axis}{point}_px" for point in LANDMARKS for axis in "xy"]
    row.update(_named(points, face.landmarks68_px, PIXEL_DECIMALS))
    return row


def _openface_row(face: Face) -> dict[str, Any]:
    landmarks_m = face.landmarks_m[face.topology.landmarks68]
    landmarks_cam_m = transform(landmarks_m, face.rotation, face.translation_m)
    row: dict[str, Any] = {
        "confidence": rounded(face.confidence, CONFIDENCE_DECIMALS),
        "success": 1,
    }
    place = ("pose_Tx", "pose_Ty", "pose_Tz")
    row.update(_named(place, landmarks_cam_m.mean(0) * 1000.0, MM_DECIMALS))
    turn = ("pose_Rx", "pose_Ry", "pose_Rz")
    row.update(_named(turn, np.radians(face.euler("XYZ")), ROTATION_DECIMALS))
    in_picture = [f"{axis}_{point}" for point in LANDMARKS for axis in "xy"]
    row.update(_named(in_picture, face.landmarks68_px - 0.5, PIXEL_DECIMALS))
    in_space = [f"{axis}_{point}" for point in LANDMARKS for axis in "XYZ"]
    row.update(_named(in_space, landmarks_cam_m * 1000.0, MM_DECIMALS))
    return row


def _named(
    names: Iterable[str], values: NDArray[np.float64], decimals: int
) -> Iterable[tuple[str, float]]:
    return zip(names, rounded(values.ravel(), decimals), strict=True)
