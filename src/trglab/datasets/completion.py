"""Completion markers of data set folders that this package writes.

Such a folder has a list of finished samples while it is being written, and a marker at the end. A
data set whose parts share a folder has both for each part. Original data sets have neither.
"""

from __future__ import annotations

from pathlib import Path


def progress_name(part: str | None = None) -> str:
    """Return the name of the list of finished samples, of a folder or a part of it."""
    return f"trg_progress{_suffix(part)}.jsonl"


def complete_name(part: str | None = None) -> str:
    """Return the name of the completion marker of a folder or a part of it."""
    return f"trg_complete{_suffix(part)}.json"


def is_complete(folder: str | Path) -> bool:
    """Whether this package wrote a folder, and all its parts are complete."""
    begun = _begun_parts(Path(folder))
    return bool(begun) and all((Path(folder) / complete_name(part)).is_file() for part in begun)


def require_complete(folder: str | Path) -> Path:
    """Return ``folder`` as a path, or raise if it is missing or incomplete.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        This package began to write the folder, but did not finish.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: expected a dataset folder, found none")
    if _begun_parts(path) and not is_complete(path):
        raise ValueError(
            f"{path}: this folder is only half written; complete it with --resume, or remove it"
        )
    return path


def _begun_parts(folder: Path) -> list[str | None]:
    stem, ending = progress_name().split(".")
    lists = folder.glob(f"{stem}*.{ending}")
    return [path.stem.removeprefix(stem).removeprefix("_") or None for path in lists]


def _suffix(part: str | None) -> str:
    return "" if part is None else f"_{part}"
