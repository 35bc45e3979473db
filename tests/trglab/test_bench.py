"""The renderer's stages are timed by its hook."""

from __future__ import annotations

from trg.app.bench import format_benchmark
from trglab import bench


def test_renderer_benchmark_breaks_the_time_down_by_stage(monkeypatch):
    monkeypatch.setattr(bench, "WARM_UP_PEOPLE", 1)
    result = bench.bench_renderer(seconds=0.01, size_px=32)
    assert set(result.ms_by_stage) == {
        "person", "expression", "surfaces", "light and background", "render", "sensor",
        "visibility of landmarks",
    }  # fmt: skip
    assert 0.5 * result.ms_per_sample < sum(result.ms_by_stage.values()) < result.ms_per_sample
    assert "  render" in format_benchmark(result)
