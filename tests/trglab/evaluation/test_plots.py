"""Plots of faces when a method has diverged."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.made_samples import CAMERA, TOPOLOGY
from trglab.evaluation.plots import FacePlotRow, PosedMesh, plot_faces, write_plot

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("offset_m", [(0.0, 0.0, 40.0), (0.0, 0.0, -3.0), (2.0, 0.0, 0.0)])
def test_a_diverged_face_does_not_set_the_limits(tmp_path, offset_m) -> None:
    """Too far, behind the camera, or beside the image: the panels show the others as before."""
    true_m = TOPOLOGY.template_m + np.array([0.0, 0.0, 0.6])

    def row(**offsets) -> FacePlotRow:
        meshes = {
            name: PosedMesh(true_m + np.array(offset), TOPOLOGY.triangles)
            for name, offset in offsets.items()
        }
        image = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
        return FacePlotRow("one", image, CAMERA, meshes)

    near = {"truth": (0.0, 0.0, 0.0), "TRG": (0.01, 0.0, 0.05)}
    without, with_diverged = plot_faces([row(**near)]), plot_faces([row(**near, PnP=offset_m)])
    for first, second in ((0, 0), (1, 1)):
        assert without.axes[first].get_xlim() == with_diverged.axes[second].get_xlim()
    for get in ("get_xlim", "get_ylim", "get_zlim"):
        assert getattr(without.axes[-1], get)() == getattr(with_diverged.axes[-1], get)()
    assert "cut off" in with_diverged.axes[2].get_title()
    assert with_diverged.axes[3].get_title() == "outside: PnP"
    assert without.axes[2].get_title() == ""
    write_plot(tmp_path / "faces.png", with_diverged)
