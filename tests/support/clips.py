"""Short videos for tests, written with PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CODECS = {
    ".mp4": ("libx264", "aac"),
    ".mov": ("libx264", "pcm_s16le"),
    ".mkv": ("libx264", "libopus"),
    ".webm": ("libvpx-vp9", "libopus"),
    ".avi": ("mpeg4", "mp2"),
    ".ts": ("libx264", "aac"),
    ".mpg": ("mpeg2video", "mp2"),
    ".mjpeg": ("mjpeg", None),
}
CAN_TURN = hasattr(av.VideoStream, "set_display_rotation")
"""PyAV 18 can write display rotations; older ones only read them."""

SAMPLE_RATE = 48_000


def shade(index: int) -> tuple[int, int, int]:
    """The colour of the moving block in frame ``index``."""
    return (40 + 20 * (index % 10), 200 - 15 * (index % 10), 90)


def frame_pixels(index: int, width: int, height: int) -> np.ndarray:
    """A dark frame whose top left quarter has a colour per index."""
    pixels = np.full((height, width, 3), 16, np.uint8)
    pixels[: height // 2, : width // 2] = shade(index)
    return pixels


def write_clip(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (64, 48),
    times_s: list[float] | None = None,
    sound: bool = False,
    rotation_deg: float = 0.0,
    pixel_aspect: Fraction | None = None,
    flip: bool = False,
) -> Path:
    """Write a clip at 25 frames a second, or at given times, with a tone if asked."""
    video_codec, audio_codec = CODECS[path.suffix]
    times_s = times_s or [index / 25 for index in range(frames)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video_codec, rate=25, options={"g": "6"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if video_codec == "mjpeg" else "yuv420p"
        # Old formats count frames; the others keep any time.
        ticks = 25 if path.suffix in (".avi", ".mpg", ".mjpeg") else 1000
        if ticks == 1000:
            stream.time_base = stream.codec_context.time_base = Fraction(1, ticks)
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation_deg or flip:
            stream.set_display_rotation(rotation_deg, hflip=flip)
        tone = container.add_stream(audio_codec, rate=SAMPLE_RATE) if sound else None
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(frame_pixels(index, *size), "rgb24")
            frame.pts, frame.time_base = round(time_s * ticks), Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            _write_tone(container, tone, times_s[-1] + 1 / 25)
    return path


def _write_tone(container, stream, duration_s: float) -> None:
    samples = np.arange(int(duration_s * SAMPLE_RATE))
    wave = (8000 * np.sin(samples * 2 * np.pi * 440 / SAMPLE_RATE)).astype(np.int16)
    size = stream.codec_context.frame_size or 1024
    for start in range(0, len(wave) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + size], "s16", "mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        frame.time_base = Fraction(1, SAMPLE_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    """The coded sound of a file: times in seconds and bytes."""
    with av.open(str(path)) as container:
        start_s = (container.start_time or 0) / av.time_base
        packets = container.demux(container.streams.audio[0])
        return [(float(p.pts * p.time_base) - start_s, bytes(p)) for p in packets if p.size]
