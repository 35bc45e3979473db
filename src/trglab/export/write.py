"""Writes samples to disk in the folder formats of the usual data sets, safely and resumably.

While a folder is being written it holds a list of what is finished, ``trg_progress.jsonl``; the
marker ``trg_complete.json`` comes last. A file that was cut off is not on the list, and is written
again on resume. ARKitFace's two splits share a folder, and each has a list and a marker of its own.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from trg._util.atomic import write_atomic
from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.arkitface import Split, folders_of_split
from trglab.datasets.completion import complete_name, is_complete, progress_name
from trglab.datasets.sample import Sample
from trglab.export.layouts import (
    AFLW2000Writer,
    ARKitFaceWriter,
    BIWIWriter,
    NeutralMaker,
    Record,
    W300LPWriter,
    Writer,
)

__all__ = ["Layout", "is_complete", "write_layout"]

Layout = Literal["arkitface", "300wlp", "aflw2000", "biwi"]


def write_layout(
    samples: Iterable[Sample],
    folder: str | Path,
    layout: Layout,
    *,
    topology: FaceTopology | None = None,
    split: Split = "train",
    jpeg_quality: int = 95,
    neutral_m: NeutralMaker | None = None,
    provenance: Mapping[str, Any] | None = None,
    resume: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write samples in a data set's folder format; return how many the folder holds then.

    Parameters
    ----------
    samples
        The samples from the very first on, also on resume: those that are on disk are skipped.
        A lazy sequence (``__len__`` and ``__getitem__``) is not even asked for them.
    layout
        ``arkitface`` (one camera for all samples), ``300wlp`` and ``aflw2000`` (450 px crops,
        need SciPy) or ``biwi`` (one sequence for each identity and camera).
    topology
        The mesh of the samples' vertices; ``arkitface`` and ``biwi`` write its triangles.
    split
        Which of ARKitFace's halves to write. It may join the other one in its folder.
    neutral_m
        Returns a sample's person without expression ``(n, 3)``, by the sample's number; ``biwi``
        writes it as a sequence's mesh. None: the mesh of a sequence's first frame.
    provenance
        What else the samples depend on, such as a seed (plain values): a folder is resumed only
        with the same.
    resume
        Complete a half-written folder. A folder that is complete is left alone.
    on_progress
        Called with the number of samples on disk as it grows.

    Raises
    ------
    FileExistsError
        The folder holds something, and ``resume`` was not asked for.
    ValueError
        The folder was begun with other settings, or a sample does not fit the layout.
    """
    if layout not in get_args(Layout):
        raise ValueError(f"layout: expected one of {get_args(Layout)}, got {layout!r}")
    folder = Path(folder)
    settings = {
        "layout": layout, "split": split, "jpeg_quality": jpeg_quality,
        "provenance": dict(provenance or {}),
    }  # fmt: skip
    part: Split | None = split if layout == "arkitface" else None
    marker = folder / complete_name(part)
    if marker.is_file() and resume:
        return _complete_count(marker, settings)
    folder.mkdir(parents=True, exist_ok=True)
    if not resume and not _is_free(folder, part):
        raise FileExistsError(
            f"{folder}: expected a new or empty folder; go on with --resume, or choose another"
        )
    records = _read_progress(folder, part, settings)
    writer = _make_writer(folder, records, settings, topology, neutral_m)
    with open(folder / progress_name(part), "a", encoding="utf-8") as progress:
        done = len(records)
        for index, sample in _skip(samples, done):
            done += _note(progress, writer.write(index, sample))
            if on_progress is not None:
                on_progress(done)
        done += _note(progress, writer.finish())
    facts = json.dumps({**settings, "count": done}, indent=1)
    write_atomic(marker, lambda file: file.write(facts.encode()))
    return done


def _is_free(folder: Path, part: Split | None) -> bool:
    """Whether a folder is empty, or holds nothing but the other part of the same data set."""
    own: set[str] = set()
    if part is not None:
        other: Split = "test" if part == "train" else "train"
        if (folder / progress_name(other)).exists():
            own = {progress_name(other), complete_name(other), *folders_of_split(other)}
    return all(entry.name in own for entry in folder.iterdir())


def _make_writer(
    folder: Path,
    records: list[Record],
    settings: Mapping[str, Any],
    topology: FaceTopology | None,
    neutral_m: NeutralMaker | None,
) -> Writer:
    layout, quality = settings["layout"], settings["jpeg_quality"]
    if layout == "300wlp":
        return W300LPWriter(folder, quality)
    if layout == "aflw2000":
        return AFLW2000Writer(folder, quality)
    if topology is None:
        raise ValueError(f"layout {layout}: expected the topology of the samples' vertices")
    if layout == "biwi":
        return BIWIWriter(folder, records, topology, neutral_m)
    return ARKitFaceWriter(folder, records, topology, settings["split"], quality)


def _skip(samples: Iterable[Sample], done: int) -> Iterator[tuple[int, Sample]]:
    if isinstance(samples, Sequence) or (
        hasattr(samples, "__getitem__") and hasattr(samples, "__len__")
    ):
        sequence: Any = samples
        return ((index, sequence[index]) for index in range(done, len(sequence)))
    return itertools.islice(enumerate(samples), done, None)


def _note(progress: Any, records: list[Record]) -> int:
    """Put finished samples on the list, one line each."""
    for record in records:
        progress.write(json.dumps(record) + "\n")
    progress.flush()
    return len(records)


def _read_progress(folder: Path, part: Split | None, settings: dict[str, Any]) -> list[Record]:
    """Return what is finished; begin the list where there is none, cut off a half-written line."""
    path = folder / progress_name(part)
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        path.unlink(missing_ok=True)
        if not _is_free(folder, part):
            raise FileExistsError(
                f"{folder}: expected a folder that this program began, but it has no list of what "
                "is finished; choose another folder"
            )
        path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
        return []
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    header, *records = [json.loads(line) for line in whole.splitlines()]
    _require_same(folder, header, settings)
    return records


def _complete_count(path: Path, settings: dict[str, Any]) -> int:
    marker = json.loads(path.read_text(encoding="utf-8"))
    count = int(marker.pop("count"))
    _require_same(path.parent, marker, settings)
    return count


def _require_same(folder: Path, begun_with: dict[str, Any], settings: dict[str, Any]) -> None:
    if begun_with != settings:
        raise ValueError(
            f"{folder}: this folder was begun with {begun_with}, expected the same settings on "
            f"resume, got {settings}"
        )
