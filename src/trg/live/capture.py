"""Frames of a webcam, stream or file as they happen, by a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.io.image_clip import FrameReader, open_clip
from trg.io.inputs import VideoInput
from trg.io.video import VideoReader
from trg.io.webcams import CaptureMode
from trg.live.newest import NewestSlot

RETRY_S = 1.0
"""Pause between attempts to open an input again that was lost."""

MAX_LATE_S = 0.5
"""A file that is decoded slower than it plays is played slower from this delay on."""


class CapturedFrame(NamedTuple):
    """A frame with the time at which it was captured."""

    index: int  # type: ignore[assignment]  # hides a tuple's method
    time_s: float
    """From the start of the input; keeps increasing when an input comes back."""
    captured_s: float
    """On the clock of :func:`time.monotonic`."""
    pixels: NDArray[np.uint8]
    """``(h, w, 3)`` RGB."""


def open_input(video: VideoInput, mode: CaptureMode = CaptureMode()) -> FrameReader:
    """Open the frames of an input; ``mode`` is what a webcam is asked for."""
    if isinstance(video.address, int):
        return VideoReader(video.address, mode=mode)
    return open_clip(video.address)


class Capture:
    """Reads frames in a thread and keeps only the newest.

    Opened on construction, and read from the start of the context manager on.

    A file plays in real time and ends. A webcam or stream that is lost is opened again until that
    succeeds; its loss and its return are each reported once.

    Parameters
    ----------
    video
        The input.
    notify
        Takes messages about the input for the user.
    opener
        Opens the input.
    mirror
        Whether frames are mirrored, left and right exchanged.

    Raises
    ------
    FileNotFoundError, TimeoutError, OSError, ValueError
        The input cannot be opened the first time.
    """

    def __init__(
        self,
        video: VideoInput,
        notify: Callable[[str], None],
        opener: Callable[[VideoInput], FrameReader] = open_input,
        *,
        mirror: bool = False,
    ) -> None:
        self._video = video
        self._notify = notify
        self._opener = opener
        self._mirror = mirror
        self._slot: NewestSlot[CapturedFrame] = NewestSlot()
        self._stopping = Event()
        self._index = 0
        self._reader = opener(video)
        self._start_s = 0.0
        self._thread = Thread(target=self._run, name="trg-live-capture", daemon=True)

    def __enter__(self) -> Capture:
        self._start_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames, px."""
        return self._reader.width, self._reader.height

    @property
    def dropped(self) -> int:
        """How many frames nobody took because a newer one had come."""
        return self._slot.replaced

    def newest(self, timeout_s: float) -> CapturedFrame | None:
        """Wait for a frame that was not taken yet; None if none comes in time.

        Raises ClosedError after the last frame of a file, or the error that ended it.
        """
        return self._slot.take(timeout_s)

    def close(self) -> None:
        """Stop the thread and release the input; does nothing if already closed."""
        if self._stopping.is_set():  # a second Ctrl-C must not wait once more
            return
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)  # a webcam that hangs must not hang the program
        elif self._thread.ident is None:  # not started
            self._reader.close()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            if self._video.is_live:
                self._read_live()
            else:
                self._play_file()
        except (OSError, ValueError) as caught:
            error = caught
        finally:
            self._reader.close()
            self._slot.close(error)

    def _play_file(self) -> None:
        start_s = self._start_s
        for frame in self._reader:
            late_s = time.monotonic() - (start_s + frame.time_s)
            if late_s > MAX_LATE_S:
                start_s += late_s
            if self._stopping.wait(max(0.0, -late_s)):
                return
            self._put(frame.time_s, start_s + frame.time_s, frame.pixels)

    def _read_live(self) -> None:
        while True:
            reason = "it ended"
            try:
                for frame in self._reader:
                    if self._stopping.is_set():
                        return
                    now_s = time.monotonic()
                    self._put(now_s - self._start_s, now_s, frame.pixels)
            except (OSError, ValueError) as error:  # ValueError: it changed its size
                reason = str(error).removeprefix(f"{self._video.name}: ")
            self._reader.close()
            self._notify(f"{self._video.name}: lost ({reason}); waiting for its return")
            if not self._open_again():
                return
            self._notify(f"{self._video.name}: it is back")

    def _open_again(self) -> bool:
        """Open the input when it is there again; return False if the capture was closed."""
        while not self._stopping.wait(RETRY_S):
            try:
                self._reader = self._opener(self._video)
            except (OSError, ValueError):
                continue
            return True
        return False

    def _put(self, time_s: float, captured_s: float, pixels: NDArray[np.uint8]) -> None:
        if self._mirror:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        self._slot.put(CapturedFrame(self._index, time_s, captured_s, pixels))
        self._index += 1
