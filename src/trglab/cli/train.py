"""The verbs ``trg train``, ``export``, ``calibrate`` and ``bench``: making a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators
from rich.console import Console
from rich.markup import escape

from trg.app.cli.console import counted
from trg.app.cli.shared import NotNegative, Positive, key_values, messages, refuse_existing

if TYPE_CHECKING:
    from trg.inference.bundle import WeightBundle
    from trglab.training.loop import TrainingResult


def train(
    recipe: str,
    folder: Path,
    /,
    *overrides: str,
    option: dict[str, str] | None = None,
    resume: bool = False,
    device: str | None = None,
    workers: NotNegative = 0,
    max_minutes: float | None = None,
    stills: Path | None = None,
) -> None:
    """Train a network with a named recipe.

    Parameters
    ----------
    recipe
        ``small``, ``fast``, ``synthetic_r18``, ``paper``, ``paper_single``,
        ``paper_v2`` or ``tiny``;
        ``NAME/ROW`` selects the network of a row of the paper's Table 1, for example
        ``small/landmark-free``.
    folder
        Output folder for checkpoints, the log and drawn predictions.
    overrides
        Fields of the recipe, as ``optim.learning_rate=3e-4``, ``holdout=null`` or
        ``datasets.1.target=my_faces:MyFaces``, which adds a dataset (docs/extending.md).
    option
        Arguments of the recipe. ``paper``: ``--option.arkitface FOLDER --option.w300lp FOLDER``,
        data sets or their packed stores. ``paper_single``: ``--option.arkitface FOLDER``;
        ``paper_v2``: either.
        ``small``, ``fast`` and ``synthetic_r18``: ``--option.pack STORE`` and
        ``--option.holdout_pack STORE`` read rendered faces; ``--option.without
        hair_meshes,photo_skin`` and ``--option.holdout_without`` leave ingredients out;
        ``--option.people SEED`` renders other people. ``tiny``: ``--option.dataset
        MODULE:CALLABLE``, called with a seed.
    resume
        Continue from the checkpoint in the folder. ``steps`` and the intervals may change.
    device
        ``cpu`` or ``cuda``; by default ``cuda`` if available.
    workers
        Processes that render; 0: this one.
    max_minutes
        Save a checkpoint and stop after this time.
    stills
        Folder of photos with 68 landmarks for validation; they are never trained on.
    """
    from trglab.training.api import configured_recipe
    from trglab.training.api import train as run
    from trglab.training.progress import training_bar

    chosen = configured_recipe(recipe, option, key_values(overrides))
    if lacking := chosen.holdout_without:
        messages.print(f"hold-out without {', '.join(lacking)}: not comparable with others")
    with training_bar(chosen.steps, chosen.batch_size, messages) as on_step:
        result = run(
            chosen,
            folder,
            resume=resume,
            device=device,
            workers=workers,
            max_minutes=max_minutes,
            stills=stills,
            on_step=on_step,
        )
    messages.print(escape(_training_summary(result, chosen.steps)), highlight=False)


def _training_summary(result: TrainingResult, steps: int) -> str:
    """Return what a training reached, and the command that goes on from there."""
    if not result.finished:
        state = f"{result.step} of {steps} steps; the same command with --resume continues"
    else:
        state = counted(result.step, "step")
    lines = [f"{result.folder}: {state}"]
    medians = [
        f"{name} {value:.3g}"
        for name, value in result.figures.items()
        if name.endswith("_median") and not name.startswith("hidden_")
    ]
    if medians:
        lines.append(f"validation: {', '.join(medians)}; all figures are in log.jsonl")
    weights = [name for name in ("best.pt", "last.pt") if (result.folder / name).exists()]
    if weights:
        lines.append(
            f"weights: {', '.join(weights)}; a bundle for trg predict and trg eval: trg export "
            f"{result.folder / weights[0]} NAME.trg --name NAME --licence LICENCE"
        )
    return "\n".join(lines)


def export(
    source: str,
    target: Path,
    /,
    *,
    to: Literal["bundle", "web"] = "bundle",
    name: str | None = None,
    licence: str | None = None,
    attribution: tuple[str, ...] = (),
    storage: Literal["float32", "float16", "int8"] | None = None,
    overwrite: bool = False,
) -> None:
    """Export a checkpoint as a weight bundle, or a bundle for web pages.

    Parameters
    ----------
    source
        ``best.pt`` of a training run, or ``last.pt`` for its averaged weights. With ``--to web``
        the name of a bundled model, or a bundle.
    target
        Output file, ``NAME.trg``; with ``--to web`` a folder.
    to
        ``bundle``: a single file that runs without torch. ``web``: the pose network and the face
        detector for onnxruntime-web (docs/web.md); this needs no extra.
    name
        Name on the bundle's card; required for a bundle.
    licence
        Licence of the weights, for the bundle's card; required for a bundle.
    attribution
        Sources of the training data, with the credits that their licences require, for the card.
    storage
        Data type of the bundle's stored weights, float16 unless given; computation is always in
        float32.
    overwrite
        Replace files of the same names.
    """
    if to == "web":
        if name or licence or attribution or storage:
            raise ValueError(
                "export --to web: takes a bundle, which has its card and storage; expected none of "
                "--name, --licence, --attribution and --storage"
            )
        _export_to_web(source, target, overwrite)
        return
    if name is None or licence is None:
        raise ValueError("export: a bundle needs a card; give --name and --licence")
    refuse_existing([target], overwrite=overwrite)
    from trglab.training.api import export as run

    made = run(
        Path(source),
        target,
        name=name,
        licence=licence,
        attribution=attribution,
        storage=storage or "float16",
    )
    messages.print(
        f"{target}: {target.stat().st_size / 1e6:.1f} MB; largest differences from {source}:"
    )
    for output, difference in made.card.parity.items():
        messages.print(f"  {output}: {difference:.1g}")


def _export_to_web(model: str, folder: Path, overwrite: bool) -> None:
    from trg.app.web_models import web_models, write_web_models

    files = web_models(model)
    refuse_existing((folder / name for name in files), overwrite=overwrite)
    paths = write_web_models(files, folder)
    total = sum(path.stat().st_size for path in paths)
    names = ", ".join(path.name for path in paths)
    messages.print(f"{folder}: {names}, {total / 1e6:.1f} MB")


def calibrate(
    bundle: Path,
    /,
    *,
    images: Positive = 1000,
    seed: NotNegative = 0,
    views: tuple[Path, ...] = (),
    faces: Positive = 16_000,
) -> None:
    """Calibrate the confidence of a weight bundle on synthetic faces, and fit error bars to it.

    Parameters
    ----------
    bundle
        The bundle; the file is replaced by one with the new calibration.
    images
        Number of images with a face, and of images without; 1000 take some minutes.
    seed
        Other seeds give other images.
    views
        Folder of rendered views that the network has not been trained on (`trg data pack
        synthetic`), to fit error bars to and calibrate them on; may be repeated. None: the error
        bars stay as they are.
    faces
        Number of these views; 16,000 take some minutes.
    """
    from trg.inference.bundle import read_bundle, write_bundle
    from trglab.evaluation.calibration import calibrated

    calibrated_bundle = read_bundle(bundle)
    if views:
        calibrated_bundle = _with_error_bars(calibrated_bundle, views, faces, seed)
    calibrated_bundle, fit = calibrated(calibrated_bundle, images, seed)
    write_bundle(bundle, calibrated_bundle)
    messages.print(
        f"at confidence 0.5: precision {fit.right_above_half:.1%}, "
        f"recall {fit.found_above_half:.1%}"
    )
    for confidence, share, count in fit.bins:
        messages.print(f"  confidence {confidence:.2f}: precision {share:.2f}, {count} boxes")


def _with_error_bars(
    bundle: WeightBundle, views: tuple[Path, ...], faces: int, seed: int
) -> WeightBundle:
    from rich.progress import Progress

    from trglab.training.error_bars import with_error_bars

    with Progress(console=messages) as bar:
        task = bar.add_task("error bars", total=faces)
        return with_error_bars(
            bundle, views, faces, seed, lambda done: bar.update(task, completed=done)
        )


def bench(
    target: str = "trg_s",
    /,
    *,
    seconds: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 3.0,
    peer: Literal["mediapipe"] | None = None,
    peer_python: Path | None = None,
    reference: str = "trg_s",
) -> None:
    """Measure the speed of a network with its pose pipeline, or of the synthetic renderer.

    Parameters
    ----------
    target
        A bundled model's name, a weight bundle's path, an untrained preset (``trg_r18``), or
        ``synth`` for the renderer.
    seconds
        Duration of each measurement.
    peer
        ``mediapipe``: print the times beside those of MediaPipe's FaceMesh, measured in the same
        run on one core.
    peer_python
        Python of an environment that has MediaPipe; by default this one.
    reference
        Bundle whose network the network alone is compared with.
    """
    from trg.app.bench import bench_network, bench_pose, format_benchmark
    from trg.inference.bundle import bundled, bundled_names, model_path, read_bundle
    from trglab.bench import bench_config, bench_renderer

    if peer is not None and target == "synth":
        raise ValueError("--peer: expected a network to compare, got synth")
    if peer_python is not None and peer is None:
        raise ValueError("--peer-python: expected --peer NAME as well")
    path = bundled(target) if target in bundled_names() else Path(target)
    results: list[Any]
    if target == "synth":
        results = [bench_renderer(seconds)]
    elif peer is not None:
        from trg.app.bench_peer import format_speed_table, speed_table
        from trglab.bench import matrix_product_gflops

        other = model_path(reference)
        python = str(peer_python or sys.executable)
        rows = speed_table(read_bundle(path), read_bundle(other), python, 5 * seconds)
        Console(soft_wrap=True).print(
            format_speed_table(rows, matrix_product_gflops()), highlight=False
        )
        return
    elif path.suffix == ".trg":
        bundle = read_bundle(path)
        results = [bench_network(bundle, seconds), bench_pose(bundle, seconds)]
    else:
        from trg.network.config import preset
        from trglab.synth.assets import find_asset
        from trglab.synth.head.face_model import load_face_model

        topology = load_face_model(find_asset("face-model")).topology
        results = [bench_config(target, preset(target), topology, seconds)]
    for result in results:
        Console(soft_wrap=True).print(format_benchmark(result))
