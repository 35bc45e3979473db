"""A camera: intrinsics for one image size, and a lens model (:mod:`trg.geometry.lens`).

Pixel convention: the top-left pixel covers [0, 1) x [0, 1), so its centre is at (0.5, 0.5), and an
image of w x h pixels spans [0, w] x [0, h]. A centred principal point is (w / 2, h / 2). OpenCV
puts the centre of the first pixel at 0, which makes its principal points half a pixel smaller:
load such a matrix with ``Camera.from_matrix(..., pixel_centre=0.0)``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.lens import (
    NO_DISTORTION,
    Lens,
    LensModel,
    LensModelError,
    checked_coefficients,
    lens_of,
)

CameraSource = Literal[
    "given", "exif", "sensor_table", "lensfun", "focal_plane", "device", "clip", "fov", "assumed"
]
"""Origin of the intrinsics.

The user; EXIF's 35 mm equivalent; EXIF's focal length in millimetres with the sensor's size from
this package's table, from Lensfun's database or from EXIF's resolution of the focal plane; the
table of webcams and phones; a clip of a person (``trg camera calibrate``); a field of view; an
assumption.
"""

FovAxis = Literal["horizontal", "vertical", "diagonal"]
"""Borders or corners of the image that a field of view is measured between."""

ASSUMED_FOV_DEG = 60.0
"""Diagonal field of view of an unknown camera: between a phone or webcam (about 75 degrees) and a
portrait lens (about 45). Rotation and image landmarks hardly depend on it; distances are
proportional to the focal length."""

MAX_SIDE_PX, MAX_INTRINSIC_PX = 10**6, 1e9
"""Largest image side, and largest focal length and coordinate of the principal point."""

MIN_FOCAL_PX = 1e-6

MIN_RAY_DEPTH = 1e-6
"""Cosine to the optical axis from which a direction has a ray ``(x / z, y / z)``."""


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
        Coefficients of the lens model in OpenCV's order. Brown-Conrady: ``(k1, k2, p1, p2, k3)``,
        or 8 or 12 numbers, with ``(k4, k5, k6)`` of the rational and ``(s1, s2, s3, s4)`` of the
        thin-prism model. Fisheye: ``(k1, k2, k3, k4)``.
    source
        Origin of the intrinsics.
    lens_model
        ``brown_conrady`` or ``fisheye``.
    focal_std_px
        Standard deviation of ``fx``, px, if the calibration tells it. Distances have the same
        relative error.

    Raises
    ------
    ValueError
        A focal length or size is not positive, a number is not finite or beyond any camera's, or
        the source or lens model is unknown.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = NO_DISTORTION
    source: CameraSource = "given"
    lens_model: LensModel = "brown_conrady"
    focal_std_px: float | None = None

    def __post_init__(self) -> None:
        numbers = finite_array(
            "camera (fx, fy, cx, cy)", (self.fx, self.fy, self.cx, self.cy), (4,)
        )
        if numbers[0] <= 0 or numbers[1] <= 0:
            raise ValueError(
                f"camera: expected positive focal lengths, got {self.fx} and {self.fy}"
            )
        if numbers[:2].min() < MIN_FOCAL_PX or np.abs(numbers).max() > MAX_INTRINSIC_PX:
            raise ValueError(
                f"camera: expected focal lengths from {MIN_FOCAL_PX:g} px and numbers up to "
                f"{MAX_INTRINSIC_PX:g} px, got {numbers.tolist()}"
            )
        size = finite_array("camera (width, height)", (self.width, self.height), (2,))
        if (size < 1).any() or (size > MAX_SIDE_PX).any() or (size != np.floor(size)).any():
            raise ValueError(
                f"camera: expected an image of at least 1x1 px and at most {MAX_SIDE_PX} px wide "
                f"and high, in whole pixels, got {self.width}x{self.height}"
            )
        given = finite_array("camera distortion", self.distortion, (None,))
        distortion = checked_coefficients(self.lens_model, given.tolist())
        if self.source not in get_args(CameraSource):
            raise ValueError(
                f"camera source: expected one of {get_args(CameraSource)}, got {self.source!r}"
            )
        if self.focal_std_px is not None and not 0.0 <= self.focal_std_px < np.inf:
            raise ValueError(
                f"camera focal_std_px: expected 0 or more pixels, got {self.focal_std_px}"
            )
        plain = (*numbers.tolist(), *(int(side) for side in size), distortion)
        names = ("fx", "fy", "cx", "cy", "width", "height", "distortion")
        for name, value in zip(names, plain, strict=True):
            object.__setattr__(self, name, value)

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
        lens_model: LensModel = "brown_conrady",
    ) -> Camera:
        """Build a camera from a 3x3 intrinsic matrix and distortion coefficients, as OpenCV has.

        Parameters
        ----------
        distortion
            0, 4, 5, 8, 12 or 14 coefficients of Brown-Conrady, the last two of 14 zero; 0 or 4 of
            ``fisheye``.
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
            distortion=tuple(np.asarray(distortion, dtype=np.float64).ravel().tolist()),
            source=source,
            lens_model=lens_model,
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
        is_angle = 0.0 < fov_deg < 180.0
        half_tangent = float(np.tan(np.radians(fov_deg) / 2.0)) if is_angle else 0.0
        if half_tangent == 0.0:  # also of 5e-324 degrees
            raise ValueError(f"field of view: expected 0 < degrees < 180, got {fov_deg}")
        sides = {"horizontal": width, "vertical": height, "diagonal": np.hypot(width, height)}
        focal_px = 0.5 * float(sides[axis]) / half_tangent
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
        """Whether the lens is a fisheye or any distortion coefficient is nonzero."""
        return self.lens_model == "fisheye" or any(self.distortion)

    @property
    def lens(self) -> Lens:
        """The lens model."""
        return lens_of(self.lens_model, self.distortion)

    @property
    def blind_share(self) -> float:
        """Share of the image that shows nothing according to the lens model, beyond its fold."""
        return _blind_share(self)

    def fov_deg(self, axis: FovAxis = "horizontal") -> float:
        """Return the angle in degrees between opposite borders or corners of the image.

        Raises LensModelError if the lens model folds over before it reaches them.
        """
        _check_fov_axis(axis)
        ends = {
            "horizontal": ((0.0, self.cy), (self.width, self.cy)),
            "vertical": ((self.cx, 0.0), (self.cx, self.height)),
            "diagonal": ((0.0, 0.0), (self.width, self.height)),
        }
        directions = self._seen_directions(ends[axis])
        if self.lens_model == "fisheye":  # more than 180 degrees are no angle between directions
            lateral = np.linalg.norm(directions[:, :2], axis=-1)
            return float(np.degrees(np.arctan2(lateral, directions[:, 2])).sum())
        first, second = directions
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
            focal_std_px=None if self.focal_std_px is None else self.focal_std_px * scale_x,
        )

    def project(self, points_cam: ArrayLike) -> NDArray[np.float64]:
        """Project points ``(..., 3)`` in the camera frame to pixels ``(..., 2)``.

        NaN for points that the lens does not see: at or behind the camera (z <= 0), except for
        fisheye lenses, and beyond the fold of the lens model.
        """
        pixels = self.lens.project(np.asarray(points_cam, dtype=np.float64))
        pixels *= (self.fx, self.fy)
        pixels += (self.cx, self.cy)
        return pixels

    def directions(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """Convert pixels ``(..., 2)`` to directions ``(..., 3)`` of any length; inverts `project`.

        NaN where no light reaches the pixel, because the lens model folds over before it.

        Raises ValueError if a pixel is not finite.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        if not np.isfinite(pixels).all():
            raise ValueError("pixels: expected finite numbers, got NaN or infinity")
        return self.lens.unproject((pixels - (self.cx, self.cy)) / (self.fx, self.fy))

    def unproject(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """Convert pixels ``(..., 2)`` to undistorted rays ``(x / z, y / z)``.

        Raises
        ------
        ValueError
            A pixel is not finite.
        LensModelError
            No direction reaches a pixel because the lens model folds over, or the direction is 90
            degrees or more from the axis and therefore no ray: see :meth:`directions`.
        """
        directions = self._seen_directions(pixels)
        if not (directions[..., 2] > MIN_RAY_DEPTH).all():
            raise LensModelError(
                "pixels: expected some less than 90 degrees from the optical axis, where rays "
                "(x / z, y / z) are defined; use Camera.directions"
            )
        return directions[..., :2] / directions[..., 2:]

    def pixels_from_rays(self, rays: ArrayLike) -> NDArray[np.float64]:
        """Convert undistorted rays ``(..., 2)`` to pixels ``(..., 2)``; NaN as in `project`."""
        rays = np.asarray(rays, dtype=np.float64)
        return self.project(np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], -1))

    def pixels_per_ray(self, rays: ArrayLike) -> NDArray[np.float64]:
        """Return the pixels per unit of x and of y around rays ``(..., 2)``.

        ``(fx, fy)`` everywhere for an ideal lens. NaN where the lens model folds over and no light
        reaches the image.
        """
        return self.lens.slopes(np.asarray(rays, dtype=np.float64)) * (self.fx, self.fy)

    def _seen_directions(self, pixels: ArrayLike) -> NDArray[np.float64]:
        directions = self.directions(pixels)
        if np.isnan(directions).any():
            raise LensModelError(
                f"camera distortion {self.distortion}: the lens model folds over inside the "
                "requested region; expected a calibration that is valid there"
            )
        return directions

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as numbers, lists and strings, as in the JSON output."""
        values = {**asdict(self), "distortion": list(self.distortion)}
        if self.lens_model == "brown_conrady":  # the default; files without it stay readable
            del values["lens_model"]
        if self.focal_std_px is None:
            del values["focal_std_px"]
        return values


def _check_fov_axis(axis: str) -> None:
    if axis not in get_args(FovAxis):
        raise ValueError(f"field of view axis: expected one of {get_args(FovAxis)}, got {axis!r}")


@lru_cache(maxsize=64)
def _blind_share(camera: Camera) -> float:
    if not camera.is_distorted:
        return 0.0
    x, y = np.meshgrid(np.linspace(0.0, camera.width, 41), np.linspace(0.0, camera.height, 41))
    return float(np.isnan(camera.directions(np.stack([x, y], -1))[..., 0]).mean())
