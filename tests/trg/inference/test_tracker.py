"""Tracking: identities, when the detector runs, and lost and recovered faces."""

from __future__ import annotations

from dataclasses import replace

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
from trg.inference.pose_pipeline import PosePipeline
from trg.inference.tracker import FaceTracker, TrackingOptions

pytestmark = pytest.mark.usefixtures("numbered_crops")

CAMERA = Camera.from_fov(60.0, 640, 480)
LEFT, RIGHT = Head((-0.15, 0.0, 0.7)), Head((0.15, 0.0, 0.7), width=1.3)
"""Two people."""


class MovingScene:
    """A scene that a test changes from frame to frame, and a tracker on it."""

    def __init__(self, *heads: Head, **options) -> None:
        self.heads = list(heads)
        scenes = [self.heads]
        self.network = OracleNetwork(scenes)
        self.detector = OracleDetector(scenes, CAMERA)
        self.tracker = FaceTracker(
            PosePipeline(self.network), self.detector, TrackingOptions(**options)
        )
        self.frame = 0

    def next(self, time_s: float | None = None):
        time_s = self.frame / 30 if time_s is None else time_s
        self.frame += 1
        return self.tracker.track(grey_image(0), CAMERA, time_s)

    def ids(self) -> list[int]:
        return [face.id for face in self.next()]


def moved(head: Head, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Head:
    shifted = np.array(head.translation_m) + (x, y, z)
    return replace(head, translation_m=tuple(shifted))


def test_a_moving_head_needs_one_detection():
    scene = MovingScene(LEFT, redetect_every=1000, smoothing=None)
    for i in range(40):
        scene.heads[0] = moved(LEFT, x=0.01 * i, z=0.004 * i)
        (face,) = scene.next()
        assert face.id == 0
        assert face.time_s == pytest.approx(i / 30)
        np.testing.assert_allclose(face.translation_m, scene.heads[0].translation_m, atol=1e-6)
    assert scene.detector.calls == 1
    assert sum(scene.network.calls) <= 41 + 1


def test_following_a_face_projects_no_more_than_a_sample_of_its_landmarks(monkeypatch):
    scene = MovingScene(LEFT)
    scene.next()
    projected, project = [], Camera.project
    monkeypatch.setattr(
        Camera, "project", lambda self, x: projected.append(len(x)) or project(self, x)
    )
    (face,) = scene.next()
    assert 5 * sum(projected) < len(face.landmarks_m)


def test_new_faces_are_found_within_the_interval_and_keep_their_ids():
    scene = MovingScene(LEFT, redetect_every=5)
    assert scene.ids() == [0]
    scene.heads.append(RIGHT)
    seen = [scene.ids() for _ in range(6)]
    assert seen[-1] == [0, 1]
    scene.heads.reverse()
    assert scene.ids() == [0, 1]
    assert scene.detector.calls <= 3


def test_a_face_lost_for_some_frames_keeps_its_id():
    scene = MovingScene(LEFT, RIGHT, lost_track_buffer=10)
    assert scene.ids() == [0, 1]
    scene.heads[:] = [RIGHT]
    assert [scene.ids() for _ in range(8)] == [[1]] * 8
    scene.heads[:] = [RIGHT, moved(LEFT, x=0.06)]
    assert scene.ids() == [0, 1]
    scene.heads[:] = [RIGHT]
    for _ in range(12):
        scene.ids()
    scene.heads[:] = [RIGHT, LEFT]
    for _ in range(15):
        last = scene.ids()
    assert last == [0, 1]


def test_a_jump_triggers_a_detection_at_once():
    scene = MovingScene(LEFT)
    scene.ids()
    scene.heads[:] = [RIGHT]
    (face,) = scene.next()
    assert face.id == 1
    np.testing.assert_allclose(face.translation_m, RIGHT.translation_m, atol=1e-6)
    assert scene.detector.calls == 2


def test_a_face_of_low_confidence_starts_no_track():
    uncertain = Head((0.1, 0.1, 0.6), sure=False)
    scene = MovingScene(uncertain)
    assert scene.ids() == []
    eager = MovingScene(uncertain, new_confidence=0.0, keep_confidence=0.0)
    assert eager.ids() == [0]


def test_duplicate_tracks_merge_into_the_older():
    scene = MovingScene(LEFT, RIGHT)
    assert scene.ids() == [0, 1]
    for share in np.linspace(0, 1, 30):
        scene.heads[:] = [LEFT, moved(RIGHT, x=-0.3 * share)]
        last = scene.ids()
    assert last == [0]


def test_max_faces_limits_tracks_and_detections():
    scene = MovingScene(LEFT, RIGHT, max_faces=1, redetect_every=2)
    for _ in range(10):
        assert scene.ids() == [0]
    assert scene.detector.calls == 1
    scene.heads.pop(0)
    for _ in range(20):
        last = scene.ids()
        assert len(last) <= 1
    assert last == [1]


def test_empty_frames_and_changing_frame_sizes():
    scene = MovingScene()
    assert scene.ids() == []
    scene.heads.append(LEFT)
    assert scene.ids() == [0]
    tiny = Camera.assumed(1, 1)
    assert scene.tracker.track(np.zeros((1, 1, 3), np.uint8), tiny, 0.1) == []
    assert scene.ids() in ([0], [1])


@pytest.mark.parametrize("times", [[0, 0, 0, 0], [5, 4, 3, 2], [0, 0.1, 0.1, 0.05]])
def test_irregular_timestamps_are_accepted(times):
    scene = MovingScene(LEFT)
    for i, time_s in enumerate(times):
        scene.heads[0] = moved(LEFT, x=0.01 * i)
        (face,) = scene.next(time_s)
        assert face.time_s == time_s
        assert np.isfinite(face.landmarks_px).all()


def test_streams_number_and_time_frames():
    scenes = [[LEFT]]
    estimator = HeadPoseEstimator(OracleNetwork(scenes), OracleDetector(scenes, CAMERA))
    frames = list(estimator.stream([grey_image(0)] * 4, CAMERA, fps=25.0))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.time_s for frame in frames] == [0.0, 0.04, 0.08, 0.12]
    assert [face.id for frame in frames for face in frame.faces] == [0, 0, 0, 0]
    (first, *_) = estimator.stream([grey_image(0)])
    assert first.faces[0].camera.source == "assumed"
    with pytest.raises(ValueError, match="frame 1"):
        list(estimator.stream([grey_image(0), np.zeros((4, 4))]))
    with pytest.raises(ValueError, match="fps"):
        estimator.stream([], fps=0)


def test_invalid_options_are_refused():
    with pytest.raises(ValueError, match="max_faces"):
        TrackingOptions(max_faces=0)
    with pytest.raises(ValueError, match="redetect_every"):
        TrackingOptions(redetect_every=0)


@pytest.mark.parametrize("size", ["person", "frame"])
def test_a_person_has_one_size_and_a_frame_its_own(size):
    scene = MovingScene(LEFT, smoothing=None, size=size)
    scene.tracker._pipeline = PosePipeline(UnsureOfSize([scene.heads]))
    depths_m = np.array([scene.next()[0].translation_m[2] for _ in range(90)])
    spread = np.log(depths_m[60:]).std()
    assert (spread < 0.002) if size == "person" else (spread > 0.03)
    assert bool(scene.tracker.sizes) == (size == "person")


def test_sizes_of_an_earlier_pass_hold_from_the_first_frame_on():
    def pass_over_video(known=None):
        tracker = FaceTracker(
            PosePipeline(UnsureOfSize([[LEFT]])),
            OracleDetector([[LEFT]], CAMERA),
            known_sizes=known,
        )
        faces = [tracker.track(grey_image(0), CAMERA, i / 30)[0] for i in range(30)]
        return tracker.sizes, [face.translation_m[2] for face in faces]

    sizes, first_pass = pass_over_video()
    again, second_pass = pass_over_video(sizes)
    assert again == sizes
    assert np.log(first_pass).std() > 0.001  # it still changes
    np.testing.assert_allclose(second_pass, second_pass[0], rtol=1e-6)
    assert second_pass[0] == pytest.approx(first_pass[-1], rel=1e-3)


def test_a_cut_to_another_person_at_the_same_place_starts_a_new_identity():
    stranger = replace(LEFT, width=1.3)
    scene = MovingScene(LEFT, smoothing=None)
    assert [scene.ids() for _ in range(5)] == [[0]] * 5
    scene.heads[:] = [stranger]
    assert [scene.ids() for _ in range(5)] == [[1]] * 5
    scene.heads[:] = [LEFT]  # the cut back
    assert [scene.ids() for _ in range(5)] == [[0]] * 5
    assert len(scene.tracker.sizes) == 2


def test_of_many_people_those_seen_last_are_remembered():
    people = [replace(LEFT, width=width) for width in (1.0, 1.3, 1.6)]
    scene = MovingScene(remembered_people=1, lost_track_buffer=0)
    for number, person in enumerate(people):
        scene.heads[:] = [person]
        assert [scene.ids() for _ in range(3)] == [[number]] * 3
    assert sorted(scene.tracker.sizes) == [1, 2]
    scene.heads[:] = [people[1]]
    assert scene.ids() == [1]
    scene.heads[:] = [people[0]]
    assert scene.ids() == [3], "forgotten"


@pytest.mark.parametrize("gap_s", [1.0, 20.0])
@pytest.mark.parametrize("place", [0.0, 0.25])
def test_a_person_who_returns_keeps_the_id(gap_s, place):
    scene = MovingScene(LEFT, RIGHT)
    assert scene.ids() == [0, 1]
    scene.heads[:] = []
    for frame in range(20):
        assert scene.next(1.0 + gap_s * frame / 20) == []
    scene.heads[:] = [moved(RIGHT, y=-0.5 * place), moved(LEFT, y=0.5 * place)]
    assert [face.id for face in scene.next(1.0 + gap_s)] == [0, 1]


def test_somebody_who_could_be_either_of_two_is_somebody_new():
    twin = moved(LEFT, x=0.3)
    scene = MovingScene(LEFT, twin)
    assert scene.ids() == [0, 1]
    scene.heads[:] = []
    for _ in range(100):
        scene.ids()
    scene.heads[:] = [moved(LEFT, x=0.15)]
    assert scene.ids() == [2]


def test_people_who_cross_keep_their_ids():
    scene = MovingScene(LEFT, RIGHT)
    for share in np.linspace(0.0, 1.0, 60):
        heads = [moved(LEFT, x=0.3 * share), moved(RIGHT, x=-0.3 * share, z=0.3)]
        hidden = abs(share - 0.5) < 0.15  # the nearer one hides the other
        scene.heads[:] = heads[:1] if hidden else heads
        faces = scene.next()
        assert [face.id for face in faces][:1] == [0]
    assert {face.id: face.translation_m[0] > 0 for face in faces} == {0: True, 1: False}
