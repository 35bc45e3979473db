"""Files of data sets: there and readable, or an error that names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

T = TypeVar("T")

DAMAGED_PICTURE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files that are cut off or have flipped bits."""


class UnreadableFileError(ValueError):
    """A file is there, but cut off, damaged or of another kind; the message names it."""


def existing_file(path: Path, dataset: str) -> Path:
    """Return ``path``, or raise FileNotFoundError that says which data set misses it."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: this file of {dataset} is missing")
    return path


def read_picture(path: Path, dataset: str) -> NDArray[np.uint8]:
    """Read a picture as ``(h, w, 3)`` uint8 RGB.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableFileError
        The file is cut off or no picture.
    """
    try:
        with Image.open(existing_file(path, dataset)) as picture:
            return np.array(picture.convert("RGB"))
    except FileNotFoundError:
        raise
    except DAMAGED_PICTURE as error:
        raise UnreadableFileError(
            f"{path}: this picture of {dataset} is damaged ({error})"
        ) from error


def read_or_error(read: Callable[[int], T], index: int) -> T | OSError | ValueError:
    """Read an item of a data set; return the error where it is missing, damaged or wrong.

    For loops that report such items and go on; all other errors are raised.
    """
    try:
        return read(index)
    except (OSError, ValueError) as error:
        return error
