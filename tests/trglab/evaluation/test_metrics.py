"""The paper's measures against numbers worked out by hand and loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trg.geometry.rotations import rotation_from_euler
from trglab.evaluation import metrics


def euler(*angles: tuple[float, float, float]) -> np.ndarray:
    return rotation_from_euler(np.array(angles, dtype=float))


def test_euler_errors_name_the_angle_that_is_off():
    true = euler((10, 5, -3), (10, 5, -3), (10, 5, -3))
    predicted = euler((12, 5, -3), (10, 4, -3), (10, 5, 1))
    np.testing.assert_allclose(
        metrics.euler_errors_deg(predicted, true), np.diag([2.0, 1.0, 4.0]), atol=1e-9
    )
    np.testing.assert_allclose(metrics.mae_r_deg(predicted, true), [2 / 3, 1 / 3, 4 / 3])


def test_euler_errors_wrap_at_180_degrees():
    error = metrics.euler_errors_deg(euler((0, 0, 179)), euler((0, 0, -179)))
    np.testing.assert_allclose(error, [[0, 0, 2]], atol=1e-9)


def test_geodesic_error_equals_scipy():
    a = Rotation.random(20, random_state=np.random.RandomState(1))
    b = Rotation.random(20, random_state=np.random.RandomState(2))
    expected = np.degrees((a * b.inv()).magnitude())
    np.testing.assert_allclose(
        metrics.geodesic_error_deg(a.as_matrix(), b.as_matrix()), expected, atol=1e-6
    )


def test_translation_errors_are_in_millimetres():
    error = metrics.translation_errors_mm([[0.01, 0.0, 0.5]], [[0.0, 0.002, 0.53]])
    np.testing.assert_allclose(error, [[10, 2, 30]])


def test_add_equals_eq_8_as_a_loop():
    rng = np.random.default_rng(0)
    vertices, t_pred, t_true = rng.normal(size=(3, 7, 3)), rng.normal(size=(3, 3)), np.zeros((3, 3))
    r_pred = Rotation.random(3, random_state=np.random.RandomState(1)).as_matrix()
    r_true = Rotation.random(3, random_state=np.random.RandomState(2)).as_matrix()
    naive = [
        np.mean(
            [
                np.linalg.norm((r_pred[i] @ v + t_pred[i]) - (r_true[i] @ v + t_true[i]))
                for v in vertices[i]
            ]
        )
        * 1000
        for i in range(3)
    ]
    np.testing.assert_allclose(
        metrics.add_mm(vertices, r_pred, t_pred, r_true, t_true), naive, rtol=1e-12
    )


def test_add_of_a_pure_translation_is_its_length():
    vertices = np.random.default_rng(0).normal(size=(1, 9, 3))
    eye = np.eye(3)[None]
    error = metrics.add_mm(vertices, eye, [[0.0, 0.0, 0.51]], eye, [[0.0, 0.0, 0.5]])
    np.testing.assert_allclose(error, [10.0])


def test_landmark_error_and_nme():
    true = np.zeros((2, 4, 3))
    predicted = true.copy()
    predicted[1, :2, 0] = 0.004
    np.testing.assert_allclose(metrics.landmark_error_mm(predicted, true), [0, 2])
    points = np.array([[[0.0, 0.0], [40.0, 10.0]]])
    size = metrics.rectangle_size_px(points)
    np.testing.assert_allclose(size, [20.0])
    np.testing.assert_allclose(metrics.nme(points + (3, 4), points, size), [0.25])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.geodesic_error_deg(np.eye(3)[None] * 2, np.eye(3)[None]), "rotation"),
        (lambda: metrics.geodesic_error_deg(-np.eye(3)[None], np.eye(3)[None]), "rotation"),
        (lambda: metrics.euler_errors_deg(np.eye(3), np.eye(3)), "shape"),
        (lambda: metrics.translation_errors_mm(np.zeros((2, 3)), np.zeros((3, 3))), "as many"),
        (
            lambda: metrics.translation_errors_mm(np.full((2, 3), np.nan), np.zeros((2, 3))),
            "finite",
        ),
        (lambda: metrics.landmark_error_mm(np.zeros((2, 5, 3)), np.zeros((2, 4, 3))), "agree"),
        (lambda: metrics.nme(np.zeros((1, 5, 2)), np.zeros((1, 5, 2)), [0.0]), "above 0"),
    ],
)
def test_invalid_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
