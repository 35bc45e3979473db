"""Plain meshes: sheets, tubes, lathes, boxes and balls, from which props are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trg.geometry.rotations import normalize
from trglab.synth.render.surface import Material, Surface


@dataclass(frozen=True, slots=True)
class UvMesh:
    """A textured triangle mesh without a picture.

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
        """Dress the mesh with a picture and a material, in the head frame."""
        return Surface(name, self.vertices_m, self.triangles, self.uv, texture, material)

    def moved(self, rotation: np.ndarray, translation_m: np.ndarray) -> UvMesh:
        """Return the mesh turned by ``(3, 3)`` and then shifted by ``(3,)`` metres."""
        vertices = self.vertices_m @ np.asarray(rotation).T + translation_m
        return UvMesh(vertices.astype(np.float32), self.triangles, self.uv)


def sheet(points_m: np.ndarray, uv: np.ndarray | None = None, closed: bool = False) -> UvMesh:
    """Join a grid of points ``(rows, columns, 3)`` to a sheet.

    With rows going down and columns going right as seen from outside, the sheet faces outside.
    ``uv`` is ``(rows, columns, 2)``, by default the grid itself (u along a row); ``closed`` joins
    the last column to the first, with u running there and back so that no seam shows.
    """
    points_m = np.asarray(points_m, dtype=np.float32)
    rows, columns = points_m.shape[:2]
    if uv is None:
        along = np.arange(columns) / (columns if closed else columns - 1)
        u = 1.0 - np.abs(2.0 * along - 1.0) if closed else along
        uv = np.stack(np.meshgrid(u, np.linspace(0.0, 1.0, rows)), axis=-1)
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    # y points down here, so that this order is counter-clockwise to someone outside.
    triangles = np.concatenate([np.stack([a, d, c], -1), np.stack([a, c, b], -1)])
    return UvMesh(
        points_m.reshape(-1, 3),
        triangles.reshape(-1, 3).astype(np.int32),
        np.asarray(uv, dtype=np.float32).reshape(-1, 2),
    )


def merge(meshes: Sequence[UvMesh]) -> UvMesh:
    """Put several meshes into one."""
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

    ``radius_m`` is one number or one per point, across ``up`` (which must not be parallel to the
    path); along ``up`` it is multiplied by ``flat``. ``closed`` joins the ends of the path.
    """
    path_m = np.asarray(path_m, dtype=np.float64)
    if closed:
        path_m = np.concatenate([path_m, path_m[:1]])
        ahead = np.roll(path_m[:-1], -1, 0) - np.roll(path_m[:-1], 1, 0)
        tangent = normalize(np.concatenate([ahead, ahead[:1]]))
    else:
        tangent = normalize(np.gradient(path_m, axis=0))
    side = normalize(np.cross(tangent, np.asarray(up, dtype=np.float64)))
    rise = np.cross(side, tangent)
    radius = np.broadcast_to(np.asarray(radius_m, dtype=np.float64), len(path_m))
    if closed and np.ndim(radius_m) == 0:
        radius = np.full(len(path_m), float(np.asarray(radius_m)))
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[:, None] * side[:, None] + flat * np.sin(angle)[:, None] * rise[:, None]
    return sheet(path_m[:, None] + radius[:, None, None] * ring, closed=True)


def capsule(path_m: np.ndarray, radius_m: float | np.ndarray, sides: int = 8) -> UvMesh:
    """Sweep a circle along a path ``(n, 3)`` and round off both ends (a finger)."""
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
    """Turn a profile ``(n, 2)`` of (radius, y), top to bottom, around the y axis (a cup)."""
    profile_m = np.asarray(profile_m, dtype=np.float64)
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    around = np.stack([np.sin(angle), np.zeros(sides), -np.cos(angle)], axis=-1)
    points = profile_m[:, None, :1] * around
    points[..., 1] = profile_m[:, 1:]
    return sheet(points, closed=True)


def ellipsoid(radii_m: Sequence[float], rings: int = 8, sides: int = 12) -> UvMesh:
    """Return a ball around the origin with the three half axes ``radii_m``."""
    angle = np.linspace(0.0, np.pi, rings + 1)
    ball = lathe(np.stack([np.sin(angle), -np.cos(angle)], axis=-1), sides)
    return UvMesh(
        (ball.vertices_m * np.asarray(radii_m)).astype(np.float32), ball.triangles, ball.uv
    )


def box(size_m: Sequence[float]) -> UvMesh:
    """Return a box around the origin with six whole pictures on it."""
    corner = np.array([[-1, -1, -1], [1, -1, -1], [-1, 1, -1], [1, 1, -1]], dtype=np.float32)
    faces = []
    for axis_x, axis_y, axis_z in (  # where the front face's axes go, all of them right-handed
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


def smooth_noise(
    rng: np.random.Generator, count: int, knots: int, closed: bool = False
) -> np.ndarray:
    """Return ``(count,)`` smooth random numbers of about unit spread; ``closed`` joins the ends."""
    values = rng.standard_normal(knots + 1)
    if closed:
        values[-1] = values[0]
    at = np.linspace(0.0, knots, count, endpoint=not closed)
    low = np.minimum(at.astype(int), knots - 1)
    part = at - low
    part = part * part * (3.0 - 2.0 * part)
    return values[low] * (1.0 - part) + values[low + 1] * part
