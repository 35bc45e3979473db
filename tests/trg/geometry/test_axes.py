"""Poses in the axes of other programs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from trg.geometry.axes import CAMERA_AXES, HEAD_AXES, pose_to_frame

X, Y, Z = np.eye(3)

# Written down from the programs' manuals, apart from the tables under test.
CAMERA_DIRECTIONS = {  # right and up in the image, and away from the camera
    "opencv": (X, -Y, Z),
    "opengl": (X, Y, -Z),
    "ros": (-Y, Z, X),
    "unity": (X, Y, Z),
    "blender": (X, Y, -Z),
}
HEAD_DIRECTIONS = {  # the person's left, the crown, out of the face
    "opencv": (X, -Y, -Z),
    "opengl": (X, Y, Z),
    "ros": (Y, Z, X),
    "unity": (-X, Y, Z),
    "blender": (X, Z, -Y),
}
FRAMES = pytest.mark.parametrize("frame", CAMERA_DIRECTIONS)
SEEDS = st.integers(0, 2**32 - 1)
PROPERTY = settings(max_examples=30)


def random_pose(seed: int) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=np.random.RandomState(seed)).as_matrix()
    pose[:3, 3] = np.random.default_rng(seed).normal(size=3) + (0, 0, 2)
    return pose


def described(pose: np.ndarray, frame: str) -> np.ndarray:
    """Return the head's left, crown, face and place as (right, up, forward) of the image."""
    camera = np.array(CAMERA_DIRECTIONS[frame])
    columns = [pose[:3, :3] @ direction for direction in HEAD_DIRECTIONS[frame]]
    return np.array([camera @ column for column in (*columns, pose[:3, 3])])


@FRAMES
@PROPERTY
@given(seed=SEEDS)
def test_a_head_looks_the_same_way_in_every_program(frame, seed):
    pose = random_pose(seed)
    np.testing.assert_allclose(
        described(pose_to_frame(pose, frame), frame), described(pose, "opencv"), atol=1e-12
    )


@FRAMES
@PROPERTY
@given(seed=SEEDS)
def test_a_pose_stays_a_proper_rotation_and_the_same_distance(frame, seed):
    pose = random_pose(seed)
    there = pose_to_frame(pose, frame)
    assert np.linalg.det(there[:3, :3]) == pytest.approx(1.0)
    assert np.linalg.norm(there[:3, 3]) == pytest.approx(np.linalg.norm(pose[:3, 3]))
    np.testing.assert_array_equal(there[3], (0, 0, 0, 1))


@FRAMES
def test_only_unity_is_left_handed(frame):
    handedness = -1.0 if frame == "unity" else 1.0
    assert np.linalg.det(CAMERA_AXES[frame]) == handedness
    assert np.linalg.det(HEAD_AXES[frame]) == handedness


@FRAMES
@PROPERTY
@given(seed=SEEDS)
def test_a_model_under_the_programs_camera_lands_on_the_same_pixels(frame, seed):
    pose, rng = random_pose(seed), np.random.default_rng(seed)
    pose[2, 3] += 3.0
    points = rng.normal(size=(9, 3)) * 0.1
    ours = points @ pose[:3, :3].T + pose[:3, 3]
    expected_px = ours[:, :2] / ours[:, 2:] * 700.0 + (320.0, 240.0)

    there = pose_to_frame(pose, frame)
    model = points @ HEAD_AXES[frame].T
    right, up, forward = ((model @ there[:3, :3].T + there[:3, 3]) @ np.array(axis)
                          for axis in CAMERA_DIRECTIONS[frame])  # fmt: skip
    seen_px = np.stack([320.0 + 700.0 * right / forward, 240.0 - 700.0 * up / forward], -1)
    np.testing.assert_allclose(seen_px, expected_px, atol=1e-6)


def test_a_frontal_face_in_every_program():
    """Identity in OpenCV and OpenGL; in ROS and Unity it turns half round to face the camera."""
    frontal = np.eye(4)
    frontal[2, 3] = 0.6
    rotations = {frame: pose_to_frame(frontal, frame)[:3, :3] for frame in CAMERA_DIRECTIONS}
    np.testing.assert_array_equal(rotations["opencv"], np.eye(3))
    np.testing.assert_array_equal(rotations["opengl"], np.eye(3))
    np.testing.assert_array_equal(rotations["ros"], np.diag([-1, -1, 1]))
    np.testing.assert_array_equal(rotations["unity"], np.diag([-1, 1, -1]))
    # Blender's camera looks along its -z; turned up by 90 degrees it looks along the world's +y.
    level = Rotation.from_euler("x", 90, degrees=True).as_matrix()
    np.testing.assert_allclose(level @ rotations["blender"], np.eye(3), atol=1e-12)
    place = level @ pose_to_frame(frontal, "blender")[:3, 3]
    np.testing.assert_allclose(place, (0, 0.6, 0), atol=1e-12)


@PROPERTY
@given(SEEDS)
def test_ros_optical_frames_are_the_opencv_frame(seed):
    """The fixed rotation that ROS puts between a camera's body and its optical frame."""
    pose = random_pose(seed)
    body_from_optical = Rotation.from_euler("xyz", (-90, 0, -90), degrees=True).as_matrix()
    np.testing.assert_allclose(
        pose_to_frame(pose, "ros")[:3, 3], body_from_optical @ pose[:3, 3], atol=1e-12
    )


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (np.eye(3), r"shape \(4, 4\)"),
        (np.diag([1.0, 1.0, -1.0, 1.0]), "determinant -1"),
        (np.diag([2.0, 1.0, 1.0, 1.0]), "expected rotations"),
        (np.eye(4) + np.eye(4, k=-3) * 0.5, "acts on rows"),
        (np.full((4, 4), np.nan), "finite"),
    ],
)
def test_invalid_poses_are_refused_with_the_reason(pose, message):
    with pytest.raises(ValueError, match=message):
        pose_to_frame(pose, "unity")


def test_an_unknown_frame_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'opengl', 'ros', 'unity', 'blender'.*'unreal'"):
        pose_to_frame(np.eye(4), "unreal")
