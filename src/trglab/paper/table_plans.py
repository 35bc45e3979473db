"""What each of the paper's tables compares: columns, rows, and the figures it printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trglab.evaluation.protocols import ROTATION, TRANSLATION
from trglab.evaluation.published import TABLE_2_AND_3, TABLE_4, PublishedRow

Role = Literal["near", "far"]
"""The test set like the training's data, ARKitFace in the paper; the one unlike it, BIWI."""

Statistic = Literal["mean", "median"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: an error on one of the two test sets."""

    role: Role
    error: str
    """As in :mod:`trglab.evaluation.scores`"""
    statistic: Statistic = "mean"

    @property
    def key(self) -> str:
        """Name of the column in JSON, with the unit."""
        return f"{self.role}_{self.error}_{self.statistic}"


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One of our rows: a network, and how its pose is found."""

    name: str
    """For ``--rows`` and folders."""
    label: str
    network: str
    """Which training: a row of Table 1, or a rival of :mod:`trglab.paper.baselines`."""
    way: Literal["own", "pnp-predicted", "pnp-mean", "pnp-dense", "local"] = "own"
    """The network's own pose, PnP on its landmarks, or the pose in img2pose's camera."""
    has_shape: bool = True
    """Whether its vertices are an estimate, so that their errors mean something."""
    published: str = ""
    """The row of the paper that it stands beside."""


@dataclass(frozen=True, slots=True)
class PaperLine:
    """A row as the paper printed it, its figures by :attr:`Column.key`."""

    label: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """One table."""

    number: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[MethodRow, ...]
    paper: tuple[PaperLine, ...]

    def chosen(self, names: Sequence[str] | None) -> tuple[MethodRow, ...]:
        """Return the lines of these names, all without any.

        Raises
        ------
        ValueError
            There is no such line.
        """
        known = {line.name: line for line in self.lines}
        unknown = sorted(set(names or ()) - set(known))
        if unknown:
            raise ValueError(f"rows: expected some of {list(known)}, got {unknown}")
        return tuple(known[name] for name in names) if names else self.lines


FULL = MethodRow("full", "TRG (full)", "full", published="TRG (Ours)")

_TABLE_1_COLUMNS = (
    Column("near", "landmarks_mm"),
    Column("near", "mae_r_deg"),
    Column("near", "mae_t_mm"),
    Column("near", "add_mm"),
    Column("far", "mae_r_deg"),
    Column("far", "mae_t_mm"),
    Column("far", "add_mm"),
)


def _ablation(label: str, *figures: float | None) -> PaperLine:
    named = zip(_TABLE_1_COLUMNS, figures, strict=True)
    return PaperLine(label, {column.key: value for column, value in named if value is not None})


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
        FULL,
    ),
    (
        _ablation("1-iter (w/o MS)", 1.69, 1.00, 3.70, 8.93, 3.28, 13.74, 32.28),
        _ablation("2-iter (w/o MS)", 1.66, 0.89, 3.61, 8.72, 2.95, 13.77, 31.28),
        _ablation("3-iter (w/o MS)", 1.57, 0.88, 3.63, 8.71, 2.59, 13.67, 31.52),
        _ablation("T_t-prediction", 1.66, 0.92, 4.64, 11.66, 8.81, 1700.0, 5100.0),
        _ablation("Landmark-free baseline", None, 1.03, 3.86, 9.34, 3.87, 18.42, 42.22),
        _ablation("Grid sampled baseline", 1.59, 0.95, 3.74, 8.99, 2.98, 14.58, 35.04),
        _ablation("TRG (Ours)", 1.58, 0.91, 3.62, 8.68, 2.75, 12.97, 29.46),
    ),
)
"""The ablation. The paper prints the T_t-prediction's last two figures as 1.7K and 5.1K."""

_RIVALS = (
    MethodRow(
        "local",
        "pose in the box, as img2pose",
        "local",
        way="local",
        has_shape=False,
    ),
    MethodRow("direct", "direct 6DoF regression", "direct", has_shape=False),
    MethodRow("pnp-mean", "68 landmarks, mean face, PnP", "full", way="pnp-mean", has_shape=False),
    MethodRow(
        "pnp-dense", "dense landmarks, mean face, PnP", "full", way="pnp-dense", has_shape=False
    ),
    MethodRow("pnp-predicted", "68 landmarks, predicted face, PnP", "full", way="pnp-predicted"),
    MethodRow("full", "TRG", "full"),
)


def _paper_lines(rows: Sequence[PublishedRow], columns: Sequence[Column]) -> tuple[PaperLine, ...]:
    lines = []
    for row in rows:
        of = {"mean": row.means, "median": row.medians}
        values = {
            column.key: of[column.statistic][column.error]
            for column in columns
            if column.error in of[column.statistic]
        }
        if values:
            lines.append(PaperLine(row.method, values))
    return tuple(lines)


def _against_others(
    number: str,
    title: str,
    columns: tuple[Column, ...],
    lines: tuple[MethodRow, ...],
    published: Sequence[PublishedRow],
) -> TableDefinition:
    return TableDefinition(number, title, columns, lines, _paper_lines(published, columns))


TABLE_2 = _against_others(
    "2",
    "Table 2: head pose beside other methods",
    tuple(Column("near", error) for error in ("mae_r_deg", "ge_deg", "mae_t_mm", "add_mm")),
    _RIVALS,
    TABLE_2_AND_3,
)

TABLE_3 = _against_others(
    "3",
    "Table 3: dense landmarks beside other methods",
    (Column("near", "landmarks_mm", "median"), Column("near", "landmarks_mm", "mean")),
    (
        MethodRow("mean-face", "mean face, whatever the picture", "full", way="pnp-mean"),
        MethodRow("1-iter", "TRG, 1-iter", "1-iter"),
        MethodRow("full", "TRG", "full"),
    ),
    TABLE_2_AND_3,
)

TABLE_4_PLAN = _against_others(
    "4",
    "Table 4: head pose beside other methods, on another data set than the training's",
    tuple(Column("far", error) for error in (*ROTATION, *TRANSLATION)),
    _RIVALS,
    TABLE_4,
)

TABLES = {plan.number: plan for plan in (TABLE_1, TABLE_2, TABLE_3, TABLE_4_PLAN)}
"""By number."""

FIGURE_4_LINES = tuple(
    line for line in _RIVALS if line.name in ("full", "pnp-predicted", "pnp-mean")
)[::-1]
"""Who is drawn beside the ground truth in Fig. 4, in the order of its colours."""
