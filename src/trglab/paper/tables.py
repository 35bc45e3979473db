"""Makes the paper's tables: trains what is missing, measures it, puts both figures side by side.

::

    recipe --one training per network--> FOLDER/trained/NAME/        (resumed, or taken as it is)
             --every line on every test set--> FOLDER/scores/LINE/near|far/   (saved predictions)
                                                        |
    the paper's printed figures ------------------------+--> FOLDER/table-N.md, .csv, .json

All networks of a table get the same number of steps of the same recipe, and are scored by the same
code as everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trg.inference.detections import Detector
from trg.inference.runtime import PoseNetwork, PoseRuntime
from trg.network.checkpoint import load_checkpoint
from trglab.datasets.files import file_sha256
from trglab.evaluation.bootstrap import SubjectBootstrap
from trglab.evaluation.evaluate import PREDICTIONS, Evaluation, evaluate, score_file
from trglab.evaluation.prediction import BoxRule, BundleMethod, LabelledImages
from trglab.evaluation.predictions import PredictionMetadata, read_predictions
from trglab.evaluation.protocols import EvaluationProtocol
from trglab.evaluation.report import SEED, Report, write_report
from trglab.paper.baselines import LocalNetwork, PnPNetwork
from trglab.paper.comparison import Comparison, ComparisonRow, DifferenceRow, PairedDifference
from trglab.paper.table_plans import Column, MethodRow, Role, TableDefinition
from trglab.paper.variants import CheckpointNetwork, OnTraining, TrainingBudget, train_variant
from trglab.training.recipes import Recipe

TRAINED, SCORES = "trained", "scores"

OnScoring = Callable[[str, int], Callable[[int], None] | None]
"""Told what is scored on how many pictures; returns what is told how many are done."""


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """One data set that tables measure on."""

    __test__ = False  # its name makes pytest look into it

    short: str
    """For headings."""
    protocol: EvaluationProtocol
    pictures: LabelledImages
    boxes: BoxRule = "truth"
    detector: Detector | None = None


@dataclass(frozen=True, slots=True)
class TableData:
    """What a table is made from."""

    title: str
    """Says what the data are, above all where they are not the paper's."""
    recipe: Recipe
    tests: Mapping[Role, EvaluationSet]
    training: EvaluationSet | None = None
    """What is trained on, to be shown beside the test sets."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableRunner:
    """Where tables are made and how much may be spent on them."""

    folder: Path
    data: TableData
    budget: TrainingBudget = field(default_factory=TrainingBudget)
    bundle: Path | None = None
    """Weights that stand for the full network, instead of a training."""
    limit: int | None = None
    """Measure on this many pictures of each test set only."""
    on_training: OnTraining | None = None
    on_scoring: OnScoring | None = None

    def network(self, name: str) -> tuple[PoseNetwork, str, int | None]:
        """Train or load a network; return it, its file's SHA-256 and the steps it has had."""
        if name == "full" and self.bundle is not None:
            return PoseRuntime(self.bundle), file_sha256(self.bundle), None
        path = train_variant(
            self.data.recipe, name, self.folder / TRAINED, self.budget, self.on_training
        )
        network = CheckpointNetwork(load_checkpoint(path), name, self.budget.device)
        return network, file_sha256(path), network.step

    def measure(self, line: MethodRow, role: Role, network: PoseNetwork, sha256: str) -> Evaluation:
        """Score a line on a test set; predictions that are saved already are not made again."""
        test = self.data.tests[role]
        method = BundleMethod(
            on_its_way(line, network),
            test.boxes,
            test.detector,
            shift_boxes=test.protocol.shift_boxes,
            bundle_sha256=sha256,
        )
        folder = self.folder / SCORES / line.name / role
        stored = folder / PREDICTIONS
        total = len(test.pictures.samples)
        on_progress = None
        if self.on_scoring is not None:
            label = f"{line.label} on {test.short}"
            on_progress = self.on_scoring(label, min(total, self.limit or total))
        if stored.is_file() and _same(read_predictions(stored).facts, method.facts, self.limit):
            found = score_file(
                test.protocol, test.pictures, stored, limit=self.limit, on_progress=on_progress
            )
        else:
            found = evaluate(
                test.protocol,
                test.pictures,
                method,
                folder,
                limit=self.limit,
                on_progress=on_progress,
            )
        write_report(folder, found.report)
        return found


def on_its_way(line: MethodRow, network: PoseNetwork) -> PoseNetwork:
    """Return a network whose pose is found in the line's way."""
    if line.way == "pnp-predicted":
        return PnPNetwork(network, "heatmap", "predicted")
    if line.way == "pnp-mean":
        return PnPNetwork(network, "heatmap", "mean")
    if line.way == "pnp-dense":
        return PnPNetwork(network, "projected", "mean")
    return LocalNetwork(network) if line.way == "local" else network


def make_table(
    plan: TableDefinition, runner: TableRunner, rows: Sequence[str] | None = None
) -> Comparison:
    """Train and measure what a table needs, and put it beside what the paper printed.

    Parameters
    ----------
    rows
        Names of the plan's lines; None: all.

    Raises
    ------
    ValueError
        There is no such line, a folder's training was by another recipe, or a test set is missing.
    """
    chosen = plan.chosen(rows)
    data = runner.data
    needed = {column.role for column in plan.columns}
    if missing := sorted(needed - set(data.tests)):
        raise ValueError(
            f"table {plan.number}: expected the test sets {sorted(needed)}, {missing} missing"
        )
    ours = []
    for line, (network, sha256, steps) in _with_networks(chosen, runner):
        found = {
            role: runner.measure(line, role, network, sha256).report for role in sorted(needed)
        }
        label = line.label + _unfinished(steps, data.recipe.steps)
        ours.append(_Measured(line, label, found))
    roles = [role for role in data.tests if role in needed]
    full = next((each for each in ours if each.line.name == "full"), None)
    others = [each for each in ours if full is not None and each is not full]
    return Comparison(
        number=plan.number,
        title=f"{plan.title} ({data.title})",
        columns=plan.columns,
        test_sets={role: data.tests[role].short for role in roles},
        rows=_side_by_side(plan, ours),
        notes=(*_notes(runner, chosen, roles), *data.notes),
        differences=tuple(each.minus(full, plan) for each in others if full is not None),
    )


def _with_networks(
    lines: Sequence[MethodRow], runner: TableRunner
) -> Iterator[tuple[MethodRow, tuple[PoseNetwork, str, int | None]]]:
    """Yield lines with their networks, lines of one network with the same one."""
    last: tuple[str, tuple[PoseNetwork, str, int | None]] | None = None
    for line in lines:
        if last is None or last[0] != line.network:
            last = line.network, runner.network(line.network)
        yield line, last[1]


class _Measured(NamedTuple):
    """One of our lines with what it reached on each test set."""

    line: MethodRow
    label: str
    found: Mapping[Role, Report]

    def row(self, plan: TableDefinition) -> ComparisonRow:
        values = {}
        for column in plan.columns:
            figures = self.found[column.role].summary.figures
            if self.says(column, figures):
                figure = figures[column.error]
                values[column.key] = figure.mean if column.statistic == "mean" else figure.median
        return ComparisonRow(self.label, "ours", values)

    def minus(self, other: _Measured, plan: TableDefinition) -> DifferenceRow:
        values = {}
        for column in plan.columns:
            own = self.found[column.role].scores
            theirs = other.found[column.role].scores.plain
            both = self.says(column, own.plain) and other.says(column, theirs)
            if column.statistic == "mean" and both:
                paired = own.plain[column.error] - theirs[column.error]
                if np.isfinite(paired).any():
                    bootstrap = SubjectBootstrap(own.subjects, np.random.default_rng(SEED))
                    mean = float(np.nanmean(paired))
                    values[column.key] = PairedDifference(mean, bootstrap.mean(paired))
        return DifferenceRow(self.label, values)

    def says(self, column: Column, known: Container[str]) -> bool:
        shapeless = column.error == "landmarks_mm" and not self.line.has_shape
        return column.error in known and not shapeless


def _side_by_side(plan: TableDefinition, ours: Sequence[_Measured]) -> tuple[ComparisonRow, ...]:
    """Put each of the paper's rows over ours of the same kind, and those without one on top."""
    printed = {line.label: ComparisonRow(line.label, "paper", line.values) for line in plan.paper}
    paired = {line.published for line in plan.lines}
    rows = [row for label, row in printed.items() if label not in paired]
    for measured in ours:
        rows += [printed[measured.line.published]] if measured.line.published else []
        rows.append(measured.row(plan))
    return tuple(rows)


def _notes(runner: TableRunner, lines: Sequence[MethodRow], roles: Sequence[Role]) -> list[str]:
    data, recipe = runner.data, runner.data.recipe
    given = {"full"} if runner.bundle is not None else set()
    notes = []
    if {line.network for line in lines} - given:
        notes.append(
            f"Each network: {recipe.steps} steps of {recipe.batch_size} pictures by the recipe "
            f"{recipe.name}, the last weights, no choice among them."
        )
    if runner.bundle is not None:
        notes.append(f"The full network is not trained here but read from {runner.bundle.name}.")
    for role in roles:
        test = data.tests[role]
        total = len(test.pictures.samples)
        count = min(total, runner.limit or total)
        notes.append(f"{test.short}: {test.protocol.title}, {count} pictures.")
    return notes


def _unfinished(steps: int | None, wanted: int) -> str:
    return "" if steps is None or steps == wanted else f" (after {steps} of {wanted} steps)"


def _same(stored: PredictionMetadata, wanted: PredictionMetadata, limit: int | None) -> bool:
    """Whether saved predictions are those that would be made now."""
    settings = {**wanted.settings, **({} if limit is None else {"limit": limit})}
    return replace(stored, dataset="", dataset_sha256="") == replace(wanted, settings=settings)
