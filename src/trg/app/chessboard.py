"""Camera calibration from photos of a chessboard with OpenCV, which is not a dependency."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trg.geometry.camera import Camera
from trg.io.images import read_image
from trg.io.inputs import PHOTO_SUFFIXES

MIN_PHOTOS = 5
"""Photos with a board without which a calibration is not trusted."""

_OPENCV_CENTRE = 0.0  # of the first pixel; here it is 0.5


class ChessboardCalibration(NamedTuple):
    """A calibrated camera, and how well it fits."""

    camera: Camera
    used: int
    """Photos in which the whole board was found."""
    photos: int
    error_px: float
    """Root mean square distance of the corners from those of the fit."""


def calibrate_from_chessboard(folder: Path, columns: int, rows: int) -> ChessboardCalibration:
    """Calibrate the camera that took the photos in a folder, with Brown-Conrady distortion.

    Parameters
    ----------
    columns, rows
        Inner corners of the board.

    Raises
    ------
    ModuleNotFoundError
        OpenCV is not installed.
    FileNotFoundError, OSError, ValueError
        The folder has no photos of one size with the board, or a photo is damaged.
    """
    cv2 = _opencv()
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in PHOTO_SUFFIXES]
    found, size = [], None
    for path in paths:
        pixels = read_image(path).pixels
        if size not in (None, pixels.shape[:2]):
            raise ValueError(f"{path}: expected photos of one size, got another one")
        size = pixels.shape[:2]
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        is_found, corners = cv2.findChessboardCorners(grey, (columns, rows))
        if is_found:
            until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
            found.append(cv2.cornerSubPix(grey, corners, (5, 5), (-1, -1), until))
    if len(found) < MIN_PHOTOS:
        raise ValueError(
            f"{folder}: expected at least {MIN_PHOTOS} photos with a whole board of {columns}x"
            f"{rows} inner corners, got {len(found)} of {len(paths)}; count the corners where four "
            "squares meet (--columns, --rows)"
        )
    assert size is not None
    board = np.zeros((rows * columns, 3), np.float32)
    board[:, :2] = np.mgrid[:columns, :rows].T.reshape(-1, 2)
    height, width = size
    error_px, matrix, distortion, _, _, deviations, *_ = cv2.calibrateCameraExtended(
        [board] * len(found), found, (width, height), None, None
    )
    camera = Camera.from_matrix(
        matrix, width, height, distortion.ravel()[:5], pixel_centre=_OPENCV_CENTRE
    )
    numbers = camera.to_dict() | {"focal_std_px": float(deviations[0, 0])}
    camera = Camera(**numbers | {"distortion": camera.distortion})
    return ChessboardCalibration(camera, len(found), len(paths), float(error_px))


def _opencv() -> Any:
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ValueError(
            "calibration from a chessboard needs OpenCV, which trg does not depend on; install it "
            "with: pip install opencv-python-headless, or calibrate with a clip of yourself (trg "
            "camera calibrate CLIP)"
        ) from error
    return cv2
