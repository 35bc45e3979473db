"""A face topology for tests: a 61 x 20 grid of 1220 vertices on the front of an ellipsoid."""

from __future__ import annotations

import numpy as np

from trg.geometry.face_mesh import FaceTopology

COLUMNS, ROWS = 61, 20


def ellipsoid_topology() -> FaceTopology:
    """Return a symmetric mesh of about a face's size, its nose side towards the camera (-z)."""
    longitude, latitude = np.meshgrid(
        np.radians(np.linspace(-80, 80, COLUMNS)), np.radians(np.linspace(-65, 65, ROWS))
    )
    template_m = np.stack(
        [
            0.075 * np.cos(latitude) * np.sin(longitude),
            0.100 * np.sin(latitude),
            -0.090 * np.cos(latitude) * np.cos(longitude),
        ],
        axis=-1,
    ).reshape(-1, 3)
    grid = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    triangles = np.concatenate([np.stack([a, c, b], -1), np.stack([a, d, c], -1)]).reshape(-1, 3)
    return FaceTopology(
        template_m=template_m,
        triangles=triangles,
        landmarks68=np.linspace(0, ROWS * COLUMNS - 1, 68).round(),
        subsample=np.arange(0, ROWS * COLUMNS, 4),
        mirror=grid[:, ::-1].ravel(),
    )
