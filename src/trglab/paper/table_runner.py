"""Make the paper's tables: train missing networks, measure them, compare with the printed rows.

::

    recipe --one training per network--> FOLDER/trained/NAME/              (resumed or reused)
             --every row on every test set--> FOLDER/scores/ROW/near|far/  (saved predictions)
                                                        |
    the paper's printed numbers ------------------------+--> FOLDER/table-N.md, .csv, .json

All networks of a table are trained for the same number of steps by the same recipe, and are
measured by the code of ``trg eval``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trg.inference.runtime import PoseNetwork, PoseRuntime
from trg.network.checkpoint import load_checkpoint
from trglab.datasets.files import file_sha256
from trglab.evaluation.bootstrap import SubjectBootstrap
from trglab.evaluation.evaluate import PREDICTIONS_FILE, Evaluation, evaluate, score_file
from trglab.evaluation.predictions import PredictionMetadata, read_predictions
from trglab.evaluation.protocols import method_with_boxes
from trglab.evaluation.report import BOOTSTRAP_SEED, Report, write_report
from trglab.paper.baselines import PnPNetwork
from trglab.paper.comparison import Comparison, ComparisonRow, DifferenceRow, PairedDifference
from trglab.paper.img2pose import LocalPoseNetwork
from trglab.paper.table_data import TableData
from trglab.paper.tables_1_to_4 import (
    SINGLE_ROW,
    TRG_ROWS,
    V2_ROW,
    Column,
    MethodRow,
    PoseMethod,
    Role,
    TableDefinition,
)
from trglab.paper.variants import CheckpointNetwork, OnTraining, TrainingBudget, train_variant
from trglab.training.config import Recipe

OnScoring = Callable[[str, int], Callable[[int], None] | None]
"""Called with a label and the number of images; returns a callback for the number done."""


class TrainedNetwork(NamedTuple):
    """A network of a table."""

    network: PoseNetwork
    sha256: str
    """Of its file"""
    steps: int | None
    """Steps of its training so far; None if it was not trained here"""


@dataclass(frozen=True, slots=True)
class TableRunner:
    """Trains and measures networks in one folder."""

    folder: Path
    data: TableData
    budget: TrainingBudget = field(default_factory=TrainingBudget)
    bundle: Path | None = None
    """A weight bundle used as the full network, instead of a training"""
    limit: int | None = None
    """Measure on at most this many images of each test set"""
    on_training: OnTraining | None = None
    on_scoring: OnScoring | None = None

    def recipe(self, single_set: bool) -> Recipe:
        """Return the recipe of the networks trained on ARKitFace alone, or of all others."""
        if not single_set:
            return self.data.recipe
        assert self.data.single_recipe is not None
        return self.data.single_recipe

    def network(self, name: str, *, single_set: bool = False) -> TrainedNetwork:
        """Train or load the network of a variant.

        Parameters
        ----------
        single_set
            Trained on ARKitFace alone, beside networks that are trained on both data sets.
        """
        if name == "full" and self.bundle is not None and not single_set:
            return TrainedNetwork(PoseRuntime(self.bundle), file_sha256(self.bundle), None)
        recipe = self.recipe(single_set)
        folder = self.folder / "trained" / (SINGLE_ROW if single_set else name)
        path = train_variant(recipe, name, folder, self.budget, self.on_training)
        network = CheckpointNetwork(load_checkpoint(path), name, self.budget.device)
        return TrainedNetwork(network, file_sha256(path), network.step)

    def measure(self, row: MethodRow, role: Role, trained: TrainedNetwork) -> Evaluation:
        """Evaluate a row on a test set and write the report; saved predictions are reused."""
        test = self.data.tests[role]
        method = method_with_boxes(
            test.protocol,
            with_pose_method(trained.network, row.pose_method),
            test.boxes,
            bundle_sha256=trained.sha256,
        )
        folder = self.folder / "scores" / row.name / role
        stored = folder / PREDICTIONS_FILE
        total = self.image_count(role)
        on_progress = None
        if self.on_scoring is not None:
            on_progress = self.on_scoring(f"{row.label} on {test.short_name}", total)
        if stored.is_file() and _is_reusable(
            read_predictions(stored).metadata, method.metadata, self.limit
        ):
            evaluation = score_file(
                test.protocol, test.images, stored, limit=self.limit, on_progress=on_progress
            )
        else:
            evaluation = evaluate(
                test.protocol,
                test.images,
                method,
                folder,
                limit=self.limit,
                on_progress=on_progress,
            )
        write_report(folder, evaluation.report)
        return evaluation

    def image_count(self, role: Role) -> int:
        """Return the number of images that are measured of a test set."""
        total = len(self.data.tests[role].images.samples)
        return min(total, self.limit or total)


def with_pose_method(network: PoseNetwork, pose_method: PoseMethod) -> PoseNetwork:
    """Wrap a network so that its pose comes from ``pose_method``."""
    match pose_method:
        case "pnp-predicted":
            return PnPNetwork(network, "heatmap", "predicted")
        case "pnp-mean":
            return PnPNetwork(network, "heatmap", "mean")
        case "pnp-dense":
            return PnPNetwork(network, "projected", "mean")
        case "local":
            return LocalPoseNetwork(network)
        case _:
            return network


TEST_SET_OPTIONS: Mapping[Role, str] = {
    "near": "--arkitface FOLDER (or --near PACK)",
    "far": "--biwi FOLDER (or --far PACK)",
}
"""Options of ``trg table`` that give each test set."""


def make_table(
    table: TableDefinition, runner: TableRunner, row_names: Sequence[str] | None = None
) -> Comparison:
    """Train and measure the rows of a table and put them beside the printed ones.

    Parameters
    ----------
    row_names
        None: all rows.

    Raises
    ------
    ValueError
        There is no such row, a test set is missing, or the folder holds trainings of another
        recipe.
    """
    data = runner.data
    rows = _rows_of_data(table, runner, row_names)
    needed = {column.role for column in table.columns}
    if missing := sorted(needed - set(data.tests)):
        options = " and ".join(TEST_SET_OPTIONS[role] for role in missing)
        raise ValueError(f"table {table.number}: a test set is missing; expected {options}")
    measured = []
    for row, trained in _with_networks(rows, runner):
        reports = {role: runner.measure(row, role, trained).report for role in sorted(needed)}
        planned = runner.recipe(row.name == SINGLE_ROW).steps
        label = row.label + _unfinished_note(trained.steps, planned)
        measured.append(_MeasuredRow(row, label, reports))
    roles = [role for role in data.tests if role in needed]
    full = next((each for each in measured if each.row.name == "full"), None)
    others = [each for each in measured if each is not full] if full is not None else []
    return Comparison(
        number=table.number,
        title=f"{table.title} ({data.title})",
        columns=table.columns,
        test_sets={role: data.tests[role].short_name for role in roles},
        rows=_interleave(table, measured),
        notes=(*_notes(runner, rows, roles), *_training_notes(table, runner), *data.notes),
        differences=tuple(each.minus(full, table) for each in others if full is not None),
    )


def _rows_of_data(
    table: TableDefinition, runner: TableRunner, names: Sequence[str] | None
) -> tuple[MethodRow, ...]:
    """Return the rows that the data allow, TRG's paired with the printed row of its training."""
    training = runner.data.training_sets
    chosen = []
    for row in table.select(names):
        if row.name == SINGLE_ROW and training != "both":
            if names is not None:
                raise ValueError(
                    f"rows: {SINGLE_ROW} is the row beside a training on both data sets; give "
                    "--arkitface and --w300lp, or ask for full"
                )
            continue
        if table.compares_trainings and row.name in (SINGLE_ROW, "full"):
            own_training = "arkitface" if row.name == SINGLE_ROW else training
            if own_training is None or (row.name == "full" and runner.bundle is not None):
                row = replace(row, published="")
            else:
                label, published = TRG_ROWS[own_training]
                row = replace(row, label=label, published=published)
        chosen.append(row)
    return tuple(chosen)


def _with_networks(
    rows: Sequence[MethodRow], runner: TableRunner
) -> Iterator[tuple[MethodRow, TrainedNetwork]]:
    """Yield rows with their networks; neighbouring rows of one network share it."""
    last: tuple[tuple[str, bool], TrainedNetwork] | None = None
    for row in rows:
        key = row.network, row.name == SINGLE_ROW
        if last is None or last[0] != key:
            last = key, runner.network(row.network, single_set=key[1])
        yield row, last[1]


class _MeasuredRow(NamedTuple):
    row: MethodRow
    label: str
    reports: Mapping[Role, Report]

    def comparison_row(self, table: TableDefinition) -> ComparisonRow:
        """Return the statistics of the table's columns."""
        values = {}
        for column in table.columns:
            statistics = self.reports[column.role].summary.statistics
            if self._is_reported(column, statistics):
                values[column.key] = getattr(statistics[column.error], column.statistic)
        return ComparisonRow(self.label, "ours", values)

    def minus(self, other: _MeasuredRow, table: TableDefinition) -> DifferenceRow:
        """Return the mean differences to another row on the same images."""
        values = {}
        for column in table.columns:
            own, theirs = (each.reports[column.role].scores for each in (self, other))
            if column.statistic != "mean" or not (
                self._is_reported(column, own.errors) and other._is_reported(column, theirs.errors)
            ):
                continue
            paired = own.errors[column.error] - theirs.errors[column.error]
            if np.isfinite(paired).any():
                bootstrap = SubjectBootstrap(own.subjects, np.random.default_rng(BOOTSTRAP_SEED))
                mean = float(np.nanmean(paired))
                values[column.key] = PairedDifference(mean, bootstrap.mean(paired))
        return DifferenceRow(self.label, values)

    def _is_reported(self, column: Column, known: Container[str]) -> bool:
        return column.error in known and (self.row.has_shape or column.error != "landmarks_mm")


def _interleave(
    table: TableDefinition, measured: Sequence[_MeasuredRow]
) -> tuple[ComparisonRow, ...]:
    """Put each printed row above the measured row that reproduces it, and the others on top."""
    printed = {
        label: ComparisonRow(label, "paper", values) for label, values in table.published.items()
    }
    reproduced = {each.row.published for each in measured}
    if not table.compares_trainings:  # one printed row per row that can be measured
        reproduced |= {row.published for row in table.rows}
    rows = [row for label, row in printed.items() if label not in reproduced]
    for each in measured:
        rows += [printed[each.row.published]] if each.row.published else []
        rows.append(each.comparison_row(table))
    return tuple(rows)


def _notes(runner: TableRunner, rows: Sequence[MethodRow], roles: Sequence[Role]) -> list[str]:
    recipe, bundle = runner.data.recipe, runner.bundle
    notes = []
    if {row.network for row in rows} - ({"full"} if bundle is not None else set()):
        notes.append(
            f"Each network: {recipe.steps} steps of {recipe.batch_size} images by the recipe "
            f"{recipe.name}, the backbone from {recipe.initial_backbone}; the last weights, no "
            "selection among checkpoints."
        )
    if SINGLE_ROW in {row.name for row in rows}:
        single = runner.recipe(single_set=True)
        notes.append(
            f"{TRG_ROWS['arkitface'][0]}: {single.steps} steps by the recipe {single.name}."
        )
    if V2_ROW in {row.name for row in rows}:
        notes.append(
            "TRGv2's network is trained like the others here; its own paper trains it with batches "
            "of 256 (recipe paper_v2)."
        )
    if bundle is not None:
        notes.append(f"The full network is not trained here but read from {bundle.name}.")
    for role in roles:
        test = runner.data.tests[role]
        notes.append(
            f"{test.short_name}: {test.protocol.title}, {runner.image_count(role)} images; boxes: "
            f"{test.protocol.describe_boxes(test.boxes)}."
        )
    return notes


def _training_notes(table: TableDefinition, runner: TableRunner) -> list[str]:
    """Say how the training differs from that of the paper's rows."""
    data = runner.data
    if data.training_sets is None:
        return []
    notes = []
    if data.training_sets == "arkitface" and table.compares_trainings:
        notes.append(
            f"The row {TRG_ROWS['both'][0]!r} is missing: it needs 300W-LP, --w300lp FOLDER."
        )
    elif data.training_sets == "arkitface":
        notes.append(
            "The paper trains the networks of this table on ARKitFace and 300W-LP, these are "
            "trained on ARKitFace alone: --w300lp FOLDER adds the other."
        )
    return notes


def _unfinished_note(steps: int | None, planned: int) -> str:
    return "" if steps is None or steps == planned else f" (after {steps} of {planned} steps)"


def _is_reusable(stored: PredictionMetadata, wanted: PredictionMetadata, limit: int | None) -> bool:
    """Whether saved predictions are those that the method would make now."""
    settings = {**wanted.settings, **({} if limit is None else {"limit": limit})}
    return replace(stored, dataset="", dataset_sha256="") == replace(wanted, settings=settings)
