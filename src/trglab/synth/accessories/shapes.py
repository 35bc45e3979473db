"""Mesh primitives from which accessories are built: sheets, tubes, lathes, boxes, ellipsoids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trg.geometry.rotations import cross, normalize
from trglab.synth.render.surface import Material, Surface


@dataclass(frozen=True, slots=True)
class UvMesh:
    """A triangle mesh with texture coordinates.

    Attributes
    ----------
    vertices_m
        ``(n, 3)`` float32, metres.
    triangles
        ``(m, 3)`` int32; ``cross(v1 - v0, v2 - v0)`` points outward.
    uv
        ``(n, 2)`` float32 in [0, 1].
    """

    vertices_m: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray

    def surface(self, name: str, texture: np.ndarray, material: Material) -> Surface:
        """Return a renderable surface in the head frame."""
        return Surface(name, self.vertices_m, self.triangles, self.uv, texture, material)

    def with_vertices(self, vertices_m: np.ndarray) -> UvMesh:
        """Return the mesh with other vertices ``(n, 3)``."""
        return UvMesh(np.asarray(vertices_m, np.float32), self.triangles, self.uv)

    def transformed(self, rotation: np.ndarray, translation_m: np.ndarray) -> UvMesh:
        """Return the mesh after a rotation ``(3, 3)`` and a translation ``(3,)``."""
        return self.with_vertices(self.vertices_m @ np.asarray(rotation).T + translation_m)


def sheet(points_m: np.ndarray, uv: np.ndarray | None = None, closed: bool = False) -> UvMesh:
    """Triangulate a grid of points ``(rows, columns, 3)``.

    The front side is the one from which rows go down and columns go right. ``uv`` is
    ``(rows, columns, 2)``, by default the grid (u along a row). ``closed`` joins the last column to
    the first; u then runs from 0 to 1 and back, which avoids a seam.
    """
    points_m = np.asarray(points_m, dtype=np.float32)
    triangles, default_uv = _grid(*points_m.shape[:2], closed)
    own_uv = default_uv if uv is None else np.asarray(uv, dtype=np.float32).reshape(-1, 2)
    return UvMesh(points_m.reshape(-1, 3), triangles, own_uv)


@lru_cache(maxsize=64)
def _grid(rows: int, columns: int, closed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return triangles and texture coordinates of a :func:`sheet`; shared, read-only."""
    along = np.arange(columns) / (columns if closed else columns - 1)
    u = 1.0 - np.abs(2.0 * along - 1.0) if closed else along
    uv = np.stack(np.meshgrid(u, np.linspace(0.0, 1.0, rows)), axis=-1)
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    # y points down: this order is counter-clockwise seen from outside.
    triangles = np.concatenate([np.stack([a, d, c], -1), np.stack([a, c, b], -1)])
    grid = triangles.reshape(-1, 3).astype(np.int32), uv.reshape(-1, 2).astype(np.float32)
    for array in grid:
        array.setflags(write=False)
    return grid


def merge(meshes: Sequence[UvMesh]) -> UvMesh:
    """Concatenate meshes."""
    starts = np.cumsum([0, *(len(mesh.vertices_m) for mesh in meshes[:-1])])
    return UvMesh(
        np.concatenate([mesh.vertices_m for mesh in meshes]),
        np.concatenate(
            [mesh.triangles + start for mesh, start in zip(meshes, starts, strict=True)]
        ).astype(np.int32),
        np.concatenate([mesh.uv for mesh in meshes]),
    )


def tube(
    path_m: np.ndarray,
    radius_m: float | np.ndarray,
    sides: int = 6,
    closed: bool = False,
    flat: float = 1.0,
    up: Sequence[float] = (0.0, 1.0, 0.0),
) -> UvMesh:
    """Sweep an ellipse along a path ``(n, 3)``; v runs along the path.

    ``radius_m`` (one number, or one per point) is the half axis across ``up``, which must not be
    parallel to the path; the half axis along ``up`` is ``flat`` times that. ``closed`` joins the
    ends of the path.
    """
    path_m = np.asarray(path_m, dtype=np.float64)
    if closed:
        path_m = np.concatenate([path_m, path_m[:1]])
        ahead = np.roll(path_m[:-1], -1, 0) - np.roll(path_m[:-1], 1, 0)
        tangent = normalize(np.concatenate([ahead, ahead[:1]]))
    else:
        tangent = normalize(np.gradient(path_m, axis=0))
    side = normalize(cross(tangent, np.asarray(up, dtype=np.float64)))
    rise = cross(side, tangent)
    radius = np.broadcast_to(np.asarray(radius_m, dtype=np.float64), len(path_m))
    if closed and np.ndim(radius_m) == 0:
        radius = np.full(len(path_m), float(np.asarray(radius_m)))
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[:, None] * side[:, None] + flat * np.sin(angle)[:, None] * rise[:, None]
    return sheet(path_m[:, None] + radius[:, None, None] * ring, closed=True)


def capsule(path_m: np.ndarray, radius_m: float | np.ndarray, sides: int = 8) -> UvMesh:
    """Sweep a circle along a path ``(n, 3)`` with rounded ends."""
    path_m = np.asarray(path_m, dtype=np.float64)
    radius = np.broadcast_to(np.asarray(radius_m, dtype=np.float64), len(path_m))
    start = normalize(path_m[0] - path_m[1]) * radius[0]
    end = normalize(path_m[-1] - path_m[-2]) * radius[-1]
    path = np.concatenate([
        [path_m[0] + start, path_m[0] + 0.7 * start], path_m,
        [path_m[-1] + 0.7 * end, path_m[-1] + end],
    ])  # fmt: skip
    radii = np.concatenate([
        [1e-4, 0.7 * radius[0]], radius, [0.7 * radius[-1], 1e-4]
    ])  # fmt: skip
    heading = np.abs(path_m[-1] - path_m[0])
    up = (1.0, 0.0, 0.0) if heading[1] >= max(heading[0], heading[2]) else (0.0, 1.0, 0.0)
    return tube(path, radii, sides, up=up)


def lathe(profile_m: np.ndarray, sides: int = 16) -> UvMesh:
    """Revolve a profile ``(n, 2)`` of (radius, y), top to bottom, around the y axis."""
    profile_m = np.asarray(profile_m, dtype=np.float64)
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    around = np.stack([np.sin(angle), np.zeros(sides), -np.cos(angle)], axis=-1)
    points = profile_m[:, None, :1] * around
    points[..., 1] = profile_m[:, 1:]
    return sheet(points, closed=True)


def ellipsoid(radii_m: Sequence[float], rings: int = 8, sides: int = 12) -> UvMesh:
    """Return an ellipsoid around the origin with half axes ``radii_m`` ``(3,)``."""
    angle = np.linspace(0.0, np.pi, rings + 1)
    ball = lathe(np.stack([np.sin(angle), -np.cos(angle)], axis=-1), sides)
    return ball.with_vertices(ball.vertices_m * np.asarray(radii_m))


def box(size_m: Sequence[float]) -> UvMesh:
    """Return a box around the origin with the whole texture on each side."""
    corner = np.array([[-1, -1, -1], [1, -1, -1], [-1, 1, -1], [1, 1, -1]], dtype=np.float32)
    faces = []
    for axis_x, axis_y, axis_z in (  # images of the front face's axes, all right-handed
        ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
        ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
        ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
        ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
        ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    ):
        turned = corner @ np.array([axis_x, axis_y, axis_z], dtype=np.float32)
        faces.append(sheet((turned * np.asarray(size_m) / 2.0).reshape(2, 2, 3)))
    return merge(faces)


def horizontal_ring(
    angle: np.ndarray, half_width_m: float, half_depth_m: float, y_m: float | np.ndarray, z_m: float
) -> np.ndarray:
    """Return points ``(n, 3)`` of an ellipse around (0, y, z); angle 0 is the front (-z)."""
    x, z = half_width_m * np.sin(angle), z_m - half_depth_m * np.cos(angle)
    return np.stack(np.broadcast_arrays(x, y_m, z), axis=-1)


def vertex_normals(vertices_m: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return area-weighted unit normals ``(n, 3)`` of vertices ``(n, 3)``."""
    corners = vertices_m[triangles]
    face_normals = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices_m, dtype=np.float64)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], face_normals)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
