"""Dataset folders that this package wrote itself: whole, or visibly not.

Such a folder keeps a list of what is finished while it is being written, and gets a marker at the
very end; a data set whose parts share a folder has both for each part. Folders from elsewhere have
neither and are taken as they are.
"""

from __future__ import annotations

from pathlib import Path


def progress_name(part: str | None = None) -> str:
    """Return the name of the list of what is finished, of the whole folder or of a part."""
    return f"trg_progress{_suffix(part)}.jsonl"


def complete_name(part: str | None = None) -> str:
    """Return the name of the marker of a folder, or of a part of it, that is whole."""
    return f"trg_complete{_suffix(part)}.json"


def is_complete(folder: str | Path) -> bool:
    """Whether a folder was written by this package, and all that was begun is finished."""
    begun = _begun_parts(Path(folder))
    return bool(begun) and all((Path(folder) / complete_name(part)).is_file() for part in begun)


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
