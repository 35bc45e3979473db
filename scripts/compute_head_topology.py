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
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trglab.datasets.mesh import subsample_by_decimation
from trglab.synth.head.decimation import decimate
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


if __name__ == "__main__":
    main()
