"""Which plots go with a report, and of which pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trg.geometry.projection import correction_from_translation, transform
from trglab.evaluation.evaluate import Evaluation
from trglab.evaluation.ground_truth import GroundTruth
from trglab.evaluation.plots import (
    CameraMesh,
    FacePicture,
    Poses,
    plot_distributions,
    plot_errors,
    plot_faces,
    write_plot,
)
from trglab.evaluation.prediction import LabelledImages

SHOWN_PERCENTILES = (10.0, 50.0, 90.0, 99.0)
"""Of ADD: a good, a middling, a bad and a very bad picture are drawn."""


def write_figures(
    folder: str | Path, evaluation: Evaluation, pictures: LabelledImages
) -> list[Path]:
    """Write ``errors.png`` and, for metric data sets, ``distributions.png`` and ``faces.png``.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    OSError
        The folder cannot be written.
    """
    folder = Path(folder)
    report, truth = evaluation.report, evaluation.gathered.truth
    figures = {"errors.png": plot_errors(report.scores, report.title)}
    poses = poses_of(truth)
    if poses is not None:
        figures["distributions.png"] = plot_distributions({report.protocol.title: poses})
    rows = face_pictures(evaluation, pictures)
    if rows:
        figures["faces.png"] = plot_faces(rows)
    for name, figure in figures.items():
        write_plot(folder / name, figure)
    return [folder / name for name in figures]


def poses_of(truth: GroundTruth) -> Poses | None:
    """Return a data set's translations and corrections, or None where it is not metric."""
    if truth.translation_m is None:
        return None
    correction = correction_from_translation(truth.translation_m, truth.bbox_info)
    return Poses(truth.translation_m, correction)


def face_pictures(evaluation: Evaluation, pictures: LabelledImages) -> list[FacePicture]:
    """Read pictures of several sizes of error again, with true and predicted faces.

    Where predicted vertices cannot be compared with the labels (another mesh, or none), the true
    mesh stands in the predicted pose, as in the paper's row for BIWI.
    """
    truth, predictions = evaluation.gathered.truth, evaluation.predictions
    points, true_rotation, true_m = truth.points_m, truth.rotation, truth.translation_m
    if pictures.triangles is None or points is None or true_rotation is None or true_m is None:
        return []
    rotation, translation_m = predictions.rotation, predictions.translation_m
    if translation_m is None:
        return []
    scores = evaluation.report.scores
    shape_is_ours = "landmarks_mm" in scores.plain and predictions.vertices_m is not None
    rows = []
    for row in _rows_by_error(scores.plain["add_mm"]):
        sample = pictures.samples[int(evaluation.gathered.rows[row])]
        triangles = pictures.triangles(sample)
        shape_m: NDArray[np.floating] = points[row]
        if shape_is_ours and predictions.vertices_m is not None:
            shape_m = predictions.vertices_m[row]
        true = transform(np.float64(points[row]), true_rotation[row], true_m[row])
        predicted = transform(np.float64(shape_m), rotation[row], translation_m[row])
        error = scores.plain["add_mm"][row]
        rows.append(
            FacePicture(
                f"{truth.names[row]}, ADD {error:.1f} mm",
                sample.image,
                sample.camera,
                {
                    "ground truth": CameraMesh(true, triangles),
                    predictions.facts.method or "predicted": CameraMesh(predicted, triangles),
                },
            )
        )
    return rows


def _rows_by_error(errors: NDArray[np.float64]) -> list[int]:
    """Return the rows whose errors lie at the percentiles, each once."""
    known = np.flatnonzero(np.isfinite(errors))
    if not len(known):
        return []
    order = known[np.argsort(errors[known], kind="stable")]
    places = np.rint(np.array(SHOWN_PERCENTILES) / 100.0 * (len(order) - 1)).astype(np.int64)
    return [int(order[place]) for place in dict.fromkeys(places.tolist())]
