"""Which portraits a folder of the Face Research Lab London Set holds, and their 189 landmarks.

Two forms are read: one packed ``landmarks189.npz``, and the set as its makers give it, with a text
*template* beside each photograph (``NNN_03.tem``: the number of points, then ``x<TAB>y`` a line, in
pixels of the original of 1350 x 1350).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

SOURCE = (
    "Get the Face Research Lab London Set (DeBruine and Jones 2017, doi "
    "10.6084/m9.figshare.5047666, CC BY 4.0): a folder with NNN_03.jpg, and NNN_03.tem beside "
    "each or one landmarks189.npz (names, points in pixels)."
)
LANDMARK_FILE = "landmarks189.npz"
TEMPLATES = "*_03.tem"
"""The neutral, frontal photographs."""

POINT_COUNT = 189
TEMPLATE_PX = 1350.0
"""Side of the pictures that templates count in."""


def read_landmarks(folder: Path) -> tuple[list[str], np.ndarray]:
    """Return the photographs' file names and their landmarks ``(n, 189, 2)`` in pixels.

    Raises
    ------
    FileNotFoundError, ValueError
        Neither form is there, or something in it is missing or damaged.
    """
    if (folder / LANDMARK_FILE).is_file():
        return _read_packed(folder / LANDMARK_FILE)
    templates = sorted(folder.glob(TEMPLATES))
    if not templates:
        raise FileNotFoundError(
            f"photo skin: expected the file {folder / LANDMARK_FILE} or templates {TEMPLATES} "
            f"beside the photographs. {SOURCE}"
        )
    photos = [template.with_suffix(".jpg") for template in templates]
    points = [
        np.array(photo_size(photo)) / TEMPLATE_PX * _read_template(template)
        for template, photo in zip(templates, photos, strict=True)
    ]
    return [photo.name for photo in photos], np.stack(points)


def photo_size(path: Path) -> tuple[int, int]:
    """Return a photograph's width and height without decoding it.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such picture.
    """
    if not path.is_file():
        raise FileNotFoundError(f"photo skin: expected the photograph {path}. {SOURCE}")
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"photo skin: cannot read {path} ({error}). {SOURCE}") from error


def _read_packed(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            names, points = [str(name) for name in stored["names"]], stored["points"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"photo skin: cannot read {path} ({error}). {SOURCE}") from error
    if points.shape != (len(names), POINT_COUNT, 2) or not names or not np.isfinite(points).all():
        raise ValueError(
            f"photo skin {path}: expected points (n, {POINT_COUNT}, 2) for {len(names)} names, "
            f"got {points.shape}. {SOURCE}"
        )
    return names, points


def _read_template(path: Path) -> np.ndarray:
    """Return a template's points ``(189, 2)``; what follows them (lines to draw) is left alone."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        count = int(lines[0])
        points = np.array([line.split()[:2] for line in lines[1 : count + 1]], np.float64)
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"photo skin: cannot read {path} ({error}). {SOURCE}") from error
    if points.shape != (POINT_COUNT, 2) or not np.isfinite(points).all():
        raise ValueError(
            f"photo skin {path}: expected {POINT_COUNT} points, got {points.shape}. {SOURCE}"
        )
    return points
