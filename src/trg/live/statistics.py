"""Frame rate and latency of a live session."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np

WINDOW = 300
"""Frames over which rates and latencies are shown: ten seconds of most webcams."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a session for the user."""

    fps: float
    """Frames sent per second."""
    latency_ms: tuple[float, float]
    """From capture to the end of sending: median and 95th percentile."""
    frames: int
    """Sent since the start."""
    dropped: int
    """Captured, and replaced by a newer one before they were processed."""
    cpu_share: float
    """Of one core, by the whole process."""
    people: int
    """In the last frame."""

    def __str__(self) -> str:
        """Return the status line."""
        median_ms, late_ms = self.latency_ms
        people = {0: "no face", 1: "1 face"}.get(self.people, f"{self.people} faces")
        return (
            f"{self.fps:.1f} fps, {median_ms:.0f} ms from capture to sending (95 %: "
            f"{late_ms:.0f} ms), {self.frames} frames, {self.dropped} dropped, "
            f"{100.0 * self.cpu_share:.0f} % of a core, {people}"
        )


class Statistics:
    """Collects times in constant memory."""

    def __init__(self) -> None:
        self._sent_s: deque[float] = deque(maxlen=WINDOW)
        self._latency_s: deque[float] = deque(maxlen=WINDOW)
        self._cpu_s: deque[float] = deque(maxlen=WINDOW)
        self._frames = 0
        self._people = 0

    def add(self, captured_s: float, sent_s: float, people: int) -> None:
        """Note a frame; both times are on one clock."""
        self._sent_s.append(sent_s)
        self._latency_s.append(sent_s - captured_s)
        self._cpu_s.append(time.process_time())
        self._frames += 1
        self._people = people

    def status(self, dropped: int) -> Status:
        """Return the state over the last frames."""
        span_s = self._sent_s[-1] - self._sent_s[0] if len(self._sent_s) > 1 else 0.0
        fps = (len(self._sent_s) - 1) / span_s if span_s > 0.0 else 0.0
        cpu_share = (self._cpu_s[-1] - self._cpu_s[0]) / span_s if span_s > 0.0 else 0.0
        median_s, late_s = (
            np.percentile(self._latency_s, [50, 95]) if self._latency_s else (0.0, 0.0)
        )
        latency_ms = (1000.0 * float(median_s), 1000.0 * float(late_s))
        return Status(fps, latency_ms, self._frames, dropped, cpu_share, self._people)
