"""Orientation and camera from the EXIF block of a photo."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image

from trg.geometry.camera import Camera
from trg.io.orientation import EXIF_ORIENTATIONS, UPRIGHT, Orientation
from trg.io.sensor_size import crop_factor, is_sensor_width

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


def exif_camera(exif: Image.Exif, width: int, height: int) -> Camera | None:
    """Return the camera of a stored image of ``width`` x ``height`` px, or None if unknown.

    The focal length is the 35 mm equivalent, which holds for the uncropped image at any scale;
    without it, the focal length in millimetres, with the sensor's size from Lensfun's database or
    EXIF's resolution of the focal plane. A crop is recognised by an aspect ratio that differs from
    EXIF's original size, and has no camera; a crop that keeps the ratio, or updates EXIF, cannot be
    recognised.
    """
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    focal_35mm = _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if not _is_plausible(focal_35mm):
        focal_35mm = _focal_35mm_of_sensor(exif, tags, width, height)
    if not _is_plausible(focal_35mm):
        return None
    # Sorted, because some phones give the size as stored and some as displayed.
    short, long = sorted(_number(tags.get(tag)) for tag in _SIZE_TAGS)
    aspect = min(width, height) / max(width, height)
    if short > 0 and abs(short / long - aspect) > ASPECT_TOLERANCE:
        return None
    focal_px = focal_35mm / FILM_DIAGONAL_MM * math.hypot(width, height)
    return Camera(focal_px, focal_px, width / 2.0, height / 2.0, width, height, source="exif")


def _is_plausible(focal_35mm: float) -> bool:
    return PLAUSIBLE_FOCAL_35MM[0] <= focal_35mm <= PLAUSIBLE_FOCAL_35MM[1]


def _focal_35mm_of_sensor(
    exif: Image.Exif, tags: Mapping[int, Any], width: int, height: int
) -> float:
    """Return the 35 mm equivalent of the focal length in millimetres; NaN if unknown."""
    focal_mm = _number(tags.get(ExifTags.Base.FocalLength))
    if not focal_mm > 0:
        return math.nan
    make, model = (str(exif.get(tag, "")) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    factor = crop_factor(make, model)
    if factor is not None:
        return focal_mm * factor
    unit_mm = _UNITS_MM.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2), math.nan)
    px_per_mm = _number(tags.get(ExifTags.Base.FocalPlaneXResolution)) / unit_mm
    stored = sorted((_number(tags.get(tag)) for tag in _SIZE_TAGS), reverse=True)
    long_px = stored[0] if stored[0] > 0 else max(width, height)
    if not px_per_mm > 0:
        return math.nan
    # Some makers state the resolution of the full sensor for a smaller image: such a width is none
    # of a sensor. Their focal length would be too long.
    sensor_mm = long_px / px_per_mm
    if not is_sensor_width(sensor_mm):
        return math.nan
    return (
        focal_mm
        * FILM_DIAGONAL_MM
        / (sensor_mm * math.hypot(1.0, min(width, height) / max(width, height)))
    )


def _number(value: Any) -> float:
    """Return a tag's value as a number; NaN if it is not one."""
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):  # a tuple, bytes, a fraction over zero
        return math.nan
