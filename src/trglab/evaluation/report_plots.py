"""The plots of a report: errors, distributions of poses, and faces of typical and large error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trg.geometry.projection import correction_from_translation, transform
from trglab.evaluation.evaluate import Evaluation
from trglab.evaluation.ground_truth import GroundTruth
from trglab.evaluation.plots import (
    FacePlotRow,
    PoseDistribution,
    PosedMesh,
    plot_distributions,
    plot_errors,
    plot_faces,
    write_plot,
)
from trglab.evaluation.prediction import LabelledImages

SHOWN_PERCENTILES = (10.0, 50.0, 90.0, 99.0)
"""Of ADD, for the images in ``faces.png``"""


def write_report_plots(
    folder: str | Path, evaluation: Evaluation, images: LabelledImages
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
    report, truth = evaluation.report, evaluation.run.ground_truth
    figures = {"errors.png": plot_errors(report.scores, report.title)}
    poses = pose_distribution(truth)
    if poses is not None:
        figures["distributions.png"] = plot_distributions({report.protocol.title: poses})
    if images.triangles is not None and evaluation.predictions.translation_m is not None:
        rows = [
            face_plot_row(images, row, {report.metadata.method or "predicted": evaluation})
            for row in rows_at_percentiles(evaluation, SHOWN_PERCENTILES)
        ]
        if rows:
            figures["faces.png"] = plot_faces(rows)
    for name, figure in figures.items():
        write_plot(folder / name, figure)
    return [folder / name for name in figures]


def pose_distribution(truth: GroundTruth) -> PoseDistribution | None:
    """Return a data set's translations and corrections (Eq. 2); None without translations."""
    if truth.translation_m is None:
        return None
    correction = correction_from_translation(truth.translation_m, truth.bbox_info)
    return PoseDistribution(truth.translation_m, correction)


def rows_at_percentiles(evaluation: Evaluation, percentiles: Sequence[float]) -> list[int]:
    """Return the rows whose ADD lies at the percentiles, each once; none without ADD."""
    errors = evaluation.report.scores.errors.get("add_mm")
    if errors is None:
        return []
    known = np.flatnonzero(np.isfinite(errors))
    if not len(known):
        return []
    order = known[np.argsort(errors[known], kind="stable")]
    ranks = np.rint(np.array(percentiles) / 100.0 * (len(order) - 1)).astype(np.int64)
    return [int(order[rank]) for rank in dict.fromkeys(ranks.tolist())]


def face_plot_row(
    images: LabelledImages,
    row: int,
    evaluations: Mapping[str, Evaluation],
    *,
    predicted_shapes: bool = True,
) -> FacePlotRow:
    """Read an image again and pose its true face and the faces predicted by several methods.

    Parameters
    ----------
    row
        Of the evaluations, which must be of the same images.
    evaluations
        By the method's name.
    predicted_shapes
        Draw predicted vertices where they can be compared with the labels. Where they cannot, and
        without this option, the true mesh is drawn in the predicted pose, as in the paper's row for
        BIWI.
    """
    run = next(iter(evaluations.values())).run
    truth, sample = run.ground_truth, images.samples[int(run.indices[row])]
    assert images.triangles is not None
    assert truth.points_m is not None
    assert truth.rotation is not None
    assert truth.translation_m is not None
    triangles, points_m = images.triangles(sample), np.float64(truth.points_m[row])
    true = transform(points_m, truth.rotation[row], truth.translation_m[row])
    meshes = {"ground truth": PosedMesh(true, triangles)}
    for method, evaluation in evaluations.items():
        predictions, errors = evaluation.predictions, evaluation.report.scores.errors
        if not predictions.found[row] or predictions.translation_m is None:
            continue
        shape_m = points_m
        if predicted_shapes and "landmarks_mm" in errors and predictions.vertices_m is not None:
            shape_m = np.float64(predictions.vertices_m[row])
        posed = transform(shape_m, predictions.rotation[row], predictions.translation_m[row])
        meshes[f"{method}, ADD {errors['add_mm'][row]:.1f} mm"] = PosedMesh(posed, triangles)
    title = f"{truth.names[row]}, {truth.translation_m[row][2]:.2f} m"
    return FacePlotRow(title, sample.image, sample.camera, meshes)
