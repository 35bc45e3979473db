"""Poses read back from records of every format, and from files that are none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support.faces import VGA, make_face
from trg.io.records.frame_record import FrameFaces
from trg.io.records.readers import read_poses
from trg.io.records.writers import open_records
from trg.movement.poses import NO_FACE

ANGLES = [(20.0, -10.0, 5.0), (-35.0, 20.0, -15.0), (5.0, 0.0, 30.0)]


def write(path, record_format, axes="opencv"):
    """Write two videos of three frames, the second without a face; a photo; a failed input."""
    kind = {} if record_format == "openface" else {"axes": axes}
    with open_records(record_format, path) as records:
        for source in ("a.mp4", "b.mp4"):
            for frame, angles in enumerate(ANGLES):
                faces = [
                    make_face(angles, (0.05 * number, 0.0, 0.6), id=number, time_s=frame / 25)
                    for number in (0, 3)
                ]
                shown = [] if frame == 1 else faces
                records.write(FrameFaces(source, VGA, shown, frame, frame / 25, **kind))
            records.finish(source)
        if record_format != "openface":  # its photos have the time 0
            records.write(FrameFaces("photo.jpg", VGA, [make_face()], **kind))
            records.write_error("bad.mp4", "damaged")


@pytest.mark.parametrize("record_format", ["jsonl", "csv", "openface", "parquet"])
def test_poses_are_read_back_from_every_format(tmp_path, record_format):
    if record_format == "parquet":
        pytest.importorskip("pyarrow")
    write(tmp_path / "records", record_format)
    table = read_poses(tmp_path / "records")
    assert set(table.source) == {"a.mp4", "b.mp4"}
    assert table.face_id.tolist() == [0, 3, NO_FACE, 0, 3] * 2
    assert table.time_s[:5] == pytest.approx([0.0, 0.0, 0.04, 0.08, 0.08])
    expected = [make_face(angles).rotation for angles in (ANGLES[0], ANGLES[2])]
    rotation = table.rotation[[0, 3]]
    np.testing.assert_allclose(rotation, expected, atol=1e-6)
    if record_format == "openface":  # the mean of the 68 landmarks instead of the head's origin
        assert np.ptp(table.translation_m[[0, 1]], axis=0) == pytest.approx((0.15, 0, 0), abs=1e-5)
    else:
        np.testing.assert_allclose(table.translation_m[[0, 1]][:, 0], (0.0, 0.15), atol=1e-6)
    assert [(track.source, track.face_id) for track in table.tracks()] == [
        ("a.mp4", 0), ("a.mp4", 3), ("b.mp4", 0), ("b.mp4", 3),
    ]  # fmt: skip


@pytest.mark.parametrize("record_format", ["jsonl", "csv"])
def test_poses_in_other_axes_are_converted(tmp_path, record_format):
    write(tmp_path / "unity", record_format, "unity")
    write(tmp_path / "opencv", record_format)
    unity, opencv = read_poses(tmp_path / "unity"), read_poses(tmp_path / "opencv")
    np.testing.assert_allclose(unity.rotation, opencv.rotation, atol=1e-6)
    np.testing.assert_allclose(unity.translation_m, opencv.translation_m, atol=1e-6)


def test_openfaces_own_files_have_spaces_and_no_source(tmp_path):
    path = tmp_path / "clip.csv"
    path.write_text(
        "frame, face_id, timestamp, confidence, success, pose_Tx, pose_Ty, pose_Tz, "
        "pose_Rx, pose_Ry, pose_Rz\n"
        "1, 0, 0.000, 0.98, 1, 10.0, 20.0, 500.0, 0.1, 0.0, 0.0\n"
        "2, 0, 0.033, 0.10, 0, 0, 0, 0, 0, 0, 0\n"
    )
    table = read_poses(path)
    assert (table.source, table.face_id.tolist()) == (("clip", "clip"), [0, NO_FACE])
    assert table.translation_m[0].tolist() == [0.01, 0.02, 0.5]
    assert np.degrees(np.arcsin(table.rotation[0][2, 1])) == pytest.approx(np.degrees(0.1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "records of trg predict"),
        ("name,x\na,1\n", "the column time_s is missing"),
        ('{"source": "a"}\n', "line 1: expected a record of trg predict"),
        ('{"source": "a", "frame": 0, "time_s": 0.1, "faces": [{"id"\n', "line 1"),
        ('{"source": "a", "frame": null, "time_s": null, "faces": []}\n', "no record has a time"),
        ("timestamp,success,pose_Rx,pose_Ry,pose_Rz\n0,1,0,0,0\n", "pose_Tx is missing"),
    ],
)
def test_files_of_another_kind_are_refused_with_the_reason(tmp_path, text, message):
    path = tmp_path / "records"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_poses(path)
    assert "records: " in str(caught.value), "the file is named"


def test_a_torn_row_is_refused(tmp_path):
    write(tmp_path / "a.csv", "csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([*lines[:3], lines[3][:200]]))
    with pytest.raises(ValueError, match="row 4: expected as many values as there are columns"):
        read_poses(tmp_path / "a.csv")


def test_a_video_in_place_of_its_records_is_refused_with_what_to_do(tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(bytes([0, 0, 0, 32, 0xDF, 0xFF]))
    with pytest.raises(ValueError, match=r"clip\.mp4: .*not text.*trg predict first"):
        read_poses(video)


def test_missing_files_and_foreign_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none: expected records of trg predict"):
        read_poses(tmp_path / "none")
    pytest.importorskip("pyarrow")
    (tmp_path / "part.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="expected a folder of Parquet that trg predict wrote"):
        read_poses(tmp_path)


def test_records_of_live_poses_are_read(tmp_path):
    """`trg live --send -` adds keys to the records."""
    write(tmp_path / "a", "jsonl")
    lines = [{**json.loads(line), "more": 1} for line in (tmp_path / "a").read_text().splitlines()]
    (tmp_path / "b").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_poses(tmp_path / "b").source == read_poses(tmp_path / "a").source
