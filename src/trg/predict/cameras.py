"""Which camera took the pictures, as a user says it for all of them at once."""

from __future__ import annotations

from dataclasses import dataclass

from trg.camera import Camera, FovAxis
from trg.media.calibration import fit_camera


@dataclass(frozen=True, slots=True)
class CameraChoice:
    """What is known of the camera; nothing: each picture's EXIF tells, or else it is assumed.

    Attributes
    ----------
    focal_px
        The focal length, px; the principal point is the picture's middle.
    fov_deg
        The field of view, degrees, along ``fov_axis``.
    calibration
        A camera, scaled to pictures of other sizes but the same proportions.

    Raises
    ------
    ValueError
        More than one is given, or a number makes no sense.
    """

    focal_px: float | None = None
    fov_deg: float | None = None
    fov_axis: FovAxis = "horizontal"
    calibration: Camera | None = None

    def __post_init__(self) -> None:
        told = (self.focal_px, self.fov_deg, self.calibration)
        if sum(each is not None for each in told) > 1:
            raise ValueError("camera: expected a focal length, a field of view or a file, got two")
        if self.focal_px is not None and not 0.0 < self.focal_px < float("inf"):
            raise ValueError(f"focal length: expected pixels above 0, got {self.focal_px:g}")
        if self.fov_deg is not None:
            Camera.from_fov(self.fov_deg, 1, 1, self.fov_axis)

    def camera_for(self, width: int, height: int, exif: Camera | None = None) -> Camera:
        """Return the camera of a picture of this size; ``exif`` is what the picture itself says.

        Raises
        ------
        ValueError
            The calibration is of pictures with other proportions.
        """
        if self.focal_px is not None:
            focal_px = self.focal_px
            return Camera(focal_px, focal_px, width / 2.0, height / 2.0, width, height)
        if self.fov_deg is not None:
            return Camera.from_fov(self.fov_deg, width, height, self.fov_axis)
        if self.calibration is not None:
            return fit_camera(self.calibration, width, height)
        return exif or Camera.assumed(width, height)
