"""A source of samples for tests: a dark image with one bright dot per landmark.

Vertices are a random face-sized cloud, so that nothing but the labels' own geometry can make the
dots and the projected vertices agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.support.synthetic_topology import ellipsoid_topology
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.projection import transform
from trg.geometry.rotations import rotation_from_euler
from trglab.datasets.sample import Sample

TOPOLOGY = ellipsoid_topology()


def with_dots(width: int, height: int, centres_px: np.ndarray, sigma_px: float) -> np.ndarray:
    """Draw Gaussian dots at exact places: a grey image (h, w, 3) uint8."""
    grey = np.full((height, width), 20.0)
    reach = int(np.ceil(5 * sigma_px))
    for centre_x, centre_y in centres_px:
        columns = np.arange(max(0, int(centre_x) - reach), min(width, int(centre_x) + reach))
        rows = np.arange(max(0, int(centre_y) - reach), min(height, int(centre_y) + reach))
        across = np.exp(-((columns + 0.5 - centre_x) ** 2) / (2 * sigma_px**2))
        down = np.exp(-((rows + 0.5 - centre_y) ** 2) / (2 * sigma_px**2))
        grey[rows[:, None], columns] += 200.0 * down[:, None] * across
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


@dataclass(frozen=True)
class DotFaces:
    """Pure function of (seed, index); picklable, so that worker processes can make samples."""

    seed: int = 0
    dots: tuple[int, ...] = tuple(range(68))
    """Which of the 68 landmarks are drawn."""
    posed: bool = True
    sigma_px: float = 2.5
    fail_at: int | None = None

    def sample(self, index: int) -> Sample:
        if index == self.fail_at:
            raise RuntimeError(f"sample {index} does not want to be rendered")
        rng = np.random.default_rng((self.seed, index))
        rotation = rotation_from_euler(rng.normal(0.0, (20.0, 12.0, 8.0)))
        translation = np.array([*rng.uniform(-0.06, 0.06, 2), rng.uniform(0.4, 0.7)])
        vertices = TOPOLOGY.template_m * rng.uniform(0.9, 1.1)
        camera = Camera(330.0, 300.0, 150.0, 170.0, 320, 320)
        landmarks = camera.project(transform(vertices, rotation, translation))[TOPOLOGY.landmarks68]
        return Sample(
            image=with_dots(320, 320, landmarks[list(self.dots)], self.sigma_px),
            camera=camera,
            box_xyxy=face_box(landmarks),
            rotation=rotation if self.posed else None,
            translation_m=translation if self.posed else None,
            vertices_m=vertices.astype(np.float32) if self.posed else None,
            landmarks68_px=landmarks,
            landmarks68_visible=rng.random(68) > 0.2,
            identity=str(index // 4),
            name=f"dots/{index}",
        )


class MeshedDots(DotFaces):
    """Dot faces with the mesh of their vertices."""

    topology = TOPOLOGY
