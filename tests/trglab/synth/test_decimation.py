"""Decimation of small meshes: what is kept, and where."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.meshes import boundary, sheet_with_seam
from trg.geometry.face_mesh import edges_of
from trglab.synth.head.decimation import decimate


@pytest.mark.parametrize("target", [220, 121, 60])
def test_decimation_reaches_the_target_and_keeps_pins_border_and_seam(target):
    points, triangles, corners = sheet_with_seam()
    pinned = [40, 100, 133]
    mesh = decimate(points, triangles, target, corners=corners, pinned=pinned)
    used = np.unique(mesh.triangles)
    assert len(used) == target
    assert set(pinned) <= set(used)
    rim = points[np.unique(boundary(mesh.triangles))]
    on_rim = np.isin(rim[:, 0], (0, 16)) | np.isin(rim[:, 1], (0, 12))
    assert on_rim.all()
    side = mesh.corners >= len(points)
    assert (side == side[:, :1]).all(), "a triangle's corners lie in one chart"
    assert np.array_equal(mesh.corners % len(points), mesh.triangles)
    x = points[mesh.triangles][:, :, 0]
    assert (x[side[:, 0]] >= 8).all()
    assert (x[~side[:, 0]] <= 8).all()


def test_decimation_preserves_coverage_orientation_and_euler_characteristic():
    points, triangles, _ = sheet_with_seam()
    mesh = decimate(points, triangles, 80)
    a, b, c = points[mesh.triangles].swapaxes(0, 1)
    before = np.cross(*(points[triangles][:, k] - points[triangles][:, 0] for k in (1, 2)))
    after = np.cross(b - a, c - a)
    assert np.sign(before[0, 2]) * after[:, 2].min() > 0
    assert after[:, 2].sum() == pytest.approx(before[:, 2].sum()), "the projected area is covered"
    euler = 80 - len(edges_of(mesh.triangles)) + len(mesh.triangles)
    assert euler == 1


def test_decimation_keeps_more_vertices_where_the_weight_is_high():
    points, triangles, _ = sheet_with_seam()
    weight = np.where(points[:, 0] < 8, 100.0, 1.0)
    used = np.unique(decimate(points, triangles, 110, weight=weight, evenness=0.5).triangles)
    assert (points[used, 0] < 8).sum() > 1.5 * (points[used, 0] > 8).sum()


def test_decimation_keeps_detail_that_only_another_pose_shows():
    points, triangles, _ = sheet_with_seam()
    points[:, 2] = 0.0
    spikes = np.array([37, 60, 93, 110, 141, 178])
    raised = points.copy()
    raised[spikes, 2] = 2.0
    with_pose = np.unique(decimate([points, raised], triangles, 80).triangles)
    without = np.unique(decimate([points], triangles, 80).triangles)
    assert np.isin(spikes, with_pose).all()
    assert not np.isin(spikes, without).all()


def test_an_unreachable_target_raises():
    points, triangles, _ = sheet_with_seam(4, 4, 2)
    with pytest.raises(ValueError, match="expected to reach 5 vertices"):
        decimate(points, triangles, 5, pinned=np.arange(10))
