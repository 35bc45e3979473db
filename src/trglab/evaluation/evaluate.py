"""Evaluate a method on a data set: predictions are saved first, then scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trglab.evaluation.prediction import DatasetRun, LabelledImages, Method, run_on_dataset
from trglab.evaluation.predictions import Predictions, read_predictions, write_predictions
from trglab.evaluation.protocols import EvaluationProtocol
from trglab.evaluation.reference_alignment import ReferenceFace, align_origins
from trglab.evaluation.report import Report, make_report, with_aligned_origins
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
    reference: ReferenceFace | None = None,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Predict, write ``predictions.npz`` into ``folder``, read it back and score it.

    Parameters
    ----------
    reference
        Align the head origins of the labels to this face's.
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
    predictions = read_predictions(folder / PREDICTIONS_FILE)
    return _evaluation(protocol, images, predictions, run, reference)


def score_file(
    protocol: EvaluationProtocol,
    images: LabelledImages,
    path: str | Path,
    *,
    reference: ReferenceFace | None = None,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score saved predictions; the other parameters are those of :func:`evaluate`.

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
    return _evaluation(protocol, images, predictions, run, reference)


def _evaluation(
    protocol: EvaluationProtocol,
    images: LabelledImages,
    predictions: Predictions,
    run: DatasetRun,
    reference: ReferenceFace | None,
) -> Evaluation:
    scores = score(predictions, run.ground_truth)
    report = make_report(protocol, predictions.metadata, scores, run.unreadable)
    if reference is not None:
        truth, alignment = align_origins(run.ground_truth, images, reference)
        of_any_labels = replace(
            predictions, metadata=replace(predictions.metadata, dataset_sha256="")
        )
        report = with_aligned_origins(report, score(of_any_labels, truth), alignment)
        run = run._replace(ground_truth=truth)
    return Evaluation(report, predictions.in_order(run.ground_truth.names), run)
