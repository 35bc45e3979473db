"""From samples to folders in each data set's exact format, to readers, predictions and tables."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.known_methods import YAW_DEG, Z_MM, Known, disturbed
from tests.support.made_samples import TOPOLOGY, as_fitted, make_samples
from trg.geometry.camera import Camera
from trg.geometry.rotations import rotation_from_euler
from trglab.evaluation.evaluate import PREDICTIONS_FILE, evaluate, score_file
from trglab.evaluation.protocols import open_data_set, protocol
from trglab.evaluation.report import write_report
from trglab.export.dataset_writer import write_dataset

SMALL_CAMERA = Camera(350.0, 345.0, 165.5, 114.25, 320, 240)
METRIC = ("arkitface", "biwi")
LAYOUTS = (*METRIC, "aflw2000", "300wlp")


def drawn_index(layout: str, name: str) -> int:
    """Which of the made samples an image is; two share a person."""
    numbers = [int(number) for number in re.findall(r"\d+", name)]
    if layout == "biwi":
        sequence, frame = numbers
        return 2 * (sequence - 1) + frame
    if layout == "aflw2000":
        return numbers[-1] - 1  # its names count from 1
    return numbers[-1]


def write_made(folder: Path, layout: str, count: int):
    samples = make_samples(count, SMALL_CAMERA)
    write_dataset(samples, folder, layout, topology=TOPOLOGY, split="test")
    return samples, protocol(layout)


def test_the_title_names_a_synthetic_stand_in(tmp_path: Path) -> None:
    write_made(tmp_path / "data", "biwi", 2)
    rules, images = open_data_set("biwi", tmp_path / "data")
    assert rules.title == "Synthetic stand-in for BIWI"
    assert {row.source[-23:] for row in rules.published} == {" (on the real data set)"}
    assert len(images.samples) == 2
    inner = open_data_set("biwi", tmp_path / "data" / "hpdb")[0]
    assert inner.title == "Synthetic stand-in for BIWI"
    for mark in (tmp_path / "data").glob("trg_*"):
        mark.unlink()
    assert open_data_set("biwi", tmp_path / "data")[0].title == "BIWI"
    with pytest.raises(ValueError, match="data set: expected one of"):
        open_data_set("aflw", tmp_path)


def add_by_loop(points_m, rotation, disturbed_rotation) -> float:
    """Eq. 8 in millimetres, one vertex after the other."""
    total = 0.0
    for point in np.float64(points_m):
        moved = disturbed_rotation @ point - rotation @ point + (0.0, 0.0, Z_MM / 1000.0)
        total += float(np.sqrt(moved @ moved))
    return 1000.0 * total / len(points_m)


def check(layout: str, folder: Path, out: Path, count: int) -> None:
    """What was drawn has no error; what was disturbed by a known amount has exactly that."""
    made, rules = write_made(folder, layout, count)

    def label(sample):
        drawn = made[drawn_index(layout, sample.name)]
        return drawn if layout in METRIC else as_fitted(drawn)

    report, _, _ = evaluate(rules, rules.read(folder), Known(label=label), out / "exact")
    assert set(rules.columns) <= set(report.scores.errors)
    assert len(report.scores) == count
    for errors in (report.scores.errors, report.scores.aligned_errors):
        for name, values in errors.items():
            assert np.abs(values).max() < 1e-3, name  # mm and degrees

    report, _, _ = evaluate(rules, rules.read(folder), Known(disturbed, label), out / "disturbed")
    plain = report.scores.errors
    for name, size in {"yaw_deg": YAW_DEG, "mae_r_deg": YAW_DEG / 3, "ge_deg": YAW_DEG}.items():
        np.testing.assert_allclose(plain[name], size, atol=1e-3, err_msg=name)
    for name in ("pitch_deg", "roll_deg"):
        np.testing.assert_allclose(plain[name], 0.0, atol=1e-3, err_msg=name)
    # All heads are turned alike about their own y: a constant of the head frame.
    np.testing.assert_allclose(report.scores.aligned_errors["ge_deg"], 0.0, atol=1e-3)
    if layout in METRIC:
        check_metric(layout, made, report)


def check_metric(layout: str, made, report) -> None:
    plain = report.scores.errors
    for name, size in {"tx_mm": 0.0, "ty_mm": 0.0, "tz_mm": Z_MM, "mae_t_mm": Z_MM / 3}.items():
        np.testing.assert_allclose(plain[name], size, atol=1e-3, err_msg=name)
    turn = rotation_from_euler(np.array([YAW_DEG, 0.0, 0.0]))
    for row, name in enumerate(report.scores.names):
        index = drawn_index(layout, name)
        # BIWI has one mesh a sequence, its first frame's.
        points_m = made[index // 2 * 2 if layout == "biwi" else index].vertices_m
        rotation = made[index].rotation
        expected = add_by_loop(points_m, rotation, rotation @ turn)
        assert plain["add_mm"][row] == pytest.approx(expected, abs=1e-3)
    if layout == "arkitface":
        np.testing.assert_allclose(plain["landmarks_mm"], 0.0, atol=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_known_errors_are_measured_exactly(layout: str, tmp_path: Path) -> None:
    check(layout, tmp_path / "data", tmp_path / "out", 8)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_known_errors_of_600_images_are_measured_exactly(layout: str, tmp_path: Path) -> None:
    check(layout, tmp_path / "data", tmp_path / "out", 600)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_600_rendered_images_are_evaluated(layout: str, tmp_path: Path) -> None:
    from trglab.cli.synth import synth

    split = "test" if layout == "arkitface" else None  # the others have one
    synth(tmp_path / "data", count=600, layout=layout, split=split, seed=3, workers=2)
    rules = protocol(layout)
    report, _, _ = evaluate(
        rules, rules.read(tmp_path / "data"), Known(disturbed), tmp_path / "out"
    )
    assert report.summary.images == 600 or layout == "aflw2000"  # which leaves out wide angles
    assert report.summary.subjects >= 25
    np.testing.assert_allclose(report.scores.errors["yaw_deg"], YAW_DEG, atol=1e-3)
    if layout in METRIC:
        np.testing.assert_allclose(report.scores.errors["tz_mm"], Z_MM, atol=1e-3)


def test_files_of_a_report_agree(tmp_path: Path) -> None:
    _, rules = write_made(tmp_path / "data", "biwi", 6)
    silent = rules.read(tmp_path / "data").samples[1].rotation

    def change(estimate):
        return None if np.array_equal(estimate.rotation, silent) else disturbed(estimate)

    report, _, _ = evaluate(rules, rules.read(tmp_path / "data"), Known(change), tmp_path / "out")
    write_report(tmp_path / "out", report)
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (stored["images"], stored["subjects"], stored["not_found"]) == (6, 3, 1)
    assert stored["figures"]["tz_mm"]["mean"] == pytest.approx(Z_MM, abs=1e-3)
    assert stored["shares"]["share_ge_deg_below_5"] == pytest.approx(5 / 6)
    assert sum(group["images"] for group in stored["by_subject"]) == 6
    with open(tmp_path / "out" / "table.csv", newline="") as file:
        rows = {row[""]: row for row in csv.DictReader(file)}
    assert rows["TRG, several sets"]["ADD mm"] == "29.46"  # Table 4
    assert rows["known, mean"]["t_z mm"] == "10.00"
    with open(tmp_path / "out" / "images.csv", newline="") as file:
        images = list(csv.DictReader(file))
    assert [row["found"] for row in images] == ["1", "0", "1", "1", "1", "1"]
    assert images[1]["add_mm"] == ""
    text = (tmp_path / "out" / "report.md").read_text()
    assert "1 without a face found" in text
    assert "## By distance" in text

    again, _, _ = score_file(
        rules, rules.read(tmp_path / "data"), tmp_path / "out" / PREDICTIONS_FILE
    )
    write_report(tmp_path / "again", again)
    for name in ("report.json", "table.csv", "images.csv", "report.md"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_unreadable_images_are_counted(tmp_path: Path) -> None:
    _, rules = write_made(tmp_path / "data", "arkitface", 4)
    image = sorted((tmp_path / "data").rglob("*_ar.jpg"))[2]
    image.write_bytes(image.read_bytes()[:300])
    report, _, _ = evaluate(rules, rules.read(tmp_path / "data"), Known(), tmp_path / "out")
    assert len(report.scores) == 3
    assert len(report.unreadable) == 1
    assert image.name in report.unreadable[0]
    assert "1 unreadable" in report.caption
