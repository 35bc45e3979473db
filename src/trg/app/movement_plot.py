"""A plot of the movement in one video, with matplotlib (the extra ``plots``)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trg._util.files import write_atomic
from trg.geometry.rotations import rotation_to_euler
from trg.movement.poses import Track
from trg.movement.summary import Movement, uninterrupted

MAX_FACES = 6
"""Identities in one plot: those seen longest."""

ANGLE_COLORS = {"yaw": "#3b6fb6", "pitch": "#c05a2e", "roll": "#3f9b57"}
GESTURE_COLORS = {"nod": "#c05a2e", "shake": "#3b6fb6", "tilt": "#3f9b57"}
"""As the angle that they move."""
GAP_COLOR = "#d0d0d0"
DPI = 120


def write_movement_plot(path: Path, identities: Sequence[tuple[Track, Movement]]) -> None:
    """Write angles, gestures, distance and missing time of the identities in one source as PNG.

    Parameters
    ----------
    identities
        Each with its poses and their movement.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    pairs = sorted(identities, key=lambda pair: -len(pair[0].time_s))[:MAX_FACES]
    pairs.sort(key=lambda pair: pair[0].face_id)
    figure = Figure(figsize=(11.0, 0.6 + 3.0 * len(pairs)), layout="constrained")
    axes = figure.subplots(
        2 * len(pairs), 1, sharex=True, squeeze=False, height_ratios=[2, 1] * len(pairs)
    )[:, 0]
    for index, (track, movement) in enumerate(pairs):
        _draw_angles(axes[2 * index], track, movement)
        _draw_distance(axes[2 * index + 1], track, movement)
    axes[-1].set_xlabel("time, s")
    left_out = len(identities) - len(pairs)
    figure.suptitle(pairs[0][0].source + (f" ({left_out} more identities)" if left_out else ""))
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=DPI))


def _draw_angles(axes: Axes, track: Track, movement: Movement) -> None:
    angles_deg = np.stack([rotation_to_euler(each) for each in track.rotation])
    angles_deg = np.unwrap(angles_deg, axis=0, period=360.0)
    for (name, color), values in zip(ANGLE_COLORS.items(), angles_deg.T, strict=True):
        _draw_line(axes, track, values, color, name)
    for kind, color in GESTURE_COLORS.items():
        spans = [each for each in movement.gestures if each.kind == kind]
        for place, each in enumerate(spans):
            label = f"{len(spans)} {kind if len(spans) == 1 else kind + 's'}"
            axes.axvspan(
                each.start_s, each.end_s, color=color, alpha=0.2, lw=0,
                label="_" * bool(place) + label,
            )  # fmt: skip
    _draw_missing(axes, track)
    axes.set_ylabel("degrees")
    axes.set_title(
        f"face {track.face_id}: missing {100.0 * movement.missing_share:.1f} % of its time",
        loc="left", fontsize="medium",
    )  # fmt: skip
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _draw_distance(axes: Axes, track: Track, movement: Movement) -> None:
    distance_m = np.linalg.norm(track.translation_m, axis=1)
    drift = movement.distance_drift_m_per_min
    label = "distance" if np.isnan(drift) else f"distance,\ndrift {100.0 * drift:+.1f} cm/min"
    _draw_line(axes, track, distance_m, "#444444", label)
    _draw_missing(axes, track)
    axes.set_ylabel("m")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _draw_line(
    axes: Axes, track: Track, values: NDArray[np.float64], color: str, label: str
) -> None:
    for place, part in enumerate(uninterrupted(track)):
        axes.plot(
            track.time_s[part], values[part], color=color, lw=1.0, label="_" * bool(place) + label
        )


def _draw_missing(axes: Axes, track: Track) -> None:
    parts = uninterrupted(track)
    for before, after in pairwise(parts):
        start_s, end_s = track.time_s[before.stop - 1], track.time_s[after.start]
        axes.axvspan(start_s, end_s, color=GAP_COLOR, alpha=0.5, lw=0)
