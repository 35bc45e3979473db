"""Webcams and phones by name: their stated fields of view."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from trg.geometry.camera import FovAxis
from trg.geometry.camera_source import CameraLike, FieldOfView
from trg.io.calibration import read_calibration
from trg.io.tables import read_table

_AXES: dict[str, FovAxis] = {each: each for each in ("horizontal", "vertical", "diagonal")}


class Device(NamedTuple):
    """A webcam, or a phone's main camera."""

    name: str
    view: FieldOfView
    """For the aspect ratio of the whole image; other images are taken as crops."""
    reference: str
    """Who states the field of view, and where."""


@lru_cache
def devices() -> tuple[Device, ...]:
    """Return the webcams and phones whose field of view is known."""
    found = []
    for row in read_table("devices"):
        wide, high = map(float, row["aspect"].split(":"))
        view = FieldOfView(float(row["degrees"]), _AXES[row["axis"]], (wide, high), "device")
        found.append(Device(row["name"], view, row["source"]))
    return tuple(found)


def find_device(name: str) -> Device:
    """Return the device that a name means: its own, or some words of it, as "C920".

    Raises ValueError if there is none, or several; the message names similar ones.
    """
    words = _words(name)
    fitting = [device for device in devices() if words and words <= _words(device.name)]
    exact = [device for device in fitting if words == _words(device.name)]
    first = (exact or fitting)[:1]
    # Other settings of a camera are named after it: "... at 65".
    if first and (exact or all(each.name.startswith(first[0].name) for each in fitting)):
        return first[0]
    names = [device.name for device in fitting]
    names = names or get_close_matches(name, [device.name for device in devices()], cutoff=0.4)
    hint = f"; did you mean: {', '.join(names)}" if names else ""
    raise ValueError(f"camera {name!r}: expected a name that `trg camera list` shows{hint}")


def camera_by_name(text: str) -> CameraLike:
    """Return the camera of a calibration file, or of a webcam or phone by its name.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        There is no such file and no such name, or the file is no calibration.
    """
    if os.path.exists(text) or os.path.dirname(text) or Path(text).suffix:
        return read_calibration(text)
    try:
        return find_device(text).view
    except ValueError as error:
        raise ValueError(f"{error}; a file {text!r} does not exist, either") from None


def _words(name: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", name.lower()))
