"""Networks for comparisons: each trained by the same recipe, resumed or taken as it is."""

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
from trglab.paper.local_poses import as_local
from trglab.training.loop import OnStep, run_training
from trglab.training.recipes import Recipe
from trglab.training.state import BEST

LOCAL = "local"
"""The variant whose views are told in img2pose's imagined cameras."""

OnTraining = Callable[[str, Recipe], OnStep | None]
"""Told which variant is trained by which recipe; returns what is told of each step."""


@dataclass(frozen=True, slots=True)
class TrainingBudget:
    """What one call may spend on each variant."""

    minutes: float | None = None
    """Of training; a variant that is not done goes on at the next call. None: to the end."""
    workers: int = 0
    """Processes that make samples."""
    device: str | None = None


class CheckpointNetwork:
    """A trained network as evaluations call it: arrays in, arrays out, in torch.

    The same as an exported bundle's runtime, without the export.
    """

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
        """Estimate ``b`` faces from crops ``(b, s, s, 3)`` and box numbers ``(b, 3)``."""
        with torch.inference_mode():
            arrays = self._forward(
                torch.from_numpy(crops).to(self._device),
                torch.from_numpy(np.float32(bbox_info)).to(self._device),
            )
        return PoseArrays(*(array.float().cpu().numpy() for array in arrays))


def variant_configs(base: TRGConfig) -> dict[str, TRGConfig]:
    """Return every network that tables compare, by name: Table 1's rows, then the rivals."""
    return {**table1_variants(base), **baseline_configs(base)}


def variant_recipe(base: Recipe, name: str) -> Recipe:
    """Return a recipe for one variant: the same but for the network, and for ``local`` the labels.

    Nothing is measured on the way, because the last weights are kept, whatever they reach: a
    choice would be made on the test set.

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
        datasets = tuple(as_local(dataset) for dataset in datasets)
    label = f"{base.name.partition('/')[0]}/{name}"
    return replace(base, name=label, model=configs[name], datasets=datasets, holdout=None)


def train_variant(
    base: Recipe,
    name: str,
    folder: Path,
    budget: TrainingBudget,
    on_training: OnTraining | None = None,
) -> Path:
    """Train a variant in ``folder/NAME``, or go on where it stands; return its checkpoint.

    Raises
    ------
    ValueError
        There is no such variant, or the folder's was trained by another recipe.
    NotFiniteError
        The training diverged.
    """
    recipe = variant_recipe(base, name)
    path = folder / name / BEST
    if not _is_finished(path, recipe):
        run_training(
            recipe,
            folder / name,
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
