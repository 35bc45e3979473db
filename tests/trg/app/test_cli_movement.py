"""``trg movement`` on records of made-up movements."""

from __future__ import annotations

import csv
import io
import sys

import numpy as np
import pytest

from tests.support.faces import VGA, make_face
from tests.support.motion import rotations, swings, times_s, wiggles
from trg.app import movement_files
from trg.app.cli import main
from trg.io.images import open_image
from trg.io.records.frame_record import FrameFaces
from trg.io.records.writers import open_records

TIME_S = times_s(6.0)
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked")


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the verb; return exit code, standard output and messages."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["trg", "movement", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as error:
            code = error.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two videos: one person who nods twice and another who shakes the head; nobody."""
    folder = tmp_path_factory.mktemp("records")
    nodding = rotations(swings(TIME_S, 1.0, 2.0, 2, 10.0) + swings(TIME_S, 4.0, 2.0, 1, 10.0))
    shaking = rotations(0.0, wiggles(TIME_S, 2.0, 1.5, 3, 16.0))
    for name, source in (("a.csv", "one/a.mp4"), ("b.jsonl", "two/a.mp4")):
        with open_records(name.split(".")[1], folder / name) as writer:
            for frame, time_s in enumerate(TIME_S):
                faces = []
                if source == "one/a.mp4" and not 3.0 < time_s < 3.5:
                    faces = [
                        make_face(rotation=nodding[frame], id=0, time_s=time_s),
                        make_face(rotation=shaking[frame], id=1, time_s=time_s),
                    ]
                writer.write(FrameFaces(source, VGA, faces, frame, float(time_s)))
            writer.finish(source)
    return folder


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_per_identity_on_standard_output(run, records):
    code, out, err = run(records / "a.csv")
    assert (code, err) == (0, "")
    first, second = rows_of(out)
    assert (first["source"], first["face_id"], second["face_id"]) == ("one/a.mp4", "0", "1")
    assert (first["nods"], first["nod_cycles"], first["shakes"]) == ("2", "3", "0")
    assert (second["nods"], second["shakes"]) == ("0", "1")
    assert 0.05 < float(first["missing_share"]) < 0.1
    assert first["distance_drift_m_per_min"] == "", "six seconds do not tell a drift"


def test_tables_and_plots_in_a_folder(run, records, tmp_path):
    code, out, err = run(records / "a.csv", records / "b.jsonl", "-o", tmp_path / "out")
    assert (code, out) == (0, "")
    assert "movement.csv, gestures.csv, a.movement.png" in err
    gestures = rows_of((tmp_path / "out" / "gestures.csv").read_text())
    assert [(each["face_id"], each["kind"]) for each in gestures] == [
        ("0", "nod"), ("0", "nod"), ("1", "shake"),
    ]  # fmt: skip
    assert float(gestures[0]["start_s"]) == pytest.approx(1.0, abs=0.1)
    with open_image(tmp_path / "out" / "a.movement.png") as image:
        assert np.asarray(image.convert("L")).std() > 5.0, "something is drawn"


def test_without_matplotlib_the_tables_are_one_option_away(run, records, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "trg.app.movement_plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)  # importing it fails
    code, _, err = run(records / "a.csv", "-o", tmp_path / "out")
    assert code == 2
    assert "'trg-headpose[plots]', or leave plots out with --no-plots" in " ".join(err.split())
    assert run(records / "a.csv", "-o", tmp_path / "out", "--no-plots")[0] == 0


def test_existing_files_are_kept_unless_told_otherwise(run, records, tmp_path):
    arguments = (records / "a.csv", "-o", tmp_path, "--no-plots")
    assert run(*arguments)[0] == 0
    code, _, err = run(*arguments)
    assert code == 2
    assert "exists already; choose another folder, or replace it with --overwrite" in err
    assert run(*arguments, "--overwrite")[0] == 0
    assert not list(tmp_path.glob("*.png"))


def test_wrong_arguments_are_named(run, records, tmp_path):
    code, _, err = run()
    assert code == 2
    assert "expected records of trg predict" in err
    code, _, err = run(records / "a.csv", records / "a.csv")
    assert code == 2
    assert "'one/a.mp4': expected each video once, found it in several results" in err
    assert run(tmp_path / "none.csv")[0] == 2


def test_a_low_frame_rate_is_said(run, records, tmp_path):
    with open_records("csv", tmp_path / "slow.csv") as writer:
        for frame in range(20):
            writer.write(FrameFaces("slow.mp4", VGA, [make_face(id=0)], frame, frame / 4.0))
        writer.finish("slow.mp4")
    code, out, err = run(tmp_path / "slow.csv")
    assert code == 0
    assert "slow.mp4: below 10 frames per second nods and shakes are not counted" in err
    assert rows_of(out)[0]["nods"] == ""


def test_plots_of_sources_of_the_same_name_have_different_names():
    names = movement_files.plot_names(["one/a.mp4", "two/a.mov", "rtsp://x/?a=b", "0"])
    assert len(set(names.values())) == 4
    assert names["two/a.mov"] == "a_2.movement.png"
    assert all("/" not in name for name in names.values())


def test_a_video_without_faces_is_said_to_have_none(run, records):
    code, printed, messages = run(records / "b.jsonl")
    assert code == 0
    assert "two/a.mp4: no face in any frame" in messages
    assert rows_of(printed) == []
