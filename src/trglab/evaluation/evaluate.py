"""One evaluation from a data set to a report: predictions are saved first, then scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trglab.evaluation.prediction import DatasetRun, LabelledImages, Method, run_on_dataset
from trglab.evaluation.predictions import Predictions, read_predictions, write_predictions
from trglab.evaluation.protocols import EvaluationProtocol
from trglab.evaluation.report import Report, make_report
from trglab.evaluation.scores import score

PREDICTIONS = "predictions.npz"


class Evaluation(NamedTuple):
    """A report and what it was made from, a row for each picture."""

    report: Report
    predictions: Predictions
    gathered: DatasetRun


def evaluate(
    protocol: EvaluationProtocol,
    pictures: LabelledImages,
    method: Method,
    folder: str | Path,
    *,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Predict, write ``predictions.npz`` into ``folder``, read it back and score it.

    Parameters
    ----------
    limit
        Use only this many pictures, evenly spread.
    on_progress
        Told how many pictures are done.

    Raises
    ------
    OSError
        The folder cannot be written.
    ValueError
        No picture can be read.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    gathered = run_on_dataset(pictures, method, limit=limit, on_progress=on_progress)
    assert gathered.predictions is not None
    write_predictions(folder / PREDICTIONS, gathered.predictions)
    return _scored(protocol, read_predictions(folder / PREDICTIONS), gathered)


def score_file(
    protocol: EvaluationProtocol,
    pictures: LabelledImages,
    path: str | Path,
    *,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score predictions that somebody saved; arguments as :func:`evaluate`'s.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing or damaged, or was made on other pictures or labels.
    """
    predictions = read_predictions(path)
    gathered = run_on_dataset(pictures, limit=limit, on_progress=on_progress)
    return _scored(protocol, predictions, gathered)


def _scored(
    protocol: EvaluationProtocol, predictions: Predictions, gathered: DatasetRun
) -> Evaluation:
    scores = score(predictions, gathered.truth)
    report = make_report(protocol, predictions.facts, scores, gathered.unreadable)
    return Evaluation(report, predictions.in_order(gathered.truth.names), gathered)
