"""The loop of ``trg predict``: failed inputs are reported, and the others are processed.

::

    photos ──> read ──> estimator.batch ──┐                    ┌──> records
    videos ──> read ──> estimator.stream ─┴──> known eye       ├──> drawings
                                               distance ───────┴──> meshes

An input is finished when all its outputs are written.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from trg._util.read_ahead import read_ahead
from trg.app.outputs import OutputError, Outputs, VideoOutputs
from trg.estimator import FrameResult, HeadPoseEstimator
from trg.face import Face
from trg.geometry.axes import FrameConvention
from trg.geometry.camera import Camera
from trg.geometry.camera_source import CameraLike, FieldOfView, SizelessCalibration, resolve_camera
from trg.inference.size_memory import SizeEstimate, SizeMemory, in_one_size, largest_face
from trg.inference.tracker import SizeSource
from trg.io.boxes import PhotoBoxes, boxes_for
from trg.io.eye_distances import EyeDistances, checked_interpupillary_m
from trg.io.image_clip import FrameReader, open_clip
from trg.io.images import UprightImage, read_image
from trg.io.inputs import MediaInput, PhotoInput, UnreadableFolder, VideoInput
from trg.io.records.frame_record import FrameFaces
from trg.io.records.names import escape_name
from trg.io.records.writers import RecordWriter
from trg.io.video import VideoFrame

_Item = TypeVar("_Item")

READ_ERRORS = (OSError, ValueError)
"""What the readers of photos and videos raise for bad files."""


class PredictionObserver(Protocol):
    """Receives the progress of a run; the command line shows it."""

    def on_video_start(self, video: VideoInput, frame_count: int | None) -> None:
        """Handle the start of a video with about this many frames."""

    def on_result(self, item: MediaInput, faces: Sequence[Face]) -> None:
        """Handle the faces of a photo or of one video frame."""

    def on_error(self, item: MediaInput, message: str) -> None:
        """Handle an input that could not be read completely."""

    def on_warning(self, item: MediaInput, message: str) -> None:
        """Handle a shortcoming of an input's outputs."""

    def should_stop(self) -> bool:
        """Return whether the user wants to stop; called after every photo and frame."""


@dataclass(slots=True)
class Summary:
    """Counts of a run."""

    photos: int = 0
    frames: int = 0
    """Of videos, webcams and streams."""
    faces: int = 0
    without_faces: int = 0
    """Photos and frames."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Name and error of each input that could not be read, or whose files could not be written,
    completely."""
    skipped: int = 0
    """Inputs that an earlier run had finished."""

    @property
    def failed(self) -> int:
        """Number of failed inputs."""
        return len(self.failures)


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How inputs are processed.

    Raises ValueError if ``interpupillary_m`` is out of range.
    """

    camera: CameraLike | None = None
    """The camera of all inputs. None: from each photo's EXIF, or else assumed."""
    boxes: PhotoBoxes | None = None
    """Face boxes of the photos, in place of a detector. None: faces are detected."""
    max_faces: int | None = None
    """Maximum per image."""
    interpupillary_m: float | EyeDistances | None = None
    """A known distance between the pupils, by which each face is scaled, or those of people."""
    smooth: bool = True
    """Whether poses are smoothed over the frames of a video."""
    size: SizeSource = "person"
    """Whether faces of a video have the size of their person or of their frame alone."""
    two_pass: bool = False
    """Read each video twice, so that its people have the size of the whole video from the start."""
    same_person: bool = False
    """The largest faces of all photos are of one person, and get one size."""
    axes: FrameConvention = "opencv"
    """The program in whose axes the records' poses and 3D landmarks are written."""
    batch_size: int = 32
    """Photos that are processed together."""

    def __post_init__(self) -> None:
        if isinstance(self.interpupillary_m, float | int):
            checked_interpupillary_m("eye distance", 1000.0 * self.interpupillary_m)

    def settings(self) -> dict[str, Any]:
        """Return all that changes results, as plain values for the list of finished inputs."""
        return {
            "camera": _plain_camera(self.camera),
            "boxes_sha256": None if self.boxes is None else _boxes_sha256(self.boxes),
            "max_faces": self.max_faces,
            "interpupillary_m": (
                self.interpupillary_m.sha256()
                if isinstance(self.interpupillary_m, EyeDistances)
                else self.interpupillary_m
            ),
            "smooth": self.smooth,
            "size": self.size,
            "two_pass": self.two_pass,
            "same_person": self.same_person,
            "axes": self.axes,
        }

    def check(self, inputs: Sequence[MediaInput]) -> None:
        """Raise ValueError if the options do not apply to the inputs."""
        if self.boxes is not None and any(isinstance(item, VideoInput) for item in inputs):
            raise ValueError("boxes: are for photos; expected no video among the inputs")
        if isinstance(self.interpupillary_m, EyeDistances):
            self.interpupillary_m.check([item.name for item in inputs])
        if self.two_pass and self.size == "frame":
            raise ValueError("two passes: find the size of each person; expected size person")
        wanted = {VideoInput: self.two_pass, PhotoInput: self.same_person}
        twice = [item for item in inputs if wanted.get(type(item))]
        if unrepeatable := [item.name for item in twice if item.path is None]:
            raise ValueError(
                f"{unrepeatable[0]}: expected a file, which can be read twice, for two passes or "
                "photos of the same person"
            )


class Predictor:
    """Processes inputs one after another, and writes their records and other outputs."""

    def __init__(
        self,
        estimator: HeadPoseEstimator,
        records: RecordWriter,
        observer: PredictionObserver,
        options: PredictOptions,
        outputs: Outputs,
    ) -> None:
        self._estimator = estimator
        self._records = records
        self._observer = observer
        self._options = options
        self._outputs = outputs
        self._photo_size: SizeEstimate | None = None
        """The size of the person on all photos."""
        self.summary = Summary()

    def run(self, inputs: Sequence[MediaInput]) -> Summary:
        """Process all inputs that are not yet finished, in their order.

        Raises
        ------
        ValueError
            An output would overwrite an input, or does not support videos.
        FileExistsError
            A file exists that no run has written.
        OSError
            Records are not writable, the disk is full, or the package has no detector.
        KeyboardInterrupt
            The observer wanted to stop. All files are complete; an interrupted video is not
            listed as finished and has no drawing or mesh.
        """
        self._options.check(inputs)
        self._outputs.check(inputs)
        self._outputs.remove_partial_files(inputs)
        remaining = [item for item in inputs if item.name not in self._records.finished]
        self.summary = Summary(skipped=len(inputs) - len(remaining))
        if self._options.same_person:
            self._photo_size = self._measure_person(
                [item for item in inputs if isinstance(item, PhotoInput)]
            )
        for _, group in groupby(remaining, key=type):
            items = list(group)
            self._run_photos([item for item in items if isinstance(item, PhotoInput)])
            for item in items:
                if isinstance(item, VideoInput):
                    self._run_video(item)
                elif isinstance(item, UnreadableFolder):
                    self._fail(item, item.message)
        return self.summary

    def _run_photos(self, photos: Sequence[PhotoInput]) -> None:
        """Process photos; results are written in the order of the inputs."""
        # The estimator reads ahead by a batch; the queue holds what is read but not yet written.
        queue: deque[_ReadPhoto] = deque()
        for found in self._estimates(self._read_photos(photos, queue), queue):
            self._report_failed(queue)
            photo, image, _, _ = queue.popleft()
            assert image is not None
            assert image.camera is not None
            faces = self._scaled(photo, found)
            self._record(FrameFaces(photo.name, image.camera, faces, axes=self._options.axes))
            try:
                self._outputs.write_photo(photo, image.pixels, faces)
            except OutputError as error:
                self._fail(photo, str(error))
                continue
            self._records.finish(photo.name)
            self._observer.on_result(photo, faces)
        self._report_failed(queue)
        self._raise_if_stopped()

    def _estimates(
        self, images: Iterator[UprightImage], queue: deque[_ReadPhoto]
    ) -> Iterable[list[Face]]:
        """Estimate the faces of images whose boxes, if they are given, are the queue's last."""
        max_faces = self._options.max_faces
        if self._options.boxes is None:
            return self._estimator.batch(
                images, batch_size=self._options.batch_size, max_faces=max_faces
            )
        return (
            self._estimator(image, boxes=queue[-1].boxes, max_faces=max_faces) for image in images
        )

    def _measure_person(self, photos: Sequence[PhotoInput]) -> SizeEstimate | None:
        """Return the size of the one person that all photos show."""
        memory = SizeMemory()
        last: deque[_ReadPhoto] = deque(maxlen=1)
        for faces in self._estimates(self._read_photos(photos, last, warns=False), last):
            if faces:
                memory.remember(faces[largest_face(faces)])
        self._raise_if_stopped()
        return memory.estimate

    def _read_photos(
        self, photos: Sequence[PhotoInput], queue: deque[_ReadPhoto], *, warns: bool = True
    ) -> Iterator[UprightImage]:
        """Yield images with their cameras; append each photo, or its error, to the queue."""
        boxes = None
        for photo in photos:
            if self._observer.should_stop():
                return
            try:
                image = read_image(photo.content)
                if image.frame_count > 1 and warns:
                    self._observer.on_warning(
                        photo, f"used the first of {image.frame_count} frames; --animated uses all"
                    )
                height, width = image.pixels.shape[:2]
                image = image._replace(camera=self._camera(photo, width, height, image.camera))
                if self._options.boxes is not None:
                    boxes = boxes_for(self._options.boxes, photo.name)
            except READ_ERRORS as error:
                queue.append(_ReadPhoto(photo, error=str(error)))
            else:
                queue.append(_ReadPhoto(photo, image, boxes))
                yield image

    def _report_failed(self, queue: deque[_ReadPhoto]) -> None:
        """Report the failed photos at the head of the queue."""
        while queue and queue[0].image is None:
            failed = queue.popleft()
            self._fail(failed.photo, failed.error)

    def _run_video(self, video: VideoInput) -> None:
        try:
            reader = open_clip(video.address)
        except READ_ERRORS as error:
            self._fail(video, str(error))
            return
        with reader:
            error_message = self._run_frames(video, reader)
        if error_message is None:
            self._records.finish(video.name)
        else:
            self._fail(video, error_message)

    def _run_frames(self, video: VideoInput, reader: FrameReader) -> str | None:
        """Process the frames of a video; return why they ended early, None if they did not."""
        options = self._options
        try:
            camera = self._camera(video, reader.width, reader.height)
        except ValueError as error:
            return str(error)
        self._observer.on_video_start(video, reader.frame_count)
        error_message: str | None = None
        try:
            with (
                self._outputs.open_video(video, reader) as files,
                self._drawn_frames(video, reader, camera, files) as drawn_frames,
            ):
                if files.warning:
                    self._observer.on_warning(video, files.warning)
                frames = _UntilError(drawn_frames)
                for frame in frames:
                    place = (frame.index, frame.time_s, options.axes)
                    self._record(FrameFaces(video.name, camera, frame.faces, *place))
                    files.add(frame)
                    self._observer.on_result(video, frame.faces)
                    if not video.is_live:  # its reading ends instead
                        self._raise_if_stopped()
                error_message = frames.error
        except (OutputError, ValueError) as error:
            # ValueError: no video can hold the size or times, or there is no frame.
            return error_message or str(error)
        return error_message

    @contextmanager
    def _drawn_frames(
        self, video: VideoInput, reader: FrameReader, camera: Camera, files: VideoOutputs
    ) -> Iterator[Iterator[FrameResult]]:
        """Read, estimate and draw the frames of a video, each stage in a thread of its own."""
        options = self._options
        known_sizes = self._measure_people(video, camera) if options.two_pass else None
        with (
            read_ahead(self._read_frames(video, reader)) as frames,
            read_ahead(
                self._estimator.stream(
                    frames,
                    camera,
                    smooth=options.smooth,
                    max_faces=options.max_faces,
                    size=options.size,
                    known_sizes=known_sizes,
                )
            ) as results,
            read_ahead(
                files.draw(replace(result, faces=self._scaled(video, result.faces)))
                for result in results
            ) as drawn,
        ):
            yield drawn

    def _measure_people(self, video: VideoInput, camera: Camera) -> dict[int, SizeEstimate]:
        """Return the sizes of the people in a video; of its readable part if it is damaged."""
        with (
            open_clip(video.address) as reader,
            read_ahead(self._until_stopped(reader)) as frames,
        ):
            sizes = self._estimator.person_sizes(
                _UntilError(frames), camera, max_faces=self._options.max_faces
            )
        self._raise_if_stopped()
        return sizes

    def _until_stopped(self, reader: FrameReader) -> Iterator[VideoFrame]:
        for frame in reader:
            yield frame
            if self._observer.should_stop():
                return

    def _read_frames(self, video: VideoInput, reader: FrameReader) -> Iterator[VideoFrame]:
        """Yield the frames of a video; of a live input until the user wants to stop."""
        for frame in reader:
            yield frame
            if video.is_live and self._observer.should_stop():
                return

    def _camera(
        self, item: MediaInput, width: int, height: int, exif: Camera | None = None
    ) -> Camera:
        try:
            return resolve_camera(width, height, self._options.camera, exif)
        except ValueError as error:
            raise ValueError(f"{item.name}: {error}") from error

    def _record(self, found: FrameFaces) -> None:
        self._records.write(found)
        if found.frame is None:
            self.summary.photos += 1
        else:
            self.summary.frames += 1
        self.summary.faces += len(found.faces)
        self.summary.without_faces += not found.faces

    def _scaled(self, item: MediaInput, faces: Sequence[Face]) -> list[Face]:
        known = self._options.interpupillary_m
        if self._photo_size is not None and isinstance(item, PhotoInput):
            faces = in_one_size(faces, self._photo_size)
        scaled = []
        for place, face in enumerate(faces):
            number = place if face.id is None else face.id
            known_m = known.of_face(item.name, number) if isinstance(known, EyeDistances) else known
            scaled.append(face if known_m is None else face.with_interpupillary(known_m))
        return scaled

    def _fail(self, item: MediaInput, message: str) -> None:
        self._records.write_error(item.name, message)
        self.summary.failures.append((item.name, message))
        self._observer.on_error(item, message)

    def _raise_if_stopped(self) -> None:
        if self._observer.should_stop():
            raise KeyboardInterrupt


def _plain_camera(camera: CameraLike | None) -> Any:
    if isinstance(camera, Camera):
        return camera.to_dict()
    if isinstance(camera, FieldOfView | SizelessCalibration):
        return asdict(camera)
    return None if camera is None else np.asarray(camera, np.float64).tolist()


def _boxes_sha256(boxes: PhotoBoxes) -> str:
    digest = hashlib.sha256()
    for name in sorted(boxes):
        digest.update(f"{escape_name(name)}\0{boxes[name].tolist()}\0".encode())
    return digest.hexdigest()


class _ReadPhoto(NamedTuple):
    """A photo whose result is not yet written; ``image`` is None if reading failed."""

    photo: PhotoInput
    image: UprightImage | None = None
    boxes: NDArray[np.float64] | None = None
    error: str = ""


class _UntilError(Iterator[_Item]):
    """Iterates until reading fails, and keeps the message.

    This separates errors of the input, which end it, from errors of the outputs, which end the
    run.
    """

    def __init__(self, items: Iterator[_Item]) -> None:
        self._items = items
        self.error: str | None = None

    def __next__(self) -> _Item:
        try:
            return next(self._items)
        except READ_ERRORS as error:
            self.error = str(error)
            raise StopIteration from None
