"""What a photo's EXIF block says about how it was held and through which lens it was taken."""

from __future__ import annotations

import math
from typing import Any

from PIL import ExifTags, Image

from trg.geometry.camera import Camera
from trg.io.orientation import EXIF_TURNS, UPRIGHT, Turn

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""A 35 mm equivalent focal length has the same diagonal angle of view on 36 x 24 mm film
(CIPA DCG-001): 43.27 mm."""

PLAUSIBLE_FOCAL_35MM = (3.0, 5000.0)
"""Fisheyes to astronomy; what lies outside, zero above all, means that nobody filled it in."""

RATIO_TOLERANCE = 0.01
"""Thumbnails round their sides; cuts change the ratio by more."""

_SIDES = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)


def exif_turn(exif: Image.Exif) -> Turn:
    """Return what makes the stored pixels upright; nothing to do where EXIF does not say."""
    return EXIF_TURNS.get(exif.get(ExifTags.Base.Orientation, 1), UPRIGHT)


def exif_camera(exif: Image.Exif, width: int, height: int) -> Camera | None:
    """Return the camera of a stored picture of ``width`` x ``height`` px, if EXIF tells it.

    The 35 mm equivalent is read. It holds for the whole picture as the camera took it, at any
    scale. A picture that was cut afterwards is known by sides of another ratio than the block
    tells of, and has no camera; a cut that kept the ratio, or changed the block too, stays unseen.
    """
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    focal_35mm = _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if not PLAUSIBLE_FOCAL_35MM[0] <= focal_35mm <= PLAUSIBLE_FOCAL_35MM[1]:
        return None
    # Sorted: some phones tell the sides as the picture is stored, some as it is shown.
    short, long = sorted(_number(tags.get(side)) for side in _SIDES)
    if short > 0 and abs(short / long - min(width, height) / max(width, height)) > RATIO_TOLERANCE:
        return None
    focal_px = focal_35mm / FILM_DIAGONAL_MM * math.hypot(width, height)
    return Camera(focal_px, focal_px, width / 2.0, height / 2.0, width, height, source="exif")


def _number(value: Any) -> float:
    """Turn what a tag holds into a number; NaN where it holds none."""
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):  # a tuple, bytes, a fraction over zero
        return math.nan
