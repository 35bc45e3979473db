"""Poses in other programs' axes, Euler angles in every order, quaternions."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from trg.geometry.axes import (
    CAMERA_AXES,
    HEAD_AXES,
    euler_in_order,
    pose_from_frame,
    pose_to_frame,
    quaternion_from_rotation,
)

X, Y, Z = np.eye(3)

# Written down from the programs' manuals, apart from the tables under test.
CAMERA_DIRECTIONS = {  # right and up in the picture, and away from the camera
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
PROPERTY = settings(deadline=None, max_examples=30)
ORDERS = [
    "".join(letters)
    for axes in ("xyz", "XYZ")
    for letters in itertools.product(axes, repeat=3)
    if letters[0] != letters[1] != letters[2]
]


def random_pose(seed: int) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=np.random.RandomState(seed)).as_matrix()
    pose[:3, 3] = np.random.default_rng(seed).normal(size=3) + (0, 0, 2)
    return pose


def described(pose: np.ndarray, frame: str) -> np.ndarray:
    """Return the head's left, crown, face and place as (right, up, forward) of the picture."""
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
def test_a_pose_comes_back_from_every_program(frame, seed):
    pose = random_pose(seed)
    again = pose_from_frame(pose_to_frame(pose, frame), frame)
    np.testing.assert_allclose(again, pose, atol=1e-12)


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


@PROPERTY
@given(SEEDS)
def test_quaternions_are_scipys(seed):
    rotation = random_pose(seed)[:3, :3]
    ours = quaternion_from_rotation(rotation)
    scipys = Rotation.from_matrix(rotation).as_quat(canonical=True)
    np.testing.assert_allclose(ours, scipys, atol=1e-12)
    assert ours[3] >= 0.0
    np.testing.assert_allclose(Rotation.from_quat(ours).as_matrix(), rotation, atol=1e-12)


@pytest.mark.parametrize("axis", [X, Y, Z, -X, (X + Y) / 2**0.5, (Y - Z) / 2**0.5])
def test_quaternions_of_half_turns_have_one_sign(axis):
    rotation = 2.0 * np.outer(axis, axis) - np.eye(3)
    quaternion = quaternion_from_rotation(rotation)
    assert quaternion[np.abs(quaternion) > 1e-9][0] > 0
    np.testing.assert_allclose(Rotation.from_quat(quaternion).as_matrix(), rotation, atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
@PROPERTY
@given(seed=SEEDS)
def test_euler_angles_are_scipys_in_every_order(order, seed):
    rotation = random_pose(seed)[:3, :3]
    scipys = Rotation.from_matrix(rotation).as_euler(order, degrees=True)
    if np.abs(np.sin(np.radians(2 * scipys[1]))) > 1e-3:
        np.testing.assert_allclose(euler_in_order(rotation, order), scipys, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("end", [0, 1])
def test_euler_angles_at_gimbal_lock_are_scipys_and_give_the_rotation_back(order, end):
    returns = order[0] == order[2]
    middle = (0.0, 180.0)[end] if returns else (-90.0, 90.0)[end]
    rotation = Rotation.from_euler(order, (25.0, middle, 40.0), degrees=True).as_matrix()
    angles = euler_in_order(rotation, order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # SciPy's, of the lock
        scipys = Rotation.from_matrix(rotation).as_euler(order, degrees=True)
    np.testing.assert_allclose(angles, scipys, atol=1e-5)
    assert angles[2] == 0.0
    again = Rotation.from_euler(order, angles, degrees=True).as_matrix()
    np.testing.assert_allclose(again, rotation, atol=1e-6)


def test_the_identity_has_no_negative_zeros():
    for order in ORDERS:
        assert not np.signbit(euler_in_order(np.eye(3), order)).any()
    assert not np.signbit(quaternion_from_rotation(np.eye(3))).any()


@pytest.mark.parametrize("order", ["", "xy", "xyzx", "xxz", "xzz", "xYz", "abc", "ypr", None])
def test_an_order_that_is_none_says_what_is_one(order):
    with pytest.raises(ValueError, match="expected three of 'xyz'"):
        euler_in_order(np.eye(3), order)


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (np.eye(3), r"shape \(4, 4\)"),
        (np.diag([1.0, 1.0, -1.0, 1.0]), "determinant -1"),
        (np.diag([2.0, 1.0, 1.0, 1.0]), "expected a rotation"),
        (np.eye(4) + np.eye(4, k=-3) * 0.5, "acts on rows"),
        (np.full((4, 4), np.nan), "finite"),
    ],
)
@pytest.mark.parametrize("change", [pose_to_frame, pose_from_frame])
def test_a_matrix_that_is_no_pose_says_why(change, pose, message):
    with pytest.raises(ValueError, match=message):
        change(pose, "unity")


def test_an_unknown_frame_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'opengl', 'ros', 'unity', 'blender'.*'unreal'"):
        pose_to_frame(np.eye(4), "unreal")
