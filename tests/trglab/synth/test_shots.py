"""Shots: ranges of poses and cameras, reproducibility, validation."""

from __future__ import annotations

import numpy as np
import pytest

from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between, rotation_to_euler
from trglab.synth.shots import (
    FACE_CENTRE_M,
    Shot,
    ShotDistribution,
    sample_shot,
)


def draw(count: int, **fields: float) -> list[Shot]:
    rng = np.random.default_rng(0)
    return [sample_shot(rng, ShotDistribution(**fields)) for _ in range(count)]


def test_shots_keep_their_ranges_and_are_mostly_near_frontal():
    shots = draw(1000)
    depth = np.array([shot.translation_m[2] for shot in shots])
    assert depth.min() >= 0.2
    assert depth.max() <= 3.0
    assert np.median(np.log(depth)) == pytest.approx(np.log(0.2 * 3.0) / 2, abs=0.1)
    middles = [s.rotation @ FACE_CENTRE_M + s.translation_m for s in shots]
    seen = [
        rotation_between(OPTICAL_AXIS, middle).T @ s.rotation
        for s, middle in zip(shots, middles, strict=True)
    ]
    yaw, pitch, roll = np.abs(rotation_to_euler(np.array(seen))).T
    assert yaw.max() <= 90.001
    assert max(pitch.max(), roll.max()) <= 60.001
    assert (yaw < 20).mean() > 2 * ((yaw > 20) & (yaw < 40)).mean() * 0.7
    assert (yaw > 60).mean() > 0.03


def test_face_centres_lie_inside_the_image():
    for camera, rotation, translation_m in draw(300, distortion_share=0.5):
        x, y = camera.project(rotation @ FACE_CENTRE_M + translation_m)
        assert 0 < x < camera.width
        assert 0 < y < camera.height


def test_the_same_generator_gives_the_same_shot():
    for a, b in zip(draw(5), draw(5), strict=True):
        assert a.camera == b.camera
        np.testing.assert_array_equal(a.rotation, b.rotation)


def test_invalid_distributions_raise():
    with pytest.raises(ValueError, match="distance_m"):
        ShotDistribution(distance_m=(1.0, 0.5))
    with pytest.raises(ValueError, match="behind the camera"):
        ShotDistribution(distance_m=(0.15, 0.5))
    for name in ("uniform_share", "off_centre_share", "cut_off_share", "distortion_share"):
        with pytest.raises(ValueError, match=name):
            ShotDistribution(**{name: 2.0})
