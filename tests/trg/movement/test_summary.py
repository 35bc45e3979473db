"""Movement in numbers: two people, gaps, frames without faces, low frame rates."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.motion import pose_columns, rotations, swings, times_s, wiggles
from trg.geometry.axes import CAMERA_AXES, HEAD_AXES
from trg.movement.poses import PoseTable
from trg.movement.summary import measure_movement

TIME_S = times_s(12.0)


def still(time_s):
    return rotations(count=len(time_s))


def test_two_people_are_counted_apart_with_gaps_and_frames_without_faces():
    nods_deg = swings(TIME_S, 1.0, 2.0, 2, 10.0) + swings(TIME_S, 8.0, 2.0, 1, 10.0)
    nodding = rotations(nods_deg, noise_deg=0.2)
    shaking = rotations(0.0, wiggles(TIME_S, 3.0, 1.5, 3, 16.0), noise_deg=0.2, seed=1)
    seen = (TIME_S < 5.0) | (TIME_S >= 7.0)  # neither is seen for two seconds
    early = seen & (TIME_S < 10.0)
    columns = pose_columns(
        {0: (TIME_S[seen], nodding[seen]), 1: (TIME_S[early], shaking[early])}, TIME_S
    )
    first, second = measure_movement(columns)
    assert (first.source, first.face_id, second.face_id) == ("a.mp4", 0, 1)
    assert (first.nods, first.nod_cycles, first.shakes) == (2, 3.0, 0)
    assert (second.nods, second.shakes) == (0, 1)
    assert first.missing_share == pytest.approx(2.0 / 12.0, abs=0.01)
    assert first.source_share == pytest.approx(10.0 / 12.0, abs=0.01)
    assert (second.end_s, second.source_share) == pytest.approx((10.0, 8.0 / 12.0), abs=0.05)
    assert (first.frames, first.frames_per_s) == (seen.sum(), pytest.approx(30.0))
    assert (first.distance_median_m, second.distance_median_m) == pytest.approx((0.5, 0.6))
    assert [each.kind for each in second.gestures] == ["shake"]


def test_a_movement_across_a_gap_is_no_gesture():
    down_up_deg = swings(TIME_S, 4.0, 1.0, 1, 12.0)
    seen = (TIME_S < 4.5) | (TIME_S > 5.5)  # down before the gap, up within it
    columns = pose_columns({0: (TIME_S[seen], rotations(down_up_deg)[seen])}, TIME_S)
    (movement,) = measure_movement(columns)
    assert movement.nods == 0


def test_speeds_and_ranges_of_a_steady_turn():
    yaw_deg = 10.0 * TIME_S - 60.0  # 10 degrees per second, 120 in all
    columns = pose_columns({0: (TIME_S, rotations(0.0, yaw_deg, noise_deg=0.05))}, TIME_S)
    (movement,) = measure_movement(columns)
    assert movement.yaw_deg.fast_speed == pytest.approx(10.0, abs=2.0)
    assert movement.yaw_deg.range == pytest.approx(0.9 * 120.0, rel=0.02)
    assert movement.pitch_deg.mean_speed < 1.5
    row = movement.to_row()
    assert row["yaw_range_deg"] == movement.yaw_deg.range
    assert row["yaw_speed_deg_per_s"] == movement.yaw_deg.mean_speed
    assert "gestures" not in row


def test_drift_and_speed_of_the_distance():
    columns = pose_columns({0: (TIME_S, still(TIME_S))}, TIME_S)
    noise_m = np.random.default_rng(0).normal(0.0, 0.002, len(TIME_S))
    columns["tz_m"] = list(0.5 + 0.01 * TIME_S + noise_m)  # a centimetre a second
    columns["tz_m"][100] = 3.0  # an outlier
    (movement,) = measure_movement(columns)
    assert movement.distance_drift_m_per_min == pytest.approx(0.6, rel=0.05)
    (short,) = measure_movement({name: values[:60] for name, values in columns.items()})
    assert np.isnan(short.distance_drift_m_per_min), "two seconds do not tell a drift"


def test_a_slow_clip_has_speeds_but_no_counts():
    time_s = times_s(10.0, fps=5.0)
    columns = pose_columns({0: (time_s, rotations(0.0, 20.0 * time_s))}, time_s)
    (movement,) = measure_movement(columns)
    assert (movement.nods, movement.nod_cycles, movement.shakes) == (None, None, None)
    assert movement.yaw_deg.mean_speed == pytest.approx(20.0, rel=1e-3)


def test_gestures_are_counted_at_exactly_ten_frames_per_second_however_times_are_rounded():
    time_s = np.round(times_s(1800.0, fps=10.0) + 1e-6 * (np.arange(18_000) % 2), 6)[-200:]
    assert 1.0 / np.median(np.diff(time_s)) < 10.0
    nodding = rotations(swings(time_s, time_s[50], 1.2, 2, 10.0))
    (movement,) = measure_movement(pose_columns({0: (time_s, nodding)}, time_s))
    assert movement.nods == 1


def test_one_frame_is_a_movement_without_speed():
    (movement,) = measure_movement(pose_columns({3: (TIME_S[:1], still(TIME_S[:1]))}, TIME_S[:1]))
    assert (movement.face_id, movement.frames, movement.missing_share) == (3, 1, 0.0)
    assert np.isnan(movement.yaw_deg.mean_speed)


def test_frames_without_any_face_give_no_movement():
    assert measure_movement(pose_columns({}, TIME_S)) == []


def test_a_turned_over_head_does_not_jump_at_180_degrees():
    roll_deg = 175.0 + swings(TIME_S, 2.0, 0.3, 1, 10.0)
    columns = pose_columns({0: (TIME_S, rotations(0.0, 0.0, roll_deg))}, TIME_S)
    (movement,) = measure_movement(columns)
    assert movement.roll_deg.range == pytest.approx(10.0, abs=1.0)


@pytest.mark.parametrize("axes", ["opengl", "unity", "ros", "blender"])
def test_other_axes_give_the_same_movement(axes):
    pitch_deg = swings(TIME_S, 1.0, 2.0, 2, 10.0)
    columns = pose_columns({0: (TIME_S, rotations(pitch_deg, looking_deg=(30, 5, 0)))}, TIME_S)
    (expected,) = measure_movement(columns)
    table = PoseTable.from_columns(columns)
    rotation = CAMERA_AXES[axes] @ table.rotation @ HEAD_AXES[axes].T
    other = {
        "time_s": columns["time_s"],
        "face_id": columns["face_id"],
        "rotation": rotation.reshape(-1, 9),
        "translation_m": table.translation_m @ CAMERA_AXES[axes].T,
        "axes": [axes] * len(TIME_S),
        "source": columns["source"],
    }
    (movement,) = measure_movement(other)
    assert movement.to_row() == pytest.approx(expected.to_row(), nan_ok=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_s": None}, r"\['time_s'\] missing"),
        ({"r00": None}, "expected the columns r00 to r22, or rotation"),
        ({"tx_m": None}, "expected the columns tx_m to tz_m, or translation_m"),
        ({"face_id": [0.5] * 6}, "face_id: expected whole numbers"),
        ({"face_id": ["a"] * 6}, "face_id: expected a column of numbers"),
        ({"time_s": [0.0] * 6}, "expected each identity once a frame, got face 0 twice at 0 s"),
        ({"r00": [5.0] * 6}, "rotation"),
        ({"axes": ["maya"] * 6}, "axes: expected one of .* got 'maya'"),
        ({"time_s": [None] * 6}, "got no row with a time"),
    ],
)
def test_tables_of_another_kind_are_refused_with_the_reason(change, message):
    columns = pose_columns({0: (TIME_S[:6], still(TIME_S[:6]))}, TIME_S[:6]) | change
    with pytest.raises(ValueError, match=message):
        measure_movement({name: values for name, values in columns.items() if values is not None})
