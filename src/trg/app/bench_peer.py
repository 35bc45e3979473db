"""The speed of a weight bundle beside that of MediaPipe's FaceMesh, in one run and on one core.

Each time is the median over interleaved rounds of the CPU time of all threads, which other load on
the machine disturbs less than it disturbs the time on the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER
from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import Camera
from trg.inference.bundle import WeightBundle
from trg.inference.detector import FaceDetector
from trg.inference.identity import OTHER_DIFFERENCE, Person, Signature
from trg.inference.pose_pipeline import FaceRequest, PosePipeline
from trg.inference.runtime import ModelWrapper, PoseArrays, PoseNetwork, PoseRuntime
from trg.inference.size_memory import SizeMemory
from trg.inference.smoothing import FaceSmoother
from trg.inference.tracker import FaceTracker, TrackingOptions
from trg.io.images import read_image

WIDTH, HEIGHT = 640, 480
BATCH_SIZE = 64
CALLS_PER_ROUND = 5
PEER_FILE = Path(__file__).with_name("face_mesh_process.py")


class SpeedRow(NamedTuple):
    """One line of the speed table."""

    name: str
    ms: float
    other: str
    """What it is compared with"""
    other_ms: float

    @property
    def ratio(self) -> float:
        """Our time over the other's."""
        return self.ms / self.other_ms


class ReplayedNetwork(ModelWrapper):
    """A network that gives its first answer again, so that what is around it can be timed."""

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__(network, "replayed")
        self._answer: PoseArrays | None = None

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Return the answer to the first crops, of which there must be as many."""
        if self._answer is None:
            self._answer = self._network(crops, bbox_info)
        return self._answer


class FaceMesh:
    """MediaPipe's FaceMesh in a process of its own, on one image."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def times_ms(self, mode: str, calls: int) -> list[float]:
        """Return the CPU time of each of some calls in the mode ``video`` or ``static``.

        Raises ValueError if the process ended, or found no face.
        """
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        try:
            print(f"{mode} {calls}", file=pipe_in, flush=True)
            answer = json.loads(pipe_out.readline())
        except (OSError, ValueError):
            raise ValueError(
                "peer: MediaPipe ended. Expected a Python with mediapipe 0.10.21 or another "
                "version that has mediapipe.solutions: --peer-python ENVIRONMENT/bin/python"
            ) from None
        if not answer["found"]:
            raise ValueError("peer: MediaPipe found no face, so that the times do not compare")
        return [float(each) for each in answer["times_ms"]]


@contextmanager
def face_mesh(python: str, image: NDArray[np.uint8]) -> Iterator[FaceMesh]:
    """Start FaceMesh on an RGB image with another environment's Python, for a ``with`` block.

    Raises OSError if the interpreter cannot be started.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.npy")
        np.save(path, image)
        process = subprocess.Popen(
            [python, "-I", str(PEER_FILE), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            yield FaceMesh(process)
        finally:
            process.kill()
            process.communicate()


def speed_table(
    bundle: WeightBundle, reference: WeightBundle, peer_python: str, seconds: float
) -> list[SpeedRow]:
    """Time a bundle, a reference bundle's network, and FaceMesh, for about ``seconds`` in all.

    The image is the self-test's, scaled to 640x480. All run on one core where the system allows to
    choose it.
    """
    photo = Image.fromarray(read_image(SELFTEST_FOLDER / IMAGE_NAME).pixels)
    image = np.asarray(photo.resize((WIDTH, HEIGHT)))
    network, other = PoseRuntime(bundle, threads=1), PoseRuntime(reference, threads=1)
    with _one_core(), face_mesh(peer_python, image) as peer:
        calls = _calls(network, other, image)
        times_ms: defaultdict[str, list[float]] = defaultdict(list)
        for call in calls.values():  # to warm up
            call()
        stop = time.perf_counter() + seconds
        while True:
            for name, call in calls.items():
                for _ in range(1 if name == "batch" else CALLS_PER_ROUND):
                    start = time.process_time()
                    call()
                    times_ms[name].append((time.process_time() - start) * 1000.0)
            for mode in ("video", "static"):
                times_ms[mode] += peer.times_ms(mode, CALLS_PER_ROUND)
            if time.perf_counter() > stop:
                break
    ms = {name: float(np.median(values)) for name, values in times_ms.items()}
    ms["batch"] /= BATCH_SIZE
    return [
        SpeedRow("tracked 640x480 frame", ms["tracked"], "FaceMesh, video", ms["video"]),
        SpeedRow("single 640x480 picture", ms["picture"], "FaceMesh, static", ms["static"]),
        SpeedRow("network alone", ms["network"], reference.card.name, ms["reference"]),
        SpeedRow("batch of 64, per face", ms["batch"], "one at a time", ms["one"]),
        SpeedRow("tracked frame without network", ms["around"], "FaceMesh, video", ms["video"]),
    ]


def format_speed_table(rows: list[SpeedRow], gflops: float) -> str:
    """Return the table as text."""
    lines = [f"{'CPU time, median':32}{'ms':>8}   {'compared with':18}{'ms':>8}{'ratio':>8}"]
    lines += [
        f"{row.name:32}{row.ms:8.2f}   {row.other:18}{row.other_ms:8.2f}{row.ratio:8.2f}"
        for row in rows
    ]
    lines.append(f"float32 product of 1024 x 1024 matrices on one core: {gflops:.0f} GFLOP/s")
    return "\n".join(lines)


def _calls(
    network: PoseNetwork, reference: PoseNetwork, image: NDArray[np.uint8]
) -> dict[str, Callable[[], Any]]:
    """Return what is timed, by name."""
    camera = Camera.assumed(WIDTH, HEIGHT)
    estimator = HeadPoseEstimator(network)
    faces = estimator(image, camera, max_faces=1)
    if not faces:
        raise ValueError(f"{network.card.name}: it does not find the face of the self-test")
    pipeline = PosePipeline(network, refine=False)
    requests = [FaceRequest(image, camera, faces[0].box_xyxy)]
    tracker = FaceTracker(
        PosePipeline(network), FaceDetector(threads=1), TrackingOptions(max_faces=1)
    )
    times_s = count(step=1.0 / 30.0)
    around = PosePipeline(ReplayedNetwork(network))
    signature = Signature.of(faces[0], image)
    person = Person(signature, signature, faces[0], 0.0)
    size, smoother = SizeMemory(), FaceSmoother()

    def tracked_without_network() -> None:
        """Do what a tracker does with one face, but always at the same place."""
        (face,) = around.estimate([FaceRequest(image, camera, faces[0])])
        if face is None:
            return
        time_s, signature = next(times_s), Signature.of(face, image)
        if person.is_like(signature, OTHER_DIFFERENCE):
            person.see(signature, face, time_s)
        smoother.smooth(size.remember(face, time_s), time_s).in_track(0, time_s)

    def one_face(network: PoseNetwork) -> Callable[[], Any]:
        size = network.crop_size
        crop = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
        return lambda: network(crop, np.array([[0.0, 0.0, 0.3]], np.float32))

    return {
        "tracked": lambda: tracker.track(image, camera, next(times_s)),
        "around": tracked_without_network,
        "picture": lambda: estimator(image, camera, max_faces=1),
        "network": one_face(network),
        "reference": one_face(reference),
        "one": lambda: pipeline.estimate(requests),
        "batch": lambda: pipeline.estimate(requests * BATCH_SIZE),
    }


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process, and those it starts, on one core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
