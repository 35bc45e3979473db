"""Where the results of inputs go: records, counts, and whoever observes the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trg.face import Face
from trg.io.inputs import MediaInput, PhotoInput, VideoInput
from trg.io.records.frame_record import FrameFaces
from trg.io.records.writers import RecordWriter


class PredictionObserver(Protocol):
    """Receives the progress of a run; the command line shows it."""

    def on_measuring(self, name: str, total: int | None) -> None:
        """Handle the start of a first pass, over about this many photos or frames."""

    def on_measured(self) -> None:
        """Handle a photo or frame of the first pass."""

    def on_video_start(self, video: VideoInput, frame_count: int | None) -> None:
        """Handle the start of a video with about this many frames."""

    def on_result(self, item: MediaInput) -> None:
        """Handle the result of a photo or of one video frame."""

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


class ResultLog:
    """Records the results of inputs, counts them, and reports them to the observer."""

    def __init__(self, records: RecordWriter, observer: PredictionObserver, skipped: int) -> None:
        self._records = records
        self._observer = observer
        self._has_assumed_camera = False
        self.summary = Summary(skipped=skipped)

    def start_measuring(self, name: str, total: int | None) -> None:
        """Report a first pass, which finds sizes, over about this many photos or frames."""
        self._observer.on_measuring(name, total)

    def advance_measuring(self) -> None:
        """Report a photo or frame of the first pass."""
        self._observer.on_measured()

    def start_video(self, video: VideoInput, frame_count: int | None) -> None:
        """Report the start of a video with about this many frames."""
        self._observer.on_video_start(video, frame_count)

    def add(self, item: MediaInput, found: FrameFaces) -> None:
        """Record the faces of a photo or video frame."""
        self._records.write(found)
        if found.frame is None:
            self.summary.photos += 1
        else:
            self.summary.frames += 1
        self.summary.faces += len(found.faces)
        self.summary.without_faces += not found.faces
        assumed = _with_assumed_camera(found.faces)
        if assumed is not None and not self._has_assumed_camera:
            self._has_assumed_camera = True
            self._observer.on_assumed_camera(item, assumed)
        if found.frame is not None:
            self._observer.on_result(item)

    def finish(self, item: MediaInput) -> None:
        """Mark an input as finished, after all its records and files."""
        self._records.finish(item.name)
        if isinstance(item, PhotoInput):
            self._observer.on_result(item)

    def fail(self, item: MediaInput, message: str) -> None:
        """Record and report that an input could not be processed completely."""
        self._records.write_error(item.name, message)
        self.summary.failures.append((item.name, message))
        self._observer.on_error(item, message)

    def warn(self, item: MediaInput, message: str) -> None:
        """Report a shortcoming of an input's outputs."""
        self._observer.on_warning(item, message)

    def should_stop(self) -> bool:
        """Return whether the user wants to stop."""
        return self._observer.should_stop()

    def raise_if_stopped(self) -> None:
        """Raise KeyboardInterrupt if the user wants to stop."""
        if self.should_stop():
            raise KeyboardInterrupt


def _with_assumed_camera(faces: Sequence[Face]) -> Face | None:
    return next((face for face in faces if face.camera.source == "assumed"), None)
