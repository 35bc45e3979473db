"""Choice of an image's camera: given by the user, read from EXIF, or assumed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from trg.geometry.camera import Camera, CameraSource, FovAxis
from trg.geometry.lens import NO_DISTORTION, LensModel, LensModelWarning

CameraLike: TypeAlias = "Camera | FieldOfView | SizelessCalibration | ArrayLike"
"""A camera, a field of view, a calibration without an image size, a 3x3 intrinsic matrix, or a
focal length in pixels."""

CENTRE_SHARE = 0.2
"""A principal point farther from the middle, as a share of the image's side, belongs to images of
another size."""

MEASURED_PX = 4096
"""Longer side of the image on which the field of view of a native aspect ratio is measured."""

_TURNED: dict[FovAxis, FovAxis] = {
    "horizontal": "vertical",
    "vertical": "horizontal",
    "diagonal": "diagonal",
}


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """A field of view, which gives a camera for images of any size.

    Attributes
    ----------
    degrees
        The angle, above 0 and below 180.
    axis
        The borders or corners that the angle is measured between.
    aspect
        Width and height, in any unit, of the whole image that the angle is for. Images of another
        aspect ratio are taken as its largest crop, as webcams make them; upright images as those
        of a camera turned by 90 degrees. None: the angle is for images of any size.
    source
        What cameras of this field of view say about their origin.

    Raises
    ------
    ValueError
        The angle or the aspect is out of range, or the axis unknown.
    """

    degrees: float
    axis: FovAxis = "horizontal"
    aspect: tuple[float, float] | None = None
    source: CameraSource = "fov"

    def __post_init__(self) -> None:
        if self.aspect is not None and not all(0.0 < side < np.inf for side in self.aspect):
            raise ValueError(f"field of view aspect: expected sides above 0, got {self.aspect}")
        self.camera(1, 1)  # validates the others

    def camera(self, width: int, height: int) -> Camera:
        """Return the camera of images of this size in pixels."""
        if self.aspect is None:
            return Camera.from_fov(self.degrees, width, height, self.axis, self.source)
        wide, high = self.aspect
        if (height > width) != (high > wide) and width != height:
            return replace(self, aspect=(high, wide), axis=_TURNED[self.axis]).camera(width, height)
        # The angle is measured on an image of the native aspect, of some millions of pixels.
        px = MEASURED_PX / max(wide, high)
        whole = Camera.from_fov(self.degrees, round(wide * px), round(high * px), self.axis)
        scale = max(width / whole.width, height / whole.height)
        focal_px = whole.fx * scale
        size = width / 2.0, height / 2.0, width, height
        return Camera(focal_px, focal_px, *size, source=self.source)


@dataclass(frozen=True, slots=True)
class SizelessCalibration:
    """A calibration that does not tell the size of its images, as many programs save them.

    It holds for images of the size that it was made with.

    Attributes
    ----------
    fx, fy, cx, cy, distortion, lens_model
        As in :class:`~trg.geometry.camera.Camera`.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = NO_DISTORTION
    lens_model: LensModel = "brown_conrady"

    def camera(self, width: int, height: int) -> Camera:
        """Return the camera of images of this size in pixels.

        Raises ValueError if the principal point is far from their middle: the calibration is for
        another size.
        """
        off_centre = max(abs(self.cx / width - 0.5), abs(self.cy / height - 0.5))
        if off_centre > CENTRE_SHARE:
            raise ValueError(
                "camera: the calibration does not tell the size of its images, and its principal "
                f"point ({self.cx:.0f}, {self.cy:.0f}) px is not near the middle of "
                f"{width}x{height} px; add image_width and image_height to the calibration"
            )
        return Camera(
            self.fx,
            self.fy,
            self.cx,
            self.cy,
            width,
            height,
            self.distortion,
            lens_model=self.lens_model,
        )


def resolve_camera(
    width: int, height: int, given: CameraLike | None = None, exif: Camera | None = None
) -> Camera:
    """Return the given camera, else the one from EXIF, else an assumed one.

    Parameters
    ----------
    width, height
        The image's size in pixels.
    given
        A camera, scaled to the image's size; a field of view; a calibration without a size; a 3x3
        matrix with the centre of the first pixel at 0.5 (for other conventions see
        :meth:`Camera.from_matrix`); or a focal length in pixels.
    exif
        The camera from the image's EXIF data.

    Returns
    -------
    Camera
        Its ``source`` tells which of these it is.

    Warns
    -----
    LensModelWarning
        The lens model of a given camera folds over inside the image.

    Raises
    ------
    ValueError
        ``given`` is not a camera, or is calibrated for another aspect ratio.
    """
    if given is None:
        return exif or Camera.assumed(width, height)
    if isinstance(given, FieldOfView):
        return given.camera(width, height)
    if isinstance(given, Camera):
        _warn_of_fold(given)
        return scale_calibration(given, width, height)
    if isinstance(given, SizelessCalibration):
        camera = given.camera(width, height)
        _warn_of_fold(camera)
        return camera
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


def _warn_of_fold(camera: Camera) -> None:
    if camera.blind_share > 0.0:
        warnings.warn(
            f"camera: its lens model folds over {camera.lens.max_angle_deg:.0f} degrees from the "
            f"optical axis, inside the picture; faces in the {camera.blind_share:.1%} of the "
            "picture beyond get no pose. Calibrate with views that reach the corners, or with "
            "fewer coefficients",
            LensModelWarning,
            stacklevel=3,
        )


def scale_calibration(camera: Camera, width: int, height: int) -> Camera:
    """Return a calibrated camera for images of ``width`` x ``height`` px.

    Raises ValueError if the aspect ratio differs by more than one pixel of rounding: the image was
    cropped or rotated.
    """
    if (camera.width, camera.height) == (width, height):
        return camera
    rounding_px = min(
        abs(width * camera.height / camera.width - height),
        abs(height * camera.width / camera.height - width),
    )
    if rounding_px <= 1.0:
        return camera.resize(width, height)
    hint = "calibrate at the image's size, or crop the camera as the image was (Camera.crop)"
    if abs(height * camera.height / camera.width - width) <= 1.0:
        hint = "the image seems to be rotated by 90 degrees: rotate it, or calibrate upright"
    raise ValueError(
        f"camera: its calibration is for {camera.width}x{camera.height} px, the image has "
        f"{width}x{height}, another aspect ratio; {hint}"
    )


def is_single_camera(value: Any) -> bool:
    """Return whether ``value`` is one :data:`CameraLike` rather than a sequence of them."""
    if isinstance(value, Camera | FieldOfView | SizelessCalibration):
        return True
    try:
        return np.asarray(value, dtype=np.float64).shape in ((), (3, 3))
    except (TypeError, ValueError):
        return False
