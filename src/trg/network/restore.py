"""From a weight bundle back to a network that can be trained on.

An exported graph has its batch normalisations folded into the convolutions before them. A network
that learns needs them again: :func:`recalibrate_batchnorm` gives each the statistics of what it
is shown, and the scale and shift that cancel them. The network answers as the graph does, and in
training a batch's own statistics are near those of its norms.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from trg.inference.bundle import WeightBundle
from trg.network.config import TRGConfig
from trg.network.trg import TRGNetwork

PREFIX = "network."
"""Of the names in an exported graph, whose root holds the network."""

_NORM_AFTER = {"conv1": "bn1", "conv2": "bn2", "0": "1"}
"""How the norm behind a convolution is called, by the convolution's own name."""


def network_from_bundle(bundle: WeightBundle) -> TRGNetwork:
    """Return a bundle's network in evaluation mode, with the weights as the bundle stores them.

    Before it is trained its norms want :func:`recalibrate_batchnorm`.

    Raises
    ------
    ValueError
        The graph is not one that :func:`~trg.network.export.export_bundle` writes.
    """
    network = TRGNetwork(TRGConfig.from_dict(bundle.card.config), bundle.topology)
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
        for layer_name, layer in network.named_modules():
            if isinstance(layer, nn.BatchNorm2d):
                continue  # filled beside the convolution that it was folded into
            for name, parameter in layer.named_parameters(layer_name, recurse=False):
                parameter.copy_(stored(name, parameter))
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is None:
                norm = _norm_after(network, layer_name)
                norm.weight.fill_((1.0 + norm.eps) ** 0.5)  # cancels the fresh variance of 1
                norm.bias.copy_(stored(f"{layer_name}.weight_bias", norm.bias))
    return network.eval()


@torch.no_grad()
def recalibrate_batchnorm(
    network: TRGNetwork, crops: Float[Tensor, "b 3 s s"], bbox_info: Float[Tensor, "b 3"]
) -> None:
    """Give all batch norms the statistics of some crops, and change no answer.

    Parameters
    ----------
    crops, bbox_info
        As the network takes them; a few hundred faces.
    """

    def settle(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
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
    hooks = [norm.register_forward_pre_hook(settle) for norm in norms]
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
    """Return a graph's weights by the network's names, in float32 and in torch's layout."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}
    weights = {}
    for full_name, array in arrays.items():
        name, _, storage = full_name.removeprefix(PREFIX).rpartition(".")
        if not full_name.startswith(PREFIX):
            continue
        if storage == "int8":
            weights[name] = array.astype(np.float32) * arrays[f"{PREFIX}{name}.scale"]
        elif storage == "float16":
            weights[name] = array.astype(np.float32)
        else:
            weights[f"{name}.{storage}"] = array
    # The exporter turns a Linear on many points into a product with a nameless, transposed matrix,
    # and a sum with the bias that still has its name.
    for node in graph.node:
        terms = [name for name in node.input if name in arrays and name.endswith(".bias")]
        products = [made[name] for name in node.input if name in made]
        if node.op_type == "Add" and terms and products and products[0].op_type == "MatMul":
            name = terms[0].removeprefix(PREFIX).replace(".bias", ".weight")
            weights[name] = np.ascontiguousarray(arrays[products[0].input[1]].T)
    return weights
