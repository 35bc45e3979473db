"""Losses and returns: hold, fade, stop, and no jump."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from trg.geometry.rotations import geodesic_angle_deg, rotation_from_euler
from trg.live.continuity import Continuity, PersonState

REST = PersonState(np.eye(4), {})


def state(yaw_deg: float, x_m: float = 0.0, blink: float = 0.0) -> PersonState:
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_euler(np.array([yaw_deg, 0.0, 0.0]))
    pose[:3, 3] = (x_m, 0.0, 0.0)
    return PersonState(pose, {"eyeBlinkLeft": blink})


def yaw_of(sent: PersonState) -> float:
    return float(np.degrees(np.arcsin(sent.pose[0, 2])))


def frames(start_s: float, count: int) -> list[float]:
    return [start_s + index / 30 for index in range(count)]


def test_hold_sends_the_last_pose_for_as_long_as_it_takes():
    continuity = Continuity("hold")
    assert continuity.lost(REST, 0.0) is None  # nobody was seen yet
    continuity.seen(state(30.0, 0.1, 1.0), 1, 0.0)
    for time_s in (0.1, 1.0, 3600.0):
        sent = continuity.lost(REST, time_s)
        assert yaw_of(sent) == pytest.approx(30.0)
        assert sent.expression == {"eyeBlinkLeft": 1.0}


def test_fade_waits_and_then_moves_smoothly_to_rest():
    continuity = Continuity("fade")
    continuity.seen(state(30.0, 0.1, 1.0), 1, 0.0)
    sent = [continuity.lost(REST, time_s) for time_s in frames(1 / 30, 60)]
    yaws = np.array([yaw_of(each) for each in sent])
    np.testing.assert_allclose(yaws[:14], 30.0, atol=1e-9)
    np.testing.assert_allclose(yaws[45:], 0.0, atol=1e-6)
    assert (np.diff(yaws) <= 1e-9).all()
    assert np.abs(np.diff(yaws)).max() < 2.0
    assert sent[-1].expression["eyeBlinkLeft"] == pytest.approx(0.0)
    np.testing.assert_allclose(sent[-1].pose, np.eye(4), atol=1e-9)


def test_stop_sends_nothing_after_a_moment():
    continuity = Continuity("stop")
    continuity.seen(state(30.0), 1, 0.0)
    assert continuity.lost(REST, 0.1) is not None  # a frame or two without the face
    assert continuity.lost(REST, 0.3) is None


@pytest.mark.parametrize("lost", ["hold", "fade", "stop"])
def test_a_return_does_not_jump(lost):
    """The pose moves within 0.4 s from what was sent last to what is seen."""
    continuity = Continuity(lost)
    sent = [continuity.seen(state(-30.0, -0.1, 0.0), 1, 0.0)]
    sent += [each for time_s in frames(1 / 30, 30) if (each := continuity.lost(REST, time_s))]
    sent += [continuity.seen(state(30.0, 0.1, 1.0), 2, time_s) for time_s in frames(31 / 30, 20)]
    for before, after in pairwise(sent):
        assert geodesic_angle_deg(before.pose[:3, :3], after.pose[:3, :3]) < 8.0
        assert np.abs(after.pose[:3, 3] - before.pose[:3, 3]).max() < 0.03
        assert abs(after.expression["eyeBlinkLeft"] - before.expression["eyeBlinkLeft"]) < 0.15
    np.testing.assert_allclose(sent[-1].pose, state(30.0, 0.1).pose, atol=1e-9)


def test_another_person_does_not_jump_in():
    continuity = Continuity()
    continuity.seen(state(0.0), 1, 0.0)
    first = continuity.seen(state(40.0), 2, 1 / 30)
    assert yaw_of(first) == pytest.approx(0.0, abs=1e-9)


def test_a_person_in_sight_is_sent_as_seen():
    continuity = Continuity()
    for index in range(30):
        seen = state(3.0 * index)
        assert continuity.seen(seen, 1, index / 30) is seen
