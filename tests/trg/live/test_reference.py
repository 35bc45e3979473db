"""Mount and neutral pose: what counts as zero."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trg.live.reference import Mount, ReferenceFrame


def pose_of(yaw_pitch_roll_deg=(0.0, 0.0, 0.0), translation_m=(0.0, 0.0, 0.6)) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("yxz", yaw_pitch_roll_deg, degrees=True).as_matrix()
    pose[:3, 3] = translation_m
    return pose


def seen_from(mount: Mount, screen_from_head: np.ndarray) -> np.ndarray:
    """Return what the mounted camera sees of a head before the screen."""
    return np.linalg.inv(mount.screen_from_camera) @ screen_from_head


@pytest.mark.parametrize(
    ("mount", "seen"),
    [
        # Someone who looks ahead looks past a camera that is turned to them, on its other side.
        ("up=20,tilt=15", {"pitch_deg": 15.0}),
        ("right=30,turn=25", {"yaw_deg": -25.0}),
        ("roll=10", {"roll_deg": -10.0}),
        ("forward=5", {}),
    ],
)
def test_a_straight_look_is_zero_wherever_the_camera_is(mount, seen):
    straight = pose_of(translation_m=(0.0, 0.0, 0.6))
    in_camera = seen_from(Mount.parse(mount), straight)
    yaw, pitch, roll = Rotation.from_matrix(in_camera[:3, :3]).as_euler("yxz", degrees=True)
    angles = {"yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": roll}
    assert angles == pytest.approx({**dict.fromkeys(angles, 0.0), **seen}, abs=1e-9)
    converted = ReferenceFrame(Mount.parse(mount)).convert(in_camera)
    np.testing.assert_allclose(converted, straight, atol=1e-12)


@pytest.mark.parametrize(
    ("mount", "direction"),
    [
        ("tilt=15", "down"),
        ("turn=25", "to the person's left"),
    ],
)
def test_the_camera_looks_where_the_mount_says(mount, direction):
    ahead = Mount.parse(mount).screen_from_camera[:3, 2]  # x to the person's left, y down
    component = ahead[1] if direction == "down" else ahead[0]
    assert component == pytest.approx(np.sin(np.radians(15.0 if direction == "down" else 25.0)))


def test_a_camera_above_and_to_the_right_is_there():
    place = Mount.parse("up=20,right=10,forward=3").screen_from_camera[:3, 3]
    np.testing.assert_allclose(place, (-0.10, -0.20, 0.03))


@pytest.mark.parametrize("text", ["above=3", "up", "up=high", "up=nan", "", "up=1 tilt=2"])
def test_an_invalid_mount_is_refused(text):
    with pytest.raises(ValueError, match="mount: expected"):
        Mount.parse(text)


def test_the_neutral_pose_becomes_the_identity_and_movements_are_the_persons_own():
    """A person who sits aside of the camera and looks past it: left stays left, nearer nearer."""
    neutral = pose_of((30.0, -10.0, 5.0), (0.2, 0.1, 0.7))
    frame = ReferenceFrame(Mount.parse("up=20,tilt=15"))
    frame.set_neutral(neutral)
    np.testing.assert_allclose(frame.convert(neutral), np.eye(4), atol=1e-12)
    movement = pose_of((-20.0, 0.0, 0.0), (0.0, 0.0, -0.1))  # turns left, and comes nearer
    np.testing.assert_allclose(frame.convert(neutral @ movement), movement, atol=1e-12)
