"""Synthetic data sets that stand in for the paper's, in the folder formats of ARKitFace and BIWI.

The parts share no people. As in the paper, BIWI's heads are farther away than those of the training
part, which tests generalisation to larger distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trglab.export.dataset_writer import Layout, write_faces

_SEEDS = {"train": 11, "test": 12, "biwi": 13}


@dataclass(frozen=True, slots=True)
class SyntheticDataSetSizes:
    """Number of images of each part, 24 of each person."""

    train: int = 1920
    test: int = 240
    biwi: int = 240


@dataclass(frozen=True, slots=True)
class SyntheticDataSetFolders:
    """Folders of the parts."""

    arkitface: Path
    """Both splits"""
    biwi: Path


OnPart = Callable[[str, int], Callable[[int], None] | None]
"""Called with a part's name and number of images; returns a callback for its progress."""


def write_synthetic_data_sets(
    folder: Path,
    size: SyntheticDataSetSizes | None = None,
    *,
    workers: int = 0,
    on_part: OnPart | None = None,
) -> SyntheticDataSetFolders:
    """Write the missing parts into ``folder``; resumes an interrupted call.

    Parameters
    ----------
    workers
        Processes that render; 0: the current one.

    Raises
    ------
    ValueError
        The folder was begun with another size or other ingredients.
    OSError
        The folder cannot be written.
    """
    size = size or SyntheticDataSetSizes()
    folders = SyntheticDataSetFolders(folder / "ARKitFace", folder / "BIWI")
    _write(folders.arkitface, "arkitface", "train", size.train, workers, on_part)
    _write(folders.arkitface, "arkitface", "test", size.test, workers, on_part)
    _write(folders.biwi, "biwi", "biwi", size.biwi, workers, on_part)
    return folders


def _write(
    folder: Path, layout: Layout, part: str, count: int, workers: int, on_part: OnPart | None
) -> None:
    on_progress = None if on_part is None else on_part(part, count)
    written = write_faces(
        folder,
        layout,
        count,
        _SEEDS[part],
        split="test" if part == "test" else "train",
        workers=workers,
        resume=True,
        on_progress=on_progress,
    )
    if on_progress is not None:
        on_progress(written)  # the only call for a folder that was complete
