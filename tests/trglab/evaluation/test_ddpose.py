"""DD-Pose: the folder that its development kit documents, and its scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.constant_bundle import write_constant_bundle
from tests.support.dot_faces import TOPOLOGY
from tests.support.known_methods import Known
from trg.geometry.rotations import geodesic_angle_deg, rotation_from_euler
from trglab.cli.evaluate import evaluate as eval_verb
from trglab.cli.evaluate_options import MeasurementOptions
from trglab.datasets.catalogue import DatasetFolder
from trglab.datasets.check import check_data_set
from trglab.datasets.ddpose import DDPose
from trglab.evaluation import ddpose_scores
from trglab.evaluation.ddpose_scores import PUBLISHED, bmae_deg, ddpose_table, recall, subsets
from trglab.evaluation.prediction import LabelledImages, run_on_dataset
from trglab.evaluation.scores import score

FRONTAL = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
"""A head that looks into the camera, as the kit writes it."""

YAWS_DEG = (0.0, 20.0, 40.0, 70.0)
STATES = ("none", "partial-auto", "none-auto", "full")


def write_ddpose(folder: Path) -> Path:
    """Two drivers with four frames each; the second frame of the first has no pose."""
    for number in (3, 7):
        recording = folder / f"subject-{number:02d}" / "scenario-01" / "two-words"
        images = recording / "small-resolution" / "driver-left-img"
        images.mkdir(parents=True)
        stamps = [str(1000 + index) for index in (3, 0, 2, 1)]
        (recording / "stamps.txt").write_text("\n".join(stamps) + "\n")
        poses = {}
        for index, yaw in enumerate(YAWS_DEG):
            pose = np.eye(4)
            pose[:3, :3] = rotation_from_euler(np.array([yaw, 0.0, 0.0])) @ FRONTAL
            pose[:3, 3] = (0.1, -0.05, 0.7 + 0.01 * index)
            poses[str(1000 + index)] = pose.tolist()
            pixels = np.full((48, 64), 256 * (40 + index) + 99, np.uint16)
            Image.fromarray(pixels).save(images / f"{1000 + index}.png")
            camera = {
                "width": 64, "height": 48, "D": [0.0] * 5,
                "K": [[100.0, 0.0, 31.5], [0.0, 100.0, 23.5], [0.0, 0.0, 1.0]],
            }  # fmt: skip
            (images / f"{1000 + index}.json").write_text(json.dumps(camera))
        if number == 3:
            poses["1001"] = None
        (recording / "t-camdriver-head.json").write_text(json.dumps(poses))
        states = {str(1000 + index): state for index, state in enumerate(STATES)}
        (recording / "occlusion-labels.json").write_text(json.dumps(states))
    return folder


def test_frames_are_read_in_our_axes(tmp_path) -> None:
    frames = DDPose(write_ddpose(tmp_path))
    assert len(frames) == 7
    first = frames[0]
    np.testing.assert_allclose(first.rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(first.translation_m, (0.1, -0.05, 0.7))
    assert (first.identity, first.name) == ("03", "ddpose/subject-03/scenario-01/two-words/1000")
    assert first.image.shape == (48, 64, 3)
    assert (first.image == 40).all()
    assert (first.camera.cx, first.camera.cy) == (32.0, 24.0)
    turned = frames[1]  # 1001 has no pose
    expected = rotation_from_euler(np.array([40.0, 0.0, 0.0]))
    np.testing.assert_allclose(turned.rotation, expected, atol=1e-12)
    assert [frames.occlusion(index) for index in (0, 1, 2, 4)] == [
        "none",
        "none",
        "full",
        "partial",
    ]
    report = check_data_set(DatasetFolder("ddpose", str(tmp_path)))
    assert (report.readable, report.people, report.count("unreadable")) == (7, 2, 0)


def test_missing_and_damaged_files_are_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="those of the test set are not published"):
        DDPose(tmp_path)
    folder = write_ddpose(tmp_path / "data")
    images = folder / "subject-03" / "scenario-01" / "two-words" / "small-resolution"
    (images / "driver-left-img" / "1000.png").write_bytes(b"no image")
    (images / "driver-left-img" / "1002.json").write_text("{}")
    frames = DDPose(folder)
    with pytest.raises(ValueError, match=r"1000.png: this image of DD-Pose is damaged"):
        frames[0]
    with pytest.raises(ValueError, match=r"1002.json: expected a camera"):
        frames[1]
    stamps = folder / "subject-07" / "scenario-01" / "two-words" / "stamps.txt"
    stamps.write_text("1000 late")
    with pytest.raises(ValueError, match=r"stamps.txt: expected whole numbers, .*'late'"):
        DDPose(folder)


def scored(folder: Path, change=lambda estimate: estimate):
    frames = DDPose(folder)
    run = run_on_dataset(LabelledImages(frames, "ddpose"), Known(change))
    states = [frames.occlusion(index) for index in run.indices.tolist()]
    scores = score(run.predictions, run.ground_truth)
    return ddpose_table(scores, run.ground_truth.rotation, states)


def cells_of(table) -> dict[str, str]:
    row = next(row for row in table.rows if row.label == "measured here")
    return dict(zip(table.headings, row.cells, strict=True))


def test_the_truth_scores_zero_and_a_known_error_itself(tmp_path) -> None:
    folder = write_ddpose(tmp_path)
    exact = cells_of(scored(folder))
    for name in ("all", "easy", "moderate", "hard"):
        assert exact[f"BMAE ° {name}"] == "0.00"
        assert exact[f"MAE_t mm {name}"] == "0.0"
    assert exact["recall %"] == "140.0"  # the kit's: 7 found, 2 of them fully occluded

    def disturbed(estimate):
        turn = rotation_from_euler(np.array([0.0, 3.0, 0.0]))
        moved = estimate.translation_m + np.array([0.0, 0.0, 0.03])
        return estimate._replace(rotation=turn @ estimate.rotation, translation_m=moved)

    wrong = cells_of(scored(folder, disturbed))
    for name in ("all", "easy", "moderate", "hard"):
        assert wrong[f"BMAE ° {name}"] == "3.00"
        assert wrong[f"MAE_t mm {name}"] == "10.0"


def test_bins_count_alike_however_many_frames_they_have() -> None:
    angle = np.array([1.0, 2.0, 3.0, 41.0, 80.0])
    error = np.array([2.0, 2.0, 2.0, 10.0, 50.0])
    assert bmae_deg(error, angle) == pytest.approx(6.0)  # 80 degrees are beyond the last bin
    error[3] = np.nan
    assert bmae_deg(error, angle) == pytest.approx(2.0)


@pytest.mark.filterwarnings("error")
def test_people_without_a_known_error_are_not_drawn_alone() -> None:
    names = np.array(["a", "a", "b", "b"])
    error = np.array([1.0, 2.0, np.nan, np.nan])
    interval = ddpose_scores._with_interval(error, np.array([1.0, 2.0, 3.0, 4.0]), names)
    assert interval == (1.5, 1.5, 1.5)


def test_subsets_are_those_of_the_kit() -> None:
    cases = [
        (10.0, "none", "easy"), (10.0, "partial", "moderate"), (34.9, "none", "easy"),
        (35.1, "none", "moderate"), (59.0, "partial", "moderate"), (61.0, "none", "hard"),
        (10.0, "full", "hard"), (61.0, "partial", "hard"),
    ]  # fmt: skip
    rotation = np.stack([rotation_from_euler(np.array([angle, 0.0, 0.0])) for angle, _, _ in cases])
    np.testing.assert_allclose(
        geodesic_angle_deg(rotation, np.eye(3)), [angle for angle, _, _ in cases], atol=1e-6
    )
    found = subsets(rotation, [state for _, state, _ in cases])
    for row, (_, _, expected) in enumerate(cases):
        assert [name for name in ("easy", "moderate", "hard") if found[name][row]] == [expected]
    assert found["all"].all()
    assert recall(np.array([True, False]), ["none", "none"]) == 0.5


def test_published_rows_are_those_of_trgv2s_paper() -> None:
    assert PUBLISHED["TRGv2"] == ((4.8, 3.4, 5.3, 8.8), (18.3, 16.1, 21.8, 22.1), 99.0)
    assert PUBLISHED["img2pose"][1] is None


def test_eval_prints_and_writes_ddposes_scores(tmp_path, capsys) -> None:
    folder = write_ddpose(tmp_path / "data")
    write_constant_bundle(tmp_path / "ours.trg", TOPOLOGY, (0.0, 0.0, 0.7))
    options = MeasurementOptions(tmp_path / "ours.trg", boxes="truth")
    eval_verb("ddpose", folder, options=options, out=tmp_path / "out", plots=False)
    printed = capsys.readouterr().out
    assert "DD-Pose's scores" in printed
    assert "TRGv2 (test set)" in printed
    assert (tmp_path / "out" / "ddpose.csv").read_text().startswith(",BMAE ° all")
