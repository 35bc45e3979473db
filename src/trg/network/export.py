"""Trained networks to weight bundles, and back to networks that can be trained on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any, get_args

import numpy as np
import onnx
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from trg.inference.bundle import WeightBundle, WeightCard, write_bundle
from trg.inference.runtime import INPUTS, REQUIRED_OUTPUTS
from trg.network.config import TRGConfig
from trg.network.cost import multiply_adds, parameter_count
from trg.network.onnx_graph import (
    Storage,
    export_graph,
    measure_graph_parity,
    quantize_weights,
    random_patches,
)
from trg.network.trg import TRGNetwork

PARITY_LIMIT = 1e-4
"""Largest difference between a float32 export and the network, in metres and rotation entries."""

PARITY_CROPS = 4

LIMITED_OUTPUTS = ("rotation", "translation_m", "vertices_m")
"""Outputs that :data:`PARITY_LIMIT` holds for."""

GRAPH_PREFIX = "network."
"""Prefix of the network's parameter names in an exported graph."""

STARTS = ("start_rotation_6d", "start_vertices_m", "start_correction")
"""Theta_0 in the network's buffers."""

_NORM_AFTER = {"conv1": "bn1", "conv2": "bn2", "0": "1"}
"""Name of the batch normalisation after a convolution, by the convolution's name."""


class ExportedForward(nn.Module):
    """The network with the runtime's interface: uint8 crops in, the last step's arrays out."""

    def __init__(self, network: TRGNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, crops: UInt8[Tensor, "b s s 3"], bbox_info: Float[Tensor, "b 3"]
    ) -> tuple[Tensor, ...]:
        """Return :data:`~trg.inference.runtime.REQUIRED_OUTPUTS`."""
        thetas, landmarks68_crop, peaks, _ = self.network.refine(
            crops.permute(0, 3, 1, 2), bbox_info
        )
        last = self.network.step_output(thetas[-1], bbox_info)
        return (
            last.rotation,
            last.translation_m,
            last.vertices_m,
            last.vertices_crop,
            landmarks68_crop,
            peaks,
        )


def export_bundle(
    network: TRGNetwork,
    path: str | PathLike[str],
    name: str,
    storage: Storage = "float32",
    *,
    licence: str = "unknown",
    attribution: tuple[str, ...] = (),
    training: Mapping[str, Any] | None = None,
) -> WeightBundle:
    """Export a network to a weight bundle, write it and return it.

    Parameters
    ----------
    name, licence, attribution, training
        Fields of the weight card.
    storage
        "float16" halves the file, "int8" quarters it; the graph still computes in float32. The
        effect of the rounding is measured and written to the card; it is not limited.

    Raises
    ------
    ValueError
        The float32 graph differs from the network by more than :data:`PARITY_LIMIT`, or the
        storage is unknown.
    """
    if storage not in get_args(Storage):
        raise ValueError(f"storage: expected one of {get_args(Storage)}, got {storage!r}")
    network = copy.deepcopy(network).cpu().float().eval()
    size = network.config.crop_size
    card = WeightCard(
        name=name,
        crop_size=size,
        config=network.config.to_dict(),
        storage=storage,
        parameters=parameter_count(network),
        multiply_adds=multiply_adds(
            ExportedForward(network).eval(),
            torch.zeros(1, size, size, 3, dtype=torch.uint8),
            torch.ones(1, 3),
        ),
        licence=licence,
        attribution=attribution,
        training=dict(training or {}),
    )
    graph = onnx_graph(network)
    bundle = WeightBundle(graph.SerializeToString(), network.topology, card)
    parity = measure_parity(network, bundle)
    above = {each: parity[each] for each in LIMITED_OUTPUTS if not parity[each] < PARITY_LIMIT}
    if above:
        raise ValueError(
            f"export of {name!r}: expected the graph to agree with the network within "
            f"{PARITY_LIMIT}, got {above}; the network may hold extreme or NaN weights"
        )
    if storage != "float32":
        quantize_weights(graph, storage)
        bundle = WeightBundle(graph.SerializeToString(), network.topology, card)
        parity = measure_parity(network, bundle)
    bundle = replace(bundle, card=replace(card, parity=parity))
    write_bundle(path, bundle)
    return bundle


def onnx_graph(network: TRGNetwork) -> onnx.ModelProto:
    """Trace a network in evaluation mode into one ONNX graph for any batch size."""
    size = network.config.crop_size
    batch = torch.export.Dim("batch")
    examples = (torch.zeros(2, size, size, 3, dtype=torch.uint8), torch.ones(2, 3))
    return export_graph(
        ExportedForward(network),
        dict(zip(INPUTS, examples, strict=True)),
        REQUIRED_OUTPUTS,
        ({0: batch}, {0: batch}),
    )


def measure_parity(network: TRGNetwork, bundle: WeightBundle) -> dict[str, float]:
    """Return each output's largest absolute difference between a bundle and its network.

    Measured on :data:`PARITY_CROPS` fixed crops of random patches.
    """
    count = PARITY_CROPS
    size = network.config.crop_size
    rng = np.random.default_rng(1)
    centre, side = rng.uniform(-0.3, 0.3, (count, 2)), rng.uniform(0.1, 0.6, (count, 1))
    crops = random_patches(count, size, size, size // 8)
    bbox_info = np.concatenate([centre, side], 1).astype(np.float32)
    forward = ExportedForward(network)
    return measure_graph_parity(forward, bundle.model, (crops, bbox_info), REQUIRED_OUTPUTS)


def network_from_bundle(bundle: WeightBundle) -> TRGNetwork:
    """Restore a bundle's network, in evaluation mode, with the weights as the bundle stores them.

    The exported graph has its batch normalisations folded into the convolutions. The restored
    ones have neutral statistics: call :func:`recalibrate_batchnorm` before training.

    Raises ValueError if the graph is not one that :func:`~trg.network.export.export_bundle` writes.
    """
    config = TRGConfig.from_dict(bundle.card.config)
    with torch.device("meta"):  # takes no memory
        count = parameter_count(TRGNetwork(config, bundle.topology))
    if count > len(bundle.model):  # each takes a byte or more
        raise ValueError(
            f"bundle {bundle.card.name!r}: expected a graph of {count} weights, as the card's "
            f"configuration has, got one of {len(bundle.model)} bytes"
        )
    network = TRGNetwork(config, bundle.topology)
    weights = _weights(onnx.load_from_string(bundle.model).graph)

    def stored(name: str, like: Tensor) -> Tensor:
        array = weights.get(name)
        if array is None or array.shape != tuple(like.shape):
            got = "none" if array is None else f"one of shape {array.shape}"
            raise ValueError(
                f"bundle {bundle.card.name!r}: expected weights {name} of shape "
                f"{tuple(like.shape)}, got {got}; its graph was not exported by this package"
            )
        return torch.tensor(array)

    with torch.no_grad():
        for name in STARTS:
            if name in weights:  # the exporter leaves out what a variant does not use
                getattr(network, name).copy_(stored(name, getattr(network, name)))
        for layer_name, layer in network.named_modules():
            if isinstance(layer, nn.BatchNorm2d):
                continue  # restored with the convolution it was folded into
            for name, parameter in layer.named_parameters(layer_name, recurse=False):
                parameter.copy_(stored(name, parameter))
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is None:
                norm = _norm_after(network, layer_name)
                norm.weight.fill_((1.0 + norm.eps) ** 0.5)  # cancels the initial variance of 1
                norm.bias.copy_(stored(f"{layer_name}.weight_bias", norm.bias))
    return network.eval()


@torch.no_grad()
def recalibrate_batchnorm(
    network: TRGNetwork, crops: Float[Tensor, "b 3 s s"], bbox_info: Float[Tensor, "b 3"]
) -> None:
    """Set the statistics of all batch normalisations from some crops; outputs stay the same.

    Scale and shift are changed to compensate for the new mean and variance, so that the network in
    training mode, with a batch's own statistics, gives nearly the outputs of evaluation mode. A few
    hundred faces are enough.
    """

    def recalibrate(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        offset = norm.bias - norm.running_mean * gain
        variance, mean = torch.var_mean(inputs[0].float(), (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(gain * (variance + norm.eps).sqrt())
        norm.bias.copy_(offset + gain * mean)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(recalibrate) for norm in norms]
    was_training = network.training
    try:
        network.eval()(crops, bbox_info)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()


def _norm_after(network: TRGNetwork, convolution: str) -> nn.BatchNorm2d:
    parent, _, own = convolution.rpartition(".")
    norm = network.get_submodule(f"{parent}.{_NORM_AFTER[own]}")
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


def _weights(graph: onnx.GraphProto) -> dict[str, NDArray[np.float32]]:
    """Return a graph's weights by parameter name, in float32 and torch's layout."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producer = {output: node for node in graph.node for output in node.output}
    weights = {}
    for full_name, array in arrays.items():
        name, _, storage = full_name.removeprefix(GRAPH_PREFIX).rpartition(".")
        if not full_name.startswith(GRAPH_PREFIX):
            continue
        if storage == "int8":
            weights[name] = array.astype(np.float32) * arrays[f"{GRAPH_PREFIX}{name}.scale"]
        elif storage == "float16":
            weights[name] = array.astype(np.float32)
        else:
            weights[full_name.removeprefix(GRAPH_PREFIX)] = array
    for node in graph.node:
        has_bias = len(node.input) > 2 and node.input[2] != ""
        if node.op_type in ("Conv", "Gemm") and not has_bias:
            name = node.input[1].removeprefix(GRAPH_PREFIX)
            if name in weights:  # the exporter leaves out a bias of zeros, the layer's or a norm's
                for bias in (name.removesuffix("weight") + "bias", f"{name}_bias"):
                    weights[bias] = np.zeros(len(weights[name]), np.float32)
    # The exporter writes a Linear on 3D input as MatMul with an unnamed, transposed matrix and Add
    # of the named bias.
    for node in graph.node:
        biases = [name for name in node.input if name in arrays and name.endswith(".bias")]
        products = [producer[name] for name in node.input if name in producer]
        if node.op_type == "Add" and biases and products and products[0].op_type == "MatMul":
            name = biases[0].removeprefix(GRAPH_PREFIX).replace(".bias", ".weight")
            weights[name] = np.ascontiguousarray(arrays[products[0].input[1]].T)
    return weights
