"""Interpolation of vertex attributes, texture filtering, mipmaps and bump mapping."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trglab.synth.kernels import inlined, kernel
from trglab.synth.render.mesh import edge_vector
from trglab.synth.render.surface import Surface

MAX_TAPS = 4
"""Texture samples per pixel along each axis where texels are smaller than pixels."""

_SRGB = np.arange(256) / 255.0
SRGB_TO_LINEAR: NDArray[np.float32] = np.where(
    _SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4
).astype(np.float32)
"""Linear value of each sRGB byte (IEC 61966-2-1)."""

FOOTPRINT_SAMPLES = 48
"""Pixels of a surface at which the texels per pixel are measured."""

NO_HEIGHT: NDArray[np.uint8] = np.zeros((1, 1), np.uint8)

SMALLEST_MIPMAPPED = 128
"""Textures with a shorter side get no mipmaps."""

LINEAR_STEPS = 4096
_STEPS = np.arange(LINEAR_STEPS + 1) / LINEAR_STEPS
LINEAR_TO_SRGB: NDArray[np.uint8] = np.rint(
    255.0 * np.where(_STEPS <= 0.0031308, 12.92 * _STEPS, 1.055 * _STEPS ** (1 / 2.4) - 0.055)
).astype(np.uint8)
"""sRGB byte of each step of linear light."""


class VertexBuffers(NamedTuple):
    """Vertex attributes and triangles of the scene."""

    screen: NDArray[np.float32]
    """``(n, 3)``: x, y in samples and inverse depth."""
    points: NDArray[np.float32]
    """``(n, 3)`` in the camera frame, metres."""
    normals: NDArray[np.float32]
    """``(n, 3)``."""
    uv: NDArray[np.float32]
    """``(n, 2)``."""
    occlusion: NDArray[np.float32]
    """``(n,)``."""
    triangles: NDArray[np.int32]
    """``(m, 3)``."""


class ShadingPoint(NamedTuple):
    """A point to be shaded: position, normal, texture coordinates and their screen derivatives."""

    x: float
    y: float
    z: float
    nx: float
    ny: float
    nz: float
    u: float
    v: float
    occlusion: float
    u_per_x: float
    v_per_x: float
    u_per_y: float
    v_per_y: float


def height_map(surface: Surface) -> NDArray[np.uint8]:
    """Return the height map of a surface, or a flat one."""
    if surface.height is None:
        return NO_HEIGHT
    return np.ascontiguousarray(surface.height)


def mipmaps(texture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    """Return a texture ``(h, w, 4)`` at half size, quarter size and so on."""
    levels: list[NDArray[np.uint8]] = []
    while min(texture.shape[:2]) >= SMALLEST_MIPMAPPED:
        texture = _downsample(np.ascontiguousarray(texture))
        levels.append(texture)
    return tuple(levels)


@kernel
def _downsample(texture):
    """Average 2 x 2 texels in linear light; an odd last row or column is dropped."""
    rows, columns = texture.shape[0] // 2, texture.shape[1] // 2
    half = np.empty((rows, columns, 4), np.uint8)
    to_step = np.float32(0.25 * LINEAR_STEPS)
    for row in range(rows):
        for column in range(columns):
            y, x = 2 * row, 2 * column
            for c in range(3):
                upper = SRGB_TO_LINEAR[texture[y, x, c]] + SRGB_TO_LINEAR[texture[y, x + 1, c]]
                lower = (
                    SRGB_TO_LINEAR[texture[y + 1, x, c]] + SRGB_TO_LINEAR[texture[y + 1, x + 1, c]]
                )
                half[row, column, c] = LINEAR_TO_SRGB[
                    int((upper + lower) * to_step + np.float32(0.5))
                ]
            alpha = 2  # for rounding
            for dy in range(2):
                alpha += texture[y + dy, x, 3] + np.int64(texture[y + dy, x + 1, 3])
            half[row, column, 3] = alpha // 4
    return half


@kernel
def texels_per_pixel(fragments, start, stop, buffers, pixel_samples, texture):
    """Return the lower quartile of the texels per pixel, along the denser axis of each pixel."""
    height, width = np.float32(texture.shape[0]), np.float32(texture.shape[1])
    size = np.float32(pixel_samples)
    spans = np.empty(min(stop - start, FOOTPRINT_SAMPLES), np.float32)
    for i in range(len(spans)):
        k = start + i * (stop - start) // len(spans)
        point = interpolate(buffers, fragments.triangle[k], fragments.x[k], fragments.y[k])
        across = np.hypot(point.u_per_x * width, point.v_per_x * height)
        down = np.hypot(point.u_per_y * width, point.v_per_y * height)
        spans[i] = min(across, down) * size
    return np.sort(spans)[len(spans) // 4]


@inlined
def _corners(triangles, t):
    """Return the vertices of triangle t as unsigned numbers, which save the test for below 0."""
    t = np.uint64(t)
    return np.uint64(triangles[t, 0]), np.uint64(triangles[t, 1]), np.uint64(triangles[t, 2])


@inlined
def interpolate(buffers, t, x, y):
    """Return the :class:`ShadingPoint` of triangle t at sample position (x, y)."""
    i0, i1, i2 = _corners(buffers.triangles, t)
    screen, points, normals, uv = buffers.screen, buffers.points, buffers.normals, buffers.uv
    x0, y0 = screen[i0, 0], screen[i0, 1]
    x1, y1 = screen[i1, 0] - x0, screen[i1, 1] - y0
    x2, y2 = screen[i2, 0] - x0, screen[i2, 1] - y0
    per_area = np.float32(1.0) / (x1 * y2 - x2 * y1)
    b1x, b1y, b2x, b2y = y2 * per_area, -x2 * per_area, -y1 * per_area, x1 * per_area
    dx, dy = x - x0, y - y0
    b1, b2 = dx * b1x + dy * b1y, dx * b2x + dy * b2y
    n0, n1, n2 = screen[i0, 2], screen[i1, 2], screen[i2, 2]
    z = np.float32(1.0) / (n0 + b1 * (n1 - n0) + b2 * (n2 - n0))
    w1, w2 = b1 * n1 * z, b2 * n2 * z
    w0 = np.float32(1.0) - w1 - w2
    nx = w0 * normals[i0, 0] + w1 * normals[i1, 0] + w2 * normals[i2, 0]
    ny = w0 * normals[i0, 1] + w1 * normals[i1, 1] + w2 * normals[i2, 1]
    nz = w0 * normals[i0, 2] + w1 * normals[i1, 2] + w2 * normals[i2, 2]
    scale = np.float32(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
    u = w0 * uv[i0, 0] + w1 * uv[i1, 0] + w2 * uv[i2, 0]
    v = w0 * uv[i0, 1] + w1 * uv[i1, 1] + w2 * uv[i2, 1]
    u0, u1, u2 = n0 * (uv[i0, 0] - u), n1 * (uv[i1, 0] - u), n2 * (uv[i2, 0] - u)
    v0, v1, v2 = n0 * (uv[i0, 1] - v), n1 * (uv[i1, 1] - v), n2 * (uv[i2, 1] - v)
    b0x, b0y = -b1x - b2x, -b1y - b2y
    return ShadingPoint(
        w0 * points[i0, 0] + w1 * points[i1, 0] + w2 * points[i2, 0],
        w0 * points[i0, 1] + w1 * points[i1, 1] + w2 * points[i2, 1],
        w0 * points[i0, 2] + w1 * points[i1, 2] + w2 * points[i2, 2],
        nx * scale,
        ny * scale,
        nz * scale,
        u,
        v,
        w0 * buffers.occlusion[i0] + w1 * buffers.occlusion[i1] + w2 * buffers.occlusion[i2],
        z * (b0x * u0 + b1x * u1 + b2x * u2),
        z * (b0x * v0 + b1x * v1 + b2x * v2),
        z * (b0y * u0 + b1y * u1 + b2y * u2),
        z * (b0y * v0 + b1y * v1 + b2y * v2),
    )


@inlined
def sample_texture(texture, point, pixel_samples):
    """Return linear red, green, blue and alpha, averaged over the pixel's footprint."""
    height, width = np.float32(texture.shape[0]), np.float32(texture.shape[1])
    size = np.float32(pixel_samples)
    ux, vx = point.u_per_x * size * width, point.v_per_x * size * height
    uy, vy = point.u_per_y * size * width, point.v_per_y * size * height
    x, y = point.u * width - np.float32(0.5), point.v * height - np.float32(0.5)
    across = min(max(int(np.sqrt(ux * ux + vx * vx) + np.float32(0.5)), 1), MAX_TAPS)
    down = min(max(int(np.sqrt(uy * uy + vy * vy) + np.float32(0.5)), 1), MAX_TAPS)
    if across == 1 and down == 1:
        return _bilinear(texture, x, y)
    red, green, blue, alpha = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    last_x, last_y = texture.shape[1] - 1, texture.shape[0] - 1
    per_across, per_down = np.float32(1.0 / across), np.float32(1.0 / down)
    for i in range(down):
        b = (np.float32(i) + np.float32(0.5)) * per_down - np.float32(0.5)
        for j in range(across):
            a = (np.float32(j) + np.float32(0.5)) * per_across - np.float32(0.5)
            column = int(x + a * ux + b * uy + np.float32(0.5))
            row = int(y + a * vx + b * vy + np.float32(0.5))
            row = np.uint64(min(max(row, 0), last_y))
            column = np.uint64(min(max(column, 0), last_x))
            red += SRGB_TO_LINEAR[texture[row, column, 0]]
            green += SRGB_TO_LINEAR[texture[row, column, 1]]
            blue += SRGB_TO_LINEAR[texture[row, column, 2]]
            alpha += np.float32(texture[row, column, 3])
    share = per_across * per_down
    return red * share, green * share, blue * share, alpha * share * np.float32(1.0 / 255.0)


@inlined
def _bilinear(texture, x, y):
    last_x, last_y = texture.shape[1] - 1, texture.shape[0] - 1
    x = min(max(x, np.float32(0.0)), np.float32(last_x))
    y = min(max(y, np.float32(0.0)), np.float32(last_y))
    left, top = np.uint64(x), np.uint64(y)
    right = min(left + np.uint64(1), np.uint64(last_x))
    bottom = min(top + np.uint64(1), np.uint64(last_y))
    fx, fy = x - np.float32(left), y - np.float32(top)
    gx, gy = np.float32(1.0) - fx, np.float32(1.0) - fy
    a, b, c, d = gx * gy, fx * gy, gx * fy, fx * fy
    alpha = (
        a * np.float32(texture[top, left, 3])
        + b * np.float32(texture[top, right, 3])
        + c * np.float32(texture[bottom, left, 3])
        + d * np.float32(texture[bottom, right, 3])
    )
    return (
        _mix(texture, 0, left, top, right, bottom, a, b, c, d),
        _mix(texture, 1, left, top, right, bottom, a, b, c, d),
        _mix(texture, 2, left, top, right, bottom, a, b, c, d),
        alpha * np.float32(1.0 / 255.0),
    )


@inlined
def _mix(texture, channel, left, top, right, bottom, a, b, c, d):
    upper = (
        a * SRGB_TO_LINEAR[texture[top, left, channel]]
        + b * SRGB_TO_LINEAR[texture[top, right, channel]]
    )
    lower = (
        c * SRGB_TO_LINEAR[texture[bottom, left, channel]]
        + d * SRGB_TO_LINEAR[texture[bottom, right, channel]]
    )
    return upper + lower


@inlined
def tangent_frame(buffers, t):
    """Return the gradients of u and of v on triangle t, in 1 / m, and the unit vector along v."""
    i0, i1, i2 = _corners(buffers.triangles, t)
    points, uv = buffers.points, buffers.uv
    ax, ay, az = edge_vector(points, i0, i1)
    bx, by, bz = edge_vector(points, i0, i2)
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    per_area = np.float32(1.0) / (nx * nx + ny * ny + nz * nz + np.float32(1e-24))
    # b x n and n x a are the gradients of the two barycentric coordinates, times the squared area.
    px, py, pz = by * nz - bz * ny, bz * nx - bx * nz, bx * ny - by * nx
    qx, qy, qz = ny * az - nz * ay, nz * ax - nx * az, nx * ay - ny * ax
    u1, u2 = (uv[i1, 0] - uv[i0, 0]) * per_area, (uv[i2, 0] - uv[i0, 0]) * per_area
    v1, v2 = (uv[i1, 1] - uv[i0, 1]) * per_area, (uv[i2, 1] - uv[i0, 1]) * per_area
    sign = np.float32(1.0) if u1 * v2 - u2 * v1 >= 0.0 else np.float32(-1.0)
    sx, sy, sz = (bx * u1 - ax * u2) * sign, (by * u1 - ay * u2) * sign, (bz * u1 - az * u2) * sign
    scale = np.float32(1.0) / np.sqrt(sx * sx + sy * sy + sz * sz + np.float32(1e-24))
    return (
        (u1 * px + u2 * qx, u1 * py + u2 * qy, u1 * pz + u2 * qz),
        (v1 * px + v2 * qx, v1 * py + v2 * qy, v1 * pz + v2 * qz),
        (sx * scale, sy * scale, sz * scale),
    )


@inlined
def bump_normal(height, point, pixel_samples, bump_m, grad_u, grad_v):
    """Return the normal perturbed by the height map (surface gradients, Mikkelsen 2010)."""
    rows, columns = np.float32(height.shape[0]), np.float32(height.shape[1])
    size = np.float32(0.5 * pixel_samples)
    reach_u = size * (abs(point.u_per_x) + abs(point.u_per_y)) * columns
    reach_v = size * (abs(point.v_per_x) + abs(point.v_per_y)) * rows
    reach_u, reach_v = max(reach_u, np.float32(0.5)), max(reach_v, np.float32(0.5))
    x, y = point.u * columns - np.float32(0.5), point.v * rows - np.float32(0.5)
    step = np.float32(bump_m / 510.0)
    slope_u = _height(height, x + reach_u, y) - _height(height, x - reach_u, y)
    slope_v = _height(height, x, y + reach_v) - _height(height, x, y - reach_v)
    slope_u *= step * columns / reach_u
    slope_v *= step * rows / reach_v
    gx = slope_u * grad_u[0] + slope_v * grad_v[0]
    gy = slope_u * grad_u[1] + slope_v * grad_v[1]
    gz = slope_u * grad_u[2] + slope_v * grad_v[2]
    steep = gx * gx + gy * gy + gz * gz
    if steep > 1.0:
        limit = np.float32(1.0) / np.sqrt(steep)
        gx, gy, gz = gx * limit, gy * limit, gz * limit
    nx, ny, nz = point.nx - gx, point.ny - gy, point.nz - gz
    scale = np.float32(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
    return nx * scale, ny * scale, nz * scale


@inlined
def _height(height, x, y):
    """Return the bilinear height, 0 to 255."""
    last_x, last_y = height.shape[1] - 1, height.shape[0] - 1
    x = min(max(x, np.float32(0.0)), np.float32(last_x))
    y = min(max(y, np.float32(0.0)), np.float32(last_y))
    left, top = np.uint64(x), np.uint64(y)
    right = min(left + np.uint64(1), np.uint64(last_x))
    bottom = min(top + np.uint64(1), np.uint64(last_y))
    fx, fy = x - np.float32(left), y - np.float32(top)
    gx = np.float32(1.0) - fx
    upper = np.float32(height[top, left]) * gx + np.float32(height[top, right]) * fx
    lower = np.float32(height[bottom, left]) * gx + np.float32(height[bottom, right]) * fx
    return upper * (np.float32(1.0) - fy) + lower * fy
