"""A thread that works on the newest frame, beside the loop that must not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

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
        Least time between two frames.
    """

    def __init__(
        self, name: str, work: Callable[[LiveFrame], None], interval_s: float = 0.0
    ) -> None:
        self._work = work
        self._interval_s = interval_s
        self._frames: NewestSlot[LiveFrame] = NewestSlot()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, frame: LiveFrame) -> None:
        """Offer a frame."""
        self._frames.put(frame)

    def close(self) -> None:
        """End the thread after the frame that waits."""
        self._stopping.set()
        self._frames.close()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        with suppress(ClosedError):
            while True:
                frame = self._frames.take()
                assert frame is not None  # without a time limit
                start_s = time.monotonic()
                self._work(frame)
                self._stopping.wait(self._interval_s - (time.monotonic() - start_s))
