"""What a network costs to run, counted on its layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from trg.network.trg import TRGNetwork


def parameter_count(network: TRGNetwork) -> int:
    """Return how many numbers training may change."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: TRGNetwork) -> int:
    """Count the multiply-adds of one face through all convolutions and linear layers.

    Interpolation, activations, normalisation (folded away at export) and projection are left out,
    as is usual; together they are below one percent.
    """
    total = 0

    def count(layer: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            # Each input cell meets each weight once; the output has stride^2 as many cells.
            stride = layer.stride[0] * layer.stride[1]
            total += layer.weight.numel() * output[0, 0].numel() // stride
        elif isinstance(layer, nn.Conv2d):
            total += layer.weight.numel() * output[0, 0].numel()
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel() * output[0, ..., 0].numel()

    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    was_training = network.training
    size = network.config.crop_size
    device = network.start_vertices_m.device
    try:
        with torch.inference_mode():
            network.eval()(
                torch.zeros(1, 3, size, size, device=device), torch.ones(1, 3, device=device)
            )
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return total
