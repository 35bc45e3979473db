"""From a full face model to the light one that is rendered, with its landmark mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trglab.synth.head.decimate import decimate
from trglab.synth.head.face_model import FaceModel
from trglab.synth.head.landmark_mesh import (
    LandmarkMesh,
    build_landmark_mesh,
    detail_weight,
    mirror_by_position,
)

KEY_POSES = (
    ("jawOpen", "mouthUpperUp_L", "mouthUpperUp_R", "mouthLowerDown_L", "mouthLowerDown_R"),
    ("eyeBlink_L", "eyeBlink_R", "mouthSmile_L", "mouthSmile_R"),
    ("mouthPucker", "eyeWide_L", "eyeWide_R", "browInnerUp_L", "browInnerUp_R"),
)
"""Faces whose detail the decimation keeps beside the neutral one's."""

BUDGETS = {
    "skin": 5300,
    "gums": 300,
    "teeth": 800,
    "eyeball_left": 170,
    "eyeball_right": 170,
    "eye_occlusion": 110,
    "lashes": 300,
}
"""Vertices, before seams are split, for each group of parts that hang together."""

EVENNESS = 0.01

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FullFaceModel:
    """A face model as its maker gives it, in the head frame.

    Attributes
    ----------
    name
        Where it comes from.
    mean_m
        ``(V, 3)``; ``identity`` ``(I, V, 3)`` and ``expression`` ``(E, V, 3)`` are offsets.
    triangles
        ``(F, 3)`` into V; ``uv_triangles`` ``(F, 3)`` into ``uv`` ``(K, 2)``, v downward.
    part
        ``(F,)`` into ``face_model.PARTS``: the texture that each triangle wears.
    group
        ``(F,)`` of names in :data:`BUDGETS`: what is decimated together.
    region
        ``(F,)`` bool: the triangles that the landmark mesh is cut from.
    weight
        ``(V,)``: how much detail around a vertex matters.
    landmarks68
        ``(68,)`` into V.
    """

    name: str
    mean_m: Floats
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    expression_names: tuple[str, ...]
    triangles: Ints
    uv: NDArray[np.float32]
    uv_triangles: Ints
    part: NDArray[np.uint8]
    group: NDArray[np.str_]
    region: NDArray[np.bool_]
    weight: Floats
    landmarks68: Ints


def reduce_face_model(full: FullFaceModel) -> FaceModel:
    """Cut the landmark mesh, decimate every group to its budget and split texture seams.

    A group that is within its budget stays as it is.

    Raises
    ------
    ValueError
        The face is not symmetric, or too small for 1220 landmarks.
    """
    poses = key_poses(full)
    face = full.triangles[full.region]
    mirror = mirror_by_position(full.mean_m, np.unique(face))
    weight = full.weight * detail_weight(full.mean_m, full.landmarks68)
    landmarks = build_landmark_mesh(poses, face, full.landmarks68, mirror, weight)
    parts: list[tuple[Ints, Ints]] = []
    for group, budget in BUDGETS.items():
        chosen = full.group == group
        if chosen.any():
            mesh = decimate(
                poses,
                full.triangles[chosen],
                budget,
                corners=full.uv_triangles[chosen],
                pinned=np.intersect1d(landmarks.dense, full.triangles[chosen]),
                weight=weight,
                evenness=EVENNESS,
            )
            parts.append((mesh.triangles, mesh.corners))
    triangles, corners = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return _split_seams(full, triangles, corners, landmarks)


def key_poses(full: FullFaceModel) -> Floats:
    """Return ``(p, V, 3)``: the neutral head, then the :data:`KEY_POSES` that the model knows."""
    index = {name: position for position, name in enumerate(full.expression_names)}
    poses = [full.mean_m]
    for names in KEY_POSES:
        known = [index[name] for name in names if name in index]
        if known:
            poses.append(full.mean_m + full.expression[known].sum(0))
    return np.stack(poses)


def _split_seams(
    full: FullFaceModel, triangles: Ints, corners: Ints, landmarks: LandmarkMesh
) -> FaceModel:
    """Give every pair of vertex and texture vertex in use a vertex of its own."""
    part_of_corner = np.zeros(len(full.uv), dtype=np.uint8)
    part_of_corner[full.uv_triangles] = full.part[:, None]
    pairs = np.stack([triangles.ravel(), corners.ravel()], axis=1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    vertex, corner = unique.T

    def first_copy(of: Ints) -> NDArray[np.int32]:
        return np.searchsorted(vertex, of).astype(np.int32)

    return FaceModel(
        name=full.name,
        mean_m=full.mean_m[vertex].astype(np.float32),
        identity=np.ascontiguousarray(full.identity[:, vertex], dtype=np.float32),
        expression=np.ascontiguousarray(full.expression[:, vertex], dtype=np.float32),
        expression_names=full.expression_names,
        triangles=inverse.reshape(-1, 3).astype(np.int32),
        uv=full.uv[corner].astype(np.float32),
        part=part_of_corner[corner],
        landmarks68=first_copy(full.landmarks68),
        dense=first_copy(landmarks.dense),
        topology=landmarks.topology,
    )
