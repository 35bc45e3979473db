from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.mutations import mutated
from tests.support.synthetic_topology import ellipsoid_topology
from trg.inference.bundle import (
    WeightBundle,
    WeightCard,
    bundled,
    model_path,
    read_bundle,
    write_bundle,
)
from trg.inference.runtime import PoseRuntime

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
    with pytest.raises(
        ValueError, match=r"model.onnx: expected SHA-256 .* fetch damaged files again"
    ):
        read_bundle(path)
    fresh()
    _rewrite(path, topology_npz=None)
    with pytest.raises(ValueError, match=r"not a weight bundle .*it lacks \['topology.npz'\]"):
        read_bundle(path)
    card = fresh()
    _rewrite(path, card_json=json.dumps({**card, "format_version": 2}).encode())
    with pytest.raises(ValueError, match="expected format 1, got 2"):
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


def _archive(model: bytes, topology: bytes, card: bytes, method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in {
            "model.onnx": model, "topology.npz": topology, "card.json": card
        }.items():  # fmt: skip
            archive.writestr(name, data)
    return stream.getvalue()


def _huge_array_header() -> bytes:
    """An .npz whose template claims 72 TiB."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**42, 4)}
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in TOPOLOGY.to_arrays():
            archive.writestr(f"{name}.npy", header.getvalue())
    return stream.getvalue()


def _encrypted(archive: bytes) -> bytes:
    """Set the flag of encryption in each entry of the central directory."""
    parts = archive.split(b"PK\x01\x02")
    return b"PK\x01\x02".join(
        [parts[0], *(part[:4] + bytes([part[4] | 1]) + part[5:] for part in parts[1:])]
    )


def test_hostile_archives_are_refused_before_they_take_memory(tmp_path) -> None:
    path = tmp_path / "w.trg"
    write_bundle(path, _bundle())
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as opened:
        model, topology, card = (opened.read(n) for n in opened.namelist())
    expanding = _archive(bytes(2**26), topology, card, zipfile.ZIP_DEFLATED)
    header = _huge_array_header()
    digests = {"model.onnx": _sha256(model), "topology.npz": _sha256(header)}
    huge_card = json.dumps({**json.loads(card), "sha256": digests}).encode()
    cases = {
        "model.onnx: expected at most": expanding,
        "card.json: expected at most": _archive(
            model, topology, b" " * 2**21, zipfile.ZIP_DEFLATED
        ),
        "its size does not": _archive(model, header, huge_card, zipfile.ZIP_STORED),
        "without encryption": _encrypted(whole),
        "expected a stored or deflated member": _archive(model, topology, card, zipfile.ZIP_LZMA),
        "recursion|nested": _archive(model, topology, b"[" * 10**5, zipfile.ZIP_STORED),
    }
    assert len(expanding) < 2**18  # a small file that would take 64 MB
    for message, archive in cases.items():
        path.write_bytes(archive)
        tracemalloc.start()
        with pytest.raises(ValueError, match=f"w.trg.*{message}"):
            read_bundle(path)
        assert tracemalloc.get_traced_memory()[1] < 2**25
        tracemalloc.stop()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_mutated_cards_are_read_or_refused_by_name(tmp_path) -> None:
    _read_mutated_cards(tmp_path / "w.trg", 300)


@pytest.mark.slow
def test_thousands_of_mutated_cards_are_read_or_refused_by_name(tmp_path) -> None:
    _read_mutated_cards(tmp_path / "w.trg", 3000)


def _read_mutated_cards(path: Path, count: int) -> None:
    rng = np.random.default_rng(5)
    write_bundle(path, _bundle())
    with zipfile.ZipFile(path) as opened:
        model, topology, text = (opened.read(n) for n in opened.namelist())
    card, refused, accepted = json.loads(text), 0, 0
    for _ in range(count):
        changed = json.dumps(mutated(card, rng)).encode()
        path.write_bytes(_archive(model, topology, changed, zipfile.ZIP_STORED))
        try:
            read_bundle(path)
        except ValueError as error:
            refused += str(path) in str(error)
        else:
            accepted += 1
    assert refused + accepted == count
    assert accepted < count / 2


def test_a_card_that_contradicts_its_graph_is_refused() -> None:
    bundle = read_bundle(bundled())
    contradicting = replace(bundle, card=replace(bundle.card, crop_size=96))
    with pytest.raises(ValueError, match=r"trg_s.*96"):
        PoseRuntime(contradicting)


def test_the_runtime_needs_no_torch() -> None:
    modules = "trg.inference.runtime, trg.app.bench, trglab.bench"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_bundle_name_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"expected one of .*'nothing'"):
        bundled("nothing")


def test_a_model_is_a_bundled_name_or_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_path() == model_path(Path("trg_s")) == bundled("trg_s")
    Path("trg_m").mkdir()  # as of `trg predict -o trg_m`
    assert model_path("trg_m") == bundled("trg_m")
    for name in ("mine.trg", "trg_s.trg", "without_suffix"):
        Path(name).touch()
        assert model_path(name) == Path(name)
    with pytest.raises(FileNotFoundError, match=r"none\.trg: expected a weight bundle"):
        model_path("none.trg")
    with pytest.raises(
        ValueError, match=r"expected one of .*'trg_s'.* or a \.trg file, got 'trg_x'"
    ):
        model_path("trg_x")
