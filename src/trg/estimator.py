"""The public entry point: faces of an image, of many images, or of a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from trg._util.checks import box_array, rgb_image
from trg._util.read_ahead import read_ahead
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.camera_source import CameraLike, is_single_camera, resolve_camera
from trg.geometry.face_mesh import FaceTopology
from trg.inference.bundle import WeightBundle, WeightCard, model_path
from trg.inference.detections import Detector, check_max_faces
from trg.inference.detector import FaceDetector
from trg.inference.flip import FlipTTANetwork
from trg.inference.onnx_session import available_providers
from trg.inference.pose_pipeline import (
    CPU_BATCH,
    FaceRequest,
    PosePipeline,
    drop_duplicates,
    requests_of,
)
from trg.inference.runtime import PoseNetwork, PoseRuntime
from trg.inference.size_memory import SizeEstimate, SizeMemory, in_one_size, largest_face
from trg.inference.smoothing import FaceSmoothing
from trg.inference.tracker import (
    SPARE_CANDIDATES,
    FaceTracker,
    KnownDistance,
    SizeSource,
    TrackingOptions,
)
from trg.io.images import UprightImage, read_image

if TYPE_CHECKING:
    from trg.io.video import VideoFrame

ImageLike: TypeAlias = "str | PathLike[str] | Image.Image | NDArray[Any] | UprightImage"
"""A path, a Pillow image, an array of pixels, or the result of ``read_image``."""

MIN_CONFIDENCE = 0.5

CANDIDATE_THRESHOLD = 0.4
"""Threshold of the bundled detector, below its own: recall rises, and false positives are removed
by their low confidence later (docs/results.md)."""

FALLBACK_THRESHOLD = 0.3
"""For the best candidate of an image without any other. Most images have a face."""

FINER_LEVELS = 2
"""Finer pyramid levels for the small faces of large photos, up to 1280 px of input."""

GPU_BATCH = 64

MAX_BATCH_BYTES = 256 * 2**20
"""Memory limit of the images of one batch; a single larger image is processed alone."""

PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
}
"""ONNX Runtime's execution provider for each device, and the package that contains it."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """One frame of a video."""

    index: int
    """Frame number, from 0."""
    time_s: float
    """Timestamp since the start of the video."""
    pixels: NDArray[np.uint8]
    """``(h, w, 3)`` uint8 RGB."""
    faces: list[Face]
    """With ids, in the order of first appearance."""


class PreparedImage(NamedTuple):
    """An image with the faces to estimate in it: see :meth:`HeadPoseEstimator.prepare`."""

    pixels: NDArray[np.uint8]
    """``(h, w, 3)`` RGB."""
    requests: list[FaceRequest]
    """The faces, each by its box."""
    is_detected: bool
    """Whether the boxes come from the detector."""
    max_faces: int | None
    """Largest number of faces; None: all."""


class HeadPoseEstimator:
    """Estimates 6DoF head poses and dense 3D landmarks, in metres, from images and videos.

    Parameters
    ----------
    model
        The weights: the name of a bundled model, a ``.trg`` file, or a loaded bundle. None: the
        small network for one CPU core.
    detector
        Finds face boxes. None: the package's own.
    device
        "cpu", "cuda", "coreml", "directml" or "openvino"; runs the pose network.
    threads
        CPU threads. None: one per physical core.
    refine
        Whether to estimate again where the face box was off or the face is rolled, and to search
        at other rolls where the confidence is low.
    flip
        Whether to average the estimates of each crop and of its mirror image (flip test-time
        augmentation): more accurate, at twice the cost.
    min_confidence
        Detected faces with less confidence are dropped.

    Raises
    ------
    FileNotFoundError
        The model file does not exist.
    ValueError
        The model is damaged or unknown, or the device is not available.
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
        self._pipeline = PosePipeline(
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
        """Metadata of the weights, including their licence."""
        return self._network.card

    @cached_property
    def _detector(self) -> Detector:
        """The detector of images, loaded on first use: calls with ``boxes`` do not need it."""
        return self._given_detector or FaceDetector(
            threads=self._threads,
            threshold=CANDIDATE_THRESHOLD,
            fallback_threshold=FALLBACK_THRESHOLD,
            finer_levels=FINER_LEVELS,
        )

    @cached_property
    def _video_detector(self) -> Detector:
        """As for images, without finer levels and fallback: a video has no time for them."""
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
        """Estimate the faces of one image.

        Parameters
        ----------
        image
            A path, a Pillow image, or an array: ``(h, w, 3)`` uint8 RGB, grey or RGBA.
        camera
            The camera, its 3x3 matrix (pixel centres at +0.5, see :meth:`Camera.from_matrix`), its
            focal length in pixels or its :class:`trg.FieldOfView`. None:
            from EXIF, or else assumed: see ``face.camera.source``, and for the effect on distances
            :meth:`trg.face.Face.distance_range_m`.
        boxes
            Face boxes ``(k, 4)``, ``x0, y0, x1, y1`` in pixels, of any shape, in place of the
            detector. Their faces are not dropped for low confidence; a box outside the image gives
            no face.
        max_faces
            Return at most this many, those with the highest detection scores.

        Raises
        ------
        FileNotFoundError, OSError, ValueError
            The image cannot be read, or the camera or a box is invalid.
        """
        return self.estimate([self.prepare(image, camera, boxes, max_faces)])[0]

    def prepare(
        self,
        image: ImageLike,
        camera: CameraLike | None = None,
        boxes: ArrayLike | None = None,
        max_faces: int | None = None,
    ) -> PreparedImage:
        """Read an image, and find its camera and its face boxes, for :meth:`estimate`.

        Parameters and errors are those of a single call.
        """
        check_max_faces(max_faces)
        read = image if isinstance(image, UprightImage) else read_image(image)
        height, width = read.pixels.shape[:2]
        image_camera = resolve_camera(width, height, camera, read.camera)
        if boxes is None:
            wanted = None if max_faces is None else max_faces + SPARE_CANDIDATES
            found = self._detector.detect(read.pixels, max_faces=wanted)
            requests = requests_of(read.pixels, image_camera, found)
        else:
            given = box_array("boxes", boxes)
            requests = [FaceRequest(read.pixels, image_camera, box) for box in given]
        return PreparedImage(read.pixels, requests, boxes is None, max_faces)

    def estimate(self, images: Sequence[PreparedImage]) -> list[list[Face]]:
        """Estimate the faces of several prepared images, with several faces per network call."""
        requests = [request for image in images for request in image.requests]
        estimates = iter(self._pipeline.estimate(requests))
        results = []
        for image in images:
            faces = [face for face in islice(estimates, len(image.requests)) if face is not None]
            if image.is_detected:
                confident = [face for face in faces if face.confidence >= self._min_confidence]
                faces = drop_duplicates(confident)
            results.append(faces[: image.max_faces])
        return results

    def batch(
        self,
        images: Iterable[ImageLike],
        cameras: CameraLike | Iterable[CameraLike | None] | None = None,
        batch_size: int = 32,
        max_faces: int | None = None,
        *,
        same_person: bool = False,
    ) -> Iterator[list[Face]]:
        """Estimate the faces of many images, with several faces per call of the network.

        Lazy: images are read as results are consumed, and released after their result.

        Parameters
        ----------
        images
            Any iterable of images.
        cameras
            One camera for all images, or an iterable with one, or None, per image.
        batch_size
            Largest number of faces, and of images, per batch.
        max_faces
            Per image.
        same_person
            The largest faces of all images are of one person, and get one size, with distances to
            match. All images are then read before the first result; only faces are kept.

        Yields
        ------
        list[Face]
            Per image, in order.

        Raises
        ------
        FileNotFoundError, OSError, ValueError
            As a single call; also where there are fewer cameras than images. To skip unreadable
            files, call :func:`trg.io.images.read_image` yourself and pass its results.
        """
        if isinstance(images, str | PathLike | Image.Image | UprightImage):
            raise ValueError(f"images: expected several images, got one ({images!r:.80})")
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        camera_per_image: Iterator[Any]
        if cameras is None or is_single_camera(cameras):
            camera_per_image = repeat(cameras)
        else:
            camera_per_image = iter(cast(Iterable[Any], cameras))
        results = self._batches(iter(images), camera_per_image, batch_size, max_faces)
        return _in_one_size(results) if same_person else results

    def stream(
        self,
        source: str | PathLike[str] | int | Iterable[NDArray[np.uint8] | VideoFrame],
        camera: CameraLike | None = None,
        smooth: bool | FaceSmoothing = True,
        max_faces: int | None = None,
        fps: float = 30.0,
        *,
        size: SizeSource = "person",
        known_sizes: Mapping[int, SizeEstimate] | None = None,
        interpupillary_m: KnownDistance = None,
    ) -> Iterator[FrameResult]:
        """Track the faces of a video, with ids, timestamps and smoothed poses.

        Parameters
        ----------
        source
            A video path, a webcam index, a stream URL, or an iterable of frames
            ``(h, w, 3)`` uint8 RGB.
        camera
            As for a single image; the same for the whole video.
        smooth
            Whether to smooth poses over time, or the smoothing parameters.
        max_faces
            Largest number of tracked faces.
        fps
            Frames per second of an iterable of arrays; files and cameras have timestamps.
        size
            ``person``: faces have the size of their person, remembered over the frames; ``frame``:
            that of their frame alone. Distances are proportional to it.
        known_sizes
            The sizes from :meth:`person_sizes` of the same source and options: the size of the
            whole video from the first frame on.
        interpupillary_m
            The distance between the pupils, or a function that returns it for an id. It sets the
            size of people, over their frames, or of each face, by ``size``.

        Raises
        ------
        FileNotFoundError, OSError, ValueError
            The video cannot be read, or the camera is invalid.
        """
        if not fps > 0:
            raise ValueError(f"fps: expected more than 0, got {fps}")
        smoothing = smooth if isinstance(smooth, FaceSmoothing) else FaceSmoothing()
        tracker = self.tracker(
            smoothing if smooth else None,
            max_faces,
            size=size,
            known_sizes=known_sizes,
            interpupillary_m=interpupillary_m,
        )
        return self._frames(source, camera, tracker, fps)

    def person_sizes(
        self,
        source: str | PathLike[str] | Iterable[NDArray[np.uint8] | VideoFrame],
        camera: CameraLike | None = None,
        max_faces: int | None = None,
        fps: float = 30.0,
        *,
        interpupillary_m: KnownDistance = None,
    ) -> dict[int, SizeEstimate]:
        """Return the sizes of the people in a whole video by id, for ``stream(known_sizes=...)``.

        Parameters and errors are those of :meth:`stream`.
        """
        if not fps > 0:
            raise ValueError(f"fps: expected more than 0, got {fps}")
        tracker = self.tracker(None, max_faces, interpupillary_m=interpupillary_m)
        for _ in self._frames(source, camera, tracker, fps):
            pass
        return tracker.sizes

    def tracker(
        self,
        smoothing: FaceSmoothing | None = FaceSmoothing(),
        max_faces: int | None = None,
        *,
        size: SizeSource = "person",
        known_sizes: Mapping[int, SizeEstimate] | None = None,
        interpupillary_m: KnownDistance = None,
    ) -> FaceTracker:
        """Return a tracker of one video, for callers that get its frames one by one.

        ``smoothing`` None: poses as estimated. ``max_faces``: largest number of tracked faces. The
        others are as in :meth:`stream`.
        """
        if size not in get_args(SizeSource):
            raise ValueError(f"size: expected one of {get_args(SizeSource)}, got {size!r}")
        if size == "frame" and known_sizes is not None:
            raise ValueError("known_sizes: are of people; expected size='person', got 'frame'")
        options = TrackingOptions(
            smoothing=smoothing,
            size=size,
            max_faces=max_faces,
            new_confidence=self._min_confidence,
            keep_confidence=0.6 * self._min_confidence,
        )
        detector = self._video_detector
        return FaceTracker(self._pipeline, detector, options, known_sizes, interpupillary_m)

    def _frames(
        self, source: Any, camera: CameraLike | None, tracker: FaceTracker, fps: float
    ) -> Iterator[FrameResult]:
        frame_camera: Camera | None = None
        for frame in _video_frames(source, fps):
            height, width = frame.pixels.shape[:2]
            if frame_camera is None or (frame_camera.width, frame_camera.height) != (width, height):
                frame_camera = resolve_camera(width, height, camera)
            faces = tracker.track(frame.pixels, frame_camera, frame.time_s)
            yield FrameResult(frame.index, frame.time_s, frame.pixels, faces)

    def _batches(
        self,
        images: Iterator[ImageLike],
        cameras: Iterator[CameraLike | None],
        batch_size: int,
        max_faces: int | None,
    ) -> Iterator[list[Face]]:
        batch: list[PreparedImage] = []
        for index, image in enumerate(images):
            try:
                camera = next(cameras)
            except StopIteration:
                raise ValueError(
                    f"cameras: expected one per image, got only {index}; pass a single camera "
                    "if all images share it"
                ) from None
            batch.append(self.prepare(image, camera, None, max_faces))
            batch_bytes = sum(prepared.pixels.nbytes for prepared in batch)
            face_count = sum(len(prepared.requests) for prepared in batch)
            if max(face_count, len(batch)) >= batch_size or batch_bytes >= MAX_BATCH_BYTES:
                yield from self.estimate(batch)
                batch = []
        yield from self.estimate(batch)


def _in_one_size(results: Iterator[list[Face]]) -> Iterator[list[Face]]:
    """Yield the faces of images of one person in the size that all of them tell."""
    found = list(results)
    memory = SizeMemory()
    for faces in found:
        if faces:
            memory.remember(faces[largest_face(faces)])
    for faces in found:
        yield in_one_size(faces, memory.estimate)


def _network(model: Any, device: str, threads: int | None) -> PoseNetwork:
    """Load a model given by name, path or bundle; return any other object as it is."""
    if not isinstance(model, str | PathLike | WeightBundle) and model is not None:
        return model
    if device not in PROVIDERS:
        raise ValueError(f"device: expected one of {tuple(PROVIDERS)}, got {device!r}")
    provider, package = PROVIDERS[device]
    if provider not in available_providers():
        raise ValueError(
            f"device {device!r}: the installed ONNX Runtime does not support it; install "
            f"{package} instead (`pip uninstall onnxruntime`, then `pip install {package}`)"
        )
    if not isinstance(model, WeightBundle):
        model = model_path(model)
    providers = [provider] if device == "cpu" else [provider, "CPUExecutionProvider"]
    return PoseRuntime(model, threads=threads, providers=providers)


def _video_frames(source: Any, fps: float) -> Iterator[VideoFrame]:
    """Return the frames of a video, or give the frames of an iterable numbers and times."""
    from trg.io.video import VideoFrame, VideoReader  # images do not need FFmpeg

    if isinstance(source, str | PathLike | int):
        with VideoReader(source) as reader:
            if reader.path is None:  # live: what is read ahead of its use would be late
                yield from reader
                return
            with read_ahead(reader) as frames:
                yield from frames
        return
    for index, frame in enumerate(source):
        if isinstance(frame, VideoFrame):
            yield frame
        else:
            yield VideoFrame(index, index / fps, rgb_image(f"frame {index}", frame))
