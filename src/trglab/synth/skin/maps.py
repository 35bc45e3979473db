"""Maps of a face model's skin texture: position and distance to facial features per texel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trglab.synth.head.face_model import FaceModel
from trglab.synth.kernels import strict_kernel
from trglab.synth.noise import noise_lattice
from trglab.synth.skin.texels import TexelMap, enlarge_face_region, texel_map

GAUSSIANS_CACHED = 20
"""Number of :meth:`SkinMaps.gaussian_around` maps that are kept, 1 MB each."""

SKIN_SIZE = 512
"""Side of a skin texture in texels: about half a millimetre each on the face."""

MIRROR_68 = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip
"""Index of the mirror image of each of the 68 landmarks."""

MIRROR_X = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class SkinMaps:
    """Per-texel maps of a face model's skin, computed once by :func:`skin_maps`.

    All maps are ``(size, size)`` float32 and symmetric.

    Attributes
    ----------
    uv
        ``(V, 2)``: texture coordinates of the model's vertices.
    texels
        Position of each texel on the mean head.
    landmarks_m
        ``(68, 3)`` of the mean head, symmetrised.
    unit
        Face length relative to an adult's, about 1; scales all features.
    x_m, y_m, z_m
        Position in the mean head.
    azimuth
        Angle around the neck's axis, 0 at the nose, +-pi at the back of the head, rad.
    lips_m, mouth_m, eyes_m
        Signed distance to the outer contour of the lips, the line between them, and the eye
        openings; negative inside.
    brow_along, brow_across_m
        Coordinates along the nearer brow (0 inner end, 1 outer end) and across it (upwards).
    beard
        Density of a full beard, 0 to 1.
    moustache
        Density of a moustache, 0 to 1.
    scalp_m
        Signed distance to the hairline; negative on the face and neck.
    lattice
        Noise lattice for :func:`trglab.synth.noise.lattice_noise`.
    """

    uv: np.ndarray
    texels: TexelMap
    landmarks_m: np.ndarray
    unit: float
    x_m: np.ndarray
    y_m: np.ndarray
    z_m: np.ndarray
    azimuth: np.ndarray
    lips_m: np.ndarray
    mouth_m: np.ndarray
    eyes_m: np.ndarray
    brow_along: np.ndarray
    brow_across_m: np.ndarray
    beard: np.ndarray
    moustache: np.ndarray
    scalp_m: np.ndarray
    lattice: np.ndarray
    _gaussians: dict[tuple[float, ...], np.ndarray] = field(
        default_factory=dict, repr=False, compare=False
    )

    def gaussian_around(self, point_m: np.ndarray, radius_m: float) -> np.ndarray:
        """Return a Gaussian around a point and its mirror image, ``(size, size)``, read only.

        All people share the same few points, so the maps are cached.
        """
        x, y, z = np.asarray(point_m, dtype=np.float64).tolist()
        known = self._gaussians.get((x, y, z, radius_m))
        if known is None:
            known = self._gaussian(point_m, radius_m)
            known.flags.writeable = False
            if len(self._gaussians) < GAUSSIANS_CACHED:
                self._gaussians[x, y, z, radius_m] = known
        return known

    def _gaussian(self, point_m: np.ndarray, radius_m: float) -> np.ndarray:
        dx = np.abs(self.x_m) - np.float32(abs(float(point_m[0])))
        dy = self.y_m - np.float32(point_m[1])
        dz = self.z_m - np.float32(point_m[2])
        scale = np.float32(1.0 / (radius_m * self.unit) ** 2)
        return np.exp(-(dx * dx + dy * dy + dz * dz) * scale)


def skin_maps(model: FaceModel, size: int = SKIN_SIZE) -> SkinMaps:
    """Compute the maps of a face model, whose 68 landmarks locate the facial features.

    ``size`` is the side of the skin texture in texels.
    """
    skin_triangles = model.part_triangles["skin"]
    uv = enlarge_face_region(model.uv, skin_triangles)
    texels = texel_map(model.mean_m, skin_triangles, uv, size)
    points = model.mean_m[model.landmarks68].astype(np.float64)
    points = 0.5 * (points + points[MIRROR_68] * MIRROR_X)
    x, y, z = (np.ascontiguousarray(texels.position_m[..., axis]) for axis in range(3))
    # Landmarks 27 to 8, nose root to chin, measure about 120 mm on an adult.
    unit = float(points[8, 1] - points[27, 1]) / 0.120
    azimuth = np.arctan2(x, -(z - np.float32(0.5 * (points[0, 2] + points[16, 2]))))
    # Lip and eye distances are measured in the frontal plane: exclude texels further back.
    behind = np.maximum(z - np.float32(points[48, 2] + 0.012 * unit), 0.0)
    lips = polygon_distance(x, y, points[48:60, :2]) + behind
    seam = np.concatenate([points[48:49, :2], points[60:65, :2], points[54:55, :2]])
    seam_low = np.concatenate(
        [points[48:49, :2], points[[60, 67, 66, 65, 64], :2], points[54:55, :2]]
    )
    mouth = _polyline_distance(np.abs(x), y, 0.5 * (seam + seam_low)) + behind
    eye_back = np.maximum(z - np.float32(points[45, 2] + 0.015 * unit), 0.0)
    eyes = polygon_distance(np.abs(x), y, points[42:48, :2]) + eye_back
    along, across = _brow_coordinates(np.abs(x), y, points[22:27, :2])
    across = np.where(z > points[26, 2] + 0.02 * unit, np.float32(1.0), across)
    beard, moustache = _beard_maps(x, y, azimuth, points, unit, lips)
    return SkinMaps(
        uv, texels, points, unit, x, y, z, azimuth,
        lips, mouth, eyes, along, across, beard, moustache,
        _scalp_distance(y, azimuth, points, unit), noise_lattice(np.random.default_rng(68)),
    )  # fmt: skip


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Cubic ramp from 0 at ``low`` to 1 at ``high``, which may be smaller than ``low``; float32."""
    t = np.subtract(value, np.float32(low))  # in place below: these are large arrays
    t /= np.float32(high - low)
    np.clip(t, 0.0, 1.0, out=t)
    ramp = t * np.float32(-2.0)
    ramp += np.float32(3.0)
    ramp *= t
    ramp *= t
    return ramp


def _beard_maps(
    x: np.ndarray,
    y: np.ndarray,
    azimuth: np.ndarray,
    points: np.ndarray,
    unit: float,
    lips: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the density of a full beard and of a moustache, ``(size, size)`` each, 0 to 1."""
    # The upper edge of the beard runs from the sideburn to the end of the moustache.
    turn = np.clip(np.abs(azimuth) / abs(np.arctan2(points[16, 0], 0.02)), 0.0, 1.2)
    nose_base, mouth, chin = points[33, 1], points[48, 1], points[8, 1]
    edge = np.interp(
        turn, [0.0, 0.30, 0.55, 0.85, 1.0, 1.2],
        [nose_base, nose_base, mouth, mouth - 0.012 * unit, points[16, 1] + 0.005, points[16, 1]],
    )  # fmt: skip
    below = smoothstep(-0.003, 0.018 * unit, y - edge)
    above_throat = smoothstep(chin + 0.045 * unit, chin + 0.015 * unit, y)
    front = smoothstep(1.85, 1.60, np.abs(azimuth))
    off_lips = smoothstep(0.0005, 0.003, lips)
    beard = below * above_throat * front * off_lips
    # Sparse patches beside the lower lip, below the ends of the moustache.
    patch_x, patch_y = abs(points[54, 0]) * 0.72, mouth + 0.010 * unit
    patch = np.exp(-(((np.abs(x) - patch_x) / 0.008) ** 2 + ((y - patch_y) / 0.006) ** 2))
    beard = beard * (1.0 - 0.6 * patch)
    side = smoothstep(abs(points[54, 0]) * 1.25, abs(points[54, 0]) * 0.95, np.abs(x))
    upper = smoothstep(nose_base - 0.001, nose_base + 0.005 * unit, y)
    moustache = upper * side * smoothstep(mouth + 0.003, mouth - 0.004, y) * off_lips
    return beard.astype(np.float32), moustache.astype(np.float32)


def _scalp_distance(
    y: np.ndarray, azimuth: np.ndarray, points: np.ndarray, unit: float
) -> np.ndarray:
    """Return the signed distance to the hairline, whose height follows the rule of thirds."""
    brow_y = float(points[19:25, 1].mean())
    third = float(points[33, 1]) - brow_y
    ear_y = float(points[16, 1])
    turn = np.abs(azimuth)
    line = np.interp(
        turn, [0.0, 0.4, 0.80, 1.05, 1.25, 1.45, 1.58, 1.68, 1.9, 2.4, np.pi],
        [brow_y - 0.73 * third, brow_y - 0.76 * third, brow_y - 0.74 * third, brow_y - 0.45 * third,
         brow_y - 0.12 * third, ear_y - 0.005 * unit, ear_y + 0.014 * unit, ear_y + 0.012 * unit,
         ear_y + 0.030 * unit, points[8, 1] - 0.02 * unit, points[8, 1]],
    )  # fmt: skip
    ear = np.hypot((turn - 2.0) / 0.32, (y - (ear_y + 0.022 * unit)) / (0.031 * unit))
    ear = smoothstep(1.1, 0.85, ear)
    return (line - y - 0.1 * ear).astype(np.float32)


def _brow_coordinates(
    x: np.ndarray, y: np.ndarray, curve: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates along (0 to 1 between the ends) and across (m, upwards) a brow's curve."""
    start, end = curve[0, 0], curve[-1, 0]
    along = (x - start) / (end - start)
    polynomial = np.polyfit(curve[:, 0], curve[:, 1], 2)
    inside = np.clip(x, start - 0.005, end + 0.006)
    height = np.polyval(polynomial, inside)
    slope = np.polyval(np.polyder(polynomial), inside)
    across = (height - y) / np.sqrt(1.0 + slope * slope)
    return along.astype(np.float32), across.astype(np.float32)


def polygon_distance(x: np.ndarray, y: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Return the signed distance of points to a polygon ``(k, 2)``, negative inside."""
    ring = np.concatenate([polygon, polygon[:1]]).astype(np.float64)
    distance = np.empty(x.shape, np.float32)
    _signed_distance(x.ravel(), y.ravel(), ring, distance.reshape(-1))
    return distance


def _polyline_distance(x: np.ndarray, y: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return the distance of points to an open polyline ``(k, 2)``."""
    distance = np.empty(x.shape, np.float32)
    _signed_distance(x.ravel(), y.ravel(), line.astype(np.float64), distance.reshape(-1))
    return np.abs(distance)


@strict_kernel
def _signed_distance(x: np.ndarray, y: np.ndarray, line: np.ndarray, out: np.ndarray) -> None:
    for i in range(x.shape[0]):
        best = 1e9
        inside = False
        for k in range(line.shape[0] - 1):
            ax, ay = line[k, 0], line[k, 1]
            bx, by = line[k + 1, 0], line[k + 1, 1]
            dx, dy = bx - ax, by - ay
            t = ((x[i] - ax) * dx + (y[i] - ay) * dy) / max(dx * dx + dy * dy, 1e-18)
            t = min(1.0, max(0.0, t))
            ex, ey = x[i] - ax - t * dx, y[i] - ay - t * dy
            best = min(best, ex * ex + ey * ey)
            if (ay > y[i]) != (by > y[i]) and x[i] < ax + (y[i] - ay) / (by - ay) * dx:
                inside = not inside
        out[i] = -np.sqrt(best) if inside else np.sqrt(best)
