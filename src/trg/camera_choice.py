"""Which camera took a picture, and what not knowing it does to distances."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from trg.camera import Camera
from trg.face import Face
from trg.media.calibration import fit_camera
from trg.media.images import Picture

CameraLike: TypeAlias = "Camera | ArrayLike"
"""A camera, a 3x3 intrinsic matrix, or a focal length in pixels."""


def camera_of(picture: Picture, given: CameraLike | None = None) -> Camera:
    """Return the camera that was given, else the one in the picture's EXIF, else a guess.

    ``source`` of the result says which of them it is.

    Parameters
    ----------
    given
        A camera, which is fitted to the picture's size; a 3x3 matrix that puts the middle of the
        first pixel at 0.5 (else build a camera by :meth:`Camera.from_matrix`); or a focal length.

    Raises
    ------
    ValueError
        What was given is no camera, or one of a picture with other proportions.
    """
    height, width = picture.pixels.shape[:2]
    if given is None:
        return picture.camera or Camera.assumed(width, height)
    if isinstance(given, Camera):
        return fit_camera(given, width, height)
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.ndim == 0:
        focal_px = float(numbers)
        return Camera(focal_px, focal_px, width / 2.0, height / 2.0, width, height)
    if numbers.shape == (3, 3):
        return Camera.from_matrix(numbers, width, height)
    raise ValueError(
        "camera: expected a Camera, a 3x3 intrinsic matrix or a focal length in pixels, got "
        f"{given!r}"
    )


def is_one_camera(value: Any) -> bool:
    """Say whether this is one camera, matrix or focal length, and not one of each picture."""
    if isinstance(value, Camera):
        return True
    try:
        return np.asarray(value, dtype=np.float64).shape in ((), (3, 3))
    except (TypeError, ValueError):
        return False


def assumed_distance_range(face: Face, fov_error_deg: float = 10.0) -> tuple[float, float]:
    """Return between which distances in metres a face may be if its camera was guessed.

    Distance goes with the focal length: a picture's field of view that is ``fov_error_deg`` wider
    than supposed brings the head nearer, a narrower one takes it away. Both are measured on the
    diagonal.

    Raises
    ------
    ValueError
        The error is negative, or the field of view would leave (0, 180) degrees.
    """
    fov_deg = face.camera.fov_deg("diagonal")
    low_deg, high_deg = fov_deg - fov_error_deg, fov_deg + fov_error_deg
    if fov_error_deg < 0 or low_deg <= 0 or high_deg >= 180:
        raise ValueError(
            f"fov_error_deg: expected 0 or more, with {fov_deg:.0f} degrees plus and minus it "
            f"within 0 to 180, got {fov_error_deg}"
        )
    half_tangents = np.tan(np.radians([fov_deg, high_deg, low_deg]) / 2.0)
    nearer, farther = face.distance_m * half_tangents[0] / half_tangents[1:]
    return float(nearer), float(farther)
