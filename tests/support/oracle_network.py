"""A pose network that knows the ground truth: heads in rays, for any camera.

An image filled with the grey value k shows the k-th scene. Boxes near a head give that head, all
others a head that the heatmaps contradict. The virtual camera of a crop cannot be inferred from
grey pixels, so crops are numbered: use :func:`numbered_crops`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.support.synthetic_topology import ellipsoid_topology
from trg.geometry.crop import BOX_MARGIN
from trg.geometry.projection import crop_from_rays, rays_from_points, transform
from trg.geometry.rotations import rotation_from_euler
from trg.geometry.virtual_camera import crop_from_virtual_camera
from trg.inference.bundle import WeightCard
from trg.inference.detections import Detections
from trg.inference.runtime import PoseArrays

TOPOLOGY = ellipsoid_topology()
TEMPLATE = TOPOLOGY.template_m.astype(float)
CARD = WeightCard(name="oracle", crop_size=32, config={}, licence="MIT")


@dataclass
class Head:
    """A head before the camera."""

    translation_m: tuple[float, float, float]
    angles_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sure: bool = True
    width: float = 1.0
    """Of the face, relative to the template: another person's differs."""

    @property
    def template_m(self):
        return TEMPLATE * (self.width, 1.0, 1.0)

    @property
    def rotation(self):
        return rotation_from_euler(np.array(self.angles_deg, float))

    @property
    def rays(self):
        return rays_from_points(
            transform(self.template_m, self.rotation, np.array(self.translation_m))
        )

    @property
    def box_rays(self):
        """Centre and side of the head's own box, ``(3,)``."""
        sparse = self.rays[TOPOLOGY.landmarks68]
        low, high = sparse.min(0), sparse.max(0)
        return np.append((low + high) / 2, BOX_MARGIN * (high - low).max())

    def box_px(self, camera):
        """The paper's box in pixels of an ideal camera with square pixels."""
        centre = camera.pixels_from_rays(self.box_rays[:2])
        half = self.box_rays[2] * camera.fx / 2
        return np.concatenate([centre - half, centre + half])


@dataclass
class OracleNetwork:
    """Estimates the heads of the given scenes."""

    scenes: list[list[Head]]
    calls: list[int] = field(default_factory=list)
    """Number of faces of each call"""
    reach: float = 0.6
    """Largest distance of a head from the box centre, in box sides."""

    topology = TOPOLOGY
    crop_size = CARD.crop_size
    card = CARD

    def __call__(self, crops, bbox_info):
        self.calls.append(len(crops))
        rows = [self._one(c, b.astype(float)) for c, b in zip(crops, bbox_info, strict=True)]
        return PoseArrays(*(np.stack(each).astype(np.float32) for each in zip(*rows, strict=True)))

    def _one(self, crop, numbers):
        turn = TURNS.get(int.from_bytes(crop[0, 0].tobytes(), "big"), np.eye(3))
        heads = self.scenes[min(int(crop[crop.shape[0] // 2 :].max()), len(self.scenes) - 1)]

        def seen(head):
            """The head's points in rays of the virtual camera."""
            points = transform(head.template_m, turn.T @ head.rotation, turn.T @ head.translation_m)
            return rays_from_points(points)

        def away(head):
            sparse = seen(head)[TOPOLOGY.landmarks68]
            return np.abs((sparse.min(0) + sparse.max(0)) / 2 - numbers[:2]).max() / numbers[2]

        near = [head for head in heads if away(head) < self.reach]
        head = min(near, key=away, default=Head(tuple(turn @ (0.0, 0.0, 0.7)), sure=False))
        vertices = crop_from_rays(seen(head), numbers)
        heat = vertices[TOPOLOGY.landmarks68]
        if not head.sure:
            heat = np.random.default_rng(0).uniform(-1, 1, (68, 2))
        peaks = np.full(68, 0.5 if head.sure else 0.02)
        pose = (turn.T @ head.rotation, turn.T @ head.translation_m)
        return *pose, head.template_m, vertices, heat, peaks


class UnsureOfSize(OracleNetwork):
    """Takes the heads of each call for as many times as large, and as far, as they are."""

    factors = (1.04, 0.96, 1.0, 0.95, 1.05)
    """One call after another, again and again."""

    def __call__(self, crops, bbox_info):
        arrays = super().__call__(crops, bbox_info)
        factor = np.float32(self.factors[(len(self.calls) - 1) % len(self.factors)])
        return arrays._replace(
            translation_m=arrays.translation_m * factor, vertices_m=arrays.vertices_m * factor
        )


TURNS: dict[int, np.ndarray] = {}
"""``cam_from_virtual`` of each numbered crop."""


@pytest.fixture
def numbered_crops(monkeypatch):
    """See :func:`number_crops`."""
    number_crops(monkeypatch)


def number_crops(monkeypatch):
    """Write a number into the first pixel of each crop, and store its ``cam_from_virtual``."""

    def numbered(image, camera, view, size):
        crop = crop_from_virtual_camera(image, camera, view, size)
        if crop is None:
            return None
        number = len(TURNS)
        TURNS[number] = crop.cam_from_virtual
        pixels = crop.pixels.copy()
        pixels[0, 0] = list(number.to_bytes(3, "big"))
        return crop._replace(pixels=pixels)

    TURNS.clear()
    monkeypatch.setattr("trg.inference.pose_pipeline.crop_from_virtual_camera", numbered)


@dataclass
class OracleDetector:
    """Detects the heads of the scenes as boxes of one camera; counts its calls."""

    scenes: list[list[Head]]
    camera: object
    calls: int = 0
    shift: float = 0.05

    def detect(self, image, max_faces=None, threshold=None):
        self.calls += 1
        heads = self.scenes[min(int(image.max()), len(self.scenes) - 1)]
        boxes = np.array([head.box_px(self.camera) for head in heads]).reshape(-1, 4)
        boxes = (boxes + self.shift * (boxes[:, 2:3] - boxes[:, :1]))[:max_faces]
        count = len(boxes)
        return Detections(boxes, np.ones(count), np.full((count, 5, 2), np.nan))


def grey_image(scene: int, width: int = 640, height: int = 480):
    """An image of one grey value: it shows that scene."""
    return np.full((height, width, 3), scene, np.uint8)
