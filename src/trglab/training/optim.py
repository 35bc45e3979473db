"""How the weights move: optimiser, learning rate, mixed precision and the moving average."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from trg.network.trg import TRGNetwork
from trglab.training.recipes import OptimConfig

LAYERS = ("backbone", "decoder", "heatmaps", "samplers", "regressors")
"""The parts of the network that hold layers; the geometry between them needs every bit."""


def make_optimizer(network: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Return the optimiser; weight decay, if any, on matrices and kernels only."""
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


class MovingAverage:
    """An exponential moving average of a network's weights, and of its batch statistics.

    ``network`` is an ordinary network that can be measured, saved and exported.
    """

    def __init__(self, network: TRGNetwork, decay: float | None) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after ``step``; young averages forget faster."""
        decay = 0.0 if self.decay is None else min(self.decay, (1.0 + step) / (10.0 + step))
        averaged, current = self.network.state_dict(), network.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point():
                value.lerp_(current[name], 1.0 - decay)
            else:
                value.copy_(current[name])


def use_bf16_in_layers(network: TRGNetwork, device_type: str) -> None:
    """Compute a network's layers in bfloat16, and hand float32 from each part to the next.

    Not the whole forward pass: in bfloat16 a head at half a metre would stand 2 mm off, because
    autocast takes the products of rotations and points for layers.
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
