"""Faces for tests: an ellipsoid whose 68 landmarks lie about where a person's do."""

from __future__ import annotations

import functools

import numpy as np
from scipy.spatial.transform import Rotation

from tests.support.synthetic_topology import ellipsoid_topology
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.face_mesh import FaceTopology


def _anatomical_directions() -> np.ndarray:
    """Return where the 68 landmarks lie on the front, ``(68, 2)``: x and y in metres."""
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
    """Return the ellipsoid of 1220 vertices with the 68 landmarks on the nearest free ones."""
    arrays = ellipsoid_topology().to_arrays()
    flat = arrays["template_m"][:, :2]
    chosen: list[int] = []
    for point in _anatomical_directions():
        by_distance = np.linalg.norm(flat - point, axis=1).argsort()
        chosen.append(next(int(vertex) for vertex in by_distance if vertex not in chosen))
    return FaceTopology.from_arrays({**arrays, "landmarks68": np.array(chosen)})


def make_face(
    yaw_pitch_roll_deg: tuple[float, float, float] = (20.0, -10.0, 5.0),
    translation_m: tuple[float, float, float] = (0.05, -0.03, 0.6),
    camera: Camera | None = None,
    **changes,
) -> Face:
    """Return a face of the ellipsoid; ``changes`` are further arguments of ``Face.from_pose``."""
    camera = camera or Camera.from_fov(60.0, 640, 480)
    topology = face_topology()
    rotation = Rotation.from_euler("yxz", yaw_pitch_roll_deg, degrees=True).as_matrix()
    landmarks_m = topology.template_m.astype(np.float64)
    arguments = {
        "rotation": rotation,
        "translation_m": np.array(translation_m),
        "landmarks_m": landmarks_m,
        "confidence": 0.9,
        "camera": camera,
        "topology": topology,
    }
    return Face.from_pose(**{**arguments, **changes})
