from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.support.synthetic_topology import ellipsoid_topology
from trg.inference.bundle import WeightBundle, WeightCard, bundled, read_bundle, write_bundle

TOPOLOGY = ellipsoid_topology()


def _bundle() -> WeightBundle:
    card = WeightCard(
        name="test",
        crop_size=128,
        config={"iterations": 3, "decoder": [64, 64]},
        licence="MIT",
        attribution=("Some Face Set (CC BY 4.0)",),
        training={"steps": 5, "mae_t_mm": 3.5},
        parity={"rotation": 1e-6},
    )
    return WeightBundle(b"the graph" * 100, TOPOLOGY, card)


def test_a_bundle_round_trips(tmp_path) -> None:
    path = tmp_path / "w.trg"
    digest = write_bundle(path, _bundle())
    read = read_bundle(path, sha256=digest)
    assert read.model == _bundle().model
    assert read.card == _bundle().card
    for name, array in TOPOLOGY.to_arrays().items():
        got = read.topology.to_arrays()[name]
        np.testing.assert_array_equal(got, array)
        assert got.dtype == array.dtype
    assert [file.name for file in tmp_path.iterdir()] == ["w.trg"]


def test_equal_bundles_make_equal_files(tmp_path) -> None:
    a, b = tmp_path / "a.trg", tmp_path / "b.trg"
    assert write_bundle(a, _bundle()) == write_bundle(b, _bundle())
    assert a.read_bytes() == b.read_bytes()


def test_a_bundle_is_an_ordinary_archive(tmp_path) -> None:
    write_bundle(tmp_path / "w.trg", _bundle())
    with zipfile.ZipFile(tmp_path / "w.trg") as archive:
        assert archive.namelist() == ["model.onnx", "topology.npz", "card.json"]
        with np.load(io.BytesIO(archive.read("topology.npz"))) as arrays:
            np.testing.assert_array_equal(arrays["template_m"], TOPOLOGY.template_m)


def _rewrite(path, **changes: bytes | None) -> None:
    """Replace or drop members of an archive, named with _ for a dot."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, data in changes.items():
        members.pop(name.replace("_", "."))
        if data is not None:
            members[name.replace("_", ".")] = data
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_damage_is_detected_and_reported(tmp_path) -> None:
    path = tmp_path / "w.trg"

    def fresh() -> dict:
        write_bundle(path, _bundle())
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("card.json"))

    fresh()
    with pytest.raises(ValueError, match="expected SHA-256 0000, got"):
        read_bundle(path, sha256="0000")
    _rewrite(path, model_onnx=b"another graph")
    with pytest.raises(ValueError, match=r"model.onnx: expected SHA-256 .* fetch it again"):
        read_bundle(path)
    fresh()
    _rewrite(path, topology_npz=None)
    with pytest.raises(ValueError, match=r"not a weight bundle, it lacks \['topology.npz'\]"):
        read_bundle(path)
    card = fresh()
    _rewrite(path, card_json=json.dumps({**card, "format_version": 2}).encode())
    with pytest.raises(ValueError, match="weight bundle of format 1, got 2"):
        read_bundle(path)
    _rewrite(path, card_json=json.dumps({**card, "mood": "good"}).encode())
    with pytest.raises(ValueError, match=r"unknown keys \['mood'\]"):
        read_bundle(path)
    _rewrite(path, card_json=b"{")
    with pytest.raises(ValueError, match=r"card.json is damaged"):
        read_bundle(path)
    fresh()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="damaged or of another kind"):
        read_bundle(path)
    with pytest.raises(FileNotFoundError, match=r"expected a weight bundle \(.trg\)"):
        read_bundle(tmp_path / "nothing.trg")


def test_the_runtime_needs_no_torch() -> None:
    modules = "trg.inference.runtime, trg.app.bench, trglab.bench"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_bundle_name_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"expected one of .*'nothing'"):
        bundled("nothing")
