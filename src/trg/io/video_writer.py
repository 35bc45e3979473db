"""Videos out: H.264 at the frames' own times, with the original's sound."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from trg._util.checks import rgb_image

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""File name endings that can be written, and FFmpeg's names for them."""

TICKS_PER_SECOND = 90_000
"""MPEG's clock; frames at common rates fall on whole ticks."""

LONGEST_S = 1e8
"""Three years; only damaged videos claim later times, and those overflow FFmpeg's fields."""

BT709 = 1
"""ITU-T H.273's number for that standard's primaries and transfer curve."""

ENCODER_OPTIONS = {"crf": "18", "preset": "veryfast"}
"""Visually lossless, and quick: an overlay is often watched once."""


class VideoWriter:
    """Write RGB frames as an H.264 video (yuv420p, BT.709), whole or not at all.

    The file has another name until ``close``, or the end of the ``with`` block, gives it its own.
    An exception in the block leaves no file. Odd sides are made even by repeating the last column
    or row, since yuv420p has no odd ones.

    Parameters
    ----------
    path
        Where to write; ends in one of ``CONTAINERS``.
    width, height
        Size of the frames, px.
    fps
        The mean frame rate, a hint for the encoder. Frames are shown at the times given.
    sound_from
        A video whose sound is copied as it is, without coding it anew. None, or a video without
        sound: no sound.

    Raises
    ------
    ValueError
        The ending, size or rate cannot be written; the container cannot hold the sound's coding;
        ``sound_from`` is no media file, or is the file to be written.
    FileNotFoundError
        The folder or ``sound_from`` is not there.
    OSError
        The disk is full or cannot be written (also by ``write`` and ``close``).
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
        _check_target(self.path, width, height, fps, sound_from)
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        try:
            with _plain_errors(self.path):
                kind = CONTAINERS[self.path.suffix.lower()]
                self._container = av.open(os.path.abspath(self._partial), "w", format=kind)
                self._stream = _h264_stream(self._container, width, height, fps)
            if sound_from is not None:
                self._sound = _SoundCopy.between(Path(sound_from), self._container, self.path)
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def write(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        """Add a frame ``(height, width, 3)``, shown from ``time_s`` until the next one.

        Times closer than a tick of ``TICKS_PER_SECOND`` are put a tick apart.

        Raises
        ------
        ValueError
            The frame is of another size or type, its time is not after the last one's, or the
            writer is closed.
        """
        self._check_open()
        frame = rgb_image("video frame", pixels)
        if frame.shape[1::-1] != self._size:
            raise ValueError(
                f"{self.path}: expected frames of {self._size[0]}x{self._size[1]} px, "
                f"got {frame.shape[1]}x{frame.shape[0]}"
            )
        if not (0.0 <= time_s < LONGEST_S and time_s > self._last_s):
            raise ValueError(
                f"{self.path}: expected times that rise from 0 and stay below {LONGEST_S:.0f} s, "
                f"got {time_s} s after {max(self._last_s, 0.0)} s"
            )
        tick = max(round(time_s * TICKS_PER_SECOND), self._last_tick + 1)
        try:
            with _plain_errors(self.path):
                self._container.mux(self._stream.encode(_yuv_frame(frame, tick)))
                if self._sound is not None:
                    self._sound.copy_until(time_s)
        except BaseException:
            self._discard()
            raise
        self._last_tick, self._last_s = tick, time_s

    def close(self) -> None:
        """Finish the file and give it its name. Doing so again does nothing.

        Raises
        ------
        ValueError
            No frame was written; there is no file then.
        """
        if self._container is None:
            return
        try:
            if self._last_tick < 0:
                raise ValueError(f"{self.path}: expected at least one frame, got none")
            with _plain_errors(self.path):
                self._container.mux(self._stream.encode(None))
                if self._sound is not None:
                    self._sound.copy_until(float("inf"))
                self._container.close()
            with open(self._partial, "rb+") as file:
                os.fsync(file.fileno())  # on the disk before it has its name
            os.replace(self._partial, self.path)
        except BaseException:
            self._discard()
            raise
        self._let_go()

    def _check_open(self) -> None:
        if self._container is None:
            raise ValueError(f"{self.path}: expected an open video, got one that was closed")

    def _discard(self) -> None:
        """Leave nothing behind."""
        try:
            if self._container is not None:
                self._container.close()
        except (av.error.FFmpegError, OSError, ValueError):
            pass  # what cannot be finished is thrown away all the same
        self._let_go()
        self._partial.unlink(missing_ok=True)

    def _let_go(self) -> None:
        self._container = None
        if self._sound is not None:
            self._sound.close()
            self._sound = None


class _SoundCopy:
    """Carries the packets of one sound stream over, a little ahead of the pictures."""

    def __init__(self, source: Any, stream: Any, target: Any, target_stream: Any) -> None:
        self._source, self._target, self._target_stream = source, target, target_stream
        self._time_base = stream.time_base
        self._start_ticks = round((source.start_time or 0) / av.time_base / stream.time_base)
        self._packets = source.demux(stream)
        self._next: Any = None
        self._last_dts: int | None = None

    @classmethod
    def between(cls, path: Path, target: Any, target_path: Path) -> _SoundCopy | None:
        """Begin to copy from a file; None if it has no sound."""
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected a video to take the sound from, found none")
        source = None
        try:
            with _plain_errors(path):
                source = av.open(
                    os.path.abspath(path),
                    container_options={"protocol_whitelist": "file"},
                    metadata_errors="replace",
                )
                if not source.streams.audio:
                    source.close()
                    return None
                stream = source.streams.audio[0]
                context = stream.codec_context
                coding = "something unknown" if context is None else context.name
                if coding not in target.supported_codecs:
                    raise ValueError(
                        f"{target_path}: {target_path.suffix} cannot hold the sound of {path}, "
                        f"which is coded as {coding}; write a .mkv, or no sound (sound_from=None)"
                    )
                return cls(source, stream, target, target.add_stream_from_template(stream))
        except BaseException:
            if source is not None:
                source.close()
            raise

    def copy_until(self, time_s: float) -> None:
        """Copy what is heard up to a time, so that players find it near the pictures."""
        while True:
            packet = self._next or self._read()
            if packet is None:
                return
            if (packet.dts - self._start_ticks) * self._time_base > time_s:
                self._next = packet
                return
            self._next = None
            if self._last_dts is None or packet.dts > self._last_dts:  # muxers refuse others
                self._last_dts = packet.dts
                packet.dts -= self._start_ticks
                packet.pts = packet.dts if packet.pts is None else packet.pts - self._start_ticks
                packet.stream = self._target_stream
                self._target.mux(packet)

    def _read(self) -> Any:
        """Return the next packet; None at the end, and from where the original is damaged on.

        Whoever reads that file's pictures meets the damage too, and is told there.
        """
        try:
            return next((packet for packet in self._packets if packet.dts is not None), None)
        except av.error.FFmpegError:
            return None

    def close(self) -> None:
        """Let go of the original."""
        self._source.close()


def _check_target(
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


def _h264_stream(container: Any, width: int, height: int, fps: float) -> Any:
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
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame = rgb.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    frame.pts, frame.time_base = tick, Fraction(1, TICKS_PER_SECOND)
    return frame


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors into Python's own."""
    try:
        yield
    except av.error.FFmpegError as error:
        reason = error.strerror or error
        if isinstance(error, av.error.InvalidDataError):
            raise ValueError(f"{path}: the file is damaged ({reason})") from error
        raise OSError(f"{path}: cannot be read or written ({reason})") from error
