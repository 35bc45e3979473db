"""The verb that makes the paper's tables and figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from trg.cli.evaluate import EVALUATION, PIPED_WIDTH
from trg.cli.shared import NotNegative, Positive, app, key_values, messages

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from trg.training.loop import OnStep
    from trg.training.recipes import Recipe
    from trg.training.tables import TableData, Workshop


@app.command(group=EVALUATION)
def table(
    number: Literal["1", "2", "3", "4", "fig3", "fig4"],
    /,
    *overrides: str,
    folder: Path = Path("out/tables"),
    arkitface: Path | None = None,
    biwi: Path | None = None,
    w300lp: Path | None = None,
    near: Path | None = None,
    far: Path | None = None,
    recipe: str | None = None,
    option: dict[str, str] | None = None,
    rows: str | None = None,
    steps: Positive | None = None,
    minutes: float | None = None,
    bundle: Path | None = None,
    limit: Positive | None = None,
    pictures: Positive = 1920,
    workers: NotNegative = 0,
    device: str | None = None,
) -> None:
    """Make a table or figure of the paper: train what it needs, measure, print both side by side.

    Without data it makes a synthetic stand-in for ARKitFace and BIWI, and says so in the title.
    Trainings and predictions stay in the folder: other tables use them again, and a call that was
    stopped goes on.

    Parameters
    ----------
    number
        A table's number, ``fig3`` (where heads are) or ``fig4`` (faces drawn).
    overrides
        Fields of the recipe, as ``optim.learning_rate=3e-4``.
    folder
        Where everything goes.
    arkitface, biwi, w300lp
        The data sets' folders, real or written by ``trg synth --layout``.
    near, far
        Packs of the synthetic hold-outs to measure on instead; ``near`` is by default the recipe's
        ``--option.holdout_pack``.
    recipe
        What every network is trained by; by default the paper's, and ``tiny`` on the stand-in.
    option
        The recipe's own arguments, as ``--option.pack FOLDER``.
    rows
        Names of rows, with commas between; by default all.
    steps
        Of every training; the same as the override ``steps=N``.
    minutes
        Stop each training after this time; the next call goes on.
    bundle
        Weights that stand for the full network.
    limit
        Measure on this many pictures of each test set.
    pictures
        In the stand-in's training part; its test sets have an eighth each.
    workers
        Processes that render or read.
    device
        ``cpu`` or ``cuda``; chosen when not given.
    """
    from rich.progress import Progress

    from trg.training.table_plans import TABLES
    from trg.training.tables import Workshop
    from trg.training.variants import Budget

    changes = key_values(overrides) | ({} if steps is None else {"steps": steps})
    if TABLES.get(number):
        TABLES[number].chosen(_names(rows))  # say so before anything is trained
    results = Console()
    if not results.is_terminal:
        results.width = PIPED_WIDTH
    folder.mkdir(parents=True, exist_ok=True)
    with Progress(console=messages) as bar:
        if arkitface is not None:
            data = _from_data_sets(arkitface, biwi, w300lp, recipe, changes)
        elif near is not None or far is not None or "holdout_pack" in (option or {}):
            data = _from_packs(recipe, option or {}, near, far, changes)
        else:
            data = _from_stand_in(folder, recipe, changes, pictures, workers, bar)
        workshop = Workshop(
            folder=folder,
            data=data,
            budget=Budget(minutes, workers, device),
            bundle=bundle,
            limit=limit,
            on_training=lambda name, chosen: _training_bar(bar, name, chosen),
            on_scoring=lambda label, total: _bar(bar, label, total),
        )
        shown, written = _make(number, workshop, _names(rows))
    for each in shown:
        results.print(each)
    messages.print(", ".join(str(path) for path in written), markup=False)


def _make(
    number: str, workshop: Workshop, rows: list[str] | None
) -> tuple[list[Table], list[Path]]:
    """Return what to print, and the files written."""
    from trg.training.comparison import as_table, differences_table, write_comparison
    from trg.training.table_figures import make_figure_3, make_figure_4
    from trg.training.table_plans import TABLES
    from trg.training.tables import make_table

    if number == "fig3":
        path, spreads = make_figure_3(workshop)
        return [spreads], [path]
    if number == "fig4":
        return [], [make_figure_4(workshop)]
    made = make_table(TABLES[number], workshop, rows)
    shown = [as_table(made), differences_table(made)]
    return [each for each in shown if each is not None], write_comparison(workshop.folder, made)


def _names(rows: str | None) -> list[str] | None:
    return None if rows is None else [name.strip() for name in rows.split(",") if name.strip()]


def _from_data_sets(
    arkitface: Path,
    biwi: Path | None,
    w300lp: Path | None,
    recipe: str | None,
    changes: dict[str, Any],
) -> TableData:
    from trg.training.table_data import from_data_sets

    return from_data_sets(arkitface, biwi, w300lp, recipe, changes)


def _from_packs(
    recipe: str | None,
    option: dict[str, str],
    near: Path | None,
    far: Path | None,
    changes: dict[str, Any],
) -> TableData:
    from trg.training.table_data import from_packs

    if near is None and "holdout_pack" in option:
        near = Path(option["holdout_pack"])
    if near is None or recipe is None:
        raise ValueError(
            "tables on packs: expected --recipe, and --near or --option.holdout_pack, "
            f"got recipe {recipe} and near {near}"
        )
    return from_packs(recipe, option, near, far, changes)


def _from_stand_in(
    folder: Path,
    recipe: str | None,
    changes: dict[str, Any],
    pictures: int,
    workers: int,
    bar: Progress,
) -> TableData:
    from trg.synth.stand_in import StandInSize, write_stand_in
    from trg.training.table_data import from_stand_in

    eighth = max(1, pictures // 8)
    parts = write_stand_in(
        folder / "stand-in",
        StandInSize(pictures, eighth, eighth),
        workers=workers,
        on_part=lambda part, total: _bar(bar, f"stand-in, {part}", total),
    )
    return from_stand_in(parts, recipe, changes)


def _bar(bar: Progress, label: str, total: int) -> Callable[[int], None]:
    task = bar.add_task(label, total=total)
    return lambda done: bar.update(task, completed=done)


def _training_bar(bar: Progress, name: str, recipe: Recipe) -> OnStep:
    task = bar.add_task(f"training {name}", total=recipe.steps)
    return lambda step, _: bar.update(task, completed=step + 1)
