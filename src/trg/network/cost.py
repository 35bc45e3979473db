"""Size and cost of a network, as weight cards and tables state them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

_LAYER_OPS = (
    torch.ops.aten.convolution,
    torch.ops.aten.addmm,
    torch.ops.aten.mm,
)
"""Operators of convolutions and linear layers."""


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, *inputs: Tensor) -> int:
    """Count the multiply-adds of convolutions and linear layers in one forward pass.

    Interpolation, activations, normalisation (folded at export) and projection are not counted, as
    is usual; together they are below one percent. ``inputs`` are those of the forward pass, usually
    with a batch size of 1.
    """
    was_training = network.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            network.eval()(*inputs)
    finally:
        network.train(was_training)
    flops = counter.get_flop_counts()["Global"]
    return sum(flops.get(op, 0) for op in _LAYER_OPS) // 2
