"""Faces for tests: an ellipsoid with anatomically placed landmarks, posed before a camera."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from tests.support.synthetic_topology import ellipsoid_topology
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.face_mesh import FaceTopology
from trg.geometry.shape_basis import EXPRESSION_NAMES, bundled_shape_basis

VGA = Camera(600.0, 600.0, 320.0, 240.0, 640, 480)


def _anatomical_positions() -> np.ndarray:
    """Return x and y of the 68 landmarks in a front view, ``(68, 2)`` in metres."""
    jaw_angle = np.radians(np.linspace(-80, 80, 17))
    jaw = np.stack([0.065 * np.sin(jaw_angle), 0.085 * np.cos(jaw_angle)], -1)
    right_brow = np.stack([np.linspace(-0.050, -0.015, 5), np.full(5, -0.052)], -1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.033, -0.002, 4)], -1)
    nostrils = np.stack([np.linspace(-0.012, 0.012, 5), np.full(5, 0.008)], -1)
    around = np.radians([180, 240, 300, 0, 60, 120])
    lids = np.stack([0.014 * np.cos(around), 0.006 * np.sin(around)], -1)
    right_eye, left_eye = lids + (-0.032, -0.033), lids + (0.032, -0.033)
    lips = np.radians(180.0 + np.arange(12) * 30.0)
    outer = np.stack([0.026 * np.cos(lips), 0.035 + 0.012 * np.sin(lips)], -1)
    around_inner = np.radians(180.0 + np.arange(8) * 45.0)
    inner = np.stack([0.018 * np.cos(around_inner), 0.035 + 0.005 * np.sin(around_inner)], -1)
    left_brow = right_brow[::-1] * (-1, 1)
    return np.concatenate(
        [jaw, right_brow, left_brow, bridge, nostrils, right_eye, left_eye, outer, inner]
    )


@functools.cache
def face_topology() -> FaceTopology:
    """Return the ellipsoid's mesh with the 68 landmarks on the nearest vertices."""
    arrays = ellipsoid_topology().to_arrays()
    flat = arrays["template_m"][:, :2]
    chosen: list[int] = []
    for point in _anatomical_positions():
        by_distance = np.linalg.norm(flat - point, axis=1).argsort()
        chosen.append(next(int(vertex) for vertex in by_distance if vertex not in chosen))
    return FaceTopology.from_arrays({**arrays, "landmarks68": np.array(chosen)})


def make_face(
    yaw_pitch_roll_deg: ArrayLike = (20.0, -10.0, 5.0),
    translation_m: ArrayLike = (0.05, -0.03, 0.6),
    camera: Camera = VGA,
    **changes: Any,
) -> Face:
    """Return a posed face; ``changes`` are further arguments of ``Face``."""
    topology = face_topology()
    arguments = {
        "rotation": Rotation.from_euler("yxz", yaw_pitch_roll_deg, degrees=True).as_matrix(),
        "translation_m": np.array(translation_m),
        "landmarks_m": topology.template_m.astype(np.float64),
        "confidence": 0.9,
        "camera": camera,
        "topology": topology,
    }
    return Face(**{**arguments, **changes})


def shaped_face(weights: Mapping[str, float], **changes: Any) -> Face:
    """Return a face on the bundled models' vertices with expression weights by name."""
    basis = bundled_shape_basis()
    arrays = {**face_topology().to_arrays(), "template_m": basis.mean_m}
    expressions = [weights.get(name, 0.0) for name in EXPRESSION_NAMES]
    landmarks_m = basis.vertices_m((), expressions)
    return make_face(topology=FaceTopology.from_arrays(arrays), landmarks_m=landmarks_m, **changes)


def frontal_face(translation_m: ArrayLike = (0.0, 0.0, 0.5), **changes: Any) -> Face:
    """Return a face without rotation."""
    return make_face((0.0, 0.0, 0.0), translation_m, **changes)


def random_faces(rng: np.random.Generator, count: int, **changes: Any) -> list[Face]:
    """Return faces in random poses, mostly inside the image."""
    return [
        make_face(
            rng.uniform((-70, -40, -60), (70, 40, 60)),
            rng.uniform((-0.15, -0.1, 0.4), (0.15, 0.1, 1.2)),
            **changes,
        )
        for _ in range(count)
    ]
