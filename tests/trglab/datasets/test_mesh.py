"""Mirror map and subsample of meshes without a landmark topology."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.meshes import symmetric_sheet
from trglab.datasets.mesh import mirror_map, subsample_by_decimation


def test_mirror_map_of_a_symmetric_mesh_is_exact():
    vertices, _ = symmetric_sheet()
    mirror = mirror_map(vertices)
    np.testing.assert_allclose(vertices[mirror], vertices * (-1, 1, 1), atol=1e-12)


def test_mirror_map_of_any_mesh_is_its_own_inverse():
    vertices = np.random.default_rng(0).normal(size=(303, 3))
    mirror = mirror_map(vertices)
    np.testing.assert_array_equal(mirror[mirror], np.arange(303))
    pairs = np.linalg.norm(vertices[mirror] * (-1, 1, 1) - vertices, axis=1)
    random = np.linalg.norm(vertices[::-1] * (-1, 1, 1) - vertices, axis=1)
    assert np.median(pairs) < 0.35 * np.median(random)


@pytest.mark.parametrize("count", [40, 101, 200])
def test_subsample_has_the_exact_count_and_covers_every_region(count):
    pytest.importorskip("fast_simplification")
    vertices, triangles = symmetric_sheet()
    keep = np.array([0, 17, 100])
    chosen = subsample_by_decimation(vertices, triangles, count, keep)
    assert len(chosen) == len(np.unique(chosen)) == count
    assert np.isin(keep, chosen).all()
    gap = np.linalg.norm(vertices[:, None] - vertices[chosen][None], axis=-1).min(1)
    even_spacing = np.sqrt(0.16 * 0.16 / count)
    assert gap.max() < 3.5 * even_spacing
