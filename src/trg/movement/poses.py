"""Poses over time: the table from which movement is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.geometry.axes import CAMERA_AXES, HEAD_AXES, FrameConvention
from trg.geometry.rotations import checked_rotation

Floats = NDArray[np.float64]

NO_FACE = -1
"""Identity in the rows of frames without faces."""

ROTATION_COLUMNS = tuple(f"r{row}{column}" for row in range(3) for column in range(3))
TRANSLATION_COLUMNS = ("tx_m", "ty_m", "tz_m")


class Track(NamedTuple):
    """The poses of one identity in one source, in order of time."""

    source: str
    face_id: int
    time_s: Floats
    """``(n,)``, increasing."""
    rotation: Floats
    """``(n, 3, 3)``: ``cam_from_head``."""
    translation_m: Floats
    """``(n, 3)``."""
    frame_times_s: Floats
    """``(m,)``: the times of all frames of the source, with the identity or without."""


@dataclass(frozen=True, slots=True, eq=False)
class PoseTable:
    """One row per face and frame, and one for a frame without faces, in OpenCV's axes.

    Validated on construction. Raises ValueError if lengths differ, a row with a face is not finite,
    or a rotation is none.
    """

    source: tuple[str, ...]
    """n names of videos."""
    time_s: Floats
    """``(n,)``."""
    face_id: NDArray[np.int64]
    """``(n,)``: identities; :data:`NO_FACE` in frames without faces."""
    rotation: Floats
    """``(n, 3, 3)``: ``cam_from_head``; any value where there is no face."""
    translation_m: Floats
    """``(n, 3)``: any value where there is no face."""

    def __post_init__(self) -> None:
        count = len(self.source)
        face_id = finite_array("face_id", self.face_id, (count,), np.int64)
        if (face_id < NO_FACE).any():
            raise ValueError(f"face_id: expected numbers from 0, got {face_id.min()}")
        object.__setattr__(self, "face_id", face_id)
        object.__setattr__(self, "time_s", finite_array("time_s", self.time_s, (count,)))
        has_face = face_id != NO_FACE
        rotation = np.array(self.rotation, dtype=np.float64)
        translation_m = np.array(self.translation_m, dtype=np.float64)
        if rotation.shape != (count, 3, 3) or translation_m.shape != (count, 3):
            raise ValueError(
                f"poses: expected shapes ({count}, 3, 3) and ({count}, 3), got {rotation.shape} "
                f"and {translation_m.shape}"
            )
        rotation[~has_face], translation_m[~has_face] = np.eye(3), 0.0
        object.__setattr__(self, "rotation", checked_rotation("rotation", rotation, (count, 3, 3)))
        translation_m = finite_array("translation_m", translation_m, (count, 3))
        object.__setattr__(self, "translation_m", translation_m)

    @classmethod
    def from_columns(cls, table: Any) -> PoseTable:
        """Build from a table with the column names of CSV or Parquet records.

        Parameters
        ----------
        table
            A pandas or Polars data frame, an Arrow table, or a dict of sequences. Needed:
            ``time_s``, ``face_id``, the rotation (``r00`` to ``r22``, or ``rotation`` with nine
            numbers a row) and the translation (``tx_m``, ``ty_m``, ``tz_m``, or
            ``translation_m``). Optional: ``source``; ``axes`` (docs/outputs.md). Rows without a
            time, as photos and failed inputs have, are left out; those without ``face_id`` are
            frames without faces.

        Raises
        ------
        ValueError
            A column is missing or holds something else.
        """
        names = _column_names(table)
        if missing := sorted({"time_s", "face_id"} - names):
            raise ValueError(
                f"table: expected the columns of CSV or Parquet records, {missing} missing"
            )
        time_s = _numbers("time_s", table["time_s"])
        count = len(time_s)
        face_id = _numbers("face_id", table["face_id"])
        face_id = np.where(np.isnan(face_id), NO_FACE, face_id)
        if (face_id % 1.0 != 0.0).any():
            raise ValueError("face_id: expected whole numbers")
        has_face = face_id != NO_FACE
        rotation = _vectors(table, names, "rotation", ROTATION_COLUMNS, has_face).reshape(-1, 3, 3)
        translation_m = _vectors(table, names, "translation_m", TRANSLATION_COLUMNS, has_face)
        source = [str(each) for each in table["source"]] if "source" in names else [""] * count
        if "axes" in names:
            rotation, translation_m = _in_opencv(table["axes"], rotation, translation_m)
        timed = ~np.isnan(time_s)
        return cls(
            tuple(each for each, is_timed in zip(source, timed, strict=True) if is_timed),
            time_s[timed],
            face_id[timed].astype(np.int64),
            rotation[timed],
            translation_m[timed],
        )

    def tracks(self) -> Iterator[Track]:
        """Yield the poses of each identity of each source, in the order of the rows.

        Raises ValueError if an identity has two poses at the same time.
        """
        sources = np.array(self.source, dtype=np.object_)
        for name in dict.fromkeys(self.source):
            in_source = sources == name
            frame_times_s = np.unique(self.time_s[in_source])
            for face_id in dict.fromkeys(self.face_id[in_source].tolist()):
                if face_id == NO_FACE:
                    continue
                rows = np.flatnonzero(in_source & (self.face_id == face_id))
                rows = rows[np.argsort(self.time_s[rows], kind="stable")]
                time_s = self.time_s[rows]
                if (np.diff(time_s) <= 0.0).any():
                    twice_s = float(time_s[:-1][np.diff(time_s) <= 0.0][0])
                    raise ValueError(
                        f"{name or 'table'}: expected each identity once a frame, got face "
                        f"{face_id} twice at {twice_s:g} s; several videos need the column source"
                    )
                poses = self.rotation[rows], self.translation_m[rows]
                yield Track(name, face_id, time_s, *poses, frame_times_s)


def _column_names(table: Any) -> set[str]:
    names = getattr(table, "column_names", None)  # Arrow
    if names is None:
        names = getattr(table, "columns", None)  # pandas, Polars
    if names is None:
        names = table.keys()
    return {str(name) for name in names}


def _numbers(name: str, values: Any) -> Floats:
    """Return a column as floats; missing values become NaN."""
    values = values.to_numpy() if hasattr(values, "to_numpy") else values
    try:
        return np.array([np.nan if each is None or each == "" else each for each in values], float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected a column of numbers, {error}") from error


def _vectors(
    table: Any, names: set[str], joined: str, single: Sequence[str], has_face: NDArray[np.bool_]
) -> Floats:
    """Return a column of lists, or several of numbers, as ``(n, k)``; zeros without a face."""
    if set(single) <= names:
        vectors = np.stack([_numbers(name, table[name]) for name in single], axis=1)
        vectors[~has_face] = 0.0
        return vectors
    if joined not in names:
        raise ValueError(
            f"table: expected the columns {single[0]} to {single[-1]}, or {joined}, found none"
        )
    vectors = np.zeros((len(has_face), len(single)))
    column = table[joined]
    rows = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    for row in np.flatnonzero(has_face):
        values = np.asarray(rows[row], dtype=np.float64).ravel()
        if values.shape != (len(single),):
            raise ValueError(f"{joined}: expected {len(single)} numbers a row, got {values.size}")
        vectors[row] = values
    return vectors


def _in_opencv(axes: Any, rotation: Floats, translation_m: Floats) -> tuple[Floats, Floats]:
    """Convert poses from the axes of a column of programs' names."""
    axes = axes.to_pylist() if hasattr(axes, "to_pylist") else list(axes)
    known = get_args(FrameConvention)
    written = np.array([each if isinstance(each, str) and each else "opencv" for each in axes])
    if unknown := sorted(set(written.tolist()) - set(known)):
        raise ValueError(f"axes: expected one of {known}, got {unknown[0]!r}")
    for name in set(written.tolist()) - {"opencv"}:
        rows = written == name
        camera, head = CAMERA_AXES[name], HEAD_AXES[name]
        rotation[rows] = camera.T @ rotation[rows] @ head
        translation_m[rows] = translation_m[rows] @ camera
    return rotation, translation_m
