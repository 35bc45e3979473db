"""Made-up samples, written and listed, for the tests of folder formats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from tests.support.synthetic_topology import ellipsoid_topology
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.rotations import rotation_from_euler
from trglab.datasets.completion import complete_name, progress_name
from trglab.datasets.sample import Sample
from trglab.export.dataset_writer import write_dataset

TOPOLOGY = ellipsoid_topology()
CAMERA = Camera(700.0, 690.0, 331.0, 228.5, 640, 480)
LAYOUTS = ("arkitface", "300wlp", "aflw2000", "biwi")


def make_samples(count: int, camera: Camera = CAMERA, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    samples = []
    for index in range(count):
        rotation = rotation_from_euler(rng.normal(0.0, 15.0, 3))
        translation_m = np.array([*rng.normal(0.0, 0.05, 2), rng.uniform(0.5, 0.9)])
        vertices_m = TOPOLOGY.template_m + rng.normal(0.0, 0.002, (1220, 3))
        in_camera = vertices_m[TOPOLOGY.landmarks68] @ rotation.T + translation_m
        landmarks_px = camera.project(in_camera)
        image = np.full((camera.height, camera.width, 3), 40, dtype=np.uint8)
        image[100:300, 200:400] = rng.integers(0, 255, 3)
        samples.append(
            Sample(
                image=image,
                camera=camera,
                box_xyxy=face_box(landmarks_px),
                rotation=rotation,
                translation_m=translation_m,
                vertices_m=vertices_m.astype(np.float32),
                landmarks68_px=landmarks_px,
                landmarks68_visible=rng.random(68) < 0.8,
                identity=str(7 + index // 2),
                name=f"made/{index}",
            )
        )
    return samples


def as_fitted(sample: Sample) -> Sample:
    """A sample with the head's turn against the line of sight to its box, as 300W-LP tells it."""
    x, y = sample.camera.unproject(sample.box_xyxy.reshape(2, 2).mean(0)[None])[0]
    axis, angle = np.array([-y, x, 0.0]) / np.hypot(x, y), np.arctan(np.hypot(x, y))
    towards = Rotation.from_rotvec(angle * axis).as_matrix()
    np.testing.assert_allclose(towards @ (0, 0, np.sqrt(1 + x**2 + y**2)), (x, y, 1), atol=1e-12)
    return replace(sample, rotation=towards.T @ sample.rotation)


def write(samples, folder, layout, **options):
    return write_dataset(samples, folder, layout, topology=TOPOLOGY, **options)


def files_of(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (progress_name(), complete_name())
    }
