"""Compiled filters for float32 images ``(h, w, 3)``.

All kernels are symmetric, so they do not shift the image; borders repeat the outermost pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trglab.synth.kernels import fastmath_kernel

FloatImage = NDArray[np.float32]


def scale_channels(image: FloatImage, rgb: NDArray[np.floating]) -> FloatImage:
    """Return ``image * rgb`` for factors ``(3,)``; NumPy itself is slow at loops of length 3."""
    height, width = image.shape[:2]
    row = np.tile(rgb.astype(np.float32), width)
    return (image.reshape(height, -1) * row).reshape(image.shape)


def blur(image: FloatImage, sigma_px: float, passes: int = 2) -> FloatImage:
    """Blur by repeated box filters of fractional width, at a cost independent of ``sigma_px``.

    Two passes resemble defocus, three a Gaussian.
    """
    if sigma_px < 0.05:
        return image
    variance = sigma_px * sigma_px / passes
    whole = int((math.sqrt(1.0 + 12.0 * variance) - 1.0) / 2.0)
    inner = whole * (whole + 1) * (2 * whole + 1) / 3.0  # sum of squares over the whole pixels
    part = (variance * (2 * whole + 1) - inner) / (2.0 * ((whole + 1) ** 2 - variance))
    radius = whole + part
    image = np.ascontiguousarray(image)
    rows = _narrow_box_rows if radius < 1.0 else _box_rows
    for _ in range(passes):
        image = rows(_box_columns(image, radius), radius)
    return image


@fastmath_kernel
def _narrow_box_rows(image: FloatImage, radius: float) -> FloatImage:  # pragma: no cover - compiled
    """Return :func:`_box_rows` for a radius below 1 without running sums, which is faster."""
    height, last = image.shape[0], image.shape[1] - 1
    out = np.empty_like(image)
    part, norm = np.float32(radius), np.float32(1.0 / (2.0 * radius + 1.0))
    for y in range(height):
        line, averaged = image[y].ravel(), out[y].ravel()
        before, middle, after, inner = line[:-6], line[3:-3], line[6:], averaged[3:-3]
        for i in range(len(inner)):
            inner[i] = (middle[i] + part * (before[i] + after[i])) * norm
        for x in (0, last):
            left, right = max(x - 1, 0), min(x + 1, last)
            for c in range(3):
                ends = line[3 * left + c] + line[3 * right + c]
                averaged[3 * x + c] = (line[3 * x + c] + part * ends) * norm
    return out


@fastmath_kernel
def _box_rows(image: FloatImage, radius: float) -> FloatImage:  # pragma: no cover - compiled
    """Average along x over ``2 radius + 1`` pixels; the outermost ones count partially."""
    height, width = image.shape[:2]
    out = np.empty_like(image)
    whole = int(radius)
    part = np.float32(radius - whole)
    norm = np.float32(1.0 / (2.0 * radius + 1.0))
    last = width - 1
    for y in range(height):
        line, averaged = image[y], out[y]
        red, green, blue = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for k in range(-whole, whole + 1):
            x = min(max(k, 0), last)
            red, green, blue = red + line[x, 0], green + line[x, 1], blue + line[x, 2]
        for x in range(width):  # the three sums are independent instruction streams
            left, right = max(x - whole - 1, 0), min(x + whole + 1, last)
            leaving = max(x - whole, 0)
            averaged[x, 0] = (red + part * (line[left, 0] + line[right, 0])) * norm
            averaged[x, 1] = (green + part * (line[left, 1] + line[right, 1])) * norm
            averaged[x, 2] = (blue + part * (line[left, 2] + line[right, 2])) * norm
            red += line[right, 0] - line[leaving, 0]
            green += line[right, 1] - line[leaving, 1]
            blue += line[right, 2] - line[leaving, 2]
    return out


@fastmath_kernel
def _box_columns(image: FloatImage, radius: float) -> FloatImage:  # pragma: no cover - compiled
    """Average along y over ``2 radius + 1`` pixels with running sums for a whole row."""
    height = image.shape[0]
    out = np.empty_like(image)
    whole = int(radius)
    part = np.float32(radius - whole)
    norm = np.float32(1.0 / (2.0 * radius + 1.0))
    last = height - 1
    rows, averaged = image.reshape(height, -1), out.reshape(height, -1)
    total = np.zeros(rows.shape[1], dtype=np.float32)
    for k in range(-whole, whole + 1):
        total += rows[min(max(k, 0), last)]
    for y in range(height):
        before, after = rows[max(y - whole - 1, 0)], rows[min(y + whole + 1, last)]
        leaving, line = rows[max(y - whole, 0)], averaged[y]
        for i in range(len(total)):
            line[i] = (total[i] + part * (before[i] + after[i])) * norm
            total[i] += after[i] - leaving[i]
    return out


@fastmath_kernel
def motion_blur(
    image: FloatImage, length_px: float, angle_rad: float
) -> FloatImage:  # pragma: no cover - compiled
    """Average along a centred line: blur of uniform linear motion."""
    height, width, channels = image.shape
    taps = max(3, 2 * int(length_px / 2.0 + 0.999) + 1)
    out = np.zeros_like(image)
    norm = np.float32(1.0 / taps)
    row_length, last = width * channels, (width - 1) * channels
    # One row between two rows of the image, with repeated borders: plain loops are vectorised.
    reach = (int(length_px / 2.0) + 2) * channels
    line = np.empty(row_length + 2 * reach, np.float32)
    inner = line[reach : reach + row_length]
    for tap in range(taps):
        along = (tap / (taps - 1) - 0.5) * length_px
        shift_x, shift_y = along * math.cos(angle_rad), along * math.sin(angle_rad)
        left, top = math.floor(shift_x), math.floor(shift_y)
        fx, fy = np.float32(shift_x - left), np.float32(shift_y - top)
        start = reach + int(left) * channels
        for y in range(height):
            upper = image[min(max(y + int(top), 0), height - 1)].ravel()
            lower = image[min(max(y + int(top) + 1, 0), height - 1)].ravel()
            for i in range(row_length):
                inner[i] = norm * (upper[i] + fy * (lower[i] - upper[i]))
            for i in range(reach):
                line[i] = line[reach + i % channels]
                line[reach + row_length + i] = line[reach + last + i % channels]
            here, next_, blurred = line[start:], line[start + channels :], out[y].ravel()
            for i in range(row_length):
                blurred[i] += here[i] + fx * (next_[i] - here[i])
    return out


@fastmath_kernel
def resize_smooth(
    grid: FloatImage, height: int, width: int
) -> FloatImage:  # pragma: no cover - compiled
    """Resize ``(h, w, c)`` with smoothstep (cubic Hermite) interpolation."""
    rows, columns, channels = grid.shape
    out = np.empty((height, width, channels), dtype=np.float32)
    three, two = np.float32(3.0), np.float32(2.0)
    lefts = np.empty(width, dtype=np.int32)
    shares = np.empty(width, dtype=np.float32)
    for x in range(width):
        u = min(max((x + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
        lefts[x] = min(int(u), max(columns - 2, 0))
        share = np.float32(u - lefts[x])
        shares[x] = share * share * (three - two * share)
    line = np.empty((columns, channels), dtype=np.float32)
    for y in range(height):
        v = min(max((y + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        top = min(int(v), max(rows - 2, 0))
        bottom = min(top + 1, rows - 1)
        share = np.float32(v - top)
        share = share * share * (three - two * share)
        for x in range(columns):
            for c in range(channels):
                line[x, c] = grid[top, x, c] + share * (grid[bottom, x, c] - grid[top, x, c])
        for x in range(width):
            left, share = lefts[x], shares[x]
            right = min(left + 1, columns - 1)
            for c in range(channels):
                out[y, x, c] = line[left, c] + share * (line[right, c] - line[left, c])
    return out
