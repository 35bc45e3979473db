"""The head in spherical coordinates: radius maps, and the transfer of accessories to a person.

A *direction* is a unit vector from the centre of the skull. Its *azimuth* is 0 at the nose, grows
towards the image's right (+x) and is +-180 degrees at the back; its *elevation* is +90 degrees at
the top. Hair and headwear are modelled on the mean head and transferred to each person's head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trg.geometry.rotations import normalize
from trglab.synth.accessories.shapes import UvMesh
from trglab.synth.head.face_model import FaceModel
from trglab.synth.kernels import strict_kernel

AZIMUTHS, ELEVATIONS = 72, 37
"""Size of the maps; the resolution is 5 degrees."""


def direction(azimuth_deg: np.ndarray, elevation_deg: np.ndarray) -> np.ndarray:
    """Return unit vectors ``(..., 3)`` of the head frame from azimuth and elevation, degrees."""
    azimuth, elevation = np.broadcast_arrays(np.radians(azimuth_deg), np.radians(elevation_deg))
    level = np.cos(elevation)
    return np.stack(
        [level * np.sin(azimuth), -np.sin(elevation), -level * np.cos(azimuth)], axis=-1
    )


def azimuth_elevation(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return azimuth and elevation in degrees of vectors ``(..., 3)`` of any length."""
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    return np.degrees(np.arctan2(x, -z)), np.degrees(np.arctan2(-y, np.hypot(x, z)))


@dataclass(frozen=True, slots=True)
class RayHits:
    """Intersections of rays with a mesh in barycentric coordinates, which follow its vertices.

    Attributes
    ----------
    corners
        ``(..., 3)`` int32 vertex indices.
    weights
        ``(..., 3)`` float32, summing to 1; all zero for rays that miss the mesh.
    """

    corners: np.ndarray
    weights: np.ndarray

    def points(self, vertices_m: np.ndarray) -> np.ndarray:
        """Return the intersections ``(..., 3)`` for vertices ``(V, 3)``."""
        return (vertices_m[self.corners] * self.weights[..., None]).sum(-2)


def cast_rays(
    origin_m: np.ndarray, directions: np.ndarray, vertices_m: np.ndarray, triangles: np.ndarray
) -> tuple[RayHits, RayHits]:
    """Return the nearest and the farthest intersections of rays from one origin with a mesh.

    ``directions`` is ``(..., 3)``; the results have its leading shape.
    """
    flat = np.ascontiguousarray(directions.reshape(-1, 3), dtype=np.float64)
    corners = (vertices_m[triangles] - origin_m).astype(np.float64)
    near, far, near_weights, far_weights = _cast(flat, corners)
    shape = directions.shape
    return (
        RayHits(triangles[near].reshape(shape), near_weights.reshape(shape).astype(np.float32)),
        RayHits(triangles[far].reshape(shape), far_weights.reshape(shape).astype(np.float32)),
    )


@strict_kernel
def _cast(
    directions: np.ndarray, corners: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    count = len(directions)
    near, far = np.zeros(count, np.int64), np.zeros(count, np.int64)
    near_weights, far_weights = np.zeros((count, 3)), np.zeros((count, 3))
    near_t, far_t = np.full(count, np.inf), np.zeros(count)
    for face in range(len(corners)):
        a, b, c = corners[face, 0], corners[face, 1], corners[face, 2]
        # The signs of three scalar triple products tell on which side of each edge the ray passes.
        ab, bc, ca = np.cross(a, b), np.cross(b, c), np.cross(c, a)
        volume = a[0] * bc[0] + a[1] * bc[1] + a[2] * bc[2]
        for ray in range(count):
            d = directions[ray]
            wa = d[0] * bc[0] + d[1] * bc[1] + d[2] * bc[2]
            wb = d[0] * ca[0] + d[1] * ca[1] + d[2] * ca[2]
            wc = d[0] * ab[0] + d[1] * ab[1] + d[2] * ab[2]
            if not ((wa >= 0 and wb >= 0 and wc >= 0) or (wa <= 0 and wb <= 0 and wc <= 0)):
                continue
            total = wa + wb + wc
            if abs(total) < 1e-14 or volume / total <= 0:
                continue
            t = volume / total
            if t < near_t[ray]:
                near_t[ray], near[ray] = t, face
                near_weights[ray] = np.array([wa, wb, wc]) / total
            if t > far_t[ray]:
                far_t[ray], far[ray] = t, face
                far_weights[ray] = np.array([wa, wb, wc]) / total
    return near, far, near_weights, far_weights


@dataclass(frozen=True, slots=True)
class HeadMap:
    """Radius maps of the mean head, and the correspondences for the transfer to a person.

    Attributes
    ----------
    centre_m
        ``(3,)``: centre of the skull.
    skull_m
        ``(37, 72)``: distance from the centre to the skin without ears; rows from elevation -90
        to 90, columns from azimuth -180 in steps of 5 degrees.
    hull_m
        The same with ears, dilated and smoothed: contact surface of headwear.
    hits
        Points of ``skull_m`` in terms of the model's vertices.
    mean_points_m
        ``(37, 72, 3)``: those points on the mean head.
    landmarks_m
        ``(68, 3)`` of the mean head.
    """

    centre_m: np.ndarray
    skull_m: np.ndarray
    hull_m: np.ndarray
    hits: RayHits
    mean_points_m: np.ndarray
    landmarks_m: np.ndarray

    @classmethod
    def of(cls, model: FaceModel) -> HeadMap:
        """Compute the maps of a face model's mean head (about 0.2 s for 10,000 triangles)."""
        mean = model.mean_m.astype(np.float64)
        return cls.measure(mean, model.part_triangles["skin"], mean[model.landmarks68])

    @classmethod
    def measure(
        cls, vertices_m: np.ndarray, triangles: np.ndarray, landmarks_m: np.ndarray
    ) -> HeadMap:
        """Compute the maps of a head: vertices ``(V, 3)``, skin triangles ``(F, 3)``, landmarks."""
        eyes_y = landmarks_m[36:48, 1].mean()
        used = vertices_m[np.unique(triangles)]
        upper = used[(used[:, 1] < eyes_y) & (np.abs(used[:, 0]) < 0.03)]
        top_y = upper[:, 1].min()
        middle_z = 0.5 * (upper[:, 2].min() + upper[:, 2].max())
        centre = np.array([0.0, eyes_y + 0.14 * (top_y - eyes_y), middle_z])
        azimuth = np.arange(AZIMUTHS) * (360.0 / AZIMUTHS) - 180.0
        elevation = np.linspace(-90.0, 90.0, ELEVATIONS)
        # Offset by 0.05 degrees, so that no ray passes exactly through an edge of the midline.
        rays = direction(azimuth[None] + 0.05, np.clip(elevation, -89.7, 89.7)[:, None])
        near, far = cast_rays(centre, rays, vertices_m, triangles)
        skull = np.linalg.norm(near.points(vertices_m) - centre, axis=-1)
        hull = np.linalg.norm(far.points(vertices_m) - centre, axis=-1)
        met = near.weights.sum(-1) > 0
        skull, hull = (_fill(radius, met) for radius in (skull, hull))
        return cls(
            centre,
            _smooth(skull, 1),
            _smooth(_dilate(np.minimum(hull, skull + 0.03)), 1),
            near,
            near.points(vertices_m),
            landmarks_m,
        )

    def skull_radius_m(self, directions: np.ndarray) -> np.ndarray:
        """Return the distance from the centre to the scalp in directions ``(..., 3)``."""
        return _look_up(self.skull_m, directions)

    def hull_radius_m(self, directions: np.ndarray) -> np.ndarray:
        """Return the distance from the centre to the outside of head and ears."""
        return _look_up(self.hull_m, directions)

    def above_skull(self, directions: np.ndarray, height_m: float | np.ndarray) -> np.ndarray:
        """Return the points ``(..., 3)`` at a height above the scalp."""
        radius = self.skull_radius_m(directions) + height_m
        return self.centre_m + directions * radius[..., None]

    def above_hull(self, directions: np.ndarray, height_m: float | np.ndarray) -> np.ndarray:
        """Return the points ``(..., 3)`` at a height above head and ears."""
        radius = self.hull_radius_m(directions) + height_m
        return self.centre_m + directions * radius[..., None]

    def fit(self, vertices_m: np.ndarray) -> HeadFit:
        """Fit the transfer from the mean head to a person's neutral vertices ``(V, 3)``."""
        centred = self.hits.points(np.asarray(vertices_m, dtype=np.float64)) - self.centre_m
        mean = self.mean_points_m - self.centre_m
        met = self.hits.weights.sum(-1) > 0
        skullcap = met & (np.arange(ELEVATIONS) >= ELEVATIONS // 2)[:, None]
        ours, theirs = mean[skullcap], centred[skullcap]
        ours, theirs = ours - ours.mean(axis=0), theirs - theirs.mean(axis=0)
        size = float((ours * theirs).sum() / (ours * ours).sum())
        residual = np.where(met[..., None], centred - size * mean, 0.0)
        axes = [_smooth(_fill(residual[..., axis], met), 2) for axis in range(3)]
        return HeadFit(self.centre_m, size, np.stack(axes, axis=-1))


@dataclass(frozen=True, slots=True)
class HeadFit:
    """Transfer from the mean head to a person's head: a scale and residual offsets.

    Attributes
    ----------
    centre_m
        ``(3,)``: centre of the mean skull.
    size
        Scale of the person's skull relative to the mean one.
    residual_m
        ``(37, 72, 3)``: remaining offset in each direction, in the layout of
        :attr:`HeadMap.skull_m`.
    """

    centre_m: np.ndarray
    size: float
    residual_m: np.ndarray

    def transfer(self, points_m: np.ndarray) -> np.ndarray:
        """Transfer points ``(..., 3)`` from the mean head to the person's head."""
        offset = np.asarray(points_m, dtype=np.float64) - self.centre_m
        moved = self.centre_m + self.size * offset + _look_up(self.residual_m, offset)
        return moved.astype(np.float32)

    def transfer_mesh(self, mesh: UvMesh) -> UvMesh:
        """Transfer a mesh from the mean head to the person's head."""
        return mesh.with_vertices(self.transfer(mesh.vertices_m))


def _look_up(grid: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Interpolate a map ``(37, 72[, k])`` bilinearly at vectors ``(..., 3)`` of any length."""
    azimuth, elevation = azimuth_elevation(directions)
    column = (azimuth + 180.0) * (AZIMUTHS / 360.0)
    row = (elevation + 90.0) * ((ELEVATIONS - 1) / 180.0)
    left = np.floor(column).astype(int)
    low = np.clip(np.floor(row).astype(int), 0, ELEVATIONS - 2)
    part_x, part_y = column - left, row - low
    if grid.ndim == 3:
        part_x, part_y = part_x[..., None], part_y[..., None]
    left, right = left % AZIMUTHS, (left + 1) % AZIMUTHS
    bottom = grid[low, left] * (1.0 - part_x) + grid[low, right] * part_x
    top = grid[low + 1, left] * (1.0 - part_x) + grid[low + 1, right] * part_x
    return bottom * (1.0 - part_y) + top * part_y


def _fill(grid: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill unknown entries (the open end of the neck) from the nearest known row above."""
    filled = grid.copy()
    for row in range(ELEVATIONS - 2, -1, -1):
        filled[row] = np.where(known[row], filled[row], filled[row + 1])
    return filled


def _smooth(grid: np.ndarray, rounds: int) -> np.ndarray:
    for _ in range(rounds):
        grid = 0.5 * grid + 0.25 * (np.roll(grid, 1, 1) + np.roll(grid, -1, 1))
        padded = np.pad(grid, ((1, 1), (0, 0)), mode="edge")
        grid = 0.5 * grid + 0.25 * (padded[:-2] + padded[2:])
    # At the poles all azimuths are the same point.
    grid[[0, -1]] = grid[[0, -1]].mean(axis=1, keepdims=True)
    return grid


def _dilate(grid: np.ndarray) -> np.ndarray:
    padded = np.pad(grid, ((1, 1), (0, 0)), mode="edge")
    grid = np.maximum(grid, np.maximum(padded[:-2], padded[2:]))
    return np.maximum(grid, np.maximum(np.roll(grid, 1, 1), np.roll(grid, -1, 1)))


def slerp(start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Interpolate between unit vectors ``(n, 3)`` along great circles: ``(len(t), n, 3)``."""
    cosine = np.clip((start * end).sum(-1), -0.9999, 0.99999)
    angle = np.arccos(cosine)
    t = np.asarray(t)[:, None]
    first, second = np.sin((1.0 - t) * angle), np.sin(t * angle)
    return normalize(first[..., None] * start + second[..., None] * end)
