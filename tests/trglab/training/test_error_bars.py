"""Fitting of error bars to a network's errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.constant_bundle import write_constant_bundle
from tests.support.dot_faces import TOPOLOGY, DotFaces, MeshedDots
from trg.error_bars import STD_COUNT
from trg.inference.bundle import read_bundle
from trg.inference.error_bar_calibration import CARD_KEY, ErrorBarCalibration
from trg.inference.runtime import PoseRuntime
from trg.network.error_bars import FEATURE_COUNT, ErrorBarHead
from trglab.datasets.view_store import ViewStoreSettings, write_views
from trglab.training import error_bars
from trglab.training.error_bars import fit_head, with_error_bars


def test_a_head_learns_where_errors_are_large():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4000, FEATURE_COUNT, generator=generator)
    true_std = 0.1 * (0.7 * features[:, :1]).exp()
    squares = (true_std * torch.randn(4000, STD_COUNT, generator=generator)).square()
    head = ErrorBarHead(TOPOLOGY)
    fit_head(head, features, squares, steps=250)
    with torch.inference_mode():
        ratio = head.log_std_of(features).exp() / true_std
    assert 0.85 < ratio.mean() < 1.15
    assert ratio.std() < 0.25
    assert head.log_std.exp().mean() == pytest.approx(0.1, rel=0.2)  # the median over all


def test_a_bundle_gets_the_error_bars_of_its_own_errors(tmp_path, monkeypatch):
    """A network that says the same of every face is wrong by as much as faces differ."""
    monkeypatch.setattr(error_bars, "STEPS", 200)
    path = tmp_path / "constant.trg"
    write_constant_bundle(path, TOPOLOGY, (0.01, -0.02, 0.5))
    settings = ViewStoreSettings(48, image_format="raw")
    write_views(tmp_path / "views", MeshedDots, settings, indices=range(24))
    seen: list[int] = []
    bundle = with_error_bars(read_bundle(path), [tmp_path / "views"], 40, on_progress=seen.append)
    assert seen == [16, 32, 40]
    assert CARD_KEY in bundle.card.training
    boxes = np.array([[0.0, 0.0, 0.5]], np.float32)
    arrays = PoseRuntime(bundle)(np.zeros((1, 32, 32, 3), np.uint8), boxes)
    assert arrays.std is not None
    std = ErrorBarCalibration.from_training(bundle.card.training).error_bars(arrays.std[0])
    distances_m = [np.linalg.norm(MeshedDots().sample(i).translation_m) for i in range(24)]
    spread = np.sqrt(np.mean(np.log(np.array(distances_m) / 0.5) ** 2))
    assert spread / 3.0 < std["along"][0] < 3.0 * spread


def test_views_without_the_mesh_of_the_bundle_are_refused(tmp_path):
    path = tmp_path / "constant.trg"
    write_constant_bundle(path, TOPOLOGY, (0.0, 0.0, 0.5))
    bundle = read_bundle(path)
    settings = ViewStoreSettings(48, image_format="raw")
    write_views(tmp_path / "views", lambda: DotFaces(posed=False), settings, indices=range(2))
    with pytest.raises(ValueError, match="expected views with 1220 vertices"):
        with_error_bars(bundle, [tmp_path / "views"], 2)
