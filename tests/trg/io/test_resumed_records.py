"""Records of runs that are resumed, interrupted or compete, and the list of finished inputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections import Counter

import numpy as np
import pytest

from tests.support.child_process import run_python, start_python
from tests.support.faces import VGA, random_faces
from tests.support.full_disk import full_after
from tests.support.record_files import LINE_FORMATS, rows_of, written
from trg.io.records.frame_record import FrameFaces
from trg.io.records.journal_lines import InputFile, read_journal
from trg.io.records.writers import open_records


@pytest.fixture
def faces():
    return random_faces(np.random.default_rng(8), 2, id=4, time_s=0.5)


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
