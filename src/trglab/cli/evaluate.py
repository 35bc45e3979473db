"""The verb that measures networks and other people's predictions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter
from rich.console import Console

from trg.app.cli.shared import NotNegative, Positive, messages

if TYPE_CHECKING:
    from trg.inference.runtime import PoseNetwork
    from trglab.evaluation.evaluate import Evaluation
    from trglab.evaluation.prediction import LabelledImages, Method
    from trglab.evaluation.protocols import EvaluationProtocol

PIPED_WIDTH = 180
"""Columns of a table that no terminal shows; rich would take 80."""

Name = Literal["arkitface", "biwi", "aflw2000", "300wlp", "synthetic", "stills"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class MeasurementOptions:
    """What is measured, and how.

    Parameters
    ----------
    bundle
        The weight bundle to measure; by default the one that ships with this package.
    predictions
        Score this file of predictions instead (docs/evaluation.md has the format).
    boxes
        Where face boxes come from: the data set's ``truth``, a ``detector``, or ``landmarks``
        predicted inside the detection. By default what the data set's protocol says.
    view
        How the network sees a face: a ``crop`` of the image, as in the paper, or a perspective crop
        from a ``virtual`` camera, as in `trg predict`.
    flip_tta
        Flip test-time augmentation, as `trg predict --flip-tta` does.
    limit
        Only so many pictures, evenly spread.
    """

    bundle: Path | None = None
    predictions: Path | None = None
    boxes: Literal["truth", "detector", "landmarks"] | None = None
    view: Literal["crop", "virtual"] = "crop"
    flip_tta: bool = False
    limit: Positive | None = None

    def bundle_path(self) -> Path:
        """Return where the bundle lies."""
        from trg.inference.bundle import bundled

        return bundled() if self.bundle is None else self.bundle

    def network(self) -> PoseNetwork:
        """Load the bundle and return what is asked for poses."""
        from trg.inference.flip import FlipTTANetwork
        from trg.inference.runtime import PoseRuntime

        runtime = PoseRuntime(self.bundle_path())
        return FlipTTANetwork(runtime) if self.flip_tta else runtime


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class HoldoutOptions:
    """Which synthetic hold-out.

    Parameters
    ----------
    far
        ``synthetic``: the hold-out at 2 to 3 m, beyond all training distances.
    pack
        ``synthetic``: a folder of rendered views of the hold-out.
    count
        ``synthetic`` without a pack: how many pictures to render.
    workers
        Processes that render.
    """

    far: bool = False
    pack: Path | None = None
    count: Positive = 4000
    workers: NotNegative = 0


def evaluate(
    name: Name,
    path: Path | None = None,
    /,
    *,
    measured: MeasurementOptions = MeasurementOptions(),
    holdout: HoldoutOptions = HoldoutOptions(),
    out: Path | None = None,
    plots: bool = True,
) -> None:
    """Measure a network on a data set, and print the paper's rows beside it.

    Parameters
    ----------
    name
        The data set. ``synthetic`` is this package's fixed hold-out; ``stills`` is a folder of
        photographs with 68 points each.
    path
        Its folder. ``synthetic`` needs none: it renders, or reads ``--pack``.
    out
        Folder for predictions, report and plots; by default ``out/eval-NAME``.
    plots
        Draw plots; they need the extra ``plots``.
    """
    from trglab.evaluation.report import as_table, write_report

    if measured.bundle is not None and measured.predictions is not None:
        raise ValueError("expected --bundle or --predictions, got both")
    if measured.flip_tta and measured.predictions is not None:
        raise ValueError("expected no --flip-tta beside --predictions: no network runs")
    if name == "stills":
        _stills(path, measured.network())
        return
    folder = out if out is not None else Path("out") / f"eval-{name}"
    with _pictures(name, path, holdout, measured) as (protocol, pictures):
        evaluation = _evaluation(protocol, pictures, measured, folder)
        report = evaluation.report
        written = write_report(folder, report)
        if plots:
            written += _plots(folder, evaluation, pictures)
    results = Console()
    if not results.is_terminal:
        results.width = PIPED_WIDTH
    results.print(as_table(report))
    messages.print(f"{folder}: {', '.join(each.name for each in written)}")


def _stills(folder: Path | None, network: PoseNetwork) -> None:
    """Print how well a network's landmarks sit on photographs, in given boxes and in found ones."""
    from rich.table import Table

    from trg.estimator import HeadPoseEstimator
    from trglab.evaluation.stills import Stills, predictors

    if folder is None:
        raise ValueError("stills: expected the folder with the pictures and landmarks68.npz")
    stills = Stills(folder, network.crop_size)
    table = Table(title=f"{len(stills)} photographs: {network.card.name}")
    for heading in ("landmarks", "NME-11 median %", "mean %", "over 10 %", "NME-68 median %"):
        table.add_column(heading, justify="right" if "%" in heading else "left")
    results = {label: stills.measure(predict) for label, predict in predictors(network).items()}
    results["with our detector"] = stills.measure_estimator(HeadPoseEstimator(network))
    for label, result in results.items():
        figures = result.figures()
        names = ("nme11_median", "nme11_mean", "nme11_over_10_percent", "nme68_median")
        table.add_row(label, *(f"{100.0 * figures[each]:.2f}" for each in names))
    Console().print(table)


@contextmanager
def _pictures(
    name: str, path: Path | None, holdout: HoldoutOptions, measured: MeasurementOptions
) -> Iterator[tuple[EvaluationProtocol, LabelledImages]]:
    """Open a data set, or render one."""
    from trglab.evaluation.protocols import (
        open_data_set,
        open_pack,
        synthetic_pictures,
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
    from trglab.synth.holdout import holdout_options, holdout_window
    from trglab.synth.parallel import FaceSequence

    crop_size = read_bundle(measured.bundle_path()).card.crop_size
    options = holdout_options(holdout_window(crop_size), far=holdout.far)
    with FaceSequence(holdout.count, options, holdout.workers) as faces:
        rules = synthetic_protocol(far=holdout.far)
        yield rules, synthetic_pictures(faces, faces.faces.topology)


def _evaluation(
    protocol: EvaluationProtocol,
    pictures: LabelledImages,
    measured: MeasurementOptions,
    folder: Path,
) -> Evaluation:
    from rich.progress import Progress

    from trglab.evaluation.evaluate import evaluate as evaluate_method
    from trglab.evaluation.evaluate import score_file

    limit, count = measured.limit, len(pictures.samples)
    total = count if limit is None else min(limit, count)
    with Progress(console=messages) as bar:
        task = bar.add_task(protocol.title, total=total)

        def on_progress(done: int) -> None:
            bar.update(task, completed=done)

        if measured.predictions is not None:
            return score_file(
                protocol, pictures, measured.predictions, limit=limit, on_progress=on_progress
            )
        method = _method(protocol, measured)
        return evaluate_method(
            protocol, pictures, method, folder, limit=limit, on_progress=on_progress
        )


def _plots(folder: Path, evaluation: Evaluation, pictures: LabelledImages) -> list[Path]:
    """Draw plots where matplotlib is installed, and say so where it is not."""
    from trglab.evaluation.figures import write_figures

    try:
        return write_figures(folder, evaluation, pictures)
    except ImportError as error:
        messages.print(f"no plots: {error}", markup=False)
        return []


def _method(protocol: EvaluationProtocol, measured: MeasurementOptions) -> Method:
    from trglab.datasets.files import file_sha256
    from trglab.evaluation.prediction import BundleMethod

    boxes = measured.boxes or protocol.boxes
    detector = None
    if boxes != "truth":
        from trg.inference.detector import FaceDetector

        detector = FaceDetector()
    return BundleMethod(
        measured.network(),
        boxes,
        detector,
        shift_boxes=protocol.shift_boxes,
        view=measured.view,
        bundle_sha256=file_sha256(measured.bundle_path()),
    )
