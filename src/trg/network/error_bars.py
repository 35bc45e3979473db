"""Error bars of a trained network: a small head that reads the network's outputs.

The head estimates the standard deviations of :mod:`trg.error_bars` from what tells good estimates
from bad ones: the peaks of the heatmaps, how far the projected landmarks are from the heatmaps',
the pose, and the place of the face in its box. It reads no features of the network: with some
thousands of faces to learn from, those of the last regressor made it worse.

The pose network stays as it is. :func:`add_error_bars` appends the head to the graph of a bundle,
whose other outputs do not change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import onnx
import torch
from jaxtyping import Float
from onnx import TensorProto, compose, helper
from torch import Tensor, nn

from trg.error_bars import STD_COUNT
from trg.geometry.crop import BOX_MARGIN
from trg.geometry.face_mesh import FaceTopology
from trg.inference.bundle import WeightBundle
from trg.inference.runtime import PoseArrays, PoseRuntime
from trg.network.onnx_graph import export_graph, random_patches

OUTPUT = "std"
READS = ("rotation", "vertices_crop", "landmarks68_crop", "peaks")
"""Outputs of the network that the head reads, besides ``bbox_info``."""

PREFIX = "error_bars."
"""Prefix of the head's names in a graph."""

DISTANCE_RANKS = (6, 16, 33, 50)
"""The 90th percentile and the quartiles of 68 distances, counted from the largest."""

FEATURE_COUNT = 68 + len(DISTANCE_RANKS) + 12
HIDDEN = 64
LARGEST_FEATURE = 6.0
"""In standard deviations. Beyond it an estimate is as bad as any that the head was fitted to."""

LOG_STD_RANGE = (-4.0, 5.0)
"""About the medians over all faces."""

PARITY_LIMIT = 1e-3
"""Largest relative difference between the graph's standard deviations and the head's."""

_PARITY_CROPS = 4


class ErrorBarHead(nn.Module):
    """Standard deviations from a network's outputs.

    Attributes
    ----------
    feature_mean, feature_std
        ``(84,)``: of :meth:`features` over the faces that the head is fitted to.
    log_std
        ``(86,)``: logarithms of the standard deviations over all faces.
    """

    feature_mean: Tensor
    feature_std: Tensor
    log_std: Tensor
    landmarks68: Tensor

    def __init__(self, topology: FaceTopology) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(FEATURE_COUNT, HIDDEN),
            nn.LeakyReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.LeakyReLU(),
            nn.Linear(HIDDEN, STD_COUNT),
        )
        self.register_buffer("feature_mean", torch.zeros(FEATURE_COUNT))
        self.register_buffer("feature_std", torch.ones(FEATURE_COUNT))
        self.register_buffer("log_std", torch.zeros(STD_COUNT))
        self.register_buffer(
            "landmarks68", torch.tensor(topology.landmarks68, dtype=torch.int64), persistent=False
        )

    def forward(
        self,
        bbox_info: Float[Tensor, "b 3"],
        rotation: Float[Tensor, "b 3 3"],
        vertices_crop: Float[Tensor, "b n 2"],
        landmarks68_crop: Float[Tensor, "b 68 2"],
        peaks: Float[Tensor, "b 68"],
    ) -> Float[Tensor, "b 86"]:
        """Return standard deviations; the arguments are the network's input and outputs."""
        features = self.features(bbox_info, rotation, vertices_crop, landmarks68_crop, peaks)
        return self.log_std_of(features).exp()

    def log_std_of(self, features: Float[Tensor, "b 84"]) -> Float[Tensor, "b 86"]:
        """Return the logarithms of the standard deviations for :meth:`features`."""
        standard = (features - self.feature_mean) / self.feature_std
        change = self.mlp(standard.clamp(-LARGEST_FEATURE, LARGEST_FEATURE))
        return cast(Tensor, self.log_std + change.clamp(*LOG_STD_RANGE))

    def features(
        self,
        bbox_info: Float[Tensor, "b 3"],
        rotation: Float[Tensor, "b 3 3"],
        vertices_crop: Float[Tensor, "b n 2"],
        landmarks68_crop: Float[Tensor, "b 68 2"],
        peaks: Float[Tensor, "b 68"],
    ) -> Float[Tensor, "b 84"]:
        """Return what the head reads: logarithms where a number varies by orders of magnitude."""
        projected = vertices_crop.index_select(1, self.landmarks68)
        distances = (landmarks68_crop - projected).square().sum(-1).sqrt()
        largest = distances.topk(DISTANCE_RANKS[-1] + 1, 1).values  # an ONNX graph cannot sort
        ranked = torch.cat([largest[:, rank : rank + 1] for rank in DISTANCE_RANKS], 1)
        low, high = projected.amin(1), projected.amax(1)
        side = BOX_MARGIN * (high - low).amax(1, keepdim=True)
        sizes = torch.cat([peaks, ranked + 1e-3, bbox_info[:, 2:], side], 1)
        return torch.cat(
            [
                sizes.clamp_min(1e-4).log(),
                rotation[:, :, :2].flatten(1),
                bbox_info[:, :2],
                (low + high) / 2.0,
            ],
            1,
        )


def add_error_bars(bundle: WeightBundle, head: ErrorBarHead) -> WeightBundle:
    """Return the bundle with the head's standard deviations as a further output of its graph.

    Replaces those that the graph has already. The card's parity gets their largest relative
    difference from the head's.

    Raises ValueError if it exceeds :data:`PARITY_LIMIT`.
    """
    model = onnx.load_from_string(without_error_bars(bundle).model)
    part = compose.add_prefix(head_graph(head, bundle.topology.vertex_count), PREFIX).graph
    names = {f"{PREFIX}{name}": name for name in (*READS, OUTPUT)}
    names[f"{PREFIX}bbox_info"] = model.graph.input[1].name
    for node in part.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    model.graph.node.extend(part.node)
    model.graph.initializer.extend(part.initializer)
    batch = model.graph.output[0].type.tensor_type.shape.dim[0].dim_param
    model.graph.output.append(
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch, STD_COUNT])
    )
    onnx.checker.check_model(model)
    extended = replace(bundle, model=model.SerializeToString())
    parity = _parity(extended, head)
    if not parity < PARITY_LIMIT:
        raise ValueError(
            f"error bars of {bundle.card.name!r}: expected the graph to agree with the head within "
            f"{PARITY_LIMIT} of each standard deviation, got {parity}"
        )
    card = replace(bundle.card, parity={**bundle.card.parity, OUTPUT: parity})
    return replace(extended, card=card)


def without_error_bars(bundle: WeightBundle) -> WeightBundle:
    """Return the bundle without the head that :func:`add_error_bars` appended, if it has one."""
    model = onnx.load_from_string(bundle.model)
    graph = model.graph
    for part in (graph.node, graph.initializer):
        kept = [each for each in part if not each.name.startswith(PREFIX)]
        del part[:]
        part.extend(kept)
    outputs = [each for each in graph.output if each.name != OUTPUT]
    del graph.output[:]
    graph.output.extend(outputs)
    parity = {name: value for name, value in bundle.card.parity.items() if name != OUTPUT}
    return replace(
        bundle, model=model.SerializeToString(), card=replace(bundle.card, parity=parity)
    )


def head_inputs(arrays: PoseArrays, bbox_info: Float[Tensor, "b 3"]) -> tuple[Tensor, ...]:
    """Return the arguments of :meth:`ErrorBarHead.features`."""
    return bbox_info, *(torch.from_numpy(np.array(getattr(arrays, name))) for name in READS)


def head_graph(head: ErrorBarHead, vertex_count: int) -> onnx.ModelProto:
    """Trace a head into an ONNX graph for any batch size."""
    batch = torch.export.Dim("batch")
    examples = {
        "bbox_info": torch.ones(2, 3),
        "rotation": torch.eye(3).repeat(2, 1, 1),
        "vertices_crop": torch.rand(2, vertex_count, 2),
        "landmarks68_crop": torch.rand(2, 68, 2),
        "peaks": torch.rand(2, 68),
    }
    return export_graph(head.cpu().float().eval(), examples, (OUTPUT,), ({0: batch},) * 5)


def _parity(bundle: WeightBundle, head: ErrorBarHead) -> float:
    """Return the largest relative difference of the graph's standard deviations from the head's."""
    size = bundle.card.crop_size
    crops = random_patches(_PARITY_CROPS, size, size, size // 8)
    bbox_info = np.tile(np.array([0.1, -0.1, 0.3], np.float32), (_PARITY_CROPS, 1))
    arrays = PoseRuntime(bundle)(crops, bbox_info)
    assert arrays.std is not None
    with torch.inference_mode():
        expected = head(*head_inputs(arrays, torch.from_numpy(bbox_info))).numpy()
    return float(np.abs(arrays.std / expected - 1.0).max())
