"""Scenes whose faces are bright discs on a dark background, which small networks learn quickly."""

from __future__ import annotations

import numpy as np

from trglab.detector.scenes import DetectionScene

FIVE = np.array([(-0.2, -0.15), (0.2, -0.15), (0.0, 0.0), (-0.12, 0.2), (0.12, 0.2)])
"""The five points relative to the box centre, in box sides."""


class DotScenes:
    """Scenes of ``faces`` discs, whose diameter is half the side of the box."""

    def __init__(self, seed: int, faces: int, size: tuple[int, int] = (160, 128)) -> None:
        self.seed, self.faces, self.size = seed, faces, size
        self._kept: dict[int, DetectionScene] = {}

    def __len__(self) -> int:
        return 40

    def scene(self, index: int) -> DetectionScene:
        if index not in self._kept:
            self._kept[index] = self._make(index)
        return self._kept[index]

    def _make(self, index: int) -> DetectionScene:
        rng = np.random.default_rng((self.seed, index))
        width, height = self.size
        image = rng.integers(0, 60, (height, width, 3)).astype(np.uint8)
        y, x = np.mgrid[:height, :width] + 0.5
        boxes, points = np.zeros((self.faces, 4)), np.zeros((self.faces, 5, 2))
        for k in range(self.faces):
            side = rng.uniform(30, 60)
            centre = np.array([(k + 0.5) * width / self.faces, rng.uniform(40, height - 40)])
            inside = np.hypot(x - centre[0], y - centre[1]) < side / 4
            image[inside] = (255, 220, 200)
            boxes[k] = *(centre - side / 2), *(centre + side / 2)
            points[k] = centre + side * FIVE
        return DetectionScene(image, boxes, points, np.ones(self.faces), np.zeros((0, 4)))
