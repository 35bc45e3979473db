"""The landmark mesh: validation, edges and storage."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.meshes import symmetric_sheet
from trg.geometry.face_mesh import LANDMARKS68_MIRROR, FaceTopology, edges_of


def make_topology(**changes) -> FaceTopology:
    vertices, triangles = symmetric_sheet()
    arrays = {
        "template_m": vertices,
        "triangles": triangles,
        "landmarks68": np.arange(68),
        "subsample": np.arange(0, 300, 3),
        "mirror": np.arange(len(vertices)).reshape(15, 21)[:, ::-1].ravel(),
    }
    return FaceTopology(**{**arrays, **changes})


def test_edges_are_counted_once():
    np.testing.assert_array_equal(
        edges_of([[0, 1, 2], [2, 1, 3]]), [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    )
    vertices, triangles = symmetric_sheet()
    faces, count = len(triangles), len(vertices)
    assert len(make_topology().edges) == count + faces - 1  # Euler: a disc has V - E + F = 1


def test_mirror_of_the_68_landmarks():
    np.testing.assert_array_equal(LANDMARKS68_MIRROR[LANDMARKS68_MIRROR], np.arange(68))
    assert [LANDMARKS68_MIRROR[i] for i in (0, 8, 17, 27, 31, 36, 39, 41, 48, 57, 60, 66)] == [
        16, 8, 26, 27, 35, 45, 42, 46, 54, 57, 64, 66,
    ]  # fmt: skip


def test_storage_round_trip():
    topology = make_topology()
    again = FaceTopology.from_arrays(topology.to_arrays())
    for name, array in topology.to_arrays().items():
        np.testing.assert_array_equal(array, getattr(again, name))
    assert topology.vertex_count == 315
    with pytest.raises(ValueError, match="read-only"):
        topology.template_m[0] = 0


def test_arrays_are_copied_from_the_caller():
    template_m = symmetric_sheet()[0].astype(np.float32)
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
        ({"mirror": np.roll(np.arange(315), 1)}, "its own inverse"),
        ({"template_m": np.full((315, 3), np.nan)}, "finite"),
    ],
)
def test_invalid_topologies_are_refused_with_the_reason(changes, message):
    with pytest.raises(ValueError, match=message):
        make_topology(**changes)


def test_missing_arrays_are_named():
    arrays = make_topology().to_arrays()
    del arrays["mirror"]
    with pytest.raises(ValueError, match="mirror"):
        FaceTopology.from_arrays(arrays)
