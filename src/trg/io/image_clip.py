"""Clips made of still images: numbered files, and animated GIF, WebP, PNG and AVIF images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trg._util.files import existing_file
from trg.io.images import open_image, read_image
from trg.io.inputs import AnimatedImage, NumberedFrames, numbered_files
from trg.io.video import VideoFrame, VideoReader

SHORTEST_FRAME_S, UNTIMED_FRAME_S = 0.011, 0.1
"""Browsers show animation frames that claim less than the first for the second."""


class _StillFrame(NamedTuple):
    time_s: float
    pixels: NDArray[np.uint8]


class ImageClip:
    """Iterator over still images as the frames of a video (single pass), one in memory at a time.

    Numbered files have the time of their number, so that a missing one leaves a gap. Those that
    cannot be read are skipped, and iteration then ends with ValueError, as in a
    :class:`~trg.io.video.VideoReader`, whose attributes this class shares.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        A file is missing or damaged, or the images differ in size (also while iterating).
    """

    path = None

    def __init__(self, source: NumberedFrames | AnimatedImage) -> None:
        self._name = source.path
        self._errors: list[str] = []
        if isinstance(source, NumberedFrames):
            files = numbered_files(source.path)
            self.fps, self.frame_count = source.fps, len(files)
            stills = self._read_files(files, source.fps)
        else:
            existing_file(source.path, "an animation")
            self.frame_count = 1  # until the file is open
            self.fps = 1.0 / UNTIMED_FRAME_S
            stills = self._read_animation(source.path)
        first = next(stills, None)
        if first is None:
            reason = f" ({self._errors[0]})" if self._errors else ""
            raise ValueError(f"{self._name}: found no frame that can be read{reason}")
        self.height, self.width = first.pixels.shape[:2]
        self._frames = self._number(chain([first], stills))

    def __enter__(self) -> ImageClip:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        return self

    def __next__(self) -> VideoFrame:
        return next(self._frames)

    def close(self) -> None:
        """Do nothing: images are closed as they are read."""

    def _number(self, stills: Iterator[_StillFrame]) -> Iterator[VideoFrame]:
        for index, still in enumerate(stills):
            height, width = still.pixels.shape[:2]
            if (width, height) != (self.width, self.height):
                raise ValueError(
                    f"{self._name}: expected frames of one size, {self.width}x{self.height}, got "
                    f"{width}x{height} as frame {index}"
                )
            yield VideoFrame(index, still.time_s, still.pixels)
        if self._errors:
            raise ValueError(
                f"{self._name}: {len(self._errors)} of {self.frame_count} frames could not be "
                f"read; the first: {self._errors[0]}"
            )

    def _read_files(self, files: dict[int, str], fps: float) -> Iterator[_StillFrame]:
        start = next(iter(files), 0)
        for number, path in files.items():
            try:
                pixels = read_image(path).pixels
            except (OSError, ValueError) as error:
                self._errors.append(str(error))
                continue
            yield _StillFrame((number - start) / fps, pixels)

    def _read_animation(self, path: str) -> Iterator[_StillFrame]:
        time_s, index = 0.0, 0
        try:
            with open_image(path) as image:
                self.frame_count = int(getattr(image, "n_frames", 1))
                for index in range(self.frame_count):
                    image.seek(index)
                    yield _StillFrame(time_s, read_image(image).pixels)
                    duration_s = float(image.info.get("duration") or 0.0) / 1000.0
                    time_s += duration_s if duration_s >= SHORTEST_FRAME_S else UNTIMED_FRAME_S
        except Exception as error:  # Pillow raises any exception for damaged bytes
            self._errors.append(f"frame {index} ({error})")


FrameReader: TypeAlias = VideoReader | ImageClip


def open_clip(address: str | int | NumberedFrames | AnimatedImage) -> FrameReader:
    """Open the frames of a :class:`~trg.io.inputs.VideoInput`."""
    if isinstance(address, NumberedFrames | AnimatedImage):
        return ImageClip(address)
    return VideoReader(address)
