"""Evaluate a method on a data set: predictions are saved first, then scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trglab.evaluation.prediction import DatasetRun, LabelledImages, Method, run_on_dataset
from trglab.evaluation.predictions import Predictions, read_predictions, write_predictions
from trglab.evaluation.protocols import EvaluationProtocol
from trglab.evaluation.report import Report, make_report
from trglab.evaluation.scores import score

PREDICTIONS_FILE = "predictions.npz"


class Evaluation(NamedTuple):
    """A report with the predictions and labels behind it, one row per image."""

    report: Report
    predictions: Predictions
    run: DatasetRun


def evaluate(
    protocol: EvaluationProtocol,
    images: LabelledImages,
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
        Use only this many images, evenly spread.
    on_progress
        Called with the number of images done.

    Raises
    ------
    OSError
        The folder cannot be written.
    ValueError
        No image can be read.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = run_on_dataset(images, method, limit=limit, on_progress=on_progress)
    assert run.predictions is not None
    write_predictions(folder / PREDICTIONS_FILE, run.predictions)
    return _evaluation(protocol, read_predictions(folder / PREDICTIONS_FILE), run)


def score_file(
    protocol: EvaluationProtocol,
    images: LabelledImages,
    path: str | Path,
    *,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score saved predictions; ``limit`` and ``on_progress`` as in :func:`evaluate`.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing or damaged, or belongs to other images or labels.
    """
    predictions = read_predictions(path)
    boxes: dict[str, Any] = {}
    if predictions.box_xyxy is not None:
        sizes = predictions.box_xyxy[:, 2:] - predictions.box_xyxy[:, :2]
        rows = np.flatnonzero(predictions.found & (sizes > 0).all(1))
        boxes = {predictions.names[row]: predictions.box_xyxy[row] for row in rows}
    run = run_on_dataset(images, boxes=boxes, limit=limit, on_progress=on_progress)
    return _evaluation(protocol, predictions, run)


def _evaluation(
    protocol: EvaluationProtocol, predictions: Predictions, run: DatasetRun
) -> Evaluation:
    scores = score(predictions, run.ground_truth)
    report = make_report(protocol, predictions.metadata, scores, run.unreadable)
    return Evaluation(report, predictions.in_order(run.ground_truth.names), run)
