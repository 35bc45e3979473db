"""The live loop, with a network that knows where the heads are."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest

from tests.support.oracle_network import (  # noqa: F401 -- a fixture
    Head,
    OracleDetector,
    OracleNetwork,
    grey_image,
    numbered_crops,
)
from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import Camera
from trg.live.capture import CapturedFrame
from trg.live.session import LiveOptions, LiveSession

pytestmark = pytest.mark.usefixtures("numbered_crops")

CAMERA = Camera.from_fov(60.0, 640, 480)


class Collected:
    """A sender that keeps what it is given."""

    def __init__(self) -> None:
        self.frames = []

    def send(self, frame) -> None:
        self.frames.append(frame)

    def close(self) -> None:
        pass


class Scene:
    """Heads that a test moves, and a session that sees them at 30 frames per second."""

    def __init__(self, *heads: Head, **options) -> None:
        self.heads = list(heads)
        scenes = [self.heads]
        estimator = HeadPoseEstimator(OracleNetwork(scenes), OracleDetector(scenes, CAMERA))
        self.sent = Collected()
        defaults = {"camera": CAMERA, "smoothing": None}
        self.session = LiveSession(estimator, [self.sent], LiveOptions(**{**defaults, **options}))
        self.index = 0

    def see(self, *heads: Head):
        """Show heads in the next frame and return what was sent."""
        self.heads[:] = heads
        time_s = self.index / 30
        self.session.process(CapturedFrame(self.index, time_s, 1000.0 + time_s, grey_image(0)))
        self.index += 1
        return self.sent.frames[-1]


def test_a_frame_is_sent_with_its_pose_and_its_times():
    head = Head((0.05, -0.03, 0.7), (20.0, -10.0, 5.0))
    scene = Scene(head)
    frame = scene.see(head)
    assert (frame.index, frame.time_s, frame.captured_s) == (0, 0.0, 1000.0)
    np.testing.assert_allclose(frame.main.rotation, head.rotation, atol=1e-5)
    np.testing.assert_allclose(frame.main.translation_m, head.translation_m, atol=1e-5)
    np.testing.assert_allclose(frame.main.euler_deg(), head.angles_deg, atol=1e-3)


def test_the_loop_ends_with_the_input_and_reports_rate_and_latency():
    scene = Scene(head := Head((0.0, 0.0, 0.7)))

    class ThreeFrames:
        dropped = 2

        def __init__(self) -> None:
            self.count = 0

        def newest(self, timeout_s):
            from trg.live.newest import ClosedError

            self.count += 1
            if self.count > 3:
                raise ClosedError
            return CapturedFrame(self.count, self.count / 30, 0.0, grey_image(0))

    scene.heads[:] = [head]
    shown = []
    status = scene.session.run(ThreeFrames(), Event(), shown.append)
    assert (status.frames, status.dropped, status.people) == (3, 2, 1)
    assert len(shown) == 3
    assert "3 frames, 2 dropped, 1 face" in str(status)
