"""Shadow maps for cast shadows and ambient occlusion.

A shadow map views a sphere around the head from 4 m away, so its rays are nearly parallel. It is
rasterised by the same code as the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg.geometry.rotations import cross
from trglab.synth.kernels import inlined, kernel
from trglab.synth.render.mesh import alpha_mask, pack_surfaces, smooth_normals, transform_points
from trglab.synth.render.surface import Material, Surface
from trglab.synth.render.zbuffer import (
    ALPHA_TEST,
    ALPHA_TO_COVERAGE,
    RasterCamera,
    project,
    rasterize,
)

LIGHT_DISTANCE_M = 4.0
SHADOW_RADIUS_M = 0.24
"""Radius of the sphere around the head's origin that receives and casts shadows."""

SHARP_MAP_SIZE, SOFT_MAP_SIZE = 256, 40
"""Side of the shadow map in texels for softness 0 and 1.

The filter is a few texels wide, so a coarse map gives a soft shadow."""

BIAS_M = 0.0015
BIAS_TEXELS = 0.9

AO_MAP_SIZE = 128
AO_BIAS_TEXELS = 1.2


def shadow_map_size(softness: float) -> int:
    """Return the side of the shadow map in texels for a light of this softness, 0 to 1."""
    # The square root: penumbras of lamps, whose softness is about 0.05, span several texels.
    share = math.sqrt(min(max(softness, 0.0), 1.0))
    return round(SHARP_MAP_SIZE * (SOFT_MAP_SIZE / SHARP_MAP_SIZE) ** share)


class ShadowMap(NamedTuple):
    """Depth buffer of the scene as seen from a light."""

    light_from_scene: NDArray[np.float32]
    """``(3, 3)`` rotation."""
    shift_m: NDArray[np.float32]
    """``(3,)`` translation."""
    focal: float
    """In texels; the principal point is the centre of the map."""
    texel_m: float
    """Side of a texel at the centre of the sphere."""
    inverse_depth: NDArray[np.float32]
    """``(size, size)``: 1 / depth along the light's axis, 0 for the background."""


def empty_shadow_map(
    direction: ArrayLike, centre_m: NDArray[np.float64], radius_m: float, size: int
) -> ShadowMap:
    """Return an empty map seen from ``centre_m + 4 m * direction`` (a unit vector)."""
    forward = -np.asarray(direction, np.float64)
    helper = np.eye(3)[int(np.argmin(np.abs(forward)))]
    right = cross(helper, forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, cross(forward, right), forward])
    shift = np.array([0.0, 0.0, LIGHT_DISTANCE_M]) - rotation @ centre_m
    focal = 0.5 * size * LIGHT_DISTANCE_M / radius_m
    return ShadowMap(
        rotation.astype(np.float32),
        shift.astype(np.float32),
        focal,
        2.0 * radius_m / size,
        np.zeros((size, size), np.float32),
    )


class ShadowCaster(NamedTuple):
    """A surface to be drawn into a shadow map."""

    numbers: NDArray[np.int32]
    """``(m,)``: triangles of the mesh."""
    one_sided: bool
    """Draw only triangles that face the light, which suffices for closed surfaces."""
    alpha: NDArray[np.uint8]
    """``(h, w)``: alpha mask of the texture."""
    cutout: bool
    limits: NDArray[np.float32]
    """Of :func:`alpha_limits`."""


def alpha_limits(material: Material) -> NDArray[np.float32]:
    """Return the limits of alpha that :func:`~trglab.synth.render.zbuffer.rasterize` needs."""
    return ALPHA_TO_COVERAGE if material.coverage else ALPHA_TEST


def draw_shadow_casters(
    shadow_map: ShadowMap,
    points: NDArray[np.float32],
    uv: NDArray[np.float32],
    triangles: NDArray[np.int32],
    casters: Sequence[ShadowCaster],
) -> None:
    """Rasterise casters, parts of the mesh over ``points (n, 3)``, into ``shadow_map``."""
    size = len(shadow_map.inverse_depth)
    points_in_light = np.empty_like(points)
    transform_points(points, shadow_map.light_from_scene, shadow_map.shift_m, points_in_light)
    raster_camera = RasterCamera(
        np.array([shadow_map.focal] * 2 + [0.5 * size] * 2), np.zeros(5), np.inf
    )
    screen = project(points_in_light, raster_camera)
    ids = np.empty((size, size), np.int32)
    for numbers, one_sided, alpha, cutout, limits in casters:
        rasterize(
            screen,
            triangles,
            numbers,
            one_sided,
            uv,
            alpha,
            cutout,
            limits,
            shadow_map.inverse_depth,
            ids,
        )


@inlined
def light_visibility(shadow_map, x, y, z):
    """Return the share of the light visible from a point, 0 to 1; 1 outside the map.

    Percentage-closer filtering over 4 x 4 texels. The caller offsets the point from its surface.
    """
    turn, shift, inverse_depth = (
        shadow_map.light_from_scene,
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
            if inverse_depth[np.uint64(top + i), np.uint64(left + j)] <= own:
                line += _pcf_weight(j, fx)
        lit += line * _pcf_weight(i, fy)
    return lit


@inlined
def _pcf_weight(offset, fraction):
    """Return the weight of a texel in a box of three texels that is shifted by ``fraction``."""
    weight = np.float32(1.0 / 3.0)
    if offset == -1:
        weight *= np.float32(1.0) - fraction
    elif offset == 2:
        weight *= fraction
    return weight


def ambient_occlusion(
    surfaces: Sequence[Surface], *, directions: int = 32
) -> list[NDArray[np.float32]]:
    """Return the cosine-weighted share of the environment visible from each vertex.

    Surfaces occlude each other, with holes taken into account; transparent ones occlude nothing.

    Parameters
    ----------
    surfaces
        In one common frame; ``Surface.frame`` is ignored.
    directions
        Number of shadow maps, evenly distributed over the sphere.

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
            alpha_limits(surface.material),
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
    visible = np.zeros(len(points), np.float32)
    total = np.zeros(len(points), np.float32)
    for direction in _fibonacci_directions(directions):
        shadow_map = empty_shadow_map(direction, centre, radius, AO_MAP_SIZE)
        draw_shadow_casters(shadow_map, points, uv, triangles, casters)
        _accumulate_visibility(
            shadow_map, direction.astype(np.float32), points, normals, visible, total
        )
    return np.divide(visible, total, out=np.ones_like(visible), where=total > 1e-6)


def _fibonacci_directions(count: int) -> NDArray[np.float64]:
    """Return ``(count, 3)`` unit vectors on a Fibonacci spiral."""
    i = np.arange(count) + 0.5
    y = 1.0 - 2.0 * i / count
    angle = np.pi * (1.0 + np.sqrt(5.0)) * i
    ring = np.sqrt(1.0 - y * y)
    return np.stack([ring * np.cos(angle), y, ring * np.sin(angle)], axis=-1)


@kernel
def _accumulate_visibility(shadow_map, direction, points, normals, visible, total):
    offset = np.float32(AO_BIAS_TEXELS * shadow_map.texel_m)
    for i in range(len(points)):
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        cosine = nx * direction[0] + ny * direction[1] + nz * direction[2]
        if cosine <= 0.0:
            continue
        x = points[i, 0] + offset * (nx + direction[0])
        y = points[i, 1] + offset * (ny + direction[1])
        z = points[i, 2] + offset * (nz + direction[2])
        total[i] += cosine
        visible[i] += cosine * light_visibility(shadow_map, x, y, z)
