"""Meshes for tests, and what borders them."""

from __future__ import annotations

import numpy as np


def grid_mesh(rows: int = 13, columns: int = 17, seam: int = 8):
    """A wavy sheet, its texture cut along one column, and the corners of both."""
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


def boundary(triangles):
    pairs = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, counts = np.unique(pairs, axis=0, return_counts=True)
    assert counts.max() <= 2
    return edges[counts == 1]
