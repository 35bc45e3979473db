"""``trg export --to web``: the files that web pages run."""

from __future__ import annotations

import gzip
import hashlib
import json

import numpy as np
import pytest

from tests.support.cli import trg_cli  # noqa: F401 (a fixture)
from tests.support.constant_bundle import write_constant_bundle
from tests.support.synthetic_topology import ellipsoid_topology
from trg.app.web_models import CARD, web_models
from trg.inference.bundle import DEFAULT_BUNDLE, bundled, bundled_names, read_bundle
from trg.inference.detector import BUNDLED
from trg.inference.size_memory import COMMON_STD

pytestmark = [
    pytest.mark.filterwarnings("ignore:Cyclopts application invoked"),
    pytest.mark.skipif(not BUNDLED.is_file(), reason="this copy of the package has no detector"),
]

MOST_BYTES = 8_000_000
"""What a visitor of a page may have to download."""


@pytest.fixture
def bundle_path(tmp_path):
    path = tmp_path / "constant.trg"
    write_constant_bundle(path, ellipsoid_topology(), (0.0, 0.0, 0.7))
    return path


def test_the_graphs_are_those_of_the_package_byte_for_byte(bundle_path):
    files = web_models(bundle_path)
    card = json.loads(files[CARD])
    expected = {"detector": BUNDLED.read_bytes(), "pose": read_bundle(bundle_path).model}
    for part, graph in expected.items():
        assert gzip.decompress(files[card[part]["file"]]) == graph
        assert card[part]["bytes"] == len(graph)
        assert card[part]["sha256"] == hashlib.sha256(graph).hexdigest()


def test_the_card_has_mesh_licence_and_calibration(bundle_path):
    card = json.loads(web_models(bundle_path)[CARD])
    topology = read_bundle(bundle_path).topology
    pose = card["pose"]
    assert pose["crop_size"] == 32
    assert pose["inputs"] == ["crops", "bbox_info"]
    assert np.array_equal(np.reshape(pose["triangles"], (-1, 3)), topology.triangles)
    assert pose["landmarks68"] == topology.landmarks68.tolist()
    assert pose["vertex_count"] == topology.vertex_count
    assert set(pose["error_bars"].values()) == {1.0}
    assert pose["size_memory"]["common_std"] == COMMON_STD
    assert {"bias", "peak"} < set(pose["confidence"])
    assert {"licence", "attribution", "threshold"} < set(card["detector"])


def test_equal_models_give_equal_files(bundle_path):
    assert web_models(bundle_path) == web_models(bundle_path)


@pytest.mark.skipif(DEFAULT_BUNDLE not in bundled_names(), reason="no bundled weights")
def test_the_default_models_are_small_to_download(trg_cli, tmp_path):  # noqa: F811
    done = trg_cli("export", DEFAULT_BUNDLE, tmp_path / "models", "--to", "web")
    assert done.code == 0, done.err
    sizes = [path.stat().st_size for path in (tmp_path / "models").iterdir()]
    assert len(sizes) == 3
    assert sum(sizes) < MOST_BYTES
    assert f"{sum(sizes) / 1e6:.1f} MB" in done.err
    card = json.loads((tmp_path / "models" / CARD).read_text())
    calibration = read_bundle(bundled()).card.training["confidence"]
    assert card["pose"]["confidence"] == pytest.approx(calibration)


@pytest.mark.parametrize(
    ("verb", "existing"),
    [
        (("export", "best.pt", "{}", "--name", "n", "--licence", "l"), "mine.trg"),
        (("export", "{bundle}", "{}", "--to", "web"), "model.json"),
        (("detector", "export", "last.pt", "{}"), "detector.onnx"),
    ],
)
def test_an_export_replaces_no_file_unless_told_to(trg_cli, bundle_path, tmp_path, verb, existing):  # noqa: F811
    path = tmp_path / "out" / existing
    path.parent.mkdir()
    path.write_text("mine")
    target = path.parent if "web" in verb else path
    arguments = [each.format(target, bundle=bundle_path) for each in verb]
    done = trg_cli(*arguments)
    assert done.code == 2
    assert f"{existing}: exists; choose another name, or add --overwrite" in done.err
    assert path.read_text() == "mine"
    if "web" in verb:
        assert trg_cli(*arguments, "--overwrite").code == 0
        assert "pose" in json.loads(path.read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.trg", "out", "--to", "web", "--licence", "MIT"), "expected none of --name"),
        (("best.pt", "x.trg", "--name", "x"), "give --name and --licence"),
        (("no_such", "out", "--to", "web"), "expected one of"),
    ],
)
def test_options_that_do_not_fit_are_refused(trg_cli, arguments, message):  # noqa: F811
    done = trg_cli("export", *arguments)
    assert done.code == 2
    assert message in done.err.replace("\n", " ")
