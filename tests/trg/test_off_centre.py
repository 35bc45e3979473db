"""Estimates of a head at the edge and in the centre of a wide-angle image agree (slow)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.projection import OPTICAL_AXIS, transform
from trg.geometry.rotations import (
    geodesic_angle_deg,
    normalize,
    rotation_between,
    rotation_from_euler,
)
from trg.inference.bundle import DEFAULT_BUNDLE, bundled_names

FACE_MODEL = Path("../shared/facemodel/ict_facekit.npz")
WIDE = Camera.from_fov(90.0, 1280, 960)
HEADS = 12

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(DEFAULT_BUNDLE not in bundled_names(), reason="needs the bundled weights"),
    pytest.mark.skipif(not FACE_MODEL.exists(), reason="needs the face model in ../shared"),
]


@pytest.fixture(scope="module")
def pairs():
    """Faces estimated in the centre and at an edge, of heads with equal rotation to the view
    ray."""
    from tests.support.rendered_heads import RenderedHead, plain_studio

    estimator, studio = HeadPoseEstimator(), plain_studio(FACE_MODEL)
    found = []
    for seed in range(HEADS):
        head = RenderedHead(studio, seed)
        rng = np.random.default_rng(seed)
        turn = rotation_from_euler(rng.uniform(-1, 1, 3) * (25.0, 12.0, 8.0))
        distance_m = rng.uniform(0.55, 0.8)
        both = []
        for place in (0.0, rng.choice([-0.68, 0.68])):
            translation_m = distance_m * normalize(np.array([place, 0.03, 1.0]))
            towards = rotation_between(OPTICAL_AXIS, translation_m)
            rotation = towards @ turn
            points_px = WIDE.project(transform(head.sparse_m, rotation, translation_m))
            assert (points_px > 0).all()
            assert (points_px < (1280, 960)).all()
            image = head.render(WIDE, rotation, translation_m)
            (face,) = estimator(image, WIDE, boxes=[face_box(points_px)])
            both.append((towards.T @ face.rotation, face))
        found.append(both)
    return found


def test_the_rotation_is_the_same(pairs):
    """On average: the network's own errors differ between the two images."""
    turned = [geodesic_angle_deg(edge[0], middle[0]) for middle, edge in pairs]
    assert np.mean(turned) < 1.5


def test_the_size_is_the_same(pairs):
    """On average: the network's own errors differ between the two images."""

    def size_m(face):
        return np.linalg.norm(face.landmarks_m - face.landmarks_m.mean(0), axis=1).mean()

    ratios = [size_m(edge[1]) / size_m(middle[1]) for middle, edge in pairs]
    changes = np.abs(np.array(ratios) - 1)
    assert changes.mean() < 0.02
    assert changes.max() < 0.03


def test_the_distance_is_the_same(pairs):
    ratios = [edge[1].distance_m / middle[1].distance_m for middle, edge in pairs]
    assert np.mean(np.abs(np.array(ratios) - 1)) < 0.03
