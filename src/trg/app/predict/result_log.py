"""Where the results of inputs go: records, counts, and whoever observes the run."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from trg.face import Face
from trg.io.inputs import MediaInput, PhotoInput, VideoInput
from trg.io.records.frame_record import FrameFaces
from trg.io.records.writers import RecordEncoder, RecordWriter


class PredictionObserver(Protocol):
    """Receives the progress of a run; the command line shows it."""

    def on_measuring(self, name: str, total: int | None) -> None:
        """Handle the start of a first pass, over about this many photos or frames."""

    def on_measured(self) -> None:
        """Handle a photo or frame of the first pass."""

    def on_video_start(self, video: VideoInput, frame_count: int | None) -> None:
        """Handle the start of a video with about this many frames."""

    def on_result(self, item: MediaInput) -> None:
        """Handle the result of a photo, of one video frame, or of a video of a worker process."""

    def on_share(self, item: MediaInput, share: float) -> None:
        """Handle that a worker process has done this share of an input, whose results follow."""

    def on_assumed_camera(self, item: MediaInput, face: Face) -> None:
        """Handle the first face of the run whose camera is assumed."""

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


class ResultSink(ABC):
    """Takes the results of inputs, one input after another."""

    def start_measuring(self, name: str, total: int | None) -> None:  # noqa: B027
        """Note a first pass, which finds sizes, over about this many photos or frames."""

    def advance_measuring(self) -> None:  # noqa: B027
        """Note a photo or frame of the first pass."""

    def start_video(self, video: VideoInput, frame_count: int | None) -> None:  # noqa: B027
        """Note the start of a video with about this many frames."""

    @abstractmethod
    def add(self, item: MediaInput, found: FrameFaces) -> None:
        """Record the faces of a photo or video frame."""

    def finish(self, item: MediaInput) -> None:  # noqa: B027
        """Mark an input as finished, after all its records and files."""

    @abstractmethod
    def fail(self, item: MediaInput, message: str) -> None:
        """Record that an input could not be processed completely."""

    def warn(self, item: MediaInput, message: str) -> None:  # noqa: B027
        """Note a shortcoming of an input's outputs."""

    def should_stop(self) -> bool:
        """Return whether the user wants to stop."""
        return False

    def raise_if_stopped(self) -> None:
        """Raise KeyboardInterrupt if the user wants to stop."""
        if self.should_stop():
            raise KeyboardInterrupt


class CountedRecord(NamedTuple):
    """The record of a photo or video frame, and what a run counts and reports of it."""

    record: Any
    """For :meth:`~trg.io.records.writers.RecordWriter.append`."""
    is_frame: bool
    face_count: int
    assumed: Face | None
    """The first face whose camera is assumed."""

    @classmethod
    def of(cls, encode: RecordEncoder, found: FrameFaces) -> CountedRecord:
        """Make the record of a photo or frame."""
        assumed = (face for face in found.faces if face.camera.source == "assumed")
        return cls(encode(found), found.frame is not None, len(found.faces), next(assumed, None))


class ResultLog(ResultSink):
    """Writes records, counts them, and reports them to the observer.

    ``shows_frames``: whether videos are reported frame by frame.
    """

    def __init__(
        self,
        records: RecordWriter,
        observer: PredictionObserver,
        skipped: int,
        shows_frames: bool = True,
    ) -> None:
        self._records = records
        self._observer = observer
        self._shows_frames = shows_frames
        self._has_assumed_camera = False
        self.summary = Summary(skipped=skipped)

    def start_measuring(self, name: str, total: int | None) -> None:
        """Report a first pass, which finds sizes, over about this many photos or frames."""
        self._observer.on_measuring(name, total)

    def advance_measuring(self) -> None:
        """Report a photo or frame of the first pass."""
        self._observer.on_measured()

    def report_share(self, item: MediaInput, share: float) -> None:
        """Report that a worker process has done this share of an input."""
        self._observer.on_share(item, share)

    def start_video(self, video: VideoInput, frame_count: int | None) -> None:
        """Report the start of a video with about this many frames."""
        if self._shows_frames:
            self._observer.on_video_start(video, frame_count)

    def add(self, item: MediaInput, found: FrameFaces) -> None:
        """Record the faces of a photo or video frame."""
        self.add_record(item, CountedRecord.of(self._records.encode, found))

    def add_record(self, item: MediaInput, counted: CountedRecord) -> None:
        """Write the record of a photo or video frame."""
        self._records.append(counted.record)
        if counted.is_frame:
            self.summary.frames += 1
        else:
            self.summary.photos += 1
        self.summary.faces += counted.face_count
        self.summary.without_faces += not counted.face_count
        if counted.assumed is not None and not self._has_assumed_camera:
            self._has_assumed_camera = True
            self._observer.on_assumed_camera(item, counted.assumed)
        if counted.is_frame and self._shows_frames:
            self._observer.on_result(item)

    def finish(self, item: MediaInput) -> None:
        """Mark an input as finished, after all its records and files."""
        self._records.finish(item.name)
        if isinstance(item, PhotoInput) or not self._shows_frames:
            self._observer.on_result(item)

    def fail(self, item: MediaInput, message: str) -> None:
        """Record and report that an input could not be processed completely."""
        self._records.write_error(item.name, message)
        self.summary.failures.append((item.name, message))
        self._observer.on_error(item, message)

    def warn(self, item: MediaInput, message: str) -> None:
        """Report a shortcoming of an input's outputs."""
        self._observer.on_warning(item, message)

    def repeat_warning(self, message: Warning | str) -> None:
        """Give a warning of a worker process; Python shows one of each text."""
        warnings.warn(message, stacklevel=1)

    def should_stop(self) -> bool:
        """Return whether the user wants to stop."""
        return self._observer.should_stop()
