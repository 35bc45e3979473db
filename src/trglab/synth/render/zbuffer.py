"""Z-buffer rasterisation: which triangle each sample of the image shows.

A depth buffer is a pair of ``(h, w)`` arrays: ``inverse_depth`` (1 / z in 1 / m, 0 for the
background) and ``ids`` (triangle index, -1 for the background). Inverse depth is linear over a
projected triangle, which makes both the depth test and the interpolation perspective-correct.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera
from trglab.synth.kernels import inlined, kernel

NEAR_PLANE_M = 0.02
"""Triangles with a vertex in front of this plane are not drawn."""

EDGE_TOLERANCE = 1e-5
"""Barycentric tolerance that prevents pinholes between adjacent triangles."""

TILE = 8
"""Side in samples of the tiles of the coarse occlusion test."""

ALPHA_TEST: NDArray[np.float32] = np.full((2, 2), 127.5, np.float32)
ALPHA_TO_COVERAGE: NDArray[np.float32] = np.array([[32, 159], [223, 96]], np.float32)
"""Least alpha, 0 to 255, of a covered sample, by row and column modulo 2: a half, or an ordered
dither, by which texels of alpha a cover about the share a of the samples."""

SAME_LAYER_DEPTH_SHARE = 0.015
"""Samples of one surface in one pixel form a layer if their relative depths differ by less."""


class RasterCamera(NamedTuple):
    """Camera parameters in the form the kernels use, scaled to samples."""

    focal_and_centre: NDArray[np.float64]
    """``(4,)``: fx, fy, cx, cy in samples."""
    distortion: NDArray[np.float64]
    """``(5,)``: k1, k2, p1, p2, k3."""
    max_radius_squared: float
    """Squared radius of normalised coordinates beyond which the distortion is not monotonic."""


class Fragments(NamedTuple):
    """One entry per pixel and surface layer, grouped by surface."""

    pixel: NDArray[np.int32]
    """Index of the pixel, row-major."""
    triangle: NDArray[np.int32]
    x: NDArray[np.float32]
    """Shading position in samples: the centre of the covered samples."""
    y: NDArray[np.float32]
    weight: NDArray[np.float32]
    """Share of the pixel."""


def raster_camera(camera: Camera, scale: float) -> RasterCamera:
    """Return the kernel parameters of ``camera`` for an image ``scale`` times as large."""
    k1, k2, _, _, k3 = camera.distortion
    max_radius_squared = np.inf
    if camera.is_distorted:
        radius = np.linspace(0.0, 6.0, 601)
        r2 = radius * radius
        slope = 1.0 + r2 * (3.0 * k1 + r2 * (5.0 * k2 + r2 * 7.0 * k3))
        folds = np.flatnonzero(slope <= 0.05)
        max_radius_squared = float(r2[folds[0]]) if folds.size else np.inf
    numbers = np.array([camera.fx, camera.fy, camera.cx, camera.cy]) * scale
    return RasterCamera(numbers, np.array(camera.distortion, dtype=np.float64), max_radius_squared)


@kernel
def project(points, raster_camera):
    """Return ``(n, 3)`` float32: x, y in samples and inverse depth, 0 for invisible points."""
    screen = np.empty((len(points), 3), np.float32)
    fx, fy, cx, cy = raster_camera.focal_and_centre
    k1, k2, p1, p2, k3 = raster_camera.distortion
    for i in range(len(points)):
        z = np.float64(points[i, 2])
        screen[i, 2] = 0.0
        if z < NEAR_PLANE_M:
            continue
        x, y = points[i, 0] / z, points[i, 1] / z
        r2 = x * x + y * y
        if r2 > raster_camera.max_radius_squared:
            continue
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        screen[i, 0] = fx * (x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)) + cx
        screen[i, 1] = fy * (y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y) + cy
        screen[i, 2] = 1.0 / z
    return screen


@kernel
def rasterize(screen, triangles, numbers, cull, uv, alpha, cutout, limits, inverse_depth, ids):
    """Rasterise triangles into a depth buffer; the closer one wins, the earlier one if equal.

    Parameters
    ----------
    screen
        ``(n, 3)`` of :func:`project`.
    triangles
        ``(n_triangles, 3)`` int32, of the whole scene.
    numbers
        ``(m,)`` int32: triangles to draw, in this order; their indices are written to ``ids``.
    cull
        Skip back faces.
    uv, alpha, cutout, limits
        With ``cutout``, samples whose bilinear ``alpha (h, w)`` is below a limit are discarded:
        :data:`ALPHA_TEST` or :data:`ALPHA_TO_COVERAGE`.
    """
    height, width = inverse_depth.shape
    half, one, zero = np.float32(0.5), np.float32(1.0), np.float32(0.0)
    slack, tiny = np.float32(EDGE_TOLERANCE), np.float32(1e-9)
    farthest = _tile_farthest(inverse_depth) if cutout else inverse_depth[:0]
    for t in numbers:
        i0, i1, i2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        n0, n1, n2 = screen[i0, 2], screen[i1, 2], screen[i2, 2]
        if n0 == 0.0 or n1 == 0.0 or n2 == 0.0:
            continue
        x0, y0 = screen[i0, 0], screen[i0, 1]
        x1, y1 = screen[i1, 0] - x0, screen[i1, 1] - y0
        x2, y2 = screen[i2, 0] - x0, screen[i2, 1] - y0
        area = x1 * y2 - x2 * y1  # negative for front faces, as y points down
        if (cull and area >= 0.0) or abs(area) < tiny:
            continue
        low_x = max(zero, np.ceil(x0 + min(zero, x1, x2) - half))
        low_y = max(zero, np.ceil(y0 + min(zero, y1, y2) - half))
        high_x = min(np.float32(width - 1), np.floor(x0 + max(zero, x1, x2) - half))
        high_y = min(np.float32(height - 1), np.floor(y0 + max(zero, y1, y2) - half))
        if low_x > high_x or low_y > high_y:
            continue
        if cutout and _box_is_hidden(farthest, max(n0, n1, n2), low_x, low_y, high_x, high_y):
            continue
        per_area = one / area
        b1x, b1y = y2 * per_area, -x2 * per_area
        b2x, b2y = -y1 * per_area, x1 * per_area
        b0x = -b1x - b2x
        dn1, dn2 = n1 - n0, n2 - n0
        near_x, near_y = b1x * dn1 + b2x * dn2, b1y * dn1 + b2y * dn2
        inverse_0, inverse_1, inverse_2 = _inverse(b0x), _inverse(b1x), _inverse(b2x)
        shift = x0 - half
        for row in range(np.uint64(low_y), np.uint64(high_y) + np.uint64(1)):
            dy = np.float32(row) + half - y0
            e1, e2 = dy * b1y, dy * b2y
            first, last = _narrow(low_x, high_x, inverse_1, e1 + slack, shift)
            first, last = _narrow(first, last, inverse_2, e2 + slack, shift)
            first, last = _narrow(first, last, inverse_0, one - e1 - e2 + slack, shift)
            if first > last:
                continue
            base = n0 + dy * near_y
            for column in range(np.uint64(first), np.uint64(last) + np.uint64(1)):
                dx = np.float32(column) - shift
                near = base + dx * near_x
                if near <= inverse_depth[row, column]:
                    continue
                if cutout:
                    w1, w2 = (dx * b1x + e1) * n1 / near, (dx * b2x + e2) * n2 / near
                    w0 = one - w1 - w2
                    u = w0 * uv[i0, 0] + w1 * uv[i1, 0] + w2 * uv[i2, 0]
                    v = w0 * uv[i0, 1] + w1 * uv[i1, 1] + w2 * uv[i2, 1]
                    # Another pattern for each triangle: layers of cards hide independent samples.
                    limit = limits[(row + t) & 1, (column + (t >> 1)) & 1]
                    if _bilinear_alpha(alpha, u, v) < limit:
                        continue
                inverse_depth[row, column] = near
                ids[row, column] = t


@kernel
def _tile_farthest(inverse_depth):
    """Return the smallest inverse depth in each tile; tiles at the border are smaller."""
    height, width = inverse_depth.shape
    tiles = np.empty(((height - 1) // TILE + 1, (width - 1) // TILE + 1), np.float32)
    line = np.empty(width, np.float32)
    for tile_row in range(len(tiles)):
        # Down the columns first, which the compiler vectorises.
        line[:] = inverse_depth[tile_row * TILE]
        for row in range(tile_row * TILE + 1, min(tile_row * TILE + TILE, height)):
            for column in range(width):
                line[column] = min(line[column], inverse_depth[row, column])
        for tile in range(tiles.shape[1]):
            least = line[tile * TILE]
            for column in range(tile * TILE + 1, min(tile * TILE + TILE, width)):
                least = min(least, line[column])
            tiles[tile_row, tile] = least
    return tiles


@inlined
def _box_is_hidden(farthest, near, low_x, low_y, high_x, high_y):
    """Return whether all tiles that a box of samples touches are closer than ``near``."""
    for row in range(int(low_y) // TILE, int(high_y) // TILE + 1):
        for column in range(int(low_x) // TILE, int(high_x) // TILE + 1):
            if farthest[row, column] < near:
                return False
    return True


@inlined
def _inverse(slope):
    """Return 1 / slope, or 0 for edges parallel to the rows."""
    return np.float32(1.0) / slope if abs(slope) > np.float32(1e-12) else np.float32(0.0)


@inlined
def _narrow(first, last, inverse, offset, shift):
    """Clip the columns to where ``(column - shift) / inverse + offset`` is not negative."""
    zero = shift - offset * inverse
    if inverse > 0.0:
        first = max(first, np.ceil(zero))
    elif inverse < 0.0:
        last = min(last, np.floor(zero))
    elif offset < 0.0:
        last = first - np.float32(1.0)
    return first, last


@inlined
def _bilinear_alpha(alpha, u, v):
    """Return the bilinear alpha, 0 to 255, of an ``(h, w)`` mask; clamped at its borders."""
    height, width = alpha.shape
    x, y = u * np.float32(width) - np.float32(0.5), v * np.float32(height) - np.float32(0.5)
    x = min(max(x, np.float32(0.0)), np.float32(width - 1))
    y = min(max(y, np.float32(0.0)), np.float32(height - 1))
    left, top = np.uint64(x), np.uint64(y)
    right = min(left + np.uint64(1), np.uint64(width - 1))
    bottom = min(top + np.uint64(1), np.uint64(height - 1))
    fx, fy = x - np.float32(left), y - np.float32(top)
    gx = np.float32(1.0) - fx
    upper = np.float32(alpha[top, left]) * gx + np.float32(alpha[top, right]) * fx
    lower = np.float32(alpha[bottom, left]) * gx + np.float32(alpha[bottom, right]) * fx
    return upper * (np.float32(1.0) - fy) + lower * fy


@inlined
def _is_one_triangle(inverse_depth, ids, top, left, supersample):
    """Return whether all samples of a pixel show one layer of one triangle, or the background."""
    leader, near = ids[top, left], inverse_depth[top, left]
    for row in range(top, top + supersample):
        for column in range(left, left + supersample):
            if ids[row, column] != leader:
                return False
            if abs(inverse_depth[row, column] - near) > SAME_LAYER_DEPTH_SHARE * near:
                return False
    return True


@kernel
def resolve_fragments(inverse_depth, ids, supersample, first_triangle, window):
    """Resolve a depth buffer into :class:`Fragments`, as multisampling hardware does.

    A pixel is shaded once per surface layer, not once per sample.

    Parameters
    ----------
    first_triangle
        ``(s + 1,)`` int32: first triangle of each surface.
    window
        Left, top, right, bottom of the region in pixels.

    Returns
    -------
    fragments, first_fragment
        The fragments, and the first one of each surface ``(s + 1,)``.
    """
    columns = ids.shape[1] // supersample
    capacity = (
        supersample * supersample * max(window[2] - window[0], 0) * max(window[3] - window[1], 0)
    )
    owner = np.empty(first_triangle[-1], np.int16)
    for s in range(len(first_triangle) - 1):
        owner[first_triangle[s] : first_triangle[s + 1]] = s
    pixel = np.empty(capacity, np.int32)
    triangle = np.empty(capacity, np.int32)
    position = np.empty((capacity, 3), np.float32)
    counts = np.zeros(len(first_triangle), np.int64)
    per_sample = np.float32(1.0 / (supersample * supersample))
    total = 0
    # Position of each sample in its pixel; divisions inside the loop would dominate its time.
    samples = np.arange(supersample * supersample)
    down, across = samples // supersample, samples % supersample
    middle = np.float32(0.5 * supersample)
    for row in range(window[1], window[3]):
        for column in range(window[0], window[2]):
            top, left = row * supersample, column * supersample
            if _is_one_triangle(inverse_depth, ids, top, left, supersample):
                leader = ids[top, left]
                if leader >= 0:
                    pixel[total] = row * columns + column
                    triangle[total] = leader
                    position[total, 0] = np.float32(left) + middle
                    position[total, 1] = np.float32(top) + middle
                    position[total, 2] = np.float32(len(samples)) * per_sample
                    counts[owner[leader] + 1] += 1
                    total += 1
                continue
            taken = 0  # one bit per sample
            for a in range(len(samples)):
                ya, xa = top + down[a], left + across[a]
                leader = ids[ya, xa]
                if leader < 0 or taken >> a & 1:
                    continue
                surface, near = owner[leader], inverse_depth[ya, xa]
                covered, same, sum_x, sum_y = 0, 0, 0, 0
                for b in range(a, len(samples)):
                    yb, xb = top + down[b], left + across[b]
                    other = ids[yb, xb]
                    if other < 0 or taken >> b & 1 or owner[other] != surface:
                        continue
                    if abs(inverse_depth[yb, xb] - near) > SAME_LAYER_DEPTH_SHARE * near:
                        continue
                    taken |= 1 << b
                    covered += 1
                    if other == leader:
                        same += 1
                        sum_x += xb
                        sum_y += yb
                pixel[total] = row * columns + column
                triangle[total] = leader
                position[total, 0] = np.float32(sum_x) / np.float32(same) + np.float32(0.5)
                position[total, 1] = np.float32(sum_y) / np.float32(same) + np.float32(0.5)
                position[total, 2] = np.float32(covered) * per_sample
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
        sorted_.x[k], sorted_.y[k], sorted_.weight[k] = (
            position[i, 0],
            position[i, 1],
            position[i, 2],
        )
    return sorted_, first_fragment
