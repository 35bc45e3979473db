"""Timings of the pose pipeline are consistent with each other."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from tests.support.oracle_network import Head, OracleNetwork, numbered_crops  # noqa: F401 -- a fixture
from trg.app import bench

pytestmark = pytest.mark.usefixtures("numbered_crops")


def test_pose_benchmark_times_single_faces_batches_and_tracking(monkeypatch):
    network = OracleNetwork([[Head((0.0, 0.0, 0.6))]])
    monkeypatch.setattr(bench, "PoseRuntime", lambda bundle, threads: network)
    monkeypatch.setattr(bench, "_detection_ms", lambda image, seconds: 6.0)
    result = bench.bench_pose("a bundle", seconds=0.02)
    assert result.batch_gain == pytest.approx(result.ms_per_face / result.ms_per_face_in_batch)
    assert result.ms_per_tracking_frame > 6.0 / 15
    assert max(network.calls) > 1
    numbers = [value for value in asdict(result).values() if value is not None]
    assert np.isfinite(numbers).all()
    assert "batch_gain" in bench.format_benchmark(result)
