"""Atomic file writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_atomic(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a temporary file beside ``path``, flush it to disk, then rename it to ``path``.

    An interruption at any moment leaves the old file, or none, but never a partial one.

    Parameters
    ----------
    path
        The file to create or replace.
    write
        Called with the temporary file, open for binary writing.

    Raises
    ------
    OSError
        The disk is full or the folder is not writable. The temporary file is removed.
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
