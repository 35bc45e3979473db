"""Write samples in the folder formats of data sets, resumably.

A folder holds a progress list, ``trg_progress.jsonl``, while it is written, and gets the completion
marker ``trg_complete.json`` at the end. A truncated file is not on the list and is written again on
resume. ARKitFace's two splits share a folder, with a list and a marker each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from trg._util.files import remove_partial_files, write_text_atomic
from trg._util.settings import changed_settings
from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.arkitface import Split, folders_of_split
from trglab.datasets.completion import complete_name, progress_name
from trglab.datasets.sample import Dataset, InfiniteDataset, Sample
from trglab.export.writers import (
    AFLW2000Writer,
    ARKitFaceWriter,
    BIWIWriter,
    NeutralVertices,
    ProgressRecord,
    SampleWriter,
    W300LPWriter,
)
from trglab.synth.cache import fingerprint
from trglab.synth.dataset import LAYOUT_OPTIONS
from trglab.synth.parallel import FaceSequence
from trglab.synth.portraits.profiling import ProfiledPortraits

Layout = Literal["arkitface", "300wlp", "aflw2000", "biwi"]

TEST_SHARE = 0.2
"""Share of the images in the test split of a rendered ARKitFace folder, as in the original."""

TEST_FIRST_PERSON = 1_000_000
"""Number of the first person of a rendered test split; no training split has as many people."""

PROFILED_WINDOW = (576, 2.0)
"""Side in px and margin of the rendered part of a turned photograph: more than the 450 px crop."""


def write_dataset(
    samples: Dataset,
    folder: str | Path,
    layout: Layout,
    *,
    topology: FaceTopology | None = None,
    split: Split = "train",
    jpeg_quality: int = 95,
    neutral_m: NeutralVertices | None = None,
    provenance: Mapping[str, Any] | None = None,
    resume: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write samples in a data set's folder format; return the number of samples in the folder.

    Parameters
    ----------
    samples
        All samples, also on resume; only those that are missing on disk are requested.
    layout
        ``arkitface`` (one camera for all samples), ``300wlp`` and ``aflw2000`` (450 px crops,
        need SciPy) or ``biwi`` (one sequence for each identity and camera).
    topology
        The mesh of the samples' vertices; ``arkitface`` and ``biwi`` write its triangles.
    split
        Split of ARKitFace. Both may share one folder.
    neutral_m
        Returns the neutral vertices ``(n, 3)`` of a sample's person by the sample's index; ``biwi``
        writes them as the mesh of a sequence. None: the vertices of the sequence's first frame.
    provenance
        Plain values that the samples depend on, such as a seed. A folder is resumed only with equal
        ones.
    resume
        Continue an unfinished folder. A finished folder is not changed.
    on_progress
        Called with the number of samples on disk as it grows.

    Raises
    ------
    FileExistsError
        The folder is not empty, without ``resume``.
    ValueError
        The folder was begun with other settings, or a sample lacks labels of the layout.
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
            f"{folder}: expected a new or empty folder; continue with --resume, or choose another"
        )
    remove_partial_files(Path(each) for each, _, _ in os.walk(folder))
    records = _read_progress(folder, part, settings)
    writer = _make_writer(folder, records, settings, topology, neutral_m)
    with open(folder / progress_name(part), "a", encoding="utf-8") as progress:
        for index in range(len(records), len(samples)):
            progress.write(json.dumps(writer.write(index, samples[index])) + "\n")
            progress.flush()
            if on_progress is not None:
                on_progress(index + 1)
        writer.finish()
    write_text_atomic(marker, json.dumps({**settings, "count": len(samples)}, indent=1))
    return len(samples)


def write_faces(
    folder: Path,
    layout: Layout,
    count: int,
    seed: int,
    *,
    split: Split = "train",
    first_person: int = 0,
    workers: int = 0,
    resume: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Render synthetic faces with the layout's camera; write them as :func:`write_dataset` does.

    The people are those of ``seed`` from number ``first_person`` on.
    """
    options = {**LAYOUT_OPTIONS[layout], "seed": seed}
    people = {"first_person": first_person} if first_person else {}
    with FaceSequence(count, options, workers, first_person=first_person) as faces:
        return write_dataset(
            faces,
            folder,
            layout,
            topology=faces.faces.topology,
            split=split,
            neutral_m=faces.neutral_m,
            provenance={**faces.faces.provenance, **people, "count": count},
            resume=resume,
            on_progress=on_progress,
        )


class _FirstSamples:
    """The first samples of a dataset without end."""

    def __init__(self, samples: InfiniteDataset, count: int) -> None:
        self._samples, self._count = samples, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Sample:
        return self._samples.sample(index)


def write_profiled(
    folder: Path,
    layout: Literal["300wlp", "aflw2000"],
    count: int,
    seed: int,
    photos: Path,
    *,
    resume: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Turn the portraits of a folder in depth and write them as :func:`write_dataset` does.

    The first image of each photograph shows its own pose and the others turned ones
    (:class:`~trglab.synth.portraits.profiling.ProfiledPortraits`).
    """
    portraits = ProfiledPortraits(seed, folder=photos, window=PROFILED_WINDOW, first_unturned=True)
    return write_dataset(
        _FirstSamples(portraits, count),
        folder,
        layout,
        provenance={"seed": seed, "photographs": fingerprint(photos), "count": count},
        resume=resume,
        on_progress=on_progress,
    )


def _is_free(folder: Path, part: Split | None) -> bool:
    """Whether a folder is empty or holds only the other split of the same data set."""
    own: set[str] = set()
    if part is not None:
        other: Split = "test" if part == "train" else "train"
        if (folder / progress_name(other)).exists():
            own = {progress_name(other), complete_name(other), *folders_of_split(other)}
    return all(entry.name in own for entry in folder.iterdir())


def _make_writer(
    folder: Path,
    records: list[ProgressRecord],
    settings: Mapping[str, Any],
    topology: FaceTopology | None,
    neutral_m: NeutralVertices | None,
) -> SampleWriter:
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


def _read_progress(
    folder: Path, part: Split | None, settings: dict[str, Any]
) -> list[ProgressRecord]:
    """Return the records of the progress list; create a missing list, drop a partial last line."""
    path = folder / progress_name(part)
    data = path.read_bytes() if path.exists() else b""
    complete_lines = data[: data.rfind(b"\n") + 1]
    if not complete_lines:
        path.unlink(missing_ok=True)
        if not _is_free(folder, part):
            raise FileExistsError(
                f"{folder}: expected a folder that this program began, but it has no progress "
                "list; choose another folder"
            )
        write_text_atomic(path, json.dumps(settings) + "\n")
        return []
    if len(complete_lines) < len(data):
        os.truncate(path, len(complete_lines))
    header, *records = [json.loads(line) for line in complete_lines.splitlines()]
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
            f"{folder}: begun with other settings: "
            f"{'; '.join(changed_settings(begun_with, settings))}. Choose another folder, or "
            "resume with the same settings"
        )
