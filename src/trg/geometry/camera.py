"""Pinhole camera with Brown-Conrady lens distortion.

Pixel convention: the top-left pixel covers [0, 1) x [0, 1), so its centre is at (0.5, 0.5), and an
image of w x h pixels spans [0, w] x [0, h]. A centred principal point is (w / 2, h / 2). OpenCV
puts the centre of the first pixel at 0, which makes its principal points half a pixel smaller:
load such a matrix with ``Camera.from_matrix(..., pixel_centre=0.0)``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array

CameraSource = Literal["given", "exif", "fov", "assumed"]
"""Origin of the intrinsics: the user, the file's EXIF data, a field of view, an assumption."""

FovAxis = Literal["horizontal", "vertical", "diagonal"]
"""Borders or corners of the image that a field of view is measured between."""

NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)
"""Brown-Conrady k1, k2, p1, p2, k3 of an ideal lens."""

ASSUMED_FOV_DEG = 60.0
"""Diagonal field of view of an unknown camera: between a phone or webcam (about 75 degrees) and a
portrait lens (about 45). Rotation and image landmarks hardly depend on it; distances are
proportional to the focal length."""

UNDISTORT_STEPS = 20
UNDISTORT_TOLERANCE = 1e-12
"""Newton's method stops at this error in rays; float64 does not reach much less."""

UNDISTORT_ACCEPTED = 1e-9
"""Error in rays that is accepted after the last step: far below a thousandth of a pixel."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics of a camera, for one image size.

    Attributes
    ----------
    fx, fy, cx, cy
        Focal lengths and principal point, px.
    width, height
        Image size, px.
    distortion
        Brown-Conrady ``(k1, k2, p1, p2, k3)``, in OpenCV's order.
    source
        Origin of the intrinsics.

    Raises
    ------
    ValueError
        A focal length or size is not positive, a number not finite, or the source unknown.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, float, float, float, float] = NO_DISTORTION
    source: CameraSource = "given"

    def __post_init__(self) -> None:
        numbers = finite_array(
            "camera (fx, fy, cx, cy)", (self.fx, self.fy, self.cx, self.cy), (4,)
        )
        if numbers[0] <= 0 or numbers[1] <= 0:
            raise ValueError(
                f"camera: expected positive focal lengths, got {self.fx} and {self.fy}"
            )
        if self.width < 1 or self.height < 1:
            raise ValueError(
                f"camera: expected an image of at least 1x1 px, got {self.width}x{self.height}"
            )
        finite_array("camera distortion (k1, k2, p1, p2, k3)", self.distortion, (5,))
        if self.source not in get_args(CameraSource):
            raise ValueError(
                f"camera source: expected one of {get_args(CameraSource)}, got {self.source!r}"
            )

    @classmethod
    def from_matrix(
        cls,
        matrix: ArrayLike,
        width: int,
        height: int,
        distortion: ArrayLike = NO_DISTORTION,
        *,
        pixel_centre: float = 0.5,
        source: CameraSource = "given",
    ) -> Camera:
        """Build a camera from a 3x3 intrinsic matrix and 0, 4 or 5 distortion coefficients.

        Parameters
        ----------
        pixel_centre
            Coordinate of the first pixel's centre in the calibration: 0.5 here, 0.0 in OpenCV.

        Raises
        ------
        ValueError
            The matrix is singular, has skew, or a bottom row other than (0, 0, 1).
        """
        K = finite_array("intrinsic matrix", matrix, (3, 3))
        if abs(np.linalg.det(K)) < 1e-12:
            raise ValueError(f"intrinsic matrix: expected an invertible matrix, got\n{K}")
        K = K / K[2, 2] if K[2, 2] else K
        off_pattern = np.abs([K[0, 1], K[1, 0], K[2, 0], K[2, 1]]).max()
        if off_pattern > 1e-6 * abs(K[0, 0]):
            raise ValueError(
                f"intrinsic matrix: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got\n{K}"
            )
        shift = 0.5 - pixel_centre
        return cls(
            fx=float(K[0, 0]),
            fy=float(K[1, 1]),
            cx=float(K[0, 2]) + shift,
            cy=float(K[1, 2]) + shift,
            width=width,
            height=height,
            distortion=_five_coefficients(distortion),
            source=source,
        )

    @classmethod
    def from_fov(
        cls,
        fov_deg: float,
        width: int,
        height: int,
        axis: FovAxis = "horizontal",
        source: CameraSource = "fov",
    ) -> Camera:
        """Build an ideal camera with square pixels from its field of view in degrees."""
        _check_fov_axis(axis)
        if not 0.0 < fov_deg < 180.0:
            raise ValueError(f"field of view: expected 0 < degrees < 180, got {fov_deg}")
        sides = {"horizontal": width, "vertical": height, "diagonal": np.hypot(width, height)}
        focal_px = 0.5 * float(sides[axis]) / float(np.tan(np.radians(fov_deg) / 2.0))
        return cls(focal_px, focal_px, width / 2.0, height / 2.0, width, height, source=source)

    @classmethod
    def assumed(cls, width: int, height: int) -> Camera:
        """Build the fallback for unknown cameras: a diagonal field of view of 60 degrees."""
        return cls.from_fov(ASSUMED_FOV_DEG, width, height, axis="diagonal", source="assumed")

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The 3x3 intrinsic matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def is_distorted(self) -> bool:
        """Whether any distortion coefficient is nonzero."""
        return any(self.distortion)

    def fov_deg(self, axis: FovAxis = "horizontal") -> float:
        """Return the angle in degrees between opposite borders or corners of the image."""
        _check_fov_axis(axis)
        ends = {
            "horizontal": ((0.0, self.cy), (self.width, self.cy)),
            "vertical": ((self.cx, 0.0), (self.cx, self.height)),
            "diagonal": ((0.0, 0.0), (self.width, self.height)),
        }
        first, second = np.insert(self.unproject(ends[axis]), 2, 1.0, axis=-1)
        cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
        return float(np.degrees(np.arccos(cosine)))

    def crop(self, left_px: float, top_px: float, width: int, height: int) -> Camera:
        """Return the camera of the image region whose top-left corner is ``(left_px, top_px)``."""
        return replace(self, cx=self.cx - left_px, cy=self.cy - top_px, width=width, height=height)

    def resize(self, width: int, height: int) -> Camera:
        """Return the camera of the image resized to ``width`` x ``height`` px."""
        scale_x, scale_y = width / self.width, height / self.height
        return replace(
            self,
            fx=self.fx * scale_x,
            fy=self.fy * scale_y,
            cx=self.cx * scale_x,
            cy=self.cy * scale_y,
            width=width,
            height=height,
        )

    def project(self, points_cam: ArrayLike) -> NDArray[np.float64]:
        """Project points ``(..., 3)`` in the camera frame to pixels ``(..., 2)``.

        Points at or behind the camera (z <= 0) give NaN.
        """
        points = np.asarray(points_cam, dtype=np.float64)
        depth = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
        return self.pixels_from_rays(points[..., :2] / depth)

    def unproject(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """Convert pixels ``(..., 2)`` to undistorted rays ``(x / z, y / z)``.

        Raises ValueError if a pixel is not finite, or no ray reaches it because the distortion
        model folds over.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        if not np.isfinite(pixels).all():
            raise ValueError("pixels: expected finite numbers, got NaN or infinity")
        distorted = (pixels - (self.cx, self.cy)) / (self.fx, self.fy)
        return self._undistort(distorted) if self.is_distorted else distorted

    def pixels_from_rays(self, rays: ArrayLike) -> NDArray[np.float64]:
        """Convert undistorted rays ``(..., 2)`` to pixels ``(..., 2)``."""
        rays = np.asarray(rays, dtype=np.float64)
        distorted = self._distort(rays) if self.is_distorted else rays
        return distorted * (self.fx, self.fy) + (self.cx, self.cy)

    def pixels_per_ray(self, rays: ArrayLike) -> NDArray[np.float64]:
        """Return the pixels per unit of x and of y around rays ``(..., 2)``.

        ``(fx, fy)`` everywhere for an ideal lens. NaN where the distortion model folds over and no
        light reaches the image.
        """
        rays = np.asarray(rays, dtype=np.float64)
        if not self.is_distorted:
            return np.broadcast_to((self.fx, self.fy), rays.shape)
        jacobian = self._distortion_jacobian(rays)
        scale = np.diagonal(jacobian, axis1=-2, axis2=-1) * (self.fx, self.fy)
        return np.where(_keeps_orientation(jacobian)[..., None], scale, np.nan)

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as numbers, lists and strings, as in the JSON output."""
        return {**asdict(self), "distortion": list(self.distortion)}

    def _distort(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        k1, k2, p1, p2, k3 = self.distortion
        x, y = rays[..., 0], rays[..., 1]
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        return np.stack(
            [
                x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
                y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
            ],
            axis=-1,
        )

    def _distortion_jacobian(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        k1, k2, p1, p2, k3 = self.distortion
        x, y = rays[..., 0], rays[..., 1]
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = 2.0 * (k1 + r2 * (2.0 * k2 + 3.0 * r2 * k3))  # d(radial) / d(x) = slope * x
        dxx = radial + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x
        dyy = radial + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x
        dxy = slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y
        return np.stack([np.stack([dxx, dxy], -1), np.stack([dxy, dyy], -1)], -2)

    def _undistort(self, distorted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Invert the distortion by Newton's method: about four steps for real lenses."""
        rays = distorted.copy()
        for _ in range(UNDISTORT_STEPS):
            error = self._distort(rays) - distorted
            if np.abs(error).max(initial=0.0) < UNDISTORT_TOLERANCE:
                return rays
            jacobian = self._distortion_jacobian(rays)
            if not _keeps_orientation(jacobian).all():
                break
            rays = rays - np.linalg.solve(jacobian, error[..., None])[..., 0]
        is_accurate = np.abs(self._distort(rays) - distorted).max() < UNDISTORT_ACCEPTED
        if is_accurate and _keeps_orientation(self._distortion_jacobian(rays)).all():
            return rays
        raise ValueError(
            f"camera distortion {self.distortion}: the lens model folds over inside the requested "
            "region; expected a calibration that is valid there"
        )


def _check_fov_axis(axis: str) -> None:
    if axis not in get_args(FovAxis):
        raise ValueError(f"field of view axis: expected one of {get_args(FovAxis)}, got {axis!r}")


def _keeps_orientation(jacobian: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where symmetric 2x2 Jacobians are positive definite: the lens does not fold over."""
    return (np.linalg.det(jacobian) > 0) & (np.trace(jacobian, axis1=-2, axis2=-1) > 0)


def _five_coefficients(distortion: ArrayLike) -> tuple[float, float, float, float, float]:
    given = np.asarray(distortion, dtype=np.float64).ravel()
    if given.size not in (0, 4, 5):
        raise ValueError(
            "camera distortion: expected 0, 4 or 5 Brown-Conrady coefficients (k1, k2, p1, p2[, "
            f"k3]), got {given.size}"
        )
    k1, k2, p1, p2, k3 = np.concatenate([given, np.zeros(5 - given.size)]).tolist()
    return k1, k2, p1, p2, k3
