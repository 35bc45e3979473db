"""Records as JSON Lines and CSV: their content and names."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.support.faces import VGA, make_face, random_faces, shaped_face
from tests.support.record_files import LINE_FORMATS, rows_of, written
from trg.error_bars import STD_COUNT, ErrorBars
from trg.face import STD_PROPERTIES
from trg.geometry.axes import CAMERA_AXES, HEAD_AXES, FrameConvention
from trg.geometry.face_mesh import LANDMARK_GROUPS
from trg.geometry.projection import transform
from trg.geometry.rotations import rotation_to_euler
from trg.geometry.shape_basis import EXPRESSION_NAMES
from trg.io.records.csv_tables import CSV_COLUMNS, OPENFACE_COLUMNS
from trg.io.records.frame_record import FrameFaces, frame_record
from trg.io.records.journal_lines import read_journal
from trg.io.records.names import escape_name, unescape_name
from trg.io.records.writers import open_records


@pytest.fixture
def faces():
    return random_faces(np.random.default_rng(8), 2, id=4, time_s=0.5)


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
