"""Files of data sets: there and readable, or an error that names them."""

from __future__ import annotations

import hashlib
import json
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

T = TypeVar("T")

DAMAGED_PICTURE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files that are cut off or have flipped bits."""

DAMAGED_ARRAYS = (
    OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, SyntaxError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What NumPy raises for .npy and .npz files that are cut off or have flipped bits."""


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


def read_text(path: Path, dataset: str) -> str:
    """Read a text file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableFileError
        The file is no text.
    """
    try:
        return existing_file(path, dataset).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"{path}: this file of {dataset} is no text ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableFileError
        The file is damaged or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableFileError(f"{path}: expected JSON, cannot read it ({error})") from error
    if not isinstance(content, dict):
        raise UnreadableFileError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_or_error(read: Callable[[int], T], index: int) -> T | OSError | ValueError:
    """Read an item of a data set; return the error where it is missing, damaged or wrong.

    For loops that report such items and go on; all other errors are raised.
    """
    try:
        return read(index)
    except (OSError, ValueError) as error:
        return error
