"""Compute the index lists of the rendered head mesh and of the 1220-vertex landmark mesh.

    python scripts/compute_head_topology.py ICT_FACEKIT [--out FOLDER]

``ICT_FACEKIT`` is the kit's ``FaceXModel`` folder or its packed ``.npz``. The results, vertex
indices in .npz files, are part of the package (``src/trglab/synth/head/indices``). Run this script
only to change the meshes; bundles trained on one landmark mesh do not fit another.
Rounding differs between processors, so another machine may choose a few other vertices.

1. Landmark mesh: the left half of the symmetric face region is decimated to 1220 vertices in all
   (counting its mirror image), the 68 landmarks among them; edges are flipped for even angles; the
   half is mirrored; 305 sample points are chosen by further decimation (Ranjan et al. 2018).
2. Rendered mesh (ICT-FaceKit only): each group of connected parts is decimated to its budget with
   all landmarks kept, and vertices on texture seams are duplicated, one for each texture vertex.

Blend shapes, texture coordinates and landmarks belong to vertices, so decimation must keep a subset
of the vertices. :func:`decimate` is quadric-error decimation (Garland and Heckbert 1997) with
half-edge collapses, in rounds: each round computes the cost of all edges and collapses the cheapest
ones that do not touch each other. It differs from the classic algorithm in three ways:

* several poses of one mesh share the collapses, which preserves detail that only an open mouth or a
  closed eye shows;
* a share of the cost, ``evenness``, is the spread of the surface that a vertex represents, which
  avoids long thin triangles;
* borders and texture seams keep their course.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trglab.datasets.mesh import subsample_by_decimation
from trglab.synth.head.face_model import PARTS
from trglab.synth.head.ict_facekit import (
    HEAD_FROM_ICT,
    LANDMARKS68,
    VERTEX_COUNT,
    IctArrays,
    read_folder,
    read_packed,
)
from trglab.synth.head.mesh_indices import LandmarkIndices, RenderedIndices
from trglab.synth.head.procedural_head import load_procedural_head

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LANDMARK_COUNT = 1220
SUBSAMPLE_COUNT = 305

KEY_POSES = (
    ("jawOpen", "mouthUpperUp_L", "mouthUpperUp_R", "mouthLowerDown_L", "mouthLowerDown_R"),
    ("eyeBlink_L", "eyeBlink_R", "mouthSmile_L", "mouthSmile_R"),
    ("mouthPucker", "eyeWide_L", "eyeWide_R", "browInnerUp_L", "browInnerUp_R"),
)
"""Expressions whose detail decimation preserves besides that of the neutral face."""

BUDGETS = {
    "skin": 5300,
    "gums": 300,
    "teeth": 800,
    "eyeball_left": 170,
    "eyeball_right": 170,
    "eye_occlusion": 110,
    "lashes": 300,
}
"""Vertices of each group of the rendered mesh, before seams are split."""

RENDERED_EVENNESS, LANDMARK_EVENNESS = 0.01, 0.25

DETAIL_REACH_M = 0.016
DETAIL = {"eyes": (36, 48, 16.0), "nose": (30, 36, 4.0), "mouth": (48, 68, 8.0)}
"""First and last + 1 of the 68 landmarks, and the largest extra weight of their neighbourhood."""

MIRROR_PLANE_M = 2e-4
"""A vertex closer to x = 0 than this lies on the mirror plane."""

ROUND_SHARE = 0.06
"""Share of vertices that one round may remove: more is faster, less is closer to greedy."""

MIN_NORMAL_COSINE = 0.2
MIN_SHAPE = 0.12
"""Smallest 4 sqrt(3) area / (sum of squared sides) of a new triangle (1: equilateral)."""

FLIP_PASSES = 20
FLIP_MIN_NORMAL_COSINE = 0.9

# ICT-FaceKit's parts (the kit's README, "Face Model Topology").
FACE_NARROW_END = 6706
PART_STARTS = {
    "face": 0,
    "head_neck": 9409,
    "mouth_socket": 11248,
    "eye_socket": 13294,
    "gums_tongue": 14062,
    "teeth": 17039,
    "eyeball_left": 21451,
    "eyeball_right": 23021,
    "lacrimal": 24591,
    "eye_blend": 24999,
    "eye_occlusion": 25047,
    "lashes": 25351,
}
"""First vertex of each part."""

GROUP_OF_PART = {
    "face": "skin",
    "head_neck": "skin",
    "mouth_socket": "skin",
    "eye_socket": "skin",
    "gums_tongue": "gums",
    "lacrimal": "",
    "eye_blend": "",
}
"""Group of each part whose group has another name; parts without a group are not rendered."""

HIDDEN_WEIGHT = 0.1
NECK_WEIGHT = 0.3
TEETH_REACH_M = 0.012


def main() -> None:
    """Compute the index files of both head models and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ict_facekit", type=Path, help="FaceXModel folder or packed .npz")
    package = Path(__file__).resolve().parents[1] / "src/trglab/synth/head/indices"
    parser.add_argument("--out", type=Path, default=package, help="folder of the index files")
    arguments = parser.parse_args()
    path = arguments.ict_facekit
    landmarks, rendered = ict_meshes(read_folder(path) if path.is_dir() else read_packed(path))
    save(arguments.out / "ict_facekit_landmarks.npz", landmarks)
    save(arguments.out / "ict_facekit_rendered.npz", rendered)
    save(arguments.out / "procedural_head_landmarks.npz", procedural_landmarks())


def save(path: Path, indices: LandmarkIndices | RenderedIndices) -> None:
    """Write index lists as the smallest unsigned integers that hold them."""
    arrays = {name: getattr(indices, name) for name in indices.__dataclass_fields__}
    small = {name: array.astype(np.min_scalar_type(array.max())) for name, array in arrays.items()}
    np.savez_compressed(path, **small)
    print(f"{path}: {', '.join(f'{name} {array.shape}' for name, array in small.items())}")


# ---- head models ----------------------------------------------------------------------------


def ict_meshes(arrays: IctArrays) -> tuple[LandmarkIndices, RenderedIndices]:
    """Return both meshes of ICT-FaceKit.

    Raises
    ------
    ValueError
        The arrays are not those of the kit's 26,719-vertex model.
    """
    if len(arrays.mean) != VERTEX_COUNT:
        raise ValueError(f"face model: expected {VERTEX_COUNT} vertices, got {len(arrays.mean)}")
    names, starts = np.array(list(PART_STARTS)), list(PART_STARTS.values())
    vertex_part = names[np.searchsorted(starts, np.arange(VERTEX_COUNT), side="right") - 1]
    part_rank = np.searchsorted(starts, arrays.triangles, side="right").min(1) - 1
    triangle_part = names[part_rank]
    island = uv_islands(arrays.uv_triangles, len(arrays.uv))
    group = np.array([GROUP_OF_PART.get(name, name) for name in triangle_part])
    group[behind_cornea(arrays, triangle_part, island)] = ""
    nose_tip = (arrays.triangles == LANDMARKS68[30]).any(1).argmax()
    face = (
        (group != "") & (arrays.triangles < FACE_NARROW_END).all(1) & (island == island[nose_tip])
    )
    landmarks68 = np.array(LANDMARKS68)
    mean_m = arrays.mean * HEAD_FROM_ICT
    expression_m = arrays.expression * HEAD_FROM_ICT.astype(np.float32)
    poses_m = key_poses(mean_m, expression_m, arrays.expression_names)
    weight = part_weight(arrays.mean, vertex_part) * detail_weight(mean_m, landmarks68)
    landmarks = landmark_mesh(poses_m, arrays.triangles[face], landmarks68, weight)
    triangles, corners = decimate_groups(poses_m, arrays, group, landmarks.dense, weight)
    texture = texture_of(triangle_part, island)
    part_of_corner = np.zeros(len(arrays.uv), np.uint8)
    drawn = group != ""
    part_of_corner[arrays.uv_triangles[drawn]] = texture[drawn, None]
    return landmarks, split_seams(triangles, corners, part_of_corner)


def procedural_landmarks() -> LandmarkIndices:
    """Return the landmark mesh of the built-in head, which is rendered at full detail."""
    head = load_procedural_head()
    mean_m, triangles = head.mean_m.astype(np.float64), head.part_triangles["skin"]
    _, y, z = mean_m.T
    in_face = (y > -0.094) & (y < 0.085) & (z < -0.01)
    poses_m = key_poses(mean_m, head.expression, head.expression_names)
    weight = detail_weight(mean_m, head.landmarks68)
    face = triangles[in_face[triangles].all(1)].astype(np.int64)
    return landmark_mesh(poses_m, face, head.landmarks68.astype(np.int64), weight)


def key_poses(mean_m: Floats, expression_m: NDArray[np.float32], names: tuple[str, ...]) -> Floats:
    """Return ``(p, V, 3)``: the neutral head, then those of :data:`KEY_POSES` the model has."""
    index = {name: position for position, name in enumerate(names)}
    poses = [mean_m]
    for expressions in KEY_POSES:
        known = [index[name] for name in expressions if name in index]
        if known:
            poses.append(mean_m + expression_m[known].sum(0))
    return np.stack(poses)


def texture_of(triangle_part: NDArray[np.str_], island: Ints) -> NDArray[np.uint8]:
    """Return the index into ``PARTS`` of each triangle's texture."""
    part = triangle_part.astype("<U16")
    part[np.isin(triangle_part, ("face", "head_neck", "eye_socket", "lacrimal", "eye_blend"))] = (
        "skin"
    )
    cavity = np.isin(island, island[triangle_part == "mouth_socket"])  # from the inner lips inwards
    part[cavity | (triangle_part == "gums_tongue")] = "mouth"
    return np.array([PARTS.index(name) for name in part], np.uint8)


def behind_cornea(
    arrays: IctArrays, triangle_part: NDArray[np.str_], island: Ints
) -> NDArray[np.bool_]:
    """Return which triangles of the eyeballs are not on the front shell, the foremost island."""
    hidden = np.zeros(len(triangle_part), dtype=bool)
    for name in ("eyeball_left", "eyeball_right"):
        ball = triangle_part == name
        foremost = np.flatnonzero(ball)[arrays.mean[arrays.triangles[ball], 2].max(1).argmax()]
        hidden |= ball & (island != island[foremost])
    return hidden


def uv_islands(uv_triangles: Ints, count: int) -> Ints:
    """Return the connected component of each triangle ``(F,)`` in texture space."""
    label = np.arange(count)
    while True:
        lowest = label[uv_triangles].min(1)
        before = label.copy()
        np.minimum.at(label, uv_triangles, lowest[:, None])
        label = label[label]
        if np.array_equal(label, before):
            return label[uv_triangles[:, 0]]


def part_weight(mean: Floats, part: NDArray[np.str_]) -> Floats:
    """Return ``(V,)``: a low weight for what is hidden in mouth, nose and eye sockets."""
    weight = np.ones(len(mean))
    weight[np.isin(part, ("mouth_socket", "eye_socket"))] = HIDDEN_WEIGHT
    weight[part == "head_neck"] = NECK_WEIGHT
    weight[(part == "face") & inside_nostrils(mean)] = HIDDEN_WEIGHT
    bite = np.isin(part, ("teeth", "gums_tongue"))
    depth = mean[bite, 2].max() - mean[bite, 2]
    weight[bite] = HIDDEN_WEIGHT + np.exp(-((depth / TEETH_REACH_M) ** 2))
    return weight


def inside_nostrils(mean: Floats) -> NDArray[np.bool_]:
    """Return which vertices lie above the nose's base, behind its tip, inside the wings."""
    tip, base = mean[LANDMARKS68[30]], mean[LANDMARKS68[33]]
    across = np.abs(mean[:, 0])
    inside = (across > 0.003) & (across < 0.014)
    inside &= (mean[:, 1] > base[1] + 0.001) & (mean[:, 1] < tip[1] + 0.004)
    return inside & (mean[:, 2] < base[2] + 0.004)


def detail_weight(neutral_m: Floats, landmarks68: Ints) -> Floats:
    """Return ``(n,)``: above 1 near eyes, nose and mouth."""
    weight = np.ones(len(neutral_m))
    for first, last, most in DETAIL.values():
        gap = neutral_m[:, None] - neutral_m[landmarks68[first:last]]
        nearest = (gap**2).sum(-1).min(1)
        weight += most * np.exp(-nearest / DETAIL_REACH_M**2)
    return weight


# ---- rendered mesh ---------------------------------------------------------------------------


def decimate_groups(
    poses_m: Floats, arrays: IctArrays, group: NDArray[np.str_], pinned: Ints, weight: Floats
) -> tuple[Ints, Ints]:
    """Decimate each group to its budget; return triangles and texture triangles ``(F, 3)``."""
    meshes = []
    for name, budget in BUDGETS.items():
        triangles, corners = arrays.triangles[group == name], arrays.uv_triangles[group == name]
        mesh = decimate(
            poses_m,
            triangles,
            budget,
            corners=corners,
            pinned=np.intersect1d(pinned, triangles),
            weight=weight,
            evenness=RENDERED_EVENNESS,
        )
        meshes.append((mesh.triangles, mesh.corners))
    triangles, corners = (np.concatenate(parts) for parts in zip(*meshes, strict=True))
    return triangles, corners


def split_seams(
    triangles: Ints, corners: Ints, part_of_corner: NDArray[np.uint8]
) -> RenderedIndices:
    """Give each used pair of vertex and texture vertex a vertex of its own."""
    pairs = np.stack([triangles.ravel(), corners.ravel()], axis=1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    vertices, uv_vertices = unique.T
    return RenderedIndices(
        vertices, uv_vertices, part_of_corner[uv_vertices], inverse.reshape(-1, 3)
    )


# ---- landmark mesh ---------------------------------------------------------------------------


def landmark_mesh(
    poses_m: Floats, triangles: Ints, landmarks68: Ints, weight: Floats
) -> LandmarkIndices:
    """Decimate a symmetric face to 1220 vertices, the 68 landmarks among them.

    Parameters
    ----------
    poses_m
        ``(p, V, 3)``: the neutral head, then heads with expressions. x = 0 is the mirror plane.
    triangles
        ``(m, 3)`` of the face region; no triangle crosses the mirror plane.
    landmarks68
        ``(68,)`` into V.
    weight
        ``(V,)``: how much detail around a vertex matters.

    Raises
    ------
    ValueError
        The region is not symmetric, has too few vertices, or its landmarks are not symmetric.
    """
    neutral = poses_m[0]
    mirror = mirror_by_position(neutral, np.unique(triangles))
    if not np.array_equal(mirror[landmarks68], landmarks68[LANDMARKS68_MIRROR]):
        raise ValueError("landmark mesh: expected 68 landmarks that mirror each other")
    on_plane = mirror == np.arange(len(mirror))
    left = neutral[triangles, 0].mean(1) < 0.0
    kept = landmarks68[(neutral[landmarks68, 0] < 0) | on_plane[landmarks68]]
    half = decimate(
        poses_m,
        triangles[left],
        LANDMARK_COUNT,
        pinned=kept,
        weight=weight,
        rail=on_plane,
        copies=np.where(on_plane, 1, 2),
        evenness=LANDMARK_EVENNESS,
    )
    left_triangles = flip_edges(neutral, half.triangles)
    whole = np.concatenate([left_triangles, mirror[left_triangles][:, ::-1]])
    dense = np.unique(whole)
    renumber = np.full(len(neutral), -1, dtype=np.int64)
    renumber[dense] = np.arange(len(dense))
    mesh, template = renumber[whole], neutral[dense].astype(np.float32)
    sampled = subsample_by_decimation(template, mesh, SUBSAMPLE_COUNT, keep=renumber[landmarks68])
    return LandmarkIndices(dense, mesh, sampled, renumber[mirror[dense]])


def mirror_by_position(vertices_m: Floats, used: Ints) -> Ints:
    """Return the mirror image ``(n,)`` of the vertices ``used``; all others map to themselves.

    Raises
    ------
    ValueError
        The vertices are not symmetric about x = 0.
    """
    points = vertices_m[used]
    left = used[points[:, 0] < -MIRROR_PLANE_M]
    right = used[points[:, 0] > MIRROR_PLANE_M]
    mirrored = vertices_m[right] * (-1.0, 1.0, 1.0)
    squared = (mirrored**2).sum(1)
    partner = np.concatenate(
        [
            right[(squared - 2.0 * some @ mirrored.T).argmin(1)]
            for some in np.array_split(vertices_m[left], max(1, len(left) // 512))
        ]
    )
    if len(left) != len(right) or len(np.unique(partner)) != len(partner):
        raise ValueError(
            "face model: expected a face that is symmetric about x = 0, each vertex with one "
            f"mirror image, got {len(left)} vertices on the left and {len(right)} on the right"
        )
    result = np.arange(len(vertices_m))
    result[left], result[partner] = partner, left
    return result


def flip_edges(vertices_m: Floats, triangles: Ints) -> Ints:
    """Flip edges of flat regions until each maximises the smallest angle (Lawson 1977).

    An edge between two faces that differ by more than about 25 degrees is a crease and stays.
    """
    triangles = triangles.copy()
    for _ in range(FLIP_PASSES):
        if not _flip_pass(vertices_m, triangles):
            break
    return triangles


def _flip_pass(vertices: Floats, triangles: Ints) -> bool:
    """Flip edges in place, each triangle at most once; return whether any edge was flipped."""
    faces_of: dict[tuple[int, int], int] = {}
    for face, (a, b, c) in enumerate(triangles.tolist()):
        faces_of.update({(a, b): face, (b, c): face, (c, a): face})
    touched: set[int] = set()
    for (a, b), face in list(faces_of.items()):
        other = faces_of.get((b, a))
        if a > b or other is None or touched & {face, other}:
            continue
        c = _third(triangles[face], a, b)
        d = _third(triangles[other], a, b)
        if (c, d) in faces_of or (d, c) in faces_of:
            continue
        if _is_better(vertices, a, b, c, d):
            triangles[face], triangles[other] = (a, d, c), (d, b, c)
            touched |= {face, other}
            faces_of[c, d] = face  # no second flip may create the same edge in this pass
    return bool(touched)


def _third(triangle: Ints, a: int, b: int) -> int:
    return int(triangle[(triangle != a) & (triangle != b)][0])


def _is_better(vertices: Floats, a: int, b: int, c: int, d: int) -> bool:
    """Whether the diagonal c-d of the quadrangle a d b c beats a-b."""
    quad = vertices[[[a, b, c], [a, d, b], [a, d, c], [d, b, c]]]
    normals = np.cross(quad[:, 1] - quad[:, 0], quad[:, 2] - quad[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1), 1e-18)[:, None]
    flat = (normals @ normals.T).min() > FLIP_MIN_NORMAL_COSINE
    return bool(flat and _smallest_angle(quad[2:]) > _smallest_angle(quad[:2]) + 1e-6)


def _smallest_angle(triangles: Floats) -> float:
    """Return the smallest angle, in radians, of ``(k, 3, 3)`` corner positions."""
    to_next = np.roll(triangles, -1, axis=1) - triangles
    to_last = np.roll(triangles, 1, axis=1) - triangles
    sine = np.linalg.norm(np.cross(to_next, to_last), axis=-1)
    return float(np.arctan2(sine, (to_next * to_last).sum(-1)).min())


# ---- decimation ------------------------------------------------------------------------------


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


if __name__ == "__main__":
    main()
