"""A stand-in for the paper's data: synthetic people in ARKitFace's and BIWI's own folders.

Nobody in one part is in another. As in the paper, BIWI's people are farther away than any in the
training part, so that what is learnt there has to carry beyond its distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trglab.export.write import Layout, write_layout
from trglab.synth.dataset import LAYOUT_OPTIONS
from trglab.synth.parallel import FaceSequence

_SEEDS = {"train": 11, "test": 12, "biwi": 13}


@dataclass(frozen=True, slots=True)
class StandInSize:
    """How many pictures each part has; 24 are of one person."""

    train: int = 1920
    test: int = 240
    biwi: int = 240


@dataclass(frozen=True, slots=True)
class StandInFolders:
    """Where the parts lie."""

    arkitface: Path
    """Both splits."""
    biwi: Path


OnPart = Callable[[str, int], Callable[[int], None] | None]
"""Told which part is written and how many pictures it has; returns what is told of the progress."""


def write_stand_in(
    folder: Path,
    size: StandInSize | None = None,
    *,
    workers: int = 0,
    on_part: OnPart | None = None,
) -> StandInFolders:
    """Write what is not there yet into ``folder``; goes on where it was stopped.

    Parameters
    ----------
    workers
        Processes that render; 0: this one.

    Raises
    ------
    ValueError
        The folder was begun with another size or other ingredients.
    OSError
        The folder cannot be written.
    """
    size = size or StandInSize()
    found = StandInFolders(folder / "ARKitFace", folder / "BIWI")
    _write(found.arkitface, "arkitface", "train", size.train, workers, on_part)
    _write(found.arkitface, "arkitface", "test", size.test, workers, on_part)
    _write(found.biwi, "biwi", "biwi", size.biwi, workers, on_part)
    return found


def _write(
    folder: Path, layout: Layout, part: str, count: int, workers: int, on_part: OnPart | None
) -> None:
    options = {**LAYOUT_OPTIONS[layout], "seed": _SEEDS[part]}
    on_progress = None if on_part is None else on_part(part, count)
    with FaceSequence(count, options, workers) as faces:
        written = write_layout(
            faces,
            folder,
            layout,
            topology=faces.faces.topology,
            split="test" if part == "test" else "train",
            neutral_m=faces.faces.neutral_m,
            provenance={**faces.faces.provenance, "count": count},
            resume=True,
            on_progress=on_progress,
        )
    if on_progress is not None:
        on_progress(written)  # of a folder that was complete nothing else is told
