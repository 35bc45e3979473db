"""A triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import cross, normalize


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A triangle mesh in the camera frame."""

    vertices_m: NDArray[np.float64]
    """``(n, 3)``, metres."""
    triangles: NDArray[np.int32]
    """``(m, 3)`` int32, counter-clockwise seen from outside."""

    def normals(self) -> NDArray[np.float64]:
        """Return the outward unit normals of the vertices, ``(n, 3)``.

        The area-weighted mean of the adjacent triangles' normals; (0, 0, 0) without triangles.
        """
        a, b, c = (self.vertices_m[corner] for corner in self.triangles.T)
        twice_area_normals = cross(b - a, c - a)
        total = np.zeros_like(self.vertices_m)
        for corner in self.triangles.T:
            np.add.at(total, corner, twice_area_normals)
        return normalize(total, eps=1e-30)
