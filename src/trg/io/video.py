"""Videos, webcams and streams in: upright RGB frames with their times."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from trg.io.inputs import is_stream_url, without_password
from trg.io.orientation import UPRIGHT, Turn, turn_of_display_matrix

LARGEST_FRAME_PX = 2**26
"""67 million: twice 8K. A damaged header that claims more is not believed."""

NOMINAL_FPS = 30.0
"""Said of sources that do not tell their frame rate; times never depend on it where frames
carry their own."""

PLAUSIBLE_FPS = (0.01, 1000.0)
PLAUSIBLE_PIXEL_ASPECT = (0.25, 4.0)

LIVE_DAMAGE_LIMIT = 250
"""Undecodable packets in a row, some ten seconds of them, after which a stream has ended."""


class VideoFrame(NamedTuple):
    """One picture of a video."""

    index: int  # type: ignore[assignment]  # hides a tuple's method
    """From 0, counted over the frames that were given out."""
    time_s: float
    """When it is shown, from the source's start; rises strictly."""
    pixels: NDArray[np.uint8]
    """``(h, w, 3)`` RGB, upright, with square pixels."""


class VideoReader:
    """An iterator over the frames of a video file, a webcam or a stream. One pass.

    The container's display rotation and pixel aspect are applied. Times are the frames' own, so
    a variable frame rate is kept; they count from the start of the file (its sound included), or
    from the first frame of a webcam or stream.

    Packets that cannot be decoded are left out. After the last frame of a file that had some,
    iterating raises ValueError, so that the gap is not taken for a whole video; a stream goes on.

    Parameters
    ----------
    source
        The path of a video, the number of a webcam, or a URL such as ``rtsp://camera/1``.
    timeout_s
        How long a webcam or stream may stay silent.

    Attributes
    ----------
    path
        The file; None for webcams and streams.
    width, height
        Size of the frames as given out, px.
    fps
        Mean frames per second as the source tells, else ``NOMINAL_FPS``.
    frame_count
        How many frames the file tells of, or its duration says; None where unknown. An estimate:
        good for a progress bar, no more.

    Raises
    ------
    FileNotFoundError
        There is no such file or webcam.
    TimeoutError
        The webcam or stream stayed silent (also while iterating).
    OSError
        The file, webcam or stream cannot be opened or has broken off (also while iterating).
    ValueError
        The file is no video, or its first frame is damaged; or was in part (at the end of
        iterating); or its frames change size (while iterating).
    """

    def __init__(self, source: str | PathLike[str] | int, *, timeout_s: float = 10.0) -> None:
        is_url = isinstance(source, str) and is_stream_url(source)
        self._live = is_url or isinstance(source, int)
        self._timeout_s = timeout_s
        self._container: Any = None
        self.path: Path | None = None
        if isinstance(source, int):
            self._name = f"webcam {source}"
        elif is_url:
            self._name = without_password(str(source))
        else:
            self._name = os.fspath(source)
            self.path = _existing_file(Path(source))
        try:
            with self._plain_errors():
                self._container = _open(source, self._live, timeout_s)
                self._stream = self._video_stream()
                self._damaged_packets = 0
                self._decoded = self._decode()
                first = next(self._decoded, None)
            if first is None:
                raise ValueError(f"{self._name}: expected a video, got no frame that can be read")
            self._describe(first)
        except BaseException:
            self.close()
            raise
        self._frames = self._give_out(first)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        return self

    def __next__(self) -> VideoFrame:
        if self._container is None:
            raise ValueError(f"{self._name}: expected an open video, got one that was closed")
        with self._plain_errors():
            return next(self._frames)

    def close(self) -> None:
        """Let go of the file or device. Doing so again does nothing."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _video_stream(self) -> Any:
        pictures = av.stream.Disposition.attached_pic
        streams = [s for s in self._container.streams.video if not s.disposition & pictures]
        if not streams:
            raise ValueError(f"{self._name}: expected a video, got a file without a video stream")
        streams = [s for s in streams if s.codec_context is not None]
        if not streams:
            raise ValueError(f"{self._name}: its video is coded in a way that FFmpeg does not know")
        stream = max(streams, key=lambda s: (s.width or 0) * (s.height or 0))
        stream.thread_type = "SLICE" if self._live else "AUTO"  # frame threads hold frames back
        stream.codec_context.options = {"max_pixels": str(LARGEST_FRAME_PX)}
        return stream

    def _decode(self) -> Iterator[Any]:
        """Yield the frames that are whole, count the packets that are not."""
        in_a_row = 0
        seen_one = False
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
                damaged = any(frame.is_corrupt for frame in frames)
            except (av.error.FFmpegError, MemoryError):
                frames, damaged = [], True
            for frame in frames:
                if not frame.is_corrupt:
                    seen_one = True
                    yield frame
            in_a_row = in_a_row + 1 if damaged else 0
            # What comes before the first key frame can never be decoded; that is no damage.
            self._damaged_packets += damaged and seen_one
            if self._live and in_a_row > LIVE_DAMAGE_LIMIT:
                raise OSError(f"{self._name}: {in_a_row} packets in a row could not be decoded")

    def _describe(self, first: Any) -> None:
        """Set what is known once the first frame is there."""
        stream = self._stream
        self._stored_size = (first.width, first.height)
        if first.width * first.height > LARGEST_FRAME_PX:
            raise ValueError(
                f"{self._name}: expected frames of at most {LARGEST_FRAME_PX:,} px, "
                f"got {first.width}x{first.height}"
            )
        aspect = float(stream.sample_aspect_ratio or 1)
        if not PLAUSIBLE_PIXEL_ASPECT[0] <= aspect <= PLAUSIBLE_PIXEL_ASPECT[1]:
            aspect = 1.0
        self._shown_width = max(1, round(first.width * aspect))
        self._turn = _turn_of(first)
        sides = (self._shown_width, first.height)
        self.width, self.height = sides[::-1] if self._turn.swap else sides
        rates = (float(rate or 0) for rate in (stream.average_rate, stream.guessed_rate))
        known = (rate for rate in rates if PLAUSIBLE_FPS[0] <= rate <= PLAUSIBLE_FPS[1])
        self.fps = next(known, NOMINAL_FPS)
        self.frame_count = None if self._live else self._told_frame_count()

    def _told_frame_count(self) -> int | None:
        if self._stream.frames > 0:
            return int(self._stream.frames)
        duration = self._container.duration
        if duration is None or duration <= 0:
            return None
        return max(1, round(duration / av.time_base * self.fps))

    def _give_out(self, first: Any) -> Iterator[VideoFrame]:
        start_s = time_s = self._start_s(first)
        frame = first
        index = 0
        while frame is not None:
            if (frame.width, frame.height) != self._stored_size:
                raise ValueError(
                    f"{self._name}: expected frames of one size, "
                    f"{self._stored_size[0]}x{self._stored_size[1]}, got "
                    f"{frame.width}x{frame.height} as frame {index}; convert the video first"
                )
            told_s = None if frame.pts is None else float(frame.pts * frame.time_base)
            if index == 0:
                time_s = start_s if told_s is None else told_s
            else:
                late = told_s is not None and told_s > time_s
                time_s = told_s if late and told_s is not None else time_s + 1.0 / self.fps
            yield VideoFrame(index, time_s - start_s, self._pixels(frame))
            frame = next(self._decoded, None)
            index += 1
        if self._damaged_packets and not self._live:
            raise ValueError(
                f"{self._name}: the video is damaged: {self._damaged_packets} of its packets could "
                f"not be decoded, and their frames are missing among the {index} that could"
            )

    def _start_s(self, first: Any) -> float:
        first_s = 0.0 if first.pts is None else float(first.pts * first.time_base)
        told = None if self._live else self._container.start_time
        return first_s if told is None else min(first_s, told / av.time_base)

    def _pixels(self, frame: Any) -> NDArray[np.uint8]:
        width, height = self._shown_width, self._stored_size[1]
        return self._turn.pixels(frame.to_ndarray(format="rgb24", width=width, height=height))

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Turn FFmpeg's errors into Python's own."""
        began_s = time.monotonic()
        try:
            yield
        except av.error.FFmpegError as error:
            plain = _plain_error(self._name, error, self._live)
            # FFmpeg's own error shows the password; and a wait that was cut short may be any.
            late = time.monotonic() - began_s > 0.95 * self._timeout_s
            if self._live and (late or isinstance(error, av.error.ExitError)):
                plain = TimeoutError(f"{self._name}: nothing came within {self._timeout_s:g} s")
            raise plain from (None if self._live else error)
        except (MemoryError, LookupError, ArithmeticError, RuntimeError) as error:
            # What PyAV itself raises when a damaged header holds impossible numbers.
            raise ValueError(f"{self._name}: the video is damaged ({error})") from error


def _existing_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected a video, found no such file")
    raise OSError(f"{path}: expected a video file, got a folder, a pipe or a device")


def _open(source: str | PathLike[str] | int, live: bool, timeout_s: float) -> Any:
    if isinstance(source, int):
        file, format_name, options = webcam_input(source, sys.platform)
        return av.open(file, format=format_name, container_options=options, timeout=timeout_s)
    if live:
        options = {"rtsp_transport": "tcp"} if str(source).lower().startswith("rtsp") else {}
        return av.open(str(source), container_options=options, timeout=timeout_s)
    # Not "options": PyAV before 18 crashes with those where streams show up late (MPEG).
    # A playlist must not reach out to the network from a file that was thought to be a video.
    return av.open(
        os.path.abspath(source),  # so that no colon in a name makes a protocol of it
        container_options={"protocol_whitelist": "file"},
        metadata_errors="replace",
    )


def webcam_input(number: int, platform: str) -> tuple[str, str, dict[str, str]]:
    """Return FFmpeg's file name, format and options for a webcam.

    Raises
    ------
    FileNotFoundError
        There is no webcam of that number.
    """
    if number < 0:
        raise FileNotFoundError(f"expected the number of a webcam, from 0, got {number}")
    if platform == "darwin":
        return f"{number}:none", "avfoundation", {"framerate": "30"}
    if platform == "win32":
        from av.device import enumerate_input_devices

        devices = enumerate_input_devices("dshow")
        names = [device.name for device in devices if "video" in device.media_types]
        if number >= len(names):
            raise FileNotFoundError(f"webcam {number}: found {len(names)} webcams, {names}")
        return f"video={names[number]}", "dshow", {}
    file = f"/dev/video{number}"
    if not os.path.exists(file):
        raise FileNotFoundError(f"webcam {number}: expected {file}, found no such device")
    return file, "v4l2", {}


def _turn_of(frame: Any) -> Turn:
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None or matrix.buffer_size < 36:
        return UPRIGHT
    return turn_of_display_matrix(np.frombuffer(bytes(matrix), "=i4", count=9).reshape(3, 3))


def _plain_error(name: str, error: Exception, live: bool) -> Exception:
    if live or (isinstance(error, OSError) and not isinstance(error, ValueError)):
        return OSError(f"{name}: cannot be read ({_reason(error)})")
    return ValueError(
        f"{name}: expected a video, got a file that is damaged or something else ({_reason(error)})"
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
