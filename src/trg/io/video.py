"""Video input from files, webcams and network streams: upright RGB frames with their times."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from trg._util.files import existing_file
from trg._util.urls import without_secrets
from trg.io.ffmpeg import decoder_threads, open_media_file, reason
from trg.io.inputs import is_stream_url
from trg.io.orientation import (
    EXIF_ORIENTATIONS,
    UPRIGHT,
    Orientation,
    orientation_from_display_matrix,
)
from trg.io.webcams import CaptureMode, webcam_input

MAX_FRAME_PX = 2**26
"""67 million pixels, twice 8K. Headers that claim more are treated as damaged."""

DEFAULT_FPS = 30.0
"""Frame rate of inputs that do not report one. Used for times only where frames have none."""

PLAUSIBLE_FPS = (0.01, 1000.0)
PLAUSIBLE_PIXEL_ASPECT = (0.25, 4.0)

_NO_TIMESTAMPS = av.format.Flags.no_timestamps.value

MAX_CONSECUTIVE_DAMAGED = 250
"""Undecodable packets in a row, about ten seconds of video, after which a live input has failed."""


class VideoFrame(NamedTuple):
    """One frame of a video."""

    index: int  # type: ignore[assignment]  # hides a tuple's method
    """From 0, over the frames that could be decoded."""
    time_s: float
    """Presentation time from the start of the input; strictly increasing."""
    pixels: NDArray[np.uint8]
    """``(h, w, 3)`` RGB, upright, with square pixels."""


class _DecodedFrame(NamedTuple):
    """A stored frame and the clock's time at which its packet arrived."""

    frame: Any
    arrival_s: float


class VideoReader:
    """Iterator over the frames of a video file, a webcam or a network stream (single pass).

    The container's display rotation and pixel aspect ratio are applied. Times are the frames' own,
    so a variable frame rate is preserved. They count from the start of the file (including its
    sound), or from the first frame of a live input. Frames of a live input without times, such as
    MJPEG over HTTP, get the times at which they arrive.

    Packets that cannot be decoded are skipped. For a file, iteration then ends with ValueError
    after the last good frame, so that a video with gaps is not mistaken for a complete one.

    Parameters
    ----------
    source
        Path of a video, number of a webcam, or URL such as ``rtsp://camera/1``.
    timeout_s
        How long a webcam or stream may deliver no data.
    mode
        What a webcam is asked for. One that cannot may deliver something else.

    Attributes
    ----------
    path
        The file; None for live inputs.
    width, height
        Size of the returned frames, px.
    fps
        Mean frame rate reported by the input, else ``DEFAULT_FPS``.
    frame_count
        Number of frames, from the header or estimated from the duration; None if unknown. Only an
        estimate, for progress bars.

    Raises
    ------
    FileNotFoundError
        The file or webcam does not exist.
    TimeoutError
        The webcam or stream delivered no data (also while iterating).
    OSError
        The input cannot be opened, or was interrupted (also while iterating).
    ValueError
        The file is not a video or is damaged, or its frames change size (also while iterating).
    """

    def __init__(
        self,
        source: str | PathLike[str] | int,
        *,
        timeout_s: float = 10.0,
        mode: CaptureMode = CaptureMode(),
    ) -> None:
        is_url = isinstance(source, str) and is_stream_url(source)
        self._is_live = is_url or isinstance(source, int)
        self._timeout_s = timeout_s
        self._address = str(source)
        self._container: Any = None
        self.path: Path | None = None
        if isinstance(source, int):
            self._name = f"webcam {source}"
        elif is_url:
            self._name = without_secrets(str(source))
        else:
            self._name = os.fspath(source)
            self.path = existing_file(source, "a video")
        try:
            with self._builtin_errors():
                self._container = _open(source, self._is_live, timeout_s, mode)
                self._stream = self._select_stream()
                self._damaged_packets = 0
                self._decoded = self._decode()
                first = next(self._decoded, None)
                if first is None:
                    raise ValueError(
                        f"{self._name}: expected a video, got no frame that can be read"
                    )
                self._uses_arrival = self._is_live and (
                    first.frame.pts is None or _has_nominal_times(self._container)
                )
                self._set_properties(first.frame)
        except BaseException:
            self.close()
            raise
        self._frames = self._read_frames(first)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        return self

    def __next__(self) -> VideoFrame:
        if self._container is None:
            raise ValueError(f"{self._name}: expected an open video, got one that was closed")
        with self._builtin_errors():
            return next(self._frames)

    def close(self) -> None:
        """Close the file or device; does nothing if already closed."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _select_stream(self) -> Any:
        """Return the largest video stream and configure its decoder."""
        cover_art = av.stream.Disposition.attached_pic
        streams = [s for s in self._container.streams.video if not s.disposition & cover_art]
        if not streams:
            raise ValueError(f"{self._name}: expected a video, got a file without a video stream")
        streams = [s for s in streams if s.codec_context is not None]
        if not streams:
            raise ValueError(f"{self._name}: FFmpeg has no decoder for this video")
        stream = max(streams, key=lambda s: (s.width or 0) * (s.height or 0))
        # Frame threads add latency, which matters for live inputs.
        stream.thread_type = "SLICE" if self._is_live else "AUTO"
        stream.codec_context.thread_count = decoder_threads()
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PX)}
        return stream

    def _decode(self) -> Iterator[_DecodedFrame]:
        """Yield the intact frames and count the damaged packets."""
        consecutive = 0
        has_frame = False
        for packet in self._container.demux(self._stream):
            arrival_s = time.monotonic()
            try:
                frames = packet.decode()
                is_damaged = any(frame.is_corrupt for frame in frames)
            except (av.error.FFmpegError, MemoryError):
                frames, is_damaged = [], True
            for frame in frames:
                if not frame.is_corrupt:
                    has_frame = True
                    yield _DecodedFrame(frame, arrival_s)
            consecutive = consecutive + 1 if is_damaged else 0
            # Packets before the first key frame can never be decoded; that is not damage.
            self._damaged_packets += is_damaged and has_frame
            if self._is_live and consecutive > MAX_CONSECUTIVE_DAMAGED:
                raise OSError(f"{self._name}: {consecutive} packets in a row could not be decoded")

    def _set_properties(self, first: Any) -> None:
        """Set size, orientation, frame rate and frame count from the header and first frame."""
        stream = self._stream
        self._stored_size = (first.width, first.height)
        if first.width * first.height > MAX_FRAME_PX:
            raise ValueError(
                f"{self._name}: expected frames of at most {MAX_FRAME_PX:,} px, "
                f"got {first.width}x{first.height}"
            )
        aspect = float(stream.sample_aspect_ratio or 1)
        if not PLAUSIBLE_PIXEL_ASPECT[0] <= aspect <= PLAUSIBLE_PIXEL_ASPECT[1]:
            aspect = 1.0
        self._square_width = max(1, round(first.width * aspect))
        self._orientation = _orientation(first)
        size = (self._square_width, first.height)
        self.width, self.height = size[::-1] if self._orientation.transpose else size
        reported = () if self._uses_arrival else (stream.average_rate, stream.guessed_rate)
        rates = (float(rate or 0) for rate in reported)
        plausible = (rate for rate in rates if PLAUSIBLE_FPS[0] <= rate <= PLAUSIBLE_FPS[1])
        self.fps = next(plausible, DEFAULT_FPS)
        self.frame_count = None if self._is_live else self._estimate_frame_count()

    def _estimate_frame_count(self) -> int | None:
        if self._stream.frames > 0:
            return int(self._stream.frames)
        duration = self._container.duration
        if duration is None or duration <= 0:
            return None
        return max(1, round(duration / av.time_base * self.fps))

    def _read_frames(self, first: _DecodedFrame) -> Iterator[VideoFrame]:
        start_s = self._time_s(first) or 0.0
        if not self._is_live and self._container.start_time is not None:
            start_s = min(start_s, self._container.start_time / av.time_base)
        last_s: float | None = None
        decoded: _DecodedFrame | None = first
        index = 0
        while decoded is not None:
            frame = decoded.frame
            if (frame.width, frame.height) != self._stored_size:
                raise ValueError(
                    f"{self._name}: expected frames of one size, "
                    f"{self._stored_size[0]}x{self._stored_size[1]}, got "
                    f"{frame.width}x{frame.height} as frame {index}; convert the video first"
                )
            time_s = self._time_s(decoded)
            if last_s is None:
                time_s = start_s if time_s is None else time_s
            elif time_s is None or time_s <= last_s:
                time_s = last_s + 1.0 / self.fps
            yield VideoFrame(index, time_s - start_s, self._upright_rgb(frame))
            last_s = time_s
            decoded = next(self._decoded, None)
            index += 1
        if self._damaged_packets and not self._is_live:
            raise ValueError(
                f"{self._name}: the video is damaged: {self._damaged_packets} of its packets could "
                f"not be decoded, and their frames are missing among the {index} that could"
            )

    def _time_s(self, decoded: _DecodedFrame) -> float | None:
        if self._uses_arrival:
            return decoded.arrival_s
        frame = decoded.frame
        return None if frame.pts is None else float(frame.pts * frame.time_base)

    def _upright_rgb(self, frame: Any) -> NDArray[np.uint8]:
        width, height = self._square_width, self._stored_size[1]
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
        return self._orientation.apply(pixels)

    def _without_address(self, error: Exception) -> str:
        """Return FFmpeg's message with the name in place of the URL, which may hold a password."""
        text = reason(error)
        return text.replace(self._address, self._name) if self._is_live else text

    @contextmanager
    def _builtin_errors(self) -> Iterator[None]:
        """Raise FFmpeg's errors as the built-in ones that the class promises."""
        start_s = time.monotonic()
        try:
            yield
        except av.error.FFmpegError as error:
            builtin = _builtin_error(self._name, self._without_address(error), error, self._is_live)
            # FFmpeg reports an expired timeout as various errors, hence the clock.
            is_late = time.monotonic() - start_s > 0.95 * self._timeout_s
            if self._is_live and (is_late or isinstance(error, av.error.ExitError)):
                builtin = TimeoutError(f"{self._name}: nothing came within {self._timeout_s:g} s")
            # The original error of a stream contains the URL with its password.
            raise builtin from (None if self._is_live else error)
        except StopIteration:
            raise
        except Exception as error:  # PyAV raises any exception for content that it does not expect
            if str(error).startswith(f"{self._name}: "):
                raise
            message = self._without_address(error)
            if self._is_live:
                raise OSError(f"{self._name}: cannot be read ({message})") from None
            raise ValueError(f"{self._name}: the video is damaged ({message})") from error


def _open(
    source: str | PathLike[str] | int, is_live: bool, timeout_s: float, mode: CaptureMode
) -> Any:
    if isinstance(source, int):
        return _open_webcam(source, timeout_s, mode)
    if is_live:
        options = {"rtsp_transport": "tcp"} if str(source).lower().startswith("rtsp") else {}
        return av.open(str(source), container_options=options, timeout=timeout_s)
    return open_media_file(source)


def _open_webcam(number: int, timeout_s: float, mode: CaptureMode) -> Any:
    file, format_name, attempts = webcam_input(number, sys.platform, mode)
    for options in attempts[:-1]:
        with suppress(av.error.FFmpegError):
            return av.open(file, format=format_name, container_options=options, timeout=timeout_s)
    try:
        return av.open(file, format=format_name, container_options=attempts[-1], timeout=timeout_s)
    except av.error.FFmpegError as error:
        if not str(mode):
            raise
        raise OSError(
            f"webcam {number}: cannot be read with {mode} ({reason(error)}); try another size and "
            "rate, or none"
        ) from error


def _has_nominal_times(container: Any) -> bool:
    """Return whether FFmpeg makes up the times of a stream, as at 25 frames a second for MJPEG.

    A stream of known size is a stored file, whose frames do not arrive at the rate of the scene.
    """
    return bool(container.format.flags & _NO_TIMESTAMPS) and container.size <= 0


def _orientation(frame: Any) -> Orientation:
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV cannot list side data if it does not know the type of one, such as EXIF's. What it
        # then still tells is the rotation; a mirrored matrix is read as its rotation alone.
        return _ROTATIONS.get(round(frame.rotation / 90.0) % 4, UPRIGHT)
    if matrix is None or matrix.buffer_size < 36:
        return UPRIGHT
    return orientation_from_display_matrix(
        np.frombuffer(bytes(matrix), "=i4", count=9).reshape(3, 3)
    )


_ROTATIONS = {1: EXIF_ORIENTATIONS[8], 2: EXIF_ORIENTATIONS[3], 3: EXIF_ORIENTATIONS[6]}
"""By quarter turns counterclockwise."""


def _builtin_error(name: str, message: str, error: Exception, is_live: bool) -> Exception:
    if is_live or (isinstance(error, OSError) and not isinstance(error, ValueError)):
        return OSError(f"{name}: cannot be read ({message})")
    return ValueError(
        f"{name}: expected a video, got a damaged file or another kind of file ({message})"
    )
