"""Export of a trained detector to the ONNX file of :mod:`trg.inference.detector`."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from onnx import ModelProto, StringStringEntryProto
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trg._util.files import write_atomic
from trg.inference.detector import CARD, INPUTS, MULTIPLE, OUTPUTS, UNIT_SIDE_PX
from trg.network.cost import multiply_adds, parameter_count
from trg.network.onnx_graph import (
    export_graph,
    measure_graph_parity,
    quantize_weights,
    random_patches,
)
from trglab.detector.network import DetectorNetwork

PARITY_LIMIT = 1e-3
"""Largest accepted difference between graph and network in float32, in scores or box sides."""

FULL_SCORE_SIDE_PX = 128.0
DISCOUNT_PER_OCTAVE, MAX_OCTAVES = 0.05, 3.0
"""Scores of boxes below :data:`FULL_SCORE_SIDE_PX` are reduced by this share per octave. On
negatives the highest scores of small boxes exceed those of large ones by about 7 % per octave, and
one threshold serves all sizes."""


class ExportedDetector(nn.Module):
    """The network with the interface of the runtime."""

    def __init__(self, network: DetectorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: UInt8[Tensor, "b h w 3"]) -> tuple[Tensor, Tensor]:
        """Return scores ``(b, h / 8, w / 8)`` from 0 to 1, and faces ``(b, h / 8, w / 8, 13)``."""
        output = self.network(images)
        octaves_above_unit = output.faces[..., 2] / math.log(2.0)
        octaves_below = math.log2(FULL_SCORE_SIDE_PX / UNIT_SIDE_PX) - octaves_above_unit
        discount = DISCOUNT_PER_OCTAVE * octaves_below.clamp(0.0, MAX_OCTAVES)
        return torch.sigmoid(output.logits) * (1.0 - discount), output.faces


def export_detector(
    network: DetectorNetwork, path: str | PathLike[str], card: dict[str, Any]
) -> dict[str, Any]:
    """Write a network to one ONNX file with its model card, and return the card.

    Weights are stored as float16; the graph computes in float32. The file consists of the graph,
    whose length and SHA-256 are in the card, followed by the card as ONNX metadata. Concatenated
    protobuf messages are one message, so the file is a valid ONNX model.

    Parameters
    ----------
    card
        Name, licence, attribution, training, figures, and ``threshold``, the detection threshold.

    Raises
    ------
    ValueError
        The graph differs from the network by more than :data:`PARITY_LIMIT`, or the card has no
        valid threshold.
    """
    if not 0.0 < float(card.get("threshold", 0.0)) < 1.0:
        raise ValueError(f"card: expected a threshold from 0 to 1, got {card.get('threshold')}")
    network = copy.deepcopy(network).cpu().float().eval()
    graph = detector_graph(network)
    parity = measure_parity(network, graph)
    if not max(parity.values()) < PARITY_LIMIT:
        raise ValueError(f"export: expected the graph to agree with the network, got {parity}")
    quantize_weights(graph, "float16")
    data = graph.SerializeToString()
    card = {
        **card,
        "storage": "float16",
        "parity": measure_parity(network, graph),
        "parameters": parameter_count(network),
        "multiply_adds_320x256": multiply_adds(
            network, torch.zeros(1, 256, 320, 3, dtype=torch.uint8)
        ),
        "config": asdict(network.config),
        "graph_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    note = ModelProto(
        metadata_props=[StringStringEntryProto(key=CARD, value=json.dumps(card, sort_keys=True))]
    )
    write_atomic(Path(path), lambda file: file.write(data + note.SerializeToString()))
    return card


def detector_graph(network: DetectorNetwork) -> ModelProto:
    """Trace a network into one ONNX graph for any number of images of any size."""
    batch = torch.export.Dim("batch")
    rows, columns = torch.export.Dim("rows"), torch.export.Dim("columns")
    images = torch.zeros(2, 3 * MULTIPLE, 2 * MULTIPLE, 3, dtype=torch.uint8)
    return export_graph(
        ExportedDetector(_folded(network)),
        {INPUTS[0]: images},
        OUTPUTS,
        ({0: batch, 1: MULTIPLE * rows, 2: MULTIPLE * columns},),
    )


def measure_parity(network: DetectorNetwork, graph: ModelProto) -> dict[str, float]:
    """Return each output's largest absolute difference between a graph and its network."""
    images = random_patches(2, 192, 288, 24)
    return measure_graph_parity(
        ExportedDetector(network), graph.SerializeToString(), (images,), OUTPUTS
    )


def _folded(network: DetectorNetwork) -> DetectorNetwork:
    """Return a copy whose scale and batch normalisations are folded into the convolutions."""
    folded = copy.deepcopy(network).eval()
    folded.fold_input_scale()
    for block in folded.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for index in range(len(block) - 1):
            convolution, normalisation = block[index], block[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
                block[index] = fuse_conv_bn_eval(convolution, normalisation)
                block[index + 1] = nn.Identity()
    return folded
