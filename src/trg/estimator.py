"""The one entry point for users: pictures, batches and videos in, faces out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from trg._util.checks import finite_array, rgb_image
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.camera_source import CameraLike, camera_of, is_one_camera
from trg.geometry.face_mesh import FaceTopology
from trg.inference.bundle import DEFAULT_BUNDLE, SUFFIX, WeightBundle, WeightCard, bundled
from trg.inference.detections import Detector
from trg.inference.detector import FaceDetector
from trg.inference.flip import FlipTTANetwork
from trg.inference.pose_pipeline import (
    CPU_BATCH,
    FaceRequest,
    PoseNetwork,
    PosePipeline,
    without_duplicates,
)
from trg.inference.runtime import PoseRuntime
from trg.inference.smoothing import FaceSmoothing
from trg.inference.tracker import SPARE_CANDIDATES, FaceTracker, TrackingOptions
from trg.io.images import UprightImage, read_image

if TYPE_CHECKING:
    from trg.io.video import VideoFrame

ImageLike: TypeAlias = "str | PathLike[str] | Image.Image | NDArray[Any] | UprightImage"
"""A picture's path, a Pillow image, an array of pixels, or what ``read_image`` returned."""

MIN_CONFIDENCE = 0.5

CANDIDATE_THRESHOLD = 0.45
"""Of our detector, lower than its own: what is no face has no confidence in the end, and more that
are faces come through (docs/results.md)."""

GPU_BATCH = 64

HELD_BYTES = 256 * 2**20
"""Pixels that a batch keeps in memory at most, unless one picture alone is larger."""

PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
}
"""ONNX Runtime's name for each device, and the package that brings it."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """One frame of a video.

    Attributes
    ----------
    index
        From 0 on.
    time_s
        Since the start of the video.
    pixels
        ``(h, w, 3)`` RGB.
    faces
        With ids, in the order of their first appearance.
    """

    index: int
    time_s: float
    pixels: NDArray[np.uint8]
    faces: list[Face]


class HeadPoseEstimator:
    """Finds the heads in pictures and videos: 6DoF poses and dense landmarks in metres.

    Parameters
    ----------
    model
        The weights: the name of a bundled model, a ``.trg`` file, or a read bundle. None: the small
        network for one CPU core.
    detector
        What finds face boxes. None: the package's own.
    device
        "cpu", "cuda", "coreml", "directml" or "openvino", for the pose network.
    threads
        CPU threads. None: one per physical core.
    refine
        Whether face boxes that are off are drawn again around the landmarks and looked at again.
    flip
        Whether to average the estimates of each crop and of its mirror image (flip test-time
        augmentation): more accurate, at twice the cost.
    min_confidence
        Detected faces below this are dropped.

    Raises
    ------
    FileNotFoundError
        There is no such model file.
    ValueError
        The model is damaged or unknown, or the device is not installed.
    """

    def __init__(
        self,
        model: str | PathLike[str] | WeightBundle | PoseNetwork | None = None,
        detector: Detector | None = None,
        device: str = "cpu",
        threads: int | None = 1,
        *,
        refine: bool = True,
        flip: bool = False,
        min_confidence: float = MIN_CONFIDENCE,
    ) -> None:
        if not 0.0 <= min_confidence <= 1.0:
            raise ValueError(f"min_confidence: expected 0 to 1, got {min_confidence}")
        network = _network(model, device, threads)
        self._network = FlipTTANetwork(network) if flip else network
        self._stage = PosePipeline(
            self._network, refine, batch_size=CPU_BATCH if device == "cpu" else GPU_BATCH
        )
        self._threads = threads
        self._given_detector = detector
        self._min_confidence = min_confidence

    @property
    def topology(self) -> FaceTopology:
        """The mesh of the landmarks."""
        return self._network.topology

    @property
    def card(self) -> WeightCard:
        """What is known of the weights, their licence among it."""
        return self._network.card

    @cached_property
    def _detector(self) -> Detector:
        """What finds boxes; loaded when first needed, for some bring all boxes themselves."""
        return self._given_detector or FaceDetector(
            threads=self._threads, threshold=CANDIDATE_THRESHOLD
        )

    def __call__(
        self,
        image: ImageLike,
        camera: CameraLike | None = None,
        boxes: ArrayLike | None = None,
        max_faces: int | None = None,
    ) -> list[Face]:
        """Find the faces of one picture.

        Parameters
        ----------
        image
            A path, a Pillow image, or an array: ``(h, w, 3)`` uint8 RGB, grey or RGBA.
        camera
            The camera that took it, its 3x3 matrix (the middle of the first pixel at 0.5, see
            :meth:`Camera.from_matrix`), its focal length in pixels or its
            :class:`~trg.geometry.camera_source.FieldOfView`. None: from the picture's EXIF, or else
            assumed; ``face.camera.source`` says which, and
            :func:`trg.geometry.camera_source.assumed_distance_range` what it does to the distance.
        boxes
            Face boxes ``(k, 4)``, ``x0, y0, x1, y1`` in pixels, of any shape, in place of the
            detector. None of their faces is dropped for its confidence; those that show nothing of
            the picture give no face.
        max_faces
            Return at most so many, those that the detector is surest of.

        Raises
        ------
        FileNotFoundError, OSError, ValueError
            The picture cannot be read, or the camera or a box makes no sense.
        """
        batch = self._run([self._prepare(image, camera, boxes, max_faces)])
        return batch[0]

    def batch(
        self,
        images: Iterable[ImageLike],
        cameras: CameraLike | Iterable[CameraLike | None] | None = None,
        batch_size: int = 32,
        max_faces: int | None = None,
    ) -> Iterator[list[Face]]:
        """Find the faces of many pictures; the faces of several share the network's calls.

        Lazy: pictures are read as results are asked for, and let go once theirs is returned.

        Parameters
        ----------
        images
            Any iterable of pictures.
        cameras
            One camera for all, or an iterable with one, or None, per picture.
        batch_size
            Faces, and pictures, in one go at most.
        max_faces
            Per picture.

        Yields
        ------
        list[Face]
            Per picture, in order.

        Raises
        ------
        FileNotFoundError, OSError, ValueError
            As a single call; also where there are fewer cameras than pictures. To go on after a
            bad picture, read pictures with :func:`trg.io.images.read_image` and hand those in.
        """
        if isinstance(images, str | PathLike | Image.Image | UprightImage):
            raise ValueError(f"images: expected several pictures, got one ({images!r:.80})")
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        each: Iterator[Any]
        if cameras is None or is_one_camera(cameras):
            each = repeat(cameras)
        else:
            each = iter(cast(Iterable[Any], cameras))
        return self._batches(iter(images), each, batch_size, max_faces)

    def stream(
        self,
        source: str | PathLike[str] | int | Iterable[NDArray[np.uint8] | VideoFrame],
        camera: CameraLike | None = None,
        smooth: bool | FaceSmoothing = True,
        max_faces: int | None = None,
        fps: float = 30.0,
    ) -> Iterator[FrameResult]:
        """Follow the faces of a video: ids, times, and a calm pose while a head is calm.

        Parameters
        ----------
        source
            A video's path, a webcam's number, a stream's URL, or an iterable of frames
            ``(h, w, 3)`` uint8 RGB.
        camera
            As for a single picture, the same for the whole video.
        smooth
            Whether poses are smoothed over time, or how strongly.
        max_faces
            Follow at most so many.
        fps
            Frames per second of an iterable of plain arrays; files and cameras know their times.

        Raises
        ------
        FileNotFoundError, OSError, ValueError
            The video cannot be read, or the camera makes no sense.
        """
        if not fps > 0:
            raise ValueError(f"fps: expected more than 0, got {fps}")
        smoothing = smooth if isinstance(smooth, FaceSmoothing) else FaceSmoothing()
        options = TrackingOptions(
            smoothing=smoothing if smooth else None,
            max_faces=max_faces,
            new_confidence=self._min_confidence,
            keep_confidence=0.6 * self._min_confidence,
        )
        tracker = FaceTracker(self._stage, self._detector, options)
        return self._frames(source, camera, tracker, fps)

    def _frames(
        self, source: Any, camera: CameraLike | None, tracker: FaceTracker, fps: float
    ) -> Iterator[FrameResult]:
        seen_by: Camera | None = None
        for frame in _video_frames(source, fps):
            height, width = frame.pixels.shape[:2]
            if seen_by is None or (seen_by.width, seen_by.height) != (width, height):
                seen_by = camera_of(width, height, camera)
            faces = tracker(frame.pixels, seen_by, frame.time_s)
            yield FrameResult(frame.index, frame.time_s, frame.pixels, faces)

    def _batches(
        self,
        images: Iterator[ImageLike],
        cameras: Iterator[CameraLike | None],
        batch_size: int,
        max_faces: int | None,
    ) -> Iterator[list[Face]]:
        waiting: list[_Prepared] = []
        for number, image in enumerate(images):
            try:
                camera = next(cameras)
            except StopIteration:
                raise ValueError(
                    f"cameras: expected one per picture, got only {number}; hand in one camera "
                    "where all pictures share it"
                ) from None
            waiting.append(self._prepare(image, camera, None, max_faces))
            held = sum(prepared.pixels.nbytes for prepared in waiting)
            crops = sum(len(prepared.requests) for prepared in waiting)
            if max(crops, len(waiting)) >= batch_size or held >= HELD_BYTES:
                yield from self._run(waiting)
                waiting = []
        yield from self._run(waiting)

    def _prepare(
        self,
        image: ImageLike,
        camera: CameraLike | None,
        boxes: ArrayLike | None,
        max_faces: int | None,
    ) -> _Prepared:
        """Read a picture and find its boxes."""
        if max_faces is not None and max_faces < 1:
            raise ValueError(f"max_faces: expected None or at least 1, got {max_faces}")
        picture = image if isinstance(image, UprightImage) else read_image(image)
        height, width = picture.pixels.shape[:2]
        seen_by = camera_of(width, height, camera, picture.camera)
        if boxes is None:
            wanted = None if max_faces is None else max_faces + SPARE_CANDIDATES
            found = self._detector.detect(picture.pixels, max_faces=wanted).boxes_xyxy
        else:
            found = _checked_boxes(boxes)
        requests = [FaceRequest(picture.pixels, seen_by, box) for box in found]
        return _Prepared(picture.pixels, requests, boxes is None, max_faces)

    def _run(self, pictures: Sequence[_Prepared]) -> list[list[Face]]:
        """Estimate the faces of several pictures together."""
        estimates = iter(self._stage([each for p in pictures for each in p.requests]))
        results = []
        for picture in pictures:
            some = [next(estimates) for _ in picture.requests]
            faces = [face for face in some if face is not None]
            if picture.detected:
                sure = [face for face in faces if face.confidence >= self._min_confidence]
                faces = without_duplicates(sure)
            results.append(faces[: picture.max_faces])
        return results


class _Prepared(NamedTuple):
    """A picture that waits for the network."""

    pixels: NDArray[np.uint8]
    requests: list[FaceRequest]
    detected: bool
    max_faces: int | None


def _network(model: Any, device: str, threads: int | None) -> PoseNetwork:
    """Return what was handed in if it runs, or load it."""
    if not isinstance(model, str | PathLike | WeightBundle) and model is not None:
        return model
    if device not in PROVIDERS:
        raise ValueError(f"device: expected one of {tuple(PROVIDERS)}, got {device!r}")
    model = DEFAULT_BUNDLE if model is None else model
    if isinstance(model, str) and not os.path.exists(model) and not model.endswith(SUFFIX):
        model = bundled(model)
    provider, package = PROVIDERS[device]
    providers = [provider] if device == "cpu" else [provider, "CPUExecutionProvider"]
    _check_installed(device, provider, package)
    return PoseRuntime(model, threads=threads, providers=providers)


def _check_installed(device: str, provider: str, package: str) -> None:
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        raise ValueError(
            f"device {device!r}: the installed ONNX Runtime cannot use it; expected the package "
            f"{package} in place of onnxruntime (`pip uninstall onnxruntime`, then "
            f"`pip install {package}`)"
        )


def _checked_boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    if np.size(boxes) == 0:
        return np.zeros((0, 4))
    checked = finite_array("boxes", boxes, (None, 4))
    if not (checked[:, :2] < checked[:, 2:]).all():
        raise ValueError(f"boxes: expected x0 < x1 and y0 < y1 in each, got {checked.tolist()}")
    return checked


def _video_frames(source: Any, fps: float) -> Iterator[VideoFrame]:
    """Read a video, or number the frames of an iterable."""
    from trg.io.video import VideoFrame, VideoReader  # photos need not wait for FFmpeg

    if isinstance(source, str | PathLike | int):
        with VideoReader(source) as reader:
            yield from reader
        return
    for index, frame in enumerate(source):
        if isinstance(frame, VideoFrame):
            yield frame
        else:
            yield VideoFrame(index, index / fps, rgb_image(f"frame {index}", frame))
