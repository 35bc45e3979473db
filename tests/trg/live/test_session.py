"""The live loop, with a network that knows where the heads are."""

from __future__ import annotations

import re
import time
from threading import Event

import numpy as np
import pytest

from tests.support.oracle_network import (  # noqa: F401 -- a fixture
    Head,
    OracleDetector,
    OracleNetwork,
    UnsureOfSize,
    grey_image,
    numbered_crops,
)
from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import Camera
from trg.live.capture import CapturedFrame
from trg.live.newest import ClosedError
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

    def __init__(self, *heads: Head, network=OracleNetwork, wants_neutral=None, **options) -> None:
        self.heads = list(heads)
        scenes = [self.heads]
        estimator = HeadPoseEstimator(network(scenes), OracleDetector(scenes, CAMERA))
        self.sent = Collected()
        defaults = {"camera": CAMERA, "smoothing": None}
        live_options = LiveOptions(**{**defaults, **options})
        self.session = LiveSession(
            estimator, [self.sent], live_options, wants_neutral=wants_neutral
        )
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


def test_the_loop_ends_with_the_input_and_reports_rate_and_latency(monkeypatch):
    monkeypatch.setattr("trg.live.session.STATUS_INTERVAL_S", 0.0)
    scene = Scene(head := Head((0.0, 0.0, 0.7)))

    class ThreeFrames:
        dropped = 2
        count = 0

        def newest(self, timeout_s):
            self.count += 1
            if self.count > 3:
                raise ClosedError
            return CapturedFrame(self.count, self.count / 30, 0.0, grey_image(0))

    scene.heads[:] = [head]
    shown = []
    status = scene.session.run(ThreeFrames(), Event(), shown.append)
    assert (status.frames, status.dropped, status.people) == (3, 2, 1)
    assert len(shown) == 3
    assert re.search(r"3 frames, 2 dropped, \d+ % of a core, 1 face", str(status))


def yaw_of(frame) -> float:
    return frame.main.euler_deg()[0]


AHEAD = Head((0.0, 0.0, 0.7))
LEFT = Head((0.0, 0.0, 0.7), (-25.0, 0.0, 0.0))
ASIDE = Head((0.2, 0.0, 0.9))


def test_the_first_pose_or_the_one_on_request_becomes_zero():
    scene = Scene(neutral=True)
    np.testing.assert_allclose(scene.see(LEFT).main.reference_from_head, np.eye(4), atol=1e-5)
    assert yaw_of(scene.see(AHEAD)) == pytest.approx(25.0, abs=1e-3)
    scene.session.set_neutral()
    frame = scene.see(AHEAD)
    np.testing.assert_allclose(frame.main.reference_from_head, np.eye(4), atol=1e-5)
    assert yaw_of(scene.see(LEFT)) == pytest.approx(-25.0, abs=1e-3)
    np.testing.assert_allclose(frame.main.face.translation_m, (0.0, 0.0, 0.7), atol=1e-5)


def test_a_view_sets_the_neutral_pose_from_its_own_thread():
    wants_neutral = Event()
    scene = Scene(wants_neutral=wants_neutral)
    assert yaw_of(scene.see(LEFT)) == pytest.approx(-25.0, abs=1e-3)
    wants_neutral.set()
    assert yaw_of(scene.see(LEFT)) == pytest.approx(0.0, abs=1e-3)
    assert not wants_neutral.is_set()


def test_a_neutral_pose_does_not_disturb_the_prediction():
    scene = Scene(predict_frames=1.0)
    for _ in range(3):
        scene.see(LEFT)
    scene.session.set_neutral()
    for _ in range(3):
        frame = scene.see(LEFT)
        np.testing.assert_allclose(frame.main.reference_from_head, np.eye(4), atol=1e-4)


def test_offsets_count_from_the_first_pose_seen():
    scene = Scene()
    scene.see(Head((0.1, 0.0, 0.7)))
    np.testing.assert_allclose(
        scene.see(Head((0.12, 0.0, 0.6))).main.offset_m, (0.02, 0.0, -0.1), atol=1e-5
    )


def test_a_lost_person_is_held_and_returns_without_a_jump():
    scene = Scene()
    for _ in range(5):
        scene.see(AHEAD)
    lost = [scene.see() for _ in range(40)]
    assert not any(frame.main.is_seen for frame in lost)
    assert yaw_of(lost[-1]) == pytest.approx(0.0, abs=1e-3)
    yaws = [yaw_of(scene.see(LEFT)) for _ in range(20)]
    assert yaws[0] == pytest.approx(0.0, abs=1e-3)
    assert np.abs(np.diff(yaws)).max() < 4.0
    assert yaws[-1] == pytest.approx(-25.0, abs=1e-3)


def test_a_lost_person_fades_to_rest_where_they_were_first_seen():
    scene = Scene(lost="fade")
    scene.see(AHEAD)
    scene.see(LEFT)
    for _ in range(60):
        frame = scene.see()
    np.testing.assert_allclose(frame.main.reference_from_head[:3, :3], np.eye(3), atol=1e-5)
    np.testing.assert_allclose(frame.main.translation_m, (0.0, 0.0, 0.7), atol=1e-5)


def test_with_stop_nothing_is_sent_about_a_lost_person():
    scene = Scene(lost="stop")
    scene.see(AHEAD)
    for _ in range(10):
        frame = scene.see()
    assert frame.main is None


def test_without_frames_the_person_counts_as_lost():
    """A webcam that was unplugged: receivers still get something."""
    scene = Scene(lost="fade")
    scene.session.idle(1000.0)
    assert scene.sent.frames == []
    scene.see(LEFT)
    scene.session.idle(1000.2)
    scene.session.idle(1002.0)
    held, faded = scene.sent.frames[-2:]
    assert (yaw_of(held), yaw_of(faded)) == pytest.approx((-25.0, 0.0), abs=1e-3)
    assert not held.main.is_seen


def test_the_followed_person_comes_first_and_the_others_only_if_wanted():
    alone, everybody = Scene(), Scene(everybody=True)
    for scene in (alone, everybody):
        frame = scene.see(ASIDE, AHEAD)
        np.testing.assert_allclose(frame.main.translation_m, (0.0, 0.0, 0.7), atol=1e-5)
    assert len(alone.sent.frames[-1].faces) == 1
    assert [round(face.translation_m[2], 3) for face in frame.faces] == [0.7, 0.9]


def test_a_known_distance_between_the_pupils_scales_the_distance():
    face = Scene().see(AHEAD).main.face
    scaled = Scene(interpupillary_m=2.0 * face.interpupillary_m).see(AHEAD)
    assert scaled.main.translation_m[2] == pytest.approx(1.4, abs=1e-5)


@pytest.mark.parametrize(("size", "jitter"), [("person", 0.02), ("frame", 0.09)])
def test_the_size_of_a_person_steadies_the_distance(size, jitter):
    """The network takes the head for up to 5 % nearer or farther, from frame to frame."""
    scene = Scene(AHEAD, network=UnsureOfSize, size=size)
    distances_m = [scene.see(AHEAD).main.face.distance_m for _ in range(15)][5:]
    assert np.ptp(distances_m) / 0.7 == pytest.approx(jitter, abs=0.02)


def test_at_most_so_many_frames_are_processed_per_second():
    scene = Scene(AHEAD, max_fps=50.0)

    class Endless:
        dropped = 0
        count = 0

        def newest(self, timeout_s):
            self.count += 1
            if self.count == 6:
                stop.set()
            return CapturedFrame(self.count, self.count / 1000, time.monotonic(), grey_image(0))

    stop = Event()
    start_s = time.monotonic()
    scene.session.run(Endless(), stop)
    assert time.monotonic() - start_s >= 5 / 50


@pytest.mark.parametrize(
    "options",
    [
        {"max_fps": 0.0},
        {"max_fps": float("nan")},
        {"predict_frames": 2.0},
        {"interpupillary_m": 0.6},
    ],
)
def test_invalid_options_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        LiveOptions(**options)
