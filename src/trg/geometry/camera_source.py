"""Which camera took a picture, and what not knowing it does to distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from trg.geometry.camera import Camera, FovAxis

if TYPE_CHECKING:
    from trg.face import Face

CameraLike: TypeAlias = "Camera | FieldOfView | ArrayLike"
"""A camera, a field of view, a 3x3 intrinsic matrix, or a focal length in pixels."""


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """What a camera sees, for pictures of any size.

    Attributes
    ----------
    degrees
        The angle, above 0 and below 180.
    axis
        Between which borders or corners.

    Raises
    ------
    ValueError
        There is no such angle or axis.
    """

    degrees: float
    axis: FovAxis = "horizontal"

    def __post_init__(self) -> None:
        self.camera(1, 1)

    def camera(self, width: int, height: int) -> Camera:
        """Return the camera of pictures of this size, px."""
        return Camera.from_fov(self.degrees, width, height, self.axis)


def camera_of(
    width: int, height: int, given: CameraLike | None = None, exif: Camera | None = None
) -> Camera:
    """Return the camera that was given, else the one in the picture's EXIF, else a guess.

    ``source`` of the result says which of them it is.

    Parameters
    ----------
    width, height
        The picture's size, px.
    given
        A camera, which is fitted to the picture's size; a field of view; a 3x3 matrix that puts
        the middle of the first pixel at 0.5 (else build a camera by :meth:`Camera.from_matrix`);
        or a focal length, px.
    exif
        What the picture itself says.

    Raises
    ------
    ValueError
        What was given is no camera, or one of a picture with other proportions.
    """
    if given is None:
        return exif or Camera.assumed(width, height)
    if isinstance(given, FieldOfView):
        return given.camera(width, height)
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
        "camera: expected a Camera, a FieldOfView, a 3x3 intrinsic matrix or a focal length in "
        f"pixels, got {given!r}"
    )


def fit_camera(camera: Camera, width: int, height: int) -> Camera:
    """Return the camera for pictures of ``width`` x ``height`` px.

    A calibration made at another size holds after scaling if the sides have the same ratio, to
    the pixel that rounding takes.

    Raises
    ------
    ValueError
        The ratio is another one: the picture was cut or turned, and where cannot be known.
    """
    if (camera.width, camera.height) == (width, height):
        return camera
    off_px = min(
        abs(width * camera.height / camera.width - height),
        abs(height * camera.width / camera.height - width),
    )
    if off_px <= 1.0:
        return camera.resize(width, height)
    hint = "calibrate at the picture's size, or cut the camera as the picture was (Camera.crop)"
    if abs(height * camera.height / camera.width - width) <= 1.0:
        hint = "the picture seems to be turned by 90 degrees: turn it, or calibrate upright"
    raise ValueError(
        f"camera: its calibration is for {camera.width}x{camera.height} px, the picture has "
        f"{width}x{height}, which is not the same scaled; {hint}"
    )


def is_one_camera(value: Any) -> bool:
    """Say whether this is one camera for all pictures, and not one of each."""
    if isinstance(value, Camera | FieldOfView):
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
