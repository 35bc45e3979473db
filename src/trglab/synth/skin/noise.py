"""Smooth random fields in space, sampled where the texels lie, so that no UV seam shows."""

from __future__ import annotations

import numba
import numpy as np

LATTICE = 32
"""Cells along each side of the periodic lattice."""


def noise_lattice(rng: np.random.Generator) -> np.ndarray:
    """Draw a periodic lattice ``(32, 32, 32)`` float32 of standard normal values."""
    return rng.standard_normal((LATTICE, LATTICE, LATTICE), dtype=np.float32)


def smooth_noise(
    lattice: np.ndarray, points: np.ndarray, cells_per_unit: float | tuple[float, float, float],
    offset: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Sample a lattice at ``(..., 3)`` float32 points: about standard normal, ``(...)`` float32.

    Parameters
    ----------
    cells_per_unit
        Frequency, one number or one for each axis, in lattice cells per unit of ``points``.
    offset
        ``(3,)`` in cells; a fresh one gives a fresh field from the same lattice.
    """
    frequency = np.broadcast_to(np.asarray(cells_per_unit, np.float32), (3,))
    flat = np.ascontiguousarray(points, np.float32).reshape(-1, 3)
    values = np.empty(len(flat), np.float32)
    _sample(lattice, flat, frequency.copy(), np.asarray(offset, np.float32), values)
    return values.reshape(points.shape[:-1])


@numba.njit(cache=True, fastmath=True)
def _sample(
    lattice: np.ndarray,
    points: np.ndarray,
    frequency: np.ndarray,
    offset: np.ndarray,
    values: np.ndarray,
) -> None:
    mask = LATTICE - 1
    # Interpolation averages corners; 1.7 brings the variance back to about one.
    gain = np.float32(1.7)
    for i in range(points.shape[0]):
        x = points[i, 0] * frequency[0] + offset[0]
        y = points[i, 1] * frequency[1] + offset[1]
        z = points[i, 2] * frequency[2] + offset[2]
        fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
        x0, y0, z0 = int(fx) & mask, int(fy) & mask, int(fz) & mask
        x1, y1, z1 = (x0 + 1) & mask, (y0 + 1) & mask, (z0 + 1) & mask
        tx, ty, tz = x - fx, y - fy, z - fz
        tx = tx * tx * (3 - 2 * tx)
        ty = ty * ty * (3 - 2 * ty)
        tz = tz * tz * (3 - 2 * tz)
        a = lattice[x0, y0, z0] + tx * (lattice[x1, y0, z0] - lattice[x0, y0, z0])
        b = lattice[x0, y1, z0] + tx * (lattice[x1, y1, z0] - lattice[x0, y1, z0])
        c = lattice[x0, y0, z1] + tx * (lattice[x1, y0, z1] - lattice[x0, y0, z1])
        d = lattice[x0, y1, z1] + tx * (lattice[x1, y1, z1] - lattice[x0, y1, z1])
        near = a + ty * (b - a)
        far = c + ty * (d - c)
        values[i] = gain * (near + tz * (far - near))
