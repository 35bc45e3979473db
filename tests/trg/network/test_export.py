from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.support.network_cases import seeded_network, tiny_config, wake_heads
from tests.support.synthetic_topology import ellipsoid_topology
from trg.app.bench import bench_network
from trg.inference.bundle import WeightBundle, read_bundle
from trg.inference.runtime import PoseArrays, PoseRuntime
from trg.network import export
from trg.network.config import table1_variants
from trg.network.cost import multiply_adds, parameter_count
from trg.network.export import ExportedForward, ExportFacts, export_bundle, measure_parity
from trglab.bench import bench_config

TOPOLOGY = ellipsoid_topology()
VARIANTS = table1_variants(tiny_config())


def _inputs(count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    crops = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    boxes = np.concatenate(
        [rng.uniform(-0.3, 0.3, (count, 2)), rng.uniform(0.1, 0.5, (count, 1))], 1
    )
    return crops, boxes.astype(np.float32)


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[torch.nn.Module, WeightBundle, Path]:
    """The full variant, exported."""
    network = wake_heads(seeded_network(VARIANTS["full"], TOPOLOGY)).eval()
    path = tmp_path_factory.mktemp("export") / "full.trg"
    facts = ExportFacts("full", "MIT", ("nobody",), {"steps": 3})
    return network, export_bundle(network, path, facts), path


@pytest.mark.parametrize(
    "name",
    [
        # Each export takes long; these two differ from others in nothing but a count.
        pytest.param(name, marks=[pytest.mark.slow] if name in ("2-iter", "3-iter") else [])
        for name in VARIANTS
        if name != "full"
    ],
)
def test_every_variant_runs_as_in_torch(name: str, tmp_path) -> None:
    network = wake_heads(seeded_network(VARIANTS[name], TOPOLOGY)).eval()
    bundle = export_bundle(network, tmp_path / "net.trg", ExportFacts(name))
    _assert_agrees(network, PoseRuntime(bundle))


def _assert_agrees(network: torch.nn.Module, runtime: PoseRuntime) -> None:
    for count in (1, 2, 5):
        crops, boxes = _inputs(count)
        with torch.no_grad():
            expected = ExportedForward(network)(torch.tensor(crops), torch.tensor(boxes))
        got = runtime(crops, boxes)
        for field, a, b in zip(PoseArrays._fields, got, expected, strict=True):
            np.testing.assert_allclose(a, b.numpy(), atol=5e-5, err_msg=field)
        if count > 1:  # the answers depend on the input, so agreeing means something
            assert np.ptp(got.rotation, axis=0).max() > 1e-3


def test_the_full_network_runs_as_in_torch_from_its_file(full) -> None:
    network, bundle, path = full
    _assert_agrees(network, PoseRuntime(path))
    card = read_bundle(path).card
    assert card == bundle.card
    assert card.parameters == parameter_count(network)
    assert card.multiply_adds == multiply_adds(network)
    assert (card.name, card.licence, card.attribution) == ("full", "MIT", ("nobody",))
    assert card.training == {"steps": 3}
    assert set(card.parity) == set(PoseArrays._fields)
    assert max(card.parity[name] for name in export.LIMITED) < 1e-4


def test_the_graph_stands_alone_and_names_no_place(full) -> None:
    _, bundle, _ = full
    graph = onnx.load_from_string(bundle.model)
    assert not any(t.external_data for t in graph.graph.initializer)
    assert graph.opset_import[0].version >= 20
    folder = str(Path(export.__file__).parents[3])
    assert folder.encode() not in bundle.model
    assert b"site-packages" not in bundle.model


def _reuse_graph(monkeypatch, bundle: WeightBundle) -> None:
    """Tracing takes seconds: hand out a graph that was traced before."""
    graph = onnx.load_from_string(bundle.model)
    monkeypatch.setattr(export, "onnx_graph", lambda _network: graph)


def test_exporting_leaves_the_network_as_it_was(full, tmp_path, monkeypatch) -> None:
    network = copy.deepcopy(full[0]).train()
    _reuse_graph(monkeypatch, full[1])
    export_bundle(network, tmp_path / "net.trg", ExportFacts("x"))
    assert network.training
    before = full[0].state_dict()
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


@pytest.mark.parametrize(
    ("storage", "share", "error_m"), [("float16", 0.75, 1e-3), ("int8", 0.6, 1e-2)]
)
def test_compact_storage_shrinks_the_file_and_says_what_it_costs(
    full, tmp_path, monkeypatch, storage, share, error_m
) -> None:
    network, whole, _ = full
    _reuse_graph(monkeypatch, whole)
    monkeypatch.setattr("trg.network.export.SMALL_TENSOR", 1024)  # the network is small, too
    bundle = export_bundle(network, tmp_path / "small.trg", ExportFacts("small"), storage)
    assert len(bundle.model) < share * len(whole.model)  # what is small stays float32
    graph = onnx.load_from_string(bundle.model)
    names = [tensor.name for tensor in graph.graph.initializer]
    assert f"network.backbone.layer4.0.conv1.weight.{storage}" in names
    assert "network.regressors.2.pose_head.weight" in names
    assert bundle.card.storage == storage
    assert bundle.card.parity == measure_parity(network, bundle)
    assert 1e-6 < bundle.card.parity["vertices_m"] < error_m
    crops, boxes = _inputs(3)
    a, b = PoseRuntime(whole)(crops, boxes), PoseRuntime(bundle)(crops, boxes)
    np.testing.assert_allclose(a.vertices_m, b.vertices_m, atol=error_m)


def test_a_graph_that_disagrees_is_not_written(full, tmp_path, monkeypatch) -> None:
    network = copy.deepcopy(full[0])
    _reuse_graph(monkeypatch, full[1])
    with torch.no_grad():
        network.regressors[2].pose_head.bias += 0.01
    with pytest.raises(ValueError, match="expected the graph to agree with the network"):
        export_bundle(network, tmp_path / "net.trg", ExportFacts("x"))
    with torch.no_grad():
        network.regressors[2].pose_head.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="expected the graph to agree with the network"):
        export_bundle(network, tmp_path / "net.trg", ExportFacts("x"))
    assert list(tmp_path.iterdir()) == []


def test_no_face_is_no_result(full) -> None:
    got = PoseRuntime(full[1])(np.zeros((0, 32, 32, 3), np.uint8), np.zeros((0, 3), np.float32))
    assert [a.shape for a in got] == [
        (0, 3, 3),
        (0, 3),
        (0, 1220, 3),
        (0, 1220, 2),
        (0, 68, 2),
        (0, 68),
    ]


def test_the_runtime_says_what_it_expected(full) -> None:
    runtime = PoseRuntime(full[1])
    assert runtime.providers == ("CPUExecutionProvider",)
    crops, boxes = _inputs(2)
    with pytest.raises(ValueError, match=r"crops: expected \(b, 32, 32, 3\) uint8, got .*float64"):
        runtime(crops.astype(float), boxes)
    with pytest.raises(ValueError, match=r"got \(2, 16, 32, 3\)"):
        runtime(crops[:, :16], boxes)
    with pytest.raises(ValueError, match=r"bbox_info: expected shape \(2, 3\), got \(1, 3\)"):
        runtime(crops, boxes[:1])
    with pytest.raises(ValueError, match="bbox_info: expected finite numbers"):
        runtime(crops, boxes * np.nan)
    with pytest.raises(ValueError, match="bbox_info: expected sides above 0"):
        runtime(crops, boxes * 0)
    with pytest.raises(ValueError, match=r"\['FastProvider'\] are not installed"):
        PoseRuntime(full[1], providers=["FastProvider"])
    with pytest.raises(ValueError, match="threads: expected None or at least 1, got 0"):
        PoseRuntime(full[1], threads=0)
    wrong = WeightBundle(b"no graph", TOPOLOGY, full[1].card)
    with pytest.raises(ValueError, match="ONNX Runtime cannot load it"):
        PoseRuntime(wrong)


def test_the_bench_measures_a_bundle_or_a_configuration(full, monkeypatch) -> None:
    network, bundle, _ = full
    result = bench_network(bundle, seconds=0.05)
    assert result.parameters == parameter_count(network)
    assert 0 < result.ms_one_thread < 1000
    assert result.model_bytes == len(bundle.model)
    monkeypatch.setattr("trg.network.trg.TRGNetwork", lambda *_: network)
    _reuse_graph(monkeypatch, bundle)
    by_config = bench_config("full", VARIANTS["full"], TOPOLOGY, seconds=0.05)
    assert by_config.to_dict()["parameters"] == result.parameters
