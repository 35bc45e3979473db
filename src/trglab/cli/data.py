"""Verbs for whoever has the data sets on disk."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App
from rich.console import Console

from trg.app.cli.shared import NotNegative, Positive, messages

if TYPE_CHECKING:
    from trglab.datasets.check import CheckReport

DataSetName = Literal["arkitface", "300wlp", "aflw2000", "biwi", "packed"]
Outline = Literal["3d", "2d"]

SHOWN_FAULTS = 20
SHOWN_SIZES = 5

data = App(name="data", help="Check and pack data sets that lie on disk.")


@data.command
def check(
    name: DataSetName,
    path: Path,
    /,
    *,
    split: Literal["train", "test"] | None = None,
    resources: Path | None = None,
    outline: Outline | None = None,
    every: Positive = 1,
    sheet: Path | None = None,
) -> None:
    """Read a data set's folder and say what is missing, damaged or wrong; exit code 1 if any is.

    Parameters
    ----------
    name
        Which data set; ``packed`` for what ``trg data pack`` wrote, whose hashes are verified too.
    path
        Its folder.
    split
        Which half of ARKitFace; the training half if not given.
    resources
        ARKitFace: the folder with the landmark numbers, the projection matrix and the triangles,
        where it is not the data set's own.
    outline
        300W-LP: its points on the head's true outline (``3d``, as the paper trains), or on the one
        that is seen (``2d``).
    every
        Read only each such sample, for a quick look at a large folder.
    sheet
        Draw samples with their labels into this picture.
    """
    from rich.progress import Progress

    from trglab.datasets.catalogue import DataSet
    from trglab.datasets.check import check_data_set, data_set_sheet

    options = _options(split=split, resources=resources, outline=outline)
    if name == "300wlp":
        options["rotations"] = True  # so that the files with the angles are read too
    data_set = DataSet(name, str(path), options)
    with Progress(console=messages) as bar:
        task = bar.add_task(f"reading {name}", total=None)
        report = check_data_set(
            data_set,
            every=every,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _print(report)
    if sheet is not None and report.readable:
        data_set_sheet(data_set).save(sheet)
        messages.print(f"drawn: {sheet}")
    if not report.is_whole:
        sys.exit(1)


@data.command
def pack(
    name: Literal["arkitface", "300wlp", "aflw2000"],
    path: Path,
    out: Path,
    /,
    *,
    split: Literal["train", "test"] | None = None,
    resources: Path | None = None,
    outline: Outline | None = None,
    size: Positive = 288,
    margin: float = 1.6,
    shard_size: Positive = 1000,
    jpeg_quality: Positive = 92,
    workers: NotNegative = 0,
) -> None:
    """Cut a data set's faces out once, into tar shards for fast training. Goes on where it stopped.

    Train with the shards' folder in place of the data set's: ``trg train paper OUT
    --option.arkitface SHARDS``. Samples that cannot be read are left out and listed.

    Parameters
    ----------
    name
        Which data set. (BIWI is a test set, and without landmarks.)
    path
        Its folder.
    out
        Folder for the shards, in WebDataset's layout.
    split
        Which half of ARKitFace; the training half if not given.
    resources
        ARKitFace: the folder with the landmark numbers, the projection matrix and the triangles,
        where it is not the data set's own.
    outline
        300W-LP: its points on the head's true outline (``3d``, as the paper trains), or on the one
        that is seen (``2d``).
    size
        Side of the stored pictures in px; 1.5 times the network's crop for the paper's recipes.
    margin
        Side of the stored window over the face box's.
    shard_size
        Samples in a shard.
    jpeg_quality
        Of the stored pictures.
    workers
        Processes that cut; 0: this one.
    """
    from rich.progress import Progress

    from trglab.datasets.catalogue import DataSet
    from trglab.datasets.packing import PackSettings, pack_samples

    data_set = DataSet(name, str(path), _options(split=split, resources=resources, outline=outline))
    with Progress(console=messages) as bar:
        task = bar.add_task(f"packing {name}", total=len(data_set()))
        report = pack_samples(
            out,
            data_set,
            PackSettings(size, margin, shard_size, jpeg_quality),
            workers=workers,
            facts=data_set.facts,
            on_progress=lambda done: bar.update(task, completed=done),
        )
    for reason in report.skipped[:SHOWN_FAULTS]:
        messages.print(f"left out: {reason}", markup=False, highlight=False)
    messages.print(f"{out}: {report.count} views, {len(report.skipped)} samples left out")


def _options(**options: str | Path | None) -> dict[str, Any]:
    """Return the reader's options that were given, as plain values."""
    return {name: str(value) for name, value in options.items() if value is not None}


def _print(report: CheckReport) -> None:
    out = Console(soft_wrap=True, highlight=False, markup=False)
    of = "" if report.published is None else f" (the whole data set: {report.published})"
    out.print(f"listed       {report.listed}{of}")
    out.print(f"read         {report.tried}, whole: {report.readable}, people: {report.people}")
    sizes = sorted(report.picture_sizes.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{count} of {size}" for size, count in sizes[:SHOWN_SIZES])
    out.print(f"pictures     {shown or 'none'}{', ...' if len(sizes) > SHOWN_SIZES else ''}")
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
