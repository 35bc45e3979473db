"""The face-shape basis: validation, storage, and the one inside the package."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.synthetic_topology import ellipsoid_topology
from trg.geometry.shape_basis import (
    BUNDLED_BASIS,
    EXPRESSION_NAMES,
    ShapeBasis,
    bundled_shape_basis,
    read_shape_basis,
)
from trg.inference.bundle import bundled, bundled_names, read_bundle


@pytest.fixture(scope="module")
def basis() -> ShapeBasis:
    return bundled_shape_basis()


def centre_and_motion(basis: ShapeBasis, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return where an expression acts and how it moves there, both weighted by its offsets."""
    offsets = basis.expressions_m[EXPRESSION_NAMES.index(name)]
    weight = np.linalg.norm(offsets, axis=1)[:, None] / np.linalg.norm(offsets, axis=1).sum()
    return (weight * basis.mean_m).sum(0), (weight * offsets).sum(0)


def test_the_names_are_the_52_of_arkit():
    assert len(EXPRESSION_NAMES) == len(set(EXPRESSION_NAMES)) == 52
    assert list(EXPRESSION_NAMES) == sorted(EXPRESSION_NAMES)
    assert sum(name.endswith("Left") for name in EXPRESSION_NAMES) == sum(
        name.endswith("Right") for name in EXPRESSION_NAMES
    )


@pytest.mark.parametrize("name", bundled_names())
def test_the_bundled_basis_has_the_mesh_of_the_bundled_models(basis, name):
    topology = read_bundle(bundled(name)).topology
    basis.require_mesh(topology)
    np.testing.assert_array_equal(basis.mean_m, topology.template_m)


def test_the_bundled_basis_is_small_and_its_identity_modes_are_sorted(basis):
    assert BUNDLED_BASIS.stat().st_size < 500_000
    assert 30 <= len(basis.identity_m) <= 40
    modes = basis.identity_m.reshape(len(basis.identity_m), -1)
    products = modes @ modes.T
    deviation = np.sqrt(np.diag(products))
    assert (np.diff(deviation) < 0).all()
    crossed = products / np.outer(deviation, deviation) - np.eye(len(modes))
    assert np.abs(crossed).max() < 1e-3, "orthogonal up to half precision"


def test_expressions_move_the_right_part_of_the_face_the_right_way(basis):
    centre, motion = centre_and_motion(basis, "jawOpen")
    assert centre[1] > 0.02
    assert motion[1] > 0.01, "the chin goes down"
    _, motion = centre_and_motion(basis, "jawLeft")
    assert motion[0] > 0.003, "to the person's left"
    for side, sign in (("Left", 1), ("Right", -1)):
        for stem in ("eyeBlink", "mouthSmile", "browDown", "cheekSquint", "noseSneer"):
            centre, _ = centre_and_motion(basis, stem + side)
            assert sign * centre[0] > 0.02, f"{stem}{side} is on the person's own side"
    _, motion = centre_and_motion(basis, "mouthSmileLeft")
    assert motion[1] < -0.002, "the corner of the mouth goes up"
    assert not basis.expressions_m[EXPRESSION_NAMES.index("tongueOut")].any(), "no tongue"


def test_a_face_is_the_mean_plus_weighted_modes(basis):
    np.testing.assert_array_equal(basis.vertices_m(), basis.mean_m)
    weights = np.zeros(52)
    weights[EXPRESSION_NAMES.index("jawOpen")] = 0.5
    expected = basis.mean_m + 2 * basis.identity_m[0] - basis.identity_m[1]
    expected = expected + 0.5 * basis.expressions_m[EXPRESSION_NAMES.index("jawOpen")]
    np.testing.assert_allclose(basis.vertices_m([2.0, -1.0], weights), expected, atol=1e-15)
    with pytest.raises(ValueError, match="identity: expected at most"):
        basis.vertices_m(np.zeros(200))


def test_another_mesh_is_refused_with_the_reason(basis):
    with pytest.raises(ValueError, match="expected the landmark mesh of the bundled"):
        basis.require_mesh(ellipsoid_topology())


def test_arrays_are_read_only_and_checked(basis):
    with pytest.raises(ValueError, match="read-only"):
        basis.mean_m[0] = 0.0
    with pytest.raises(ValueError, match=r"expressions_m: expected shape \(52, 1220, 3\)"):
        ShapeBasis(basis.mean_m, basis.identity_m, basis.expressions_m[:51])
    with pytest.raises(ValueError, match="finite"):
        ShapeBasis(basis.mean_m, basis.identity_m * np.nan, basis.expressions_m)


def test_storage_round_trip_and_damaged_files(basis, tmp_path):
    path = tmp_path / "basis.npz"
    np.savez_compressed(path, **basis.to_arrays())
    again = read_shape_basis(path)
    for name, array in basis.to_arrays().items():
        np.testing.assert_array_equal(getattr(again, name), array)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"basis\.npz: expected a shape basis"):
        read_shape_basis(path)
    np.savez(path, mean_m=basis.mean_m)
    with pytest.raises(ValueError, match=r"basis\.npz: expected a shape basis .*lacks"):
        read_shape_basis(path)
    with pytest.raises(FileNotFoundError, match="expected a shape basis"):
        read_shape_basis(tmp_path / "none.npz")
