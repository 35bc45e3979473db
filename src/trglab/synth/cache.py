"""Results that take seconds to compute, kept in the user's cache folder."""

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

from trg._util.atomic import write_atomic

CACHE_ENV = "TRG_CACHE"

Arrays = dict[str, NDArray[Any]]


def cache_folder() -> Path:
    """Return the folder for cached results: ``$TRG_CACHE``, else ``trg`` in the platform's own."""
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
    """Return a short hash of what ``path`` holds.

    A file is read whole; of a folder, the names, sizes and times of its files count.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(path.iterdir()):
            stat = file.stat()
            digest.update(f"{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    else:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:24]


def cached_arrays(name: str, build: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
    """Return the arrays stored under ``name``, or build and store them.

    A file that cannot be read is built again. A file appears whole or not at all, also when
    several processes write it. Where nothing can be written, a warning says so and the arrays
    come back all the same.
    """
    path = cache_folder() / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pass  # absent or damaged: both are mended below
    arrays = dict(build())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    except OSError as error:
        warnings.warn(
            f"cannot keep {path.name} in {path.parent} ({error}); it will be computed again next "
            f"time. Set {CACHE_ENV} to a folder that can be written.",
            stacklevel=2,
        )
    return arrays
