"""Small meshes for tests, and the boundary edges of a mesh."""

from __future__ import annotations

import numpy as np


def sheet_with_seam(rows: int = 13, columns: int = 17, seam: int = 8):
    """Return vertices, triangles and texture corners of a wavy sheet, cut along one column."""
    v, u = np.mgrid[0:rows, 0:columns].astype(float)
    points = np.stack([u, v, 0.5 * np.sin(u / 3) * np.cos(v / 4)], -1).reshape(-1, 3)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (
        part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:])
    )
    triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    right = points[triangles][:, :, 0].mean(1) > seam
    corners = triangles + len(points) * right[:, None]
    return points, triangles, corners


def symmetric_sheet(columns: int = 21, rows: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices and triangles of a curved sheet that is symmetric about x = 0, in metres."""
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
    vertices = np.stack([x, y, x**2 + 0.3 * np.cos(2 * y)], -1).reshape(-1, 3) * 0.08
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    triangles = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + columns], -1),
            np.stack([corner + 1, corner + columns + 1, corner + columns], -1),
        ]
    )
    return vertices, triangles


def boundary(triangles):
    """Return the edges ``(e, 2)`` of one triangle only."""
    pairs = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, counts = np.unique(pairs, axis=0, return_counts=True)
    assert counts.max() <= 2
    return edges[counts == 1]
