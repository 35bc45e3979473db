"""Orientation and camera from the EXIF block of a photo."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from trg.geometry.camera import Camera, CameraSource
from trg.io.orientation import EXIF_ORIENTATIONS, UPRIGHT, Orientation
from trg.io.sensor_size import crop_factor, find_sensor, is_sensor_width

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""43.27 mm. A 35 mm equivalent focal length is defined by the diagonal angle of view on 36 x 24 mm
film (CIPA DCG-001)."""

PLAUSIBLE_FOCAL_35MM = (3.0, 5000.0)
"""From fisheyes to astronomy. Values outside, zero above all, mean that the tag was not set."""

ASPECT_TOLERANCE = 0.01
"""Rounded thumbnail sizes stay within it; a crop changes the aspect ratio by more."""

_UNITS_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Of FocalPlaneResolutionUnit: inch, centimetre, millimetre, micrometre."""

_SIZE_TAGS = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)


def exif_orientation(exif: Image.Exif) -> Orientation:
    """Return the orientation of the stored pixels; upright if EXIF has none."""
    return EXIF_ORIENTATIONS.get(exif.get(ExifTags.Base.Orientation, 1), UPRIGHT)


class ExifCamera(NamedTuple):
    """What EXIF tells about a camera."""

    camera: Camera | None
    """None if it tells no focal length that holds for the image."""
    reason: str
    """How the camera is known, or why it is not: a clause in plain words."""


class _Focal(NamedTuple):
    """A focal length; NaN if it is unknown."""

    equivalent_mm: float
    source: CameraSource
    reason: str


def exif_camera(exif: Image.Exif, width: int, height: int) -> Camera | None:
    """Return the camera of a stored image of ``width`` x ``height`` px, or None if unknown."""
    return explain_exif_camera(exif, width, height).camera


def explain_exif_camera(exif: Image.Exif, width: int, height: int) -> ExifCamera:
    """Return what EXIF tells about the camera of a stored image of ``width`` x ``height`` px.

    The focal length is the 35 mm equivalent, which holds for the uncropped image at any scale;
    without it, the focal length in millimetres, with the sensor's size from the table of this
    package, from Lensfun's database or from EXIF's resolution of the focal plane. A crop is
    recognised by an aspect ratio that differs from EXIF's original size, and has no camera; a crop
    that keeps the ratio, or updates EXIF, cannot be recognised.
    """
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    focal = _Focal(
        _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm)), "exif", "its 35 mm equivalent"
    )
    if not _is_plausible(focal.equivalent_mm):
        focal = _focal_of_sensor(exif, tags, width, height)
    if not _is_plausible(focal.equivalent_mm):
        return ExifCamera(None, focal.reason)
    # Sorted, because some phones give the size as stored and some as displayed.
    short, long = sorted(_number(tags.get(tag)) for tag in _SIZE_TAGS)
    aspect = min(width, height) / max(width, height)
    if short > 0 and abs(short / long - aspect) > ASPECT_TOLERANCE:
        return ExifCamera(
            None,
            f"the picture is a crop: EXIF tells of {long:.0f}x{short:.0f} px, another aspect "
            f"ratio than {width}x{height}",
        )
    focal_px = focal.equivalent_mm / FILM_DIAGONAL_MM * math.hypot(width, height)
    centre = width / 2.0, height / 2.0
    camera = Camera(focal_px, focal_px, *centre, width, height, source=focal.source)
    return ExifCamera(camera, f"{focal.reason}, {focal.equivalent_mm:.4g} mm")


def _is_plausible(focal_35mm: float) -> bool:
    return PLAUSIBLE_FOCAL_35MM[0] <= focal_35mm <= PLAUSIBLE_FOCAL_35MM[1]


def _focal_of_sensor(exif: Image.Exif, tags: Mapping[int, Any], width: int, height: int) -> _Focal:
    """Return the 35 mm equivalent of the focal length in millimetres."""
    focal_mm = _number(tags.get(ExifTags.Base.FocalLength))
    if not focal_mm > 0:
        return _Focal(math.nan, "assumed", "EXIF has no focal length")
    make, model = (str(exif.get(tag, "")) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    sensor = find_sensor(make, model)
    if sensor is not None:
        size_mm = sensor.width_mm, sensor.height_mm
        equivalent_mm = _equivalent_mm(focal_mm, size_mm, width, height)
        reason = "{:g} mm on a sensor of {:g} x {:g} mm ({})".format(focal_mm, *sensor)
        return _Focal(equivalent_mm, "sensor_table", f"{reason}; 35 mm equivalent")
    factor = crop_factor(make, model)
    if factor is not None:
        reason = f"{focal_mm:g} mm, crop factor {factor:g} by Lensfun's database; 35 mm equivalent"
        return _Focal(focal_mm * factor, "lensfun", reason)
    unit_mm = _UNITS_MM.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2), math.nan)
    px_per_mm = _number(tags.get(ExifTags.Base.FocalPlaneXResolution)) / unit_mm
    stored = sorted((_number(tags.get(tag)) for tag in _SIZE_TAGS), reverse=True)
    long_px = stored[0] if stored[0] > 0 else max(width, height)
    camera_name = " ".join(f"{make} {model}".replace("\0", " ").split()) or "an unnamed camera"
    if not px_per_mm > 0:
        return _Focal(
            math.nan,
            "assumed",
            f"EXIF has {focal_mm:g} mm, but the size of the sensor of {camera_name} is unknown",
        )
    # Some makers state the resolution of the full sensor for a smaller image: such a width is none
    # of a sensor. Their focal length would be too long.
    sensor_mm = long_px / px_per_mm
    if not is_sensor_width(sensor_mm):
        return _Focal(
            math.nan,
            "assumed",
            f"EXIF has {focal_mm:g} mm, but its resolution of the focal plane means a sensor "
            f"{sensor_mm:.1f} mm wide, which is not made; that of {camera_name} is unknown",
        )
    size_mm = sensor_mm, sensor_mm * min(width, height) / max(width, height)
    reason = f"{focal_mm:g} mm, FocalPlaneXResolution means a sensor {sensor_mm:.1f} mm wide"
    equivalent_mm = _equivalent_mm(focal_mm, size_mm, width, height)
    return _Focal(equivalent_mm, "focal_plane", f"{reason}; 35 mm equivalent")


def _equivalent_mm(
    focal_mm: float, sensor_mm: tuple[float, float], width: int, height: int
) -> float:
    """Return the focal length that gives the picture's diagonal angle of view on film.

    A picture of another aspect ratio than the sensor's is its largest crop.
    """
    aspect = min(width, height) / max(width, height)
    long_mm = min(sensor_mm[0], sensor_mm[1] / aspect)
    return focal_mm * FILM_DIAGONAL_MM / (long_mm * math.hypot(1.0, aspect))


def _number(value: Any) -> float:
    """Return a tag's value as a number; NaN if it is not one."""
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):  # a tuple, bytes, a fraction over zero
        return math.nan
