"""Edge flips and mirror maps on small meshes, and the shipped index lists."""

from __future__ import annotations

import numpy as np
import pytest
from scripts.compute_head_topology import (
    flip_edges,
    mirror_by_position,
    procedural_landmarks,
)

from tests.support.meshes import boundary, sheet_with_seam
from trglab.synth.head.mesh_indices import landmark_indices


def test_edge_flips_keep_the_border_and_increase_the_smallest_angles():
    points, triangles, _ = sheet_with_seam()
    points = points * (3.0, 1.0, 0.0) + points[:, 1:2] * (2.0, 0.0, 0.0)
    flipped = flip_edges(points, triangles)

    def smallest_angles(faces):
        sides = points[np.roll(faces, -1, 1)] - points[faces]
        sides /= np.linalg.norm(sides, axis=-1, keepdims=True)
        return np.arccos(-(sides * np.roll(sides, 1, 1)).sum(-1)).min(1)

    assert not np.array_equal(flipped, triangles)
    assert len(boundary(flipped)) == len(boundary(triangles))
    assert smallest_angles(flipped).min() >= smallest_angles(triangles).min() - 1e-9
    assert smallest_angles(flipped).mean() > smallest_angles(triangles).mean()


def test_mirror_by_position_rejects_an_asymmetric_face():
    points = np.array([[-0.01, 0, 0], [0.01, 0, 0], [0, 0, 0.0], [0.02, 0.01, 0]])
    assert mirror_by_position(points, np.arange(3)).tolist() == [1, 0, 2, 3]
    with pytest.raises(ValueError, match="symmetric"):
        mirror_by_position(points, np.arange(4))


@pytest.mark.slow
def test_the_shipped_landmark_mesh_of_the_built_in_head_is_what_the_script_computes():
    """Rounding may make another processor choose a few other vertices."""
    shipped, computed = landmark_indices("procedural_head"), procedural_landmarks()
    assert len(computed.dense) == len(shipped.dense)
    assert np.isin(computed.dense, shipped.dense).mean() > 0.95
