"""Cost of a weight bundle on this machine: the network, the pose pipeline, detection, tracking.

Every time is the fastest of the runs, because other load on the machine can only add to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera
from trg.inference.bundle import WeightBundle, read_bundle
from trg.inference.detections import FixedBoxes
from trg.inference.detector import FaceDetector
from trg.inference.pose_pipeline import FaceRequest, PosePipeline
from trg.inference.runtime import PoseRuntime
from trg.inference.tracker import FaceTracker, TrackingOptions

FACE_BOX_XYXY = (220.0, 120.0, 420.0, 320.0)
BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class NetworkBenchmark:
    """Cost of one network, for one face per call."""

    name: str
    crop_size: int
    parameters: int | None
    multiply_adds: int | None
    ms_one_thread: float
    """From the crop to the output arrays"""
    ms_all_threads: float
    model_bytes: int
    """Uncompressed size of the ONNX graph with its weights"""


@dataclass(frozen=True, slots=True)
class PoseBenchmark:
    """Cost of a face on one thread, from an image in memory to :class:`~trg.face.Face`."""

    ms_per_face: float
    """Crop, network and result, one face at a time"""
    ms_per_face_in_batch: float
    """The same, 64 faces at a time"""
    batch_gain: float
    """Throughput of batches over the throughput of single faces"""
    ms_detection: float | None
    """The detector on a 640x480 image; None: no detector is installed"""
    ms_per_tracking_frame: float
    """A 640x480 frame with one tracked face, including its share of the detections, without
    decoding"""


def bench_network(
    bundle: WeightBundle | str | PathLike[str], seconds: float = 2.0
) -> NetworkBenchmark:
    """Time a bundle's network for about ``seconds`` on one thread and as long on all threads."""
    if not isinstance(bundle, WeightBundle):
        bundle = read_bundle(bundle)

    def network_ms(threads: int | None) -> float:
        runtime = PoseRuntime(bundle, threads=threads)
        size = runtime.crop_size
        crops = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
        bbox_info = np.array([[0.0, 0.0, 0.3]], dtype=np.float32)
        return fastest_ms(lambda: runtime(crops, bbox_info), seconds)

    return NetworkBenchmark(
        name=bundle.card.name,
        crop_size=bundle.card.crop_size,
        parameters=bundle.card.parameters,
        multiply_adds=bundle.card.multiply_adds,
        ms_one_thread=network_ms(1),
        ms_all_threads=network_ms(None),
        model_bytes=len(bundle.model),
    )


def bench_pose(bundle: WeightBundle | str | PathLike[str], seconds: float = 2.0) -> PoseBenchmark:
    """Time pose pipeline, detection and tracking for about ``seconds`` each, on one thread.

    The image is noise, which costs as much as a face. Boxes are not refined and faces not dropped.
    """
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    camera = Camera.assumed(640, 480)
    pipeline = PosePipeline(PoseRuntime(bundle, threads=1), refine=False)
    requests = [FaceRequest(image, camera, FACE_BOX_XYXY)]
    one_ms = fastest_ms(lambda: pipeline.estimate(requests), seconds)
    batch_ms = fastest_ms(lambda: pipeline.estimate(requests * BATCH_SIZE), seconds) / BATCH_SIZE
    options = TrackingOptions(new_confidence=0.0, keep_confidence=0.0, redetect_every=10**9)
    tracker = FaceTracker(pipeline, FixedBoxes([FACE_BOX_XYXY]), options)
    times_s = count(step=1.0 / 30.0)
    frame_ms = fastest_ms(lambda: tracker.track(image, camera, next(times_s)), seconds)
    detection_ms = _detection_ms(image, seconds)
    return PoseBenchmark(
        ms_per_face=one_ms,
        ms_per_face_in_batch=batch_ms,
        batch_gain=one_ms / batch_ms,
        ms_detection=detection_ms,
        ms_per_tracking_frame=frame_ms + (detection_ms or 0.0) / TrackingOptions().redetect_every,
    )


def fastest_ms(call: Callable[[], Any], seconds: float) -> float:
    """Return the duration of the fastest call within about ``seconds``, after one to warm up."""
    call()
    fastest = float("inf")
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest * 1000.0


def format_benchmark(benchmark: Any) -> str:
    """Return the fields of a benchmark as lines of text; nested numbers are milliseconds."""
    lines = []
    for name, value in asdict(benchmark).items():
        if isinstance(value, dict):
            lines += [f"{f'  {key}':28}{number:10.2f} ms" for key, number in value.items()]
        else:
            shown = f"{value:10.2f}" if isinstance(value, float) else f"{value!s:>10}"
            lines.append(f"{name:28}{shown}")
    return "\n".join(lines)


def _detection_ms(image: NDArray[np.uint8], seconds: float) -> float | None:
    try:
        detector = FaceDetector(threads=1)
    except FileNotFoundError:
        return None
    return fastest_ms(lambda: detector.detect(image), seconds)
