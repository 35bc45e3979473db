"""The file format of predictions, through which every method is scored.

An ``.npz`` file with these arrays (documented in docs/evaluation.md)::

    schema           "trg predictions 1"
    names            (n,) text: the data set's names of the images
    rotation         (n, 3, 3) cam_from_head
    found            (n,) bool, optional: False where the method found no face
    translation_m    (n, 3), optional
    vertices_m       (n, v, 3), optional: landmarks in the head frame
    landmarks68_px   (n, 68, 2), optional
    box_xyxy         (n, 4) px, optional: the face box of the method
    std              (n, 86), optional: standard deviations (trg.error_bars)
    facts            JSON text, optional: PredictionMetadata
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg._util.files import write_atomic
from trg.error_bars import STD_COUNT
from trg.geometry.rotations import checked_rotation
from trglab.datasets.files import DAMAGED_ARRAYS

SCHEMA = "trg predictions 1"

_OPTIONAL: dict[str, tuple[tuple[int | None, ...], type[Any]]] = {
    "translation_m": ((None, 3), np.float64),
    "vertices_m": ((None, None, 3), np.float32),
    "landmarks68_px": ((None, 68, 2), np.float64),
    "box_xyxy": ((None, 4), np.float64),
    "std": ((None, STD_COUNT), np.float64),
}


@dataclass(frozen=True, slots=True)
class PredictionMetadata:
    """Origin of predictions; empty text if unknown."""

    method: str = ""
    """Its name in tables"""
    bundle_sha256: str = ""
    """Of the weight bundle's file"""
    dataset: str = ""
    """The protocol's name, such as ``biwi``"""
    dataset_sha256: str = ""
    """Of the labels (:meth:`GroundTruth.sha256`); scoring against other labels is refused"""
    mesh_sha256: str = ""
    """Of the triangles of ``vertices_m`` (:func:`mesh_sha256`); vertices of different meshes are
    not compared"""
    settings: dict[str, Any] = field(default_factory=dict)
    """Such as the rule for boxes or a limit"""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions for n images; rows without a face found hold the identity and zeros.

    The attributes are the arrays of the file, see the module.

    Raises
    ------
    ValueError
        A shape is wrong, names repeat, or a row with a face holds NaN or an invalid rotation.
    """

    names: tuple[str, ...]
    rotation: NDArray[np.float64]
    found: NDArray[np.bool_]
    translation_m: NDArray[np.float64] | None = None
    vertices_m: NDArray[np.float32] | None = None
    landmarks68_px: NDArray[np.float64] | None = None
    box_xyxy: NDArray[np.float64] | None = None
    std: NDArray[np.float64] | None = None
    metadata: PredictionMetadata = field(default_factory=PredictionMetadata)

    def __post_init__(self) -> None:
        count = len(self.names)
        if len(set(self.names)) != count:
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"names: expected each image once, got {twice!r} again")
        found = np.asarray(self.found, dtype=bool)
        if found.shape != (count,):
            raise ValueError(f"found: expected shape ({count},), got {found.shape}")
        rotation = _rows("rotation", self.rotation, found, (None, 3, 3), np.float64)
        rotation[~found] = np.eye(3)
        object.__setattr__(self, "found", found)
        object.__setattr__(self, "rotation", checked_rotation("rotation", rotation, (None, 3, 3)))
        for name, (shape, dtype) in _OPTIONAL.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _rows(name, value, found, shape, dtype))

    def __len__(self) -> int:
        return len(self.names)

    def in_order(self, names: Sequence[str]) -> Predictions:
        """Return one row for each of ``names``; missing ones count as not found.

        Predictions for other images are left out.

        Raises
        ------
        ValueError
            No prediction is for an image among ``names``.
        """
        row_of = {name: row for row, name in enumerate(self.names)}
        if self.names and not set(self.names) & set(names):
            raise ValueError(
                f"predictions: all {len(self)} are for images that the data set does not have, "
                f"such as {self.names[0]!r}; expected names such as {names[0]!r}"
            )
        rows = np.array([row_of.get(name, -1) for name in names], dtype=np.int64)
        taken: dict[str, Any] = {
            name: None if (array := getattr(self, name)) is None else _take(array, rows)
            for name in ("rotation", *_OPTIONAL)
        }
        # Row -1 of a missing image is cleared by the constructor, because ``found`` is False.
        found = (rows >= 0) & (self.found[rows] if len(self) else False)
        return replace(self, names=tuple(names), found=found, **taken)


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write the file atomically.

    Raises
    ------
    OSError
        It cannot be written.
    """
    arrays: dict[str, Any] = {
        "schema": np.array(SCHEMA),
        "names": np.array(predictions.names, dtype=np.str_),
        "rotation": predictions.rotation,
        "found": predictions.found,
        "facts": np.array(json.dumps(asdict(predictions.metadata), sort_keys=True)),
    }
    for name in _OPTIONAL:
        if (value := getattr(predictions, name)) is not None:
            arrays[name] = value
    write_atomic(Path(path), lambda file: np.savez(file, **arrays))


def read_predictions(path: str | Path) -> Predictions:
    """Read a file of predictions, written by this package or by others.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, of another schema, or its arrays do not fit together.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of predictions (.npz), found none")
    known = {"schema", "names", "rotation", "found", "facts", *_OPTIONAL}
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files if name in known}
    except DAMAGED_ARRAYS as error:
        raise ValueError(
            f"{path}: expected predictions as .npz, cannot read it; it is damaged, of another "
            "kind, or holds pickled objects"
        ) from error
    schema = str(arrays.pop("schema", ""))
    if schema != SCHEMA:
        raise ValueError(f"{path}: expected the schema {SCHEMA!r}, got {schema!r}")
    if missing := {"names", "rotation"} - set(arrays):
        raise ValueError(f"{path}: expected at least names and rotation, {sorted(missing)} missing")
    names = tuple(str(name) for name in np.atleast_1d(arrays.pop("names")))
    arrays.setdefault("found", np.ones(len(names), dtype=bool))
    metadata = _read_metadata(path, str(arrays.pop("facts", "{}")))
    try:
        return Predictions(names, metadata=metadata, **arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def mesh_sha256(triangles: ArrayLike) -> str:
    """Return the hex SHA-256 of triangles ``(m, 3)`` as int32, which identifies a mesh."""
    numbers = np.ascontiguousarray(triangles, dtype="<i4")
    return hashlib.sha256(numbers.tobytes()).hexdigest()


def _rows(
    name: str,
    value: ArrayLike,
    found: NDArray[np.bool_],
    shape: tuple[int | None, ...],
    dtype: type[Any],
) -> NDArray[Any]:
    """Check the rows with a face found and set the others to zero."""
    array = np.array(value, dtype=dtype)
    if array.ndim != len(shape) or len(array) != len(found):
        raise ValueError(
            f"{name}: expected {len(found)} rows of {len(shape) - 1} axes, got shape {array.shape}"
        )
    array[~found] = 0
    return finite_array(name, array, shape, dtype)


def _take(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    return array[rows] if len(array) else np.zeros((len(rows), *array.shape[1:]), array.dtype)


def _read_metadata(path: Path, text: str) -> PredictionMetadata:
    try:
        numbers = json.loads(text)
        known = {item.name for item in fields(PredictionMetadata)}
        return PredictionMetadata(**{key: numbers[key] for key in known & set(numbers)})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: facts: expected a JSON object, got {text[:80]!r}") from error
