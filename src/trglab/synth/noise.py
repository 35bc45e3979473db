"""Smooth random fields: along a line, over a periodic texture, and in space.

Textures of a head sample the 3D field at the texels' positions, so that UV seams do not show.
"""

from __future__ import annotations

import numpy as np

from trglab.synth.kernels import fastmath_kernel

LATTICE = 32
"""Cells along each side of the periodic 3D lattice."""


def linear_noise_1d(rng: np.random.Generator, count: int, knots: int) -> np.ndarray:
    """Interpolate ``knots + 1`` standard normal values linearly to ``(count,)``."""
    values = rng.standard_normal(knots + 1)
    return np.interp(np.linspace(0, knots, count), np.arange(knots + 1), values)


def smooth_noise_1d(
    rng: np.random.Generator, count: int, knots: int, closed: bool = False
) -> np.ndarray:
    """Interpolate standard normal values smoothly to ``(count,)``; ``closed`` makes it periodic."""
    values = rng.standard_normal(knots + 1)
    if closed:
        values[-1] = values[0]
    position = np.linspace(0.0, knots, count, endpoint=not closed)
    low = np.minimum(position.astype(int), knots - 1)
    t = position - low
    t = t * t * (3.0 - 2.0 * t)
    return values[low] * (1.0 - t) + values[low + 1] * t


def blurred_noise_2d(rng: np.random.Generator, radius: int, size: int) -> np.ndarray:
    """Periodic ``(size, size)`` noise of unit variance after two box blurs of this radius."""
    noise = rng.standard_normal((size, size))
    width = 2 * radius + 1
    for axis in (0, 1, 0, 1):
        padded = np.concatenate(
            [noise.take(range(-radius - 1, 0), axis), noise, noise.take(range(radius), axis)], axis
        )
        total = np.cumsum(padded, axis=axis)
        noise = total.take(range(width, size + width), axis) - total.take(range(size), axis)
    return noise / noise.std()


def noise_lattice(rng: np.random.Generator) -> np.ndarray:
    """Draw a periodic lattice ``(32, 32, 32)`` float32 of standard normal values."""
    return rng.standard_normal((LATTICE, LATTICE, LATTICE), dtype=np.float32)


def lattice_noise(
    lattice: np.ndarray, points: np.ndarray, cells_per_unit: float | tuple[float, float, float],
    offset: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Sample a lattice at ``(..., 3)`` float32 points: about standard normal, ``(...)`` float32.

    Parameters
    ----------
    cells_per_unit
        Frequency, for all axes or for each, in lattice cells per unit of ``points``.
    offset
        ``(3,)`` in cells. Another offset gives an independent field from the same lattice.
    """
    frequency = np.broadcast_to(np.asarray(cells_per_unit, np.float32), (3,))
    flat = np.ascontiguousarray(points, np.float32).reshape(-1, 3)
    values = np.empty(len(flat), np.float32)
    _sample(lattice, flat, frequency.copy(), np.asarray(offset, np.float32), values)
    return values.reshape(points.shape[:-1])


@fastmath_kernel
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
