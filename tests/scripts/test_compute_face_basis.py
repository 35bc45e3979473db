"""The face-shape basis of the package: how it is computed from the face model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scripts.compute_face_basis import compute_basis

from trg.geometry.shape_basis import bundled_shape_basis
from trglab.synth.head.ict_facekit import load_ict_facekit

PACKED = Path(
    os.environ.get("TRG_FACE_MODEL")
    or Path(__file__).resolve().parents[3] / "shared/facemodel/ict_facekit.npz"
)


@pytest.mark.slow
@pytest.mark.skipif(
    not PACKED.is_file(),
    reason="needs a packed ICT-FaceKit: set TRG_FACE_MODEL to its .npz file",
)
def test_the_package_has_the_basis_that_the_script_computes(tmp_path, monkeypatch):
    monkeypatch.setenv("TRG_CACHE", str(tmp_path))
    model = load_ict_facekit(PACKED)
    computed, share = compute_basis(model)
    assert share > 0.98
    shipped = bundled_shape_basis()
    np.testing.assert_allclose(shipped.expressions_m, computed.expressions_m, atol=3e-5)
    np.testing.assert_allclose(shipped.mean_m, computed.mean_m, atol=1e-7)
    # Singular vectors of other libraries differ in rounding only.
    np.testing.assert_allclose(shipped.identity_m, computed.identity_m, atol=3e-5)
    identity = np.random.default_rng(0).standard_normal(100)
    person_m = model.neutral(identity)[model.dense]
    modes = computed.identity_m.reshape(len(computed.identity_m), -1)
    coefficients = modes @ (person_m - computed.mean_m).ravel() / (modes**2).sum(1)
    fitted_m = computed.vertices_m(coefficients)
    assert np.sqrt(((fitted_m - person_m) ** 2).sum(1).mean()) < 1e-3
    assert 0.5 < np.std(coefficients) < 1.5, "unit variance"
