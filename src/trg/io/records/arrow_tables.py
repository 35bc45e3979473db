"""Faces as rows of Arrow tables, which Parquet files hold.

A row per face, and one for a photo or frame without faces; a failed input has a row with its error
and nothing else. Lists have fixed sizes, so that a column is one array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.face_mesh import LANDMARK_GROUPS
from trg.geometry.shape_basis import EXPRESSION_NAMES
from trg.io.records.frame_record import (
    DISTORTION_NAMES,
    INTRINSIC_NAMES,
    FrameFaces,
    Pose3D,
    frame_columns,
)

DENSE_LANDMARKS = 1220

Column = tuple[str, int, Callable[[Face, Pose3D], Any]]
"""NumPy's name of the type, values per row (0: no list), and the values of a face in its axes."""

FACE_COLUMNS: dict[str, Column] = {
    "confidence": ("float32", 0, lambda face, _: face.confidence),
    "box_xyxy_px": ("float32", 4, lambda face, _: face.box_xyxy),
    "rotation": ("float32", 9, lambda _, pose: pose.rotation),
    "translation_m": ("float32", 3, lambda _, pose: pose.translation_m),
    "yaw_pitch_roll_deg": ("float32", 3, lambda face, _: face.euler()),
    "yaw_pitch_roll_sight_deg": ("float32", 3, lambda face, _: face.euler(relative_to="sight")),
    "distance_m": ("float32", 0, lambda face, _: face.distance_m),
    "interpupillary_m": ("float32", 0, lambda face, _: face.interpupillary_m),
    "frame_interpupillary_m": ("float32", 0, lambda face, _: face.frame_interpupillary_m),
    "size_std": ("float32", 0, lambda face, _: face.person_size and face.person_size.std),
    "landmarks68_px": ("float32", 136, lambda face, _: face.landmarks68_px),
    "rotation_std_deg": ("float32", 3, lambda _, pose: pose.rotation_std_deg),
    "translation_std_m": ("float32", 3, lambda _, pose: pose.translation_std_m),
    "landmarks_std_m": ("float32", len(LANDMARK_GROUPS), lambda face, _: face.landmarks_std_m),
    "landmarks_std_px": ("float32", 68, lambda face, _: face.landmarks_std_px),
}
"""Arrays in row-major order: ``r00, r01, ...`` and ``x0, y0, x1, ...``."""

DENSE_COLUMN: dict[str, Column] = {
    "landmarks_m": ("float16", 3 * DENSE_LANDMARKS, lambda _, pose: pose.landmarks_m)
}
"""In the head frame, where float16 is exact to 0.06 mm. Pixels would be exact to one pixel only;
project ``R @ X + T`` instead."""

BLENDSHAPE_COLUMN: dict[str, Column] = {
    "blendshapes": (
        "float32",
        len(EXPRESSION_NAMES),
        lambda face, _: list(face.blendshapes().values()),
    )
}
"""In the order of :data:`~trg.geometry.shape_basis.EXPRESSION_NAMES`."""

FRAME_COLUMNS = {
    "source": "string",
    "frame": "int64",
    "time_s": "float64",
    **dict.fromkeys(("width_px", "height_px"), "int32"),
    **dict.fromkeys((f"{name}_px" for name in INTRINSIC_NAMES), "float64"),
    **dict.fromkeys(DISTORTION_NAMES, "float64"),
    "lens_model": "string",
    "camera_source": "string",
    "axes": "string",
    "face_id": "int64",
}
"""The first columns, with Arrow's names of the types."""

Row = dict[str, Any]


class ArrowTable(NamedTuple):
    """The columns of a table, and the rows of photos and frames in it."""

    landmarks: bool = False
    """With the dense landmarks."""
    blendshapes: bool = False
    """With the expression coefficients."""

    @property
    def columns(self) -> dict[str, Column]:
        """The columns of a face; those of the frame come before, the error after."""
        return {
            **FACE_COLUMNS,
            **(DENSE_COLUMN if self.landmarks else {}),
            **(BLENDSHAPE_COLUMN if self.blendshapes else {}),
        }

    def frame_rows(self, found: FrameFaces) -> list[Row]:
        """Return a row per face, or one without a face.

        Raises ValueError if the dense landmarks are requested, and are not 1220.
        """
        shared = frame_columns(found)
        rows: list[Row] = []
        for face in found.faces:
            row, pose = {**shared, "face_id": face.id}, Pose3D.of(face, found.axes)
            for name, (dtype, width, value_of) in self.columns.items():
                value = value_of(face, pose)
                if value is None:
                    continue
                row[name] = values = np.asarray(value, dtype).ravel()
                if values.size != max(width, 1):
                    raise ValueError(f"{name}: expected {width} numbers, got {values.size}")
            rows.append(row)
        return rows or [shared]

    def error_row(self, source: str, message: str) -> Row:
        """Return the row of a failed input."""
        return {"source": source, "error": message}

    def table(self, rows: Sequence[Row]) -> Any:
        """Return rows as a ``pyarrow.Table``.

        Raises ImportError if the package pyarrow is missing.
        """
        arrow = import_arrow()
        columns = {
            name: arrow.array([row.get(name) for row in rows], getattr(arrow, kind)())
            for name, kind in FRAME_COLUMNS.items()
        }
        for name, (dtype, width, _) in self.columns.items():
            columns[name] = _number_column([row.get(name) for row in rows], dtype, width)
        columns["error"] = arrow.array([row.get("error") for row in rows], arrow.string())
        return arrow.table(columns)


def import_arrow() -> Any:
    """Return the module ``pyarrow``; raises ImportError if it is missing."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "Parquet needs the package pyarrow; install it with: pip install 'trg-headpose[data]'"
        ) from error
    return pyarrow


def _number_column(values: Sequence[NDArray[Any] | None], dtype: str, width: int) -> Any:
    """Return a column of numbers, or of lists of ``width`` numbers; None becomes null."""
    arrow = import_arrow()
    missing = np.array([value is None for value in values], bool)
    zeros = np.zeros(max(width, 1), dtype)
    flat = np.concatenate([zeros if value is None else value for value in values] or [zeros[:0]])
    if not width:
        return arrow.array(flat, mask=missing)
    return arrow.FixedSizeListArray.from_arrays(arrow.array(flat), width, mask=arrow.array(missing))
