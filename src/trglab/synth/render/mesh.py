"""Packing of surfaces into one mesh, vertex transforms and smooth normals."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trglab.synth.kernels import inlined, kernel
from trglab.synth.render.surface import Surface

WELD_COSINE = 0.2
"""Coincident vertices share a normal if the cosine between their own normals exceeds this."""

NO_ALPHA = np.full((1, 1), 255, np.uint8)
"""Alpha mask of textures without holes."""


class PackedMesh(NamedTuple):
    """Concatenated surfaces, each in its own frame."""

    vertices_m: NDArray[np.float32]
    """``(n, 3)``."""
    triangles: NDArray[np.int32]
    """``(m, 3)`` into ``vertices_m``."""
    uv: NDArray[np.float32]
    """``(n, 2)``."""
    occlusion: NDArray[np.float32]
    """``(n,)``."""
    first_vertex: NDArray[np.int32]
    """``(s + 1,)``: first vertex of each surface, then the number of vertices."""
    first_triangle: NDArray[np.int32]
    """``(s + 1,)``: likewise for triangles."""


def pack_surfaces(surfaces: Sequence[Surface]) -> PackedMesh:
    """Validate surfaces and concatenate them.

    Raises
    ------
    ValueError
        A surface is inconsistent; the message names it.
    """
    for surface in surfaces:
        _check_shapes(surface)
    first_vertex = np.cumsum([0, *(len(s.vertices_m) for s in surfaces)], dtype=np.int32)
    first_triangle = np.cumsum([0, *(len(s.triangles) for s in surfaces)], dtype=np.int32)
    vertices = np.empty((first_vertex[-1], 3), np.float32)
    uv = np.empty((first_vertex[-1], 2), np.float32)
    occlusion = np.ones(first_vertex[-1], np.float32)
    triangles = np.empty((first_triangle[-1], 3), np.int32)
    for i, surface in enumerate(surfaces):
        own = slice(first_vertex[i], first_vertex[i + 1])
        vertices[own] = surface.vertices_m
        uv[own] = surface.uv
        if surface.occlusion is not None:
            occlusion[own] = surface.occlusion
        np.add(
            surface.triangles,
            first_vertex[i],
            out=triangles[first_triangle[i] : first_triangle[i + 1]],
            casting="same_kind",
        )
    mesh = PackedMesh(vertices, triangles, uv, occlusion, first_vertex, first_triangle)
    if not _has_valid_values(mesh):
        for surface in surfaces:  # find the surface to name in the message
            _check_values(surface)
    return mesh


@kernel
def _has_valid_values(mesh):
    """Return whether numbers are finite and triangles refer to vertices of their own surface."""
    for i in range(len(mesh.vertices_m)):
        total = mesh.vertices_m[i, 0] + mesh.vertices_m[i, 1] + mesh.vertices_m[i, 2]
        if not np.isfinite(total + mesh.uv[i, 0] + mesh.uv[i, 1] + mesh.occlusion[i]):
            return False
    for s in range(len(mesh.first_vertex) - 1):
        start, stop = mesh.first_vertex[s], mesh.first_vertex[s + 1]
        for t in range(mesh.first_triangle[s], mesh.first_triangle[s + 1]):
            for corner in range(3):
                if not start <= mesh.triangles[t, corner] < stop:
                    return False
    return True


_masks: dict[int, tuple[weakref.ref[NDArray[np.uint8]], tuple[NDArray[np.uint8], bool]]] = {}
"""Alpha masks of read-only textures by the textures' ids, as long as these exist."""


def alpha_mask(texture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """Return the alpha ``(h, w)`` of a texture ``(h, w, 4)`` and whether it has holes.

    A read-only texture is examined once: those of a person serve for many images.
    """
    key = id(texture)
    if key in _masks and _masks[key][0]() is texture:
        return _masks[key][1]
    found = has_holes(texture)
    mask = np.ascontiguousarray(texture[..., 3]) if found else NO_ALPHA, found
    if not texture.flags.writeable:
        _masks[key] = weakref.ref(texture, lambda _: _masks.pop(key, None)), mask
    return mask


def has_holes(texture: NDArray[np.uint8]) -> bool:
    """Return whether any texel of a texture ``(h, w, 4)`` is not opaque."""
    # Compares 32-bit texels: textures that change with every image are large, too.
    return not _all_opaque(np.ascontiguousarray(texture).view("<u4")[..., 0])


@kernel
def _all_opaque(texels):
    for row in range(texels.shape[0]):
        common = np.uint32(0xFFFFFFFF)
        for column in range(texels.shape[1]):
            common &= texels[row, column]
        if common < np.uint32(0xFF000000):  # alpha is the highest byte
            return False
    return True


def _check_shapes(surface: Surface) -> None:
    """Raise ValueError if an array has the wrong shape or type."""
    count = len(surface.vertices_m)
    for name, array, shape, dtype in (
        ("vertices_m", surface.vertices_m, (count, 3), None),
        ("uv", surface.uv, (count, 2), None),
        ("occlusion", surface.occlusion, (count,), None),
        ("triangles", surface.triangles, (None, 3), np.dtype(np.int32)),
        ("texture", surface.texture, (None, None, 4), np.dtype(np.uint8)),
        ("height", surface.height, (None, None), np.dtype(np.uint8)),
    ):
        if array is None:
            continue
        fits = array.ndim == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
        )
        is_empty_image = name in ("texture", "height") and not array.size
        if not fits or is_empty_image or dtype not in (None, array.dtype):
            wanted = ", ".join("n" if size is None else str(size) for size in shape)
            raise ValueError(
                f"surface {surface.name!r} {name}: expected shape ({wanted})"
                f"{f' of {dtype}' if dtype else ''}, got {array.shape} of {array.dtype}"
            )


def _check_values(surface: Surface) -> None:
    """Raise ValueError if a number is not finite or a triangle refers to a missing vertex."""
    name, triangles = f"surface {surface.name!r}", surface.triangles
    count = len(surface.vertices_m)
    finite_array(f"{name} vertices_m", surface.vertices_m, (count, 3), np.float32)
    finite_array(f"{name} uv", surface.uv, (count, 2), np.float32)
    if surface.occlusion is not None:
        finite_array(f"{name} occlusion", surface.occlusion, (count,), np.float32)
    if triangles.size and not (triangles.min() >= 0 and triangles.max() < count):
        raise ValueError(
            f"{name} triangles: expected vertex numbers from 0 to {count - 1}, "
            f"got {triangles.min()} to {triangles.max()}"
        )


@kernel
def transform_points(vertices, rotation, translation, points):
    """Write ``rotation @ v + translation`` of all vertices ``(n, 3)`` to ``points``."""
    r00, r01, r02 = rotation[0, 0], rotation[0, 1], rotation[0, 2]
    r10, r11, r12 = rotation[1, 0], rotation[1, 1], rotation[1, 2]
    r20, r21, r22 = rotation[2, 0], rotation[2, 1], rotation[2, 2]
    tx, ty, tz = translation[0], translation[1], translation[2]
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        points[i, 0] = r00 * x + r01 * y + r02 * z + tx
        points[i, 1] = r10 * x + r11 * y + r12 * z + ty
        points[i, 2] = r20 * x + r21 * y + r22 * z + tz


@inlined
def edge_vector(points, i, j):
    """Return the vector from point i to point j as a tuple."""
    return points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]


@kernel
def smooth_normals(points, triangles):
    """Return unit normals ``(n, 3)`` float32, area-weighted over the adjacent triangles.

    Coincident vertices (both sides of a texture seam) share a normal, unless their own normals
    differ strongly (both faces of a sheet). Vertices without triangles get (0, 0, 0).

    Parameters
    ----------
    points, triangles
        ``(n, 3)`` float32 and ``(m, 3)`` int32, C-contiguous; not validated.
    """
    own = np.zeros(points.shape, np.float32)
    for t in range(len(triangles)):
        i0, i1, i2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = edge_vector(points, i0, i1)
        bx, by, bz = edge_vector(points, i0, i2)
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for i in (i0, i1, i2):
            own[i, 0] += nx
            own[i, 1] += ny
            own[i, 2] += nz
    shared = own.copy()
    representative = _first_coincident_vertex(points)
    leader = np.arange(len(points))
    for i in range(len(points)):
        if _squared_length(own[i]) > _squared_length(own[leader[representative[i]]]):
            leader[representative[i]] = i
    representative = leader[representative]
    for i in range(len(points)):
        j = representative[i]
        if j != i and _normals_agree(own[i], own[j]):
            for k in range(3):
                shared[j, k] += own[i, k]
    for i in range(len(points)):
        j = representative[i]
        if j != i and _normals_agree(own[i], own[j]):
            shared[i] = shared[j]
    for i in range(len(points)):
        x, y, z = shared[i, 0], shared[i, 1], shared[i, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0.0:
            scale = np.float32(1.0) / length
            shared[i, 0], shared[i, 1], shared[i, 2] = x * scale, y * scale, z * scale
    return shared


@inlined
def _squared_length(a):
    return a[0] * a[0] + a[1] * a[1] + a[2] * a[2]


@kernel
def _normals_agree(a, b):
    """Return whether two normals may be merged; a zero normal merges with any."""
    squares = _squared_length(a) * _squared_length(b)
    dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return squares == 0.0 or (dot > 0.0 and dot * dot > WELD_COSINE**2 * squares)


@kernel
def _first_coincident_vertex(points):
    """Return the first vertex with the same coordinates, ``(n,)``; hashing with open addressing."""
    bits = points.view(np.uint32)
    size = 16
    while size < 2 * len(points):
        size *= 2
    table = np.full(size, -1, np.int32)
    first = np.empty(len(points), np.int32)
    for i in range(len(points)):
        key = bits[i, 0] * np.uint64(73856093)
        key ^= bits[i, 1] * np.uint64(19349669)
        key ^= bits[i, 2] * np.uint64(83492791)
        slot = (key ^ (key >> np.uint64(17))) & np.uint64(size - 1)
        while True:
            j = table[slot]
            if j < 0:
                table[slot] = i
                first[i] = i
                break
            if (
                points[i, 0] == points[j, 0]
                and points[i, 1] == points[j, 1]
                and points[i, 2] == points[j, 2]
            ):
                first[i] = j
                break
            slot = (slot + np.uint64(1)) & np.uint64(size - 1)
    return first
