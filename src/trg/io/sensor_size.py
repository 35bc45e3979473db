"""Sizes of camera sensors, for photos whose EXIF has no 35 mm equivalent focal length."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from trg.io.tables import read_table

LENSFUN_FOLDER = Path("/usr/share/lensfun")
"""Where Debian's ``liblensfun-data-v1`` and its like install Lensfun's database of cameras."""

SENSOR_WIDTHS_MM = (
    53.7, 43.8, 36.0, 35.8, 28.7, 23.6, 22.4, 17.3, 13.2, 8.8, 7.5, 7.2, 6.2, 5.75, 5.35, 4.8,
)  # fmt: skip
"""Common widths, from medium format to 1/3 inch."""

WIDTH_TOLERANCE = 0.02


def is_sensor_width(width_mm: float) -> bool:
    """Return whether sensors of this width are made."""
    return any(abs(width_mm / each - 1.0) <= WIDTH_TOLERANCE for each in SENSOR_WIDTHS_MM)


class Sensor(NamedTuple):
    """The image area of a sensor."""

    width_mm: float
    height_mm: float
    reference: str
    """Where the maker states it."""


def find_sensor(make: str, model: str) -> Sensor | None:
    """Return the sensor of a camera by EXIF's names; None if this package's table lacks it."""
    names = _key(make), _key(model)
    for row in read_table("sensors"):
        if all(map(fnmatchcase, names, (row["make"].lower(), row["model"].lower()))):
            return Sensor(float(row["width_mm"]), float(row["height_mm"]), row["source"])
    return None


def crop_factor(make: str, model: str) -> float | None:
    """Return how many times smaller than 36 x 24 mm film a camera's sensor is, on the diagonal.

    None if Lensfun's database is not installed or lacks the camera.
    """
    return _crop_factors(LENSFUN_FOLDER).get((_key(make), _key(model)))


@lru_cache
def _crop_factors(folder: Path) -> Mapping[tuple[str, str], float]:
    factors: dict[tuple[str, str], float] = {}
    for path in sorted(folder.glob("version_*/*.xml")):
        # A database that is damaged is as good as none.
        with suppress(OSError, ValueError, ElementTree.ParseError):
            for camera in ElementTree.parse(path).iter("camera"):
                # The first maker and model are as in EXIF; others are translations.
                key = _key(camera.findtext("maker")), _key(camera.findtext("model"))
                factors[key] = float(camera.findtext("cropfactor", ""))
    return factors


def _key(text: str | None) -> str:
    return " ".join((text or "").lower().replace("\0", " ").split())
