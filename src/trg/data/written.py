"""Dataset folders that this package wrote itself: whole, or visibly not.

Such a folder keeps a list of what is finished while it is being written, and gets a marker at the
very end. Folders from elsewhere have neither and are taken as they are.
"""

from __future__ import annotations

from pathlib import Path

PROGRESS_NAME = "trg_progress.jsonl"
COMPLETE_NAME = "trg_complete.json"


def is_complete(folder: str | Path) -> bool:
    """Whether a folder was written by this package to its end."""
    return (Path(folder) / COMPLETE_NAME).is_file()


def require_whole(folder: str | Path) -> Path:
    """Return ``folder`` as a path, or raise if it is missing or was left half-written.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        The folder was written by this package, but not to its end.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: expected a dataset folder, found none")
    if (path / PROGRESS_NAME).exists() and not is_complete(path):
        raise ValueError(
            f"{path}: this folder is only half written; complete it with --resume, or remove it"
        )
    return path
