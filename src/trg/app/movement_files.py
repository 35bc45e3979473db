"""The files of ``trg movement``: tables of identities and of gestures, and a plot per video."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from trg._util.files import write_text_atomic
from trg.app.outputs import fitting_stem
from trg.movement.poses import PoseTable
from trg.movement.summary import Movement

SUMMARY_FILE, GESTURES_FILE, PLOT_SUFFIX = "movement.csv", "gestures.csv", ".movement.png"
GESTURE_COLUMNS = (
    *("source", "face_id", "kind", "start_s", "end_s", "cycles", "amplitude_deg", "direction"),
)
SIGNIFICANT_DIGITS = 6


def summary_csv(movements: Sequence[Movement]) -> str:
    """Return a row per identity and source; values that are not known are empty."""
    return _csv([movement.to_row() for movement in movements])


def gestures_csv(movements: Sequence[Movement]) -> str:
    """Return a row per nod, shake and tilt."""
    rows = [
        {"source": movement.source, "face_id": movement.face_id, **gesture._asdict()}
        for movement in movements
        for gesture in movement.gestures
    ]
    return _csv(rows, GESTURE_COLUMNS)


def write_movement(
    folder: Path,
    tables: Sequence[PoseTable],
    movements: Sequence[Movement],
    *,
    plots: bool = True,
    overwrite: bool = False,
) -> list[Path]:
    """Write both tables, and a plot per video, into a folder; return their paths.

    Raises
    ------
    FileExistsError
        One of the files exists, and is not to be replaced. Nothing is written then.
    ImportError
        The plots need matplotlib, of the extra ``plots``. Nothing is written then.
    OSError
        The folder cannot be written.
    """
    if plots:
        try:
            from trg.app.movement_plot import write_movement_plot
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "plots need the package matplotlib, of the extra `plots`; install it with: pip "
                "install 'trg-headpose[plots]', or leave plots out with --no-plots"
            ) from error
    texts = {SUMMARY_FILE: summary_csv(movements), GESTURES_FILE: gestures_csv(movements)}
    pictures = plot_names(dict.fromkeys(each.source for each in movements)) if plots else {}
    names = [*texts, *pictures.values()]
    existing = next((folder / name for name in names if (folder / name).exists()), None)
    if existing is not None and not overwrite:
        raise FileExistsError(
            f"{existing}: exists already; choose another folder, or replace it with --overwrite"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text_atomic(folder / name, text)
    if plots:
        tracks = [track for table in tables for track in table.tracks()]
        for source, name in pictures.items():
            pairs = [
                pair for pair in zip(tracks, movements, strict=True) if pair[0].source == source
            ]
            write_movement_plot(folder / name, pairs)
    return [folder / name for name in names]


def plot_names(sources: Iterable[str]) -> dict[str, str]:
    """Return a file name for each source, different from the others'."""
    names: dict[str, str] = {}
    for source in sources:
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(source).stem)
        stem = stem or "video"
        choices = chain((stem,), (f"{stem}_{number}" for number in count(2)))
        names[source] = next(
            name
            for name in (f"{fitting_stem(choice)}{PLOT_SUFFIX}" for choice in choices)
            if name not in names.values()
        )
    return names


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    text = io.StringIO()
    names = columns or (list(rows[0]) if rows else [])
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(row[name]) for name in names})
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{SIGNIFICANT_DIGITS}g}"
    return "" if value is None else value
