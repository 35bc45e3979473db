"""What is known about a camera, and why, as rows of text."""

from __future__ import annotations

import math
import os
from typing import TypeAlias

from trg.geometry.camera import Camera, CameraSource
from trg.geometry.camera_source import FieldOfView, SizelessCalibration, resolve_camera
from trg.io.devices import camera_by_name, find_device
from trg.io.exif import FILM_DIAGONAL_MM
from trg.io.images import is_image_file, photo_camera
from trg.io.inputs import PHOTO_SUFFIXES, VIDEO_SUFFIXES

Rows: TypeAlias = list[tuple[str, str]]

FIELD_OF_VIEW_ERROR_DEG = 10.0
"""Error of an assumed field of view that the report gives as an example."""

EXAMPLE_DISTANCE_M = 0.6

DEVICE_ERROR_DEG = 2.0
"""Fields of view in makers' specifications are rounded, and vary from piece to piece."""

SOURCES: dict[CameraSource, str] = {
    "given": "a calibration",
    "exif": "EXIF's 35 mm equivalent focal length",
    "sensor_table": "EXIF's focal length, and the sensor's size from the table of this package",
    "lensfun": "EXIF's focal length, and the sensor's size from Lensfun's database",
    "focal_plane": "EXIF's focal length and resolution of the focal plane",
    "device": "the maker's field of view",
    "clip": "a clip of a person (trg camera calibrate)",
    "fov": "a field of view",
    "assumed": "unknown; a field of view is assumed",
}

HOW_TO_FIND = (
    "name the webcam or phone (--camera NAME; trg camera list), calibrate with a clip of yourself "
    "(trg camera calibrate CLIP), or measure with a sheet of paper (docs/cameras.md)"
)


def camera_rows(argument: str) -> Rows:
    """Describe the camera of a photo, of a video, of a calibration file or of a named device.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        The argument is none of these, or cannot be read.
    """
    if os.path.isfile(argument) and is_image_file(argument):
        exif, (width, height) = photo_camera(argument)
        return _rows(resolve_camera(width, height, None, exif.camera), exif.reason)
    if os.path.splitext(argument)[1].lower() in VIDEO_SUFFIXES:
        from trg.io.video import VideoReader

        with VideoReader(argument) as reader:
            camera = Camera.assumed(reader.width, reader.height)
        return _rows(camera, "videos do not tell the focal length")
    if not os.path.exists(argument) and os.path.splitext(argument)[1].lower() in PHOTO_SUFFIXES:
        raise FileNotFoundError(f"{argument}: expected a photo, found no such file")
    given = camera_by_name(argument)
    if isinstance(given, FieldOfView):
        assert given.aspect is not None
        wide, high = given.aspect
        example = given.camera(1280, round(1280 * high / wide))
        return _rows(example, find_device(argument).reference, "such as")
    if isinstance(given, SizelessCalibration):
        return [
            ("camera", "a calibration that does not tell the size of its images"),
            ("focal length", f"{given.fx:.1f} x {given.fy:.1f} px"),
        ]
    assert isinstance(given, Camera)
    return _rows(given, "")


def _rows(camera: Camera, reason: str, picture: str = "") -> Rows:
    width, height = camera.width, camera.height
    equivalent_mm = camera.fx / math.hypot(width, height) * FILM_DIAGONAL_MM
    focal = (
        f"{camera.fx:.1f} px" if camera.fx == camera.fy else f"{camera.fx:.1f} x {camera.fy:.1f} px"
    )
    if camera.focal_std_px is not None:
        focal += f", standard deviation {camera.focal_std_px:.1f} px"
    rows = [
        ("camera", f"{camera.source}: {SOURCES[camera.source]}"),
        *([("because", reason)] if reason else []),
        ("picture", f"{picture} {width}x{height} px".strip()),
        ("focal length", f"{focal}; 35 mm equivalent {equivalent_mm:.1f} mm"),
    ]
    if camera.blind_share == 0.0:
        angles = [camera.fov_deg(axis) for axis in ("horizontal", "vertical", "diagonal")]
        rows.append(("field of view", "{:.1f} x {:.1f} degrees, diagonal {:.1f}".format(*angles)))
    if camera.is_distorted:
        rows.append(("lens", f"{camera.lens_model}, distortion {list(camera.distortion)}"))
    rows.append(("distances", _accuracy(camera, equivalent_mm)))
    if camera.source == "assumed":
        rows.append(("better", HOW_TO_FIND))
    return rows


def _accuracy(camera: Camera, equivalent_mm: float) -> str:
    """Return how far a distance may be off because of the focal length."""
    if camera.focal_std_px is not None:
        share = camera.focal_std_px / camera.fx
        return f"to {share:.1%} (one standard deviation) by the focal length"
    if camera.source == "exif":
        return f"to {0.5 / equivalent_mm:.1%}, because the equivalent is in whole millimetres"
    if camera.source in ("device", "assumed"):
        is_device = camera.source == "device"
        error_deg = DEVICE_ERROR_DEG if is_device else FIELD_OF_VIEW_ERROR_DEG
        half_deg = camera.fov_deg("diagonal") / 2.0
        now = math.tan(math.radians(half_deg))
        far, near = (
            EXAMPLE_DISTANCE_M * now / math.tan(math.radians(half_deg + turn * error_deg / 2.0))
            for turn in (-1.0, 1.0)
        )
        return (
            f"a head shown at {EXAMPLE_DISTANCE_M:g} m is at {near:.2f} to {far:.2f} m if the "
            f"field of view is off by {error_deg:g} degrees"
        )
    return "as good as the focal length"
