from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.support.constant_bundle import write_constant_bundle
from tests.support.dot_faces import TOPOLOGY, DotFaces, MeshedDots
from tests.support.known_methods import Known, disturbed
from tests.support.made_samples import make_samples
from trglab.cli.evaluate import evaluate as eval_verb
from trglab.cli.evaluate_options import HoldoutOptions, MeasurementOptions
from trglab.datasets.files import file_sha256
from trglab.datasets.view_store import ViewStoreSettings, write_views
from trglab.evaluation.prediction import LabelledImages, run_on_dataset
from trglab.evaluation.predictions import mesh_sha256
from trglab.evaluation.protocols import protocol
from trglab.evaluation.report import as_json, as_markdown, make_report, report_table
from trglab.evaluation.scores import score

PLACE_M = (0.01, -0.02, 0.5)
MESH = mesh_sha256(TOPOLOGY.triangles)


def report_of(name: str, change, count: int = 6):
    images = LabelledImages(make_samples(count), name, mesh_sha256=MESH)
    run = run_on_dataset(images, Known(change, mesh_sha256=MESH))
    assert run.predictions is not None
    return make_report(
        protocol(name),
        run.predictions.metadata,
        score(run.predictions, run.ground_truth),
        ["x.jpg: cut off"],
    )


def test_the_papers_rows_are_above_the_measured_ones() -> None:
    table = report_table(report_of("arkitface", disturbed))
    headings, named = table.headings, {row.label: row.cells for row in table.rows}
    paper = dict(zip(headings, named["TRG, several sets"], strict=True))
    assert (paper["MAE_r °"], paper["GE °"], paper["ADD mm"]) == ("0.91", "1.84", "8.68")
    assert (paper["landmarks mm"], paper["landmarks median mm"]) == ("1.58", "1.55")
    assert paper["yaw °"] == "-"
    ours = dict(zip(headings, named["known, mean"], strict=True))
    assert (ours["yaw °"], ours["pitch °"], ours["GE °"]) == ("2.00", "0.00", "2.00")
    assert (ours["t_z mm"], ours["MAE_t mm"]) == ("10.00", "3.33")
    aligned = dict(zip(headings, named["mean, head frames aligned"], strict=True))
    assert aligned["GE °"] == "0.00"
    assert aligned["landmarks mm"] == "-"
    labels = list(named)
    assert labels.index("TRG, several sets") < labels.index("known, mean")
    assert labels[labels.index("known, mean") + 1 :] == [
        "95 % of the mean, from",
        "to",
        "median",
        "mean, head frames aligned",
    ]


def test_published_rows_without_a_number_in_the_measured_columns_are_left_out() -> None:
    with_landmarks = report_of("arkitface", disturbed)
    images = LabelledImages(make_samples(6), "arkitface", mesh_sha256="another mesh")
    run = run_on_dataset(images, Known(disturbed, mesh_sha256=MESH))
    assert run.predictions is not None
    without = make_report(
        protocol("arkitface"), run.predictions.metadata, score(run.predictions, run.ground_truth)
    )
    labels = [{row.label for row in report_table(each).rows} for each in (with_landmarks, without)]
    assert labels[0] - labels[1] == {"PRNet", "3DDFA-v2", "Deng et al."}


def test_the_terminal_table_is_complete() -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report_table(report_of("biwi", disturbed)).to_rich())
    text = console.export_text()
    for part in ("PerspNet", "100.09", "known, mean", "0 without a face found", "1 unreadable"):
        assert part in text


def test_unknown_numbers_are_null_in_json() -> None:
    report = report_of("arkitface", lambda estimate: None)
    text = json.dumps(as_json(report), allow_nan=False)
    stored = json.loads(text)
    assert stored["not_found"] == 6
    assert stored["figures"]["ge_deg"] == {
        "mean": None,
        "mean_95": None,
        "median": None,
        "median_95": [None, None],
    }
    assert stored["alignment"] is None
    assert "none" in as_markdown(report)


def test_json_has_numbers_with_units_in_their_names() -> None:
    stored = as_json(report_of("biwi", disturbed))
    assert stored["figures"]["mae_t_mm"]["mean"] == pytest.approx(10.0 / 3.0)
    low, high = stored["figures"]["add_mm"]["mean_95"]
    assert low <= stored["figures"]["add_mm"]["mean"] <= high
    assert stored["alignment"]["angle_deg"] == pytest.approx(2.0)
    assert stored["published"][-1]["mean"]["add_mm"] == 29.46
    assert stored["unreadable"] == ["x.jpg: cut off"]
    assert stored == as_json(report_of("biwi", disturbed))  # draws are seeded


@pytest.fixture(scope="module")
def bundle_and_pack(tmp_path_factory) -> tuple[Path, Path]:
    """A bundle that always says the same, and a pack of eight views to measure it on."""
    folder = tmp_path_factory.mktemp("eval")
    write_constant_bundle(folder / "constant.trg", TOPOLOGY, PLACE_M)
    settings = ViewStoreSettings(48, image_format="raw")
    write_views(folder / "pack", MeshedDots, settings, indices=range(8))
    return folder / "constant.trg", folder / "pack"


def test_eval_predicts_saves_and_scores(bundle_and_pack, tmp_path: Path, capsys) -> None:
    bundle, pack = bundle_and_pack
    out, again = tmp_path / "out", tmp_path / "again"
    holdout = HoldoutOptions(pack=pack)
    eval_verb(
        "synthetic", options=MeasurementOptions(bundle), holdout=holdout, out=out, plots=False
    )
    assert "constant, mean" in capsys.readouterr().out
    stored = json.loads((out / "report.json").read_text())
    assert stored["bundle_sha256"] == file_sha256(bundle)
    assert (stored["images"], stored["not_found"]) == (8, 0)
    assert stored["settings"] == {"boxes": "paper"}
    faces = [DotFaces().sample(index) for index in range(8)]
    tz_mm = [1000.0 * abs(face.translation_m[2] - PLACE_M[2]) for face in faces]
    assert stored["figures"]["tz_mm"]["mean"] == pytest.approx(np.mean(tz_mm), abs=1e-3)
    assert stored["figures"]["tz_mm"]["median"] == pytest.approx(np.median(tz_mm), abs=1e-3)
    distances_mm = [
        1000.0 * np.linalg.norm(face.vertices_m - TOPOLOGY.template_m, axis=-1).mean()
        for face in faces
    ]
    landmarks = stored["figures"]["landmarks_mm"]
    assert landmarks["mean"] == pytest.approx(np.mean(distances_mm), abs=1e-3)
    assert landmarks["median"] == pytest.approx(np.median(distances_mm), abs=1e-3)
    saved = out / "predictions.npz"
    options = MeasurementOptions(predictions=saved)
    eval_verb("synthetic", pack, options=options, out=again, plots=False)
    assert (again / "report.json").read_bytes() == (out / "report.json").read_bytes()
    assert not (again / "predictions.npz").exists()


def test_each_measured_file_has_a_folder_of_its_own(bundle_and_pack, tmp_path, monkeypatch) -> None:
    bundle, pack = bundle_and_pack
    monkeypatch.chdir(tmp_path)
    eval_verb("synthetic", pack, options=MeasurementOptions(bundle), plots=False)
    ours = tmp_path / "out" / "eval-synthetic-constant"
    report = (ours / "report.json").read_bytes()
    (ours / "predictions.npz").rename(tmp_path / "theirs.npz")
    theirs = MeasurementOptions(predictions=Path("theirs.npz"))
    eval_verb("synthetic", pack, options=theirs, plots=False)
    assert (tmp_path / "out" / "eval-synthetic-theirs" / "report.json").is_file()
    assert (ours / "report.json").read_bytes() == report


def test_eval_with_a_limit(bundle_and_pack, tmp_path: Path, capsys) -> None:
    bundle, pack = bundle_and_pack
    options, holdout = MeasurementOptions(bundle, limit=3), HoldoutOptions(far=True)
    eval_verb("synthetic", pack, options=options, holdout=holdout, out=tmp_path, plots=False)
    assert "2 to 3 m" in capsys.readouterr().out
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["images"] == 3
    assert stored["settings"] == {"boxes": "paper", "limit": 3}


def test_eval_refuses_incomplete_options(bundle_and_pack, tmp_path: Path) -> None:
    bundle, _ = bundle_and_pack
    with pytest.raises(ValueError, match="got both"):
        eval_verb("biwi", tmp_path, options=MeasurementOptions(bundle, tmp_path / "p.npz"))
    asked = MeasurementOptions(predictions=tmp_path / "p.npz", flip_tta=True)
    with pytest.raises(ValueError, match="no --flip-tta beside --predictions"):
        eval_verb("biwi", tmp_path, options=asked)
    with pytest.raises(ValueError, match="biwi: expected the data set's folder"):
        eval_verb("biwi", options=MeasurementOptions(bundle))
    with pytest.raises(ValueError, match="stills: expected the folder"):
        eval_verb("stills", options=MeasurementOptions(bundle))
    with pytest.raises(FileNotFoundError, match="expected a dataset folder"):
        eval_verb("biwi", tmp_path / "nowhere", options=MeasurementOptions(bundle))


def test_eval_measures_stills_with_both_kinds_of_landmarks(
    bundle_and_pack, tmp_path, capsys
) -> None:
    from tests.trglab.evaluation.test_stills import write_folder

    write_folder(tmp_path)
    eval_verb("stills", tmp_path, options=MeasurementOptions(bundle_and_pack[0]))
    printed = capsys.readouterr().out
    assert "projected" in printed
    assert "heatmap" in printed
    assert "3 photographs" in printed


def test_plots_are_drawn(bundle_and_pack, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `plots`")
    from PIL import Image

    bundle, pack = bundle_and_pack
    eval_verb("synthetic", pack, options=MeasurementOptions(bundle), out=tmp_path)
    for name in ("errors", "distributions", "faces"):
        with Image.open(tmp_path / f"{name}.png") as image:
            pixels = np.asarray(image.convert("RGB"))
        assert min(pixels.shape[:2]) > 300
        assert (pixels.min(-1) < 250).mean() > 0.005  # something is drawn


def test_the_report_does_not_need_matplotlib(bundle_and_pack, tmp_path, monkeypatch) -> None:
    import sys

    bundle, pack = bundle_and_pack
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    eval_verb("synthetic", pack, options=MeasurementOptions(bundle), out=tmp_path)
    assert (tmp_path / "report.json").is_file()
    assert not (tmp_path / "errors.png").exists()
