"""Labels in MATLAB files: read with SciPy, or an error that names the file."""

from __future__ import annotations

import importlib
import zlib
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trg._util.checks import finite_array
from trglab.datasets.files import UnreadableFileError, existing_file


def matlab_files() -> Any:
    """Return SciPy's reader and writer of MATLAB files, or say how to install it.

    Raises
    ------
    ImportError
        SciPy is not installed.
    """
    try:
        return importlib.import_module("scipy.io")
    except ImportError as error:
        raise ImportError(
            "300W-LP and AFLW2000-3D keep their labels in MATLAB files, which need SciPy: "
            "pip install 'trg-headpose[train]'"
        ) from error


def read_matlab(
    path: Path, variable: str, shape: tuple[int | None, ...], dataset: str
) -> NDArray[Any]:
    """Read one variable of a MATLAB 5 file as a matrix of ``shape`` (None: any length).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableFileError
        The file is cut off or of another kind.
    ValueError
        The variable is missing, of another shape or not finite.
    """
    existing_file(path, dataset)
    matlab = matlab_files()
    # SciPy does not validate: the exception for a damaged file depends on where the damage is.
    damaged = (ValueError, TypeError, LookupError, NotImplementedError, OSError, zlib.error)
    try:
        content = matlab.loadmat(str(path))
    except (*damaged, matlab.matlab.MatReadError) as error:
        raise UnreadableFileError(
            f"{path}: expected a MATLAB 5 file, could not read it ({error})"
        ) from error
    if variable not in content:
        raise ValueError(f"{path}: expected the variable {variable}, got {sorted(content)}")
    return finite_array(f"{path}: {variable}", content[variable], shape)
