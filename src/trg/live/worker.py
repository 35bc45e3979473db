"""A thread that works on the newest frame, beside the loop that must not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from trg.live.frame import LiveFrame
from trg.live.newest import ClosedError, NewestSlot


class NewestWorker:
    """Calls ``work`` with the newest frame; those that come meanwhile replace each other.

    Parameters
    ----------
    name
        Of the thread.
    work
        Takes a frame.
    interval_s
        Frames that are offered sooner after the last one are left out. The others are worked on at
        once: that is when a session waits for its next frame, and has a core to spare.
    """

    def __init__(
        self, name: str, work: Callable[[LiveFrame], None], interval_s: float = 0.0
    ) -> None:
        self._work = work
        self._interval_s = interval_s
        self._frames: NewestSlot[LiveFrame] = NewestSlot()
        self._next_s = 0.0
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, frame: LiveFrame) -> None:
        """Offer a frame."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + self._interval_s
            self._frames.put(frame)

    def close(self) -> None:
        """End the thread after the frame that waits."""
        self._frames.close()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        with suppress(ClosedError):
            while True:
                frame = self._frames.take()
                assert frame is not None  # without a time limit
                self._work(frame)
