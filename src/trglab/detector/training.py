"""Training loop of the detector, on one device.

Each step depends on (recipe, step) only, so a resumed training continues exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trg._util.files import remove_partial_files, write_atomic
from trglab.detector.mixing import ReusedScenes, SceneMixer
from trglab.detector.network import (
    DENSE,
    DetectionTargets,
    DetectorConfig,
    DetectorNetwork,
    detection_losses,
    detection_targets,
)
from trglab.training.config import OptimConfig
from trglab.training.optim import compute_gradients, learning_rate, make_optimizer, moving_average
from trglab.training.photometric import degrade, jitter_colours
from trglab.training.state import LAST, RunLog, require_same_recipe

FORMAT = "trg-detector-checkpoint"

OnStep = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class DetectionRecipe:
    """Hyperparameters of a training."""

    steps: int = 5000
    batch_size: int = 16
    canvas_px: int = 256
    """Side of the training scenes; the trained network accepts any size."""
    model: DetectorConfig = DENSE
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(
            learning_rate=2e-3, weight_decay=0.05, warmup_steps=200, clip_norm=10.0, ema_decay=0.998
        )
    )
    grey_share: float = 0.1
    blur_share: float = 0.2
    noise_share: float = 0.15
    shrink_share: float = 0.1
    """Share of the scenes at one half or one third of their resolution."""
    uses: int = 1
    """How often each composed scene is used; see :class:`~trglab.detector.mixing.ReusedScenes`."""
    seed: int = 0
    log_every: int = 20
    checkpoint_every: int = 250


class DetectionRun:
    """State of a training, with steps, checkpoints and restore.

    Parameters
    ----------
    mixer
        Composes the scenes.
    device
        None: the CPU.
    """

    def __init__(
        self, recipe: DetectionRecipe, mixer: SceneMixer, device: torch.device | None = None
    ) -> None:
        if mixer.canvas_px != recipe.canvas_px:
            raise ValueError(
                f"mixer: expected scenes of {recipe.canvas_px} px, got {mixer.canvas_px} px"
            )
        self.recipe = recipe
        self.scenes = ReusedScenes(mixer, recipe.uses) if recipe.uses > 1 else mixer
        self.device = device or torch.device("cpu")
        torch.manual_seed(recipe.seed)
        network = DetectorNetwork(recipe.model).to(self.device)
        self.network: DetectorNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's gap
        self.average = moving_average(self.network, recipe.optim.ema_decay)
        self.optimizer = make_optimizer(self.network, recipe.optim)
        self.step = 0
        """Completed steps."""
        self.steps_before = 0
        """Completed steps of the trainings whose weights this one started with."""

    def train_step(self) -> dict[str, float]:
        """Run one optimiser step; return the losses and the norm of the gradient.

        Raises
        ------
        RuntimeError
            The loss or its gradient is not finite.
        """
        recipe = self.recipe
        images, targets = self.batch(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe.optim, self.step, recipe.steps)
        self.network.train()
        # On a CPU bfloat16 makes depthwise convolutions no faster.
        is_mixed = self.device.type != "cpu" or not recipe.model.separable
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_mixed):
            output = self.network(images)
        losses = detection_losses(output, targets)
        norm = compute_gradients(losses.total, self.network, self.optimizer, recipe.optim.clip_norm)
        numbers = {name: value.item() for name, value in losses._asdict().items()}
        numbers["gradient"] = float(norm)
        if not all(math.isfinite(value) for value in numbers.values()):
            raise RuntimeError(f"step {self.step}: expected finite losses, got {numbers}")
        self.optimizer.step()
        self.step += 1
        self.average.update_parameters(self.network)
        return numbers

    def batch(self, step: int) -> tuple[Tensor, DetectionTargets]:
        """Return the images ``(b, s, s, 3)`` uint8 and targets of a step."""
        recipe = self.recipe
        first = step * recipe.batch_size
        scenes = [self.scenes.scene(first + k) for k in range(recipe.batch_size)]
        size = (recipe.canvas_px, recipe.canvas_px)
        each = [
            detection_targets(size, scene.boxes_xyxy, scene.points, scene.ignore_xyxy)
            for scene in scenes
        ]
        targets = DetectionTargets(
            *(
                torch.from_numpy(np.stack(arrays)).to(self.device)
                for arrays in zip(*each, strict=True)
            )
        )
        pixels = torch.from_numpy(np.stack([scene.image for scene in scenes])).to(self.device)
        return _degraded(pixels, recipe, np.random.default_rng((recipe.seed, 1, step))), targets

    def save(self, folder: Path) -> None:
        """Write the state atomically."""
        contents = {
            "format": FORMAT,
            "step": self.step,
            "steps_before": self.steps_before,
            "recipe": asdict(self.recipe),
            "weights": self.network.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_atomic(folder / LAST, lambda file: torch.save(contents, file))

    def restore(self, folder: Path) -> None:
        """Restore the state written by :meth:`save`.

        Raises
        ------
        ValueError
            The checkpoint has another recipe, or is not one of a detector.
        """
        saved = _read(folder / LAST)
        require_same_recipe(folder / LAST, saved["recipe"], asdict(self.recipe))
        self.network.load_state_dict(saved["weights"])
        self.average.module.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = saved["step"]
        self.average.n_averaged.fill_(self.step)
        self.steps_before = saved["steps_before"]

    def start_from(self, checkpoint: Path) -> None:
        """Start with the averaged weights of another training of the same network."""
        saved = _read(checkpoint)
        self.network.load_state_dict(saved["average"])
        self.average.module.load_state_dict(saved["average"])
        self.steps_before = saved["steps_before"] + saved["step"]


def train_detector(
    recipe: DetectionRecipe,
    mixer: SceneMixer,
    folder: Path,
    *,
    resume: bool = False,
    start_from: Path | None = None,
    device: torch.device | None = None,
    max_minutes: float | None = None,
    on_step: OnStep | None = None,
) -> int:
    """Train a detector; write ``last.pt`` and the log to ``folder`` and return the completed steps.

    Parameters
    ----------
    resume
        Continue from the checkpoint in the folder, if there is one.
    start_from
        ``last.pt`` of another training whose averaged weights this one starts with.
    max_minutes
        Stop after this time, with a checkpoint.
    on_step
        Called with the step and its losses.

    Raises
    ------
    FileExistsError
        The folder contains a training, and ``resume`` is False.
    """
    deadline = math.inf if max_minutes is None else time.monotonic() + 60.0 * max_minutes
    if not resume and (folder / LAST).exists():
        raise FileExistsError(f"{folder}: expected no training there; resume it or choose another")
    folder.mkdir(parents=True, exist_ok=True)
    remove_partial_files([folder])
    run = DetectionRun(recipe, mixer, device)
    if resume and (folder / LAST).exists():
        run.restore(folder)
    elif start_from is not None:
        run.start_from(start_from)
    log = RunLog(folder, run.step)
    while run.step < recipe.steps:
        numbers = run.train_step()
        last = run.step == recipe.steps or time.monotonic() > deadline
        if on_step is not None:
            on_step(run.step - 1, numbers)
        if last or run.step % recipe.log_every == 0:
            log.write("train", run.step, numbers)
        if last or run.step % recipe.checkpoint_every == 0:
            run.save(folder)
        if last:
            break
    return run.step


def trained_network(checkpoint: Path) -> tuple[DetectorNetwork, dict[str, Any]]:
    """Return the averaged network of a checkpoint in evaluation mode, and the training settings."""
    saved = _read(checkpoint)
    model: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in saved["recipe"]["model"].items()
    }
    network = DetectorNetwork(DetectorConfig(**model))
    network.load_state_dict(saved["average"])
    facts = {name: saved[name] for name in ("step", "steps_before", "recipe")}
    return network.eval(), facts


def _read(path: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if saved.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a training of the detector, got something else")
    return saved


def _degraded(pixels: Tensor, recipe: DetectionRecipe, rng: np.random.Generator) -> Tensor:
    """Augment colour and sharpness of each image."""
    count = len(pixels)

    def some(share: float, values: np.ndarray, otherwise: float) -> Tensor:
        return torch.from_numpy(np.where(rng.random(count) < share, values, otherwise))

    crops = pixels.permute(0, 3, 1, 2).float()
    saturation = some(recipe.grey_share, np.zeros(count), 1.0)
    saturation *= torch.from_numpy(np.exp(rng.normal(0.0, 0.3, count)))
    crops = jitter_colours(
        crops,
        torch.from_numpy(np.exp(rng.normal(0.0, 0.3, count))).float(),
        torch.from_numpy(np.exp(rng.normal(0.0, 0.25, count))).float(),
        saturation.float(),
        torch.from_numpy(rng.normal(0.0, 0.02, count)).float(),
    )
    crops = degrade(
        crops,
        some(recipe.shrink_share, rng.integers(2, 4, count), 1.0).long(),
        some(recipe.blur_share, rng.uniform(0.4, 1.6, count), 0.0).float(),
        some(recipe.noise_share, rng.uniform(0.005, 0.06, count), 0.0).float(),
        torch.from_numpy(rng.integers(0, 2**31, count)),
    )
    return crops.clamp(0.0, 255.0).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
