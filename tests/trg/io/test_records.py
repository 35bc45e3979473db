"""Records as JSON Lines and CSV: their content, and what a killed run leaves."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.support.child_process import run_python
from tests.support.faces import VGA, random_faces
from trg.geometry.projection import transform
from trg.io.records.csv_tables import CSV_COLUMNS, OPENFACE_COLUMNS
from trg.io.records.frame_record import FrameFaces, frame_record
from trg.io.records.journal import read_journal
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
    assert list(record) == ["source", "frame", "time_s", "size", "camera", "faces"]
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


def test_csv_has_a_flat_row_per_face(tmp_path, faces):
    path = tmp_path / "faces.csv"
    with open_records("csv", path) as records:
        records.write(FrameFaces("a, b.mp4", VGA, faces, 7, 0.25))
        records.write(FrameFaces("none.jpg", VGA, []))
        records.write_error("bad.jpg", "not an image")
    assert path.read_text().splitlines()[0] == ",".join(CSV_COLUMNS)
    *rows, error = rows_of(path)
    assert len(rows) == 2
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
        with open_records(record_format, path, resume=resume) as records:
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


def test_resume_refuses_records_of_another_kind(tmp_path, faces):
    path = written(tmp_path / "faces.jsonl", "jsonl", faces)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="write to another file, or start again"):
        open_records("jsonl", path, landmarks=True, resume=True)
    assert path.read_bytes() == before
    (tmp_path / "faces.jsonl.finished").write_text("what is this\n")
    with pytest.raises(ValueError, match="line 1: expected an entry of finished inputs"):
        read_journal(path)


def test_names_that_are_not_utf8_are_preserved(tmp_path, faces):
    name = os.fsdecode(b"caf\xe9.jpg")
    for record_format in LINE_FORMATS:
        path = tmp_path / record_format
        with open_records(record_format, path) as records:
            records.write(FrameFaces(name, VGA, faces))
            records.finish(name)
        assert read_journal(path).finished == {name}
    assert json.loads((tmp_path / "jsonl").read_text())["source"] == name
    assert b"caf\xe9.jpg" in (tmp_path / "csv").read_bytes()


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
    resource = pytest.importorskip("resource", reason="limits on files are POSIX's")
    path = tmp_path / "faces.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    records = open_records("jsonl", path)
    records.write(FrameFaces("a.jpg", VGA, faces))
    whole = path.read_bytes()
    import signal

    earlier = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            records.write(FrameFaces("b.jpg", VGA, faces))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, earlier)
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
    with pytest.raises(ValueError, match="parquet needs a file"):
        open_records("parquet", None)
    with pytest.raises(ValueError, match="resuming needs a file"):
        open_records("jsonl", None, resume=True)
    with pytest.raises(FileNotFoundError):
        open_records("jsonl", tmp_path / "none" / "faces.jsonl")
