"""Posed faces for tests of what is drawn and written: an ellipsoid in front of a camera."""

from __future__ import annotations

from functools import cache

import numpy as np

from tests.support.synthetic_topology import ellipsoid_topology
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.rotations import rotation_from_euler

VGA = Camera(600.0, 600.0, 320.0, 240.0, 640, 480)

topology = cache(ellipsoid_topology)


def posed_face(
    yaw_pitch_roll_deg=(0.0, 0.0, 0.0), translation_m=(0.0, 0.0, 0.5), *, camera=VGA, **more
) -> Face:
    rotation = rotation_from_euler(np.array(yaw_pitch_roll_deg, dtype=float))
    template_m = more.pop("landmarks_m", topology().template_m.astype(float))
    return Face.from_pose(rotation, translation_m, template_m, 0.9, camera, topology(), **more)


def random_faces(rng: np.random.Generator, count: int, **more) -> list[Face]:
    return [
        posed_face(
            rng.uniform((-70, -40, -60), (70, 40, 60)),
            rng.uniform((-0.15, -0.1, 0.4), (0.15, 0.1, 1.2)),
            **more,
        )
        for _ in range(count)
    ]
