"""Checks before a file is read, and atomic file writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO


def existing_file(path: str | PathLike[str], expected: str) -> Path:
    """Return ``path`` if it is a file; ``expected`` says in errors what it should be.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        It does not exist, is a folder, or is another thing than a file.
    """
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected {expected}, got a folder")
    if path.exists():
        raise OSError(f"{path}: expected {expected}, got a pipe or a device")
    raise FileNotFoundError(f"{path}: expected {expected}, found no such file")


def write_atomic(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a temporary file beside ``path``, flush it to disk, then rename it to ``path``.

    ``write`` is called with the temporary file, open for binary writing. An interruption at any
    moment leaves the old file, or none, but never a partial one.

    Raises OSError if the disk is full or the folder is not writable.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # flush the rename too; other systems cannot open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
