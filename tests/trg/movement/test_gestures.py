"""Nods, shakes and tilts of made-up movements with known counts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.motion import rotations, swings, times_s, wiggles
from trg.movement.gestures import find_gestures, find_tilts, turning_points, turns_deg

TIME_S = times_s(12.0)
LOOKING = [(0.0, 0.0, 0.0), (60.0, 10.0, 20.0), (-45.0, -20.0, -30.0)]
NODS_DEG = (
    swings(TIME_S, 1.0, 2.0, 1, 8.0)
    + swings(TIME_S, 4.0, 3.0, 4, 6.0)
    - swings(TIME_S, 8.0, 1.0, 2, 20.0)
)
"""A single nod, four quick ones in a row, and two slow ones that begin upwards."""


@pytest.mark.parametrize("looking_deg", LOOKING)
@pytest.mark.parametrize("noise_deg", [0.0, 0.3])
def test_nods_are_counted_wherever_the_head_looks(looking_deg, noise_deg):
    found = find_gestures(TIME_S, rotations(NODS_DEG, looking_deg=looking_deg, noise_deg=noise_deg))
    assert [each.kind for each in found] == ["nod"] * 3
    assert [each.cycles for each in found] == [1.0, 4.0, 2.0]
    assert [each.direction for each in found] == ["down", "down", "up"]
    for each, (start_s, end_s, size_deg) in zip(
        found, [(1.0, 1.5, 8.0), (4.0, 5.33, 6.0), (8.0, 10.0, 20.0)], strict=True
    ):
        assert each.start_s == pytest.approx(start_s, abs=0.15)
        assert each.end_s == pytest.approx(end_s, abs=0.15)
        assert each.amplitude_deg == pytest.approx(size_deg, abs=0.2 + 6.0 * noise_deg)


@pytest.mark.slow
@pytest.mark.parametrize(("noise_deg", "least_share"), [(0.1, 1.0), (0.2, 0.95), (0.5, 0.6)])
def test_how_often_noise_leaves_the_count_of_nods_right(noise_deg, least_share):
    """The figures of docs/results.md."""
    counts = [
        len(find_gestures(TIME_S, rotations(NODS_DEG, noise_deg=noise_deg, seed=seed)))
        for seed in range(100)
    ]
    share = np.mean(np.array(counts) == 3)
    print(f"noise of {noise_deg} degrees: {share:.0%} of the counts are right")
    assert share >= least_share


@pytest.mark.parametrize("looking_deg", LOOKING)
@pytest.mark.parametrize("noise_deg", [0.0, 0.3])
def test_shakes_are_counted_and_a_glance_aside_is_none(looking_deg, noise_deg):
    glance_deg = swings(TIME_S, 1.0, 2.0, 1, 15.0)
    shake_deg = wiggles(TIME_S, 4.0, 1.5, 3, 16.0)
    found = find_gestures(
        TIME_S, rotations(0.0, glance_deg + shake_deg, 0.0, looking_deg, noise_deg)
    )
    assert [each.kind for each in found] == ["shake"]
    assert found[0].cycles == pytest.approx(3.5, abs=0.5)
    assert found[0].start_s == pytest.approx(4.0, abs=0.2)
    assert found[0].end_s == pytest.approx(6.0, abs=0.2)
    assert found[0].amplitude_deg == pytest.approx(16.0, abs=2.0)


def test_the_first_side_of_a_shake_is_the_persons_own():
    to_the_left_deg = -wiggles(TIME_S, 4.0, 1.5, 3, 16.0) - swings(TIME_S, 4.0, 1.5, 1, 2.0)
    (shake,) = find_gestures(TIME_S, rotations(0.0, to_the_left_deg))
    assert shake.direction == "left", "negative yaw turns the nose to the image's right"


@pytest.mark.parametrize(
    "pitch_deg",
    [
        swings(TIME_S, 2.0, 0.2, 1, 15.0),  # looks down slowly, and up again
        np.where(TIME_S > 5.0, 15.0, 0.0),  # looks down and stays there
        swings(TIME_S, 2.0, 2.0, 3, 2.0),  # too small
        np.zeros_like(TIME_S),
    ],
)
@pytest.mark.parametrize("noise_deg", [0.0, 0.3])
def test_slow_lasting_and_small_movements_are_no_nods(pitch_deg, noise_deg):
    assert find_gestures(TIME_S, rotations(pitch_deg, noise_deg=noise_deg)) == []


def test_a_nod_that_is_mostly_a_turn_about_another_axis_is_none():
    yaw_deg = swings(TIME_S, 2.0, 1.0, 1, 12.0)
    assert find_gestures(TIME_S, rotations(0.5 * yaw_deg, yaw_deg)) == []


def test_nods_with_a_rest_in_between_are_two():
    pitch_deg = swings(TIME_S, 1.0, 2.0, 1, 8.0) + swings(TIME_S, 2.5, 2.0, 1, 8.0)
    assert [each.cycles for each in find_gestures(TIME_S, rotations(pitch_deg))] == [1.0, 1.0]


@pytest.mark.parametrize("fps", [15.0, 25.0, 60.0, 120.0])
def test_counts_do_not_depend_on_the_frame_rate(fps):
    time_s = times_s(6.0, fps)
    pitch_deg = swings(time_s, 1.0, 2.0, 1, 10.0) + swings(time_s, 3.0, 2.5, 3, 8.0)
    found = find_gestures(time_s, rotations(pitch_deg))
    assert [(each.kind, each.cycles) for each in found] == [("nod", 1.0), ("nod", 3.0)]


def test_a_track_of_a_few_frames_has_no_gestures():
    for count in (0, 1, 2, 3):
        assert find_gestures(TIME_S[:count], rotations(count=max(count, 1))[:count]) == []


def test_tilts_are_inclinations_from_the_persons_own_median():
    roll_deg = 5.0 + np.where((TIME_S > 2.0) & (TIME_S < 4.0), 15.0, 0.0)
    roll_deg -= np.where((TIME_S > 6.0) & (TIME_S < 7.0), 12.0, 0.0)
    roll_deg += np.where((TIME_S > 9.0) & (TIME_S < 9.2), 15.0, 0.0)  # too short
    left, right = find_tilts(TIME_S, roll_deg, 5.0)
    assert (left.kind, left.direction, right.direction) == ("tilt", "left", "right")
    assert (left.start_s, left.end_s) == pytest.approx((2.0, 4.0), abs=0.05)
    assert (left.amplitude_deg, right.amplitude_deg) == pytest.approx((15.0, 12.0))


def test_turns_are_about_the_heads_own_axes():
    turned = turns_deg(rotations(np.linspace(0.0, 20.0, 50), looking_deg=(70.0, 0.0, 30.0)))
    assert turned[-1] == pytest.approx([20.0, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([1.0, 2.0, 1.5, 2.5], []),
        ([0.0, 5.0], [0, 1]),
        ([0.0, 5.0, 0.0], [0, 1, 2]),
        ([0.0, 5.0, 4.5, 5.5, 0.0], [0, 3, 4]),
        ([5.0, 0.0, 0.5, 6.0, 3.0, 2.0], [0, 1, 3, 5]),
        ([2.0, 3.0, 0.0, 4.0], [1, 2, 3]),
    ],
)
def test_turning_points_skip_ripples(values, expected):
    assert turning_points(np.array(values), 3.0) == expected
