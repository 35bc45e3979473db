"""Pinhole cameras with lens distortion, and where their numbers came from.

Pixel convention: the top-left pixel covers [0, 1) x [0, 1), so its centre is at (0.5, 0.5), and an
image of w x h pixels spans [0, w] x [0, h]. The principal point of a camera whose axis meets the
middle of the image is (w / 2, h / 2). A calibration that counts pixel centres from 0 (OpenCV's
does) has a principal point that is half a pixel less: pass it with ``pixel_centre=0.0``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array

CameraSource = Literal["given", "exif", "fov", "assumed"]
"""Where a camera's numbers came from: the user, the file's EXIF, a field of view, nowhere."""

FovAxis = Literal["horizontal", "vertical", "diagonal"]

NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)
"""Brown-Conrady k1, k2, p1, p2, k3 of an ideal lens."""

ASSUMED_FOV_DEG = 60.0
"""Diagonal field of view where nobody knows the camera: between a phone's or webcam's (about 75)
and a portrait lens's (about 45). Rotation and landmarks in the picture hardly depend on it;
distance does, in proportion to the focal length."""

UNDISTORT_STEPS = 20
UNDISTORT_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera and the size of its picture, in pixels.

    Attributes
    ----------
    fx, fy, cx, cy
        Focal lengths and principal point, px.
    width, height
        Size of the picture, px.
    distortion
        Brown-Conrady ``(k1, k2, p1, p2, k3)``, in OpenCV's order.
    source
        Where the numbers came from.
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
                f"camera: expected a picture of at least 1x1 px, got {self.width}x{self.height}"
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
        """Build a camera from a 3x3 intrinsic matrix and 0, 4 or 5 distortion numbers.

        Parameters
        ----------
        pixel_centre
            Where the calibration puts the centre of the first pixel: 0.5 here, 0.0 in OpenCV.

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
            distortion=_five_distortion_numbers(distortion),
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
        sides = {
            "horizontal": float(width),
            "vertical": float(height),
            "diagonal": float(np.hypot(width, height)),
        }
        _check_fov_axis(axis)
        if not 0.0 < fov_deg < 180.0:
            raise ValueError(f"field of view: expected 0 < degrees < 180, got {fov_deg}")
        focal_px = 0.5 * sides[axis] / float(np.tan(np.radians(fov_deg) / 2.0))
        return cls(focal_px, focal_px, width / 2.0, height / 2.0, width, height, source=source)

    @classmethod
    def assumed(cls, width: int, height: int) -> Camera:
        """Build the camera to fall back on: a diagonal field of view of 60 degrees."""
        return cls.from_fov(ASSUMED_FOV_DEG, width, height, axis="diagonal", source="assumed")

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The 3x3 intrinsic matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def is_distorted(self) -> bool:
        """Whether straight lines come out bent."""
        return any(self.distortion)

    def fov_deg(self, axis: FovAxis = "horizontal") -> float:
        """Return the angle in degrees between opposite borders or corners of the picture."""
        ends = {
            "horizontal": ((0.0, self.cy), (self.width, self.cy)),
            "vertical": ((self.cx, 0.0), (self.cx, self.height)),
            "diagonal": ((0.0, 0.0), (self.width, self.height)),
        }
        _check_fov_axis(axis)
        first, second = np.insert(self.unproject(ends[axis]), 2, 1.0, axis=-1)
        cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
        return float(np.degrees(np.arccos(cosine)))

    def crop(self, left_px: float, top_px: float, width: int, height: int) -> Camera:
        """Return the camera of the picture's cut-out that starts at ``(left_px, top_px)``."""
        return replace(self, cx=self.cx - left_px, cy=self.cy - top_px, width=width, height=height)

    def resize(self, width: int, height: int) -> Camera:
        """Return the camera of the picture scaled to ``width`` x ``height``."""
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

        A point at or behind the camera (z <= 0) has no image and comes out as NaN.
        """
        points = np.asarray(points_cam, dtype=np.float64)
        depth = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
        return self.pixels_from_rays(points[..., :2] / depth)

    def unproject(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """Turn pixels ``(..., 2)`` into rays ``(x / z, y / z)`` of an ideal lens.

        Raises
        ------
        ValueError
            A pixel is not finite, or the distortion model folds over there, so that no ray leads
            to it.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        if not np.isfinite(pixels).all():
            raise ValueError("pixels: expected finite numbers, got NaN or infinity")
        distorted = (pixels - (self.cx, self.cy)) / (self.fx, self.fy)
        return self._undistort(distorted) if self.is_distorted else distorted

    def pixels_from_rays(self, rays: ArrayLike) -> NDArray[np.float64]:
        """Turn rays ``(..., 2)`` of an ideal lens into pixels ``(..., 2)``."""
        rays = np.asarray(rays, dtype=np.float64)
        distorted = self._distort(rays) if self.is_distorted else rays
        return distorted * (self.fx, self.fy) + (self.cx, self.cy)

    def pixels_per_ray(self, rays: ArrayLike) -> NDArray[np.float64]:
        """Return how many pixels one unit of x and of y spans around rays ``(..., 2)``.

        ``(fx, fy)`` everywhere for an ideal lens. NaN where the lens model folds over, so that
        no light from there reaches the picture.
        """
        rays = np.asarray(rays, dtype=np.float64)
        if not self.is_distorted:
            return np.broadcast_to((self.fx, self.fy), rays.shape)
        jacobian = self._distortion_jacobian(rays)
        scale = np.diagonal(jacobian, axis1=-2, axis2=-1) * (self.fx, self.fy)
        return np.where(_keeps_orientation(jacobian)[..., None], scale, np.nan)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings, as in the JSON output."""
        return {
            "fx": self.fx,
            "fy": self.fy,
            "cx": self.cx,
            "cy": self.cy,
            "width": self.width,
            "height": self.height,
            "distortion": list(self.distortion),
            "source": self.source,
        }

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
        """Invert the lens by Newton's method, which needs about four steps for real lenses."""
        rays = distorted.copy()
        for _ in range(UNDISTORT_STEPS):
            error = self._distort(rays) - distorted
            if np.abs(error).max(initial=0.0) < UNDISTORT_TOLERANCE:
                return rays
            jacobian = self._distortion_jacobian(rays)
            if not _keeps_orientation(jacobian).all():
                break
            rays = rays - np.linalg.solve(jacobian, error[..., None])[..., 0]
        worst = float(np.abs(self._distort(rays) - distorted).max())
        if worst < 1e-9 and _keeps_orientation(self._distortion_jacobian(rays)).all():
            return rays
        raise ValueError(
            f"camera distortion {self.distortion}: the lens model folds over inside the region "
            "that was asked for; expected a calibration that is valid there"
        )


def _check_fov_axis(axis: str) -> None:
    if axis not in get_args(FovAxis):
        raise ValueError(f"field of view axis: expected one of {get_args(FovAxis)}, got {axis!r}")


def _keeps_orientation(jacobian: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say where symmetric 2x2 matrices are positive definite: the lens has not folded over."""
    return (np.linalg.det(jacobian) > 0) & (np.trace(jacobian, axis1=-2, axis2=-1) > 0)


def _five_distortion_numbers(
    distortion: ArrayLike,
) -> tuple[float, float, float, float, float]:
    numbers = np.asarray(distortion, dtype=np.float64).ravel()
    if numbers.size not in (0, 4, 5):
        raise ValueError(
            "camera distortion: expected 0, 4 or 5 Brown-Conrady numbers (k1, k2, p1, p2[, k3]), "
            f"got {numbers.size}"
        )
    k1, k2, p1, p2, k3 = np.concatenate([numbers, np.zeros(5 - numbers.size)]).tolist()
    return k1, k2, p1, p2, k3
