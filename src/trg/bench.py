"""What a network costs: parameters, multiply-adds and milliseconds per face."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trg.runtime import PoseRuntime
from trg.topology import FaceTopology
from trg.weights import WeightBundle, read_bundle

if TYPE_CHECKING:
    from trg.model.config import TRGConfig


@dataclass(frozen=True, slots=True)
class ModelBench:
    """The cost of one network, for one face per call."""

    name: str
    crop_size: int
    parameters: int | None
    multiply_adds: int | None
    ms_one_thread: float
    """Fastest of the runs, crop in to arrays out."""
    ms_all_threads: float
    model_bytes: int
    """Size of the graph with its weights, uncompressed."""

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


def bench_bundle(bundle: WeightBundle | str | PathLike[str], seconds: float = 2.0) -> ModelBench:
    """Measure a weight bundle for about ``seconds`` on one thread, and as long on all."""
    if not isinstance(bundle, WeightBundle):
        bundle = read_bundle(bundle)
    return ModelBench(
        name=bundle.card.name,
        crop_size=bundle.card.crop_size,
        parameters=bundle.card.parameters,
        multiply_adds=bundle.card.multiply_adds,
        ms_one_thread=_fastest_ms(PoseRuntime(bundle, threads=1), seconds),
        ms_all_threads=_fastest_ms(PoseRuntime(bundle, threads=None), seconds),
        model_bytes=len(bundle.model),
    )


def bench_config(
    name: str, config: TRGConfig, topology: FaceTopology, seconds: float = 2.0
) -> ModelBench:
    """Measure an untrained network of this configuration. Needs torch and onnx."""
    from trg.model.export import ExportFacts, export_bundle
    from trg.model.network import TRGNetwork

    with tempfile.TemporaryDirectory() as folder:
        network = TRGNetwork(config, topology)
        bundle = export_bundle(network, Path(folder, "bench.trg"), ExportFacts(name))
    return bench_bundle(bundle, seconds)


def _fastest_ms(runtime: PoseRuntime, seconds: float) -> float:
    """Return the fastest call's time: what others do on the machine only ever adds to it."""
    size = runtime.crop_size
    crops = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    boxes = np.array([[0.0, 0.0, 0.3]], dtype=np.float32)
    runtime(crops, boxes)
    fastest = float("inf")
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        runtime(crops, boxes)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest * 1000.0
