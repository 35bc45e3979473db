"""The command line. Each verb imports what it needs when it is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Group, Parameter, validators
from rich.console import Console
from rich.markup import escape

from trg import __version__

app = App(
    name="trg",
    help="6DoF head pose and dense 3D face landmarks from one picture.",
    version=__version__,
)
_TRAINING = Group("Training and synthetic data (needs the `train` extra)")
_messages = Console(stderr=True, soft_wrap=True)

Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]
NotNegative = Annotated[int, Parameter(validator=validators.Number(gte=0))]
Layout = Literal["webdataset", "arkitface", "300wlp", "biwi"]


@app.command(group=_TRAINING)
def synth(
    out: Path | None = None,
    /,
    *,
    count: Positive = 100,
    layout: Layout = "webdataset",
    split: Literal["train", "test"] = "train",
    seed: NotNegative = 0,
    sheet: Path | None = None,
    labels: bool = True,
    workers: NotNegative = 0,
    resume: bool = False,
) -> None:
    """Make labelled synthetic faces: a folder of them, a contact sheet, or both.

    Parameters
    ----------
    out
        Folder to write; it must be new or empty, unless ``--resume``.
    count
        How many pictures.
    layout
        The folder format: tar shards, or that of ARKitFace, 300W-LP or BIWI.
    split
        Which half of an ARKitFace folder.
    seed
        Other seeds make other people.
    sheet
        Draw the pictures, cut to their faces, into this one picture. Without a folder, of more
        people: three pictures each.
    labels
        Draw landmarks and axes onto the sheet.
    workers
        Processes that render a folder; 0: this one.
    resume
        Complete a folder that an earlier run left unfinished.
    """
    from rich.progress import Progress

    from trg.synth.dataset import LAYOUT_OPTIONS, PICTURES_PER_PERSON
    from trg.synth.layouts import write_layout
    from trg.synth.sheet import contact_sheet
    from trg.synth.stream import FaceSequence

    if out is None and sheet is None:
        raise ValueError("nothing to do: expected a folder to write, --sheet PICTURE, or both")
    options = {**(LAYOUT_OPTIONS[layout] if out else {}), "seed": seed}
    stride = 1 if out else PICTURES_PER_PERSON // 3  # a sheet alone shows many people
    sequence = FaceSequence(count * stride, options, workers if out else 0)
    with sequence as faces, Progress(console=_messages) as bar:
        if out is not None:
            task = bar.add_task(f"writing {layout}", total=count)
            written = write_layout(
                faces,
                out,
                layout,
                topology=faces.faces.topology,
                split=split,
                made_with={**faces.faces.made_of, "count": count},
                resume=resume,
                on_progress=lambda done: bar.update(task, completed=done),
            )
            bar.update(task, completed=written)
        if sheet is not None:
            task = bar.add_task("drawing the sheet", total=count)
            cells = bar.track((faces[index * stride] for index in range(count)), task_id=task)
            mesh = faces.faces.topology
            contact_sheet(cells, labels=labels, topology=mesh).save(sheet)


@app.command(group=_TRAINING)
def source(kind: Literal["face-model", "photos", "panoramas", "hair"], path: Path, /) -> None:
    """Remember where a source of the synthetic faces lies, after reading it once.

    Parameters
    ----------
    kind
        ``face-model``: ICT-FaceKit's FaceXModel folder or packed file. ``photos``: the Face
        Research Lab London Set. ``panoramas``: a folder of .hdr files. ``hair``: the packed
        MakeHuman hair.
    path
        The folder or file.
    """
    from trg.synth.sources import remember_source
    from trg.synth.studio import import_source

    import_source(kind, path)
    found = remember_source(kind, path)
    _messages.print(f"{kind}: {found}")


@app.command(group=_TRAINING)
def bench(
    target: str = "trg_s",
    /,
    *,
    seconds: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 3.0,
) -> None:
    """Measure how fast something runs: a network, or the renderer.

    Parameters
    ----------
    target
        A preset (``trg_s``, ``trg_r18``), a weight bundle's path, or ``synth``.
    seconds
        How long to measure.
    """
    from trg import bench as benches

    if target == "synth":
        result: Any = benches.bench_synth(seconds)
    elif Path(target).suffix == ".trg":
        result = benches.bench_bundle(target, seconds)
    else:
        from trg.model.config import preset
        from trg.synth.head.face_model import load_face_model
        from trg.synth.sources import find_source

        topology = load_face_model(find_source("face-model")).topology
        result = benches.bench_config(target, preset(target), topology, seconds)
    Console(soft_wrap=True).print(benches.as_table(result))


@app.command(group=_TRAINING)
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
    """Train a network by a named recipe.

    Parameters
    ----------
    recipe
        ``small``, ``synthetic_r18``, ``paper``, ``paper_single`` or ``tiny``; ``NAME/ROW`` changes
        the network to a row of the paper's Table 1, for example ``small/landmark-free``.
    folder
        Where checkpoints, the log and drawn predictions go.
    overrides
        Fields of the recipe, as ``optim.learning_rate=3e-4``.
    option
        The recipe's own arguments, as ``--option.pack FOLDER``.
    resume
        Go on from the folder's checkpoint.
    device
        ``cpu`` or ``cuda``; chosen when not given.
    workers
        Processes that render.
    max_minutes
        Stop in good order after this time.
    stills
        Folder of stills with 68 landmarks to measure on, never to train on.
    """
    from trg.training.progress import training_bar
    from trg.training.recipes import recipe as find_recipe
    from trg.training.recipes import with_overrides
    from trg.training.run import train as run

    changes = _key_values(overrides)
    chosen = with_overrides(find_recipe(recipe, option), changes)
    with training_bar(chosen.steps, chosen.batch_size, _messages) as on_step:
        result = run(
            recipe,
            folder,
            options=option,
            overrides=changes,
            resume=resume,
            device=device,
            workers=workers,
            max_minutes=max_minutes,
            stills=stills,
            on_step=on_step,
        )
    _messages.print(result)


@app.command(group=_TRAINING)
def pack(
    recipe: str,
    folder: Path,
    count: Positive,
    /,
    *overrides: str,
    option: dict[str, str] | None = None,
    first: NotNegative = 0,
    holdout: bool = False,
    workers: NotNegative = 0,
) -> None:
    """Render a recipe's pictures once, for several trainings. Goes on where it was stopped.

    Parameters
    ----------
    recipe
        Whose first source to render.
    folder
        Where the pack goes; train with ``--option.pack FOLDER``.
    count
        How many pictures.
    overrides
        Fields of the recipe, as ``NAME=VALUE``.
    first
        Index of the first picture.
    holdout
        Render the hold-out rather than the training's pictures; train with
        ``--option.holdout_pack FOLDER``.
    workers
        Processes that render.
    """
    from rich.progress import Progress

    from trg.training.run import render_pack

    with Progress(console=_messages) as bar:
        task = bar.add_task("rendering", total=count)
        render_pack(
            recipe,
            folder,
            count,
            options=option,
            overrides=_key_values(overrides),
            first=first,
            holdout=holdout,
            workers=workers,
            on_progress=lambda done: bar.update(task, completed=done),
        )


@app.command(group=_TRAINING)
def export(
    checkpoint: Path,
    bundle: Path,
    /,
    *,
    name: str,
    licence: str,
    attribution: tuple[str, ...] = (),
    storage: Literal["float32", "float16"] = "float16",
) -> None:
    """Turn a checkpoint into a weight bundle: one file that runs without torch.

    Parameters
    ----------
    checkpoint
        ``best.pt`` of a training's folder.
    bundle
        The file to write, ``NAME.trg``.
    name, licence, attribution
        For the bundle's card.
    storage
        How weights are stored; they always compute in float32.
    """
    from trg.training.run import export as run

    made = run(
        checkpoint, bundle, name=name, licence=licence, attribution=attribution, storage=storage
    )
    _messages.print(f"{bundle}: {bundle.stat().st_size / 1e6:.1f} MB, parity {made.card.parity}")


def _key_values(pairs: tuple[str, ...]) -> dict[str, Any]:
    numbers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"override: expected NAME=VALUE, got {pair!r}")
        numbers[name] = value
    return numbers


def main() -> None:
    """Run the command line; errors that a user can mend are one line on stderr, exit code 2."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("TRG_DEBUG"):
            raise
        _messages.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        _messages.print("stopped")
        sys.exit(130)
