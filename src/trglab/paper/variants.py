"""The networks that tables compare, all trained by the same recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trg.geometry.face_mesh import FaceTopology
from trg.inference.bundle import WeightCard
from trg.inference.runtime import PoseArrays
from trg.network.checkpoint import Checkpoint, load_checkpoint
from trg.network.config import TRGConfig, table1_variants
from trg.network.export import ExportedForward
from trglab.paper.baselines import baseline_configs
from trglab.paper.img2pose import local_config
from trglab.training.config import Recipe
from trglab.training.loop import OnStep, run_training
from trglab.training.state import BEST

LOCAL = "local"
"""The variant that is trained on poses in local cameras (:mod:`trglab.paper.img2pose`)"""

OnTraining = Callable[[str, Recipe], OnStep | None]
"""Called with a variant's name and recipe; returns a callback for its training steps."""


@dataclass(frozen=True, slots=True)
class TrainingBudget:
    """Limits and resources of one call for each variant."""

    minutes: float | None = None
    """Of training; the next call resumes an unfinished variant. None: no limit"""
    workers: int = 0
    """Processes that prepare samples"""
    device: str | None = None


class CheckpointNetwork:
    """A checkpoint as a pose network, without an export to ONNX."""

    def __init__(self, checkpoint: Checkpoint, name: str, device: str | None = None) -> None:
        network = checkpoint.network.eval().to(device or "cpu")
        self._forward = ExportedForward(network).eval()
        self._device = network.pixel_mean.device
        self.step = int(checkpoint.extra["step"])
        self.card = WeightCard(name, network.config.crop_size, network.config.to_dict())

    @property
    def topology(self) -> FaceTopology:
        """The mesh of the landmarks."""
        return self._forward.network.topology

    @property
    def crop_size(self) -> int:
        """Side of the crops, px."""
        return self.card.crop_size

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate ``b`` faces from crops ``(b, s, s, 3)`` and bbox_info ``(b, 3)``."""
        with torch.inference_mode():
            arrays = self._forward(
                torch.from_numpy(crops).to(self._device),
                torch.from_numpy(np.float32(bbox_info)).to(self._device),
            )
        return PoseArrays(*(array.float().cpu().numpy() for array in arrays))


def variant_configs(base: TRGConfig) -> dict[str, TRGConfig]:
    """Return all configurations by name: the rows of Table 1, then the baselines."""
    return {**table1_variants(base), **baseline_configs(base)}


def variant_recipe(base: Recipe, name: str) -> Recipe:
    """Return the recipe of one variant, which differs in the network and for ``local`` in labels.

    There is no validation: the last weights are used, because a selection among checkpoints would
    be made on the test set.

    Raises
    ------
    ValueError
        There is no such variant.
    """
    configs = variant_configs(base.model)
    if name not in configs:
        raise ValueError(f"variant: expected one of {sorted(configs)}, got {name!r}")
    datasets = base.datasets
    if name == LOCAL:
        datasets = tuple(local_config(dataset) for dataset in datasets)
    label = f"{base.name.partition('/')[0]}/{name}"
    return replace(base, name=label, model=configs[name], datasets=datasets, holdout=None)


def train_variant(
    base: Recipe,
    name: str,
    folder: Path,
    budget: TrainingBudget,
    on_training: OnTraining | None = None,
) -> Path:
    """Train or resume a variant in ``folder``; return the path of its checkpoint.

    Raises
    ------
    ValueError
        There is no such variant, or the folder holds a training of another recipe.
    NotFiniteError
        The training diverged.
    """
    recipe = variant_recipe(base, name)
    path = folder / BEST
    if not _is_finished(path, recipe):
        run_training(
            recipe,
            folder,
            resume=True,
            device=None if budget.device is None else torch.device(budget.device),
            workers=budget.workers,
            max_minutes=budget.minutes,
            on_step=on_training(name, recipe) if on_training is not None else None,
        )
    return path


def _is_finished(path: Path, recipe: Recipe) -> bool:
    if not path.is_file():
        return False
    facts = load_checkpoint(path).extra
    return facts.get("step") == recipe.steps and facts.get("recipe") == recipe.to_dict()
