"""The paper's Figures 3 and 4 on whatever data tables are made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.table import Table

from trg.geometry.projection import transform
from trglab.evaluation.evaluate import Evaluation
from trglab.evaluation.figures import poses_of
from trglab.evaluation.plots import (
    CameraMesh,
    FacePicture,
    Poses,
    plot_distributions,
    plot_faces,
    write_plot,
)
from trglab.evaluation.prediction import run_on_dataset
from trglab.paper.table_plans import FIGURE_4_LINES, Role
from trglab.paper.tables import EvaluationSet, TableRunner

FIGURE_3_PICTURES = 2000
"""Labels of at most so many pictures are shown of each data set, evenly spread."""

SHOWN_PERCENTILES = (25.0, 75.0)
"""Of the network's ADD: Fig. 4 shows a picture better and one worse than most of each test set."""


def make_figure_3(runner: TableRunner) -> tuple[Path, Table]:
    """Draw where heads are and what Eq. 2's correction is there, for training and test sets.

    Returns
    -------
    The picture's path, and a table of means and standard deviations.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    data = runner.data
    sets = [test for test in (data.training, *data.tests.values()) if test is not None]
    shown = {test.short: _poses(test, runner) for test in sets}
    path = runner.folder / "fig3.png"
    write_plot(path, plot_distributions(shown))
    return path, _spread_table(shown, data.title)


def make_figure_4(runner: TableRunner) -> Path:
    """Draw the network's faces and PnP's over pictures and in the camera's space.

    Grey is the truth, gold the network, cyan and pink the rivals.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    network, sha256, _ = runner.network("full")
    rows = []
    for role, test in runner.data.tests.items():
        found = {line.label: runner.measure(line, role, network, sha256) for line in FIGURE_4_LINES}
        rows += _face_rows(test, found, role)
    path = runner.folder / "fig4.png"
    write_plot(path, plot_faces(rows))
    return path


def _poses(test: EvaluationSet, runner: TableRunner) -> Poses:
    total = min(len(test.pictures.samples), runner.limit or FIGURE_3_PICTURES)
    on_progress = None
    if runner.on_scoring is not None:
        on_progress = runner.on_scoring(f"labels of {test.short}", total)
    poses = poses_of(run_on_dataset(test.pictures, limit=total, on_progress=on_progress).truth)
    if poses is None:
        raise ValueError(f"{test.short}: expected a data set with translations")
    return poses


def _spread_table(shown: Mapping[str, Poses], title: str) -> Table:
    table = Table(title=f"Fig. 3: translations and corrections ({title})")
    names = ("T_x m", "T_y m", "T_z m", "correction s", "correction τ_x", "correction τ_y")
    table.add_column("mean ± standard deviation")
    for name in names:
        table.add_column(name, justify="right")
    for short, poses in shown.items():
        numbers = np.concatenate([poses.translation_m, poses.correction], axis=1)
        means, spreads = numbers.mean(0), numbers.std(0)
        texts = (f"{mean:.3f} ± {std:.3f}" for mean, std in zip(means, spreads, strict=True))
        table.add_row(short, *texts)
    return table


def _face_rows(
    test: EvaluationSet, found: Mapping[str, Evaluation], role: Role
) -> list[FacePicture]:
    """Read some pictures of a test set again, with the true and all predicted faces.

    On the far set every face is the person's true one, so that poses alone differ, as in the
    paper's row for BIWI.
    """
    first = next(iter(found.values()))
    truth = first.gathered.truth
    errors = first.report.scores.plain["add_mm"]
    known = np.flatnonzero(np.isfinite(errors))
    order = known[np.argsort(errors[known], kind="stable")]
    places = np.percentile(np.arange(len(order)), SHOWN_PERCENTILES, method="nearest")
    assert truth.points_m is not None
    assert truth.rotation is not None
    assert truth.translation_m is not None
    assert test.pictures.triangles is not None
    rows = []
    for row in dict.fromkeys(order[places.astype(int)].tolist()):
        sample = test.pictures.samples[int(first.gathered.rows[row])]
        triangles = test.pictures.triangles(sample)
        points_m = np.float64(truth.points_m[row])
        true = transform(points_m, truth.rotation[row], truth.translation_m[row])
        meshes = {"ground truth": CameraMesh(true, triangles)}
        for label, evaluation in found.items():
            predicted = evaluation.predictions
            if not predicted.found[row] or predicted.translation_m is None:
                continue
            shape_m = points_m
            own = "landmarks_mm" in evaluation.report.scores.plain
            if role == "near" and own and predicted.vertices_m is not None:
                shape_m = np.float64(predicted.vertices_m[row])
            posed = transform(shape_m, predicted.rotation[row], predicted.translation_m[row])
            error = evaluation.report.scores.plain["add_mm"][row]
            meshes[f"{label}, ADD {error:.0f} mm"] = CameraMesh(posed, triangles)
        title = f"{test.short}, {truth.translation_m[row][2]:.2f} m"
        rows.append(FacePicture(title, sample.image, sample.camera, meshes))
    return rows
