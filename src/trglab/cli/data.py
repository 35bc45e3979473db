"""Commands that check data sets on disk and pack training data into shard stores."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App, Parameter
from rich.console import Console

from trg._util.files import write_atomic
from trg.app.cli.shared import NotNegative, Positive, key_values, messages
from trglab.cli.evaluate_options import HoldoutNumber

if TYPE_CHECKING:
    from trglab.datasets.check import CheckReport
    from trglab.datasets.store_writer import StoreReport

DataSetName = Literal[
    "arkitface", "300wlp", "aflw2000", "biwi", "ddpose", "facesynthetics", "synthface", "packed"
]
ImageFormat = Literal["jpeg", "png", "raw"]
Split = Literal["train", "test"]
Outline = Literal["3d", "2d"]

SHOWN_FAULTS = 20
SHOWN_SIZES = 5

data = App(name="data", help="Check data sets on disk, and pack training data.")

pack = App(
    name="pack",
    help="Write training data once into tar shards. An interrupted run continues where it stopped.",
)
data.command(pack)


@data.command
def check(
    name: DataSetName,
    path: Path,
    /,
    *,
    split: Split | None = None,
    resources: Path | None = None,
    outline: Outline | None = None,
    every: Positive = 1,
    sheet: Path | None = None,
) -> None:
    """Read a data set and report what is missing, damaged or wrong; exit code 1 if anything is.

    Parameters
    ----------
    name
        The data set; ``packed`` for a store of ``trg data pack`` or ``trg synth``, whose hashes
        are verified too.
    path
        Its folder.
    split
        Split of ARKitFace; by default the training split.
    resources
        ARKitFace: folder with the landmark numbers, the projection matrix and the triangles, if
        it is not the data set's own.
    outline
        300W-LP: landmarks on the true outline of the head (``3d``, as the paper trains), or on
        the visible one (``2d``).
    every
        Read only every n-th sample, for a quick look at a large folder.
    sheet
        Image file for a contact sheet of samples with their labels.
    """
    from trglab.datasets.catalogue import DatasetFolder
    from trglab.datasets.check import check_data_set, data_set_sheet

    options = _options(split=split, resources=resources, outline=outline)
    if name == "300wlp":
        options["rotations"] = True  # so that the files with the angles are read too
    data_set = DatasetFolder(name, str(path), options)
    with _progress(f"reading {name}") as update:
        report = check_data_set(data_set, every=every, on_progress=update)
    _print(report)
    if sheet is not None and report.readable:
        write_atomic(sheet, data_set_sheet(data_set).save)
        messages.print(f"drawn: {sheet}")
    if not report.is_valid:
        sys.exit(1)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Packing:
    """How views are cut and stored.

    Parameters
    ----------
    size
        Side of the views in px; 1.5 times the network's crop for the paper's recipes.
    margin
        Side of the view over the side of the face box.
    image
        ``jpeg``, or lossless: ``png``, or ``raw``, which is larger but needs no decoding.
    jpeg_quality
        Quality of JPEG images.
    shard_size
        Samples per shard.
    workers
        Processes that cut views; 0: this one.
    """

    size: Positive = 288
    margin: float = 1.6
    image: ImageFormat = "jpeg"
    jpeg_quality: Positive = 92
    shard_size: Positive = 960
    workers: NotNegative = 0


@pack.command(name="arkitface")
def pack_arkitface(
    path: Path,
    out: Path,
    /,
    *,
    split: Split = "train",
    resources: Path | None = None,
    packing: Packing = Packing(),
) -> None:
    """Cut the faces of ARKitFace once: ``trg train paper RUN --option.arkitface OUT``.

    Samples that cannot be read are left out and listed.

    Parameters
    ----------
    path
        Folder of the data set.
    out
        Folder of the store.
    split
        The split.
    resources
        Folder with the landmark numbers, the projection matrix and the triangles, if it is not
        the data set's own.
    """
    _pack_data_set("arkitface", path, out, _options(split=split, resources=resources), packing)


@pack.command(name="300wlp")
def pack_300wlp(
    path: Path, out: Path, /, *, outline: Outline = "3d", packing: Packing = Packing()
) -> None:
    """Cut the faces of 300W-LP once: ``trg train paper RUN --option.w300lp OUT``.

    Samples that cannot be read are left out and listed.

    Parameters
    ----------
    path
        Folder of the data set.
    out
        Folder of the store.
    outline
        Landmarks on the true outline of the head (``3d``, as the paper trains), or on the visible
        one (``2d``).
    """
    _pack_data_set("300wlp", path, out, _options(outline=outline), packing)


@pack.command(name="aflw2000")
def pack_aflw2000(path: Path, out: Path, /, *, packing: Packing = Packing()) -> None:
    """Cut the faces of AFLW2000-3D once. Samples that cannot be read are left out and listed.

    Parameters
    ----------
    path
        Folder of the data set.
    out
        Folder of the store.
    """
    _pack_data_set("aflw2000", path, out, {}, packing)


@pack.command(name="facesynthetics")
def pack_facesynthetics(path: Path, out: Path, /, *, packing: Packing = Packing()) -> None:
    """Cut the faces of Microsoft's Face Synthetics once; they have 2D landmarks only.

    Parameters
    ----------
    path
        Folder of the data set.
    out
        Folder of the store.
    """
    _pack_data_set("facesynthetics", path, out, {}, packing)


@pack.command(name="synthface")
def pack_synthface(path: Path, out: Path, /, *, packing: Packing = Packing()) -> None:
    """Cut the faces of SynthMoCap's SynthFace once; they have cameras and 2D landmarks.

    Parameters
    ----------
    path
        Folder of the data set.
    out
        Folder of the store.
    """
    _pack_data_set("synthface", path, out, {}, packing)


@pack.command(name="synthetic")
def pack_synthetic(
    recipe: str,
    out: Path,
    count: Positive,
    /,
    *overrides: str,
    option: dict[str, str] | None = None,
    first: NotNegative = 0,
    holdout: bool = False,
    far: bool = False,
    holdout_version: HoldoutNumber = 1,
    image: ImageFormat = "raw",
    workers: NotNegative = 0,
) -> None:
    """Render the synthetic faces of a recipe once, for several trainings.

    Parameters
    ----------
    recipe
        The recipe, whose first dataset is rendered.
    out
        Folder of the store; train with ``--option.pack OUT``.
    count
        Number of images.
    overrides
        Fields of the recipe, as ``NAME=VALUE``.
    option
        Arguments of the recipe, as ``--option.without hair``.
    first
        Index of the first image.
    holdout
        Render the hold-out instead; train with ``--option.holdout_pack OUT``.
    far
        Render the hold-out at 2 to 3 m instead, beyond all training distances.
    holdout_version
        ``2``: 1,000 people and all ingredients; ``1``: 167 people without hard poses, hard light
        and the like.
    image
        ``raw`` is read fastest; ``png`` is lossless, too; ``jpeg`` is smallest.
    workers
        Processes that render; 0: this one.
    """
    from trglab.training.api import configured_recipe, pack_recipe

    with _progress("rendering", count) as update:
        pack_recipe(
            configured_recipe(recipe, option, key_values(overrides)),
            out,
            range(first, first + count),
            part="far" if far else "holdout" if holdout else "training",
            holdout_version=holdout_version,
            image_format=image,
            workers=workers,
            on_progress=update,
        )


@pack.command(name="scenes")
def pack_scenes(
    out: Path,
    /,
    *,
    count: Positive = 8000,
    negatives: bool = False,
    width: Positive = 448,
    height: Positive = 352,
    seed: NotNegative = 0,
    workers: NotNegative = 0,
) -> None:
    """Render scenes once to train the face detector on (``trg detector train``).

    Parameters
    ----------
    out
        Folder of the store.
    count
        Number of scenes.
    negatives
        Render scenes without people, instead of scenes with up to eight heads.
    width
        Width of the scenes, px.
    height
        Height of the scenes, px.
    seed
        Other seeds give other people and places.
    workers
        Processes that render; 0: this one.
    """
    from trglab.detector.scene_store import write_scenes
    from trglab.detector.scenes import DetectionScenes

    face_free_share = 1.0 if negatives else 0.05
    scenes = DetectionScenes(
        seed,
        (width, height),
        people=30 if negatives else 120,
        scenes_per_person=60,
        face_free_share=face_free_share,
        for_training=True,
    )
    with _progress("rendering scenes", count) as update:
        write_scenes(
            out,
            scenes.sample,
            count,
            provenance={"face_free_share": face_free_share, **scenes.provenance},
            workers=workers,
            on_progress=update,
        )


def _pack_data_set(
    name: str, path: Path, out: Path, options: dict[str, Any], packing: Packing
) -> None:
    from trglab.datasets.catalogue import DatasetFolder
    from trglab.datasets.view_store import ViewStoreSettings, write_views

    data_set = DatasetFolder(name, str(path), options)
    settings = ViewStoreSettings(
        packing.size, packing.margin, packing.image, packing.jpeg_quality, packing.shard_size
    )
    with _progress(f"packing {name}", len(data_set.open())) as update:
        report = write_views(
            out,
            data_set.open,
            settings,
            provenance=data_set.provenance,
            workers=packing.workers,
            on_progress=update,
        )
    _print_skipped(out, report)


def _print_skipped(out: Path, report: StoreReport) -> None:
    for reason in report.skipped[:SHOWN_FAULTS]:
        messages.print(f"left out: {reason}", markup=False, highlight=False)
    messages.print(f"{out}: {report.count} views, {len(report.skipped)} samples left out")


@contextmanager
def _progress(text: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a progress bar; yield the function that updates it, ``update(done[, total])``."""
    from rich.progress import Progress

    with Progress(console=messages) as bar:
        task = bar.add_task(text, total=total)

        def update(done: int, new_total: int | None = None) -> None:
            bar.update(task, completed=done, total=new_total)

        yield update


def _options(**options: str | Path | None) -> dict[str, Any]:
    """Return the reader's options that were given, as plain values."""
    return {name: str(value) for name, value in options.items() if value is not None}


def _print(report: CheckReport) -> None:
    out = Console(soft_wrap=True, highlight=False, markup=False)
    of = "" if report.published is None else f" (complete data set: {report.published})"
    out.print(f"listed       {report.listed}{of}")
    out.print(f"read         {report.tried}, readable: {report.readable}, people: {report.people}")
    sizes = sorted(report.image_sizes.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{count} of {size}" for size, count in sizes[:SHOWN_SIZES])
    out.print(f"images       {shown or 'none'}{', ...' if len(sizes) > SHOWN_SIZES else ''}")
    for kind in ("missing", "unreadable", "wrong"):
        out.print(f"{kind:12} {report.count(kind)}")
    for note in report.notes:
        out.print(f"note: {note}")
    faults = Counter(report.faults)  # one missing mesh is a fault of all its frames
    for fault, times in islice(faults.items(), SHOWN_FAULTS):
        of = "" if times == 1 else f" ({times} samples)"
        out.print(f"{fault.kind}: {fault.message}{of}")
    if len(faults) > SHOWN_FAULTS:
        out.print(f"and {len(faults) - SHOWN_FAULTS} more")
