"""The verb ``eval``: measure a network, or score predictions of any method."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from trg.app.cli.shared import messages
from trglab.cli.evaluate_options import (
    DatasetName,
    HoldoutOptions,
    MeasurementOptions,
    refuse_contradictions,
    refuse_unused,
)

if TYPE_CHECKING:
    from trg.inference.runtime import PoseNetwork
    from trglab.evaluation.evaluate import Evaluation
    from trglab.evaluation.prediction import LabelledImages, Method
    from trglab.evaluation.protocols import EvaluationProtocol
    from trglab.paper.peer_comparison import TimedMethod
    from trglab.paper.peers import PeerMethod

PIPED_WIDTH = 180
"""Width of tables that do not go to a terminal, for which rich would use 80"""


def evaluate(
    name: DatasetName,
    path: Path | None = None,
    /,
    *,
    options: MeasurementOptions = MeasurementOptions(),
    holdout: HoldoutOptions = HoldoutOptions(),
    out: Path | None = None,
    plots: bool = True,
) -> None:
    """Measure a network on a data set and print the paper's rows beside it.

    Parameters
    ----------
    name
        The data set. ``synthetic`` is this package's fixed hold-out; ``stills`` is a folder of
        photographs with 68 points each; ``blendshapes`` compares the expression coefficients of
        the rendered hold-out with the truth; ``clips`` is a folder of rendered clips
        (``trg synth --layout clips``).
    path
        Its folder. ``synthetic`` renders its images, or reads ``--pack``.
    out
        Folder for predictions, report and plots; by default ``out/eval-NAME``, and
        ``out/eval-NAME-FILE`` of ``--bundle`` or ``--predictions`` FILE, so that no method's
        report replaces that of another.
    plots
        Draw plots; they need the extra ``plots``.
    """
    from trglab.evaluation.groups import group_names
    from trglab.evaluation.report import coverage_table, report_table, write_report
    from trglab.paper.peer_comparison import TimedMethod, cost_text, with_row_of

    refuse_contradictions(options)
    refuse_unused(name, path, options, holdout, out)
    groups = group_names(options.by)
    if name == "stills":
        _stills(path, options)
        return
    if name == "clips":
        _clips(path, options.network())
        return
    folder = out if out is not None else _default_folder(name, options)
    if name == "blendshapes":
        _blendshapes(path, holdout, options, folder)
        return
    results = Console()
    if not results.is_terminal:
        results.width = PIPED_WIDTH
    with _open_images(name, path, holdout, options) as (protocol, images):
        method: TimedMethod | None = None
        if options.predictions is None:
            method = TimedMethod(_method(protocol, options))
        if options.method is not None:
            with _peer(options) as peer:
                theirs = _evaluation(protocol, images, options, folder / options.method, peer)
            write_report(folder / options.method, theirs.report)
            results.print(report_table(theirs.report).to_rich())
            protocol = with_row_of(protocol, theirs.report)
        evaluation = _evaluation(protocol, images, options, folder, method)
        report = evaluation.report
        written = write_report(folder, report)
        if plots:
            written += _plots(folder, evaluation, images)
    results.print(report_table(report).to_rich())
    if report.scores.coverage:
        results.print(coverage_table(report).to_rich())
    if name == "ddpose":
        written += _ddpose(folder, evaluation, images, results)
    written += _groups(folder, evaluation, groups, results)
    if options.method is not None and method is not None:
        results.print(cost_text([peer, method]))
    messages.print(f"{folder}: {', '.join(each.name for each in written)}")


def _default_folder(name: str, options: MeasurementOptions) -> Path:
    measured = options.predictions or options.bundle
    return Path("out") / (f"eval-{name}" if measured is None else f"eval-{name}-{measured.stem}")


def _stills(folder: Path | None, options: MeasurementOptions) -> None:
    """Print landmark errors on photographs, in labelled boxes and with the detector."""
    from trg.estimator import HeadPoseEstimator
    from trglab.evaluation.stills import Stills, landmark_predictors
    from trglab.evaluation.table import TableRow, TextTable

    if folder is None:
        raise ValueError("stills: expected the folder with the images and landmarks68.npz")
    network = options.network()
    if options.method is not None:
        _stills_beside_peer(folder, network, options)
        return
    stills = Stills(folder, network.crop_size)
    results = {
        label: stills.measure(predict) for label, predict in landmark_predictors(network).items()
    }
    results["with our detector"] = stills.measure_estimator(HeadPoseEstimator(network))
    columns = {
        "nme11_median": "NME-11 median %",
        "nme11_mean": "mean %",
        "nme11_over_10_percent": "over 10 %",
        "nme68_median": "NME-68 median %",
    }
    rows = []
    for label, result in results.items():
        statistics = result.statistics()
        rows.append(TableRow(label, [f"{100.0 * statistics[name]:.2f}" for name in columns]))
    title = f"{len(stills)} photographs: {network.card.name}"
    Console().print(TextTable(list(columns.values()), rows, title).to_rich())


def _stills_beside_peer(folder: Path, network: PoseNetwork, options: MeasurementOptions) -> None:
    """Print errors of the estimator and of another method, and the differences between them."""
    from rich.progress import Progress

    from trglab.paper.peer_comparison import EstimatorMethod, TimedMethod, compare_on_stills

    results = Console()
    if not results.is_terminal:
        results.width = PIPED_WIDTH
    with _peer(options) as peer, Progress(console=messages) as bar:
        task = bar.add_task("stills", total=options.limit)
        comparison = compare_on_stills(
            folder,
            [TimedMethod(EstimatorMethod(network)), peer],
            limit=options.limit,
            on_progress=lambda done: bar.update(task, completed=done),
        )
    for table in comparison.tables():
        results.print(table.to_rich())


def _peer(options: MeasurementOptions) -> AbstractContextManager[PeerMethod]:
    """Start the method of ``--method``; landmarks are fitted by the mean face of the bundle."""
    from trg.inference.bundle import read_bundle
    from trglab.paper.peers import peer_method

    assert options.method is not None
    topology = read_bundle(options.bundle_path()).topology
    return peer_method(options.method, str(options.python or sys.executable), topology)


def _blendshapes(
    path: Path | None, holdout: HoldoutOptions, options: MeasurementOptions, folder: Path
) -> None:
    """Print and write the correlation of each expression coefficient with the truth."""
    from rich.progress import Progress

    from trglab.evaluation.expressions import measure_expressions
    from trglab.evaluation.table import write_texts

    with _open_images("synthetic", path, holdout, options) as (protocol, images):
        method = _method(protocol, options)
        count = len(images.samples)
        with Progress(console=messages) as bar:
            task = bar.add_task(protocol.title, total=min(options.limit or count, count))
            scores = measure_expressions(
                images.samples,
                method,
                options.limit,
                lambda done: bar.update(task, completed=done),
            )
    table = scores.table(f"{protocol.title}: {method.metadata.method}")
    written = write_texts(folder, {"blendshapes.csv": table.to_csv()})
    Console().print(table.to_rich())
    messages.print(f"{folder}: {', '.join(each.name for each in written)}")


def _clips(folder: Path | None, network: PoseNetwork) -> None:
    """Print what size memory and smoothing do on rendered clips."""
    from rich.progress import Progress

    from trg.estimator import HeadPoseEstimator
    from trglab.datasets.sample_store import SampleStore
    from trglab.evaluation.clips import MEASURES, measure_clips
    from trglab.evaluation.table import TableRow, TextTable

    if folder is None:
        raise ValueError("clips: expected the folder that `trg synth --layout clips` wrote")
    samples = SampleStore(folder)
    origin = str(samples.manifest["provenance"].get("dataset", ""))
    if origin.endswith(":SyntheticFaces"):
        raise ValueError(
            f"{folder}: expected clips, got single images; measure them with: "
            f"trg eval synthetic {folder}"
        )
    with Progress(console=messages) as bar:
        task = bar.add_task("clips", total=len(samples))
        report = measure_clips(
            HeadPoseEstimator(network), samples, lambda done: bar.update(task, completed=done)
        )
    rows = [
        TableRow(treatment.label, [f"{numbers[name]:.2f}" for name in MEASURES])
        for treatment, numbers in report.rows.items()
    ]
    title = (
        f"{report.clips} clips: {network.card.name}; {report.missed} of {report.frames} frames "
        f"without a face, {report.identities} identities"
    )
    results = Console()
    if not results.is_terminal:
        results.width = PIPED_WIDTH
    results.print(TextTable(list(MEASURES.values()), rows, title).to_rich())


@contextmanager
def _open_images(
    name: str, path: Path | None, holdout: HoldoutOptions, options: MeasurementOptions
) -> Iterator[tuple[EvaluationProtocol, LabelledImages]]:
    """Open a data set, or render the synthetic one."""
    from trglab.evaluation.protocols import (
        open_data_set,
        open_pack,
        synthetic_images,
        synthetic_protocol,
    )

    if name != "synthetic":
        if path is None:
            raise ValueError(f"{name}: expected the data set's folder")
        yield open_data_set(name, path)
        return
    folder = holdout.pack if holdout.pack is not None else path
    if folder is not None:
        yield open_pack(folder, far=holdout.far)
        return

    from trg.inference.bundle import read_bundle
    from trglab.synth.holdout import holdout_options, holdout_window, ingredient_names
    from trglab.synth.parallel import FaceSequence

    crop_size = read_bundle(options.bundle_path()).card.crop_size
    without = ingredient_names(holdout.without)
    version = holdout.holdout_version
    render_options = holdout_options(
        holdout_window(crop_size), far=holdout.far, without=without, version=version
    )
    with FaceSequence(holdout.count, render_options, holdout.workers) as faces:
        face_model = faces.faces.provenance["face_model"]
        protocol = synthetic_protocol(
            far=holdout.far, without=without, face_model=face_model, version=version
        )
        yield protocol, synthetic_images(faces, faces.faces.topology)


def _evaluation(
    protocol: EvaluationProtocol,
    images: LabelledImages,
    options: MeasurementOptions,
    folder: Path,
    method: Method | None,
) -> Evaluation:
    """Measure a method, or without one score the file of predictions."""
    from rich.progress import Progress

    from trglab.evaluation.evaluate import evaluate as evaluate_method
    from trglab.evaluation.evaluate import score_file

    reference = options.reference_face()
    limit, count = options.limit, len(images.samples)
    total = count if limit is None else min(limit, count)
    with Progress(console=messages) as bar:
        task = bar.add_task(protocol.title, total=total)

        def on_progress(done: int) -> None:
            bar.update(task, completed=done)

        common: dict[str, Any] = {
            "reference": reference,
            "limit": limit,
            "on_progress": on_progress,
        }
        if method is None:
            assert options.predictions is not None
            return score_file(protocol, images, options.predictions, **common)
        return evaluate_method(protocol, images, method, folder, **common)


def _ddpose(
    folder: Path, evaluation: Evaluation, images: LabelledImages, results: Console
) -> list[Path]:
    """Print and write DD-Pose's own scores."""
    from trglab.datasets.ddpose import DDPose
    from trglab.evaluation.ddpose_scores import ddpose_table
    from trglab.evaluation.table import write_texts

    frames, rotation = images.samples, evaluation.run.ground_truth.rotation
    assert isinstance(frames, DDPose)
    assert rotation is not None
    occlusion = [frames.occlusion(index) for index in evaluation.run.indices.tolist()]
    table = ddpose_table(evaluation.report.scores, rotation, occlusion)
    results.print(table.to_rich())
    return write_texts(folder, {"ddpose.csv": table.to_csv()})


def _groups(
    folder: Path, evaluation: Evaluation, names: Sequence[str], results: Console
) -> list[Path]:
    """Print and write the medians of groups of images."""
    from trglab.evaluation.groups import group_tables
    from trglab.evaluation.table import write_texts

    tables = group_tables(evaluation.report.scores, evaluation.run.ground_truth, names)
    texts = {}
    for name, table in zip(names, tables, strict=True):
        results.print(table.to_rich())
        texts[f"by-{name}.csv"] = table.to_csv()
        texts[f"by-{name}.md"] = "\n".join([f"## {table.title}", "", *table.to_markdown()]) + "\n"
    return write_texts(folder, texts)


def _plots(folder: Path, evaluation: Evaluation, images: LabelledImages) -> list[Path]:
    """Write plots; without matplotlib print a message instead."""
    from trglab.evaluation.report_plots import write_report_plots

    try:
        return write_report_plots(folder, evaluation, images)
    except ImportError as error:
        messages.print(f"no plots: {error}", markup=False)
        return []


def _method(protocol: EvaluationProtocol, options: MeasurementOptions) -> Method:
    from trglab.datasets.files import file_sha256
    from trglab.evaluation.protocols import method_with_boxes

    return method_with_boxes(
        protocol,
        options.network(),
        options.boxes,
        view=options.view,
        bundle_sha256=file_sha256(options.bundle_path()),
    )
