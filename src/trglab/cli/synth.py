"""Verbs that make synthetic faces."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from trg.app.cli.shared import NotNegative, Positive, messages

Layout = Literal["webdataset", "arkitface", "300wlp", "aflw2000", "biwi"]


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
        Folder to write; it must be new or empty, unless ``--resume``. ARKitFace's halves may share
        one.
    count
        How many pictures.
    layout
        The folder format: tar shards, or that of ARKitFace, 300W-LP, AFLW2000-3D or BIWI.
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

    from trglab.datasets.sheet import contact_sheet
    from trglab.export.write import write_layout
    from trglab.synth.dataset import IMAGES_PER_PERSON, LAYOUT_OPTIONS
    from trglab.synth.parallel import FaceSequence

    if out is None and sheet is None:
        raise ValueError("nothing to do: expected a folder to write, --sheet PICTURE, or both")
    options = {**(LAYOUT_OPTIONS[layout] if out else {}), "seed": seed}
    stride = 1 if out else IMAGES_PER_PERSON // 3  # a sheet alone shows many people
    sequence = FaceSequence(count * stride, options, workers if out else 0)
    with sequence as faces, Progress(console=messages) as bar:
        if out is not None:
            task = bar.add_task(f"writing {layout}", total=count)
            written = write_layout(
                faces,
                out,
                layout,
                topology=faces.faces.topology,
                split=split,
                neutral_m=faces.faces.neutral_m,
                provenance={**faces.faces.provenance, "count": count},
                resume=resume,
                on_progress=lambda done: bar.update(task, completed=done),
            )
            bar.update(task, completed=written)
        if sheet is not None:
            task = bar.add_task("drawing the sheet", total=count)
            cells = bar.track((faces[index * stride] for index in range(count)), task_id=task)
            edges = faces.faces.topology.edges
            contact_sheet(cells, labels=labels, edges=edges).save(sheet)


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
    from trglab.synth.assets import remember_asset
    from trglab.synth.studio import import_asset

    import_asset(kind, path)
    found = remember_asset(kind, path)
    messages.print(f"{kind}: {found}")
