"""The capture thread: newest frame only, real time, an input that is lost and comes back."""

from __future__ import annotations

import time
from threading import Event

import numpy as np
import pytest

from tests.support.clips import write_clip
from tests.support.live_frames import TIMEOUT_S
from trg.io.inputs import VideoInput
from trg.io.video import VideoFrame
from trg.live import capture as capture_module
from trg.live.capture import Capture
from trg.live.newest import ClosedError, NewestSlot

PIXELS = np.zeros((4, 6, 3), np.uint8)
WEBCAM = VideoInput("webcam 0", 0, is_live=True)


class FakeReader:
    """Frames of a webcam; a number waits for nobody, an exception ends them."""

    fps = 30.0
    pixels = PIXELS

    def __init__(self, *items) -> None:
        self.items = items
        self.closed = Event()

    def __iter__(self):
        for index, item in enumerate(self.items):
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Event):
                item.wait(TIMEOUT_S)
            yield VideoFrame(index, index / 30, self.pixels)

    def close(self) -> None:
        self.closed.set()


def test_only_the_newest_item_waits():
    slot: NewestSlot[int] = NewestSlot()
    for number in range(5):
        slot.put(number)
    assert (slot.take(), slot.replaced) == (4, 4)
    assert slot.take(timeout_s=0.0) is None
    slot.put(5)
    slot.close()
    assert slot.take() == 5
    with pytest.raises(ClosedError):
        slot.take()


def test_frames_are_mirrored_if_asked():
    reader = FakeReader(0, last := Event())
    reader.pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    with Capture(WEBCAM, print, lambda video: reader, mirror=True) as capture:
        taken = capture.newest(TIMEOUT_S).pixels
        last.set()
    np.testing.assert_array_equal(taken, reader.pixels[:, ::-1])
    assert taken.flags.c_contiguous


def test_a_slow_consumer_gets_the_newest_frame_and_drops_are_counted():
    reader = FakeReader(*range(100), last := Event())
    with Capture(WEBCAM, print, lambda video: reader) as capture:
        taken = [capture.newest(TIMEOUT_S)]
        last.set()
        while taken[-1].index != 100:
            taken.append(capture.newest(TIMEOUT_S))
        assert len(taken) + capture.dropped == 101
    assert reader.closed.is_set()


def test_a_file_plays_in_real_time_and_ends(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", frames=6)
    start_s = time.monotonic()
    captured = []
    with (
        Capture(VideoInput("clip", str(clip)), print) as capture,
        pytest.raises(ClosedError),
    ):
        captured.extend(iter(lambda: capture.newest(TIMEOUT_S), None))
    assert time.monotonic() - start_s >= 5 / 25
    assert captured[-1].index == 5
    stamps = [frame.captured_s - frame.time_s for frame in captured]
    np.testing.assert_allclose(stamps, stamps[0], atol=1e-6)


def test_a_webcam_that_is_unplugged_comes_back_and_each_is_said_once(monkeypatch):
    monkeypatch.setattr(capture_module, "RETRY_S", 0.001)
    again = FakeReader(0, Event())
    missing = FileNotFoundError("webcam 0: expected /dev/video0, found no such device")
    attempts = [FakeReader(0, 1, OSError("webcam 0: no such device")), *[missing] * 3, again]

    def opener(video):
        item = attempts.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    said: list[str] = []
    back = Event()

    def notify(message: str) -> None:
        said.append(message)
        if "back" in message:
            back.set()

    with Capture(WEBCAM, notify, opener) as capture:
        assert back.wait(TIMEOUT_S)
        frame = capture.newest(TIMEOUT_S)
        while frame.index < 2:
            frame = capture.newest(TIMEOUT_S)
        again.items[1].set()
    assert said == [
        "webcam 0: lost (no such device); waiting for its return",
        "webcam 0: it is back",
    ]
    assert not attempts


def test_an_input_that_is_not_read_is_closed():
    reader = FakeReader()
    Capture(WEBCAM, print, lambda video: reader).close()
    assert reader.closed.is_set()


def test_closing_an_input_that_hangs_waits_once(monkeypatch):
    """Ctrl-C closes; the second one closes again while the stalled stream is waited for."""
    reader = FakeReader(0, hanging := Event())
    capture = Capture(WEBCAM, print, lambda video: reader).__enter__()
    waits = []
    monkeypatch.setattr(capture._thread, "join", lambda timeout: waits.append(timeout))
    capture.close()
    capture.close()
    assert waits == [2.0]
    hanging.set()


def test_a_webcam_that_is_missing_at_the_start_is_an_error():
    def opener(video):
        raise FileNotFoundError("webcam 0: found no such device")

    with pytest.raises(FileNotFoundError):
        Capture(WEBCAM, print, opener)
