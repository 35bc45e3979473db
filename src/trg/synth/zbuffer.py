"""Visibility: which triangle each sample of the picture shows.

A *depth picture* is a pair of ``(h, w)`` arrays: ``nearness`` (1 / z in 1 / m, 0 where nothing is)
and ``ids`` (the triangle's number, -1 where nothing is). Nearness is linear over a projected
triangle, which makes both the depth test and the interpolation exact in perspective.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.camera import Camera
from trg.synth.kernel import inlined, kernel

NEAR_M = 0.02
"""Triangles with a vertex nearer than this to the camera's plane are not drawn."""

EDGE_TOLERANCE = 1e-5
"""Barycentric slack, so that rounding opens no pinholes between neighbouring triangles."""

WIDE_SAMPLES = 6
"""From this width on it pays to work out which part of a row can lie inside a triangle."""

SAME_SHEET = 0.015
"""Samples of one surface and pixel whose depths differ by less than this share are shaded once."""


class Lens(NamedTuple):
    """A camera's numbers as the kernels want them, scaled to samples."""

    focal_and_centre: NDArray[np.float64]
    """``(4,)``: fx, fy, cx, cy in samples."""
    distortion: NDArray[np.float64]
    """``(5,)``: k1, k2, p1, p2, k3."""
    max_radius_squared: float
    """Rays further out than this are beyond the point where the lens model folds over."""


class Fragments(NamedTuple):
    """What is shaded: one entry per pixel and sheet of a surface in it, grouped by surface."""

    pixel: NDArray[np.int32]
    """Number of the pixel, row by row."""
    triangle: NDArray[np.int32]
    x: NDArray[np.float32]
    """Where to shade, in samples: the middle of the covered samples, inside the triangle."""
    y: NDArray[np.float32]
    weight: NDArray[np.float32]
    """Share of the pixel."""


def lens_from_camera(camera: Camera, scale: float) -> Lens:
    """Return the lens of ``camera`` for a picture ``scale`` times as large."""
    k1, k2, _, _, k3 = camera.distortion
    max_radius_squared = np.inf
    if camera.is_distorted:
        radius = np.linspace(0.0, 6.0, 601)
        r2 = radius * radius
        slope = 1.0 + r2 * (3.0 * k1 + r2 * (5.0 * k2 + r2 * 7.0 * k3))
        folds = np.flatnonzero(slope <= 0.05)
        max_radius_squared = float(r2[folds[0]]) if folds.size else np.inf
    numbers = np.array([camera.fx, camera.fy, camera.cx, camera.cy]) * scale
    return Lens(numbers, np.array(camera.distortion, dtype=np.float64), max_radius_squared)


@kernel
def project(points, lens):
    """Return ``(n, 3)`` float32: x, y in samples and nearness, 0 for points without an image."""
    screen = np.empty((len(points), 3), np.float32)
    fx, fy, cx, cy = lens.focal_and_centre
    k1, k2, p1, p2, k3 = lens.distortion
    for i in range(len(points)):
        z = np.float64(points[i, 2])
        screen[i, 2] = 0.0
        if z < NEAR_M:
            continue
        x, y = points[i, 0] / z, points[i, 1] / z
        r2 = x * x + y * y
        if r2 > lens.max_radius_squared:
            continue
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        screen[i, 0] = fx * (x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)) + cx
        screen[i, 1] = fy * (y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y) + cy
        screen[i, 2] = 1.0 / z
    return screen


@kernel
def fill(screen, triangles, numbers, cull, uv, texture, cutout, nearness, ids):
    """Draw triangles into a depth picture; nearer ones win, and the earlier one of two equals.

    Parameters
    ----------
    screen
        ``(n, 3)`` of :func:`project`.
    triangles
        ``(n_triangles, 3)`` int32, of the whole scene.
    numbers
        ``(m,)`` int32: which triangles to draw, in this order, and what is written for each.
    cull
        Leave out the triangles that turn their back.
    uv, texture, cutout
        With ``cutout``, samples whose bilinear texture alpha is below a half are left out.
    """
    height, width = nearness.shape
    for t in numbers:
        i0, i1, i2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        n0, n1, n2 = screen[i0, 2], screen[i1, 2], screen[i2, 2]
        if n0 == 0.0 or n1 == 0.0 or n2 == 0.0:
            continue
        x0, y0 = screen[i0, 0], screen[i0, 1]
        x1, y1 = screen[i1, 0] - x0, screen[i1, 1] - y0
        x2, y2 = screen[i2, 0] - x0, screen[i2, 1] - y0
        area = x1 * y2 - x2 * y1  # negative for front faces, as y points down
        if (cull and area >= 0.0) or abs(area) < 1e-9:
            continue
        half = np.float32(0.5)
        low_x = max(np.float32(0.0), np.ceil(x0 + min(np.float32(0.0), x1, x2) - half))
        low_y = max(np.float32(0.0), np.ceil(y0 + min(np.float32(0.0), y1, y2) - half))
        high_x = min(np.float32(width - 1), np.floor(x0 + max(np.float32(0.0), x1, x2) - half))
        high_y = min(np.float32(height - 1), np.floor(y0 + max(np.float32(0.0), y1, y2) - half))
        if low_x > high_x or low_y > high_y:
            continue
        per_area = np.float32(1.0) / area
        b1x, b1y = y2 * per_area, -x2 * per_area
        b2x, b2y = -y1 * per_area, x1 * per_area
        dn1, dn2 = n1 - n0, n2 - n0
        slack = -np.float32(EDGE_TOLERANCE)
        one = np.float32(1.0) - slack
        wide = high_x - low_x > WIDE_SAMPLES
        for row in range(int(low_y), int(high_y) + 1):
            dy = np.float32(row) + half - y0
            first, last = low_x, high_x
            if wide:
                shift = x0 - half
                e1, e2 = dy * b1y, dy * b2y
                first, last = _narrow(first, last, b1x, e1, shift)
                first, last = _narrow(first, last, b2x, e2, shift)
                first, last = _narrow(first, last, -b1x - b2x, np.float32(1.0) - e1 - e2, shift)
            for column in range(int(first), int(last) + 1):
                dx = np.float32(column) + half - x0
                b1 = dx * b1x + dy * b1y
                b2 = dx * b2x + dy * b2y
                if b1 < slack or b2 < slack or b1 + b2 > one:
                    continue
                near = n0 + b1 * dn1 + b2 * dn2
                if near <= nearness[row, column]:
                    continue
                if cutout:
                    w1, w2 = b1 * n1 / near, b2 * n2 / near
                    w0 = np.float32(1.0) - w1 - w2
                    u = w0 * uv[i0, 0] + w1 * uv[i1, 0] + w2 * uv[i2, 0]
                    v = w0 * uv[i0, 1] + w1 * uv[i1, 1] + w2 * uv[i2, 1]
                    if _alpha(texture, u, v) < 127.5:
                        continue
                nearness[row, column] = near
                ids[row, column] = t


@inlined
def _narrow(first, last, slope, offset, shift):
    """Cut the columns down to where ``slope * dx + offset`` can be above 0, with one to spare."""
    if abs(slope) > np.float32(1e-12):
        zero = shift - offset / slope
        if slope > 0.0:
            first = max(first, np.floor(zero) - np.float32(1.0))
        else:
            last = min(last, np.ceil(zero) + np.float32(1.0))
    return first, last


@inlined
def _alpha(texture, u, v):
    """Bilinear alpha, 0..255, of an ``(h, w, 4)`` texture; clamped at its borders."""
    height, width = texture.shape[0], texture.shape[1]
    x = min(max(u * width - np.float32(0.5), np.float32(0.0)), np.float32(width - 1))
    y = min(max(v * height - np.float32(0.5), np.float32(0.0)), np.float32(height - 1))
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    fx, fy = x - np.float32(left), y - np.float32(top)
    gx, gy = np.float32(1.0) - fx, np.float32(1.0) - fy
    upper = np.float32(texture[top, left, 3]) * gx + np.float32(texture[top, right, 3]) * fx
    lower = np.float32(texture[bottom, left, 3]) * gx + np.float32(texture[bottom, right, 3]) * fx
    return upper * gy + lower * fy


@kernel
def gather(nearness, ids, supersample, first_triangle, window):
    """Turn a depth picture into :class:`Fragments`, the way multisampling hardware does.

    A pixel is shaded once per surface and sheet in it, not once per sample.

    Parameters
    ----------
    first_triangle
        ``(s + 1,)`` int32: where the triangles of each surface start.
    window
        Left, top, right, bottom in pixels: where to look.

    Returns
    -------
    fragments, first_fragment
        The fragments, and where those of each surface start ``(s + 1,)``.
    """
    columns = ids.shape[1] // supersample
    room = supersample * supersample * max(window[2] - window[0], 0) * max(window[3] - window[1], 0)
    owner = np.empty(first_triangle[-1], np.int16)
    for s in range(len(first_triangle) - 1):
        owner[first_triangle[s] : first_triangle[s + 1]] = s
    pixel = np.empty(room, np.int32)
    triangle = np.empty(room, np.int32)
    place = np.empty((room, 3), np.float32)
    counts = np.zeros(len(first_triangle), np.int64)
    per_sample = np.float32(1.0 / (supersample * supersample))
    total = 0
    for row in range(window[1], window[3]):
        for column in range(window[0], window[2]):
            top, left = row * supersample, column * supersample
            taken = 0  # one bit per sample
            for a in range(supersample * supersample):
                ya, xa = top + a // supersample, left + a % supersample
                leader = ids[ya, xa]
                if leader < 0 or taken >> a & 1:
                    continue
                surface, near = owner[leader], nearness[ya, xa]
                covered, same, sum_x, sum_y = 0, 0, 0, 0
                for b in range(a, supersample * supersample):
                    yb, xb = top + b // supersample, left + b % supersample
                    other = ids[yb, xb]
                    if other < 0 or taken >> b & 1 or owner[other] != surface:
                        continue
                    if abs(nearness[yb, xb] - near) > SAME_SHEET * near:
                        continue
                    taken |= 1 << b
                    covered += 1
                    if other == leader:
                        same += 1
                        sum_x += xb
                        sum_y += yb
                pixel[total] = row * columns + column
                triangle[total] = leader
                place[total, 0] = np.float32(sum_x) / same + np.float32(0.5)
                place[total, 1] = np.float32(sum_y) / same + np.float32(0.5)
                place[total, 2] = covered * per_sample
                counts[surface + 1] += 1
                total += 1
    first_fragment = np.cumsum(counts)
    cursor = first_fragment.copy()
    sorted_ = Fragments(
        np.empty(total, np.int32),
        np.empty(total, np.int32),
        np.empty(total, np.float32),
        np.empty(total, np.float32),
        np.empty(total, np.float32),
    )
    for i in range(total):
        surface = owner[triangle[i]]
        k = cursor[surface]
        cursor[surface] += 1
        sorted_.pixel[k] = pixel[i]
        sorted_.triangle[k] = triangle[i]
        sorted_.x[k], sorted_.y[k], sorted_.weight[k] = place[i, 0], place[i, 1], place[i, 2]
    return sorted_, first_fragment
