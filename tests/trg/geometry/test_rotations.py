"""Rotations against SciPy, roma and naive implementations."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from trg.geometry.rotations import (
    checked_rotation,
    cross,
    geodesic_angle_deg,
    is_rotation,
    nearest_rotation,
    normalize,
    orthonormalize,
    rotation_between,
    rotation_from_6d,
    rotation_from_euler,
    rotation_from_rotvec,
    rotation_to_6d,
    rotation_to_euler,
    rotation_to_quat,
    rotation_to_roll_deg,
    rotation_to_rotvec,
    rotations_to_rotvecs,
    skew,
)

X, Y, Z = np.eye(3)
SEEDS = st.integers(0, 2**32 - 1)
PROPERTY = settings(max_examples=30)
EULER_ORDERS = [
    "".join(letters)
    for axes in ("xyz", "XYZ")
    for letters in itertools.product(axes, repeat=3)
    if letters[0] != letters[1] != letters[2]
]


def random_rotations(seed: int, count: int = 6) -> np.ndarray:
    return Rotation.random(count, random_state=np.random.RandomState(seed)).as_matrix()


@given(SEEDS)
def test_6d_round_trip(seed):
    rotation = random_rotations(seed)
    np.testing.assert_allclose(rotation_from_6d(rotation_to_6d(rotation)), rotation, atol=1e-12)


@given(SEEDS)
def test_6d_is_gram_schmidt(seed):
    numbers = np.random.default_rng(seed).normal(size=6)
    a, b = numbers[:3], numbers[3:]
    x = a / math.sqrt(sum(v * v for v in a))
    y = b - sum(p * q for p, q in zip(x, b, strict=True)) * x
    y = y / math.sqrt(sum(v * v for v in y))
    naive = np.array([x, y, np.cross(x, y)]).T
    np.testing.assert_allclose(rotation_from_6d(numbers), naive, atol=1e-9)


def test_6d_agrees_with_roma():
    torch = pytest.importorskip("torch")
    roma = pytest.importorskip("roma")
    numbers = torch.randn(7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    columns = torch.stack([numbers[:, :3], numbers[:, 3:]], -1)
    torch.testing.assert_close(rotation_from_6d(numbers), roma.special_gramschmidt(columns))


def test_6d_of_zeros_stays_finite():
    assert np.isfinite(rotation_from_6d(np.zeros((1, 6)))).all()


@given(SEEDS)
def test_default_euler_angles_are_scipys_yxz(seed):
    rotation = random_rotations(seed)
    angles = Rotation.from_matrix(rotation).as_euler("yxz", degrees=True)
    np.testing.assert_allclose(rotation_to_euler(rotation), angles, atol=1e-6)
    np.testing.assert_allclose(rotation_from_euler(angles), rotation, atol=1e-9)


def test_signs_of_yaw_pitch_and_roll_in_the_image():
    """x is to the image's right, y down; the nose points to -z, the top of the head to -y."""
    nose, top = -Z, -Y
    yawed, pitched, rolled = rotation_from_euler(np.diag([20.0, 20.0, 20.0]))
    assert (yawed @ nose)[0] < 0  # towards the image's left
    assert (pitched @ nose)[1] > 0  # down
    assert (rolled @ top)[0] > 0  # clockwise


def test_one_rotation_equals_the_same_in_a_batch():
    angles = np.random.default_rng(4).uniform(-180.0, 180.0, (50, 3))
    singles = [rotation_from_euler(each) for each in angles]
    np.testing.assert_array_equal(singles, rotation_from_euler(angles))
    assert rotation_from_euler(angles[0].astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("order", EULER_ORDERS)
@PROPERTY
@given(seed=SEEDS)
def test_euler_angles_are_scipys_in_every_order(order, seed):
    rotation = random_rotations(seed)
    scipys = Rotation.from_matrix(rotation).as_euler(order, degrees=True)
    away_from_lock = np.abs(np.sin(np.radians(2 * scipys[:, 1]))) > 1e-3
    angles = rotation_to_euler(rotation, order)
    np.testing.assert_allclose(angles[away_from_lock], scipys[away_from_lock], atol=1e-6)


@pytest.mark.parametrize("order", EULER_ORDERS)
@pytest.mark.parametrize("end", [0, 1])
def test_third_euler_angle_is_zero_in_gimbal_lock_as_in_scipy(order, end):
    middle = (0.0, 180.0)[end] if order[0] == order[2] else (-90.0, 90.0)[end]
    rotation = Rotation.from_euler(order, (25.0, middle, 40.0), degrees=True).as_matrix()
    angles = rotation_to_euler(rotation, order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # SciPy's, of the lock
        scipys = Rotation.from_matrix(rotation).as_euler(order, degrees=True)
    np.testing.assert_allclose(angles, scipys, atol=1e-5)
    assert angles[2] == 0.0
    again = Rotation.from_euler(order, angles, degrees=True).as_matrix()
    np.testing.assert_allclose(again, rotation, atol=1e-6)


@pytest.mark.parametrize("order", ["", "xy", "xyzx", "xxz", "xzz", "xYz", "abc", "ypr"])
def test_invalid_euler_orders_are_refused(order):
    with pytest.raises(ValueError, match="expected three of 'xyz'"):
        rotation_to_euler(np.eye(3), order)


def test_the_identity_has_no_negative_zeros():
    for order in EULER_ORDERS:
        assert not np.signbit(rotation_to_euler(np.eye(3), order)).any()
    assert not np.signbit(rotation_to_quat(np.eye(3))).any()


@PROPERTY
@given(SEEDS)
def test_quaternions_are_scipys(seed):
    for rotation in random_rotations(seed):
        ours = rotation_to_quat(rotation)
        scipys = Rotation.from_matrix(rotation).as_quat(canonical=True)
        np.testing.assert_allclose(ours, scipys, atol=1e-12)
        assert ours[3] >= 0.0


@pytest.mark.parametrize("axis", [X, Y, Z, -X, (X + Y) / 2**0.5, (Y - Z) / 2**0.5])
def test_quaternions_of_half_turns_have_one_sign(axis):
    rotation = 2.0 * np.outer(axis, axis) - np.eye(3)
    quaternion = rotation_to_quat(rotation)
    assert quaternion[np.abs(quaternion) > 1e-9][0] > 0
    np.testing.assert_allclose(Rotation.from_quat(quaternion).as_matrix(), rotation, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, np.pi / 2, 3.0, np.pi - 1e-7, np.pi])
def test_rotation_vectors_are_scipys(angle):
    rng = np.random.default_rng(4)
    vectors = angle * normalize(np.concatenate([np.eye(3), rng.normal(size=(5, 3))]))
    expected = Rotation.from_rotvec(vectors).as_matrix()
    np.testing.assert_allclose(rotation_from_rotvec(vectors), expected, atol=1e-12)
    for rotation in expected:
        rotvec = rotation_to_rotvec(rotation)
        # An angle near 0 or 180 degrees is as exact as its sine and cosine together, entries of
        # R with an absolute error of a few eps; 1e-12 leaves three orders of magnitude.
        assert np.linalg.norm(rotvec) == pytest.approx(angle, abs=1e-12)
        np.testing.assert_allclose(Rotation.from_rotvec(rotvec).as_matrix(), rotation, atol=1e-12)
    singly = [rotation_to_rotvec(rotation) for rotation in expected]
    np.testing.assert_allclose(rotations_to_rotvecs(expected), singly, atol=1e-9)


@given(SEEDS)
def test_skew_matrices_give_the_cross_product(seed):
    a, b = np.random.default_rng(seed).normal(size=(2, 4, 3))
    product = (skew(a) @ b[..., None])[..., 0]
    np.testing.assert_allclose(product, np.cross(a, b), atol=1e-12)
    np.testing.assert_allclose(cross(a, b), np.cross(a, b), atol=1e-12)


@given(SEEDS)
def test_rotation_between_directions_is_the_least_one(seed):
    source, target = np.random.default_rng(seed).normal(size=(2, 3))
    rotation = rotation_between(source, target)
    unit_source, unit_target = normalize(source), normalize(target)
    np.testing.assert_allclose(rotation @ unit_source, unit_target, atol=1e-9)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    angle_deg = geodesic_angle_deg(rotation, np.eye(3))
    assert np.cos(np.radians(angle_deg)) == pytest.approx(unit_source @ unit_target, abs=1e-9)
    np.testing.assert_array_equal(rotation_between(Z, 2.0 * Z), np.eye(3))


@given(SEEDS)
def test_rounding_errors_of_a_rotation_are_removed(seed):
    rotation = random_rotations(seed, 1)[0]
    restored = orthonormalize(rotation.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(restored, rotation, atol=1e-6)
    np.testing.assert_allclose(restored @ restored.T, np.eye(3), atol=1e-12)


@given(SEEDS)
def test_the_roll_alone_is_the_third_euler_angle(seed):
    for rotation in random_rotations(seed):
        assert rotation_to_roll_deg(rotation) == pytest.approx(rotation_to_euler(rotation)[2])
    locked = rotation_from_euler(np.array([30.0, 90.0, 20.0]))
    assert rotation_to_roll_deg(locked) == rotation_to_euler(locked)[2] == 0.0


@PROPERTY
@given(SEEDS)
def test_nearest_rotation_agrees_with_roma(seed):
    torch = pytest.importorskip("torch")
    roma = pytest.importorskip("roma")
    matrices = np.random.default_rng(seed).normal(size=(4, 3, 3))
    singular_values = np.linalg.svd(matrices, compute_uv=False)
    gap = singular_values[:, 1] - singular_values[:, 2]
    expected = roma.special_procrustes(torch.from_numpy(matrices)).numpy()
    error = np.abs(nearest_rotation(matrices) - expected).max((1, 2))
    # Where two singular values nearly coincide and the determinant is negative, any rotation of
    # their plane is as near: the error grows as eps over the gap.
    assert (error < 1e-12 / gap).all()


def test_nearest_rotation_is_halfway_and_never_a_reflection():
    yaw = np.zeros((3, 3))
    yaw[:, 0] = 10.0, 20.0, 15.0
    one, other, halfway = rotation_from_euler(yaw)
    mean = nearest_rotation(((one + other) / 2.0)[None].astype(np.float32))
    assert mean.dtype == np.float32
    # float32 entries below 1 after an SVD: a few roundings of 6e-8 each.
    np.testing.assert_allclose(mean[0], halfway, atol=1e-6)
    assert np.linalg.det(nearest_rotation(-np.eye(3))) == pytest.approx(1.0)


@given(SEEDS, st.floats(0.0, 180.0))
def test_geodesic_angle_is_the_angle_of_the_relative_rotation(seed, angle_deg):
    rotation = random_rotations(seed, 1)
    axis = normalize(np.random.default_rng(seed).normal(size=3))
    rotated = Rotation.from_rotvec(math.radians(angle_deg) * axis).as_matrix() @ rotation
    np.testing.assert_allclose(geodesic_angle_deg(rotated, rotation), [angle_deg], atol=1e-6)


def test_geodesic_angle_keeps_its_digits_near_zero():
    tiny = Rotation.from_rotvec([1e-7, 0, 0]).as_matrix()
    np.testing.assert_allclose(geodesic_angle_deg(tiny, np.eye(3)), math.degrees(1e-7), rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        (np.eye(4), (3, 3), r"expected shape \(3, 3\), got \(4, 4\)"),
        (np.eye(3), (None, 3, 3), r"expected shape \(n, 3, 3\)"),
        (np.full((3, 3), np.nan), (3, 3), "finite"),
        (np.diag([1.0, 1.0, -1.0]), (3, 3), "determinant -1"),
        (np.diag([2.0, 1.0, 1.0]), (3, 3), "R @ R.T off by 3 "),
        ([np.eye(3), 1.01 * np.eye(3)], (None, 3, 3), "expected rotations.* off by 0.02 "),
    ],
)
def test_matrices_that_are_not_rotations_are_refused(value, shape, message):
    with pytest.raises(ValueError, match=f"^head: .*{message}"):
        checked_rotation("head", value, shape)


def test_one_rotation_and_a_stack_of_them_are_computed_alike():
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(50, 3)), np.zeros((1, 3)), [[np.pi, 0.0, 0.0]]])
    rotations = rotation_from_rotvec(vectors)
    one_by_one = np.stack([rotation_from_rotvec(vector) for vector in vectors])
    np.testing.assert_allclose(one_by_one, rotations, rtol=0, atol=1e-14)
    skewed = rotations * rng.choice([-1.0, 1.0, 1.0 + 4e-4, 1.0 + 6e-4], (len(rotations), 1, 1))
    np.testing.assert_array_equal([is_rotation(each) for each in skewed], is_rotation(skewed))
    assert 0 < is_rotation(skewed).sum() < len(skewed)
    assert not is_rotation(np.full((3, 3), np.nan))


def test_rotations_with_four_decimals_and_empty_arrays_are_accepted():
    rounded = random_rotations(0, 100).round(4)
    assert is_rotation(rounded).all()
    assert not is_rotation(-rounded).any()
    np.testing.assert_array_equal(checked_rotation("head", rounded, (None, 3, 3)), rounded)
    assert checked_rotation("head", np.zeros((0, 3, 3)), (None, 3, 3)).shape == (0, 3, 3)


@PROPERTY
@given(SEEDS)
def test_torch_gives_the_same_results_as_numpy(seed):
    torch = pytest.importorskip("torch")
    numbers = np.random.default_rng(seed).normal(size=(3, 6))

    def everything(numbers):
        rotation = rotation_from_6d(numbers)
        return [
            rotation,
            rotation_to_6d(rotation),
            rotation_to_euler(rotation),
            rotation_to_euler(rotation, "ZXZ"),
            rotation_from_euler(numbers[:, :3] * 60),
            geodesic_angle_deg(rotation, rotation.swapaxes(-1, -2)),
        ]

    for ours, theirs in zip(
        everything(numbers), everything(torch.from_numpy(numbers)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-8, atol=1e-8)
