"""Reading files of data sets, with errors that name the file."""

from __future__ import annotations

import hashlib
import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg._util import archives
from trg.io.images import open_image

T = TypeVar("T")

MAX_JSON_BYTES = 2**28
"""Limit of a JSON file: a manifest that lists a million skipped samples."""

MAX_ARRAY_BYTES = 2**24
"""Limit of each label of a sample, and of each array of a mesh."""

DAMAGED_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""Exceptions of Pillow for truncated or corrupted files."""

DAMAGED_ARRAYS = (
    OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, SyntaxError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""Exceptions of NumPy for truncated or corrupted .npy and .npz files."""


class UnreadableFileError(ValueError):
    """A file exists, but is truncated, damaged or of another kind; the message names it."""


def existing_file(path: Path, dataset: str) -> Path:
    """Return ``path``, or raise FileNotFoundError that names the data set."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: this file of {dataset} is missing")
    return path


def read_image(path: Path, dataset: str) -> NDArray[np.uint8]:
    """Read an image as ``(h, w, 3)`` uint8 RGB.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableFileError
        The file is truncated or no image.
    """
    try:
        with open_image(existing_file(path, dataset)) as image:
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise
    except DAMAGED_IMAGE as error:
        raise UnreadableFileError(
            f"{path}: this image of {dataset} is damaged ({error})"
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
        The file is damaged, larger than ``MAX_JSON_BYTES``, or holds something else.
    """
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise UnreadableFileError(
            f"{path}: expected JSON of at most {MAX_JSON_BYTES:,} bytes, got {size:,}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(f"{path}: expected JSON, cannot read it ({error})") from error
    if not isinstance(content, dict):
        raise UnreadableFileError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def read_npz(content: bytes | memoryview, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Return those arrays of an .npz file that are in it, of at most ``MAX_ARRAY_BYTES`` each.

    Raises ValueError as :func:`trg._util.archives.read_npz` does.
    """
    content = bytes(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = set(archive.namelist())
    except Exception as error:  # zipfile raises any exception for damaged bytes
        raise ValueError(f"it is damaged or no .npz file ({error})") from error
    found = [name for name in names if f"{name}.npy" in members]
    return archives.read_npz(content, found, MAX_ARRAY_BYTES)


@contextmanager
def named_damage(path: Path) -> Iterator[None]:
    """Turn errors of decoding a file into UnreadableFileError, which names it."""
    try:
        yield
    except Exception as error:  # decoders raise any exception for damaged bytes
        raise UnreadableFileError(f"{path}: damaged ({error})") from error


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_or_error(read: Callable[[int], T], index: int) -> T | OSError | ValueError:
    """Read an item of a dataset, or return the error if it is missing, damaged or wrong.

    For loops that report such items and continue. Other errors are raised.
    """
    try:
        return read(index)
    except (OSError, ValueError) as error:
        return error
