"""Shots: ranges of poses and cameras, reproducibility, validation."""

from __future__ import annotations

import numpy as np
import pytest

from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between, rotation_to_euler
from trglab.synth.shots import (
    FACE_CENTRE_M,
    HARD_POSES,
    NOMINAL_FACE_BOX_M,
    Shot,
    ShotDistribution,
    sample_shot,
)


def draw(count: int, **fields: float) -> list[Shot]:
    rng = np.random.default_rng(0)
    return [sample_shot(rng, ShotDistribution(**fields)) for _ in range(count)]


def seen_angles_deg(shots: list[Shot]) -> np.ndarray:
    """Yaw, pitch and roll ``(n, 3)`` as the virtual camera that looks at the head sees them."""
    middles = [s.rotation @ FACE_CENTRE_M + s.translation_m for s in shots]
    seen = [
        rotation_between(OPTICAL_AXIS, middle).T @ s.rotation
        for s, middle in zip(shots, middles, strict=True)
    ]
    return rotation_to_euler(np.array(seen))


EASY = dict.fromkeys((*HARD_POSES, "at_border_share"), 0.0)


def test_shots_keep_their_ranges_and_are_mostly_near_frontal():
    shots = draw(1000, **EASY)
    depth = np.array([shot.translation_m[2] for shot in shots])
    assert depth.min() >= 0.2
    assert depth.max() <= 3.0
    assert np.median(np.log(depth)) == pytest.approx(np.log(0.2 * 3.0) / 2, abs=0.1)
    yaw, pitch, roll = np.abs(seen_angles_deg(shots)).T
    assert yaw.max() <= 90.001
    assert max(pitch.max(), roll.max()) <= 60.001
    assert (yaw < 20).mean() > 2 * ((yaw > 20) & (yaw < 40)).mean() * 0.7
    assert (yaw > 60).mean() > 0.03


def test_face_centres_lie_inside_the_image():
    for camera, rotation, translation_m in draw(300, distortion_share=0.5):
        x, y = camera.project(rotation @ FACE_CENTRE_M + translation_m)
        assert 0 < x < camera.width
        assert 0 < y < camera.height


def test_hard_poses_have_their_shares_and_change_nothing_else():
    easy = draw(400, **EASY)
    for name, angle, low, high in (
        ("any_roll_share", 2, 60.0, 180.0),
        ("profile_share", 0, 91.0, 100.0),
        ("looking_down_share", 1, 55.0, 65.0),
    ):
        shots = draw(400, **{**EASY, name: 0.5})
        angles = seen_angles_deg(shots)
        extreme = (np.abs(angles[:, angle]) > low) & (np.abs(angles[:, angle]) <= high + 1e-6)
        assert 0.04 < extreme.mean() < 0.5, name
        changed = [
            not np.allclose(one.rotation, other.rotation)
            for one, other in zip(easy, shots, strict=True)
        ]
        assert 0.4 < np.mean(changed) < 0.6, name
        for one, other in zip(easy, shots, strict=True):
            assert one.camera == other.camera
    down = seen_angles_deg(draw(50, **{**EASY, "looking_down_share": 1.0}))[:, 1]
    assert down.min() > 29.9  # y points down: the tip of the nose is below the centre of the head


def test_a_border_cuts_off_half_of_some_faces():
    shots = draw(200, **{**EASY, "at_border_share": 1.0, "distance_m": (0.5, 2.0)})
    for camera, rotation, translation_m in shots:
        x, y = camera.project(rotation @ FACE_CENTRE_M + translation_m)
        to_border = min(x, y, camera.width - x, camera.height - y)
        face_px = NOMINAL_FACE_BOX_M / translation_m[2] * camera.fx
        assert -1e-6 <= to_border <= 0.3 * face_px


def test_the_same_generator_gives_the_same_shot():
    for a, b in zip(draw(5), draw(5), strict=True):
        assert a.camera == b.camera
        np.testing.assert_array_equal(a.rotation, b.rotation)


def test_invalid_distributions_raise():
    with pytest.raises(ValueError, match="distance_m"):
        ShotDistribution(distance_m=(1.0, 0.5))
    with pytest.raises(ValueError, match="behind the camera"):
        ShotDistribution(distance_m=(0.15, 0.5))
    for name in ("uniform_share", "distortion_share", "any_roll_share", "at_border_share"):
        with pytest.raises(ValueError, match=name):
            ShotDistribution(**{name: 2.0})
