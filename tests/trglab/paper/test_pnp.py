"""The PnP solver: exact truth, scipy as the oracle, outliers, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from tests.support.synthetic_topology import ellipsoid_topology
from trg.geometry.projection import rays_from_points, transform
from trg.geometry.rotations import geodesic_angle_deg, rotation_from_euler
from trglab.paper.pnp import posit, solve_pnp

FACE = ellipsoid_topology().template_m[ellipsoid_topology().landmarks68].astype(float)


def scene(seed: int, noise: float = 0.0, points=FACE):
    """A pose, and rays of the points under it with noise in shares of the face's size."""
    rng = np.random.default_rng(seed)
    rotation = rotation_from_euler(rng.uniform((-75, -45, -90), (75, 45, 90)))
    translation_m = np.array([*rng.uniform(-0.15, 0.15, 2), rng.uniform(0.3, 2.5)])
    rays = rays_from_points(transform(points, rotation, translation_m))
    size = np.ptp(rays, axis=0).max()
    return rotation, translation_m, rays + noise * size * rng.normal(size=rays.shape), size, rng


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.booleans())
def test_exact_points_give_the_exact_pose(seed, draw):
    rotation, translation_m, rays, _, rng = scene(seed)
    found = solve_pnp(FACE, rays, rng if draw else None)
    assert geodesic_angle_deg(found.rotation, rotation) < 1e-6
    np.testing.assert_allclose(found.translation_m, translation_m, atol=1e-8)
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-12)
    assert found.inliers.all()
    assert found.median_error < 1e-9


def scipys_pose(points, rays, rotation, translation_m, width):
    """SciPy's robust least squares: Cauchy's loss over points, by rotation vector and shift."""

    def residuals(numbers):
        turned = Rotation.from_rotvec(numbers[:3]).as_matrix() @ rotation
        seen = rays_from_points(transform(points, turned, numbers[3:]))
        distance_squared = ((seen - rays) ** 2).sum(-1)
        # Squares of these are the loss: Cauchy over points rather than over coordinates.
        return width * np.sqrt(np.log1p(distance_squared / width**2))

    best = least_squares(residuals, [0.0, 0.0, 0.0, *translation_m], x_scale="jac", xtol=1e-15)
    return Rotation.from_rotvec(best.x[:3]).as_matrix() @ rotation, best.x[3:]


@pytest.mark.parametrize("seed", range(6))
def test_noisy_points_give_scipys_pose(seed):
    rotation, translation_m, rays, _, _ = scene(seed, noise=0.01)
    found = solve_pnp(FACE, rays)
    noise = found.median_error / np.sqrt(2.0 * np.log(2.0))
    expected_r, expected_t = scipys_pose(FACE, rays, rotation, translation_m, 2.385 * noise)
    assert geodesic_angle_deg(found.rotation, expected_r) < 0.02
    np.testing.assert_allclose(found.translation_m, expected_t, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_a_third_of_outliers_is_tolerated(seed):
    rotation, translation_m, rays, size, rng = scene(seed, noise=0.003)
    wrong = rng.permutation(68) < 23
    shift = rng.uniform(0.15, 0.6, (68, 1)) * size
    angle = rng.uniform(0, 2 * np.pi, (68, 1))
    rays[wrong] += (shift * np.hstack([np.cos(angle), np.sin(angle)]))[wrong]
    found = solve_pnp(FACE, rays, rng)
    assert geodesic_angle_deg(found.rotation, rotation) < 2.0
    assert np.linalg.norm(found.translation_m - translation_m) < 0.02 * translation_m[2]
    assert not found.inliers[wrong].any()
    assert found.inliers[~wrong].mean() > 0.9


def test_pnp_is_reproducible():
    _, _, rays, _, _ = scene(3, noise=0.01)
    first, second = (solve_pnp(FACE, rays, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first.rotation, second.rotation)
    np.testing.assert_array_equal(first.translation_m, second.translation_m)


def test_distance_scales_with_the_size_of_the_face():
    """What an image cannot tell: the same rays, a 10 % larger face, 10 % more distance."""
    rotation, translation_m, rays, _, _ = scene(7)
    found = solve_pnp(1.1 * FACE, rays)
    np.testing.assert_allclose(found.translation_m, 1.1 * translation_m, rtol=1e-6)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-6)


def test_posit_solves_point_sets_independently():
    poses = [scene(seed) for seed in range(4)]
    rotation, translation_m = posit(np.stack([FACE] * 4), np.stack([pose[2] for pose in poses]))
    for row, (true_rotation, true_translation_m, *_) in enumerate(poses):
        assert geodesic_angle_deg(rotation[row], true_rotation) < 0.5
        np.testing.assert_allclose(translation_m[row], true_translation_m, rtol=0.02, atol=0.01)
        alone = posit(FACE[None], poses[row][2][None])
        np.testing.assert_allclose(alone[0][0], rotation[row], atol=1e-12)


def test_degenerate_points_are_refused():
    _, _, rays, _, _ = scene(0)
    with pytest.raises(ValueError, match="at least 6 points"):
        solve_pnp(FACE[:5], rays[:5])
    with pytest.raises(ValueError, match="a ray for each"):
        solve_pnp(FACE, rays[:60])
    with pytest.raises(ValueError, match="one plane"):
        solve_pnp(FACE * (1.0, 1.0, 0.0), rays)
    with pytest.raises(ValueError, match="at one place"):
        solve_pnp(FACE, np.zeros_like(rays))
    with pytest.raises(ValueError, match="finite"):
        solve_pnp(FACE, np.full_like(rays, np.nan))
