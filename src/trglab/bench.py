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

import numpy as np

from trg.app.bench import NetworkBenchmark, bench_network
from trg.geometry.face_mesh import FaceTopology

if TYPE_CHECKING:
    from trg.network.config import TRGConfig

WARM_UP_PEOPLE = 3


@dataclass(frozen=True, slots=True)
class RendererBenchmark:
    """Rendering speed of one process, by stage, in processor time."""

    samples_per_second: float
    matrix_product_gflops: float
    """Of :func:`matrix_product_gflops` on the same core: the unit for comparing machines"""
    ms_per_sample: float
    ms_by_stage: dict[str, float]
    """Per sample; the rest of ``ms_per_sample`` is spent between the stages"""
    start_seconds: float
    """Until the first sample is there; shorter when the caches on disk are filled"""
    peak_memory_mb: float


class StageTimer:
    """Accumulates seconds of processor time by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the duration of the ``with`` block to ``stage``."""
        start = time.process_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.process_time() - start


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


def matrix_product_gflops(side: int = 1024, repetitions: int = 5) -> float:
    """Return the rate of NumPy's float32 matrix product in GFLOP per second of processor time."""
    matrix = np.random.default_rng(0).random((side, side), dtype=np.float32)
    seconds = []
    for _ in range(repetitions):
        start = time.process_time()
        matrix @ matrix
        seconds.append(time.process_time() - start)
    return 2.0 * side**3 / min(seconds) / 1e9


def bench_renderer(seconds: float = 3.0, size_px: int = 192) -> RendererBenchmark:
    """Render all images of one person after another for about ``seconds``.

    All ingredients whose assets are installed are used. The speed is the mean over all samples:
    people differ too much in hair and clothes for the fastest one to be representative. It counts
    processor time, on which other load of the machine has the least effect.
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
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        for _ in range(IMAGES_PER_PERSON):
            faces.sample(first + done)
            done += 1
    per_second = done / (time.process_time() - start)
    return RendererBenchmark(
        samples_per_second=per_second,
        matrix_product_gflops=matrix_product_gflops(),
        ms_per_sample=1000.0 / per_second,
        ms_by_stage={stage: 1000.0 * total / done for stage, total in timer.seconds.items()},
        start_seconds=start_seconds,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    )
