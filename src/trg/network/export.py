"""From a trained network to a weight bundle: one ONNX graph, checked against the network."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal, get_args

import numpy as np
import onnx
import torch
from jaxtyping import Float, UInt8
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from trg.inference.bundle import WeightBundle, WeightCard, write_bundle
from trg.inference.runtime import INPUTS, PoseArrays, PoseRuntime
from trg.network.cost import multiply_adds, parameter_count
from trg.network.trg import TRGNetwork

OPSET = 20
PARITY_LIMIT = 1e-4
"""Largest difference from torch that an export may have, in metres and rotation entries."""

LIMITED = ("rotation", "translation_m", "vertices_m")
SMALL_TENSOR = 10_000
"""Tensors with fewer numbers stay float32: little to gain, and some to lose. The last step's pose
head, 2304 numbers, costs 0.05 % of NME-11 in eight bits, most of what all weights together do."""

Storage = Literal["float32", "float16", "int8"]


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """What only the person who exports knows; it goes onto the card."""

    name: str
    licence: str = "unknown"
    attribution: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)


class ExportedForward(nn.Module):
    """The network as the runtime calls it: uint8 images in, the last step's arrays out."""

    def __init__(self, network: TRGNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, crops: UInt8[Tensor, "b s s 3"], bbox_info: Float[Tensor, "b 3"]
    ) -> tuple[Tensor, ...]:
        """Return the arrays of ``PoseArrays``."""
        output = self.network(crops.permute(0, 3, 1, 2), bbox_info)
        last = output.stages[-1]
        return (
            last.rotation,
            last.translation_m,
            last.vertices_m,
            last.vertices_crop,
            output.landmarks68_crop,
            output.peaks,
        )


def export_bundle(
    network: TRGNetwork,
    path: str | PathLike[str],
    facts: ExportFacts,
    storage: Storage = "float32",
) -> WeightBundle:
    """Write a network to a weight bundle and return it.

    Parameters
    ----------
    storage
        "float16" halves the file, "int8" quarters it; the graph still computes in float32. The
        rounding's effect is measured and written to the card, not limited.

    Raises
    ------
    ValueError
        The exported graph differs from the network by more than :data:`PARITY_LIMIT` (in float32),
        or the storage is unknown.
    """
    if storage not in get_args(Storage):
        raise ValueError(f"storage: expected one of {get_args(Storage)}, got {storage!r}")
    network = copy.deepcopy(network).cpu().float().eval()
    size = network.config.crop_size
    card = WeightCard(
        name=facts.name,
        crop_size=size,
        config=network.config.to_dict(),
        licence=facts.licence,
        attribution=facts.attribution,
        training=facts.training,
        storage=storage,
        parameters=parameter_count(network),
        multiply_adds=multiply_adds(network),
    )
    graph = onnx_graph(network)
    bundle = WeightBundle(graph.SerializeToString(), network.topology, card)
    parity = measure_parity(network, bundle)
    too_far = {name: parity[name] for name in LIMITED if not parity[name] < PARITY_LIMIT}
    if too_far:
        raise ValueError(
            f"export of {facts.name!r}: expected the graph to agree with the network within "
            f"{PARITY_LIMIT}, got {too_far}; the network may hold extreme or NaN weights"
        )
    if storage != "float32":
        quantize_weights(graph, storage)
        bundle = WeightBundle(graph.SerializeToString(), network.topology, card)
        parity = measure_parity(network, bundle)
    card.parity.update(parity)
    write_bundle(path, bundle)
    return bundle


@contextmanager
def exporter_kept_quiet() -> Iterator[None]:
    """Hide what the exporter says of its own internals and of a torchvision that nobody needs."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        registry.setLevel(level)


def onnx_graph(network: TRGNetwork) -> onnx.ModelProto:
    """Trace a network in evaluation mode into one ONNX graph with any batch size."""
    size = network.config.crop_size
    batch = torch.export.Dim("batch")
    crops = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with exporter_kept_quiet():
        program = torch.onnx.export(
            ExportedForward(network),
            (crops, torch.ones(2, 3)),
            input_names=INPUTS,
            output_names=PoseArrays._fields,
            dynamic_shapes=({0: batch}, {0: batch}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    strip_metadata(graph)
    onnx.checker.check_model(graph)
    return graph


def measure_parity(network: TRGNetwork, bundle: WeightBundle, count: int = 4) -> dict[str, float]:
    """Return each output's largest absolute difference between a bundle and its network.

    Measured on ``count`` fixed patchworks of colour, the same every time: fine noise would average
    out, and a network's answers to it hardly differ.
    """
    rng = np.random.default_rng(0)
    size = network.config.crop_size
    crops = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    crops = crops.repeat(size // 8, axis=1).repeat(size // 8, axis=2)
    centre, side = rng.uniform(-0.3, 0.3, (count, 2)), rng.uniform(0.1, 0.6, (count, 1))
    boxes = np.concatenate([centre, side], 1).astype(np.float32)
    got = PoseRuntime(bundle)(crops, boxes)
    with torch.inference_mode():
        expected = ExportedForward(network)(torch.from_numpy(crops), torch.from_numpy(boxes))
    return {
        name: float(np.abs(a - b.numpy()).max())
        for name, a, b in zip(PoseArrays._fields, got, expected, strict=True)
    }


def quantize_weights(graph: onnx.ModelProto, storage: Storage) -> None:
    """Store a graph's weight matrices in fewer bytes, in place; it computes in float32 as before.

    float16 weights are followed by a Cast; int8 weights by a Cast and a multiplication with one
    scale per row, the largest magnitude over 127. The runtime folds both when it loads the graph.
    Biases, the template and everything else that is small stays float32.
    """
    restored = []
    for tensor in list(graph.graph.initializer):
        size = int(np.prod(tensor.dims))
        is_weight = tensor.name.endswith(".weight") and len(tensor.dims) >= 2
        if tensor.data_type != TensorProto.FLOAT or size < SMALL_TENSOR or not is_weight:
            continue
        name, stored = tensor.name, f"{tensor.name}.{storage}"
        weight = numpy_helper.to_array(tensor)
        cast_to = name
        if storage == "int8":
            scale = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True) / 127.0
            scale = np.maximum(scale, np.finfo(np.float32).tiny)
            small = np.rint(weight / scale).astype(np.int8)
            cast_to = f"{name}.steps"
            graph.graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        else:
            small = weight.astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(small, stored))
        restored.append(helper.make_node("Cast", [stored], [cast_to], to=TensorProto.FLOAT))
        if storage == "int8":
            restored.append(helper.make_node("Mul", [cast_to, f"{name}.scale"], [name]))
    nodes = restored + list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    onnx.checker.check_model(graph)


def strip_metadata(graph: onnx.ModelProto) -> None:
    """Remove the exporter's notes: source paths of the machine, and a third of a small file."""
    for part in (graph, graph.graph, *graph.graph.node, *graph.graph.value_info):
        del part.metadata_props[:]
    for part in (
        *graph.graph.node,
        *graph.graph.input,
        *graph.graph.output,
        *graph.graph.initializer,
    ):
        part.ClearField("doc_string")
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
