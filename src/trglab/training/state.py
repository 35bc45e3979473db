"""The state of a training on the disk: enough to go on as if nothing had happened.

All chance of step k comes from (seed, k), so the step number stands for the random state and for
the position in the data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from trg._util.atomic import write_atomic
from trg.inference.bundle import SUFFIX, read_bundle
from trg.network.checkpoint import load_checkpoint, load_state_strictly, save_checkpoint
from trg.network.export import network_from_bundle
from trg.network.trg import TRGNetwork

LAST = "last.pt"
"""The training's whole state, to be resumed."""
BEST = "best.pt"
"""The averaged network that did best on the hold-out, and what it reached."""
LOG = "log.jsonl"

FEATURES = ("backbone", "decoder", "heatmaps")
"""The parts of a network that come before its samplers and regressors."""

ADDITIONS = ("skips", "reprojection_residual")
"""Parts that a network may get when it starts from the weights of one without them."""


@dataclass(slots=True)
class TrainingState:
    """What changes while a training runs."""

    network: TRGNetwork
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    """Steps done."""
    best_score: float = float("inf")

    @property
    def averaged_network(self) -> TRGNetwork:
        """The network with the averaged weights, in evaluation mode."""
        return cast(TRGNetwork, self.average.module)

    def save(self, folder: Path, recipe: dict[str, Any]) -> None:
        """Write :data:`LAST`, whole or not at all."""
        extra = {
            "average": self.averaged_network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best_score": self.best_score,
            "recipe": recipe,
        }
        save_checkpoint(folder / LAST, self.network, extra)

    def begin(self, folder: Path, recipe: dict[str, Any], resume: bool) -> None:
        """Go on where the folder's training stands, if so wished, or start as the recipe says."""
        if resume and (folder / LAST).exists():
            self.restore(folder, recipe)
        elif recipe["start_from"] is not None:
            self.start_from(Path(recipe["start_from"]))
        elif recipe["features_from"] is not None:
            self.take_features(Path(recipe["features_from"]))

    def start_from(self, path: Path) -> None:
        """Take over the weights of a checkpoint or a bundle, and nothing else of its training.

        This network may have what the other lacks of :data:`ADDITIONS`: new layers stay as they
        were drawn, and new columns of a matrix begin at zero, so that nothing is said anew.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            It is of another network or another mesh.
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

    def take_features(self, path: Path) -> None:
        """Take over the :data:`FEATURES` of a checkpoint or a bundle.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            Its parts have other shapes, or its heatmaps another gain.
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
        """Go back to what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            Nothing was saved there.
        ValueError
            It was saved by another recipe.
        """
        path = folder / LAST
        checkpoint = load_checkpoint(path)
        saved = checkpoint.extra["recipe"]
        changed = sorted(name for name in recipe if saved.get(name) != recipe[name])
        if changed:
            raise ValueError(
                f"{path}: expected a training by the same recipe; {changed} differ: "
                f"{[saved.get(name) for name in changed]} there, "
                f"{[recipe[name] for name in changed]} now"
            )
        self.network.load_state_dict(checkpoint.network.state_dict())
        self.averaged_network.load_state_dict(checkpoint.extra["average"])
        self.optimizer.load_state_dict(checkpoint.extra["optimizer"])
        self.step = checkpoint.extra["step"]
        self.average.n_averaged.fill_(self.step)
        self.best_score = checkpoint.extra["best_score"]


def freeze_features(network: TRGNetwork) -> None:
    """Keep the weights of a network's :data:`FEATURES` and the statistics of their norms."""
    for name in FEATURES:
        getattr(network, name).requires_grad_(False).eval()


def _read_network(path: Path) -> TRGNetwork:
    if path.suffix == SUFFIX:
        return network_from_bundle(read_bundle(path))
    return load_checkpoint(path).network


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write named tensors, whole or not at all."""
    write_atomic(path, lambda file: torch.save(tensors, file))


class RunLog:
    """One JSON object a line, beginning with the step; a resumed run drops what it will redo."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOG
        kept = [line for line in read_log(folder) if line["step"] <= step] if step else []
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_atomic(self._path, lambda file: file.write(text.encode()))

    def write(self, kind: str, step: int, numbers: dict[str, float]) -> None:
        """Append a line; it is on its way to the disk when this returns."""
        with open(self._path, "a") as file:
            file.write(json.dumps({"step": step, "kind": kind, **numbers}) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a training's log; a last line that a kill cut short is left out."""
    path = folder / LOG
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
