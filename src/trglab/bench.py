"""What things cost: a network and the whole pose stage per face, the renderer per sample."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from itertools import count
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera
from trg.geometry.face_mesh import FaceTopology
from trg.inference.bundle import WeightBundle, read_bundle
from trg.inference.detections import FixedBoxes
from trg.inference.detector import FaceDetector
from trg.inference.pose_pipeline import FaceRequest, PosePipeline
from trg.inference.runtime import PoseRuntime
from trg.inference.tracker import FaceTracker, TrackingOptions

if TYPE_CHECKING:
    from trg.network.config import TRGConfig


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
    from trg.network.export import ExportFacts, export_bundle
    from trg.network.trg import TRGNetwork

    with tempfile.TemporaryDirectory() as folder:
        network = TRGNetwork(config, topology)
        bundle = export_bundle(network, Path(folder, "bench.trg"), ExportFacts(name))
    return bench_bundle(bundle, seconds)


def _fastest_ms(runtime: PoseRuntime, seconds: float) -> float:
    """Return the fastest call's time: what others do on the machine only ever adds to it."""
    size = runtime.crop_size
    crops = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    boxes = np.array([[0.0, 0.0, 0.3]], dtype=np.float32)
    return _fastest_call_ms(lambda: runtime(crops, boxes), seconds)


def _fastest_call_ms(call: Callable[[], Any], seconds: float) -> float:
    call()
    fastest = float("inf")
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest * 1000.0


@dataclass(frozen=True, slots=True)
class PoseBench:
    """What faces cost on one thread, from a picture in memory to :class:`~trg.face.Face`."""

    ms_per_face: float
    """Crop, network and result, one face at a time"""
    ms_per_face_in_batch: float
    """The same, 64 faces at a time"""
    batch_gain: float
    """Faces per second of batches over those of single faces"""
    ms_detection: float | None
    """The detector on a 640x480 picture; None: none is installed"""
    ms_per_tracking_frame: float
    """A 640x480 frame with one face that is followed, its share of the detections included;
    decoding is not"""

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


BENCH_BOX = (220.0, 120.0, 420.0, 320.0)
BENCH_BATCH = 64


def bench_pose(bundle: WeightBundle | str | PathLike[str], seconds: float = 2.0) -> PoseBench:
    """Measure pose stage, detection and tracking for about ``seconds`` each, on one thread.

    The picture is noise, which costs what a face does; nothing is refined or dropped.
    """
    network = PoseRuntime(bundle, threads=1)
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    camera = Camera.assumed(640, 480)
    pipeline = PosePipeline(network, refine=False)
    requests = [FaceRequest(picture, camera, BENCH_BOX)]
    one_ms = _fastest_call_ms(lambda: pipeline.estimate(requests), seconds)
    batch_ms = (
        _fastest_call_ms(lambda: pipeline.estimate(requests * BENCH_BATCH), seconds) / BENCH_BATCH
    )
    options = TrackingOptions(new_confidence=0.0, keep_confidence=0.0, redetect_every=10**9)
    tracker = FaceTracker(pipeline, FixedBoxes([BENCH_BOX]), options)
    times_s = count(step=1.0 / 30.0)
    frame_ms = _fastest_call_ms(lambda: tracker.track(picture, camera, next(times_s)), seconds)
    detection_ms = _detection_ms(picture, seconds)
    return PoseBench(
        ms_per_face=one_ms,
        ms_per_face_in_batch=batch_ms,
        batch_gain=one_ms / batch_ms,
        ms_detection=detection_ms,
        ms_per_tracking_frame=frame_ms + (detection_ms or 0.0) / TrackingOptions().redetect_every,
    )


def _detection_ms(picture: NDArray[np.uint8], seconds: float) -> float | None:
    try:
        detector = FaceDetector(threads=1)
    except FileNotFoundError:
        return None
    return _fastest_call_ms(lambda: detector.detect(picture), seconds)


@dataclass(frozen=True, slots=True)
class SynthBench:
    """How fast one process renders faces with all features, and where the time goes."""

    samples_per_second: float
    ms_per_sample: float
    ms_by_stage: dict[str, float]
    """Per sample; what is left over is bookkeeping."""
    start_seconds: float
    """From nothing to the first sample, caches warm or not as they are."""
    peak_memory_mb: float

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


SYNTH_STAGES = (
    ("person", "trglab.synth.studio", "Studio", "sample_subject"),
    ("expression", "trglab.synth.studio", "Studio", "express"),
    ("surfaces", "trglab.synth.studio", "Studio", "surfaces"),
    ("light and background", "trglab.synth.dataset", "SyntheticFaces", "_place"),
    ("render", "trglab.synth.dataset", None, "render"),
    ("sensor", "trglab.synth.dataset", None, "simulate_sensor"),
    ("visibility of landmarks", "trglab.synth.dataset", None, "visible_vertices"),
)
"""What the stages are called in the breakdown, and the function that does each."""

WARM_UP_PERSONS = 3


def bench_synth(seconds: float = 3.0, size_px: int = 192) -> SynthBench:
    """Render whole people, all their pictures each, for about ``seconds`` at ``size_px``.

    The speed is the mean over all: people differ too much in hair and dress to take the fastest.
    """
    import resource  # not on Windows, where networks can be measured all the same

    from trglab.synth.dataset import IMAGES_PER_PERSON, SyntheticFaces

    began = time.perf_counter()
    faces = SyntheticFaces(seed=0, window=(size_px, 1.6))
    faces.sample(0)
    start_seconds = time.perf_counter() - began
    first = WARM_UP_PERSONS * IMAGES_PER_PERSON
    for index in range(1, first):
        faces.sample(index)  # compiled code and caches of every kind
    spent = dict.fromkeys((name for name, *_ in SYNTH_STAGES), 0.0)
    done, began = 0, time.perf_counter()
    with _timed_stages(spent):
        while time.perf_counter() - began < seconds:
            for _ in range(IMAGES_PER_PERSON):
                faces.sample(first + done)
                done += 1
    per_second = done / (time.perf_counter() - began)
    return SynthBench(
        samples_per_second=per_second,
        ms_per_sample=1000.0 / per_second,
        ms_by_stage={name: 1000.0 * total / done for name, total in spent.items()},
        start_seconds=start_seconds,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    )


@contextmanager
def _timed_stages(spent: dict[str, float]) -> Iterator[None]:
    """Add the seconds that each stage takes to ``spent`` while the context lasts."""
    originals = []
    for name, module, owner_name, function_name in SYNTH_STAGES:
        owner: Any = importlib.import_module(module)
        if owner_name is not None:
            owner = getattr(owner, owner_name)
        original = getattr(owner, function_name)
        originals.append((owner, function_name, original))
        setattr(owner, function_name, _timed(original, name, spent))
    try:
        yield
    finally:
        for owner, function_name, original in originals:
            setattr(owner, function_name, original)


def _timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            spent[name] += time.perf_counter() - began

    return timed


def as_table(result: ModelBench | PoseBench | SynthBench) -> str:
    """Return the numbers as lines of text."""
    lines = []
    for name, value in result.to_dict().items():
        if isinstance(value, dict):
            lines += [f"{f'  {key}':28}{number:10.2f} ms" for key, number in value.items()]
        else:
            lines.append(
                f"{name:28}{value:10.2f}" if isinstance(value, float) else f"{name:28}{value!s:>10}"
            )
    return "\n".join(lines)
