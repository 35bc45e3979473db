"""Videos: read, estimated, drawn and encoded side by side, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from trg._util.read_ahead import read_ahead
from trg.app.outputs import OutputError, Outputs, VideoOutputs
from trg.app.predict.options import READ_ERRORS, PredictOptions
from trg.app.predict.result_log import ResultSink
from trg.estimator import FrameResult, HeadPoseEstimator
from trg.geometry.camera import Camera
from trg.inference.size_memory import SizeEstimate
from trg.io.inputs import VideoInput
from trg.io.records.frame_record import FrameFaces

if TYPE_CHECKING:  # PyAV takes 60 ms to import, and photos do not need it
    from trg.io.image_clip import FrameReader
    from trg.io.video import VideoFrame

_Item = TypeVar("_Item")


class VideoPredictor:
    """Processes one video after another."""

    def __init__(
        self,
        estimator: HeadPoseEstimator,
        options: PredictOptions,
        outputs: Outputs,
        log: ResultSink,
    ) -> None:
        self._estimator = estimator
        self._options = options
        self._outputs = outputs
        self._log = log

    def run(self, video: VideoInput) -> None:
        """Process a video; raises KeyboardInterrupt if the user wants to stop."""
        from trg.io.image_clip import open_clip

        try:
            reader = open_clip(video.address)
        except READ_ERRORS as error:
            self._log.fail(video, str(error))
            return
        with reader:
            error_message = self._run_frames(video, reader)
        if error_message is None:
            self._log.finish(video)
        else:
            self._log.fail(video, error_message)

    def _run_frames(self, video: VideoInput, reader: FrameReader) -> str | None:
        """Process the frames of a video; return why they ended early, None if they did not."""
        options = self._options
        try:
            camera = options.camera_of(video.name, reader.width, reader.height)
            known_sizes = self._measure_people(video, camera) if options.two_pass else None
        except READ_ERRORS as error:
            return str(error)
        self._log.start_video(video, reader.frame_count)
        error_message: str | None = None
        try:
            with (
                self._outputs.open_video(video, reader) as files,
                self._drawn_frames(video, reader, camera, files, known_sizes) as drawn_frames,
            ):
                if files.warning:
                    self._log.warn(video, files.warning)
                frames = _UntilError(drawn_frames)
                for frame in frames:
                    place = (frame.index, frame.time_s, options.axes)
                    self._log.add(video, FrameFaces(video.name, camera, frame.faces, *place))
                    files.add(frame)
                    if not video.is_live:  # its reading ends instead
                        self._log.raise_if_stopped()
                error_message = frames.error
        except (OutputError, ValueError) as error:
            # ValueError: no video can hold the size or times, or there is no frame.
            return error_message or str(error)
        return error_message

    @contextmanager
    def _drawn_frames(
        self,
        video: VideoInput,
        reader: FrameReader,
        camera: Camera,
        files: VideoOutputs,
        known_sizes: Mapping[int, SizeEstimate] | None,
    ) -> Iterator[Iterator[FrameResult]]:
        """Read, estimate and draw the frames of a video, each stage in a thread of its own."""
        options = self._options
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
                    interpupillary_m=partial(options.interpupillary_of, video.name),
                )
            ) as results,
            read_ahead(map(files.draw, results)) as drawn,
        ):
            yield drawn

    def _measure_people(self, video: VideoInput, camera: Camera) -> dict[int, SizeEstimate]:
        """Return the sizes of the people in a video; of its readable part if it is damaged."""
        from trg.io.image_clip import open_clip

        with (
            open_clip(video.address) as reader,
            read_ahead(self._until_stopped(reader)) as frames,
        ):
            self._log.start_measuring(video.name, reader.frame_count)
            sizes = self._estimator.person_sizes(
                _UntilError(frames),
                camera,
                max_faces=self._options.max_faces,
                interpupillary_m=partial(self._options.interpupillary_of, video.name),
            )
        self._log.raise_if_stopped()
        return sizes

    def _until_stopped(self, reader: FrameReader) -> Iterator[VideoFrame]:
        for frame in reader:
            yield frame
            self._log.advance_measuring()
            if self._log.should_stop():
                return

    def _read_frames(self, video: VideoInput, reader: FrameReader) -> Iterator[VideoFrame]:
        """Yield the frames of a video; of a live input until the user wants to stop."""
        for frame in reader:
            yield frame
            if video.is_live and self._log.should_stop():
                return


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
