"""The verb ``table``: make the paper's tables and figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter
from rich.console import Console

from trg.app.cli.shared import NotNegative, Positive, key_values, messages
from trglab.cli.evaluate import PIPED_WIDTH

if TYPE_CHECKING:
    from rich.progress import Progress

    from trglab.evaluation.table import TextTable
    from trglab.paper.table_data import TableData
    from trglab.paper.table_runner import TableRunner
    from trglab.training.config import Recipe
    from trglab.training.loop import OnStep


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class DataOptions:
    """Training data and test sets.

    Parameters
    ----------
    arkitface
        ARKitFace's folder: the real one, or one from ``trg synth --layout``; likewise below.
    biwi
        BIWI's folder.
    w300lp
        300W-LP's folder or a store of its views (``trg data pack``): the paper's second training
        set. Without it the paper's rows of a training on both data sets are not reproduced.
    arkitface_views
        A store of the views of ARKitFace's training part, which trainings read faster than the
        folder.
    boxes
        Source of the test sets' face boxes, as in ``trg eval``: by default those of the ``paper``'s
        protocol, and ``truth`` on the stand-in and on packs.
    near
        Pack of the synthetic hold-out, used as test set instead of data sets; by default the
        recipe's ``--option.holdout_pack``.
    far
        Pack of the hold-out beyond the training distances.
    images
        Number of images in the training part of the stand-in; each test set has an eighth of it.
    limit
        Measure on this many images of each test set.
    """

    arkitface: Path | None = None
    biwi: Path | None = None
    w300lp: Path | None = None
    arkitface_views: Path | None = None
    boxes: Literal["paper", "truth", "detector", "landmarks"] | None = None
    near: Path | None = None
    far: Path | None = None
    images: Positive = 1920
    limit: Positive | None = None


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Training of the networks.

    Parameters
    ----------
    recipe
        Of every training; by default the paper's, and ``tiny`` on the stand-in.
    option
        The recipe's own arguments, as ``--option.pack FOLDER``.
    steps
        Of every training; equal to the override ``steps=N``.
    minutes
        Stop each training after this time; the next call resumes it.
    bundle
        Weights to use as the full network: a name listed by `trg models`, or a `.trg` file.
    workers
        Processes that render or read.
    device
        ``cpu`` or ``cuda``; by default ``cuda`` where available.
    """

    recipe: str | None = None
    option: dict[str, str] | None = None
    steps: Positive | None = None
    minutes: float | None = None
    bundle: Path | None = None
    workers: NotNegative = 0
    device: str | None = None


def table(
    number: Literal["1", "2", "3", "4", "fig3", "fig4"],
    /,
    *overrides: str,
    folder: Path = Path("out/tables"),
    rows: str | None = None,
    data: DataOptions = DataOptions(),
    training: TrainingOptions = TrainingOptions(),
) -> None:
    """Make a table or figure of the paper: train, measure, print the paper's rows beside ours.

    Without data it renders a synthetic stand-in for ARKitFace and BIWI and names it in the title.
    Trainings and predictions stay in the folder: other tables reuse them, and the next call resumes
    an interrupted one.

    Parameters
    ----------
    number
        A table's number, ``fig3`` (distributions of poses) or ``fig4`` (faces).
    overrides
        Fields of the recipe, as ``optim.learning_rate=3e-4``.
    folder
        Folder for trainings, predictions and results.
    rows
        Comma-separated names of rows; by default all.
    """
    from rich.progress import Progress

    from trglab.paper.tables_1_to_4 import TABLES

    names = None if rows is None else [name.strip() for name in rows.split(",") if name.strip()]
    if number in TABLES:
        TABLES[number].select(names)  # report unknown names before anything is trained
    changes = key_values(overrides)
    if training.steps is not None:
        changes["steps"] = training.steps
    results = Console()
    if not results.is_terminal:
        results.width = PIPED_WIDTH
    folder.mkdir(parents=True, exist_ok=True)
    with Progress(console=messages) as bar:
        opened = _open(data, training, changes, folder, bar)
        shown, written = _make(number, _table_runner(folder, opened, data, training, bar), names)
    for each in shown:
        results.print(each.to_rich())
    messages.print(", ".join(str(path) for path in written), markup=False)


def _open(
    data: DataOptions,
    training: TrainingOptions,
    changes: dict[str, Any],
    folder: Path,
    bar: Progress,
) -> TableData:
    """Open the given data, or render a synthetic stand-in."""
    from trglab.export.synthetic_data_sets import SyntheticDataSetSizes, write_synthetic_data_sets
    from trglab.paper.table_data import (
        table_data_from_datasets,
        table_data_from_packs,
        table_data_from_synthetic,
    )

    option = training.option or {}
    if data.arkitface is not None:
        return table_data_from_datasets(
            data.arkitface,
            data.biwi,
            data.w300lp,
            training.recipe,
            changes,
            arkitface_views=data.arkitface_views,
            boxes=data.boxes or "paper",
        )
    for name in ("biwi", "w300lp", "arkitface_views"):
        if getattr(data, name) is not None:
            raise ValueError(f"table: --{name.replace('_', '-')} needs --arkitface FOLDER as well")
    near = data.near
    if near is None and "holdout_pack" in option:
        near = Path(option["holdout_pack"])
    if near is not None and training.recipe is not None:
        return table_data_from_packs(training.recipe, option, near, data.far, changes)
    if near is not None:
        raise ValueError("table: hold-out packs need --recipe NAME as well")
    if data.far is not None:
        raise ValueError("table: --far needs --near PACK or --option.holdout_pack PACK as well")
    eighth = max(1, data.images // 8)
    parts = write_synthetic_data_sets(
        folder / "stand-in",
        SyntheticDataSetSizes(data.images, eighth, eighth),
        workers=training.workers,
        on_part=lambda part, total: _bar(bar, f"stand-in, {part}", total),
    )
    return table_data_from_synthetic(parts, training.recipe, changes, boxes=data.boxes or "truth")


def _table_runner(
    folder: Path, opened: TableData, data: DataOptions, training: TrainingOptions, bar: Progress
) -> TableRunner:
    from trg.inference.bundle import model_path
    from trglab.paper.table_runner import TableRunner
    from trglab.paper.variants import TrainingBudget

    return TableRunner(
        folder=folder,
        data=opened,
        budget=TrainingBudget(training.minutes, training.workers, training.device),
        bundle=None if training.bundle is None else model_path(training.bundle),
        limit=data.limit,
        on_training=lambda name, recipe: _training_bar(bar, name, recipe),
        on_scoring=lambda label, total: _bar(bar, label, total),
    )


def _make(
    number: str, runner: TableRunner, rows: list[str] | None
) -> tuple[list[TextTable], list[Path]]:
    """Return the tables to print and the files written."""
    from trglab.paper.comparison import comparison_table, differences_table, write_comparison
    from trglab.paper.figures_3_and_4 import make_figure_3, make_figure_4
    from trglab.paper.table_runner import make_table
    from trglab.paper.tables_1_to_4 import TABLES

    if number == "fig3":
        path, spreads = make_figure_3(runner)
        return [spreads], [path]
    if number == "fig4":
        return [], [make_figure_4(runner)]
    made = make_table(TABLES[number], runner, rows)
    shown = [comparison_table(made), differences_table(made)]
    return [each for each in shown if each is not None], write_comparison(runner.folder, made)


def _bar(bar: Progress, label: str, total: int) -> Callable[[int], None]:
    task = bar.add_task(label, total=total)
    return lambda done: bar.update(task, completed=done)


def _training_bar(bar: Progress, name: str, recipe: Recipe) -> OnStep:
    task = bar.add_task(f"training {name}", total=recipe.steps)
    return lambda step, _: bar.update(task, completed=step + 1)
