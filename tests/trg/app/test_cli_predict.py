"""``trg predict`` on photos: records, errors, resuming, Ctrl-C, cameras, boxes, files."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from tests.support.child_process import start_python
from tests.support.cli_predict_runs import (
    ALONE,
    CAMERA,
    FOCAL,
    PAIR,
    PredictCli,
    assert_is,
    cli,  # noqa: F401  (a fixture)
    lines_of,
    save_photos,
)
from tests.support.clips import write_clip
from tests.support.oracle_network import OracleNetwork, UnsureOfSize
from trg.app.outputs import output_stems
from trg.estimator import CANDIDATE_THRESHOLD, FALLBACK_THRESHOLD
from trg.geometry.camera import Camera
from trg.io.boxes import boxes_for, read_boxes
from trg.io.inputs import find_inputs

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked")


def test_flip_tta_is_passed_to_the_estimator(cli, tmp_path):  # noqa: F811
    (photo,) = save_photos(tmp_path, 0)
    assert cli.predict(photo, *FOCAL).code == cli.predict(photo, *FOCAL, "--flip-tta").code == 0
    assert cli.flip == [False, True]


def test_records_go_to_stdout_and_messages_to_stderr(cli, tmp_path):  # noqa: F811
    photos = save_photos(tmp_path, 0, 1, 2)
    done = cli.predict(*photos, *FOCAL)
    assert done.code == 0
    alone, pair, empty = done.records
    assert alone["source"] == str(photos[0])
    assert alone["frame"] is None
    assert alone["time_s"] is None
    assert alone["size"] == [640, 480]
    assert alone["camera"]["source"] == "given"
    assert alone["camera"]["fx"] == pytest.approx(CAMERA.fx, abs=1e-4)
    assert_is(alone["faces"][0], ALONE)
    for face, head in zip(pair["faces"], PAIR, strict=True):
        assert_is(face, head)
    assert empty["faces"] == []
    assert "3 faces in 3 photos" in done.err
    assert "landmarks_m" not in alone["faces"][0]
    dense = cli.predict(photos[0], *FOCAL, "--landmarks").records[0]["faces"][0]
    assert np.shape(dense["landmarks_m"]) == (1220, 3)
    assert len(cli.predict(photos[1], "--max-faces", 1).records[0]["faces"]) == 1


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_bad_files_are_reported_in_order_and_the_others_processed(cli, tmp_path, batch_size):  # noqa: F811
    photos = save_photos(tmp_path, 0, 0, 1, 0, 0)
    for bad in (0, 3, 4):
        photos[bad].write_bytes(photos[bad].read_bytes()[:60])
    done = cli.predict(tmp_path, "--batch-size", batch_size, *FOCAL)
    assert done.code == 1
    assert [record["source"] for record in done.records] == [str(photo) for photo in photos]
    assert ["error" in record for record in done.records] == [True, False, False, True, True]
    assert set(done.records[0]) == {"source", "error"}
    assert done.err.count("error:") == 3
    assert "3 inputs failed" in done.err


def test_results_in_a_folder(cli, tmp_path):  # noqa: F811
    save_photos(tmp_path / "in" / "deep", 0, 1, 2)
    out = tmp_path / "new" / "out"
    done = cli.predict(tmp_path / "in", "-o", out, "--draw", "--mesh", "glb")
    assert done.code == 0
    assert done.out == ""
    assert str(out) in done.err
    assert len(lines_of(out / "in.jsonl")) == 3
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert written == [
        *("deep/0.glb", "deep/0.jpg", "deep/1.glb", "deep/1.jpg", "deep/2.jpg"),
        *("in.jsonl", "in.jsonl.finished"),
    ]
    assert len(trimesh.load(out / "deep/1.glb").geometry) == 2
    before, after = (
        np.asarray(Image.open(path).convert("RGB"), float)
        for path in (tmp_path / "in/deep/0.png", out / "deep/0.jpg")
    )
    changed = np.abs(before - after).max(-1) > 40
    x0, y0, x1, y1 = lines_of(out / "in.jsonl")[0]["faces"][0]["box_xyxy"]
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 2000
    assert x0 - 10 < columns.min() < columns.max() < x1 + 10
    assert y0 - 60 < rows.min() < rows.max() < y1 + 10


@pytest.mark.parametrize(
    ("record_format", "name"),
    [("csv", "0.csv"), ("openface", "0.openface.csv"), ("parquet", "0.parquet")],
)
def test_other_formats(cli, tmp_path, record_format, name):  # noqa: F811
    if record_format == "parquet":
        pytest.importorskip("pyarrow")
    (photo,) = save_photos(tmp_path / "in", 0)
    assert cli.predict(photo, "-o", tmp_path, "--format", record_format).code == 0
    assert (tmp_path / name).exists()
    if record_format != "parquet":
        shown = cli.predict(photo, "--format", record_format).out
        assert (tmp_path / name).read_text() == shown


def test_resume_skips_finished_inputs_and_retries_failed_ones(cli, tmp_path):  # noqa: F811
    photos = save_photos(tmp_path / "in", 0, 1, 0)
    whole = photos[1].read_bytes()
    photos[1].write_bytes(whole[:50])
    out = tmp_path / "out"
    arguments = (tmp_path / "in", "-o", out, *FOCAL)
    assert cli.predict(*arguments).code == 1
    photos[1].write_bytes(whole)
    calls = len(cli.network.calls)
    done = cli.predict(*arguments, "--resume")
    assert done.code == 0
    assert "2 faces in 1 photo (2 inputs finished earlier)" in done.err
    assert sum(cli.network.calls[calls:]) == 2
    good = [record for record in lines_of(out / "in.jsonl") if "faces" in record]
    assert sorted(record["source"] for record in good) == [str(photo) for photo in photos]
    again = cli.predict(*arguments, "--resume", "--landmarks")
    assert again.code == 2
    assert "resum" in again.err


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_leaves_complete_files_that_can_be_resumed(cli, tmp_path, presses):  # noqa: F811
    save_photos(tmp_path / "in", *[0, 1] * 4)
    arguments = (tmp_path / "in", *FOCAL, "--batch-size", 2, "--draw", "-o")
    expected = tmp_path / "expected"
    assert cli.predict(*arguments, expected).code == 0

    class Pressing(OracleNetwork):
        def __call__(self, crops, boxes):
            if len(self.calls) == 1:
                for _ in range(presses):
                    signal.raise_signal(signal.SIGINT)
            return super().__call__(crops, boxes)

    calm, cli.network = cli.network, Pressing(cli.network.scenes)
    out = tmp_path / "out"
    before = signal.getsignal(signal.SIGINT)
    done = cli.predict(*arguments, out)
    assert done.code == 130
    assert signal.getsignal(signal.SIGINT) is before
    some = lines_of(out / "in.jsonl")
    assert 0 < len(some) < 8
    assert not list(out.rglob("*.partial"))
    assert len(list(out.glob("*.jpg"))) == len(some)
    assert "--resume" in done.err
    cli.network = calm
    assert cli.predict(*arguments, out, "--resume").code == 0
    assert (out / "in.jsonl").read_bytes() == (expected / "in.jsonl").read_bytes()
    assert len(list(out.glob("*.jpg"))) == 8


def test_an_assumed_camera_is_explained_once(cli, tmp_path):  # noqa: F811
    photos = save_photos(tmp_path, 2, 0, 1)
    done = cli.predict(*photos)
    assert done.err.count("camera:") == 1
    assert "60 degrees" in done.err
    face = done.records[1]["faces"][0]
    distance_m = np.linalg.norm(face["translation_m"])
    for fov_deg in (50, 70):
        scale = np.tan(np.radians(30)) / np.tan(np.radians(fov_deg / 2))
        assert f"at {distance_m * scale:.2f} m if" in done.err
    assert done.records[0]["camera"]["source"] == "assumed"
    assert "camera:" not in cli.predict(*photos, *FOCAL).err


def test_cameras_from_options(cli, tmp_path):  # noqa: F811
    (photo,) = save_photos(tmp_path, 0)
    file = tmp_path / "camera.json"
    file.write_text(json.dumps(CAMERA.resize(1280, 960).to_dict()))
    recorded = cli.predict(photo, "--camera", file).records[0]["camera"]
    assert recorded["fx"] == pytest.approx(CAMERA.fx, abs=1e-3)
    for axis in ("horizontal", "vertical", "diagonal"):
        seen = cli.predict(photo, "--fov", 50, "--fov-axis", axis).records[0]["camera"]
        assert seen["fx"] == pytest.approx(Camera.from_fov(50, 640, 480, axis).fx, abs=1e-3)
        assert seen["source"] == "fov"
    file.write_text(json.dumps(CAMERA.resize(480, 480).to_dict()))
    other_shape = cli.predict(photo, "--camera", file)
    assert other_shape.code == 1
    assert "480x480" in other_shape.records[0]["error"]


def test_smallest_face_is_passed_to_the_detector(cli, monkeypatch, tmp_path):  # noqa: F811
    asked = []

    def detector(**options):
        asked.append(options)
        return cli.detector

    monkeypatch.setattr("trg.inference.detector.FaceDetector", detector)
    (photo,) = save_photos(tmp_path, 0)
    assert len(cli.predict(photo, *FOCAL, "--smallest-face", 40).records[0]["faces"]) == 1
    thresholds = {"threshold": CANDIDATE_THRESHOLD, "fallback_threshold": FALLBACK_THRESHOLD}
    assert asked == [{"threads": 1, **thresholds, "smallest_face_px": 40}]


def test_boxes_replace_the_detector(cli, tmp_path):  # noqa: F811
    photos = save_photos(tmp_path / "in", 1, 1, 1)
    box = PAIR[1].box_px(CAMERA).tolist()
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"0.png": [box], str(photos[1]): []}))
    done = cli.predict(tmp_path / "in", "--boxes", file, *FOCAL)
    assert done.code == 1
    assert_is(done.records[0]["faces"][0], PAIR[1])
    assert len(done.records[0]["faces"]) == 1
    assert done.records[1]["faces"] == []
    assert "file of boxes" in done.records[2]["error"]
    assert cli.detector.calls == 0
    table = tmp_path / "boxes.csv"
    rows = [f"0.png,{','.join(map(str, box))}", f"{photos[1]},,,,"]
    table.write_text("\n".join(["source,x0,y0,x1,y1", *rows]))
    for name in ("0.png", str(photos[1])):
        expected = boxes_for(read_boxes(file), name)
        np.testing.assert_array_equal(boxes_for(read_boxes(table), name), expected)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.json", "{", "damaged"),
        ("b.json", "[1]", "expected an object"),
        ("b.json", '{"a": [[1, 2, 3]]}', "shape"),
        ("b.json", '{"a": [[5, 2, 3, 9]]}', "x0 < x1"),
        ("b.csv", "a,b\n1,2", "source,x0,y0,x1,y1"),
        ("b.csv", "source,x0,y0,x1,y1\na,1,2,x,4", "numbers"),
        ("b.csv", "source,x0,y0,x1,y1\na,1,2", "numbers"),
    ],
)
def test_bad_box_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_boxes(tmp_path / name)


def test_a_known_eye_distance_sets_the_scale(cli, tmp_path):  # noqa: F811
    (photo,) = save_photos(tmp_path, 0)
    plain = cli.predict(photo, *FOCAL).records[0]["faces"][0]
    known = cli.predict(photo, *FOCAL, "--ipd", 60).records[0]["faces"][0]
    assert known["interpupillary_m"] == pytest.approx(0.060, abs=1e-6)
    scale = 0.060 / plain["interpupillary_m"]
    np.testing.assert_allclose(
        known["translation_m"], np.multiply(plain["translation_m"], scale), atol=1e-4
    )
    assert known["landmarks68_px"] == plain["landmarks68_px"]


def test_photos_of_the_same_person_get_one_size_also_on_resume(cli, tmp_path):  # noqa: F811
    photos = save_photos(tmp_path / "in", 0, 0, 0)
    damaged = photos[1].read_bytes()
    photos[1].write_bytes(damaged[:60])
    out = tmp_path / "out"
    arguments = (tmp_path / "in", "-o", out, *FOCAL, "--same-person", "--batch-size", 1)
    cli.network = UnsureOfSize([[ALONE]])
    assert cli.predict(*arguments).code == 1
    first, _, third = lines_of(out / "in.jsonl")
    sizes = {record["faces"][0]["interpupillary_m"] for record in (first, third)}
    assert len(sizes) == 1
    assert first["faces"][0]["size_std"] == third["faces"][0]["size_std"] > 0
    done = cli.predict("-", "--same-person")
    assert done.code == 2
    assert "expected files, which can be read twice, got" in done.err
    done = cli.predict(write_clip(tmp_path / "clip.mp4"), "--same-person")
    assert "expected a photo among the inputs" in done.err


def test_people_have_their_own_eye_distances(cli, tmp_path):  # noqa: F811
    photos = save_photos(tmp_path, 0, 1)
    people = tmp_path / "people.csv"
    people.write_text(f"source,ipd_mm\n{photos[0].name},60\n")
    done = cli.predict(*photos, *FOCAL, "--ipd", people)
    (first,), (second, _) = (record["faces"] for record in done.records)
    assert first["interpupillary_m"] == pytest.approx(0.060, abs=1e-6)
    assert second["interpupillary_m"] != pytest.approx(0.060, abs=1e-4)
    assert photos[1].name in done.err.replace("\n", "")


def test_a_fisheye_camera_and_one_that_folds_over(cli, tmp_path):  # noqa: F811
    (photo,) = save_photos(tmp_path, 0)
    width, height = Image.open(photo).size
    numbers = {"fx": 600.0, "fy": 600.0, "cx": width / 2, "cy": height / 2}
    camera = {**numbers, "width": width, "height": height}
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({**camera, "lens_model": "fisheye", "distortion": [0.0] * 4}))
    done = cli.predict(photo, "--camera", path, "-o", tmp_path / "out", "--draw")
    record = json.loads((tmp_path / "out" / f"{photo.stem}.jsonl").read_text())
    assert record["camera"]["lens_model"] == "fisheye"
    assert record["faces"][0].keys() >= {"euler_deg", "euler_sight_deg"}
    assert (tmp_path / "out" / f"{photo.stem}.jpg").exists()
    path.write_text(json.dumps({**camera, "distortion": [-2.0, 0.0, 0.0, 0.0, 0.0]}))
    done = cli.predict(photo, "--camera", path)
    assert "lens model folds over 22 degrees" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected photos"),
        (["{in}/nothing.jpg"], "nothing.jpg"),
        (["{in}", "--focal", "500", "--fov", "60"], "one of --focal"),
        (["{in}", "--focal", "-1"], "above 0"),
        (["{in}", "--fov", "190"], "degrees"),
        (["{in}", "--fov-axis", "vertical"], "expected --fov DEGREES beside --fov-axis vertical"),
        (["{in}", "--camera", "{in}/none.yaml"], "none.yaml"),
        (["{in}", "--draw"], "-o DIR"),
        (["{in}", "--mesh", "ply"], "-o DIR"),
        (["{in}", "--resume"], "needs a file"),
        (["{in}", "--format", "parquet"], "needs a file"),
        (["{in}", "--format", "csv", "--landmarks"], "cannot hold"),
        (["{in}", "--ipd", "0.064"], "30 to 90 mm"),
        (["{in}", "--boxes", "{in}/none.json"], "none.json"),
        (["{jpg}", "-o", "{jpgs}", "--draw"], "would be overwritten"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(cli, tmp_path, arguments, message):  # noqa: F811
    places = {"in": tmp_path / "in", "jpgs": tmp_path / "jpgs", "jpg": tmp_path / "jpgs" / "a.jpg"}
    (photo,) = save_photos(places["in"], 0)
    places["jpgs"].mkdir()
    Image.open(photo).save(places["jpg"])
    original = places["jpg"].read_bytes()
    done = cli.predict(*(each.format(**places) for each in arguments))
    assert done.code == 2
    assert message in done.err.replace("\n", " ")
    assert done.out == ""
    assert places["jpg"].read_bytes() == original
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_result_names_do_not_collide(tmp_path):
    for name in ("a/x.png", "a/x.jpg", "a/sub/x.png", "b/x.png", "c.png", "a/out/x.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    arguments = [str(tmp_path / "a"), str(tmp_path / "b/x.png"), str(tmp_path / "c.png")]
    stems = output_stems(find_inputs(arguments), arguments, tmp_path / "a" / "out")
    found = {Path(name).relative_to(tmp_path).as_posix(): stem for name, stem in stems.items()}
    assert found == {
        "a/sub/x.png": "sub/x".replace("/", os.sep),
        "a/x.jpg": "x",
        "a/x.png": "x_png",
        "b/x.png": "x_2",
        "c.png": "c",
    }
    assert "a/out/x.jpg" not in found, "an earlier run's result"
    same = output_stems(find_inputs(arguments[2:]), arguments[2:], tmp_path)
    assert list(same.values()) == ["c"], "results may lie beside what was named"


def test_a_closed_pipe_ends_the_run_quietly(tmp_path):
    """As in ``trg predict ... | head -1``: no message on stderr."""
    save_photos(tmp_path, *[1] * 40)
    code = (
        "import sys, pytest\n"
        "from tests.support.cli_predict_runs import PredictCli\n"
        "from trg.app.cli import main\n"
        "with pytest.MonkeyPatch.context() as patch:\n"
        "    PredictCli(None, patch)\n"
        "    sys.argv = ['trg', 'predict', *sys.argv[1:]]\n"
        "    main()\n"
    )
    run = start_python(code, tmp_path, "--focal", 500, "--batch-size", 1)
    run.stdout.readline()
    run.stdout.close()
    assert run.wait(60) == 141
    assert run.stderr.read() == b""


@pytest.mark.slow
def test_memory_is_constant_over_ten_thousand_photos(capsys, monkeypatch, tmp_path):
    small = CAMERA.resize(160, 120)
    cli = PredictCli(capsys, monkeypatch, camera=small)  # noqa: F811
    first = tmp_path / "in" / "0.png"
    first.parent.mkdir()
    noise = np.random.default_rng(0).integers(0, 2, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(first)
    for number in range(1, 10_000):
        os.link(first, first.with_name(f"{number}.png"))
    peaks_mb = []
    for place, scope in (("warm", "[0-9]*[02468]0.png"), ("all", "*.png")):
        arguments = (first.parent / scope, "-o", tmp_path / place, "--focal", small.fx)
        assert cli.predict(*arguments).code == 0
        peaks_mb.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    assert len(lines_of(tmp_path / "all" / "faces.jsonl")) == 10_000
    assert peaks_mb[1] - peaks_mb[0] < 30, peaks_mb


def test_blend_shapes_need_the_bundled_mesh(cli, tmp_path):  # noqa: F811
    (photo,) = save_photos(tmp_path, 0)
    done = cli.predict(photo, "--blendshapes")  # the oracle's mesh is an ellipsoid
    assert done.code == 2
    assert "expected the landmark mesh of the bundled models" in done.err
