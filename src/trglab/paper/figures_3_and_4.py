"""The paper's Figures 3 and 4 on the data of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from trg.inference.bundle import bundled
from trg.inference.runtime import PoseRuntime
from trglab.datasets.sample import Sample
from trglab.evaluation.plots import PoseDistribution, plot_distributions, plot_faces, write_plot
from trglab.evaluation.prediction import run_on_dataset
from trglab.evaluation.protocols import method_with_boxes
from trglab.evaluation.report_plots import face_plot_row, pose_distribution, rows_at_percentiles
from trglab.evaluation.table import TableRow, TextTable
from trglab.paper.table_data import EvaluationSet
from trglab.paper.table_runner import TableRunner
from trglab.paper.tables_1_to_4 import FIGURE_4_ROWS

FIGURE_3_IMAGES = 2000
"""Labels of at most this many images of each data set, evenly spread"""

FIGURE_4_PERCENTILES = (25.0, 75.0)
"""Of the full network's ADD, for the two images of each test set"""


def make_figure_3(runner: TableRunner) -> tuple[Path, TextTable]:
    """Plot translations and corrections (Eq. 2) of the training and the test sets.

    Returns
    -------
    The path of ``fig3.png`` and a table of means and standard deviations.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    data = runner.data
    sets = [each for each in (data.training, *data.tests.values()) if each is not None]
    distributions = {each.short_name: _distribution(each, runner) for each in sets}
    path = runner.folder / "fig3.png"
    write_plot(path, plot_distributions(distributions))
    boxes = {each.short_name: each.protocol.describe_boxes(each.boxes) for each in sets}
    return path, _statistics_table(distributions, boxes, data.title)


def make_figure_4(runner: TableRunner) -> Path:
    """Draw the ground truth, TRG's faces and PnP's on images and in the camera frame.

    On the far test set all methods show the person's true shape, so that only poses differ, as in
    the paper's row for BIWI.

    Returns
    -------
    The path of ``fig4.png``.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    trained = runner.network("full")
    plot_rows = []
    for role, test in runner.data.tests.items():
        evaluations = {row.label: runner.measure(row, role, trained) for row in FIGURE_4_ROWS}
        full = evaluations[FIGURE_4_ROWS[0].label]
        plot_rows += [
            face_plot_row(test.images, row, evaluations, predicted_shapes=role == "near")
            for row in rows_at_percentiles(full, FIGURE_4_PERCENTILES)
        ]
    path = runner.folder / "fig4.png"
    write_plot(path, plot_faces(plot_rows))
    return path


def _distribution(test: EvaluationSet, runner: TableRunner) -> PoseDistribution:
    total = min(len(test.images.samples), runner.limit or FIGURE_3_IMAGES)
    on_progress = None
    if runner.on_scoring is not None:
        on_progress = runner.on_scoring(f"labels of {test.short_name}", total)
    images = test.images._replace(samples=_BoxedSamples(test))
    run = run_on_dataset(images, limit=total, on_progress=on_progress)
    distribution = pose_distribution(run.ground_truth)
    if distribution is None:
        raise ValueError(f"{test.short_name}: expected a data set with translations")
    return distribution


class _BoxedSamples:
    """The samples of a test set with its face boxes, on which corrections depend.

    Images in which the detector finds no face are refused, as if they could not be read.
    """

    def __init__(self, test: EvaluationSet) -> None:
        self._samples = test.images.samples
        network = PoseRuntime(bundled())  # predicts landmarks where boxes depend on them
        self._method = method_with_boxes(test.protocol, network, test.boxes)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self._samples[index]
        (box_xyxy,) = self._method.face_boxes([sample])
        if box_xyxy is None:
            raise ValueError(f"{sample.name}: no face found")
        return replace(sample, box_xyxy=box_xyxy)


def _statistics_table(
    distributions: Mapping[str, PoseDistribution], boxes: Mapping[str, str], title: str
) -> TextTable:
    headings = ("T_x m", "T_y m", "T_z m", "correction s", "correction τ_x", "correction τ_y")
    rows = []
    for short_name, poses in distributions.items():
        values = np.concatenate([poses.translation_m, poses.correction], axis=1)
        statistics = zip(values.mean(0), values.std(0), strict=True)
        rows.append(TableRow(short_name, [f"{mean:.3f} ± {sd:.3f}" for mean, sd in statistics]))
    described = " ".join(f"Boxes of {name}: {text}." for name, text in boxes.items())
    caption = f"Mean ± standard deviation. {described}"
    return TextTable(headings, rows, f"Fig. 3: translations and corrections ({title})", caption)
