"""A day of frames by a fast clock: memory stays flat, and times do not drift."""

from __future__ import annotations

import resource
import sys
from contextlib import ExitStack

import numpy as np
import pytest

from tests.support.faces import VGA, face_topology
from tests.support.live_frames import port_of, udp_receiver
from trg.face import Face
from trg.geometry.rotations import rotation_from_euler
from trg.inference.smoothing import FaceSmoother
from trg.live import SenderOptions, open_sender
from trg.live.capture import CapturedFrame
from trg.live.session import LiveOptions, LiveSession

FPS = 30
DAY_FRAMES = 24 * 3600 * FPS
UDP_TARGETS = ("opentrack", "openseeface", "vmc", "livelinkface", "ifacialmocap", "osc", "udp+json")


class SmallSource:
    """An estimator whose faces cost nothing: a head that turns, with gaps, smoothed."""

    def tracker(self, smoothing, max_faces, **options):
        topology = face_topology()
        smoother = FaceSmoother(smoothing)
        landmarks_m = topology.template_m.astype(np.float64)

        class Tracker:
            def track(self, image, camera, time_s):
                if time_s % 60.0 < 2.0:  # out of sight
                    return []
                angles_deg = np.array([30.0 * np.sin(time_s), 0.0, 0.0])
                place_m = np.array([0.1 * np.sin(0.1 * time_s), 0.0, 0.7])
                face = Face(
                    rotation_from_euler(angles_deg), place_m, landmarks_m, 0.9, camera, topology, 1
                )
                return [smoother.smooth(face, time_s)]

        return Tracker()


class Watch:
    """A sender that keeps only the largest deviation of times."""

    def __init__(self) -> None:
        self.count = 0
        self.worst_s = 0.0

    def send(self, frame) -> None:
        self.worst_s = max(self.worst_s, abs(frame.time_s - frame.index / FPS))
        self.worst_s = max(self.worst_s, abs(frame.captured_s - 5000.0 - frame.index / FPS))
        assert frame.index == self.count
        self.count += 1

    def close(self) -> None:
        pass


def peak_mb() -> float:
    """Return the largest memory that the process has had so far."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def simulate(frames: int, every: int, schemes=UDP_TARGETS) -> tuple[list[float], Watch]:
    """Run a session on so many frames; return peak memories in MB, one per ``every`` frames."""
    watch = Watch()
    pixels = np.zeros((48, 64, 3), np.uint8)
    peaks = []
    with ExitStack() as opened:
        receivers = [opened.enter_context(udp_receiver()) for _ in schemes]
        targets = [
            f"{scheme}://127.0.0.1:{port_of(receiver)}"
            for scheme, receiver in zip(schemes, receivers, strict=True)
        ]
        senders = [
            open_sender(target, SenderOptions()) for target in (*targets, "ws://127.0.0.1:0")
        ]
        session = LiveSession(
            SmallSource(), [*senders, watch], LiveOptions(camera=VGA.fx, lost="fade")
        )
        for index in range(frames):
            time_s = index / FPS
            session.process(CapturedFrame(index, time_s, 5000.0 + time_s, pixels))
            if (index + 1) % every == 0:
                peaks.append(peak_mb())
        for sender in senders:
            sender.close()
    return peaks, watch


@pytest.mark.slow
def test_a_day_would_take_no_more_memory_than_its_first_minutes():
    """Six minutes are run; a day at the growth of their second half stays within 250 MB."""
    frames = DAY_FRAMES // 240
    peaks, watch = simulate(frames, every=frames // 12)
    assert watch.count == frames
    assert watch.worst_s < 1e-6
    assert (peaks[-1] - peaks[5]) * 2 * DAY_FRAMES / frames < 250.0, peaks
