"""Predictions as a file: saved first, then scored, so that any method is scored by one code.

The file is an ``.npz`` (docs/evaluation.md describes it for those who write their own)::

    schema           "trg predictions 1"
    names            (n,) text: the data set's names of the pictures
    rotation         (n, 3, 3) cam_from_head
    found            (n,) bool, optional: False where the method found no face
    translation_m    (n, 3), optional
    vertices_m       (n, v, 3), optional: landmarks in head space
    landmarks68_px   (n, 68, 2), optional
    box_xyxy         (n, 4) px, optional: the box the method worked from
    facts            JSON text, optional: see PredictionMetadata
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

from trg._util.atomic import write_atomic
from trg._util.checks import finite_array
from trg.geometry.rotations import checked_rotation
from trglab.datasets.files import DAMAGED_ARRAYS

SCHEMA = "trg predictions 1"

_OPTIONAL: dict[str, tuple[tuple[int | None, ...], type[Any]]] = {
    "translation_m": ((None, 3), np.float64),
    "vertices_m": ((None, None, 3), np.float32),
    "landmarks68_px": ((None, 68, 2), np.float64),
    "box_xyxy": ((None, 4), np.float64),
}


@dataclass(frozen=True, slots=True)
class PredictionMetadata:
    """Where predictions come from. Empty text: nobody said."""

    method: str = ""
    """What to call it in tables."""
    bundle_sha256: str = ""
    """Of the weight bundle's file."""
    dataset: str = ""
    """The protocol's name: ``biwi``."""
    dataset_sha256: str = ""
    """Of the labels they were made beside; scoring against others is refused."""
    mesh_sha256: str = ""
    """Of the triangles of ``vertices_m`` (:func:`mesh_sha256`): vertices of another mesh are not
    compared."""
    settings: dict[str, Any] = field(default_factory=dict)
    """How they were made: boxes, crop size, a limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a method says about n pictures. Rows where nothing was found hold zeros.

    Attributes are the arrays of the file (see the module); ``rotation`` and ``translation_m``
    are ``cam_from_head`` and metres, float64.

    Raises
    ------
    ValueError
        A shape is wrong, a name comes twice, a row that was found holds NaN or no rotation.
    """

    names: tuple[str, ...]
    rotation: NDArray[np.float64]
    found: NDArray[np.bool_]
    translation_m: NDArray[np.float64] | None = None
    vertices_m: NDArray[np.float32] | None = None
    landmarks68_px: NDArray[np.float64] | None = None
    box_xyxy: NDArray[np.float64] | None = None
    facts: PredictionMetadata = field(default_factory=PredictionMetadata)

    def __post_init__(self) -> None:
        count = len(self.names)
        if len(set(self.names)) != count:
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"names: expected each picture once, got {twice!r} again")
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
        """Return one row for each of ``names``; those that are missing count as not found.

        Predictions for other pictures are left out.

        Raises
        ------
        ValueError
            All predictions are for pictures that are not among ``names``.
        """
        place = {name: row for row, name in enumerate(self.names)}
        if self.names and not set(self.names) & set(names):
            raise ValueError(
                f"predictions: all {len(self)} are for pictures that the data set does not have, "
                f"such as {self.names[0]!r}; expected names such as {names[0]!r}"
            )
        rows = np.array([place.get(name, -1) for name in names], dtype=np.int64)
        moved: dict[str, Any] = {
            name: None if (array := getattr(self, name)) is None else _take(array, rows)
            for name in ("rotation", *_OPTIONAL)
        }
        # A missing picture takes the last row's place, and its numbers go when ``found`` is False.
        found = (rows >= 0) & (self.found[rows] if len(self) else False)
        return replace(self, names=tuple(names), found=found, **moved)


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write the file, whole or not at all.

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
        "facts": np.array(json.dumps(asdict(predictions.facts), sort_keys=True)),
    }
    for name in _OPTIONAL:
        if (value := getattr(predictions, name)) is not None:
            arrays[name] = value
    write_atomic(Path(path), lambda file: np.savez(file, **arrays))


def read_predictions(path: str | Path) -> Predictions:
    """Read anybody's predictions.

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
    facts = _facts(path, str(arrays.pop("facts", "{}")))
    try:
        return Predictions(names, facts=facts, **arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def mesh_sha256(triangles: ArrayLike) -> str:
    """Return what tells meshes apart: the SHA-256 of triangles ``(m, 3)`` as int32, hex."""
    numbers = np.ascontiguousarray(triangles, dtype="<i4")
    return hashlib.sha256(numbers.tobytes()).hexdigest()


def _rows(
    name: str,
    value: ArrayLike,
    found: NDArray[np.bool_],
    shape: tuple[int | None, ...],
    dtype: type[Any],
) -> NDArray[Any]:
    """Check the rows that were found, and put zeros into the others."""
    array = np.array(value, dtype=dtype)
    if array.ndim != len(shape) or len(array) != len(found):
        raise ValueError(
            f"{name}: expected {len(found)} rows of {len(shape) - 1} axes, got shape {array.shape}"
        )
    array[~found] = 0
    return finite_array(name, array, shape, dtype)


def _take(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    return array[rows] if len(array) else np.zeros((len(rows), *array.shape[1:]), array.dtype)


def _facts(path: Path, text: str) -> PredictionMetadata:
    try:
        numbers = json.loads(text)
        known = {item.name for item in fields(PredictionMetadata)}
        return PredictionMetadata(**{key: numbers[key] for key in known & set(numbers)})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: facts: expected a JSON object, got {text[:80]!r}") from error
