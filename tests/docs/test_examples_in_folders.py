"""Larger programs in ``examples/``: glasses, tables per participant, data sets, fine-tuning."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.support.examples import (
    EXAMPLES,
    needs_weights,
    run_example,
    selftest_photo,
    write_frames,
)
from tests.support.faces import make_face, random_faces
from trg.app.selftest import SELFTEST_FOLDER, TRUTH_NAME
from trg.geometry.axes import HEAD_AXES
from trg.geometry.camera import Camera
from trg.geometry.rotations import rotation_from_euler
from trg.inference.bundle import read_bundle
from trg.io.records.frame_record import FrameFaces, frame_record

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not installed")

MEAN_POSE = EXAMPLES / "mean_pose_per_participant"


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@needs_weights
def test_glasses_are_before_the_eyes_and_on_the_picture(tmp_path):
    truth = json.loads((SELFTEST_FOLDER / TRUTH_NAME).read_text())
    (tmp_path / "camera.json").write_text(json.dumps(truth["camera"]))
    Image.fromarray(selftest_photo()).save(tmp_path / "photo.png")
    options = ("photo.png", "-o", "scene", "--camera", "camera.json")
    run_example("ar_glasses/glasses.py", *options, folder=tmp_path)
    scene = json.loads((tmp_path / "scene" / "scene.json").read_text())
    camera = Camera(**{**scene["camera"], "distortion": tuple(scene["camera"]["distortion"])})
    [head] = scene["heads"]
    pose = np.array(head["pose"])
    parts = {part["name"]: np.array(part["vertices"]) for part in head["glasses"]}
    eyes_px = np.array(truth["landmarks68_px"])[36:48].reshape(2, 6, 2).mean(1)
    between_px = np.linalg.norm(eyes_px[0] - eyes_px[1])
    for side, eye_px in zip(("right", "left"), eyes_px, strict=True):
        in_camera_m = parts[f"lens {side}"] @ pose[:3, :3].T + pose[:3, 3]  # OpenGL's axes
        lens_px = camera.project(in_camera_m * (1, -1, -1))
        assert np.linalg.norm(lens_px.mean(0) - eye_px) < 0.12 * between_px
        assert (lens_px.min(0) < eye_px).all()
        assert (eye_px < lens_px.max(0)).all()
    overlay = np.asarray(Image.open(tmp_path / "scene" / "overlay.png")).astype(int)
    changed = np.abs(overlay - selftest_photo()).max(2) > 20
    rows, columns = np.nonzero(changed)
    middle_px = eyes_px.mean(0)
    assert np.hypot(columns.mean() - middle_px[0], rows.mean() - middle_px[1]) < 0.2 * between_px
    assert 1.5 * between_px < np.ptp(columns) < 3.5 * between_px


def test_the_page_of_the_glasses_loads_nothing_from_elsewhere():
    page = EXAMPLES / "ar_glasses"
    text = (page / "index.html").read_text() + (page / "viewer.js").read_text()
    assert "default-src 'self'" in text
    assert re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}", text) == []


def test_blender_sees_a_head_at_its_pixels():
    """By Blender's own formulas: it is not needed."""
    names = runpy.run_path(str(EXAMPLES / "ar_glasses" / "blender_glasses.py"))
    camera = Camera(700.0, 680.0, 300.0, 260.0, 640, 480)
    for face in random_faces(np.random.default_rng(0), 5, camera=camera):
        record = frame_record(FrameFaces("a.jpg", camera, [face]))
        pose = np.array(names["blender_pose"](record["faces"][0], "opencv"))
        np.testing.assert_allclose(pose, face.to_frame("blender"), atol=1e-6)
        in_opengl = face.landmarks_m @ HEAD_AXES["opengl"].T
        points_m = np.array(names["blender_vertices"](in_opengl.tolist()))
        np.testing.assert_allclose(points_m, face.landmarks_m @ HEAD_AXES["blender"].T)
        x, y, z = (points_m @ pose[:3, :3].T + pose[:3, 3]).T
        lens = names["blender_lens"]({**record["camera"], "size": record["size"]}, 640)
        # A sensor of 36 mm is as wide as the picture; shifts are in its widths, y up; a pixel is
        # fx / fy as high as wide (the script's pixel aspects).
        column = (lens["lens"] / 36.0 * x / -z - lens["shift_x"] + 0.5) * 640.0
        aspect = record["camera"]["fx"] / record["camera"]["fy"]
        above = (lens["lens"] / 36.0 * y / -z - lens["shift_y"]) * 640.0 / aspect
        found_px = np.stack([column, 240.0 - above], 1)
        np.testing.assert_allclose(found_px, face.landmarks_px, atol=0.01)


def participants(folder):
    """Write records of two people, one of whom looks around a yaw of 180 degrees."""
    rng = np.random.default_rng(0)
    means_deg = {"anna": (20.0, -10.0, 4.0), "ben": (179.0, 5.0, 0.0)}
    for name, mean_deg in means_deg.items():
        turns = rng.normal(0.0, (4.0, 2.0, 2.0), (80, 3))
        turns = np.concatenate([turns, -turns])  # the mean is exact up to second order
        frames = []
        for number, turn in enumerate(rng.permutation(turns)):
            rotation = rotation_from_euler(np.array(mean_deg)) @ rotation_from_euler(turn)
            face = make_face(translation_m=(0.0, 0.0, 0.7), rotation=rotation, id=0)
            far = make_face(translation_m=(0.3, 0.0, 2.0), id=1)
            frames += [[far, face]] if number % 8 else [[far, face], []]  # a ninth is missing
        write_frames(folder / f"{name}.csv", frames, 2.0, "csv", f"{name}.mp4")
    return means_deg


def test_the_mean_pose_per_participant_is_that_of_rotations(tmp_path):
    pytest.importorskip("pandas")
    means_deg = participants(tmp_path)
    run_example(MEAN_POSE / "mean_pose.py", "anna.csv", "ben.csv", folder=tmp_path)
    rows = {row["participant"]: row for row in read_csv(tmp_path / "participants.csv")}
    assert set(rows) == set(means_deg)
    for name, mean_deg in means_deg.items():
        row = rows[name]
        assert (row["frames"], row["blocks"]) == ("160", "9")
        assert float(row["missing_share"]) == pytest.approx(1 / 9, abs=1e-3)
        found_deg = np.array([float(row[f"{each}_deg"]) for each in ("yaw", "pitch", "roll")])
        away_deg = (found_deg - mean_deg + 180.0) % 360.0 - 180.0
        np.testing.assert_allclose(away_deg, 0.0, atol=0.2)
        assert float(row["spread_deg"]) == pytest.approx(np.sqrt(24.0), rel=0.1)
        # t(8, 0.975) = 2.306, of blocks of about 18 frames that are independent here
        expected_deg = 2.306 * 4.0 / np.sqrt(18) / np.sqrt(9)
        assert 0.4 * expected_deg < float(row["yaw_ci_deg"]) < 1.7 * expected_deg
        assert float(row["distance_m"]) == pytest.approx(0.7, abs=1e-3)


def test_the_mean_pose_leaves_failed_inputs_out_and_keeps_videos_of_one_name_apart(tmp_path):
    pytest.importorskip("pandas")
    faces = [[make_face(translation_m=(0.0, 0.0, 0.7), id=0)]] * 4
    for name in ("anna", "ben"):
        write_frames(tmp_path / f"{name}.csv", faces, 2.0, "csv", f"{name}/visit.mp4")
    (tmp_path / "out.csv.failures.csv").write_text("source,error\ncarl/visit.mp4,cut off\n")
    records = ["anna.csv", "ben.csv", "out.csv.failures.csv"]
    run_example(MEAN_POSE / "mean_pose.py", *records, folder=tmp_path)
    rows = read_csv(tmp_path / "participants.csv")
    assert [row["participant"] for row in rows] == ["anna/visit.mp4", "ben/visit.mp4"]
    assert [row["frames"] for row in rows] == ["4", "4"]


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_the_r_script_writes_the_table_of_the_pandas_script(tmp_path):
    pytest.importorskip("pandas")
    participants(tmp_path)
    run_example(MEAN_POSE / "mean_pose.py", "anna.csv", "ben.csv", folder=tmp_path)
    script = str(MEAN_POSE / "mean_pose.R")
    subprocess.run(
        ["Rscript", script, "r.csv", "anna.csv", "ben.csv"], cwd=tmp_path, check=True, timeout=300
    )
    for theirs, ours in zip(
        read_csv(tmp_path / "r.csv"), read_csv(tmp_path / "participants.csv"), strict=True
    ):
        assert theirs.pop("participant") == ours.pop("participant")
        numbers = {name: float(value) for name, value in ours.items()}
        assert {name: float(value) for name, value in theirs.items()} == pytest.approx(
            numbers, abs=2e-4
        )


@needs_weights
@pytest.mark.slow
def test_a_data_set_is_labelled_and_its_least_sure_faces_are_shown(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    photo = selftest_photo()
    Image.fromarray(photo).save(photos / "good.jpg", quality=95)
    Image.fromarray(np.zeros_like(photo)).save(photos / "empty.jpg")
    (photos / "broken.jpg").write_text("no picture")
    done = run_example("label_dataset.py", photos, "labels", folder=tmp_path)
    assert "3 pictures: 1 failed; 1 faces, 1 of them kept" in done.stdout
    [error] = read_csv(tmp_path / "labels.errors.csv")
    assert error["source"] == "broken.jpg"
    from pyarrow import parquet

    [kept] = parquet.read_table(tmp_path / "labels.kept.parquet").to_pylist()
    truth = json.loads((SELFTEST_FOLDER / TRUTH_NAME).read_text())
    off_px = np.reshape(kept["landmarks68_px"], (68, 2)) - truth["landmarks68_px"]
    side_px = kept["box_xyxy_px"][2] - kept["box_xyxy_px"][0]
    assert np.linalg.norm(off_px, axis=1).mean() < 0.06 * side_px
    with Image.open(tmp_path / "labels.worst.jpg") as sheet:
        assert sheet.size == (1200, 200)
    again = run_example(
        *("label_dataset.py", photos, "labels", "--min-confidence", "1"), folder=tmp_path
    )
    assert "1 faces, 0 of them kept" in again.stdout


@pytest.mark.slow
def test_a_network_is_fine_tuned_and_compared_on_the_camera(tmp_path):
    """On the built-in head, whose mesh is not that of the bundles: new weights start it."""
    torch = pytest.importorskip("torch")
    from trg.network.config import trg_s
    from trg.network.export import export_bundle
    from trg.network.trg import TRGNetwork
    from trglab.synth.dataset import SyntheticFaces

    network = TRGNetwork(trg_s(), SyntheticFaces(0).topology).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # the exporter merges equal ones
            parameter += 0.02 * torch.randn(parameter.shape)
    export_bundle(network, tmp_path / "start.trg", "start")
    camera = Camera(180.0, 180.0, 80.0, 60.0, 160, 120)
    (tmp_path / "camera.json").write_text(json.dumps(camera.to_dict()))
    sizes = ("--start", "start.trg", "--faces", "24", "--steps", "2", "--workers", "0")
    options = ("batch_size=4", "checkpoint_every=2", "validate_every=2")
    arguments = ("finetune_camera.py", "camera.json", "tuned", *sizes, *options)
    done = run_example(*arguments, folder=tmp_path)
    rows = re.findall(r"^(\w+).*? ([\d.]+) -> +([\d.]+)", done.stdout, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["rotation", "distance", "landmarks"]
    assert all(before != after for _, before, after in rows)
    assert read_bundle(tmp_path / "tuned" / "tuned.trg").card.name == "tuned"
