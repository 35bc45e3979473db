"""Cost of an untrained network preset and of the synthetic renderer.

The cost of a weight bundle is measured by :mod:`trg.app.bench`.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trg.app.bench import NetworkBenchmark, bench_network
from trg.geometry.face_mesh import FaceTopology

if TYPE_CHECKING:
    from trg.network.config import TRGConfig

WARM_UP_PEOPLE = 3


@dataclass(frozen=True, slots=True)
class RendererBenchmark:
    """Rendering speed of one process with all features, by stage."""

    samples_per_second: float
    ms_per_sample: float
    ms_by_stage: dict[str, float]
    """Per sample; the rest of ``ms_per_sample`` is spent between the stages"""
    start_seconds: float
    """Until the first sample is there; shorter when the caches on disk are filled"""
    peak_memory_mb: float


class StageTimer:
    """Accumulates wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the duration of the ``with`` block to ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


def bench_config(
    name: str, config: TRGConfig, topology: FaceTopology, seconds: float = 2.0
) -> NetworkBenchmark:
    """Time an untrained network of this configuration. Needs torch and onnx."""
    from trg.network.export import export_bundle
    from trg.network.trg import TRGNetwork

    with tempfile.TemporaryDirectory() as folder:
        network = TRGNetwork(config, topology)
        bundle = export_bundle(network, Path(folder, "bench.trg"), name)
    return bench_network(bundle, seconds)


def bench_renderer(seconds: float = 3.0, size_px: int = 192) -> RendererBenchmark:
    """Render all images of one person after another for about ``seconds``.

    The speed is the mean over all samples: people differ too much in hair and clothes for the
    fastest one to be representative.
    """
    import resource  # POSIX only; networks can be measured without it

    from trglab.synth.dataset import IMAGES_PER_PERSON, SyntheticFaces

    start = time.perf_counter()
    faces = SyntheticFaces(seed=0, window=(size_px, 1.6))
    faces.sample(0)
    start_seconds = time.perf_counter() - start
    first = WARM_UP_PEOPLE * IMAGES_PER_PERSON
    for index in range(1, first):
        faces.sample(index)  # compiles the kernels and fills the caches in memory
    timer = StageTimer()
    faces.timed_stage = timer
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(IMAGES_PER_PERSON):
            faces.sample(first + done)
            done += 1
    per_second = done / (time.perf_counter() - start)
    return RendererBenchmark(
        samples_per_second=per_second,
        ms_per_sample=1000.0 / per_second,
        ms_by_stage={stage: 1000.0 * total / done for stage, total in timer.seconds.items()},
        start_seconds=start_seconds,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    )
