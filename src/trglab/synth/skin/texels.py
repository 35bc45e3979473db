"""Positions of texels on a face model: the map from UV space to the head.

Textures are painted as functions of the position on the mean head, so they work for any UV layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trglab.synth.accessories.shapes import vertex_normals
from trglab.synth.kernels import strict_kernel

FACE_SHARE = 0.75
"""Share of the texture's width for the left half of a UV layout with two separate halves."""


def enlarge_face_region(uv: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Give the face more texels in UV layouts with the face left and the back of the head right.

    Other layouts, in which a triangle reaches the vertical middle line, are only clipped.

    Parameters
    ----------
    uv
        ``(n, 2)``, v downward, in [0, 1] up to rounding.
    triangles
        ``(m, 3)`` indices into ``uv``.
    """
    inside = np.clip(uv, 0.0, 1.0).astype(np.float32)
    corner_u = inside[triangles, 0]
    if ((corner_u.min(axis=1) < 0.501) & (corner_u.max(axis=1) > 0.499)).any():
        return inside
    inside[:, 0] = np.interp(inside[:, 0], [0.0, 0.5, 1.0], [0.0, FACE_SHARE, 1.0])
    return inside


@dataclass(frozen=True)
class TexelMap:
    """Position on a mesh of each texel of a ``(size, size)`` texture.

    Attributes
    ----------
    triangle
        ``(size, size)`` int32 into ``triangles``; -1 where the texture is unused.
    barycentric
        ``(size, size, 3)`` float32.
    triangles
        ``(m, 3)`` int32 vertex indices.
    position_m, normal
        ``(size, size, 3)`` float32 on the mean head; 0 where unused.
    """

    triangle: np.ndarray
    barycentric: np.ndarray
    triangles: np.ndarray
    position_m: np.ndarray
    normal: np.ndarray

    @property
    def size(self) -> int:
        """Side of the texture in texels."""
        return int(self.triangle.shape[0])

    @cached_property
    def used(self) -> np.ndarray:
        """``(size, size)`` bool: texels on the mesh."""
        return self.triangle >= 0

    def interpolate(self, per_vertex: np.ndarray) -> np.ndarray:
        """Interpolate ``(n, c)`` vertex values: ``(size, size, c)``, 0 where unused."""
        corners = self.triangles[np.maximum(self.triangle, 0)]
        values = np.zeros((*self.triangle.shape, per_vertex.shape[1]), np.float32)
        for corner in range(3):
            values += self.barycentric[..., corner, None] * per_vertex[corners[..., corner]]
        values[~self.used] = 0.0
        return values

    @cached_property
    def mirror_index(self) -> np.ndarray:
        """``(size, size)`` int32: flat index of the texel on the other side of the head, or -1.

        Candidates are texels with u flipped in the whole texture or in its halves; they must lie
        within 3 mm of the mirrored position.
        """
        size = self.size
        columns = np.arange(size)
        main = round(size * FACE_SHARE)
        candidates = [size - 1 - columns]
        candidates.append(np.where(columns < main, main - 1 - columns, size + main - 1 - columns))
        wanted = self.position_m * np.array([-1.0, 1.0, 1.0], np.float32)
        best = np.full((size, size), -1, np.int32)
        for flipped in candidates:
            flipped = np.clip(flipped, 0, size - 1)
            distance = np.linalg.norm(self.position_m[:, flipped] - wanted, axis=-1)
            fits = (distance < 0.003) & self.used & self.used[:, flipped]
            index = (np.arange(size)[:, None] * size + flipped[None]).astype(np.int32)
            best = np.where(fits & (best < 0), index, best)
        return best


def texel_map(
    vertices_m: np.ndarray, triangles: np.ndarray, uv: np.ndarray, size: int, margin: int = 3
) -> TexelMap:
    """Rasterise a mesh into its texture.

    Parameters
    ----------
    vertices_m, triangles, uv
        ``(n, 3)``, ``(m, 3)``, ``(n, 2)``; (0, 0) is the top-left corner of the texture.
    size
        Side of the texture in texels.
    margin
        Width in texels by which islands are dilated, for texture filtering at their borders.

    Raises
    ------
    ValueError
        There is no triangle, or a texture coordinate lies outside [0, 1].
    """
    used_uv = uv[triangles]
    if used_uv.size == 0 or used_uv.min() < -1e-3 or used_uv.max() > 1.0 + 1e-3:
        raise ValueError("texel_map: expected at least one triangle and uv in [0, 1]")
    triangle = np.full((size, size), -1, np.int32)
    barycentric = np.zeros((size, size, 3), np.float32)
    _rasterise(np.ascontiguousarray(used_uv, np.float64) * size, triangle, barycentric)
    for _ in range(margin):
        _dilate(triangle, barycentric)
    triangles = np.ascontiguousarray(triangles, np.int32)
    without_geometry = TexelMap(triangle, barycentric, triangles, barycentric, barycentric)
    normal = without_geometry.interpolate(vertex_normals(vertices_m, triangles))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    position_m = without_geometry.interpolate(np.asarray(vertices_m, np.float32))
    return TexelMap(triangle, barycentric, triangles, position_m, normal)


@strict_kernel
def _rasterise(corners_px: np.ndarray, triangle: np.ndarray, barycentric: np.ndarray) -> None:
    size = triangle.shape[0]
    for t in range(corners_px.shape[0]):
        ax, ay = corners_px[t, 0]
        bx, by = corners_px[t, 1]
        cx, cy = corners_px[t, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        left = max(0, int(np.floor(min(ax, bx, cx) - 0.5)))
        right = min(size - 1, int(np.ceil(max(ax, bx, cx) - 0.5)))
        top = max(0, int(np.floor(min(ay, by, cy) - 0.5)))
        bottom = min(size - 1, int(np.ceil(max(ay, by, cy) - 0.5)))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                x, y = column + 0.5, row + 0.5
                wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                wa = 1.0 - wb - wc
                if wa >= -1e-6 and wb >= -1e-6 and wc >= -1e-6:
                    triangle[row, column] = t
                    barycentric[row, column, 0] = wa
                    barycentric[row, column, 1] = wb
                    barycentric[row, column, 2] = wc


@strict_kernel
def _dilate(triangle: np.ndarray, barycentric: np.ndarray) -> None:
    size = triangle.shape[0]
    before = triangle.copy()
    for row in range(size):
        for column in range(size):
            if before[row, column] >= 0:
                continue
            for dy, dx in ((0, -1), (0, 1), (-1, 0), (1, 0)):
                y, x = row + dy, column + dx
                if 0 <= y < size and 0 <= x < size and before[y, x] >= 0:
                    triangle[row, column] = before[y, x]
                    barycentric[row, column] = barycentric[y, x]
                    break
