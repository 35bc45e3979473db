"""Video output: H.264 with presentation times per frame and the original's sound."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from trg._util.checks import rgb_image
from trg._util.files import AtomicFile, existing_file
from trg.io.ffmpeg import open_media_file, reason

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Supported file name endings, and FFmpeg's names of the formats."""

TICKS_PER_SECOND = 90_000
"""MPEG's clock; frames at common rates fall on whole ticks."""

MAX_TIME_S = 1e8
"""Three years. Only damaged videos have later times, and those overflow FFmpeg's fields."""

BT709 = 1
"""Number of the primaries and the transfer curve in ITU-T H.273."""

ENCODER_OPTIONS = {
    "crf": "18",
    "preset": "superfast",
    "x264-params": "mbtree=1:rc-lookahead=10:b-adapt=0",
}
"""Visually lossless and fast to encode: as exact as the preset ``veryfast`` and a tenth larger, in
two thirds of its time. Without the look-ahead, which the preset leaves out, the size would double.
"""


class VideoWriter:
    """Writes RGB frames as an H.264 video (yuv420p, BT.709).

    The file appears under its name only when it is complete, on ``close`` or at the end of the
    ``with`` block. An exception in the block leaves no file. Odd sizes are padded to even ones by
    repeating the last column or row, because yuv420p requires even sizes.

    Parameters
    ----------
    path
        Output file; its ending is one of ``CONTAINERS``.
    width, height
        Size of the frames, px.
    fps
        Mean frame rate, a hint for the encoder. Frames are shown at the times given to ``write``.
    sound_from
        A video whose sound is copied without re-encoding. None, or a video without sound: no
        sound.

    Raises
    ------
    ValueError
        The ending, size or rate is not supported; the container cannot hold the sound's codec;
        ``sound_from`` is not a media file, or is the output file.
    FileNotFoundError
        The folder or ``sound_from`` does not exist.
    OSError
        The disk is full or not writable (also from ``write`` and ``close``).
    """

    def __init__(
        self,
        path: str | PathLike[str],
        width: int,
        height: int,
        fps: float,
        sound_from: str | PathLike[str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._size = (width, height)
        self._last_tick, self._last_s = -1, -math.inf
        self._container: Any = None
        self._sound: _SoundCopy | None = None
        _check_arguments(self.path, width, height, fps, sound_from)
        self._file = AtomicFile(self.path)
        try:
            with _builtin_errors(self.path):
                format_name = CONTAINERS[self.path.suffix.lower()]
                self._container = av.open(self._file, "w", format=format_name)
                self._stream = _add_h264_stream(self._container, width, height, fps)
            if sound_from is not None:
                self._sound = _open_sound(Path(sound_from), self._container, self.path)
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.close()
        else:
            self._discard()

    def write(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        """Add a frame ``(height, width, 3)``, shown from ``time_s`` until the next one.

        Times closer than one tick (1 / ``TICKS_PER_SECOND``) are moved one tick apart.

        Raises ValueError if the frame has another size or type, its time is not after the previous
        one, or the writer is closed.
        """
        if self._container is None:
            raise ValueError(f"{self.path}: expected an open video, got one that was closed")
        frame = rgb_image("video frame", pixels)
        if frame.shape[1::-1] != self._size:
            raise ValueError(
                f"{self.path}: expected frames of {self._size[0]}x{self._size[1]} px, "
                f"got {frame.shape[1]}x{frame.shape[0]}"
            )
        if not (0.0 <= time_s < MAX_TIME_S and time_s > self._last_s):
            raise ValueError(
                f"{self.path}: expected times that rise from 0 and stay below {MAX_TIME_S:.0f} s, "
                f"got {time_s} s after {max(self._last_s, 0.0)} s"
            )
        tick = max(round(time_s * TICKS_PER_SECOND), self._last_tick + 1)
        try:
            with _builtin_errors(self.path):
                self._container.mux(self._stream.encode(_yuv_frame(frame, tick)))
                if self._sound is not None:
                    self._sound.copy_until(time_s)
        except BaseException:
            self._discard()
            raise
        self._last_tick, self._last_s = tick, time_s

    def close(self) -> None:
        """Complete the file and give it its name; does nothing if already closed.

        Raises ValueError if no frame was written; there is no file then.
        """
        if self._container is None:
            return
        try:
            if self._last_tick < 0:
                raise ValueError(f"{self.path}: expected at least one frame, got none")
            with _builtin_errors(self.path):
                self._container.mux(self._stream.encode(None))
                if self._sound is not None:
                    self._sound.copy_until(math.inf)
                self._container.close()
            self._file.commit()
        except BaseException:
            self._discard()
            raise
        self._release()

    def _discard(self) -> None:
        """Close and delete the temporary file."""
        if self._container is not None:
            # An incomplete file may fail to close; it is deleted in any case.
            with suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()
        self._release()
        self._file.discard()

    def _release(self) -> None:
        self._container = None
        if self._sound is not None:
            self._sound.close()
            self._sound = None


class _SoundCopy:
    """Copies the packets of a sound stream, interleaved with the video frames."""

    def __init__(self, source: Any, stream: Any, target: Any, target_stream: Any) -> None:
        self._source, self._target, self._target_stream = source, target, target_stream
        self._tick_s = float(stream.time_base)
        self._start_ticks = round((source.start_time or 0) / av.time_base / self._tick_s)
        self._packets = source.demux(stream)
        self._pending: Any = None
        self._last_dts: int | None = None

    def copy_until(self, time_s: float) -> None:
        """Copy the sound up to a time, so that players find it near the frames."""
        while True:
            packet = self._pending or self._read_packet()
            if packet is None:
                return
            if (packet.dts - self._start_ticks) * self._tick_s > time_s:
                self._pending = packet
                return
            self._pending = None
            # Muxers reject times that do not increase.
            if self._last_dts is None or packet.dts > self._last_dts:
                self._last_dts = packet.dts
                packet.dts -= self._start_ticks
                packet.pts = packet.dts if packet.pts is None else packet.pts - self._start_ticks
                packet.stream = self._target_stream
                self._target.mux(packet)

    def _read_packet(self) -> Any:
        """Return the next packet; None at the end, or where the original is damaged.

        The damage is reported by the reader of the same file's frames.
        """
        try:
            return next((packet for packet in self._packets if packet.dts is not None), None)
        except av.error.FFmpegError:
            return None

    def close(self) -> None:
        """Close the original."""
        self._source.close()


def _open_sound(path: Path, target: Any, target_path: Path) -> _SoundCopy | None:
    """Open a file's sound for copying; None if it has none."""
    existing_file(path, "a video to take the sound from")
    source = None
    try:
        with _builtin_errors(path):
            source = open_media_file(path)
            if not source.streams.audio:
                source.close()
                return None
            stream = source.streams.audio[0]
            context = stream.codec_context
            codec = "an unknown codec" if context is None else context.name
            if codec not in target.supported_codecs:
                raise ValueError(
                    f"{target_path}: {target_path.suffix} cannot hold the sound of {path}, "
                    f"which is coded as {codec}; write a .mkv, or no sound (sound_from=None)"
                )
            return _SoundCopy(source, stream, target, target.add_stream_from_template(stream))
    except BaseException:
        if source is not None:
            source.close()
        raise


def _check_arguments(
    path: Path, width: int, height: int, fps: float, sound_from: str | PathLike[str] | None
) -> None:
    if path.suffix.lower() not in CONTAINERS:
        raise ValueError(
            f"{path}: expected a video file name ending in one of {tuple(CONTAINERS)}, "
            f"got {path.suffix!r}"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected an existing folder, got {path.parent}")
    if not (1 <= width <= 16384 and 1 <= height <= 16384):
        raise ValueError(f"{path}: expected sides of 1 to 16384 px, got {width}x{height}")
    if not 0.0 < fps <= 1000.0:
        raise ValueError(f"{path}: expected 0 < frames per second <= 1000, got {fps}")
    both_exist = sound_from is not None and path.exists() and os.path.exists(sound_from)
    if both_exist and sound_from is not None and os.path.samefile(path, sound_from):
        raise ValueError(f"{path}: expected another file than the one the sound is taken from")


def _add_h264_stream(container: Any, width: int, height: int, fps: float) -> Any:
    stream = container.add_stream(
        "libx264", rate=Fraction(fps).limit_denominator(1001), options=dict(ENCODER_OPTIONS)
    )
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
    context = stream.codec_context
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.ITU709
    context.color_primaries = context.color_trc = BT709
    return stream


def _yuv_frame(pixels: NDArray[np.uint8], tick: int) -> Any:
    height, width = pixels.shape[:2]
    if width % 2 or height % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rgb = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(pixels), format="rgb24")
    frame = rgb.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    frame.pts, frame.time_base = tick, Fraction(1, TICKS_PER_SECOND)
    return frame


@contextmanager
def _builtin_errors(path: Path) -> Iterator[None]:
    """Raise FFmpeg's errors as built-in ones."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, av.error.InvalidDataError):
            raise ValueError(f"{path}: the file is damaged ({reason(error)})") from error
        raise OSError(f"{path}: cannot be read or written ({reason(error)})") from error
