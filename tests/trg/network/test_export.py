"""Export to ONNX, the runtime on exported graphs, and networks restored from bundles.

Tracing takes seconds, so two networks that between them have every branch of the configuration are
exported once, and all tests share their graphs. Each row of Table 1 is exported in the slow tests.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch

from tests.support.network_cases import labelled_batch, tiny_config, tiny_mobile_config, wake_heads
from tests.support.synthetic_topology import ellipsoid_topology
from trg.app.bench import bench_network
from trg.geometry.rotations import rotation_from_euler
from trg.inference.bundle import WeightBundle, read_bundle
from trg.inference.runtime import REQUIRED_OUTPUTS, PoseRuntime
from trg.network import export
from trg.network.config import TRGConfig, table1_variants
from trg.network.cost import multiply_adds, parameter_count
from trg.network.export import (
    ExportedForward,
    export_bundle,
    measure_parity,
    network_from_bundle,
    recalibrate_batchnorm,
)
from trg.network.onnx_graph import Storage
from trg.network.trg import TRGNetwork
from trglab.bench import bench_config

TOPOLOGY = ellipsoid_topology()
VARIANTS = table1_variants(tiny_config())
FULL = replace(tiny_config(), iterations=2, skips=True, reprojection_residual=True)
MINIMAL = replace(
    tiny_config(),
    iterations=1,
    multi_scale=False,
    features="grid",
    geometry=False,
    translation="direct",
)


class Exported(NamedTuple):
    network: TRGNetwork
    bundle: WeightBundle
    path: Path


def make_network(config: TRGConfig) -> TRGNetwork:
    """A network whose output depends on its input, with residuals of millimetres and degrees.

    No two of its tensors are equal, because the exporter merges equal ones. R_0 and V_0 are given.
    """
    rotation = torch.tensor(rotation_from_euler(np.array([5.0, -3.0, 2.0])))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TRGNetwork(config, TOPOLOGY, rotation, 1.05 * torch.tensor(TOPOLOGY.template_m))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return wake_heads(network, gain=1.0).eval()


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Exported:
    network = make_network(FULL)
    path = tmp_path_factory.mktemp("export") / "full.trg"
    bundle = export_bundle(
        network, path, "full", licence="MIT", attribution=("nobody",), training={"steps": 3}
    )
    return Exported(network, bundle, path)


@pytest.fixture
def reused_graph(full, monkeypatch) -> Iterator[None]:
    """Let exports of the full network reuse its graph instead of tracing again."""
    graph = onnx.load_from_string(full.bundle.model)
    monkeypatch.setattr(export, "onnx_graph", lambda _network: copy.deepcopy(graph))
    # The test's tensors are small, too.
    monkeypatch.setattr("trg.network.onnx_graph.MIN_QUANTIZED_SIZE", 1024)


def inputs(count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    crops = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    boxes = np.concatenate(
        [rng.uniform(-0.3, 0.3, (count, 2)), rng.uniform(0.1, 0.5, (count, 1))], 1
    )
    return crops, boxes.astype(np.float32)


def assert_agrees(network: torch.nn.Module, runtime: PoseRuntime) -> None:
    """Compare for several batch sizes; differences are a few float32 roundings."""
    for count in (1, 2, 5):
        crops, boxes = inputs(count)
        with torch.no_grad():
            expected = ExportedForward(network)(torch.tensor(crops), torch.tensor(boxes))
        got = runtime(crops, boxes)
        for field, a, b in zip(REQUIRED_OUTPUTS, got[: len(expected)], expected, strict=True):
            np.testing.assert_allclose(a, b.numpy(), atol=5e-5, rtol=5e-5, err_msg=field)
        if count > 1:  # the output depends on the input, so the comparison means something
            assert np.ptp(got.translation_m, axis=0).max() > 1e-3


def test_an_exported_network_runs_as_in_torch(full) -> None:
    assert_agrees(full.network, PoseRuntime(full.path))


@pytest.mark.slow
def test_a_network_without_options_runs_as_in_torch(tmp_path) -> None:
    network = make_network(MINIMAL)
    assert_agrees(network, PoseRuntime(export_bundle(network, tmp_path / "n.trg", "")))


@pytest.mark.slow
def test_a_mobile_network_runs_as_in_torch_and_is_restored(tmp_path) -> None:
    network = make_network(tiny_mobile_config())
    bundle = export_bundle(network, tmp_path / "mobile.trg", "mobile")
    assert_agrees(network, PoseRuntime(bundle))
    parity = measure_parity(network_from_bundle(bundle), bundle)
    assert max(parity[name] for name in export.LIMITED_OUTPUTS) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_of_table_1_runs_as_in_torch(name: str, tmp_path) -> None:
    network = make_network(VARIANTS[name])
    bundle = export_bundle(network, tmp_path / "net.trg", name)
    assert_agrees(network, PoseRuntime(bundle))


def test_the_card_describes_the_network(full) -> None:
    card = read_bundle(full.path).card
    assert card == full.bundle.card
    assert card.parameters == parameter_count(full.network)
    crop, bbox_info = torch.zeros(1, 3, 32, 32), torch.ones(1, 3)
    assert card.multiply_adds == multiply_adds(full.network, crop, bbox_info)
    assert (card.name, card.licence, card.attribution) == ("full", "MIT", ("nobody",))
    assert card.training == {"steps": 3}
    assert set(card.parity) == set(REQUIRED_OUTPUTS)
    assert max(card.parity[name] for name in export.LIMITED_OUTPUTS) < export.PARITY_LIMIT


def test_the_graph_is_self_contained_and_names_no_local_path(full) -> None:
    graph = onnx.load_from_string(full.bundle.model)
    assert not any(t.external_data for t in graph.graph.initializer)
    assert graph.opset_import[0].version >= 20
    folder = str(Path(export.__file__).parents[3])
    assert folder.encode() not in full.bundle.model
    assert b"site-packages" not in full.bundle.model


@pytest.mark.usefixtures("reused_graph")
def test_exporting_leaves_the_network_unchanged(full, tmp_path) -> None:
    network = copy.deepcopy(full.network).train()
    export_bundle(network, tmp_path / "net.trg", "x")
    assert network.training
    before = full.network.state_dict()
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


@pytest.mark.usefixtures("reused_graph")
@pytest.mark.parametrize(
    ("storage", "share", "error_m"), [("float16", 0.75, 1e-4), ("int8", 0.6, 1e-2)]
)
def test_compact_storage_shrinks_the_file_and_states_its_cost(
    full, tmp_path, storage, share, error_m
) -> None:
    bundle = export_bundle(full.network, tmp_path / "small.trg", "small", storage)
    assert len(bundle.model) < share * len(full.bundle.model)  # small tensors stay float32
    graph = onnx.load_from_string(bundle.model)
    names = [tensor.name for tensor in graph.graph.initializer]
    assert f"network.backbone.layer4.0.conv1.weight.{storage}" in names
    assert "network.regressors.1.pose_head.weight" in names
    assert bundle.card.storage == storage
    assert bundle.card.parity == measure_parity(full.network, bundle)
    assert 0 < bundle.card.parity["vertices_m"] < error_m
    crops, boxes = inputs(3)
    a, b = PoseRuntime(full.bundle)(crops, boxes), PoseRuntime(bundle)(crops, boxes)
    np.testing.assert_allclose(a.vertices_m, b.vertices_m, atol=error_m)


@pytest.mark.usefixtures("reused_graph")
def test_a_graph_that_disagrees_is_not_written(full, tmp_path) -> None:
    network = copy.deepcopy(full.network)
    with torch.no_grad():
        network.regressors[1].pose_head.bias += 0.01
    with pytest.raises(ValueError, match="expected the graph to agree with the network"):
        export_bundle(network, tmp_path / "net.trg", "x")
    with torch.no_grad():
        network.regressors[1].pose_head.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="expected the graph to agree with the network"):
        export_bundle(network, tmp_path / "net.trg", "x")
    assert list(tmp_path.iterdir()) == []


def test_no_crops_give_empty_arrays(full) -> None:
    runtime = PoseRuntime(full.bundle)
    got = runtime(np.zeros((0, 32, 32, 3), np.uint8), np.zeros((0, 3), np.float32))
    shapes = [(3, 3), (3,), (1220, 3), (1220, 2), (68, 2), (68,)]
    assert [array.shape for array in got if array is not None] == [(0, *shape) for shape in shapes]


def test_the_runtime_says_what_it_expected(full) -> None:
    runtime = PoseRuntime(full.bundle)
    crops, boxes = inputs(2)
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
        PoseRuntime(full.bundle, providers=["FastProvider"])
    with pytest.raises(ValueError, match="threads: expected None or at least 1, got 0"):
        PoseRuntime(full.bundle, threads=0)
    wrong = WeightBundle(b"no graph", TOPOLOGY, full.bundle.card)
    with pytest.raises(ValueError, match="expected an ONNX graph, got damaged or other data"):
        PoseRuntime(wrong)


@pytest.mark.usefixtures("reused_graph")
def test_the_bench_measures_a_bundle_or_a_configuration(full, monkeypatch) -> None:
    result = bench_network(full.bundle, seconds=0.05)
    assert result.parameters == parameter_count(full.network)
    assert 0 < result.ms_one_thread < 1000
    assert result.model_bytes == len(full.bundle.model)
    monkeypatch.setattr("trg.network.trg.TRGNetwork", lambda *_: full.network)
    by_config = bench_config("full", FULL, TOPOLOGY, seconds=0.05)
    assert by_config.parameters == result.parameters


@pytest.mark.usefixtures("reused_graph")
@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_a_restored_network_computes_what_its_bundle_does(full, tmp_path, storage: Storage) -> None:
    """Both compute with the stored weights, so the storage adds nothing to the roundings."""
    bundle = export_bundle(full.network, tmp_path / "net.trg", "net", storage)
    restored = network_from_bundle(bundle)
    parity = measure_parity(restored, bundle)
    assert max(parity[name] for name in export.LIMITED_OUTPUTS) < 1e-4
    assert restored.config == full.network.config
    for name in export.STARTS:
        got, expected = getattr(restored, name), getattr(full.network, name)
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)
        assert storage == "int8" or torch.equal(got, expected) or name == "start_vertices_m"


@pytest.mark.slow
def test_biases_of_zero_which_the_exporter_leaves_out_are_restored(tmp_path) -> None:
    network = make_network(FULL)
    norm = network.backbone.bn1  # folded into a convolution without a bias of its own
    for zeroed in (network.regressors[0].pose_head.bias, norm.bias, norm.running_mean):
        torch.nn.init.zeros_(zeroed)
    bundle = export_bundle(network, tmp_path / "net.trg", "net")
    restored = network_from_bundle(bundle)
    assert not restored.regressors[0].pose_head.bias.any()
    assert not restored.backbone.bn1.bias.any()
    assert max(measure_parity(restored, bundle).values()) < 1e-4


def test_compact_weights_are_restored_to_what_was_rounded(full, tmp_path, reused_graph) -> None:
    whole = network_from_bundle(full.bundle).state_dict()
    half = network_from_bundle(
        export_bundle(full.network, tmp_path / "net.trg", "net", "float16")
    ).state_dict()
    rounded = {name for name, weight in whole.items() if not torch.equal(weight, half[name])}
    assert "backbone.layer4.0.conv1.weight" in rounded
    for name, weight in whole.items():
        expected = weight.half().float() if name in rounded else weight
        assert torch.equal(half[name], expected), name


def test_recalibrated_batchnorms_change_no_output_and_fit_the_batch(full) -> None:
    restored = network_from_bundle(full.bundle)
    crops, targets = labelled_batch(TOPOLOGY, FULL.crop_size, 16)

    def rotation() -> np.ndarray:
        with torch.no_grad():
            return restored(crops, targets.bbox_info).steps[-1].rotation.numpy()

    expected = rotation()
    restored.train()
    assert np.abs(rotation() - expected).max() > 1e-3, "neutral statistics do not fit the batch"

    restored = network_from_bundle(full.bundle)
    recalibrate_batchnorm(restored, crops, targets.bbox_info)
    assert not restored.training
    np.testing.assert_allclose(rotation(), expected, atol=2e-5)
    restored.train()
    np.testing.assert_allclose(rotation(), expected, atol=1e-3)


def test_a_foreign_graph_is_refused(full) -> None:
    graph = onnx.load_from_string(full.bundle.model)
    for tensor in graph.graph.initializer:
        tensor.name = tensor.name.replace("network.heatmaps", "network.points")
    foreign = WeightBundle(graph.SerializeToString(), full.bundle.topology, full.bundle.card)
    with pytest.raises(ValueError, match=r"expected weights heatmaps\.weight of shape \(68, 8"):
        network_from_bundle(foreign)
