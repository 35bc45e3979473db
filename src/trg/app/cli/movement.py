"""The verb ``trg movement``: nods, shakes, tilts, speeds and distances from records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from trg.app.cli.shared import messages


def movement(
    *results: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    plots: bool = True,
    overwrite: bool = False,
) -> None:
    """Measure how heads move in the videos of records: nods, shakes, tilts, speeds, distances.

    A row per identity and video, as CSV on standard output unless a folder is given
    (docs/movement.md explains the columns).

    Parameters
    ----------
    results
        Records of ``trg predict`` in any format, or CSV that OpenFace wrote.
    out
        Folder for ``movement.csv``, ``gestures.csv`` (each nod, shake and tilt with its time) and
        a plot per video.
    plots
        Draw plots; they need the extra ``plots``.
    overwrite
        Replace files of the same names.
    """
    from trg.app.movement_files import summary_csv, write_movement
    from trg.io.records.readers import read_poses
    from trg.movement.summary import MIN_FRAMES_PER_S, measure_movement

    if not results:
        raise ValueError("results: expected records of trg predict")
    tables = [read_poses(path) for path in results]
    names = [name for table in tables for name in dict.fromkeys(table.source)]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{repeated!r}: expected each video once, found it in several results")
    movements = [each for table in tables for each in measure_movement(table)]
    if not movements:
        messages.print(escape(f"{', '.join(names)}: no face in any frame"), highlight=False)
    slow = sorted({each.source for each in movements if each.nods is None})
    if slow:
        messages.print(
            escape(
                f"{slow[0]}: below {MIN_FRAMES_PER_S:g} frames per second nods and shakes are not "
                f"counted" + (f"; {len(slow) - 1} more" if slow[1:] else "")
            ),
            highlight=False,
        )
    if out is None:
        sys.stdout.write(summary_csv(movements))
        return
    written = write_movement(out, tables, movements, plots=plots, overwrite=overwrite)
    messages.print(escape(f"{out}: {', '.join(path.name for path in written)}"), highlight=False)
