"""``trg predict`` into a folder or file: what it replaces, resumes, refuses and reports."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from tests.support.cli_predict_runs import (
    CAMERA,
    FOCAL,
    cli,  # noqa: F401  (a fixture)
    lines_of,
    save_photos,
)
from tests.support.full_disk import full_after
from tests.support.oracle_network import OracleNetwork
from trg.app.cli.optional_values import complete_draw
from trg.app.cli.predict_options import (
    CameraOptions,
    FaceOptions,
    ProcessingOptions,
    ResultOptions,
)
from trg.app.outputs import JPEG_MAX_SIDE, fitting_stem

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_layers_of_drawings_are_chosen_on_the_command_line(cli, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (photo,) = save_photos(tmp_path / "in", 0)
    changed = {}
    for number, draw in enumerate(
        [("--draw",), ("--draw", "box"), ("--draw=landmarks,mesh",), ("--draw", "label,axes")]
    ):
        done = cli.predict(*draw, photo, "-o", f"out{number}", *FOCAL)
        assert done.code == 0, done.err
        with Image.open(f"out{number}/0.jpg") as drawn:
            changed[draw[-1].removeprefix("--draw=")] = int((np.asarray(drawn).max(-1) > 40).sum())
    assert changed["box"] < changed["landmarks,mesh"] < changed["--draw"]
    assert len({*changed.values()}) == 4
    done = cli.predict(photo, "-o", "wrong", "--draw", "axes,wire", *FOCAL)
    assert done.code == 2
    assert "mesh,landmarks,errors,axes,box,label" in done.err
    assert not (tmp_path / "wrong").exists()


def test_the_photo_gets_into_the_glb_on_request(cli, tmp_path):  # noqa: F811
    (photo,) = save_photos(tmp_path / "in", 0)
    for out, more in (("plain", ()), ("textured", ("--mesh-photo",))):
        done = cli.predict(photo, "-o", tmp_path / out, "--mesh", "glb", *more, *FOCAL)
        assert done.code == 0, done.err
        content = (tmp_path / out / "0.glb").read_bytes()
        assert b'"name":"camera"' in content
        assert (b"image/jpeg" in content) == bool(more)


def test_a_file_with_the_name_of_a_layer_is_a_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "box").touch()
    default = "--draw=mesh,axes,box,label"
    assert complete_draw(["predict", "--draw", "box"]) == ["predict", default, "box"]
    assert complete_draw(["predict", "--draw", "mesh", "box"]) == ["predict", "--draw=mesh", "box"]
    assert complete_draw(["predict", "a.jpg", "--draw"]) == ["predict", "a.jpg", default]
    assert complete_draw(["predict", "--draw", "--resume"]) == ["predict", default, "--resume"]


@pytest.mark.parametrize("given", [["camera", "--draw", "mesh"], ["predict", "--", "--draw"]])
def test_what_is_no_option_of_predict_is_left_as_it_is(given):
    assert complete_draw(given) == given


def test_earlier_results_are_replaced_only_when_asked(cli, tmp_path):  # noqa: F811
    save_photos(tmp_path / "in", 0, 1)
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--draw", *FOCAL)
    assert cli.predict(*arguments).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    again = cli.predict(*arguments)
    assert again.code == 2
    assert "--resume" in again.err
    assert "--overwrite" in again.err
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert cli.predict(*arguments, "--overwrite").code == 0
    assert len(lines_of(tmp_path / "out" / "in.jsonl")) == 2


@pytest.mark.parametrize("name", ["out/0.jpg", "out/in.jsonl", "out/in.jsonl.failures.csv"])
def test_files_of_other_programs_are_replaced_only_when_asked(cli, tmp_path, name):  # noqa: F811
    save_photos(tmp_path / "in", 0)
    (tmp_path / "out").mkdir()
    (tmp_path / name).write_text("mine")
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--draw", *FOCAL)
    for more in ((), ("--resume",)):
        done = cli.predict(*arguments, *more)
        assert done.code == 2
        assert "not written by trg" in done.err
        assert (tmp_path / name).read_text() == "mine"
        assert names_in(tmp_path / "out") == [os.path.basename(name)]
    assert cli.predict(*arguments, "--overwrite").code == 0
    assert not (tmp_path / name).exists() or (tmp_path / name).read_bytes() != b"mine"


def test_files_of_another_run_into_the_folder_are_replaced(cli, tmp_path):  # noqa: F811
    (photo,) = save_photos(tmp_path / "in", 0)
    out = tmp_path / "out"
    for source in (photo, tmp_path / "in"):  # 0.jsonl and in.jsonl, both with 0.jpg
        assert cli.predict(source, "-o", out, "--draw", *FOCAL).code == 0
    (out / "0.jsonl").unlink()
    assert cli.predict(photo, "-o", out, "--draw", *FOCAL).code == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--focal", "700"), "camera was"),
        (("--max-faces", "1"), "max_faces was None, is 1"),
        (("--ipd", "60"), "interpupillary_m was None, is 0.06"),
        (("--no-smooth",), "smooth was True, is False"),
        (("--size", "frame"), "size was 'person', is 'frame'"),
        (("--same-person",), "same_person was False, is True"),
        (("--flip-tta",), "flip_tta was False, is True"),
        (("--smallest-face", "40"), "smallest_face_px was None, is 40"),
        (("--model", "trg_m"), "model was"),
        (("--boxes", "boxes.json"), "boxes_sha256 was None"),
        (("--draw",), "draw was None, is ['axes'"),
        (("--mesh", "ply"), "mesh was None, is 'ply'"),
        (("--mesh", "glb", "--mesh-photo"), "mesh_photo was False, is True"),
        (("--landmarks",), "landmarks was False, is True"),
        (("--frame", "unity"), "axes was 'opencv', is 'unity'"),
        (("--animated",), "animated was False, is True"),
    ],
)
def test_resume_refuses_other_options_by_name(cli, tmp_path, monkeypatch, more, message):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boxes.json").write_text("{}")
    monkeypatch.setattr("trg.inference.detector.FaceDetector", lambda **_: cli.detector)
    save_photos(tmp_path / "in", 2)
    arguments = ("in", "-o", "out", "--resume")
    assert cli.predict(*arguments).code == 0
    before = (tmp_path / "out" / "in.jsonl").read_bytes()
    done = cli.predict(*arguments, *more)
    assert done.code == 2
    assert message in done.err
    assert (tmp_path / "out" / "in.jsonl").read_bytes() == before
    assert cli.predict(*arguments, "--threads", 2, "--batch-size", 3).code == 0


WITHOUT_EFFECT_ON_RESULTS = {"out", "resume", "overwrite", "threads", "workers", "batch_size"}
WITH_EFFECT_ON_FAILURES_ONLY = {"max_megapixels"}  # failed inputs are always repeated
SETTINGS_OF_OPTIONS = {
    **dict.fromkeys(("focal", "fov", "fov_axis"), "camera"),
    "record_format": "records",
    "boxes": "boxes_sha256",
    "ipd": "interpupillary_m",
    "smallest_face": "smallest_face_px",
    "frame": "axes",
}


def test_every_option_of_predict_that_changes_results_is_compared(cli, tmp_path):  # noqa: F811
    """A new option must find its place here, or in the list of finished inputs."""
    groups = (ResultOptions, CameraOptions, FaceOptions, ProcessingOptions)
    options = {field.name for group in groups for field in fields(group)}
    options -= WITHOUT_EFFECT_ON_RESULTS | WITH_EFFECT_ON_FAILURES_ONLY
    save_photos(tmp_path / "in", 2)
    assert cli.predict(tmp_path / "in", "-o", tmp_path / "out").code == 0
    settings = lines_of(tmp_path / "out" / "in.jsonl.finished")[0]
    assert {SETTINGS_OF_OPTIONS.get(name, name) for name in options} <= settings.keys()


def test_a_larger_limit_of_pixels_can_be_resumed(cli, tmp_path):  # noqa: F811
    save_photos(tmp_path / "in", 0)
    Image.new("L", (1600, 1600)).save(tmp_path / "in" / "large.png")
    arguments = (tmp_path / "in", "-o", tmp_path / "out")
    assert cli.predict(*arguments, "--max-megapixels", 1).code == 1
    done = cli.predict(*arguments, "--resume", "--max-megapixels", 9)
    assert done.code == 0
    assert "1 input finished earlier" in done.err


@pytest.mark.parametrize("record_format", ["jsonl", "parquet"])
def test_results_in_the_folder_of_the_inputs_are_not_skipped_files(
    cli, tmp_path, record_format  # noqa: F811
):  # fmt: skip
    if record_format == "parquet":
        pytest.importorskip("pyarrow")
    save_photos(tmp_path / "in", 0)
    (tmp_path / "in" / "broken.png").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").write_text("")
    for out in ("in", "in/results"):
        more = ("--format", record_format, "--mesh", "glb", "--resume", *FOCAL)
        for _ in range(2):
            done = cli.predict(tmp_path / "in", "-o", tmp_path / out, *more)
            assert (
                "skipped 1 file in folders, neither photos nor videos by name: 1 .txt" in done.err
            )


def test_one_folder_by_two_paths_and_a_changed_photo_are_recorded_once(
    cli, tmp_path, monkeypatch  # noqa: F811
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    photos = save_photos(tmp_path / "in", 0, 1)
    out = ("-o", tmp_path / "out", *FOCAL)
    assert cli.predict("in", *out).code == 0
    again = cli.predict(tmp_path / "in", *out, "--resume")
    assert "2 inputs finished earlier" in again.err
    Image.open(photos[0]).save(photos[1])
    assert "(1 input finished earlier)" in cli.predict("in", *out, "--resume").err
    records = lines_of(tmp_path / "out" / "in.jsonl")
    assert [record["source"] for record in records] == ["in/0.png", "in/1.png"]
    assert len(records[1]["faces"]) == 1


@pytest.mark.parametrize("name", ["n" * 250, "名" * 83])
def test_the_longest_names_get_results(cli, tmp_path, name):  # noqa: F811
    (photo,) = save_photos(tmp_path / "in", 0)
    long = photo.rename(photo.with_name(f"{name}.png"))
    out = tmp_path / "out"
    for source in (long, tmp_path / "in"):
        done = cli.predict(source, "-o", out, "--draw", "--mesh", "ply", *FOCAL)
        assert done.code == 0, done.err
    assert len(names_in(out)) == 6
    assert fitting_stem("a/short.name") == os.path.join("a", "short.name")


def test_a_drawing_that_cannot_be_written_is_one_failed_input(cli, tmp_path):  # noqa: F811
    save_photos(tmp_path / "in", 0, 0, 1)
    out = tmp_path / "out"
    (out / "1.jpg").mkdir(parents=True)
    done = cli.predict(tmp_path / "in", "-o", out, "--draw", *FOCAL)
    assert done.code == 1
    *records, last = lines_of(out / "in.jsonl")
    assert [len(record.get("faces", ())) for record in records] == [1, 1, 0]
    assert "1.jpg" in records[2]["error"]
    assert len(last["faces"]) == 2
    assert (out / "2.jpg").is_file()
    assert not list(out.glob(".trg-*"))
    (out / "1.jpg").rmdir()
    assert cli.predict(tmp_path / "in", "-o", out, "--draw", *FOCAL, "--resume").code == 0
    assert (out / "1.jpg").is_file()
    assert len(lines_of(out / "in.jsonl")) == 3


def test_drawings_that_jpeg_cannot_hold_are_png(cli, tmp_path):  # noqa: F811
    wide = tmp_path / "wide.png"
    Image.new("L", (JPEG_MAX_SIDE + 100, 8), 0).save(wide)
    done = cli.predict(wide, "-o", tmp_path / "out", "--draw", "--focal", CAMERA.fx)
    assert done.code == 0, done.err
    with Image.open(tmp_path / "out" / "wide.png") as drawn:
        assert drawn.size == (JPEG_MAX_SIDE + 100, 8)


def test_a_full_disk_leaves_whole_drawings_and_can_be_resumed(cli, tmp_path):  # noqa: F811
    save_photos(tmp_path / "in", 0, 1, 2)
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--draw", *FOCAL)
    with full_after(8000):  # enough for records, too little for drawings
        assert cli.predict(*arguments).code == 1
    assert not list((tmp_path / "out").glob(".trg-*"))
    for count, drawings in ((1, (tmp_path / "out").glob("*.jpg")), (3, ())):
        if count == 3:
            assert cli.predict(*arguments, "--resume").code == 0
            drawings = (tmp_path / "out").glob("*.jpg")
        drawings = list(drawings)
        assert len(drawings) == count  # at first only the one without faces, which is small
        for path in drawings:
            with Image.open(path) as drawn:
                drawn.load()
    assert len(lines_of(tmp_path / "out" / "in.jsonl")) == 3
    assert not (tmp_path / "out" / "in.jsonl.failures.csv").exists()


@pytest.mark.parametrize("record_format", ["jsonl", "parquet"])
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM on Windows")
def test_sigterm_leaves_complete_files_that_can_be_resumed(cli, tmp_path, record_format):  # noqa: F811
    if record_format == "parquet":
        pytest.importorskip("pyarrow")
    save_photos(tmp_path / "in", *[2, 0] * 4)

    class Ending(OracleNetwork):
        def __call__(self, crops, boxes):
            if not self.calls:
                signal.raise_signal(signal.SIGTERM)
            return super().__call__(crops, boxes)

    calm, cli.network = cli.network, Ending(cli.network.scenes)
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--format", record_format)
    before = signal.getsignal(signal.SIGTERM)
    done = cli.predict(*arguments, "--batch-size", 2)
    assert done.code == 128 + signal.SIGTERM
    assert "continue with --resume" in done.err
    assert signal.getsignal(signal.SIGTERM) is before
    cli.network = calm
    done = cli.predict(*arguments, "--resume")
    assert done.code == 0
    assert "finished earlier)" in done.err


def test_the_summary_counts_and_the_failures_are_listed(cli, tmp_path):  # noqa: F811
    photos = save_photos(tmp_path / "in", 0, 2, 2, 1)
    photos[3].write_bytes(b"no photo")
    for name in ("a.txt", "b.TXT", "c.pdf", "README", ".hidden"):
        (tmp_path / "in" / name).write_text("")
    out = tmp_path / "out"
    done = cli.predict(tmp_path / "in", "-o", out, *FOCAL)
    assert done.code == 1
    assert "1 face in 3 photos, 2 without a face" in done.err
    assert "skipped 4 files in folders, neither photos nor videos by name: 2 .txt, " in done.err
    assert "1 .pdf" in done.err
    assert f"1 input failed, listed in {out / 'in.jsonl.failures.csv'}" in done.err
    with open(out / "in.jsonl.failures.csv", newline="") as file:
        (failure,) = csv.DictReader(file)
    assert failure["source"] == str(photos[3])
    assert "3.png" in failure["error"]
    save_photos(tmp_path / "in", 0, 2, 2, 1)
    assert cli.predict(tmp_path / "in", "-o", out, *FOCAL, "--resume").code == 0
    assert names_in(out) == ["in.jsonl", "in.jsonl.finished"]


@pytest.mark.parametrize(
    ("name", "more", "header"),
    [
        ("x.csv", (), "source,frame"),
        ("new/x.CSV", ("--format", "csv"), "source,frame"),
        ("x.openface.csv", (), "frame,face_id"),
        ("x.csv", ("--format", "openface"), "frame,face_id"),
        ("x.jsonl", (), '{"source"'),
        ("x.parquet", (), None),
    ],
)
def test_a_file_name_after_o_is_the_records(cli, tmp_path, name, more, header):  # noqa: F811
    if header is None:
        pytest.importorskip("pyarrow")
    (photo,) = save_photos(tmp_path / "in", 0)
    done = cli.predict(photo, "-o", tmp_path / name, *more, *FOCAL)
    assert done.code == 0, done.err
    if header is None:
        assert list((tmp_path / name).glob("part-*.parquet"))
    else:
        assert (tmp_path / name).read_text().startswith(header)
    assert cli.predict(photo, "-o", tmp_path / name, *more, *FOCAL).code == 2
    assert cli.predict(photo, "-o", tmp_path / name, *more, *FOCAL, "--resume").code == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("-o", "x.csv", "--draw"), "expected a folder for drawings"),
        (("-o", "x.csv", "--format", "jsonl"), "expected a name that ends in .jsonl"),
        (("-o", "x.jsonl", "--format", "openface"), "expected a name that ends in .openface.csv"),
        (("-o", "x", "--mesh-photo"), "expected --mesh glb"),
        (("-o", "x", "--format", "openface", "--frame", "ros"), "has axes of its own"),
        (("-o", "notes.txt"), "expected a folder for the results"),
    ],
)
def test_unsuitable_result_names_are_refused(cli, tmp_path, monkeypatch, more, message):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    save_photos(tmp_path / "in", 0)
    done = cli.predict("in", *more)
    assert done.code == 2
    assert message in done.err
    assert names_in(tmp_path) == ["in", "notes.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf8_are_valid_in_the_records(cli, tmp_path):  # noqa: F811
    (photo,) = save_photos(tmp_path / "in", 0)
    photo.rename(os.fsdecode(os.fsencode(tmp_path / "in") + b"/caf\xe9.png"))
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--draw", *FOCAL)
    assert cli.predict(*arguments).code == 0
    text = (tmp_path / "out" / "in.jsonl").read_bytes().decode("utf-8")
    assert json.loads(text)["source"].endswith(r"/caf\xe9.png")
    assert "1 input finished earlier" in cli.predict(*arguments, "--resume").err
