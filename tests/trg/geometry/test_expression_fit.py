"""Expression weights: the solver against SciPy, and faces whose weights are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear
from scipy.spatial.transform import Rotation

from trg.geometry.expression_fit import (
    SEEN_EXPRESSIONS,
    ExpressionFit,
    bundled_expression_fit,
    minimize_in_unit_box,
)
from trg.geometry.shape_basis import EXPRESSION_NAMES, ShapeBasis

AMBIGUOUS = ("eyeWide", "eyeLookUp", "mouthShrugUpper", "mouthPress", "tongueOut")
"""Expressions that resemble others on the landmarks."""


@pytest.fixture(scope="module")
def fit() -> ExpressionFit:
    return bundled_expression_fit()


def weights_of(**amounts: float) -> np.ndarray:
    weights = np.zeros(52)
    for name, amount in amounts.items():
        weights[EXPRESSION_NAMES.index(name)] = amount
    return weights


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("condition", [1.0, 1e6])
def test_the_solver_finds_the_minimum_within_the_bounds(seed, condition):
    rng = np.random.default_rng(seed)
    count = 30
    root = rng.standard_normal((count, count)) * np.geomspace(1.0, np.sqrt(condition), count)
    hessian = root.T @ root + 0.1 * np.eye(count)
    linear = hessian @ rng.uniform(-1.0, 2.0, count)
    found = minimize_in_unit_box(hessian, linear)
    cholesky = np.linalg.cholesky(hessian)
    exact = lsq_linear(
        cholesky.T, np.linalg.solve(cholesky, linear), (0, 1), tol=1e-14, method="bvls"
    ).x
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert 0 < (found == 0.0).sum() < count, "some weights are at a bound, not all"
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_the_solver_answers_without_variables_or_slope():
    assert not minimize_in_unit_box(np.eye(3), np.zeros(3)).any()
    assert minimize_in_unit_box(np.zeros((0, 0)), np.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    "weights",
    [
        weights_of(jawOpen=0.6),
        weights_of(mouthSmileLeft=0.8, mouthSmileRight=0.3, cheekSquintLeft=0.4),
        weights_of(eyeBlinkLeft=1.0),
        weights_of(browInnerUp=0.7, browOuterUpLeft=0.7, browOuterUpRight=0.7),
        weights_of(mouthPucker=0.9),
        weights_of(),
    ],
)
def test_a_made_up_face_gives_the_weights_that_it_was_made_of(fit, weights):
    rng = np.random.default_rng(1)
    identity = rng.standard_normal(40)
    found = fit.weights(fit.basis.vertices_m(identity, weights))
    np.testing.assert_allclose(found, weights, atol=0.08)


def test_size_rotation_and_place_of_the_head_do_not_matter(fit):
    weights = weights_of(jawOpen=0.5, mouthSmileLeft=0.6, mouthSmileRight=0.6, eyeBlinkRight=0.8)
    face_m = fit.basis.vertices_m(np.random.default_rng(2).standard_normal(40), weights)
    expected = fit.weights(face_m)
    np.testing.assert_allclose(fit.weights(1.25 * face_m), expected, atol=1e-2)
    turned = Rotation.from_euler("xyz", (1.0, -1.0, 1.0), degrees=True).apply(face_m)
    np.testing.assert_allclose(fit.weights(turned + (0.004, -0.01, 0.02)), expected, atol=0.1)


def test_noise_changes_the_weights_little_and_never_leaves_the_range(fit):
    rng = np.random.default_rng(3)
    moving = [k for k, name in enumerate(EXPRESSION_NAMES) if not name.startswith(AMBIGUOUS)]
    for _ in range(10):
        weights = rng.uniform(0.0, 0.6, 52) * (rng.random(52) < 0.15)
        weights[[k for k in range(52) if k not in moving]] = 0.0
        face_m = fit.basis.vertices_m(rng.standard_normal(40), weights)
        found = fit.weights(face_m + rng.normal(0.0, 0.001, face_m.shape))
        assert ((found >= 0.0) & (found <= 1.0)).all()
        assert np.abs(found - weights)[moving].mean() < 0.05


def test_an_expression_without_motion_is_zero(fit):
    assert fit.weights(fit.basis.mean_m + 0.001)[EXPRESSION_NAMES.index("tongueOut")] == 0.0


def test_a_basis_of_another_mesh_works_alike():
    rng = np.random.default_rng(4)
    mean_m = rng.normal(0.0, 0.05, (90, 3))
    expressions_m = np.zeros((52, 90, 3))
    expressions_m[:5] = rng.normal(0.0, 0.01, (5, 90, 3))
    fit = ExpressionFit(ShapeBasis(mean_m, rng.normal(0.0, 0.003, (4, 90, 3)), expressions_m))
    weights = np.zeros(52)
    weights[:5] = (0.0, 0.3, 0.6, 0.9, 0.1)
    found = fit.weights(fit.basis.vertices_m([0.5, -1.0], weights))
    np.testing.assert_allclose(found, weights, atol=0.08)


@pytest.mark.parametrize(
    ("vertices_m", "message"),
    [
        (np.zeros((3, 3)), r"vertices_m: expected shape \(1220, 3\)"),
        (np.full((1220, 3), np.nan), "finite"),
        (np.ones((1220, 3)), "all coincide"),
    ],
)
def test_bad_vertices_are_refused(fit, vertices_m, message):
    with pytest.raises(ValueError, match=message):
        fit.weights(vertices_m)


def test_seen_expressions_are_some_of_the_52():
    assert set(SEEN_EXPRESSIONS) < set(EXPRESSION_NAMES)
    assert {"jawOpen", "mouthSmileLeft", "mouthSmileRight"} <= set(SEEN_EXPRESSIONS)
