"""What light cannot reach: cast shadows and ambient occlusion, from depth maps.

A depth map looks at a ball around the head from 4 m away, so its rays are nearly parallel, and
the same code draws it as draws the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trglab.synth.kernels import inlined, kernel
from trglab.synth.render.mesh import alpha_mask, pack_surfaces, smooth_normals, transform_points
from trglab.synth.render.surface import Surface
from trglab.synth.render.zbuffer import RasterCamera, project, rasterize

LAMP_DISTANCE_M = 4.0
SHADOW_RADIUS_M = 0.24
"""Radius of the ball around the head's origin that receives and casts shadows."""

SHARP_MAP_SIZE, SOFT_MAP_SIZE = 256, 40
"""Side of the shadow map, in texels, for a light of softness 0 and from 1: the filter is a few
texels wide, so a coarse map is a soft shadow."""

BIAS_M = 0.0015
BIAS_TEXELS = 0.9

AO_MAP_SIZE = 128
AO_BIAS_TEXELS = 1.2


class ShadowMap(NamedTuple):
    """The scene seen from a lamp."""

    lamp_from_scene: NDArray[np.float32]
    """``(3, 3)`` rotation."""
    shift_m: NDArray[np.float32]
    """``(3,)`` translation that goes with it."""
    focal: float
    """In texels; the map's middle is where the ball's centre is seen."""
    texel_m: float
    """Side of a texel at the ball."""
    inverse_depth: NDArray[np.float32]
    """``(size, size)``, 1 / distance along the lamp's axis, 0 for nothing."""


def empty_shadow_map(
    direction: ArrayLike, centre_m: NDArray[np.float64], radius_m: float, size: int
) -> ShadowMap:
    """Return a map without casters, seen from ``centre_m + direction * 4 m`` (unit direction)."""
    forward = -np.asarray(direction, np.float64)
    helper = np.eye(3)[int(np.argmin(np.abs(forward)))]
    right = np.cross(helper, forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    shift = np.array([0.0, 0.0, LAMP_DISTANCE_M]) - rotation @ centre_m
    focal = 0.5 * size * LAMP_DISTANCE_M / radius_m
    return ShadowMap(
        rotation.astype(np.float32),
        shift.astype(np.float32),
        focal,
        2.0 * radius_m / size,
        np.zeros((size, size), np.float32),
    )


class ShadowCaster(NamedTuple):
    """One surface's part in a depth map."""

    numbers: NDArray[np.int32]
    """``(m,)``: which triangles of the mesh."""
    one_sided: bool
    """Only what faces the lamp is drawn; what lies behind that is no nearer in a closed surface."""
    alpha: NDArray[np.uint8]
    """``(h, w)``: where the texture has holes, if it has any."""
    cutout: bool


def draw_shadow_casters(
    shadow_map: ShadowMap,
    points: NDArray[np.float32],
    uv: NDArray[np.float32],
    triangles: NDArray[np.int32],
    casters: Sequence[ShadowCaster],
) -> None:
    """Draw casters, parts of the mesh of ``points (n, 3)``, into ``shadow_map``."""
    size = len(shadow_map.inverse_depth)
    seen = np.empty_like(points)
    transform_points(points, shadow_map.lamp_from_scene, shadow_map.shift_m, seen)
    raster_camera = RasterCamera(
        np.array([shadow_map.focal] * 2 + [0.5 * size] * 2), np.zeros(5), np.inf
    )
    screen = project(seen, raster_camera)
    ids = np.empty((size, size), np.int32)
    for numbers, one_sided, alpha, cutout in casters:
        rasterize(
            screen, triangles, numbers, one_sided, uv, alpha, cutout, shadow_map.inverse_depth, ids
        )


@inlined
def light_visibility(shadow_map, x, y, z):
    """Return the share of the lamp, 0 to 1, that the point sees; 1 outside the map.

    Compares a 4 x 4 neighbourhood with smooth weights (percentage-closer filtering). The caller
    moves the point off its surface first.
    """
    turn, shift, inverse_depth = (
        shadow_map.lamp_from_scene,
        shadow_map.shift_m,
        shadow_map.inverse_depth,
    )
    size = len(inverse_depth)
    lx = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z + shift[0]
    ly = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z + shift[1]
    lz = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z + shift[2]
    if lz < 0.5:
        return np.float32(1.0)
    own = np.float32(1.0) / lz
    column = np.float32(shadow_map.focal) * lx * own + np.float32(0.5 * size - 0.5)
    row = np.float32(shadow_map.focal) * ly * own + np.float32(0.5 * size - 0.5)
    left, top = int(np.floor(column)), int(np.floor(row))
    if left < 1 or top < 1 or left > size - 3 or top > size - 3:
        return np.float32(1.0)
    fx, fy = column - np.float32(left), row - np.float32(top)
    lit = np.float32(0.0)
    for i in range(-1, 3):
        line = np.float32(0.0)
        for j in range(-1, 3):
            if inverse_depth[top + i, left + j] <= own:
                line += _pcf_weight(j, fx)
        lit += line * _pcf_weight(i, fy)
    return lit


@inlined
def _pcf_weight(offset, fraction):
    """Weight of a tap in a box of three texels that slides with ``fraction``."""
    weight = np.float32(1.0 / 3.0)
    if offset == -1:
        weight *= np.float32(1.0) - fraction
    elif offset == 2:
        weight *= fraction
    return weight


def ambient_occlusion(
    surfaces: Sequence[Surface], *, directions: int = 32
) -> list[NDArray[np.float32]]:
    """Return the cosine-weighted share of the sky that each vertex of each surface sees.

    Surfaces hide each other, hair through its holes; blended ones (lenses) hide nothing.

    Parameters
    ----------
    surfaces
        All in one frame, whatever their ``frame`` says.
    directions
        How many depth maps, spread evenly over the sphere.

    Returns
    -------
    list
        ``(n_i,)`` float32 of each surface, 0 to 1.
    """
    mesh = pack_surfaces(surfaces)
    casters = [
        ShadowCaster(
            np.arange(mesh.first_triangle[i], mesh.first_triangle[i + 1], dtype=np.int32),
            not surface.material.two_sided,
            *alpha_mask(surface.texture),
        )
        for i, surface in enumerate(surfaces)
        if not surface.material.blend
    ]
    normals = smooth_normals(mesh.vertices_m, mesh.triangles)
    shares = _vertex_visibility(
        mesh.vertices_m, normals, mesh.uv, mesh.triangles, casters, directions
    )
    return np.split(shares, mesh.first_vertex[1:-1])


def _vertex_visibility(
    points: NDArray[np.float32],
    normals: NDArray[np.float32],
    uv: NDArray[np.float32],
    triangles: NDArray[np.int32],
    casters: Sequence[ShadowCaster],
    directions: int,
) -> NDArray[np.float32]:
    if not len(points):
        return np.zeros(0, np.float32)
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    centre, radius = (low + high) / 2.0, 0.5 * float(np.linalg.norm(high - low)) + 1e-4
    seen = np.zeros(len(points), np.float32)
    whole = np.zeros(len(points), np.float32)
    for direction in _fibonacci_directions(directions):
        sky = empty_shadow_map(direction, centre, radius, AO_MAP_SIZE)
        draw_shadow_casters(sky, points, uv, triangles, casters)
        _accumulate_visibility(sky, direction.astype(np.float32), points, normals, seen, whole)
    return np.divide(seen, whole, out=np.ones_like(seen), where=whole > 1e-6)


def _fibonacci_directions(count: int) -> NDArray[np.float64]:
    """Return ``(count, 3)`` unit vectors on a Fibonacci spiral."""
    i = np.arange(count) + 0.5
    y = 1.0 - 2.0 * i / count
    angle = np.pi * (1.0 + np.sqrt(5.0)) * i
    ring = np.sqrt(1.0 - y * y)
    return np.stack([ring * np.cos(angle), y, ring * np.sin(angle)], axis=-1)


@kernel
def _accumulate_visibility(sky, direction, points, normals, seen, whole):
    offset = np.float32(AO_BIAS_TEXELS * sky.texel_m)
    for i in range(len(points)):
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        cosine = nx * direction[0] + ny * direction[1] + nz * direction[2]
        if cosine <= 0.0:
            continue
        x = points[i, 0] + offset * (nx + direction[0])
        y = points[i, 1] + offset * (ny + direction[1])
        z = points[i, 2] + offset * (nz + direction[2])
        whole[i] += cosine
        seen[i] += cosine * light_visibility(sky, x, y, z)
