"""Optimiser, learning rate schedule, mixed precision, and moving average of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from trg.network.trg import TRGNetwork
from trglab.training.config import OptimConfig

LAYERS = ("backbone", "decoder", "heatmaps", "samplers", "regressors")
"""Parts of the network with layers; the geometry between them needs full precision."""


def make_optimizer(network: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Return the optimizer; weight decay applies to matrices and kernels only."""
    matrices = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    if config.optimizer == "adam":
        return torch.optim.Adam([*matrices, *vectors], lr=config.learning_rate)
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Return the learning rate of ``step``: warm-up, then cosine to 1 % or a drop to a tenth."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "step":
        return config.learning_rate * (0.1 if step >= config.step_at * steps else 1.0)
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0))))


def compute_gradients(
    loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float | None
) -> Tensor:
    """Backpropagate a loss and clip the gradient; return its norm before clipping."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return nn.utils.clip_grad_norm_(network.parameters(), clip_norm or math.inf)


def moving_average(network: nn.Module, decay: float | None) -> AveragedModel:
    """Return an exponential moving average of a network's weights and batch statistics.

    Call ``update_parameters(network)`` after each optimiser step. ``module`` is an ordinary network
    in evaluation mode. The first update copies the weights; then the decay warms up from 2/11 as
    ``(1 + n) / (10 + n)`` over the updates n, so that early averages forget early weights.

    Parameters
    ----------
    decay
        After the warm-up. None: no average; the module follows the network.
    """

    def update(averaged: Any, current: Any, updates: Any) -> None:
        count = float(updates)
        warm_up = min(decay or 0.0, (1.0 + count) / (10.0 + count))
        for average, value in zip(averaged, current, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1.0 - warm_up)
            else:  # index buffers and step counts
                average.copy_(value)

    average = AveragedModel(network, multi_avg_fn=torch.no_grad()(update), use_buffers=True)
    average.module.eval().requires_grad_(False)
    return average


def use_bf16_in_layers(network: TRGNetwork, device_type: str) -> None:
    """Compute the layers of a network in bfloat16, with float32 between its parts.

    Autocast over the whole forward pass would also round the products of rotations and points: a
    head at half a metre would be 2 mm off.
    """
    context = torch.autocast(device_type, torch.bfloat16)

    def enter(module: nn.Module, inputs: Any) -> None:
        context.__enter__()

    def leave(module: nn.Module, inputs: Any, output: Any) -> Any:
        context.__exit__(None, None, None)
        return _float32(output)

    for name in LAYERS:
        part = getattr(network, name)
        for module in part if isinstance(part, nn.ModuleList) else [part]:
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)


def _float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float()
    if isinstance(value, list | tuple):
        return type(value)(_float32(item) for item in value)
    return value
