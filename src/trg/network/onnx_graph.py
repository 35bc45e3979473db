"""ONNX graphs of torch modules: export, parity check, and compact storage of weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from trg.inference.onnx_session import OnnxSession

OPSET = 20

Storage = Literal["float32", "float16", "int8"]
"""Type of stored weights; the graph computes in float32."""

MIN_QUANTIZED_SIZE = 10_000
"""Smaller tensors stay float32. There is little to gain: the last step's pose head (2304 weights)
alone costs 0.05 % of NME-11 in int8, most of what all weights together cost."""


def export_graph(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    output_names: Sequence[str],
    dynamic_shapes: Sequence[Mapping[int, Any]],
) -> onnx.ModelProto:
    """Trace a module in evaluation mode into an ONNX graph.

    Parameters
    ----------
    inputs
        Example inputs by their names in the graph.
    dynamic_shapes
        Per input, its variable axes, as ``torch.export`` takes them.
    """
    with _quiet_exporter():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(output_names),
            dynamic_shapes=tuple(dynamic_shapes),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    strip_metadata(graph)
    onnx.checker.check_model(graph)
    return graph


def measure_graph_parity(
    module: nn.Module,
    graph: bytes,
    inputs: Sequence[NDArray[Any]],
    output_names: Sequence[str],
) -> dict[str, float]:
    """Return the largest absolute difference of each output between a graph and its module."""
    session = OnnxSession("exported graph", graph, 1, None)
    outputs = session.run(output_names, dict(zip(session.inputs, inputs, strict=True)))
    with torch.inference_mode():
        expected = module(*(torch.from_numpy(array) for array in inputs))
    return {
        name: float(np.abs(got - wanted.numpy()).max())
        for name, got, wanted in zip(output_names, outputs, expected, strict=True)
    }


def random_patches(count: int, height: int, width: int, patch_px: int) -> NDArray[np.uint8]:
    """Return fixed images ``(n, h, w, 3)`` of random square patches, to compare networks on.

    Pixel noise would average out in the first layers and hardly change a network's output.
    """
    shape = (count, height // patch_px, width // patch_px, 3)
    patches = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return patches.repeat(patch_px, axis=1).repeat(patch_px, axis=2)


def quantize_weights(graph: onnx.ModelProto, storage: Storage) -> None:
    """Store a graph's large weight tensors in fewer bytes, in place.

    float16 weights are followed by a Cast; int8 weights by a Cast and a Mul with one scale per
    output channel, the largest magnitude over 127. ONNX Runtime folds both when it loads the graph.
    Biases, the template and small tensors stay float32.
    """
    if storage == "float32":
        return
    dequantize = []
    for tensor in list(graph.graph.initializer):
        size = int(np.prod(tensor.dims))
        is_weight = tensor.name.endswith(".weight") and len(tensor.dims) >= 2
        if tensor.data_type != TensorProto.FLOAT or size < MIN_QUANTIZED_SIZE or not is_weight:
            continue
        name, stored_name = tensor.name, f"{tensor.name}.{storage}"
        weight = numpy_helper.to_array(tensor)
        if storage == "float16":
            stored = weight.astype(np.float16)
            dequantize.append(helper.make_node("Cast", [stored_name], [name], to=TensorProto.FLOAT))
        else:
            scale = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True) / 127.0
            scale = np.maximum(scale, np.finfo(np.float32).tiny)
            stored = np.rint(weight / scale).astype(np.int8)
            graph.graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
            steps = f"{name}.steps"
            dequantize += [
                helper.make_node("Cast", [stored_name], [steps], to=TensorProto.FLOAT),
                helper.make_node("Mul", [steps, f"{name}.scale"], [name]),
            ]
        tensor.CopyFrom(numpy_helper.from_array(stored, stored_name))
    nodes = dequantize + list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    onnx.checker.check_model(graph)


def strip_metadata(graph: onnx.ModelProto) -> None:
    """Remove the exporter's metadata: local source paths, and a third of a small file."""
    body = graph.graph
    for part in (graph, body, *body.node, *body.value_info):
        del part.metadata_props[:]
    for part in (*body.node, *body.input, *body.output, *body.initializer):
        part.ClearField("doc_string")
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Suppress the exporter's warnings about its internals and about a missing torchvision."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        registry.setLevel(level)
