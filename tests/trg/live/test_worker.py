"""A thread beside the loop: the newest frame, at a rate, and the last one before the end."""

from __future__ import annotations

from threading import Event

from tests.support.live_frames import TIMEOUT_S, live_frame
from trg.live import worker
from trg.live.worker import NewestWorker


def test_the_loop_does_not_wait_and_the_newest_frame_is_next():
    working, go_on, indices = Event(), Event(), []

    def work(frame) -> None:
        indices.append(frame.index)
        working.set()
        go_on.wait(TIMEOUT_S)

    slow = NewestWorker("slow", work)
    slow.put(live_frame(index=0))
    assert working.wait(TIMEOUT_S)
    for index in range(1, 6):
        slow.put(live_frame(index=index))
    go_on.set()
    slow.close()
    assert indices == [0, 5]


def test_frames_that_come_too_soon_are_left_out(monkeypatch):
    class Clock:
        now_s = 100.0

        def monotonic(self) -> float:
            return self.now_s

    clock, indices, worked = Clock(), [], Event()
    monkeypatch.setattr(worker, "time", clock)

    def work(frame) -> None:
        indices.append(frame.index)
        worked.set()

    limited = NewestWorker("limited", work, interval_s=0.06)
    for index in range(7):
        worked.clear()
        limited.put(live_frame(index=index))
        if index % 2 == 0:
            assert worked.wait(TIMEOUT_S)
        clock.now_s += 1 / 30
    limited.close()
    assert indices == [0, 2, 4, 6]
