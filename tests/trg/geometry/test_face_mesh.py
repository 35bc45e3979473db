"""The landmark mesh: its checks, edges, mirror map and subsample."""

from __future__ import annotations

import numpy as np
import pytest

from trg.geometry.face_mesh import (
    LANDMARKS68_MIRROR,
    FaceTopology,
    edges_of,
    mirror_map,
    subsample_by_decimation,
)


def grid_mesh(columns: int = 21, rows: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """A curved sheet, symmetric in x."""
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
    vertices = np.stack([x, y, x**2 + 0.3 * np.cos(2 * y)], -1).reshape(-1, 3) * 0.08
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    triangles = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + columns], -1),
            np.stack([corner + 1, corner + columns + 1, corner + columns], -1),
        ]
    )
    return vertices, triangles


def make_topology(**changes) -> FaceTopology:
    vertices, triangles = grid_mesh()
    arrays = {
        "template_m": vertices,
        "triangles": triangles,
        "landmarks68": np.arange(68),
        "subsample": np.arange(0, 300, 3),
        "mirror": mirror_map(vertices),
    }
    return FaceTopology(**{**arrays, **changes})


def test_edges_are_counted_once():
    np.testing.assert_array_equal(
        edges_of([[0, 1, 2], [2, 1, 3]]), [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    )
    vertices, triangles = grid_mesh()
    faces, count = len(triangles), len(vertices)
    assert len(make_topology().edges) == count + faces - 1  # Euler: a disc has V - E + F = 1


def test_mirror_map_of_a_symmetric_mesh_is_exact():
    vertices, _ = grid_mesh()
    mirror = mirror_map(vertices)
    np.testing.assert_allclose(vertices[mirror], vertices * (-1, 1, 1), atol=1e-12)


def test_mirror_map_of_any_mesh_is_a_bijection_that_undoes_itself():
    vertices = np.random.default_rng(0).normal(size=(303, 3))
    mirror = mirror_map(vertices)
    np.testing.assert_array_equal(mirror[mirror], np.arange(303))
    pairs = np.linalg.norm(vertices[mirror] * (-1, 1, 1) - vertices, axis=1)
    random = np.linalg.norm(vertices[::-1] * (-1, 1, 1) - vertices, axis=1)
    assert np.median(pairs) < 0.35 * np.median(random)


def test_the_68_mirror_is_the_standard_one():
    np.testing.assert_array_equal(LANDMARKS68_MIRROR[LANDMARKS68_MIRROR], np.arange(68))
    assert [LANDMARKS68_MIRROR[i] for i in (0, 8, 17, 27, 31, 36, 39, 41, 48, 57, 60, 66)] == [
        16, 8, 26, 27, 35, 45, 42, 46, 54, 57, 64, 66,
    ]  # fmt: skip


@pytest.mark.parametrize("count", [40, 101, 200])
def test_subsample_has_the_exact_count_and_covers_every_region(count):
    pytest.importorskip("fast_simplification")
    vertices, triangles = grid_mesh()
    keep = np.array([0, 17, 100])
    chosen = subsample_by_decimation(vertices, triangles, count, keep)
    assert len(chosen) == len(np.unique(chosen)) == count
    assert np.isin(keep, chosen).all()
    gap = np.linalg.norm(vertices[:, None] - vertices[chosen][None], axis=-1).min(1)
    even_spacing = np.sqrt(0.16 * 0.16 / count)
    assert gap.max() < 3.5 * even_spacing


def test_storage_round_trip():
    topology = make_topology()
    again = FaceTopology.from_arrays(topology.to_arrays())
    for name, array in topology.to_arrays().items():
        np.testing.assert_array_equal(array, getattr(again, name))
    assert topology.vertex_count == 315
    with pytest.raises(ValueError, match="read-only"):
        topology.template_m[0] = 0


def test_the_callers_arrays_stay_the_callers():
    template_m = grid_mesh()[0].astype(np.float32)
    topology = make_topology(template_m=template_m)
    before = topology.template_m.copy()
    template_m[0] = 9.0
    np.testing.assert_array_equal(topology.template_m, before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"triangles": np.array([[0, 1, 315]])}, "0 to 314"),
        ({"triangles": np.array([[0, 1]])}, "shape"),
        ({"landmarks68": np.arange(67)}, r"\(68\)"),
        ({"landmarks68": np.zeros(68)}, "at most once"),
        ({"subsample": np.array([5, 5])}, "at most once"),
        ({"subsample": np.array([5, 6.5])}, "whole numbers"),
        ({"mirror": np.roll(np.arange(315), 1)}, "undoes itself"),
        ({"template_m": np.full((315, 3), np.nan)}, "finite"),
    ],
)
def test_a_topology_that_does_not_fit_says_why(changes, message):
    with pytest.raises(ValueError, match=message):
        make_topology(**changes)


def test_missing_arrays_are_named():
    arrays = make_topology().to_arrays()
    del arrays["mirror"]
    with pytest.raises(ValueError, match="mirror"):
        FaceTopology.from_arrays(arrays)
