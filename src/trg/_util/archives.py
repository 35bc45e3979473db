"""Zip archives and NumPy arrays from untrusted files: sizes are checked before memory is taken."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


def read_members(archive: bytes, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Return members of a zip archive by name.

    Parameters
    ----------
    archive
        The archive's bytes.
    limits
        The members to read and the largest size of each, bytes.

    Raises
    ------
    ValueError
        The archive is damaged or not a zip file, a member is missing, encrypted, compressed by
        another method than deflate, or larger than its limit. The message does not name the file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            missing = sorted(set(limits) - set(opened.namelist()))
            if missing:
                raise ValueError(f"it lacks {missing}")
            return {name: _read(opened, name, limit) for name, limit in limits.items()}
    except _ZIP_ERRORS as error:
        raise ValueError(f"it is damaged or of another kind ({error})") from error


def read_npz(archive: bytes, names: Iterable[str], limit: int) -> dict[str, NDArray[Any]]:
    """Return arrays of an ``.npz`` archive by name; ``limit`` is the largest size of each, bytes.

    Raises ValueError as :func:`read_members` does, and for damaged arrays and arrays of objects.
    """
    members = read_members(archive, {f"{name}.npy": limit for name in names})
    arrays = {}
    for name, data in members.items():
        array = read_npy(name, data)
        if array is None:
            raise ValueError(f"{name}: expected a NumPy array of numbers")
        arrays[name.removesuffix(".npy")] = array
    return arrays


def read_npy(name: str, data: bytes, kinds: str = "fiub") -> NDArray[Any] | None:
    """Return the array of an ``.npy`` file; None if its type is of another kind.

    Parameters
    ----------
    kinds
        NumPy's letters of the types that are read; arrays of objects never are.

    Raises
    ------
    ValueError
        The header is damaged, or says another size than the file's. The message has ``name``.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, is_fortran, dtype = read_header(stream)
        if dtype.kind not in kinds:
            return None
        if (
            math.prod(shape) * dtype.itemsize != len(data) - stream.tell()
            or min(shape, default=0) < 0
        ):
            raise ValueError(f"its header says {shape} of {dtype}, its size does not")
        flat = np.frombuffer(data, dtype, offset=stream.tell())
        return flat.reshape(shape, order="F" if is_fortran else "C")
    except _NPY_ERRORS as error:
        raise ValueError(f"{name}: expected a NumPy array, {error}") from error


_NPY_ERRORS = (ValueError, TypeError, KeyError, OverflowError, EOFError, SyntaxError)
"""What NumPy raises for damaged headers, which are Python literals."""

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # compression methods and archive versions that zipfile does not know
    OSError,
    OverflowError,
    RuntimeError,  # encryption
)
"""What zipfile raises for damaged archives."""


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    member = archive.getinfo(name)
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
        raise ValueError(f"{name}: expected a stored or deflated member without encryption")
    # The declared size may be a lie: the read is bounded, too.
    with archive.open(member) as file:
        data = file.read(limit + 1) if member.file_size <= limit else None
    if data is None or len(data) > limit:
        raise ValueError(f"{name}: expected at most {limit} bytes, got {member.file_size}")
    return data
