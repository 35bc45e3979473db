"""Reader of the Face Research Lab London Set: portraits and their 189 landmarks.

Two forms are read: one packed ``landmarks189.npz``, and the published set with a text *template*
beside each photograph (``NNN_03.tem``: the number of points, then one ``x<TAB>y`` per line, in
pixels of the original, 1350 x 1350).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from trg.io.images import open_image

DOWNLOAD_HINT = (
    "Get the Face Research Lab London Set (DeBruine and Jones 2017, doi "
    "10.6084/m9.figshare.5047666, CC BY 4.0): a folder with NNN_03.jpg, and NNN_03.tem beside "
    "each or one landmarks189.npz (names, points in pixels)."
)
LANDMARK_FILE = "landmarks189.npz"
TEMPLATES = "*_03.tem"
"""Templates of the neutral, frontal photographs."""

POINT_COUNT = 189
TEMPLATE_PX = 1350.0
"""Side of the images that template coordinates refer to."""


def has_landmarks(folder: Path) -> bool:
    """Return whether landmarks lie beside the photographs of a folder, in either form."""
    return (folder / LANDMARK_FILE).is_file() or any(folder.glob(TEMPLATES))


def read_landmarks(folder: Path) -> tuple[list[str], np.ndarray]:
    """Return the photographs' file names and their landmarks ``(n, 189, 2)`` in pixels.

    Raises
    ------
    FileNotFoundError, ValueError
        Neither form is present, or a file is missing or damaged.
    """
    if (folder / LANDMARK_FILE).is_file():
        return _read_packed(folder / LANDMARK_FILE)
    templates = sorted(folder.glob(TEMPLATES))
    if not templates:
        raise FileNotFoundError(
            f"photo skin: expected the file {folder / LANDMARK_FILE} or templates {TEMPLATES} "
            f"beside the photographs. {DOWNLOAD_HINT}"
        )
    photos = [template.with_suffix(".jpg") for template in templates]
    points = [
        np.array(_image_size(photo)) / TEMPLATE_PX * _read_template(template)
        for template, photo in zip(templates, photos, strict=True)
    ]
    return [photo.name for photo in photos], np.stack(points)


@contextmanager
def open_photo(path: Path) -> Iterator[Image.Image]:
    """Open a photograph; errors while it is open name the file and the download.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such image, or it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"photo skin: expected the photograph {path}. {DOWNLOAD_HINT}")
    try:
        with open_image(path) as image:
            yield image
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"photo skin: cannot read {path} ({error}). {DOWNLOAD_HINT}") from error


def _image_size(path: Path) -> tuple[int, int]:
    with open_photo(path) as image:
        return image.size


def _read_packed(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            names, points = [str(name) for name in stored["names"]], stored["points"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"photo skin: cannot read {path} ({error}). {DOWNLOAD_HINT}") from error
    if points.shape != (len(names), POINT_COUNT, 2) or not names or not np.isfinite(points).all():
        raise ValueError(
            f"photo skin {path}: expected points (n, {POINT_COUNT}, 2) for {len(names)} names, "
            f"got {points.shape}. {DOWNLOAD_HINT}"
        )
    return names, points


def _read_template(path: Path) -> np.ndarray:
    """Return the points ``(189, 2)`` of a template; the polylines after them are ignored."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        count = int(lines[0])
        points = np.array([line.split()[:2] for line in lines[1 : count + 1]], np.float64)
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"photo skin: cannot read {path} ({error}). {DOWNLOAD_HINT}") from error
    if points.shape != (POINT_COUNT, 2) or not np.isfinite(points).all():
        raise ValueError(
            f"photo skin {path}: expected {POINT_COUNT} points, got {points.shape}. {DOWNLOAD_HINT}"
        )
    return points
