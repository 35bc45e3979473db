"""Expensive results in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._util.files import write_atomic
from trglab.datasets.files import file_sha256

CACHE_ENV = "TRG_CACHE"

Arrays = dict[str, NDArray[Any]]


def cache_folder() -> Path:
    """Return ``$TRG_CACHE``, or the folder ``trg`` in the platform's cache directory."""
    if given := os.environ.get(CACHE_ENV):
        return Path(given).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "trg"


def fingerprint(path: Path) -> str:
    """Return a short hash of a file's content, or of the names, sizes and times in a folder."""
    if not path.is_dir():
        return file_sha256(path)[:24]
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        stat = file.stat()
        digest.update(f"{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def cached_arrays(name: str, build: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
    """Return the arrays cached under ``name``; build and store them if missing or unreadable.

    Files are written atomically, so several processes may build the same one. If the cache cannot
    be written, a warning is issued and the arrays are returned anyway.
    """
    path = cache_folder() / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pass  # missing or damaged: rebuilt below
    arrays = dict(build())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    except OSError as error:
        warnings.warn(
            f"cannot write {path.name} to {path.parent} ({error}); it will be computed again next "
            f"time. Set {CACHE_ENV} to a writable folder.",
            stacklevel=2,
        )
    return arrays
