"""Parquet parts: their content, and which of them a resumed run removes."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from tests.support.faces import VGA, random_faces
from trg.io.records.frame_record import FrameFaces
from trg.io.records.journal_lines import read_journal
from trg.io.records.parquet import ParquetWriter
from trg.io.records.writers import open_records

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, of the extra `data`")


@pytest.fixture
def faces():
    return random_faces(np.random.default_rng(8), 2, id=4)


def parts(folder):
    return sorted(path.name for path in folder.iterdir())


def stacked(table, name):
    return np.array(table[name].to_pylist())


def test_a_row_per_face(tmp_path, faces):
    folder = tmp_path / "faces.parquet"
    with open_records("parquet", folder, landmarks=True) as records:
        records.write(FrameFaces("a.mp4", VGA, faces, 7, 0.25))
        records.write(FrameFaces("none.jpg", VGA, []))
        records.write_error("bad.jpg", "not an image")
    table = parquet.read_table(folder)
    assert table["source"].to_pylist() == ["a.mp4", "a.mp4", "none.jpg", "bad.jpg"]
    assert table["error"].to_pylist() == [None, None, None, "not an image"]
    assert table["rotation"].to_pylist()[2:] == [None, None]
    assert table["width_px"].to_pylist() == [640, 640, 640, None]
    good = table.slice(0, 2)
    assert good["frame"].to_pylist() == [7, 7]
    assert good["face_id"].to_pylist() == [4, 4]
    assert good["fx_px"].to_pylist() == [600.0, 600.0]
    rotations = stacked(good, "rotation").reshape(-1, 3, 3)
    for index, face in enumerate(faces):
        assert rotations[index] == pytest.approx(face.rotation, abs=1e-6)
        place = stacked(good, "translation_m")[index]
        assert place == pytest.approx(face.translation_m, abs=1e-6)
        points = stacked(good, "landmarks68_px")[index].reshape(68, 2)
        assert points == pytest.approx(face.landmarks68_px, abs=1e-3)
        dense = stacked(good, "landmarks_m")[index].reshape(-1, 3)
        assert dense == pytest.approx(face.landmarks_m, abs=6e-5)
    types = {field.name: str(field.type) for field in table.schema}
    assert types["rotation"] == "fixed_size_list<element: float>[9]"
    assert types["landmarks_m"] == "fixed_size_list<element: halffloat>[3660]"


def test_dense_landmarks_only_when_asked(tmp_path, faces):
    with open_records("parquet", tmp_path / "faces") as records:
        records.write(FrameFaces("a.jpg", VGA, faces))
    assert "landmarks_m" not in parquet.read_table(tmp_path / "faces").column_names


def test_a_run_without_inputs_makes_an_empty_table(tmp_path):
    open_records("parquet", tmp_path / "faces").close()
    assert len(parquet.read_table(tmp_path / "faces")) == 0


def test_parts_are_written_by_time_also_without_faces(tmp_path):
    folder = tmp_path / "faces"
    records = ParquetWriter(folder, landmarks=False, part_s=0.0)
    for number in range(3):
        records.write(FrameFaces(f"{number}.jpg", VGA, []))
        records.finish(f"{number}.jpg")
    # No close: the process would be gone here.
    assert parquet.read_table(folder)["source"].to_pylist() == ["0.jpg", "1.jpg"]
    assert read_journal(folder).finished == {"0.jpg", "1.jpg"}


def test_names_that_are_not_utf8_become_valid_unicode(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    with open_records("parquet", tmp_path / "faces") as records:
        records.write(FrameFaces(name, VGA, []))
        records.write_error(name, f"{name}: damaged")
    table = parquet.read_table(tmp_path / "faces")
    assert table["source"].to_pylist() == [r"caf\xe9.jpg"] * 2


def test_parquet_files_of_other_programs_are_not_mixed_with(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "part-00000-1b2c.snappy.parquet").write_bytes(b"PAR1")
    for more in ({}, {"overwrite": True}):
        with pytest.raises(FileExistsError, match=r"lost its list|other programs"):
            open_records("parquet", folder, **more)
    assert parts(folder) == ["part-00000-1b2c.snappy.parquet"]


def test_parts_fill_up_and_a_killed_run_loses_only_the_last(tmp_path, faces):
    folder = tmp_path / "faces"
    records = ParquetWriter(folder, landmarks=False, part_rows=6)
    for number in range(5):
        records.write(FrameFaces(f"{number}.jpg", VGA, faces))
        records.finish(f"{number}.jpg")
    # No close: the process would be gone here, with two images' rows in memory.
    assert parts(folder) == ["part-000000.parquet"]
    table = parquet.read_table(folder)
    assert len(table) == 6
    assert read_journal(folder).finished == {"0.jpg", "1.jpg", "2.jpg"}


@pytest.mark.parametrize("stop_at", [0, 1, 4, 5, 7, 8])
def test_resume_removes_an_unfinished_video(tmp_path, faces, stop_at):
    folder = tmp_path / "faces"

    def run(resume, stop_at=None, close=True):
        records = ParquetWriter(
            folder, landmarks=False, resume=resume, overwrite=not resume, part_rows=6
        )
        written = 0
        for name, frames in (("a.jpg", 1), ("b.mp4", 5), ("c.jpg", 1), ("d.mp4", 2)):
            if name in records.finished:
                continue
            for frame in range(frames):
                if written == stop_at:
                    return records.close() if close else None
                records.write(FrameFaces(name, VGA, faces, frame, frame / 10))
                written += 1
            records.finish(name)
        return records.close()

    def content():
        table = parquet.read_table(folder)
        return list(zip(table["source"].to_pylist(), table["frame"].to_pylist(), strict=True))

    run(resume=False)
    whole = content()
    assert len(whole) == 18
    for close in (True, False):  # interrupted, killed
        run(resume=False, stop_at=stop_at, close=close)
        run(resume=True)
        assert content() == whole
        assert read_journal(folder).finished == {"a.jpg", "b.mp4", "c.jpg", "d.mp4"}


def test_a_new_run_replaces_the_old_parts_and_nothing_else(tmp_path, faces):
    folder = tmp_path / "faces"
    for count in (9, 1):
        with ParquetWriter(folder, landmarks=False, overwrite=True, part_rows=4) as records:
            for number in range(count):
                records.write(FrameFaces(f"{number}.jpg", VGA, faces))
        (folder / "notes.txt").write_text("keep")
    assert parts(folder) == ["notes.txt", "part-000000.parquet"]


def test_errors_say_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file.parquet").write_bytes(b"PAR1")
    with pytest.raises(NotADirectoryError, match="expected a folder for Parquet"):
        open_records("parquet", tmp_path / "file.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'trg-headpose\[data\]'"):
        open_records("parquet", tmp_path / "faces")
