"""Quadric-error decimation that keeps a subset of a mesh's vertices (Garland and Heckbert 1997).

Blend shapes, texture coordinates and landmarks belong to vertices, so decimation must keep a subset
of the vertices. Half-edge collapses are done in rounds: each round computes the cost of all edges
and collapses the cheapest ones that do not touch each other. It differs from the classic algorithm
in three ways:

* several poses of one mesh share the collapses, which preserves detail that only an open mouth or a
  closed eye shows;
* a share of the cost, ``evenness``, is the spread of the surface that a vertex represents, which
  avoids long thin triangles;
* borders and texture seams keep their course.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ROUND_SHARE = 0.06
"""Share of vertices that one round may remove: more is faster, less is closer to greedy."""

MIN_NORMAL_COSINE = 0.2
MIN_SHAPE = 0.12
"""Smallest 4 sqrt(3) area / (sum of squared sides) of a new triangle (1: equilateral)."""


@dataclass(frozen=True, slots=True)
class DecimatedMesh:
    """Remaining ``triangles`` and texture ``corners`` ``(m, 3)``, in the original numbering."""

    triangles: Ints
    corners: Ints


@dataclass(frozen=True, slots=True)
class _Edges:
    """Unique edges: ends ``(k, 2)``, number of adjacent triangles, whether it is a texture seam."""

    ends: Ints
    count: Ints
    seam: NDArray[np.bool_]


def decimate(
    poses_m: ArrayLike,
    triangles: ArrayLike,
    target: int,
    *,
    corners: ArrayLike | None = None,
    pinned: ArrayLike = (),
    weight: ArrayLike | None = None,
    rail: ArrayLike | None = None,
    copies: ArrayLike | None = None,
    evenness: float = 0.02,
) -> DecimatedMesh:
    """Collapse edges until exactly ``target`` vertices are in use; smaller meshes stay unchanged.

    Parameters
    ----------
    poses_m
        ``(p, n, 3)`` or ``(n, 3)``: vertices in one or more poses; the first is tested for flipped
        triangles.
    triangles
        ``(m, 3)``.
    corners
        ``(m, 3)``: texture vertex of each triangle corner; an edge whose triangles disagree is a
        seam. None: no seams.
    pinned
        Vertices to keep.
    weight
        ``(n,)``: factor of the error around a vertex. None: 1.
    rail
        ``(n,)`` bool: vertices that may only collapse onto each other (those on a mirror plane).
    copies
        ``(n,)``: how often a vertex counts towards ``target`` (2 for those of a half mesh that
        will be mirrored). None: once.
    evenness
        Weight of the squared distance from the triangles' centres, against that from their planes.

    Raises
    ------
    ValueError
        ``target`` cannot be reached.
    """
    poses = np.asarray(poses_m, dtype=np.float64)
    poses = poses[None] if poses.ndim == 2 else poses
    tri = finite_array("triangles", triangles, (None, 3)).astype(np.int64)
    cor = tri if corners is None else finite_array("corners", corners, (None, 3)).astype(np.int64)
    count = poses.shape[1]
    fixed = np.zeros(count, dtype=bool)
    fixed[np.asarray(pinned, dtype=np.int64)] = True
    on_rail = np.zeros(count, dtype=bool) if rail is None else np.asarray(rail, dtype=bool)
    times = np.ones(count, dtype=np.int64) if copies is None else np.asarray(copies, dtype=np.int64)
    scale = np.ones(count) if weight is None else np.asarray(weight, dtype=np.float64)
    poses = poses - poses.mean(1, keepdims=True)
    quadrics = _quadrics(poses, tri, _edges(tri, cor), scale, evenness)
    tri, cor = tri.copy(), cor.copy()
    while (surplus := int(times[np.unique(tri)].sum()) - target) > 0:
        candidates = _candidates(poses, quadrics, tri, cor, fixed, on_rail)
        mesh = _Round(poses[0], tri, cor)
        limit = max(1, int(ROUND_SHARE * len(mesh.used)))
        removed = 0
        for u, v in candidates:
            if times[u] <= surplus and mesh.collapse(u, v):
                quadrics[:, v] += quadrics[:, u]
                surplus -= int(times[u])
                removed += 1
                if surplus == 0 or removed == limit:
                    break
        if not removed:
            break
        tri, cor = mesh.triangles_left()
    if surplus > 0:
        raise ValueError(
            f"decimation: expected to reach {target} vertices, {surplus} more could not be removed"
        )
    return DecimatedMesh(tri, cor)


def _edges(tri: Ints, cor: Ints) -> _Edges:
    """Return the unique edges of a mesh."""
    pairs = tri[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    textured = cor[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    swap = pairs[:, 0] > pairs[:, 1]
    pairs[swap], textured[swap] = pairs[swap, ::-1], textured[swap, ::-1]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs, textured = pairs[order], textured[order]
    first = np.ones(len(pairs), dtype=bool)
    first[1:] = (pairs[1:] != pairs[:-1]).any(1)
    start = np.flatnonzero(first)
    differs = np.zeros(len(pairs), dtype=np.int64)
    differs[1:] = ~first[1:] & (textured[1:] != textured[:-1]).any(1)
    return _Edges(
        pairs[start],
        np.diff(np.append(start, len(pairs))),
        np.add.reduceat(differs, start) > 0,
    )


def _quadrics(poses: Floats, tri: Ints, edges: _Edges, weight: Floats, evenness: float) -> Floats:
    """Return the error quadric of each vertex, ``(p, n, 10)``: xx xy xz yy yz zz, x y z, 1.

    Each triangle adds, with a third of its area, to each of its corners the squared distance from
    its plane and ``evenness`` times that from its centre. Each border or seam edge adds, with its
    squared length, the squared distance from its line.
    """
    result = np.zeros((*poses.shape[:2], 10))
    feature = (edges.count == 1) | edges.seam
    ends = edges.ends[feature]
    for pose, out in zip(poses, result, strict=True):
        a, b, c = (pose[tri[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        double_area = np.linalg.norm(normal, axis=1)
        normal /= np.maximum(double_area, 1e-18)[:, None]
        share = double_area / 6.0
        form = normal[:, :, None] * normal[:, None, :] + evenness * np.eye(3)
        packed = _pack(form * share[:, None, None], (a + b + c) / 3.0)
        for k in range(3):
            np.add.at(out, tri[:, k], packed)
        start, stop = pose[ends[:, 0]], pose[ends[:, 1]]
        along = stop - start
        squared = (along * along).sum(1)
        direction = along / np.sqrt(np.maximum(squared, 1e-24))[:, None]
        across = np.eye(3) - direction[:, :, None] * direction[:, None, :]
        packed = _pack(across * squared[:, None, None], start)
        np.add.at(out, ends[:, 0], packed)
        np.add.at(out, ends[:, 1], packed)
    return result * weight[None, :, None]


def _pack(form: Floats, centre: Floats) -> Floats:
    """Return the coefficients ``(k, 10)`` of ``(x - centre).T @ form @ (x - centre)``."""
    linear = -(form @ centre[:, :, None])[:, :, 0]
    constant = -(linear * centre).sum(1)
    f = form
    return np.column_stack(
        [f[:, 0, 0], f[:, 0, 1], f[:, 0, 2], f[:, 1, 1], f[:, 1, 2], f[:, 2, 2], linear, constant]
    )


def _evaluate(quadrics: Floats, points: Floats) -> Floats:
    """Return the error of quadrics ``(p, k, 10)`` at points ``(p, k, 3)``, summed over poses."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    q = np.moveaxis(quadrics, -1, 0)
    error = q[0] * x * x + q[3] * y * y + q[5] * z * z + q[9]
    error += 2.0 * (q[1] * x * y + q[2] * x * z + q[4] * y * z)
    error += 2.0 * (q[6] * x + q[7] * y + q[8] * z)
    total: Floats = error.sum(0)
    return total


def _candidates(
    poses: Floats,
    quadrics: Floats,
    tri: Ints,
    cor: Ints,
    fixed: NDArray[np.bool_],
    rail: NDArray[np.bool_],
) -> list[tuple[int, int]]:
    """Return the permitted collapses u -> v, cheapest first."""
    edges = _edges(tri, cor)
    border = np.zeros(len(fixed), dtype=bool)
    border[edges.ends[edges.count == 1]] = True
    seam = np.zeros(len(fixed), dtype=bool)
    seam[edges.ends[edges.seam]] = True
    directed = np.concatenate([edges.ends, edges.ends[:, ::-1]])
    count, along_seam = np.tile(edges.count, 2), np.tile(edges.seam, 2)
    u, v = directed.T
    allowed = ~fixed[u] & (count <= 2)
    allowed &= ~border[u] | (count == 1)
    allowed &= ~seam[u] | along_seam | (count == 1)
    allowed &= ~rail[u] | rail[v]
    directed = directed[allowed]
    u, v = directed.T
    rise = _evaluate(quadrics[:, u], poses[:, v]) - _evaluate(quadrics[:, u], poses[:, u])
    order = np.argsort(rise, kind="stable")
    return [(int(a), int(b)) for a, b in directed[order]]


class _Round:
    """One round of collapses on disjoint neighbourhoods."""

    def __init__(self, vertices: Floats, tri: Ints, cor: Ints) -> None:
        self.vertices = vertices
        self.tri, self.cor = tri, cor
        self.used = np.unique(tri)
        order = np.argsort(tri.ravel(), kind="stable")
        self._faces = order // 3
        self._start = np.searchsorted(tri.ravel()[order], np.arange(len(vertices) + 1))
        self._locked = np.zeros(len(vertices), dtype=bool)
        self._alive = np.ones(len(tri), dtype=bool)

    def collapse(self, u: int, v: int) -> bool:
        """Collapse u onto v if that is valid and its neighbourhood is unchanged; return success."""
        if self._locked[u] or self._locked[v]:
            return False
        around = self._faces[self._start[u] : self._start[u + 1]]
        faces = self.tri[around]
        ring = set(faces.ravel().tolist())
        if self._locked[list(ring)].any():
            return False
        with_v = (faces == v).any(1)
        if not self._link_holds(u, v, ring, int(with_v.sum())):
            return False
        kept = around[~with_v]
        texture = self._texture_map(u, v, around[with_v])
        if texture is None or len(kept) == 0:
            return False
        at_u = self.tri[kept] == u
        old_corner = self.cor[kept][at_u].tolist()
        if any(corner not in texture for corner in old_corner):
            return False
        moved = np.where(at_u, v, self.tri[kept])
        if not self._shapes_hold(self.tri[kept], moved):
            return False
        self.tri[kept] = moved
        textured = self.cor[kept]
        textured[at_u] = [texture[corner] for corner in old_corner]
        self.cor[kept] = textured
        self._alive[around[with_v]] = False
        self._locked[list(ring)] = True
        return True

    def triangles_left(self) -> tuple[Ints, Ints]:
        """Return the remaining triangles and corners."""
        return self.tri[self._alive], self.cor[self._alive]

    def _link_holds(self, u: int, v: int, ring: set[int], shared: int) -> bool:
        """Return whether u and v share only the neighbours of their edge (link condition)."""
        faces_v = self.tri[self._faces[self._start[v] : self._start[v + 1]]]
        common = ring.intersection(faces_v.ravel().tolist()) - {u, v}
        return len(common) == shared

    def _texture_map(self, u: int, v: int, vanishing: Ints) -> dict[int, int] | None:
        """Map texture vertices of u to those of v; None where the triangles disagree."""
        becomes: dict[int, int] = {}
        for face in vanishing:
            row, textured = self.tri[face].tolist(), self.cor[face].tolist()
            source, target = textured[row.index(u)], textured[row.index(v)]
            if becomes.setdefault(source, target) != target:
                return None
        return becomes

    def _shapes_hold(self, before: Ints, after: Ints) -> bool:
        """Return whether no triangle flips or becomes a sliver."""
        old_normal, _ = self._normals(before)
        new_normal, shape = self._normals(after)
        cosine = (old_normal * new_normal).sum(1)
        lengths = np.sqrt((old_normal**2).sum(1) * (new_normal**2).sum(1))
        return bool((cosine > MIN_NORMAL_COSINE * lengths).all() and (shape > MIN_SHAPE).all())

    def _normals(self, faces: Ints) -> tuple[Floats, Floats]:
        """Return unnormalised normals and the shape: 1 for equilateral triangles, 0 for slivers."""
        a, b, c = self.vertices[faces].swapaxes(0, 1)
        ab, ac, bc = b - a, c - a, c - b
        normal = np.stack(
            [
                ab[:, 1] * ac[:, 2] - ab[:, 2] * ac[:, 1],
                ab[:, 2] * ac[:, 0] - ab[:, 0] * ac[:, 2],
                ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0],
            ],
            1,
        )
        sides = (ab * ab).sum(1) + (ac * ac).sum(1) + (bc * bc).sum(1)
        return normal, 2.0 * np.sqrt(3.0) * np.sqrt((normal**2).sum(1)) / np.maximum(sides, 1e-18)
