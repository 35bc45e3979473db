"""The training loop.

::

    batch sources (renderers, stores, data sets)    a thread, ahead of the loop
      | views of this process's slots, step by step
      v
    augment, on the device --> network --> losses --> gradients --> optimizer --> average
                                                                        |
    at intervals: log line, hold-out figures, sheet, checkpoint  <------+

A step depends on (recipe, seed, step) only, so a training that was killed continues from its last
checkpoint along the same path, and processes that share a batch see the same samples as one.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from trg._util.files import remove_partial_files, write_atomic
from trg.geometry.face_mesh import FaceTopology
from trg.inference.bundle import SUFFIX
from trg.network.checkpoint import load_imagenet_weights, save_checkpoint
from trg.network.export import recalibrate_batchnorm
from trg.network.losses import Losses, Targets, TRGLoss
from trg.network.trg import TRGNetwork
from trglab.datasets.batches import BatchShare, Mixture
from trglab.datasets.view import Views, ViewSpec
from trglab.training.augment import (
    Augmenter,
    TrainingBatch,
    concatenate_draws,
    draw,
    select_draws,
    taps_for,
)
from trglab.training.config import Recipe
from trglab.training.data import ProcessInfo, holdout_views, open_batches, recipe_topology
from trglab.training.initial_estimate import initial_estimate
from trglab.training.optim import (
    compute_gradients,
    learning_rate,
    make_optimizer,
    moving_average,
    use_bf16_in_layers,
)
from trglab.training.state import BEST, LAST, RunLog, TrainingState, freeze_features, save_tensors
from trglab.training.validate import SCORE, Holdout

Measure = Callable[[TRGNetwork], tuple[dict[str, float], Image.Image | None]]
"""A further measurement, such as on real stills: figures, and an optional contact sheet."""

OnStep = Callable[[int, dict[str, float]], None]


class NotFiniteError(RuntimeError):
    """The loss or its gradient became NaN or infinite; the batch has been saved."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Outcome of a training."""

    folder: Path
    step: int
    """Steps done."""
    finished: bool
    """False: out of time; the training can be resumed."""
    figures: dict[str, float]
    """The last validation."""


def run_training(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    workers: int = 0,
    max_minutes: float | None = None,
    topology: FaceTopology | None = None,
    measures: dict[str, Measure] | None = None,
    on_step: OnStep | None = None,
) -> TrainingResult:
    """Train a network; write checkpoints, the log and sheets to ``folder``.

    Under torchrun every process calls this, and rank 0 writes.

    Parameters
    ----------
    resume
        Continue from the last checkpoint in the folder; start a new training if there is none.
    device
        None: a GPU if there is one.
    workers
        Processes that render or read samples; 0: the training process itself.
    max_minutes
        Stop after this time, with a checkpoint.
    topology
        The landmark mesh; None: the datasets' own.
    measures
        Further measurements by name, for each validation.
    on_step
        Called with each step and its losses.

    Raises
    ------
    FileExistsError
        The folder holds a training, and ``resume`` is False.
    NotFiniteError
        The training diverged, or a sample is broken.
    """
    deadline = math.inf if max_minutes is None else time.monotonic() + 60.0 * max_minutes
    if not resume and (folder / LAST).exists():
        raise FileExistsError(f"{folder}: expected no training there; resume it or choose another")
    with _process_group() as (rank, world), _flush_denormals():
        run = _Run(recipe, folder, topology or recipe_topology(recipe), device, rank, world)
        run.state.begin(folder, recipe.to_dict(), resume)
        run.open(ProcessInfo(rank, world, workers), measures or {})
        try:
            for step, share in _prefetched(run):
                numbers = run.train_step(step, share)
                if on_step is not None and rank == 0:
                    on_step(step, numbers)
                last = run.any_process(time.monotonic() > deadline) or step + 1 == recipe.steps
                run.finish_step(numbers, last)
                if last:
                    break
        finally:
            run.batches.close()
        return TrainingResult(folder, run.state.step, run.state.step == recipe.steps, run.figures)


class _Run:
    """The objects of a running training."""

    batches: Mixture
    log: RunLog
    holdout: Holdout | None

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        topology: FaceTopology,
        device: torch.device | None,
        rank: int,
        world: int,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder = recipe, folder
        self.rank, self.world = rank, world
        self.device = device = device or _default_device(rank)
        self.spec = ViewSpec(recipe.view_size, recipe.view_margin, topology.vertex_count)
        taps = taps_for(recipe.view_size, recipe.view_margin, recipe.model.crop_size)
        self.augmenter = Augmenter(recipe.model.crop_size, topology.mirror, taps)
        network = TRGNetwork(recipe.model, topology, *self._initial_estimate()).to(device)
        if recipe.backbone_weights is not None:
            load_imagenet_weights(network.backbone, recipe.backbone_weights)
        if recipe.features_from is not None:
            freeze_features(network)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's gap
        average = moving_average(network, recipe.optim.ema_decay)
        self.state = TrainingState(network, average, make_optimizer(network, recipe.optim))
        if recipe.precision == "bf16":
            use_bf16_in_layers(network, device.type)
        loss = TRGLoss(topology, recipe.losses, geometry=recipe.model.geometry)
        self.loss = loss.to(device)
        self.figures: dict[str, float] = {}

    def _initial_estimate(self) -> tuple[Tensor, ...]:
        """Return R_0 and V_0 for a new network; nothing if they come with the weights."""
        if (self.folder / LAST).exists() or self.recipe.start_from is not None:
            return ()
        estimate = initial_estimate(self.recipe, self.spec)
        return () if estimate is None else tuple(torch.from_numpy(each) for each in estimate)

    def open(self, process: ProcessInfo, measures: dict[str, Measure]) -> None:
        """Open the datasets at the state's step, and the log."""
        self.batches = open_batches(self.recipe, process, self.spec, self.state.step)
        if self.state.step == 0 and (self.recipe.start_from or "").endswith(SUFFIX):
            self._recalibrate_batchnorm()
        self.parallel: nn.Module = self.state.network
        if self.world > 1:
            self.parallel = DistributedDataParallel(self.state.network)
        self.measures = measures
        self.holdout = None
        if self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_partial_files([self.folder])
            self.log = RunLog(self.folder, self.state.step)
            self._warn()
            if self.recipe.holdout is not None:
                views = holdout_views(self.recipe.holdout, self.spec, process.workers)
                self.holdout = Holdout(views, self.augmenter, self.device)

    def _warn(self) -> None:
        """Show the recipe's warning; a new training also logs it."""
        message = self.recipe.warning
        if message is None:
            return
        warnings.warn(message, stacklevel=3)
        if self.state.step == 0:
            self.log.write("warning", 0, {"message": message})

    def train_step(self, step: int, share: BatchShare) -> dict[str, float]:
        """Run one optimizer step; return the losses, the gradient norm and the learning rate."""
        recipe, optimizer = self.recipe, self.state.optimizer
        batch = self._batch(step, share)
        torch.manual_seed(_seed(recipe.seed, step, 1 + self.rank))  # dropout
        rate = learning_rate(recipe.optim, step, recipe.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        crops = batch.crops.contiguous(memory_format=torch.channels_last)
        losses: Losses = self.loss(
            self.parallel(crops, batch.bbox_info),
            targets_of(batch, recipe.hidden_landmark_weight),
        )
        norm = compute_gradients(
            losses.total, self.state.network, optimizer, recipe.optim.clip_norm
        )
        numbers = dict(zip((*losses._fields, "gradient"), _floats(losses, norm), strict=True))
        if not (math.isfinite(numbers["total"]) and math.isfinite(numbers["gradient"])):
            self._stop_on_nan(step, batch, numbers)
        optimizer.step()
        self.state.average.update_parameters(self.state.network)
        self.state.step = step + 1
        return {**numbers, "learning_rate": rate}

    def _batch(self, step: int, share: BatchShare) -> TrainingBatch:
        """Augment the views of a step, those of each dataset by its own settings."""
        generator = torch.Generator().manual_seed(_seed(self.recipe.seed, step))
        per_dataset = [
            draw(dataset.augment, count, generator)
            for dataset, count in zip(self.recipe.datasets, self.batches.counts, strict=True)
        ]
        mine = select_draws(concatenate_draws(per_dataset), torch.from_numpy(share.slots))
        return self.augmenter(share.views, mine, self.device)

    def _recalibrate_batchnorm(self) -> None:
        """Recompute batch-norm statistics, which bundles do not keep, from the first batch."""
        batch = self._batch(0, self.batches.share(0, self.rank, self.world))
        recalibrate_batchnorm(self.state.network, batch.crops, batch.bbox_info)
        self.state.averaged_network.load_state_dict(self.state.network.state_dict())

    def finish_step(self, numbers: dict[str, float], last: bool) -> None:
        """Log, validate and save if it is due after this step."""
        step, recipe = self.state.step, self.recipe
        if self.rank == 0:
            if last or step % recipe.log_every == 0:
                self.log.write("train", step, numbers)
            if last or step % recipe.validate_every == 0:
                self._validate(step)
            if last or step % recipe.checkpoint_every == 0:
                self.state.save(self.folder, recipe.to_dict())
        if self.world > 1 and (last or step % recipe.validate_every == 0):
            distributed.barrier()

    def any_process(self, stop: bool) -> bool:
        """Whether ``stop`` is True in any process."""
        if self.world == 1:
            return stop
        flag = torch.tensor(float(stop), device=self.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag.item())

    def _validate(self, step: int) -> None:
        network = self.state.averaged_network
        sheets: dict[str, Image.Image | None] = {}
        self.figures = {}
        if self.holdout is not None:
            self.figures = self.holdout.measure(network)
            sheets["holdout"] = self.holdout.sheet(network)
        for name, measure in self.measures.items():
            figures, sheets[name] = measure(network)
            self.figures |= {f"{name}_{key}": value for key, value in figures.items()}
        self.log.write("validate", step, self.figures)
        for name, sheet in sheets.items():
            if sheet is not None:
                write_atomic(self.folder / f"{name}.jpg", partial(sheet.save, quality=88))
        score = self.figures.get(SCORE, 0.0)  # without a hold-out, best.pt is the newest
        if score < self.state.best_score or SCORE not in self.figures:
            self.state.best_score = score
            facts = {"step": step, "figures": self.figures, "recipe": self.recipe.to_dict()}
            save_checkpoint(self.folder / BEST, network, facts)

    def _stop_on_nan(self, step: int, batch: TrainingBatch, numbers: dict[str, float]) -> None:
        path = self.folder / f"not_finite_step{step}_rank{self.rank}.pt"
        save_tensors(path, {name: tensor.cpu() for name, tensor in batch._asdict().items()})
        bad = [name for name, value in numbers.items() if not math.isfinite(value)]
        raise NotFiniteError(
            f"step {step}: expected finite numbers, got {bad}; the batch is in {path}, the "
            "weights before it in the last checkpoint"
        )


def targets_of(batch: TrainingBatch, hidden_weight: float = 1.0) -> Targets:
    """Return the labels of a batch for the losses.

    Landmarks outside the crop cannot be represented by heatmaps and get no weight; those that the
    camera does not see get ``hidden_weight``.
    """
    inside = (batch.landmarks68_crop.abs() <= 1.0).all(-1)
    weight = torch.where(batch.landmarks68_visible, 1.0, hidden_weight) * inside
    return Targets(
        bbox_info=batch.bbox_info,
        landmarks68_crop=batch.landmarks68_crop,
        landmarks68_weight=weight,
        rotation=batch.rotation,
        translation_m=batch.translation_m,
        has_pose=batch.has_pose,
        vertices_m=batch.vertices_m,
        has_vertices=batch.has_vertices,
    )


def _prefetched(run: _Run) -> Iterator[tuple[int, BatchShare]]:
    """Yield the remaining steps with their shares, read during the previous step."""
    first, steps = run.state.step, run.recipe.steps

    def read(step: int) -> BatchShare:
        share = run.batches.share(step, run.rank, run.world)
        return share._replace(views=_pinned(share.views)) if run.device.type == "cuda" else share

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, first) if first < steps else None
        for step in range(first, steps):
            assert coming is not None
            share = coming.result()
            coming = reader.submit(read, step + 1) if step + 1 < steps else None
            yield step, share


def _pinned(views: Views) -> Views:
    """Move arrays to page-locked memory for asynchronous copies to the GPU."""
    return Views(*(torch.from_numpy(array).pin_memory().numpy() for array in views))


def _floats(losses: Losses, norm: Tensor) -> list[float]:
    """Copy all numbers from the device at once."""
    numbers: list[float] = torch.stack([*(loss.detach() for loss in losses), norm]).tolist()
    return numbers


def _seed(*numbers: int) -> int:
    """Hash integers into one 63-bit seed (FNV-1a)."""
    state = 0xCBF29CE484222325
    for number in numbers:
        state = ((state ^ (number & 0xFFFFFFFF)) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state >> 1


def _default_device(rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


@contextmanager
def _process_group() -> Iterator[tuple[int, int]]:
    """Join torchrun's process group; yield rank and world size, (0, 1) without torchrun."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield 0, 1
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield distributed.get_rank(), distributed.get_world_size()
    finally:
        distributed.destroy_process_group()


@contextmanager
def _flush_denormals() -> Iterator[None]:
    """Treat denormal numbers as zero: vanishing activations otherwise slow a CPU down tenfold."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
