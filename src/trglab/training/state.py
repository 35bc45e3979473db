"""Checkpoints of a training, from which it continues exactly.

All random numbers of step k come from (seed, k), so the step number stands for the random state and
for the position in the data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from trg._util.files import write_atomic, write_text_atomic
from trg._util.settings import changed_settings
from trg.inference.bundle import SUFFIX, read_bundle
from trg.network.checkpoint import load_checkpoint, load_state_strictly, save_checkpoint
from trg.network.export import network_from_bundle
from trg.network.trg import TRGNetwork

LAST = "last.pt"
"""The complete state, to resume from."""
BEST = "best.pt"
"""The averaged network with the best hold-out score, and its figures."""
LOG = "log.jsonl"

FEATURES = ("backbone", "decoder", "heatmaps")
"""Parts of the network before its samplers and regressors."""

FREE_FIELDS = ("steps", "log_every", "validate_every", "checkpoint_every")
"""Fields of a recipe that may change when a training is resumed."""

ADDITIONS = ("skips", "reprojection_residual")
"""Config flags that may be enabled when starting from weights without them."""


@dataclass(slots=True)
class TrainingState:
    """Everything that changes during a training."""

    network: TRGNetwork
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    """Completed steps."""
    best_score: float = float("inf")

    @property
    def averaged_network(self) -> TRGNetwork:
        """The network with the averaged weights, in evaluation mode."""
        return cast(TRGNetwork, self.average.module)

    def save(self, folder: Path, recipe: dict[str, Any]) -> None:
        """Write :data:`LAST` atomically."""
        extra = {
            "average": self.averaged_network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best_score": self.best_score,
            "recipe": recipe,
        }
        save_checkpoint(folder / LAST, self.network, extra)

    def begin(self, folder: Path, recipe: dict[str, Any], resume: bool) -> None:
        """Resume the training in the folder, or initialize weights as the recipe says."""
        if resume and (folder / LAST).exists():
            self.restore(folder, recipe)
        elif recipe["start_from"] is not None:
            self.start_from(Path(recipe["start_from"]))
        elif recipe["features_from"] is not None:
            self.load_features(Path(recipe["features_from"]))

    def start_from(self, path: Path) -> None:
        """Load the weights of a checkpoint or a bundle, without the rest of its state.

        This network may have :data:`ADDITIONS` that the other lacks: new layers keep their initial
        weights, and new columns of a matrix are zero, so that the outputs do not change.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The network or the mesh differs.
        """
        other = _read_network(path)
        ours, theirs = self.network.config.to_dict(), other.config.to_dict()
        added = {name: False for name in ADDITIONS if ours[name] and not theirs[name]}
        if changed := sorted(name for name in ours if {**ours, **added}[name] != theirs[name]):
            raise ValueError(f"start_from {path}: expected the same network, {changed} differ")
        meshes = zip(
            self.network.topology.to_arrays().values(),
            other.topology.to_arrays().values(),
            strict=True,
        )
        if not all(np.array_equal(mine, its) for mine, its in meshes):
            raise ValueError(f"start_from {path}: expected a network of the same landmark mesh")
        weights = self.network.state_dict()
        for name, tensor in other.state_dict().items():
            if weights[name].shape != tensor.shape:
                weights[name].zero_()
            weights[name][tuple(slice(size) for size in tensor.shape)] = tensor
        self.averaged_network.load_state_dict(weights)

    def load_features(self, path: Path) -> None:
        """Load the :data:`FEATURES` of a checkpoint or a bundle.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The parts have other shapes, or the heatmaps another gain.
        """
        other = _read_network(path)
        gain, its_gain = self.network.config.heatmap_gain, other.config.heatmap_gain
        if gain != its_gain:
            raise ValueError(
                f"features_from {path}: expected a heatmap_gain of {gain}, got {its_gain}"
            )
        for name in FEATURES:
            for network in (self.network, self.averaged_network):
                part, its = getattr(network, name), getattr(other, name)
                load_state_strictly(part, its.state_dict(), f"features_from {path}, {name}")

    def restore(self, folder: Path, recipe: dict[str, Any]) -> None:
        """Load what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            Nothing was saved there.
        ValueError
            It was saved with another recipe, or has more steps already.
        """
        path = folder / LAST
        checkpoint = load_checkpoint(path)
        saved = checkpoint.extra
        types = {"average": dict, "optimizer": dict, "recipe": dict, "step": int}
        for name, kind in {**types, "best_score": float}.items():
            if not isinstance(saved.get(name), kind):
                raise ValueError(f"{path}: expected a checkpoint of a training, with {name!r}")
        require_same_recipe(path, saved["recipe"], recipe)
        if recipe["steps"] < saved["step"]:
            raise ValueError(
                f"{path}: expected steps of at least the {saved['step']} done, "
                f"got {recipe['steps']}"
            )
        load_state_strictly(self.network, checkpoint.network.state_dict(), str(path))
        load_state_strictly(self.averaged_network, saved["average"], f"{path}, average")
        try:
            self.optimizer.load_state_dict(saved["optimizer"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: the optimizer's state is damaged ({error})") from error
        self.step = saved["step"]
        self.average.n_averaged.fill_(self.step)
        self.best_score = saved["best_score"]


def require_same_recipe(path: Path, saved: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Raise ValueError if a checkpoint's recipe differs, other than in :data:`FREE_FIELDS`."""
    kept = [name for name in recipe if name not in FREE_FIELDS]
    changed = changed_settings(
        {name: saved[name] for name in kept if name in saved},
        {name: recipe[name] for name in kept},
    )
    if changed:
        raise ValueError(
            f"{path}: expected a training by the same recipe; differing: {'; '.join(changed)}. "
            "Choose another folder, or resume with the same settings"
        )


def freeze_features(network: TRGNetwork) -> None:
    """Freeze the weights and batch-norm statistics of :data:`FEATURES`."""
    for name in FEATURES:
        getattr(network, name).requires_grad_(False).eval()


def _read_network(path: Path) -> TRGNetwork:
    if path.suffix == SUFFIX:
        return network_from_bundle(read_bundle(path))
    return load_checkpoint(path).network


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write named tensors atomically."""
    write_atomic(path, lambda file: torch.save(tensors, file))


class RunLog:
    """Log in JSON lines; resuming drops the lines of steps that will be repeated."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOG
        kept = [line for line in read_log(folder) if line["step"] <= step] if step else []
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_text_atomic(self._path, text)

    def write(self, kind: str, step: int, values: Mapping[str, float | str]) -> None:
        """Append a line."""
        with open(self._path, "a") as file:
            file.write(json.dumps({"step": step, "kind": kind, **values}) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, without a truncated last line."""
    path = folder / LOG
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
