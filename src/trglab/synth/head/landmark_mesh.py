"""The 1220-vertex landmark mesh: cut from a symmetric face model, decimated, made even."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trg.geometry.face_mesh import LANDMARKS68_MIRROR, FaceTopology, subsample_by_decimation
from trglab.synth.head.decimate import decimate

LANDMARK_COUNT = 1220
SUBSAMPLE_COUNT = 305

EVENNESS = 0.25
DETAIL_REACH_M = 0.016
DETAIL = {"eyes": (36, 48, 16.0), "nose": (30, 36, 4.0), "mouth": (48, 68, 8.0)}
"""First and last + 1 of the 68 landmarks, and how much their surroundings weigh at most."""

MIDDLE_M = 2e-4
"""A vertex nearer to x = 0 than this lies on the mirror plane."""

FLIP_PASSES = 20
FLIP_MIN_NORMAL_COSINE = 0.9

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LandmarkMesh:
    """The landmark mesh of a face model.

    Attributes
    ----------
    dense
        ``(1220,)``: the model's vertex that each landmark is, ascending.
    topology
        The mesh over them, in that order.
    """

    dense: Ints
    topology: FaceTopology


def build_landmark_mesh(
    poses_m: Floats, triangles: Ints, landmarks68: Ints, mirror: Ints, weight: Floats
) -> LandmarkMesh:
    """Decimate a symmetric face to 1220 vertices, the 68 landmarks among them.

    Parameters
    ----------
    poses_m
        ``(p, n, 3)``: the neutral face, then faces of its image-left half's expressions, whose
        detail is to be kept too. x = 0 is the mirror plane.
    triangles
        ``(m, 3)`` of the face region; no triangle crosses the mirror plane.
    landmarks68
        ``(68,)`` into n.
    mirror
        ``(n,)``: each vertex's mirror image, itself on the mirror plane.
    weight
        ``(n,)``: how much detail around a vertex matters.

    Raises
    ------
    ValueError
        The region has too few vertices, or its landmarks do not mirror each other.
    """
    if not np.array_equal(mirror[landmarks68], landmarks68[LANDMARKS68_MIRROR]):
        raise ValueError("landmark mesh: expected 68 landmarks that mirror each other")
    neutral = poses_m[0]
    middle = mirror == np.arange(len(mirror))
    left = neutral[triangles, 0].mean(1) < 0.0
    kept = landmarks68[(neutral[landmarks68, 0] < 0) | middle[landmarks68]]
    half = decimate(
        poses_m,
        triangles[left],
        LANDMARK_COUNT,
        pinned=kept,
        weight=weight,
        rail=middle,
        copies=np.where(middle, 1, 2),
        evenness=EVENNESS,
    )
    left_triangles = flip_edges(neutral, half.triangles)
    whole = np.concatenate([left_triangles, mirror[left_triangles][:, ::-1]])
    dense = np.unique(whole)
    renumber = np.full(len(neutral), -1, dtype=np.int64)
    renumber[dense] = np.arange(len(dense))
    template, mesh = neutral[dense].astype(np.float32), renumber[whole]
    points = renumber[landmarks68]
    topology = FaceTopology(
        template_m=template,
        triangles=mesh.astype(np.int32),
        landmarks68=points.astype(np.int32),
        subsample=subsample_by_decimation(template, mesh, SUBSAMPLE_COUNT, keep=points),
        mirror=renumber[mirror[dense]].astype(np.int32),
    )
    return LandmarkMesh(dense, topology)


def mirror_by_position(vertices_m: Floats, used: Ints) -> Ints:
    """Pair the vertices ``used`` of ``(n, 3)`` with their mirror images; all others stay alone.

    Raises
    ------
    ValueError
        The vertices are not symmetric about x = 0.
    """
    points = vertices_m[used]
    left = used[points[:, 0] < -MIDDLE_M]
    right = used[points[:, 0] > MIDDLE_M]
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


def detail_weight(neutral_m: Floats, landmarks68: Ints) -> Floats:
    """Return ``(n,)``: more than 1 near eyes, nose and mouth."""
    weight = np.ones(len(neutral_m))
    for first, last, most in DETAIL.values():
        gap = neutral_m[:, None] - neutral_m[landmarks68[first:last]]
        nearest = (gap**2).sum(-1).min(1)
        weight += most * np.exp(-nearest / DETAIL_REACH_M**2)
    return weight


def flip_edges(vertices_m: Floats, triangles: Ints) -> Ints:
    """Swap diagonals until each makes the larger smallest angle (Lawson's rule), on flat parts.

    An edge between two faces that bend by more than about 25 degrees stays: it is a crease.
    """
    triangles = triangles.copy()
    for _ in range(FLIP_PASSES):
        if not _flip_pass(vertices_m, triangles):
            break
    return triangles


def _flip_pass(vertices: Floats, triangles: Ints) -> bool:
    """Flip what is worth it, each triangle at most once, in place; say whether anything was."""
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
            faces_of[c, d] = face  # so that no second flip makes the same edge in this pass
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
