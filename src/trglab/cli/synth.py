"""Commands that render synthetic faces."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from trg._util.files import write_atomic
from trg.app.cli.shared import NotNegative, Positive, messages

Layout = Literal["webdataset", "arkitface", "300wlp", "aflw2000", "biwi"]
Split = Literal["train", "test"]


def synth(
    out: Path | None = None,
    /,
    *,
    count: Positive = 100,
    layout: Layout = "webdataset",
    split: Split = "train",
    seed: NotNegative = 0,
    sheet: Path | None = None,
    labels: bool = True,
    workers: NotNegative = 0,
    resume: bool = False,
) -> None:
    """Render labelled synthetic faces: a folder of them, a contact sheet, or both.

    Parameters
    ----------
    out
        Folder to write; it must be new or empty, unless ``--resume``. The two splits of ARKitFace
        may share one.
    count
        Number of images.
    layout
        Folder format: ``webdataset`` tar shards, or that of ARKitFace, 300W-LP, AFLW2000-3D or
        BIWI.
    split
        Split of an ARKitFace folder.
    seed
        Other seeds give other people.
    sheet
        Image file for a contact sheet of the faces. Without a folder it shows more people, with
        three images each.
    labels
        Draw landmarks and axes on the sheet.
    workers
        Processes that render a folder; 0: this one.
    resume
        Complete a folder that an earlier run left unfinished.
    """
    if out is None and sheet is None:
        raise ValueError("nothing to do: expected a folder to write, --sheet IMAGE, or both")
    if out is not None:
        _write_folder(out, layout, split, seed, count, workers, resume)
    if sheet is not None:
        _draw_sheet(sheet, None if out is None else layout, seed, count, labels)


def _write_folder(
    out: Path, layout: Layout, split: Split, seed: int, count: int, workers: int, resume: bool
) -> None:
    from functools import partial

    from rich.progress import Progress

    from trglab.datasets.sample_store import write_samples
    from trglab.export.dataset_writer import write_faces
    from trglab.synth.dataset import LAYOUT_OPTIONS, SyntheticFaces

    with Progress(console=messages) as bar:
        task = bar.add_task(f"writing {layout}", total=count)

        def on_progress(done: int) -> None:
            bar.update(task, completed=done)

        if layout == "webdataset":
            options = {**LAYOUT_OPTIONS[layout], "seed": seed}
            if not resume and out.is_dir() and any(out.iterdir()):
                raise FileExistsError(
                    f"{out}: expected a new or empty folder; continue with --resume, or choose "
                    "another"
                )
            write_samples(
                out,
                partial(SyntheticFaces, **options),
                range(count),
                provenance={"dataset": "trglab.synth.dataset:SyntheticFaces", "options": options},
                workers=workers,
                on_progress=on_progress,
            )
            return
        write_faces(
            out,
            layout,
            count,
            seed,
            split=split,
            workers=workers,
            resume=resume,
            on_progress=on_progress,
        )


def _draw_sheet(path: Path, layout: Layout | None, seed: int, count: int, labels: bool) -> None:
    """Draw the samples of a folder of ``layout``, or without one those of more people."""
    from rich.progress import track

    from trglab.datasets.sheet import contact_sheet
    from trglab.synth.dataset import IMAGES_PER_PERSON, LAYOUT_OPTIONS, SyntheticFaces

    faces = SyntheticFaces(seed, **(LAYOUT_OPTIONS[layout] if layout else {}))
    stride = 1 if layout else IMAGES_PER_PERSON // 3
    indices = track(range(count), "drawing the sheet", console=messages)
    cells = (faces.sample(index * stride) for index in indices)
    sheet = contact_sheet(cells, labels=labels, edges=faces.topology.edges)
    write_atomic(path, sheet.save)


def asset(
    kind: Literal["face-model", "photo_skin", "panoramas", "hair_meshes"], path: Path, /
) -> None:
    """Register an asset of the synthetic faces, after checking that it can be read.

    Parameters
    ----------
    kind
        ``face-model``: ICT-FaceKit's FaceXModel folder or packed file. ``photo_skin``: the
        Face Research Lab London Set, or a folder of portraits without landmarks, which are fitted
        now (about a second each); the two are registered side by side. ``panoramas``: a folder of
        .hdr files. ``hair_meshes``: packed MakeHuman hair (layout: docs/synthetic.md).
    path
        The folder or file.
    """
    from rich.progress import Progress

    from trglab.synth.assets import remember_asset
    from trglab.synth.studio import import_asset

    with Progress(console=messages) as bar:
        task = bar.add_task("reading", total=None)

        def on_progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        found_in_it = import_asset(kind, path, on_progress)
    found = remember_asset(kind, path)
    messages.print(f"{kind}: {found}" + (f" ({found_in_it})" if found_in_it else ""))
