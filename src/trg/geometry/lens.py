"""Lens models: from directions in the camera frame to the image plane, and back.

Image-plane coordinates are those that the intrinsic matrix maps to pixels: ``fx * x + cx``,
``fy * y + cy``. Without distortion they are the rays ``(x / z, y / z)``.

A polynomial lens model is a fit. Beyond the views that it was fitted to it may *fold over*: farther
directions land nearer to the centre again. Light from there reaches no pixel; a model is used up to
the fold only. Both conversions give NaN beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LensModel = Literal["brown_conrady", "fisheye"]
"""``brown_conrady``: OpenCV's model of ``calibrateCamera``. ``fisheye``: that of
``fisheye.calibrate`` (Kannala and Brandt 2006; Kalibr's and ROS's ``equidistant``)."""

NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)
"""Brown-Conrady k1, k2, p1, p2, k3 of an ideal lens."""

COEFFICIENT_NAMES: dict[LensModel, tuple[str, ...]] = {
    "brown_conrady": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4"),
    "fisheye": ("k1", "k2", "k3", "k4"),
}
"""Coefficients of each model, in OpenCV's order."""

ACCEPTED_COUNTS: dict[LensModel, tuple[int, ...]] = {
    "brown_conrady": (0, 4, 5, 8, 12, 14),
    "fisheye": (0, 4),
}
"""How many coefficients OpenCV writes; those left out are zero. The last two of 14 are the tilt of
the sensor, which must be zero."""

MAX_COEFFICIENT = 1e6
"""Far above what any calibration gives; below, no polynomial overflows."""

INVERSION_STEPS = 30
INVERSION_TOLERANCE = 1e-12
"""Newton's method stops at this error in the image plane; float64 does not reach much less."""

INVERSION_ACCEPTED = 1e-9
"""Error that is accepted after the last step: far below a thousandth of a pixel."""


class LensModelError(ValueError):
    """A pixel or point lies where the lens model of the camera is not valid."""


class LensModelWarning(UserWarning):
    """A part of an image, or a face, cannot be used because the lens model folds over before it."""


class Lens(Protocol):
    """A lens model."""

    @property
    def max_angle_deg(self) -> float:
        """Angle to the optical axis up to which the model is valid."""

    def project(self, directions: Floats) -> Floats:
        """Map directions ``(..., 3)`` of any length to image points ``(..., 2)``, or NaN."""

    def unproject(self, points: Floats) -> Floats:
        """Map image points ``(..., 2)`` to directions ``(..., 3)`` of any length, or NaN."""

    def slopes(self, rays: Floats) -> Floats:
        """Return dx'/dx and dy'/dy ``(..., 2)`` of image points by rays ``(..., 2)``, or NaN."""


def checked_coefficients(model: LensModel, coefficients: Sequence[float]) -> tuple[float, ...]:
    """Return a model's coefficients in their shortest form: 4 for fisheye; 5, 8 or 12 else.

    Raises ValueError if the model is unknown, there is another number of coefficients than OpenCV
    writes, one is too large, or the sensor is tilted.
    """
    if model not in get_args(LensModel):
        raise ValueError(f"lens model: expected one of {get_args(LensModel)}, got {model!r}")
    names, counts = COEFFICIENT_NAMES[model], ACCEPTED_COUNTS[model]
    if len(coefficients) not in counts:
        raise ValueError(
            f"camera distortion: expected {', '.join(map(str, counts[:-1]))} or {counts[-1]} "
            f"coefficients of the {model} model ({', '.join(names)}), got {len(coefficients)}"
        )
    values = [float(value) for value in coefficients]
    if not all(abs(value) <= MAX_COEFFICIENT for value in values):
        raise ValueError(
            f"camera distortion: expected coefficients up to {MAX_COEFFICIENT:g}, got {values}"
        )
    if any(values[12:]):
        raise ValueError(
            "camera distortion: expected a sensor without tilt (tau_x, tau_y = 0), got "
            f"{values[12:]}; calibrate without CALIB_TILTED_MODEL"
        )
    values = (values + [0.0] * len(names))[: len(names)]
    if model == "fisheye":
        return tuple(values)
    used = 1 + max((index for index, value in enumerate(values) if value), default=0)
    return tuple(values[: next(count for count in (5, 8, 12) if used <= count)])


@lru_cache(maxsize=256)
def lens_of(model: LensModel, coefficients: tuple[float, ...]) -> Lens:
    """Return the lens of a model with the coefficients of :func:`checked_coefficients`."""
    if model == "fisheye":
        k1, k2, k3, k4 = coefficients
        slope = (1.0, 3.0 * k1, 5.0 * k2, 7.0 * k3, 9.0 * k4)
        max_angle = min(np.pi, float(np.sqrt(_first_positive_root(slope))))
        return FisheyeLens((k1, k2, k3, k4), max_angle)
    if not any(coefficients):
        return IdealLens()
    padded = (*coefficients, *([0.0] * (12 - len(coefficients))))
    return BrownConradyLens(padded, _fold_radius_squared(padded))


@dataclass(frozen=True, slots=True)
class IdealLens:
    """A lens without distortion."""

    @property
    def max_angle_deg(self) -> float:
        """Everything in front of the camera."""
        return 90.0

    def project(self, directions: Floats) -> Floats:
        """Divide by the depth; NaN at and behind the camera."""
        return _rays_in_front(directions)

    def unproject(self, points: Floats) -> Floats:
        """Append the depth 1."""
        return _with_unit_depth(points)

    def slopes(self, rays: Floats) -> Floats:
        """Return 1 everywhere."""
        return np.ones_like(rays)


@dataclass(frozen=True, slots=True)
class BrownConradyLens:
    """OpenCV's rational and thin-prism model (documentation of ``calib3d``), without tilt.

    With ``r2 = x x + y y`` of the ray::

        radial = (1 + k1 r2 + k2 r2^2 + k3 r2^3) / (1 + k4 r2 + k5 r2^2 + k6 r2^3)
        x' = x radial + 2 p1 x y + p2 (r2 + 2 x x) + s1 r2 + s2 r2^2
        y' = y radial + p1 (r2 + 2 y y) + 2 p2 x y + s3 r2 + s4 r2^2
    """

    coefficients: tuple[float, ...]
    """k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4"""
    max_radius_squared: float
    """Of rays, up to the radial part's fold; infinite if there is none"""

    @property
    def max_angle_deg(self) -> float:
        """Angle of the radial part's fold."""
        return float(np.degrees(np.arctan(np.sqrt(self.max_radius_squared))))

    def project(self, directions: Floats) -> Floats:
        """Distort the rays in front of the camera; NaN behind it and beyond the fold."""
        rays = _rays_in_front(directions)
        return np.where(self._is_valid(rays)[..., None], self._distort(rays), np.nan)

    def unproject(self, points: Floats) -> Floats:
        """Invert the distortion by Newton's method: about four steps for real lenses."""
        limit = np.sqrt(self.max_radius_squared)
        rays = _within(points, limit)
        with np.errstate(all="ignore"):  # points that no ray reaches may leave every range
            for _ in range(INVERSION_STEPS):
                error = self._distort(rays) - points
                if not (np.abs(error) >= INVERSION_TOLERANCE).any():
                    break
                (a, b), (c, d) = self._jacobian(rays)
                step = np.stack(
                    [d * error[..., 0] - b * error[..., 1], a * error[..., 1] - c * error[..., 0]],
                    -1,
                )
                rays = _within(rays - step / (a * d - b * c)[..., None], limit)
            error = np.abs(self._distort(rays) - points).max(-1, initial=0.0)
            is_found = (error < INVERSION_ACCEPTED) & self._is_valid(rays)
        return _with_unit_depth(np.where(is_found[..., None], rays, np.nan))

    def slopes(self, rays: Floats) -> Floats:
        """Return the diagonal of the Jacobian; NaN beyond the fold."""
        (a, _), (_, d) = self._jacobian(rays)
        return np.where(self._is_valid(rays)[..., None], np.stack([a, d], -1), np.nan)

    def _distort(self, rays: Floats) -> Floats:
        _, _, p1, p2, *_, s1, s2, s3, s4 = self.coefficients
        x, y = rays[..., 0], rays[..., 1]
        r2 = x * x + y * y
        radial, _ = self._radial(r2)
        x_image, y_image = x * radial, y * radial
        if p1 or p2:
            x_image += 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
            y_image += p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y
        if s1 or s2 or s3 or s4:
            x_image += r2 * (s1 + r2 * s2)
            y_image += r2 * (s3 + r2 * s4)
        return np.stack([x_image, y_image], axis=-1)

    def _jacobian(self, rays: Floats) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        _, _, p1, p2, *_, s1, s2, s3, s4 = self.coefficients
        x, y = rays[..., 0], rays[..., 1]
        r2 = x * x + y * y
        radial, slope = self._radial(r2)
        slope_x = slope * x
        xx, xy, yy = radial + slope_x * x, slope_x * y, radial + slope * y * y
        if p1 or p2:
            xy += 2.0 * p1 * x + 2.0 * p2 * y
            xx += 2.0 * p1 * y + 6.0 * p2 * x
            yy += 6.0 * p1 * y + 2.0 * p2 * x
        if not (s1 or s2 or s3 or s4):
            return (xx, xy), (xy, yy)
        prism_x, prism_y = 2.0 * (s1 + 2.0 * r2 * s2), 2.0 * (s3 + 2.0 * r2 * s4)
        return (xx + prism_x * x, xy + prism_x * y), (xy + prism_y * x, yy + prism_y * y)

    def _radial(self, r2: Floats) -> tuple[Floats, Floats]:
        """Return the radial factor, and its derivative by x over x (by y over y)."""
        k1, k2, _, _, k3, k4, k5, k6, *_ = self.coefficients
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = 2.0 * (k1 + r2 * (2.0 * k2 + 3.0 * r2 * k3))
        if k4 or k5 or k6:
            below = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
            radial = radial / below
            slope = (slope - radial * 2.0 * (k4 + r2 * (2.0 * k5 + 3.0 * r2 * k6))) / below
        return radial, slope

    def _is_valid(self, rays: Floats) -> NDArray[np.bool_]:
        """Return where the lens keeps the image's orientation, up to the first fold."""
        (a, b), (c, d) = self._jacobian(rays)
        is_inside = (rays * rays).sum(-1) <= self.max_radius_squared
        return is_inside & (a * d - b * c > 0.0) & (a + d > 0.0)


@dataclass(frozen=True, slots=True)
class FisheyeLens:
    """Kannala and Brandt 2006, Eq. 6, with OpenCV's four coefficients.

    A direction at the angle ``t`` from the optical axis lands at the distance
    ``t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8)`` from the centre. Sees beyond 90 degrees.
    """

    coefficients: tuple[float, float, float, float]
    max_angle_rad: float
    """Up to the fold, at most pi"""

    @property
    def max_angle_deg(self) -> float:
        """Angle of the fold, at most 180 degrees."""
        return float(np.degrees(self.max_angle_rad))

    def project(self, directions: Floats) -> Floats:
        """Map the angle to the optical axis to the distance from the centre."""
        lateral = directions[..., :2]
        sine = np.hypot(lateral[..., 0], lateral[..., 1])
        angle = np.arctan2(sine, directions[..., 2])
        # 0 / 0 on the axis, where lateral is 0.
        scale = self._radius(angle) / np.where(sine > 0.0, sine, 1.0)
        is_seen = (angle <= self.max_angle_rad) & (sine > 0.0)
        is_seen |= (sine == 0.0) & (directions[..., 2] > 0.0)  # the axis; not its opposite
        return np.where(is_seen[..., None], lateral * scale[..., None], np.nan)

    def unproject(self, points: Floats) -> Floats:
        """Invert the radius by bisection and Newton's method; it rises up to the fold."""
        radius = np.hypot(points[..., 0], points[..., 1])
        low, high = np.zeros_like(radius), np.full_like(radius, self.max_angle_rad)
        angle = np.minimum(radius, self.max_angle_rad)
        for _ in range(2 * INVERSION_STEPS):
            error = self._radius(angle) - radius
            if not (np.abs(error) >= INVERSION_TOLERANCE).any():
                break
            low, high = np.where(error < 0.0, angle, low), np.where(error > 0.0, angle, high)
            slope = self._radius_slope(angle)
            newton = angle - error / np.where(slope > 0.0, slope, np.inf)
            angle = np.where((newton > low) & (newton < high), newton, (low + high) / 2.0)
        is_found = np.abs(self._radius(angle) - radius) < INVERSION_ACCEPTED
        sine = np.where(is_found, np.sin(angle), np.nan)
        lateral = points * (sine / np.where(radius > 0.0, radius, 1.0))[..., None]
        return np.concatenate([lateral, np.cos(angle)[..., None]], -1)

    def slopes(self, rays: Floats) -> Floats:
        """Return the slopes along x and y; NaN beyond the fold."""
        squared = rays * rays
        r2 = squared.sum(-1)
        radius = np.sqrt(np.where(r2 > 0.0, r2, 1.0))
        angle = np.arctan(radius)
        across = self._radius(angle) / radius
        along = self._radius_slope(angle) / (1.0 + r2)
        share = squared / np.where(r2 > 0.0, r2, 1.0)[..., None]
        slopes = across[..., None] + (along - across)[..., None] * share
        slopes = np.where(r2[..., None] > 0.0, slopes, 1.0)
        return np.where((np.arctan(np.sqrt(r2)) <= self.max_angle_rad)[..., None], slopes, np.nan)

    def _radius(self, angle: Floats) -> Floats:
        k1, k2, k3, k4 = self.coefficients
        t2 = angle * angle
        return angle * (1.0 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))

    def _radius_slope(self, angle: Floats) -> Floats:
        k1, k2, k3, k4 = self.coefficients
        t2 = angle * angle
        return 1.0 + t2 * (3.0 * k1 + t2 * (5.0 * k2 + t2 * (7.0 * k3 + t2 * 9.0 * k4)))


def reoriented_coefficients(
    model: LensModel,
    coefficients: tuple[float, ...],
    transpose: bool = False,
    flip_x: bool = False,
    flip_y: bool = False,
) -> tuple[float, ...]:
    """Return the coefficients for images that are first transposed, then flipped."""
    if model == "fisheye":  # symmetric about the axis
        return coefficients
    k1, k2, p1, p2, k3, k4, k5, k6, *prism = (*coefficients, *([0.0] * (12 - len(coefficients))))
    s1, s2, s3, s4 = prism
    if transpose:
        p1, p2, s1, s2, s3, s4 = p2, p1, s3, s4, s1, s2
    if flip_x:
        p2, s1, s2 = -p2, -s1, -s2
    if flip_y:
        p1, s3, s4 = -p1, -s3, -s4
    return (k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4)[: len(coefficients)]


def _rays_in_front(directions: Floats) -> Floats:
    depth = directions[..., 2:]
    if not depth.min(initial=np.inf) > 0.0:
        depth = np.where(depth > 0.0, depth, np.nan)
    return directions[..., :2] / depth


def _with_unit_depth(rays: Floats) -> Floats:
    return np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], -1)


def _within(rays: Floats, radius: float) -> Floats:
    """Return rays, shortened to a radius where they are longer."""
    if not np.isfinite(radius):
        return rays
    lengths = np.linalg.norm(rays, axis=-1)[..., None]
    return rays * np.minimum(1.0, radius / np.where(lengths > 0.0, lengths, 1.0))


def _fold_radius_squared(coefficients: tuple[float, ...]) -> float:
    """Return where the radial part stops to rise, or has its first pole."""
    k1, k2, _, _, k3, k4, k5, k6, *_ = coefficients
    above, below = np.array([1.0, k1, k2, k3]), np.array([1.0, k4, k5, k6])
    # d(r N / D) / dr = ((N + 2 u N') D - 2 u N D') / D^2 with u = r^2; lowest power first.
    powers = 2.0 * np.arange(4)
    slope = np.convolve(above * (1.0 + powers), below) - np.convolve(above, below * powers)
    return min(_first_positive_root(slope.tolist()), _first_positive_root(below.tolist()))


def _first_positive_root(polynomial: Sequence[float]) -> float:
    """Return the least positive real root, infinity if there is none; lowest power first."""
    # Smaller coefficients only make np.roots overflow.
    roots = np.roots([c if abs(c) > 1e-30 else 0.0 for c in polynomial][::-1])
    is_real = np.abs(roots.imag) <= 1e-9 * np.maximum(1.0, np.abs(roots.real))
    positive = roots.real[is_real & (roots.real > 0.0)]
    return float(positive.min(initial=np.inf))
