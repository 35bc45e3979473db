"""Records as JSON Lines and CSV: their content, and what a killed run leaves."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.support.child_process import run_python, start_python
from tests.support.faces import VGA, make_face, random_faces, shaped_face
from tests.support.full_disk import full_after
from trg.error_bars import STD_COUNT, ErrorBars
from trg.face import STD_PROPERTIES
from trg.geometry.axes import CAMERA_AXES, HEAD_AXES, FrameConvention
from trg.geometry.face_mesh import LANDMARK_GROUPS
from trg.geometry.projection import transform
from trg.geometry.rotations import rotation_to_euler
from trg.geometry.shape_basis import EXPRESSION_NAMES
from trg.io.records.csv_tables import CSV_COLUMNS, OPENFACE_COLUMNS
from trg.io.records.frame_record import FrameFaces, frame_record
from trg.io.records.journal_lines import InputFile, read_journal
from trg.io.records.names import escape_name, unescape_name
from trg.io.records.writers import open_records

LINE_FORMATS = ("jsonl", "csv", "openface")


@pytest.fixture
def faces():
    return random_faces(np.random.default_rng(8), 2, id=4, time_s=0.5)


def written(path, record_format, faces, **more):
    with open_records(record_format, path, **more) as records:
        records.write(FrameFaces("a.mp4", VGA, faces, 7, 0.25))
        records.finish("a.mp4")
    return path


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_the_json_object_is_as_documented(faces):
    record = frame_record(FrameFaces("a.jpg", VGA, faces))
    assert json.loads(json.dumps(record)) == record
    assert list(record) == ["source", "frame", "time_s", "size", "camera", "axes", "faces"]
    assert record["size"] == [640, 480]
    assert (record["frame"], record["time_s"]) == (None, None)
    intrinsics = {"fx": 600.0, "fy": 600.0, "cx": 320.0, "cy": 240.0, "source": "given"}
    assert record["camera"] == intrinsics
    expected = {"id", "confidence", "box_xyxy", "rotation", "translation_m", "euler_deg"}
    assert expected | {"landmarks68_px"} <= record["faces"][0].keys()
    assert record["faces"][0]["euler_deg"].keys() == {"yaw", "pitch", "roll"}
    assert "landmarks_m" not in record["faces"][0]


def test_json_is_exact_to_a_micrometre_and_a_microradian(faces):
    record = frame_record(FrameFaces("a", VGA, faces, 3, 1 / 3), landmarks=True)
    assert record["time_s"] == pytest.approx(1 / 3, abs=1e-6)
    for face, read in zip(faces, record["faces"], strict=True):
        assert read["translation_m"] == pytest.approx(face.translation_m, abs=1e-6)
        turned = Rotation.from_matrix(read["rotation"]) * Rotation.from_matrix(face.rotation).inv()
        assert turned.magnitude() < 1e-6
        angles = [read["euler_deg"][name] for name in ("yaw", "pitch", "roll")]
        assert np.radians(angles) == pytest.approx(np.radians(face.euler()), abs=1e-6)
        assert np.array(read["landmarks_m"]) == pytest.approx(face.landmarks_m, abs=1e-6)
        assert np.array(read["landmarks_px"]) == pytest.approx(face.landmarks_px, abs=0.006)
        assert np.array(read["landmarks68_px"]) == pytest.approx(face.landmarks68_px, abs=0.006)
        assert read["box_xyxy"] == pytest.approx(face.box_xyxy, abs=0.006)


def test_json_lines_are_short(faces):
    plain = json.dumps(
        frame_record(FrameFaces("a.mp4", VGA, faces[:1], 7, 0.25)), separators=(",", ":")
    )
    assert len(plain) < 2000


@pytest.mark.parametrize("axes", get_args(FrameConvention))
@pytest.mark.parametrize("record_format", ["jsonl", "csv", "parquet"])
def test_records_in_other_axes_hold_the_same_face(tmp_path, record_format, axes):
    """A head model in those axes, under a camera in those axes, is where the face is."""
    if record_format == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    face = make_face((30.0, -20.0, 10.0), (0.1, -0.05, 0.7))
    path = tmp_path / "records"
    with open_records(record_format, path, landmarks=record_format != "csv") as records:
        records.write(FrameFaces("a.jpg", face.camera, [face], axes=axes))
    landmarks_m = face.landmarks_m @ HEAD_AXES[axes].T
    if record_format == "jsonl":
        record = json.loads(path.read_text())
        (row,) = record["faces"]
        row = {**row, "axes": record["axes"], "angles": [*row["euler_deg"].values()]}
        landmarks_m = row["landmarks_m"]
    elif record_format == "csv":
        (row,) = rows_of(path)
        row["rotation"] = [float(row[f"r{i}{j}"]) for i in range(3) for j in range(3)]
        row["translation_m"] = [float(row[f"t{axis}_m"]) for axis in "xyz"]
        row["angles"] = [float(row[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")]
    else:
        (row,) = parquet.read_table(path).to_pylist()
        row["angles"] = row["yaw_pitch_roll_deg"]
        landmarks_m = np.reshape(row["landmarks_m"], (-1, 3))
    assert row["axes"] == axes
    rotation = np.reshape(row["rotation"], (3, 3))
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-5)
    points_m = np.array(landmarks_m) @ rotation.T + row["translation_m"]
    np.testing.assert_allclose(points_m @ CAMERA_AXES[axes], face.mesh().vertices_m, atol=2e-4)
    back = CAMERA_AXES[axes].T @ rotation @ HEAD_AXES[axes]
    np.testing.assert_allclose(rotation_to_euler(back, "yxz"), row["angles"], atol=1e-3)
    np.testing.assert_allclose(row["angles"], (30.0, -20.0, 10.0), atol=1e-3)


@pytest.mark.parametrize("record_format", ["jsonl", "csv", "parquet"])
def test_records_hold_the_error_bars(tmp_path, record_format):
    """In the record's axes; a face without error bars has none in its record."""
    if record_format == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    bars = ErrorBars(np.linspace(0.01, 0.05, STD_COUNT))
    face, plain = make_face(error_bars=bars), make_face()
    path = tmp_path / "records"
    with open_records(record_format, path) as records:
        records.write(FrameFaces("a.jpg", face.camera, [face, plain], axes="ros"))
    if record_format == "jsonl":
        row, empty = json.loads(path.read_text())["faces"]
        row["landmarks_std_m"] = list(row["landmarks_std_m"].values())
    elif record_format == "csv":
        columns = {
            "rotation_std_deg": ("rx_std_deg", "ry_std_deg", "rz_std_deg"),
            "translation_std_m": ("tx_sight_std_m", "ty_sight_std_m", "tz_sight_std_m"),
            "landmarks_std_m": [f"{group}_std_m" for group in LANDMARK_GROUPS],
            "landmarks_std_px": [f"p{point}_std_px" for point in range(68)],
        }
        row, empty = (
            {
                name: [float(each[column]) for column in chosen] if each[chosen[0]] else None
                for name, chosen in columns.items()
            }
            for each in rows_of(path)
        )
    else:
        row, empty = parquet.read_table(path).to_pylist()
    about_x, about_y, about_z = face.rotation_std_deg
    right, down, along = face.translation_std_m
    assert row["rotation_std_deg"] == pytest.approx([about_z, about_x, about_y], abs=1e-4)
    assert row["translation_std_m"] == pytest.approx([along, right, down], abs=1e-6)
    assert row["landmarks_std_m"] == pytest.approx(face.landmarks_std_m, abs=1e-6)
    assert row["landmarks_std_px"] == pytest.approx(face.landmarks_std_px, abs=0.006)
    assert [empty[name] for name in STD_PROPERTIES] == [None] * 4


def test_openface_refuses_other_axes(tmp_path, faces):
    found = FrameFaces("a.jpg", faces[0].camera, faces, axes="unity")
    with (
        open_records("openface", tmp_path / "x.csv") as records,
        pytest.raises(ValueError, match="openface: has axes of its own"),
    ):
        records.write(found)


def test_distortion_is_recorded():
    bent = replace(VGA, distortion=(-0.2, 0.05, 0.004, -0.003, 0.0))
    assert frame_record(FrameFaces("a", bent, []))["camera"]["distortion"] == [
        *(-0.2, 0.05, 0.004, -0.003, 0.0)
    ]


@pytest.mark.parametrize("landmarks", [False, True])
def test_json_lines_file_holds_the_records(tmp_path, faces, landmarks):
    path = tmp_path / "faces.jsonl"
    with open_records("jsonl", path, landmarks=landmarks) as records:
        records.write(FrameFaces("a.mp4", VGA, faces, 7, 0.25))
        records.write(FrameFaces("a.mp4", VGA, [], 8, 0.29))
        records.write_error("naïve\n.jpg", "not an image")
    read = [json.loads(line) for line in path.read_text().splitlines()]
    assert read[0] == frame_record(FrameFaces("a.mp4", VGA, faces, 7, 0.25), landmarks=landmarks)
    assert read[1]["faces"] == []
    assert read[2] == {"source": "naïve\n.jpg", "error": "not an image"}


def test_standard_output_gets_each_line_at_once(faces, capfdbinary):
    with open_records("jsonl", None) as records:
        records.write(FrameFaces("a.jpg", VGA, faces))
        assert capfdbinary.readouterr().out.count(b"\n") == 1
        records.finish("a.jpg")
    assert capfdbinary.readouterr().out == b""


@pytest.mark.parametrize("record_format", ["jsonl", "csv", "parquet"])
def test_blend_shapes_are_recorded_on_request(tmp_path, record_format):
    if record_format == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    face = shaped_face({"jawOpen": 0.5, "mouthPucker": 0.25})
    expected = pytest.approx(face.blendshapes(), abs=1e-4)
    path = tmp_path / "records"
    with open_records(record_format, path, blendshapes=True) as records:
        records.write(FrameFaces("a.jpg", face.camera, [face]))
        records.write(FrameFaces("none.jpg", face.camera, []))
        records.write_error("bad.jpg", "not an image")
    if record_format == "jsonl":
        first, second, _ = map(json.loads, path.read_text().splitlines())
        assert first["faces"][0]["blendshapes"] == expected
        assert second["faces"] == []
    elif record_format == "csv":
        first, second, third = rows_of(path)
        assert {name: float(first[name]) for name in EXPRESSION_NAMES} == expected
        assert not any(second[name] + third[name] for name in EXPRESSION_NAMES)
        assert third["error"] == "not an image"
    else:
        column = parquet.read_table(path)["blendshapes"].to_pylist()
        assert dict(zip(EXPRESSION_NAMES, column[0], strict=True)) == expected
        assert column[1:] == [None, None]


def test_csv_has_a_flat_row_per_face_and_one_where_there_is_none(tmp_path, faces):
    path = tmp_path / "faces.csv"
    with open_records("csv", path) as records:
        records.write(FrameFaces("a, b.mp4", VGA, faces, 7, 0.25))
        records.write(FrameFaces("none.jpg", VGA, []))
        records.write_error("bad.jpg", "not an image")
    assert path.read_text().splitlines()[0] == ",".join(CSV_COLUMNS)
    *rows, empty, error = rows_of(path)
    assert len(rows) == 2
    assert (empty["source"], empty["width_px"], empty["fx_px"]) == ("none.jpg", "640", "600.0")
    assert not any(empty[name] for name in CSV_COLUMNS[CSV_COLUMNS.index("face_id") :])
    for face, row in zip(faces, rows, strict=True):
        assert (row["source"], row["frame"], row["face_id"]) == ("a, b.mp4", "7", "4")
        assert (row["width_px"], row["fx_px"], row["camera_source"]) == ("640", "600.0", "given")
        place = [float(row[name]) for name in ("tx_m", "ty_m", "tz_m")]
        assert place == pytest.approx(face.translation_m, abs=1e-6)
        turn = [[float(row[f"r{i}{j}"]) for j in range(3)] for i in range(3)]
        assert np.array(turn) == pytest.approx(face.rotation, abs=1e-6)
        angles = [float(row[name]) for name in ("yaw_deg", "pitch_deg", "roll_deg")]
        assert angles == pytest.approx(face.euler(), abs=1e-4)
        points = [[float(row[f"{axis}{i}_px"]) for axis in "xy"] for i in range(68)]
        assert np.array(points) == pytest.approx(face.landmarks68_px, abs=0.006)
        assert row["error"] == ""
    filled = {name: value for name, value in error.items() if value}
    assert filled == {"source": "bad.jpg", "error": "not an image"}


def test_openface_columns_rebuild_the_head_by_its_conventions(tmp_path, faces):
    path = written(tmp_path / "faces.csv", "openface", faces)
    assert path.read_text().splitlines()[0] == ",".join(OPENFACE_COLUMNS)
    for face, row in zip(faces, rows_of(path), strict=True):
        value = {name: float(row[name]) for name in OPENFACE_COLUMNS[:-1]}
        assert (value["frame"], value["face_id"], value["success"]) == (8, 4, 1)
        assert (value["timestamp"], value["confidence"]) == (0.25, 0.9)
        angles = [value[f"pose_R{axis}"] for axis in "xyz"]
        x, y, z = (
            Rotation.from_euler(axis, angle).as_matrix()
            for axis, angle in zip("xyz", angles, strict=True)
        )
        rotation = x @ y @ z
        assert rotation == pytest.approx(face.rotation, abs=1e-6)
        space_mm = np.array([[value[f"{axis}_{i}"] for axis in "XYZ"] for i in range(68)])
        landmarks_m = face.landmarks_m[face.topology.landmarks68]
        place_mm = np.array([value[f"pose_T{axis}"] for axis in "xyz"])
        centred_m = landmarks_m - landmarks_m.mean(0)
        rebuilt_mm = transform(centred_m * 1000, rotation, place_mm)
        assert rebuilt_mm == pytest.approx(space_mm, abs=2e-3)
        # Pixel centres count from 0 there, as in OpenCV.
        image = np.array([[value[f"{axis}_{i}"] for axis in "xy"] for i in range(68)])
        cv_matrix = VGA.matrix - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
        projected = space_mm @ cv_matrix.T
        assert projected[:, :2] / projected[:, 2:] == pytest.approx(image, abs=0.01)


def test_openface_rows_without_faces_have_no_success(tmp_path):
    path = tmp_path / "none.csv"
    with open_records("openface", path) as records:
        records.write(FrameFaces("a.mp4", VGA, [], 0, 0.0))
        records.write_error("bad.jpg", "not an image")
    for row in rows_of(path):
        assert (row["success"], float(row["pose_Tz"]), row["frame"]) == ("0", 0.0, "1")


@pytest.mark.parametrize("record_format", LINE_FORMATS)
def test_resume_continues_after_the_last_finished_input(tmp_path, faces, record_format):
    path = tmp_path / "faces.txt"

    def run(resume, stop_in=None):
        with open_records(record_format, path, resume=resume, overwrite=not resume) as records:
            for name in ("a.mp4", "b.mp4", "c.mp4"):
                if name in records.finished:
                    continue
                for frame in range(3):
                    records.write(FrameFaces(name, VGA, faces, frame, frame / 10))
                    if name == stop_in and frame == 1:
                        return
                records.finish(name)

    run(resume=False)
    whole = path.read_bytes()
    run(resume=False, stop_in="b.mp4")
    with path.open("ab") as file:
        file.write(b'{"source": "torn')
    with (tmp_path / "faces.txt.finished").open("ab") as file:
        file.write(b'{"source": "b.mp4", "ext')
    assert read_journal(path).finished == {"a.mp4"}
    run(resume=True)
    assert path.read_bytes() == whole
    assert read_journal(path).finished == {"a.mp4", "b.mp4", "c.mp4"}
    run(resume=True)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("record_format", LINE_FORMATS)
def test_resume_without_earlier_records_starts_a_new_file(tmp_path, faces, record_format):
    fresh = written(tmp_path / "fresh", record_format, faces).read_bytes()
    resumed = written(tmp_path / "resumed", record_format, faces, resume=True)
    assert resumed.read_bytes() == fresh
    resumed.unlink()  # the list of finished sources is left, its records are gone
    assert read_journal(resumed).finished == set()
    assert written(resumed, record_format, faces, resume=True).read_bytes() == fresh


def test_a_failed_input_is_not_listed_as_finished(tmp_path, faces):
    path = tmp_path / "faces.jsonl"
    with open_records("jsonl", path) as records:
        records.write_error("a.jpg", "gone")
        records.write(FrameFaces("b.jpg", VGA, faces))
        records.finish("b.jpg")
    assert read_journal(path).finished == {"b.jpg"}


def test_resume_names_the_option_that_differs(tmp_path, faces):
    settings = {"camera": {"fov_deg": 60.0}, "max_faces": None}
    path = written(tmp_path / "faces.jsonl", "jsonl", faces, settings=settings)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="landmarks was False, is True"):
        open_records("jsonl", path, landmarks=True, resume=True, settings=settings)
    other = {**settings, "camera": {"fov_deg": 70.0}}
    with pytest.raises(ValueError, match=r"options; camera\.fov_deg was 60\.0, is 70\.0\. Use"):
        open_records("jsonl", path, resume=True, settings=other)
    assert path.read_bytes() == before
    open_records("jsonl", path, resume=True, settings=settings).close()
    (tmp_path / "faces.jsonl.finished").write_text("what is this\n")
    with pytest.raises(ValueError, match="line 1: expected an entry of finished inputs"):
        read_journal(path)


@pytest.mark.parametrize("record_format", LINE_FORMATS)
def test_names_that_are_not_utf8_become_valid_unicode_reversibly(tmp_path, faces, record_format):
    name = os.fsdecode(b"caf\xe9.jpg")
    path = tmp_path / "faces"
    with open_records(record_format, path) as records:
        records.write(FrameFaces(name, VGA, faces))
        records.finish(name)
        records.write_error(name, f"{name}: damaged")
    assert read_journal(path).finished == {name}
    text = path.read_bytes().decode("utf-8")  # valid
    rows = map(json.loads, text.splitlines()) if record_format == "jsonl" else rows_of(path)
    assert {unescape_name(row["source"]) for row in rows} == {name}
    assert "\\ud" not in text


@pytest.mark.parametrize(
    "name",
    [
        *(b"caf\xe9.jpg", b"a\\xe9.jpg", b"\\x5c", b"C:\\xmas\\x.jpg", b"\\\xff\\xff", b"\\x\xe9"),
        *(b"\\\\x5cxe9", b"\\x5\x80c", "naïve 名.jpg".encode(), b"\\ud83d", b"\xf0\x9f"),
    ],
)
def test_escaped_names_are_valid_unicode_and_reversible(name):
    name = os.fsdecode(name)
    escaped = escape_name(name)
    escaped.encode("utf-8")
    assert unescape_name(escaped) == name
    assert unescape_name(escape_name(escaped)) == escaped


def test_ordinary_names_are_not_escaped():
    for name in ("a.jpg", "naïve 名.jpg", r"C:\photos\x.jpg", "%E9"):
        assert escape_name(name) == name
    assert escape_name(os.fsdecode(b"caf\xe9.jpg")) == r"caf\xe9.jpg"


def fill(path, record_format, inputs, failing=(), frames=1, **more):
    """Process all inputs that are not finished; return those that were processed."""
    done = []
    with open_records(record_format, path, inputs=inputs, **more) as records:
        for name in inputs:
            if name in records.finished:
                continue
            done.append(name)
            for frame in range(frames):
                records.write(FrameFaces(name, VGA, [], frame, frame / 10))
            if name in failing:
                records.write_error(name, "damaged")
            else:
                records.finish(name)
    return done


def sources_of(path, record_format):
    if record_format == "parquet":
        table = pytest.importorskip("pyarrow.parquet").read_table(path)
        return table["source"].to_pylist()
    if record_format == "jsonl":
        return [json.loads(line)["source"] for line in path.read_text().splitlines()]
    return [row["source"] for row in rows_of(path)]


ALL_FORMATS = (*LINE_FORMATS, "parquet")


@pytest.mark.parametrize("record_format", ALL_FORMATS)
@pytest.mark.parametrize("failed", ["a", "b", "c", "ac", "abc"])
def test_records_of_a_failed_input_are_replaced_not_doubled(tmp_path, record_format, failed):
    if record_format == "parquet":
        pytest.importorskip("pyarrow")
    path, inputs = tmp_path / "faces", dict.fromkeys("abc")
    fill(path, record_format, inputs, failing=failed, frames=2)
    assert fill(path, record_format, inputs, failing="b", frames=2, resume=True) == [*failed]
    expected = {name: 3 if name == "b" and "b" in failed else 2 for name in "abc"}
    assert Counter(sources_of(path, record_format)) == expected
    if record_format != "parquet":
        order = dict.fromkeys(sorted("abc", key=failed.find))
        failing = "b" if "b" in failed else ""
        fill(tmp_path / "new", record_format, order, failing=failing, frames=2)
        assert path.read_bytes() == (tmp_path / "new").read_bytes()
    fill(path, record_format, inputs, frames=2, resume=True)
    assert Counter(sources_of(path, record_format)) == dict.fromkeys("abc", 2)
    assert fill(path, record_format, inputs, resume=True) == []


@pytest.mark.parametrize("record_format", ["csv", "parquet"])
def test_a_changed_file_is_processed_again(tmp_path, record_format):
    if record_format == "parquet":
        pytest.importorskip("pyarrow")
    for name in "abc":
        (tmp_path / name).write_text(name)
    path = tmp_path / "faces"

    def inputs():
        return {name: InputFile.of(str(tmp_path / name)) for name in "abc"}

    fill(path, record_format, inputs())
    (tmp_path / "b").write_text("another content")
    assert fill(path, record_format, inputs(), resume=True) == ["b"]
    os.utime(tmp_path / "a", ns=(1, 1))  # as large as before
    assert fill(path, record_format, inputs(), resume=True) == ["a"]
    assert sorted(sources_of(path, record_format)) == ["a", "b", "c"]


def test_a_file_is_the_same_by_another_path_or_in_a_moved_folder(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a").write_text("a")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "faces"
    names = ("photos/a", f"{folder}/a", "./photos/../photos/a", "link/a")
    fill(path, "jsonl", {names[0]: InputFile.of(names[0])})
    for name in names:
        assert fill(path, "jsonl", {name: InputFile.of(name)}, resume=True) == []
    (tmp_path / "elsewhere").mkdir()
    folder.rename(tmp_path / "elsewhere" / "photos")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert fill(path, "jsonl", {names[0]: InputFile.of(names[0])}, resume=True) == []
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").write_text("another photo of the same name")
    monkeypatch.chdir(tmp_path)
    assert fill(path, "jsonl", {names[0]: InputFile.of(names[0])}, resume=True) == [names[0]]


@pytest.mark.parametrize("record_format", ALL_FORMATS)
def test_earlier_records_are_kept_unless_asked_otherwise(tmp_path, record_format):
    if record_format == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / "faces"
    fill(path, record_format, {"a": None})
    for _ in range(2):
        with pytest.raises(FileExistsError, match="continue it with --resume, or replace it"):
            open_records(record_format, path)
    assert sources_of(path, record_format) == ["a"]
    fill(path, record_format, {"b": None}, overwrite=True)
    assert sources_of(path, record_format) == ["b"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_of_another_program_is_not_replaced(tmp_path, resume):
    path = tmp_path / "faces.csv"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="was not written by trg"):
        open_records("csv", path, resume=resume)
    assert os.listdir(tmp_path) == ["faces.csv"]
    (tmp_path / "other.csv.finished").write_text("mine too")
    (tmp_path / "other.csv.finished").write_text("mine too\n")
    with pytest.raises(ValueError, match="expected an entry of finished inputs"):
        open_records("csv", tmp_path / "other.csv", resume=resume)


def test_a_damaged_list_of_finished_inputs_is_read_or_refused(tmp_path):
    """Either ValueError or FileExistsError, or complete records of known inputs."""
    path, generator = tmp_path / "faces", np.random.default_rng(0)
    fill(path, "jsonl", dict.fromkeys("abcd"), failing="b")
    journal = tmp_path / "faces.finished"
    records, whole = path.read_bytes(), journal.read_bytes()
    hostile = [b"[" * 100_000 + b"\n", b'{"source": [], "extent": 1}\n', b'{"process": "x"}\n']
    hostile += [b'{"source": "a", "extent": 1, "file": [1]}\n', b'{"source": "a", "extent": -5}\n']
    refused = 0
    for number in range(200):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            damaged[place] = generator.integers(256)
        cut = int(generator.integers(len(whole)))
        damaged = damaged[:cut] if number % 3 == 0 else damaged
        damaged = whole + hostile[number % 5] if number % 3 == 1 else damaged
        path.write_bytes(records)
        journal.write_bytes(damaged)
        try:
            open_records("jsonl", path, resume=True).close()
        except (ValueError, FileExistsError):
            refused += 1
            assert path.read_bytes() == records
        else:
            for line in path.read_text().splitlines():
                assert json.loads(line)["source"] in "abcd"
    assert 50 < refused < 190


@pytest.mark.parametrize("more", [{}, {"resume": True}, {"overwrite": True}])
def test_two_runs_cannot_write_the_same_records(tmp_path, more):
    code = """
        import sys
        from tests.support.faces import VGA
        from trg.io.records.frame_record import FrameFaces
        from trg.io.records.writers import open_records
        records = open_records("jsonl", sys.argv[1])
        records.write(FrameFaces("a.jpg", VGA, []))
        records.finish("a.jpg")
        print("open", flush=True)
        sys.stdin.read()
    """
    path = tmp_path / "faces.jsonl"
    other = start_python(textwrap.dedent(code), path, text=True, stdin=subprocess.PIPE)
    assert other.stdout.readline() == "open\n"
    before = path.read_bytes()
    with pytest.raises(BlockingIOError, match=f"process {other.pid} is writing to it"):
        open_records("jsonl", path, **more)
    assert path.read_bytes() == before
    other.kill()
    other.communicate()
    with open_records("jsonl", path, resume=True) as records:  # the dead process has no lock
        assert records.finished == {"a.jpg"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_a_killed_run_leaves_complete_lines(tmp_path):
    """The process dies by a signal right after it wrote, without closing anything."""
    code = """
        import os, signal, sys
        from tests.support.faces import VGA, frontal_face
        from trg.io.records.frame_record import FrameFaces
        from trg.io.records.writers import open_records
        records = open_records("jsonl", sys.argv[1])
        for frame in range(5):
            records.write(FrameFaces("a.mp4", VGA, [frontal_face()], frame, frame / 30))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "faces.jsonl"
    run_python(textwrap.dedent(code), path)
    text = path.read_text()
    assert text.endswith("\n")
    assert [json.loads(line)["frame"] for line in text.splitlines()] == [0, 1, 2, 3, 4]
    assert read_journal(path).finished == set()


def test_a_full_disk_leaves_complete_lines(tmp_path, faces):
    path = tmp_path / "faces.jsonl"
    records = open_records("jsonl", path)
    records.write(FrameFaces("a.jpg", VGA, faces))
    whole = path.read_bytes()
    with full_after(len(whole) + 100), pytest.raises(OSError, match="File too large"):
        records.write(FrameFaces("b.jpg", VGA, faces))
    assert path.read_bytes() == whole
    records.write(FrameFaces("b.jpg", VGA, faces))
    records.close()
    assert [json.loads(line)["source"] for line in path.read_text().splitlines()] == [
        "a.jpg",
        "b.jpg",
    ]


def test_errors_name_what_was_received(tmp_path):
    with pytest.raises(ValueError, match="record format: expected one of"):
        open_records("xml", None)
    for record_format in ("csv", "openface"):
        with pytest.raises(ValueError, match="cannot hold the dense landmarks"):
            open_records(record_format, None, landmarks=True)
    with pytest.raises(ValueError, match="openface: has no blend shapes"):
        open_records("openface", None, blendshapes=True)
    with pytest.raises(ValueError, match="parquet needs a file"):
        open_records("parquet", None)
    with pytest.raises(ValueError, match="resuming needs a file"):
        open_records("jsonl", None, resume=True)
    with pytest.raises(FileNotFoundError):
        open_records("jsonl", tmp_path / "none" / "faces.jsonl")
