"""``trg doctor`` and ``trg models``, and that docs/cli.md names every option."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import trg
from tests.support.faces import make_face
from tests.support.synthetic_topology import ellipsoid_topology
from trg.app import installation, selftest
from trg.app.cli import main
from trg.app.cli.predict_options import CameraOptions, FaceOptions, ProcessingOptions, ResultOptions
from trg.app.installation import bundled_models, package_versions
from trg.app.selftest import (
    IMAGE_NAME,
    SELFTEST_FOLDER,
    TRUTH_NAME,
    SelfTestResult,
    compare,
    run_selftest,
)
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.inference.bundle import (
    DEFAULT_BUNDLE,
    WeightBundle,
    WeightCard,
    bundled_names,
    write_bundle,
)
from trg.inference.detector import BUNDLED

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked")
DOCS = Path(__file__).parents[3] / "docs"
CARD = WeightCard(
    "made",
    64,
    {},
    licence="MIT",
    attribution=("Somebody, 2020",),
    training={"figures": {"ge_deg_mean": 5.25, "hidden_ge_deg_mean": 7.5, "note": "none"}},
    parameters=1_230_000,
    multiply_adds=250_000_000,
)


@pytest.fixture
def made_bundle(monkeypatch, tmp_path):
    """A package whose only model is a made one, without a graph that runs."""
    bundle = WeightBundle(b"graph", ellipsoid_topology(), CARD)
    digest = write_bundle(tmp_path / "made.trg", bundle)
    monkeypatch.setattr("trg.inference.bundle.BUNDLES", tmp_path)
    monkeypatch.setattr("trg.inference.detector.BUNDLED", tmp_path / "detector.onnx")
    return digest


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["trg", *arguments])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    return code, *capsys.readouterr()


def truth_of(face) -> dict:
    return {
        "rotation": face.rotation,
        "translation_m": face.translation_m,
        "landmarks68_px": face.landmarks68_px,
        "box_xyxy": face.box_xyxy,
    }


def test_each_error_of_the_self_test_is_measured():
    face = make_face((20.0, -10.0, 5.0), (0.0, 0.0, 0.6))
    exact = compare([face], truth_of(face))
    assert exact.passed
    assert exact.rotation_error_deg < 1e-5
    turned = compare([make_face((35.0, -10.0, 5.0), (0.0, 0.0, 0.6))], truth_of(face))
    assert turned.rotation_error_deg == pytest.approx(15.0, abs=0.3)
    far = compare([make_face((20.0, -10.0, 5.0), (0.0, 0.0, 0.9))], truth_of(face))
    assert far.distance_error == pytest.approx(0.5)
    truth = truth_of(face)
    side = face.box_xyxy[2] - face.box_xyxy[0]
    truth["landmarks68_px"] = face.landmarks68_px + (0.07 * side, 0.0)
    aside = compare([face], truth)
    assert aside.landmark_error == pytest.approx(0.07)
    for wrong in (turned, far, aside, compare([], truth), compare([face, face], truth_of(face))):
        assert not wrong.passed


def test_the_bundled_image_matches_its_ground_truth():
    assert (SELFTEST_FOLDER / IMAGE_NAME).stat().st_size <= 30_000
    truth = json.loads((SELFTEST_FOLDER / TRUTH_NAME).read_text())
    camera = Camera(**{**truth["camera"], "distortion": tuple(truth["camera"]["distortion"])})
    assert Image.open(SELFTEST_FOLDER / IMAGE_NAME).size == (camera.width, camera.height)
    np.testing.assert_allclose(
        face_box(np.array(truth["landmarks68_px"])), truth["box_xyxy"], atol=0.1
    )
    rotation = np.array(truth["rotation"])
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)


def test_models_shows_the_cards(capsys, monkeypatch, made_bundle):
    (note,) = bundled_models()
    assert note.sha256 == made_bundle
    assert note.figures == {"ge_deg_mean": 5.25, "hidden_ge_deg_mean": 7.5}
    code, out, _ = run(capsys, monkeypatch, "models")
    assert code == 0
    for text in ("made", "MIT", "Somebody, 2020", "5.25", "1.23 M", "0.25 G", made_bundle):
        assert text in out
    assert "7.5" not in out
    assert "7.5" in run(capsys, monkeypatch, "models", "--all-figures")[1]


def test_missing_models_are_reported(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("trg.inference.bundle.BUNDLES", tmp_path)
    monkeypatch.setattr("trg.inference.detector.BUNDLED", tmp_path / "detector.onnx")
    assert run(capsys, monkeypatch, "models")[0] == 2
    code, out, err = run(capsys, monkeypatch, "doctor")
    assert code == 1
    assert trg.__version__ in out
    assert "no detector" in err


def test_doctor_reports_a_damaged_model_and_all_versions(
    capsys, monkeypatch, tmp_path, made_bundle
):
    path = tmp_path / "made.trg"
    path.write_bytes(path.read_bytes()[:-100])
    code, out, err = run(capsys, monkeypatch, "doctor")
    assert code == 1
    assert trg.__version__ in out
    assert "CPUExecutionProvider" in out
    assert "made.trg" in err


@pytest.mark.parametrize(
    ("result", "code", "text"),
    [
        (SelfTestResult(1, 2.0, 0.05, 0.01), 0, "rotation off by 2.0 degrees, distance by 5.0 %"),
        (SelfTestResult(1, 42.0, 0.05, 0.01), 1, "failed"),
        (SelfTestResult(0, np.inf, np.inf, np.inf), 1, "no face"),
    ],
)
def test_doctor_reports_the_self_test(capsys, monkeypatch, made_bundle, result, code, text):
    monkeypatch.setattr("trg.inference.detector.bundled_model", lambda: Path("detector.onnx"))
    monkeypatch.setattr(selftest, "run_selftest", lambda model: result)
    monkeypatch.setattr(installation, "bundled_models", list)
    done = run(capsys, monkeypatch, "doctor")
    assert done[0] == code
    assert text in done[1]
    assert re.search("webcams +(none found|\\d)", done[1])
    assert "CPUExecutionProvider" in done[1]


def test_versions_include_the_dependencies():
    found = package_versions()
    assert found["trg"] == trg.__version__
    assert {"Python", "numpy", "pillow", "onnxruntime", "av"} <= found.keys()


@pytest.mark.skipif(
    DEFAULT_BUNDLE not in bundled_names() or not BUNDLED.is_file(),
    reason="this copy of the package has no weights or no face detector",
)
def test_this_package_passes_its_self_test():
    result = run_selftest()
    assert result.passed, result


def test_every_option_is_in_the_docs():
    page = (DOCS / "cli.md").read_text()
    flags = {"record_format": "format", "smooth": "no-smooth"}
    for group in (ResultOptions, CameraOptions, FaceOptions, ProcessingOptions):
        for name in (field.name for field in fields(group)):
            assert f"`--{flags.get(name, name.replace('_', '-'))}" in page, name


@pytest.mark.parametrize("figures", [[1.0, 2.0], "5.25", 7, True, None, {"a": [1], "b": {"c": 2}}])
def test_figures_that_are_not_a_mapping_are_not_shown(capsys, monkeypatch, tmp_path, figures):
    card = replace(CARD, training={"figures": figures})
    write_bundle(tmp_path / "made.trg", WeightBundle(b"graph", ellipsoid_topology(), card))
    monkeypatch.setattr("trg.inference.bundle.BUNDLES", tmp_path)
    monkeypatch.setattr("trg.inference.detector.BUNDLED", tmp_path / "detector.onnx")
    assert run(capsys, monkeypatch, "models", "--all-figures")[0] == 0
