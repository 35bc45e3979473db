"""Definitions of the paper's Tables 1 to 4: columns, the rows measured here, the printed rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trglab.evaluation import published
from trglab.evaluation.protocols import ROTATION_ERRORS, TRANSLATION_ERRORS
from trglab.evaluation.published import PublishedRow

Role = Literal["near", "far"]
"""Test set: near is similar to the training data (ARKitFace in the paper), far is not (BIWI)."""

PoseMethod = Literal["network", "pnp-predicted", "pnp-mean", "pnp-dense", "local"]
"""Source of the pose: the network's own, PnP on its landmarks
(:class:`~trglab.paper.baselines.PnPNetwork`), or its pose in the camera of the face box
(:class:`~trglab.paper.img2pose.LocalPoseNetwork`)."""


TrainingSets = Literal["both", "arkitface"]
"""Training data: ARKitFace and 300W-LP, the paper's default, or ARKitFace alone."""

SINGLE_ROW = "full-single"
"""The full network trained on ARKitFace alone, beside one trained on both data sets"""

TRG_ROWS: Mapping[TrainingSets, tuple[str, str]] = {
    "both": ("TRG, ARKitFace and 300W-LP", "TRG, several sets"),
    "arkitface": ("TRG, ARKitFace alone", "TRG, ARKitFace alone"),
}
"""Label of the full network and of the printed row in Tables 2 to 4, by training data"""


V2_ROW = "v2"
"""The network of the paper's successor TRGv2, trained like the other rows: 2-iter of Table 1"""


@dataclass(frozen=True, slots=True)
class Column:
    """One statistic of an error on one of the two test sets."""

    role: Role
    error: str
    """As in :mod:`trglab.evaluation.scores`"""
    statistic: Literal["mean", "median"] = "mean"

    @property
    def key(self) -> str:
        """Name of the column in JSON, with the unit."""
        return f"{self.role}_{self.error}_{self.statistic}"


@dataclass(frozen=True, slots=True)
class MethodRow:
    """A row that is measured here: a trained network and the source of its pose."""

    name: str
    """For ``--rows`` and folders"""
    label: str
    network: str
    """Name of a variant (:func:`trglab.paper.variants.variant_configs`)"""
    pose_method: PoseMethod = "network"
    has_shape: bool = True
    """Whether its vertices are an estimate, so that landmark errors are reported"""
    published: str = ""
    """Label of the printed row that it reproduces"""


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """One of the paper's tables."""

    number: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[MethodRow, ...]
    published: Mapping[str, Mapping[str, float]]
    """Printed numbers by the row's label and :attr:`Column.key`"""

    @property
    def compares_trainings(self) -> bool:
        """Whether the paper prints TRG's rows of both :data:`TrainingSets`."""
        return any(row.name == SINGLE_ROW for row in self.rows)

    def select(self, names: Sequence[str] | None) -> tuple[MethodRow, ...]:
        """Return the rows of these names in this order, or all rows.

        Raises
        ------
        ValueError
            There is no such row.
        """
        known = {row.name: row for row in self.rows}
        if unknown := sorted(set(names or ()) - set(known)):
            raise ValueError(f"rows: expected some of {list(known)}, got {unknown}")
        return tuple(known[name] for name in names) if names else self.rows


def _printed(
    rows: Sequence[PublishedRow], columns: Sequence[Column]
) -> dict[str, dict[str, float]]:
    """Return the printed numbers of a table's columns; rows without any are left out."""
    table = {}
    for row in rows:
        by_statistic = {"mean": row.means, "median": row.medians}
        table[row.method] = {
            column.key: by_statistic[column.statistic][column.error]
            for column in columns
            if column.error in by_statistic[column.statistic]
        }
    return {label: values for label, values in table.items() if values}


_TABLE_1_COLUMNS = tuple(Column(role, error) for role, error in published.TABLE_1_COLUMNS)

_V2 = MethodRow(V2_ROW, "TRGv2's network", "2-iter", published="TRGv2")

TABLE_1 = TableDefinition(
    "1",
    "Table 1: what each part of TRG is worth",
    _TABLE_1_COLUMNS,
    (
        MethodRow("1-iter", "1-iter (w/o MS)", "1-iter", published="1-iter (w/o MS)"),
        MethodRow("2-iter", "2-iter (w/o MS)", "2-iter", published="2-iter (w/o MS)"),
        MethodRow("3-iter", "3-iter (w/o MS)", "3-iter", published="3-iter (w/o MS)"),
        MethodRow("t-prediction", "T-prediction", "t-prediction", published="T_t-prediction"),
        MethodRow(
            "landmark-free",
            "landmark-free",
            "landmark-free",
            has_shape=False,
            published="Landmark-free baseline",
        ),
        MethodRow(
            "grid-sampled", "grid sampled", "grid-sampled", published="Grid sampled baseline"
        ),
        MethodRow("full", "TRG (full)", "full", published="TRG (Ours)"),
        _V2,
    ),
    {
        label: {
            column.key: value
            for column, value in zip(_TABLE_1_COLUMNS, values, strict=True)
            if value is not None
        }
        for label, values in published.TABLE_1.items()
    },
)
"""Ablation study, trained on both data sets."""

_POSE_METHODS = (
    MethodRow(
        "local", "pose in the box, as img2pose", "local", pose_method="local", has_shape=False
    ),
    MethodRow("direct", "direct 6DoF regression", "direct", has_shape=False),
    MethodRow(
        "pnp-mean",
        "68 landmarks, mean face, PnP",
        "full",
        pose_method="pnp-mean",
        has_shape=False,
    ),
    MethodRow(
        "pnp-dense",
        "dense landmarks, mean face, PnP",
        "full",
        pose_method="pnp-dense",
        has_shape=False,
    ),
    MethodRow(
        "pnp-predicted", "68 landmarks, predicted face, PnP", "full", pose_method="pnp-predicted"
    ),
    _V2,
    MethodRow(SINGLE_ROW, "TRG", "full", published=TRG_ROWS["arkitface"][1]),
    MethodRow("full", "TRG", "full", published=TRG_ROWS["both"][1]),
)
_TABLE_2_COLUMNS = tuple(
    Column("near", error) for error in ("mae_r_deg", "ge_deg", "mae_t_mm", "add_mm")
)
_TABLE_3_COLUMNS = (
    Column("near", "landmarks_mm", "median"),
    Column("near", "landmarks_mm", "mean"),
)
_TABLE_4_COLUMNS = tuple(Column("far", error) for error in (*ROTATION_ERRORS, *TRANSLATION_ERRORS))

TABLE_2 = TableDefinition(
    "2",
    "Table 2: head pose beside other methods",
    _TABLE_2_COLUMNS,
    _POSE_METHODS,
    _printed((*published.TABLE_2_AND_3, *published.V2_ARKITFACE), _TABLE_2_COLUMNS),
)
"""Head pose on ARKitFace."""

TABLE_3 = TableDefinition(
    "3",
    "Table 3: dense landmarks beside other methods",
    _TABLE_3_COLUMNS,
    (
        MethodRow("mean-face", "mean face for every image", "full", pose_method="pnp-mean"),
        MethodRow("1-iter", "TRG, 1-iter", "1-iter"),
        *_POSE_METHODS[-2:],
    ),
    _printed(published.TABLE_2_AND_3, _TABLE_3_COLUMNS),
)
"""Dense landmarks on ARKitFace."""

TABLE_4 = TableDefinition(
    "4",
    "Table 4: head pose beside other methods, on another data set than the training's",
    _TABLE_4_COLUMNS,
    _POSE_METHODS,
    _printed((*published.TABLE_4, *published.V2_BIWI), _TABLE_4_COLUMNS),
)
"""Head pose on BIWI."""

TABLES = {table.number: table for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4)}
"""By number."""

FIGURE_4_ROWS = tuple(
    row for row in reversed(_POSE_METHODS) if row.name in ("full", "pnp-predicted", "pnp-mean")
)
"""Methods drawn beside the ground truth in Fig. 4, in the order of their colors."""
