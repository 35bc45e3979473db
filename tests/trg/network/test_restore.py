from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from tests.support.network_cases import labelled_batch, seeded_network, tiny_config, wake_heads
from tests.support.synthetic_topology import ellipsoid_topology
from trg.inference.bundle import WeightBundle
from trg.network.export import (
    LIMITED,
    ExportFacts,
    Storage,
    export_bundle,
    measure_parity,
    onnx_graph,
)
from trg.network.restore import network_from_bundle, recalibrate_batchnorm
from trg.network.trg import TRGNetwork

TOPOLOGY = ellipsoid_topology()


@pytest.fixture(scope="module")
def network() -> TRGNetwork:
    """A network with all parts; no two of its tensors are alike: the exporter joins those."""
    config = replace(tiny_config(), skips=True, reprojection_residual=True)
    made = seeded_network(config, TOPOLOGY)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return wake_heads(made).eval()


@pytest.fixture(scope="module")
def exported(
    network: TRGNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Storage], WeightBundle]:
    """Exports of the network from one trace, which takes long."""
    graph, folder = onnx_graph(network), tmp_path_factory.mktemp("bundles")

    def export(storage: Storage) -> WeightBundle:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trg.network.export.onnx_graph", lambda _: copy.deepcopy(graph))
            return export_bundle(network, folder / "net.trg", ExportFacts("net"), storage)

    return export


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_a_network_comes_back_from_its_bundle(
    network: TRGNetwork, exported: Callable[[Storage], WeightBundle], storage: Storage
) -> None:
    bundle = exported(storage)
    back = network_from_bundle(bundle)
    parity = measure_parity(back, bundle)
    assert max(parity[name] for name in LIMITED) < 1e-4
    assert back.config == network.config


def test_settled_norms_change_no_answer_and_fit_the_batch(
    network: TRGNetwork, exported: Callable[[Storage], WeightBundle]
) -> None:
    bundle = exported("float32")
    back = network_from_bundle(bundle)
    crops, targets = labelled_batch(TOPOLOGY, network.config.crop_size, 16)

    def rotation() -> np.ndarray:
        with torch.no_grad():
            return back(crops, targets.bbox_info).stages[-1].rotation.numpy()

    answer = rotation()
    back.train()
    learning = rotation()
    assert np.abs(learning - answer).max() > 1e-2, "without statistics, training says other things"

    back = network_from_bundle(bundle)
    recalibrate_batchnorm(back, crops, targets.bbox_info)
    assert not back.training
    np.testing.assert_allclose(rotation(), answer, atol=2e-5)
    back.train()
    np.testing.assert_allclose(rotation(), answer, atol=1e-3)


def test_another_graph_is_refused(exported: Callable[[Storage], WeightBundle]) -> None:
    bundle = exported("float32")
    graph = onnx.load_from_string(bundle.model)
    for tensor in graph.graph.initializer:
        tensor.name = tensor.name.replace("network.heatmaps", "network.points")
    strange = WeightBundle(graph.SerializeToString(), bundle.topology, bundle.card)
    with pytest.raises(ValueError, match=r"expected weights heatmaps\.weight of shape \(68, 8"):
        network_from_bundle(strange)
