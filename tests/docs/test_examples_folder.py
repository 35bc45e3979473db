"""Programs in ``examples/``: run as a user would run them, they give the right numbers."""

from __future__ import annotations

import ast
import csv
import json
import re
import runpy
import sys
from datetime import datetime

import numpy as np
import pytest

from tests.support.constant_bundle import write_constant_bundle
from tests.support.examples import (
    EXAMPLES,
    face_toward,
    needs_weights,
    run_example,
    selftest_photo,
    write_clip,
    write_frames,
)
from tests.support.faces import VGA
from tests.support.live_frames import live_face, live_frame
from tests.support.motion import pose_columns, rotations, swings, times_s
from trg.geometry.camera import Camera
from trg.inference.bundle import bundled, read_bundle
from trg.io.records.frame_record import FrameFaces, frame_record
from trg.live.json_lines import live_line, live_record
from trg.live.reference import Mount

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not installed")


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_every_example_parses(path):
    ast.parse(path.read_text(), str(path))


def test_the_ros_node_reads_fields_that_are_sent():
    """ROS itself is no dependency; a node that runs needs ROS 2 with rclpy and tf2_ros."""
    code = (EXAMPLES / "ros2" / "head_pose_node.py").read_text()
    record = live_record(live_frame(live_face()), "ros")
    fields = set(re.findall(r'record\["(\w+)"\]', code))
    assert fields == {"captured_unix_s", "faces"} <= set(record)
    face = record["faces"][0]
    for name in set(re.findall(r"""face\[["'](\w+)["']\]""", code)):
        assert name in face
    for name in set(re.findall(r'face\["live"\]\["(\w+)"\]', code)):
        assert name in face["live"]


def test_attention_is_the_share_of_time_at_each_part_of_the_screen(tmp_path):
    """The camera is 20 cm above the middle of a screen of 60 x 30 cm: its middle is at y = 0.2."""
    top_left, middle, below = (0.2, 0.11, 0.0), (0.0, 0.2, 0.0), (0.0, 0.4, 0.0)
    frames = [
        *([face_toward(top_left)] for _ in range(41)),  # 4 s, and the first frame
        *([face_toward(middle, eyes_m=(0.1, 0.05, 0.7))] for _ in range(30)),
        *([face_toward(below)] for _ in range(20)),
        *([] for _ in range(10)),
    ]
    records = write_frames(tmp_path / "clip.jsonl", frames)
    run_example(
        *("attention.py", records, "--screen-cm", "60x30", "--mount", "up=20"), folder=tmp_path
    )
    rows = {row["part"]: row for row in read_csv(tmp_path / "attention.csv")}
    shares = {part: float(row["share"]) for part, row in rows.items() if float(row["share"]) > 0}
    expected = {
        "row 1, column 1": 0.4, "row 2, column 2": 0.3, "elsewhere": 0.2, "no face": 0.1,
    }  # fmt: skip
    assert shares == pytest.approx(expected, abs=1e-3)
    for row in rows.values():  # error bars of zero
        assert row["low"] == row["high"] == row["share"]


def test_the_error_of_attention_does_not_shrink_with_more_frames(tmp_path):
    """A head at 60 cm points 2 cm beside a border, to which 3 degrees of error are 3.1 cm."""
    names = runpy.run_path(str(EXAMPLES / "attention.py"))
    face = face_toward((0.08, 0.18, 0.0), rotation_std_deg=3.0)
    spreads = []
    for count in (11, 101):
        frames = [FrameFaces("a.mp4", VGA, [face], each, each / 10) for each in range(count)]
        records = map(frame_record, frames)
        found = names["shares"](records, Mount(up_cm=18.0), np.array((0.6, 0.34)), (3, 1))
        assert found[1, 0] == 1.0  # the middle, as estimated
        spreads.append(found.std(1))
    assert 0.2 < spreads[0][1] < 0.5
    np.testing.assert_allclose(spreads[0], spreads[1], atol=1e-9)


def test_the_distance_to_the_screen_is_written_per_minute_and_continued(tmp_path):
    """Without a mount the camera is the middle of the screen."""
    near, far = face_toward((0, 0, 0), (0, 0, 0.4)), face_toward((0, 0, 0), (0, 0, 0.7))
    frames = [[near]] * 30 + [[far]] * 90 + [[]] * 60 + [[far]] * 60
    records = write_frames(tmp_path / "clip.jsonl", frames, fps=1.0)
    first = "".join(records.open().readlines()[:130])
    options = ("day.csv", "--mount", "up=0", "--start", "2026-11-29T09:00")
    run_example("screen_distance.py", "-", *options, folder=tmp_path, stdin=first)
    table = tmp_path / "day.csv"
    with table.open("a") as file:
        file.write("2026-11-29T09:0")  # as a power cut would leave it
    run_example("screen_distance.py", records, *options, "--plot", folder=tmp_path)
    rows = read_csv(table)
    assert [row["minute"][:16] for row in rows] == [f"2026-11-29T09:0{each}" for each in (0, 1, 3)]
    assert [int(row["frames"]) for row in rows] == [60, 60, 60]
    assert [float(row["median_cm"]) for row in rows] == pytest.approx([55.0, 70.0, 70.0], abs=0.1)
    assert [float(row["near_share"]) for row in rows] == [0.5, 0.0, 0.0]
    assert (tmp_path / "day.png").stat().st_size > 5000


def test_the_distance_to_the_screen_takes_the_time_of_day_of_live_records(tmp_path):
    seen = live_line(live_frame(live_face()), "opencv")
    held = live_line(live_frame(live_face(is_seen=False)), "opencv")
    lines = f"{seen}\n{held}\n"
    run_example("screen_distance.py", "-", "day.csv", folder=tmp_path, stdin=lines)
    [row] = read_csv(tmp_path / "day.csv")
    minute_s = datetime.fromisoformat(row["minute"]).timestamp()
    assert 0.0 <= json.loads(seen)["captured_unix_s"] - minute_s < 60.0
    assert row["frames"] == "1"


def test_the_movement_of_a_lecture_is_told_by_minute(tmp_path):
    """Two nods in the first minute, 20 degrees to the side and still in the second."""
    time_s = times_s(120.0, 12.0)
    pitch_deg = swings(time_s, 10.0, 1.2, 2, 10.0) + swings(time_s, 40.0, 1.2, 2, 10.0)
    yaw_deg = np.where(time_s < 60.0, 0.0, 20.0)
    columns = pose_columns({0: (time_s, rotations(pitch_deg, yaw_deg))}, time_s)
    with (tmp_path / "lecture.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    run_example("lecture_movement.py", "lecture.csv", "-o", "lecture", folder=tmp_path)
    first, second = read_csv(tmp_path / "lecture" / "minutes.csv")
    assert (first["nods"], second["nods"]) == ("2", "0")
    assert float(first["yaw_high_deg"]) == pytest.approx(0.0, abs=0.1)
    assert float(second["yaw_low_deg"]) == pytest.approx(20.0, abs=0.1)
    assert float(second["yaw_speed_deg_per_s"]) < 1.0
    assert first["seen_share"] == "1"
    [person] = read_csv(tmp_path / "lecture" / "movement.csv")
    assert person["nods"] == "2"
    assert (tmp_path / "lecture" / "minutes.png").stat().st_size > 5000


@needs_weights
def test_a_driver_who_looks_aside_for_long_is_an_event(tmp_path):
    """The network says that the head faces the camera, which is 45 degrees beside the road."""
    topology = read_bundle(bundled()).topology
    write_constant_bundle(tmp_path / "steady.trg", topology, (0.0, 0.0, 0.6))
    photo = selftest_photo()
    write_clip(tmp_path / "cabin.mp4", [photo] * 30)
    height, width = photo.shape[:2]
    camera = Camera(900.0, 900.0, width / 2, height / 2, width, height)
    (tmp_path / "camera.yaml").write_text(json.dumps(camera.to_dict()))
    video = ("driver_monitoring.py", "cabin.mp4", "--camera", "camera.yaml")
    command = (*video, "--model", "steady.trg")
    aside = run_example(*command, "--mount", "x=0.8,z=1.1,yaw=135", folder=tmp_path)
    [event] = [json.loads(line) for line in aside.stdout.splitlines()]
    assert event["start_s"] == pytest.approx(0.0, abs=0.15)
    assert event["end_s"] == pytest.approx(2.9, abs=0.15)
    assert event["largest_angle_deg"] == pytest.approx(45.0, abs=6.0)
    assert event["no_face_s"] == 0.0
    assert "away for 2 s" in aside.stderr
    assert "30 frames: road 0%, away 100%, no face 0%" in aside.stderr  # where --mount is checked


def test_short_losses_are_bridged_and_long_ones_are_events_of_a_driver():
    names = runpy.run_path(str(EXAMPLES / "driver_monitoring.py"))
    monitor, events = names["Monitor"](), []
    for time_s in np.arange(0.0, 10.0, 0.1).tolist():
        is_lost = 1.0 <= time_s < 1.4 or 3.0 <= time_s < 6.0
        events.append(monitor.update(time_s, None if is_lost else "road", 0.0))
    [event] = filter(None, events)
    assert event["start_s"] == pytest.approx(2.9, abs=0.01)
    assert event["end_s"] == pytest.approx(5.9, abs=0.11)
    assert event["no_face_s"] == pytest.approx(3.0, abs=0.11)


def test_a_driver_is_judged_in_the_axes_of_the_car():
    names = runpy.run_path(str(EXAMPLES / "driver_monitoring.py"))
    with pytest.raises(ValueError, match=r"expected NAME=NUMBER,.* got 'x=0.8m'"):
        names["car_from_camera"]("x=0.8m,yaw=150")
    camera = names["car_from_camera"]("x=0.8,y=-0.4,z=1.2,yaw=150,pitch=10")
    road = np.linalg.inv(camera)[:3, :3] @ (1.0, 0.0, 0.0)  # in ROS's axes of the camera
    left, forward, up = -road[1], road[0], road[2]
    towards = np.array([left, -up, forward])  # the same in OpenCV's
    eyes_m = np.array([0.0, 0.0, 0.8])
    angles_deg, std_deg = names["road_angles_deg"](
        face_toward(eyes_m + towards, eyes_m, rotation_std_deg=2.0), camera
    )
    assert angles_deg == pytest.approx({"yaw": 0.0, "pitch": 0.0}, abs=1e-6)
    assert std_deg == {"yaw": 2.0, "pitch": 2.0}


@pytest.mark.parametrize(
    "command",
    [
        "attention.py none.jsonl",
        "screen_distance.py none.jsonl day.csv",
        "lecture_movement.py none.jsonl",
        "driver_monitoring.py clip.mp4 --camera none.yaml --mount x=0.8",
        "ar_glasses/glasses.py none.jpg",
        "mean_pose_per_participant/mean_pose.py none.csv",
    ],
)
def test_a_missing_file_is_one_line_and_no_traceback(command, tmp_path, monkeypatch):
    if "mean_pose" in command:
        pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    name, *arguments = command.split()
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert "none" in str(stopped.value)
