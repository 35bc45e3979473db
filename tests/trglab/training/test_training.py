from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.support.dot_faces import TOPOLOGY, DotFaces, MeshedDots
from trg.geometry.projection import crop_from_rays, rays_from_points, transform
from trg.network.checkpoint import load_checkpoint
from trg.network.losses import TRGLoss
from trg.network.trg import TRGNetwork
from trglab.datasets.infinite_sampler import ShuffledDataset
from trglab.datasets.view import ViewSpec, stack_views, view_from_sample
from trglab.datasets.view_store import ViewStoreSettings, write_views
from trglab.training import loop
from trglab.training.augment import AugmentConfig, Augmenter, draw
from trglab.training.config import DatasetConfig, Recipe
from trglab.training.data import open_dataset, recipe_topology
from trglab.training.loop import NotFiniteError, run_training, targets_of
from trglab.training.optim import moving_average, use_bf16_in_layers
from trglab.training.overrides import with_overrides
from trglab.training.progress import training_bar
from trglab.training.recipes import stored_dataset, tiny
from trglab.training.state import BEST, LAST, read_log

CPU = torch.device("cpu")


def dots(**changes: object) -> Recipe:
    """A shorter tiny recipe on dot faces, in float32 so that traces are equal to the bit."""
    base = tiny(dataset="tests.support.dot_faces:DotFaces", options={"seed": 0})
    shorter = {"steps": 8, "checkpoint_every": 3, "validate_every": 4, "precision": "f32"}
    return replace(base, **{**shorter, **changes})


def train(folder: Path, trained: Recipe, **options: object):
    return run_training(trained, folder, device=CPU, topology=TOPOLOGY, **options)


def losses(folder: Path) -> list[float]:
    return [line["total"] for line in read_log(folder) if line["kind"] == "train"]


class Killed(BaseException):
    """Stands for a kill: nothing in the loop may catch it."""


def kill_at(step: int):
    def on_step(done: int, numbers: dict[str, float]) -> None:
        if done == step:
            raise Killed

    return on_step


def test_a_killed_training_goes_on_along_the_same_path(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", dots())
    assert whole.finished
    with pytest.raises(Killed):
        train(tmp_path / "killed", dots(), on_step=kill_at(4))  # a checkpoint after 3
    assert not list((tmp_path / "killed").glob(".*"))
    resumed = train(tmp_path / "killed", dots(), resume=True)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert read_log(tmp_path / "killed") == read_log(tmp_path / "whole")
    assert resumed.figures == whole.figures
    first, second = (
        load_checkpoint(tmp_path / name / LAST).network.state_dict() for name in ("whole", "killed")
    )
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_a_training_learns_and_leaves_what_it_should(tmp_path: Path) -> None:
    seen = []
    few = DatasetConfig(
        "tests.support.dot_faces:DotFaces",
        {"seed": 0},
        buffer_size=8,
        reuse=1000,
        augment=AugmentConfig.none(),
    )
    few_again = dots(steps=30, datasets=(few,), log_every=1)
    few_again = with_overrides(few_again, {"optim.learning_rate": 6e-3, "validate_every": 30})
    result = train(tmp_path, few_again, on_step=lambda step, numbers: seen.append(step))
    assert result == loop.TrainingResult(tmp_path, 30, True, result.figures)
    assert seen == list(range(30))
    trace = losses(tmp_path)
    assert np.mean(trace[-5:]) < 0.7 * np.mean(trace[:5])
    assert {"ge_deg_median", "tz_relative_median", "landmarks_mm_mean"} <= set(result.figures)
    best = load_checkpoint(tmp_path / BEST)
    assert best.extra["recipe"]["name"] == "tiny"
    assert (tmp_path / "holdout.jpg").stat().st_size > 1000
    assert not list(tmp_path.glob(".*"))
    json.dumps(best.extra["figures"])


def test_each_dataset_of_a_batch_has_its_own_augmentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dots_config = dots().datasets[0]
    plain = replace(dots_config, augment=AugmentConfig.none(), weight=3.0)
    masked = replace(dots_config, augment=AugmentConfig(centre_jitter=0.3, mask_probability=1.0))
    seen = []
    apply = Augmenter.__call__

    def recording(self, views, draws, device):
        seen.append(draws)
        return apply(self, views, draws, device)

    monkeypatch.setattr(Augmenter, "__call__", recording)
    train(tmp_path, dots(datasets=(plain, masked), steps=3, batch_size=16, holdout=None))
    for draws in seen:
        assert (draws.mask_box[:, 2] > 0).tolist() == [False] * 12 + [True] * 4
        assert (draws.centre_shift[:12] == 0).all()
    shifts = torch.cat([draws.centre_shift[12:] for draws in seen]).abs()
    assert 0.15 < shifts.max() <= 0.3


def test_time_runs_out_cleanly(tmp_path: Path) -> None:
    stopped = train(tmp_path, dots(), max_minutes=0.0)
    assert (stopped.step, stopped.finished) == (1, False)
    finished = train(tmp_path, dots(), resume=True)
    assert finished.finished
    train(tmp_path / "whole", dots())
    assert losses(tmp_path) == losses(tmp_path / "whole")
    again = train(tmp_path, dots(), resume=True)
    assert (again.step, again.finished) == (8, True)


def test_a_training_is_not_overwritten_nor_continued_as_another(tmp_path: Path) -> None:
    train(tmp_path, dots(steps=5))
    with pytest.raises(FileExistsError, match="expected no training there"):
        train(tmp_path, dots(steps=5))
    with pytest.raises(ValueError, match="differing: batch_size was 8, is 4"):
        train(tmp_path, dots(steps=5, batch_size=4), resume=True)
    longer = train(tmp_path, dots(steps=7), resume=True)
    assert (longer.step, longer.finished) == (7, True)
    with pytest.raises(ValueError, match="at least the 7 done, got 5"):
        train(tmp_path, dots(steps=5), resume=True)


def test_nan_stops_and_keeps_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = loop.targets_of
    calls = []

    def broken(batch, hidden_weight=1.0):
        calls.append(1)
        targets = good(batch, hidden_weight)
        if len(calls) == 5:
            targets.rotation[3, 0, 0] = math.nan
        return targets

    monkeypatch.setattr(loop, "targets_of", broken)
    with pytest.raises(NotFiniteError, match="step 4: expected finite numbers"):
        train(tmp_path, dots())
    (path,) = tmp_path.glob("not_finite_*.pt")
    saved = torch.load(path, weights_only=True)
    assert torch.isnan(saved["rotation"][3, 0, 0])
    assert saved["crops"].shape == (8, 3, 64, 64)
    state = load_checkpoint(tmp_path / LAST)
    assert state.extra["step"] == 3
    assert all(torch.isfinite(tensor).all() for tensor in state.network.state_dict().values())


def test_a_full_disk_is_an_error_and_the_old_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = torch.save
    calls = []

    def full(*args: object, **kwargs: object) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        saved(*args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        train(tmp_path, dots())
    assert load_checkpoint(tmp_path / LAST).extra["step"] == 3
    assert not list(tmp_path.glob(".*"))


def test_workers_do_not_change_the_trace(tmp_path: Path) -> None:
    plain = dots(steps=4, holdout=None)
    train(tmp_path / "alone", plain)
    train(tmp_path / "helped", plain, workers=2)
    assert losses(tmp_path / "alone") == losses(tmp_path / "helped")


def test_a_training_reads_a_store(tmp_path: Path) -> None:
    settings = ViewStoreSettings(dots().view_size, image_format="raw")
    write_views(tmp_path / "pack", MeshedDots, settings, indices=range(24))
    packed = dots(steps=3, datasets=(stored_dataset(str(tmp_path / "pack")),), holdout=None)
    assert np.array_equal(recipe_topology(packed).triangles, TOPOLOGY.triangles)
    assert run_training(packed, tmp_path / "run", device=CPU).finished
    with pytest.raises(ValueError, match="expected views of ViewSpec"):
        train(tmp_path / "other", replace(packed, view_scale=1.0))


@pytest.mark.slow
def test_two_processes_see_the_samples_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With frozen statistics and no dropout two processes take the very steps of one."""
    port = 29_000 + os.getpid() % 1000
    paths = [str(Path(__file__).parents[3])]
    code = (
        f"import sys; sys.path[:0] = {paths!r}\n"
        "from pathlib import Path\nfrom tests.trglab.training import test_training\n"
        f"test_training.train_frozen(Path({str(tmp_path / 'two')!r}))\n"
    )
    processes = []
    for rank in range(2):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        processes.append(
            subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
        )
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()[-2000:]
    train_frozen(tmp_path / "one")
    first, second = (
        load_checkpoint(tmp_path / name / LAST).network.state_dict() for name in ("one", "two")
    )
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-3, atol=2e-5, msg=name)


def train_frozen(folder: Path) -> None:
    """Three steps whose result does not depend on how a batch is split."""
    plain = dots(steps=3, holdout=None)
    regressor = replace(plain.model.regressor, dropout=0.0)
    plain = replace(
        plain,
        model=replace(plain.model, regressor=regressor),
        optim=replace(plain.optim, optimizer="adamw", learning_rate=1e-4, clip_norm=None),
    )
    torch.nn.BatchNorm2d.forward = _without_statistics
    try:
        train(folder, plain)
    finally:
        del torch.nn.BatchNorm2d.forward


def _without_statistics(self: torch.nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    return x * self.weight[:, None, None] + self.bias[:, None, None]


def test_bf16_keeps_the_geometry_exact() -> None:
    """Layers are rounded, but rotations stay rotations to float32's precision."""
    network = TRGNetwork(dots().model, TOPOLOGY)
    use_bf16_in_layers(network, "cpu")
    crops = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.1, -0.1, 0.3], [0.0, 0.2, 0.2]])
    output = network(crops.float(), boxes)
    assert not torch.is_autocast_enabled("cpu")
    for stage in output.steps:
        points = transform(stage.vertices_m, stage.rotation, stage.translation_m)
        projected = crop_from_rays(rays_from_points(points), boxes)
        torch.testing.assert_close(stage.vertices_crop, projected, atol=1e-5, rtol=1e-5)
        assert stage.vertices_crop.dtype == torch.float32
        identity = stage.rotation @ stage.rotation.transpose(1, 2)
        torch.testing.assert_close(identity, torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)


def test_perfect_predictions_cost_nothing() -> None:
    """Augmented labels and the losses speak of the same geometry."""
    views = stack_views([view_from_sample(DotFaces().sample(i), ViewSpec(96)) for i in range(6)])
    draws = draw(replace(AugmentConfig(), flip_probability=0.0), 6, torch.Generator())
    batch = Augmenter(64, TOPOLOGY.mirror)(views, draws, CPU)
    targets = targets_of(batch)
    network = TRGNetwork(dots().model, TOPOLOGY)
    output = network(batch.crops, batch.bbox_info)
    rays = rays_from_points(transform(batch.vertices_m, batch.rotation, batch.translation_m))
    steps = tuple(
        stage._replace(
            rotation=batch.rotation,
            translation_m=batch.translation_m,
            vertices_m=batch.vertices_m,
            vertices_crop=crop_from_rays(rays, batch.bbox_info),
        )
        for stage in output.steps
    )
    output = output._replace(steps=steps, landmarks68_crop=batch.landmarks68_crop)
    result = TRGLoss(TOPOLOGY)(output, targets)
    assert result.total < 1e-3
    assert result.five_points < 1e-4


def test_hidden_and_outside_landmarks_weigh_less() -> None:
    views = stack_views([view_from_sample(DotFaces().sample(0), ViewSpec(96))])
    batch = Augmenter(64, TOPOLOGY.mirror)(
        views, draw(AugmentConfig.none(), 1, torch.Generator()), CPU
    )
    batch.landmarks68_crop[0, 5, 0] = 1.2
    weight = targets_of(batch, 0.25).landmarks68_weight[0]
    assert weight[5] == 0.0
    hidden = ~batch.landmarks68_visible[0]
    hidden[5] = False
    assert (weight[hidden] == 0.25).all()
    assert (weight[batch.landmarks68_visible[0]].sum() - weight.gt(0.9).sum()).abs() < 1e-6


def test_the_moving_average_copies_then_averages_with_a_rising_decay() -> None:
    network = TRGNetwork(dots().model, TOPOLOGY)
    average = moving_average(network, 0.25)
    follower = moving_average(network, None)
    expected = network.heatmaps.weight.detach().clone()
    for decay in (0.0, 2 / 11, 0.25, 0.25):
        with torch.no_grad():
            network.heatmaps.weight += 1.0
            network.backbone.bn1.running_mean += 1.0
            network.backbone.bn1.num_batches_tracked += 1
        for each in (average, follower):
            each.update_parameters(network)
        expected = decay * expected + (1 - decay) * network.heatmaps.weight.detach()
        averaged = average.module
        torch.testing.assert_close(averaged.heatmaps.weight, expected)
        mean = averaged.backbone.bn1.running_mean - network.backbone.bn1.running_mean
        offset = averaged.heatmaps.weight - network.heatmaps.weight
        torch.testing.assert_close(mean, offset.mean().expand_as(mean), atol=1e-5, rtol=0)
        assert averaged.backbone.bn1.num_batches_tracked == network.backbone.bn1.num_batches_tracked
        torch.testing.assert_close(follower.module.heatmaps.weight, network.heatmaps.weight)
    assert torch.equal(average.module.subsample, network.subsample)
    assert not average.module.training


def test_datasets_are_called_by_name() -> None:
    config = DatasetConfig("tests.support.dot_faces:DotFaces", {"seed": 4})
    assert np.array_equal(open_dataset(config).sample(1).image, DotFaces(4).sample(1).image)
    with pytest.raises(ValueError, match="module:callable"):
        open_dataset(DatasetConfig("no_such_module:Faces"))
    with pytest.raises(ValueError, match="with a method sample"):
        open_dataset(DatasetConfig("builtins:object"))


class FewDots(list):
    """A data set as readers give it: a length, samples by number, and the mesh's parts."""

    def __init__(self) -> None:
        super().__init__(DotFaces().sample(i) for i in range(4))
        self.triangles = TOPOLOGY.triangles
        self.landmarks68 = TOPOLOGY.landmarks68


def test_a_data_set_brings_its_mesh(tmp_path: Path) -> None:
    few = dots(
        datasets=(DatasetConfig("tests.trglab.training.test_training:FewDots"),),
        steps=2,
        holdout=None,
    )
    topology = recipe_topology(few)
    assert len(topology.subsample) == 305
    assert np.array_equal(topology.mirror, TOPOLOGY.mirror)
    assert run_training(few, tmp_path, device=CPU, topology=TOPOLOGY).finished


def test_finite_datasets_are_read_once_per_epoch() -> None:
    shuffled = ShuffledDataset([DotFaces(dots=()).sample(i) for i in range(5)], seed=1)
    runs = [[shuffled.sample(5 * run + i).name for i in range(5)] for run in range(3)]
    assert all(sorted(run) == [f"dots/{i}" for i in range(5)] for run in runs)
    assert runs[0] != runs[1]
    assert shuffled.sample(2).name == runs[0][2]


def test_the_bar_shows_the_loss() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with training_bar(10, 4, console) as on_step:
        assert "nan" not in console.file.getvalue()
        on_step(0, {"total": 2.0})
        on_step(9, {"total": 2.0})
    shown = console.file.getvalue()
    assert "10/10" in shown
    assert "loss 2.000" in shown
