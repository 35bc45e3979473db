"""The loop over sources: what cannot be read is reported, and the rest goes on.

::

    photos ──> read ──> estimator.batch ──┐                     ┌──> records
    videos ──> read ──> estimator.stream ─┴──> eye distance ────┴──> drawings, meshes

A source counts as finished when all of it is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol, TypeVar

from trg.app.outputs import Outputs
from trg.estimator import HeadPoseEstimator
from trg.face import MAX_INTERPUPILLARY_M, MIN_INTERPUPILLARY_M, Face
from trg.geometry.camera import Camera
from trg.geometry.camera_source import CameraLike, resolve_camera
from trg.io.boxes import PictureBoxes, boxes_of
from trg.io.images import UprightImage, read_image
from trg.io.inputs import MediaInput
from trg.io.records.writers import RecordWriter
from trg.io.video import VideoReader

_Item = TypeVar("_Item")

UNREADABLE = (OSError, ValueError)
"""What readers of photos and videos raise for bad files."""


class Listener(Protocol):
    """Is told how it goes; the command line shows it."""

    def begins(self, source: MediaInput, frame_count: int | None) -> None:
        """Note that a video begins, of about so many frames."""

    def done(self, source: MediaInput, faces: Sequence[Face]) -> None:
        """Note the faces of a photo, or of one frame of a video."""

    def failed(self, source: MediaInput, message: str) -> None:
        """Note that a source could not be read, or not to its end."""

    def noted(self, source: MediaInput, message: str) -> None:
        """Note what is not as it should be with a source's files."""

    def should_stop(self) -> bool:
        """Say whether the user wants to stop; asked after every photo and frame."""


@dataclass(slots=True)
class Summary:
    """What a run came to."""

    photos: int = 0
    frames: int = 0
    """Of videos, webcams and streams."""
    faces: int = 0
    failed: int = 0
    """Sources that could not be read, or not to their end."""
    skipped: int = 0
    """Sources that an earlier run had finished."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How sources are looked at.

    Attributes
    ----------
    camera
        The camera that took all of them. None: each picture's EXIF tells, or else it is assumed.
    boxes
        Face boxes of the photos, in place of a detector. None: faces are detected.
    max_faces
        In one picture at most.
    interpupillary_m
        A known distance between the eyes, which sets size and distance of each face.
    smooth
        Whether poses are smoothed over the frames of a video.
    batch_size
        Photos that share the network's calls.

    Raises
    ------
    ValueError
        A number makes no sense.
    """

    camera: CameraLike | None = None
    boxes: PictureBoxes | None = None
    max_faces: int | None = None
    interpupillary_m: float | None = None
    smooth: bool = True
    batch_size: int = 32

    def __post_init__(self) -> None:
        low_m, high_m = MIN_INTERPUPILLARY_M, MAX_INTERPUPILLARY_M
        if self.interpupillary_m is not None and not low_m <= self.interpupillary_m <= high_m:
            raise ValueError(
                f"eye distance: expected {1000 * low_m:g} to {1000 * high_m:g} mm, "
                f"got {1000 * self.interpupillary_m:g}"
            )

    def check(self, sources: Sequence[MediaInput]) -> None:
        """Raise ValueError where the options do not fit the sources."""
        if self.boxes is not None and any(source.kind != "photo" for source in sources):
            raise ValueError("boxes: are for photos; expected no video among the sources")


class Predictor:
    """Takes sources one after the other.

    Parameters
    ----------
    estimator
        What finds faces.
    records
        Where results go.
    listener
        Is told how it goes.
    options
        How sources are looked at.
    outputs
        Which files are written beside the records.
    """

    def __init__(
        self,
        estimator: HeadPoseEstimator,
        records: RecordWriter,
        listener: Listener,
        options: PredictOptions,
        outputs: Outputs,
    ) -> None:
        self._estimator = estimator
        self._records = records
        self._listener = listener
        self._options = options
        self._outputs = outputs
        self.summary = Summary()

    def run(self, sources: Sequence[MediaInput]) -> Summary:
        """Take all sources that are not yet finished, in their order.

        Raises
        ------
        ValueError
            An output would overwrite a source, or cannot hold a video.
        OSError
            Results cannot be written, or the package has no detector.
        KeyboardInterrupt
            The listener wanted to stop. All files are whole; a video that was not at its end is
            not among the finished sources, and nothing is drawn of it.
        """
        self._options.check(sources)
        self._outputs.check(sources)
        left = [source for source in sources if source.name not in self._records.finished]
        self.summary = Summary(skipped=len(sources) - len(left))
        for is_photo, group in groupby(left, key=lambda source: source.kind == "photo"):
            if is_photo:
                self._run_photos(group)
            else:
                for source in group:
                    self._run_video(source)
        return self.summary

    def _run_photos(self, sources: Iterable[MediaInput]) -> None:
        """Read ahead as far as a batch goes; results leave in the order of the sources."""
        waiting: deque[_Waiting] = deque()
        pictures = self._read_photos(sources, waiting)
        if self._options.boxes is None:
            results = self._estimator.batch(
                pictures, batch_size=self._options.batch_size, max_faces=self._options.max_faces
            )
        else:
            results = (self._within_boxes(waiting[-1], picture) for picture in pictures)
        for found in results:
            self._report_failures(waiting)
            source, picture, _ = waiting.popleft()
            assert picture is not None
            faces = self._scaled(found)
            self._write(source, None, None, picture.pixels.shape, picture.camera, faces)
            self._outputs.write_photo(source, picture.pixels, faces)
            self._records.finish(source.name)
            self._listener.done(source, faces)
        self._report_failures(waiting)
        self._stop_if_wanted()

    def _read_photos(
        self, sources: Iterable[MediaInput], waiting: deque[_Waiting]
    ) -> Iterator[UprightImage]:
        """Yield pictures with their cameras; note each, or why it cannot be read."""
        for source in sources:
            if self._listener.should_stop():
                return
            try:
                picture = read_image(str(source.path))
                height, width = picture.pixels.shape[:2]
                camera = self._camera(source, width, height, picture.camera)
                if self._options.boxes is not None:
                    boxes_of(self._options.boxes, source.name)
            except UNREADABLE as error:
                waiting.append(_Waiting(source, None, str(error)))
                continue
            picture = UprightImage(picture.pixels, camera)
            waiting.append(_Waiting(source, picture))
            yield picture

    def _camera(
        self, source: MediaInput, width: int, height: int, exif: Camera | None = None
    ) -> Camera:
        try:
            return resolve_camera(width, height, self._options.camera, exif)
        except ValueError as error:
            raise ValueError(f"{source.name}: {error}") from error

    def _within_boxes(self, waiting: _Waiting, picture: UprightImage) -> list[Face]:
        assert self._options.boxes is not None
        boxes = boxes_of(self._options.boxes, waiting.source.name)
        return self._estimator(picture, boxes=boxes, max_faces=self._options.max_faces)

    def _report_failures(self, waiting: deque[_Waiting]) -> None:
        """Report the failures before the next picture that was read."""
        while waiting and waiting[0].picture is None:
            failed = waiting.popleft()
            self._fail(failed.source, failed.failure)

    def _run_video(self, source: MediaInput) -> None:
        try:
            reader = VideoReader(source.path)
        except UNREADABLE as error:
            self._fail(source, str(error))
            return
        with reader:
            try:
                camera = self._camera(source, reader.width, reader.height)
            except ValueError as error:
                self._fail(source, str(error))
                return
            self._listener.begins(source, reader.frame_count)
            failure = self._run_frames(source, reader, camera)
        if failure is None:
            self._records.finish(source.name)
        else:
            self._fail(source, failure)

    def _run_frames(self, source: MediaInput, reader: VideoReader, camera: Camera) -> str | None:
        """Take a video's frames; return why they broke off, None if they did not."""
        is_live = source.kind != "video"
        stream = self._estimator.stream(
            reader, camera, smooth=self._options.smooth, max_faces=self._options.max_faces
        )
        frames = _Guarded(stream)
        try:
            with self._outputs.open_video(source, reader) as files:
                if files.note:
                    self._listener.noted(source, files.note)
                for frame in frames:
                    faces = self._scaled(frame.faces)
                    shape = frame.pixels.shape
                    self._write(source, frame.index, frame.time_s, shape, camera, faces)
                    files.add(frame.pixels, faces, frame.time_s)
                    self._listener.done(source, faces)
                    if is_live and self._listener.should_stop():
                        break  # that is how those end
                    self._stop_if_wanted()
        except ValueError as error:  # no video can hold its size or times, or it gave no frame
            return frames.failure or str(error)
        return frames.failure

    def _write(
        self,
        source: MediaInput,
        frame: int | None,
        time_s: float | None,
        shape: tuple[int, ...],
        camera: Camera | None,
        faces: Sequence[Face],
    ) -> None:
        assert camera is not None
        self._records.write(source.name, frame, time_s, (shape[1], shape[0]), camera, faces)
        if frame is None:
            self.summary.photos += 1
        else:
            self.summary.frames += 1
        self.summary.faces += len(faces)

    def _scaled(self, faces: Sequence[Face]) -> list[Face]:
        if self._options.interpupillary_m is None:
            return list(faces)
        return [face.with_interpupillary(self._options.interpupillary_m) for face in faces]

    def _fail(self, source: MediaInput, message: str) -> None:
        self._records.write_error(source.name, message)
        self.summary.failed += 1
        self._listener.failed(source, message)

    def _stop_if_wanted(self) -> None:
        if self._listener.should_stop():
            raise KeyboardInterrupt


class _Waiting(NamedTuple):
    """A photo that was read, or could not be, and whose result is not written yet."""

    source: MediaInput
    picture: UprightImage | None
    failure: str = ""


class _Guarded(Iterator[_Item]):
    """An iterator that ends where its source breaks off, and remembers why."""

    def __init__(self, items: Iterator[_Item]) -> None:
        self._items = items
        self.failure: str | None = None

    def __next__(self) -> _Item:
        try:
            return next(self._items)
        except UNREADABLE as error:
            self.failure = str(error)
            raise StopIteration from None
