"""A small mesh that is symmetric about x = 0."""

from __future__ import annotations

import numpy as np


def grid_mesh(columns: int = 21, rows: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices ``(columns * rows, 3)`` in metres and triangles of a curved sheet."""
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
