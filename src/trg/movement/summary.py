"""Movement of each identity in numbers: gestures, speeds, ranges, distance and missing time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotation_to_euler, rotations_to_rotvecs
from trg.movement.gestures import Gesture, find_gestures, find_tilts
from trg.movement.poses import PoseTable, Track

Floats = NDArray[np.float64]

MIN_FRAMES_PER_S = 10.0
"""Below this rate nods and shakes are not counted: a fast nod lasts less than two frames."""

RATE_ROUNDING = 1e-3
"""Of a rate that is computed from times in whole microseconds, as records have them."""

MAX_GAP_S = 0.25
"""Longest time between two poses of one uninterrupted movement; at low frame rates two and a half
frames."""

SPEED_INTERVAL_S = 0.1
"""Speeds are differences over this time, so that they measure movement, not the noise of frames."""

MIN_DRIFT_S = 10.0
"""Shortest time from which the drift of the distance is told."""

MAX_SLOPE_POINTS = 300


@dataclass(frozen=True, slots=True)
class AxisMovement:
    """Movement along or about one axis; degrees for angles, metres for places."""

    median: float
    """Of the whole time."""
    range: float
    """From the 5th to the 95th percentile."""
    mean_speed: float
    """Per second; NaN if the identity is never seen for :data:`SPEED_INTERVAL_S`."""
    fast_speed: float
    """The 95th percentile of the speed."""


@dataclass(frozen=True, slots=True)
class Movement:
    """The movement of one identity in one source. Not known: NaN, or None for counts."""

    source: str
    """The video, as in its records."""
    face_id: int
    """The identity in the video."""
    frames: int
    """With the identity."""
    frames_per_s: float
    """Of the source."""
    start_s: float
    """First time the identity is seen."""
    end_s: float
    """Last time the identity is seen."""
    missing_share: float
    """Of the source's frames from the first to the last with the identity, those without it."""
    source_share: float
    """Of all frames of the source, those with the identity."""
    nods: int | None
    """Their number."""
    nod_cycles: float | None
    """Of all nods."""
    shakes: int | None
    """Their number."""
    shake_cycles: float | None
    """Of all shakes."""
    tilts_left: int
    """Tilts towards the person's left shoulder."""
    tilts_right: int
    """Tilts towards the person's right shoulder."""
    yaw_deg: AxisMovement
    """About the camera's axes, like the next two."""
    pitch_deg: AxisMovement
    """Positive: down."""
    roll_deg: AxisMovement
    """Positive: clockwise in the image."""
    x_m: AxisMovement
    """To the image's right."""
    y_m: AxisMovement
    """Down."""
    z_m: AxisMovement
    """Away from the camera."""
    distance_median_m: float
    """From the camera to the head's origin."""
    distance_std_m: float
    """Its standard deviation over time."""
    distance_drift_m_per_min: float
    """Median of the slopes between pairs of frames (Theil 1950, Sen 1968); NaN below
    :data:`MIN_DRIFT_S`."""
    gestures: tuple[Gesture, ...]
    """All nods, shakes and tilts, by start."""

    def to_row(self) -> dict[str, Any]:
        """Return the numbers by column name, without the single gestures."""
        row: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, AxisMovement):
                name, unit = field.name.rsplit("_", 1)
                row[f"{name}_median_{unit}"] = value.median
                row[f"{name}_range_{unit}"] = value.range
                row[f"{name}_speed_{unit}_per_s"] = value.mean_speed
                row[f"{name}_fast_speed_{unit}_per_s"] = value.fast_speed
            elif field.name != "gestures":
                row[field.name] = value
        return row


def measure_movement(table: PoseTable | Any) -> list[Movement]:
    """Return the movement of each identity in each source.

    Parameters
    ----------
    table
        Poses, or anything that :meth:`~trg.movement.poses.PoseTable.from_columns` takes: a data
        frame of CSV or Parquet records.

    Raises
    ------
    ValueError
        The table lacks a column, an identity has two poses at the same time, or no row has a time.
    """
    poses = table if isinstance(table, PoseTable) else PoseTable.from_columns(table)
    if not len(poses.source):
        raise ValueError("movement: expected poses of a video, got no row with a time")
    return [_movement(track) for track in poses.tracks()]


def uninterrupted(track: Track) -> list[slice]:
    """Return the rows of each stretch of a track without a gap."""
    longest_s = float(np.nanmax([MAX_GAP_S, 2.5 * _frame_interval_s(track)]))
    edges = np.flatnonzero(np.diff(track.time_s) > longest_s) + 1
    bounds = [0, *edges.tolist(), len(track.time_s)]
    return [slice(first, after) for first, after in pairwise(bounds)]


def _frame_interval_s(track: Track) -> float:
    """Return the median time between frames of the source; NaN of a single frame."""
    intervals_s = np.diff(track.frame_times_s)
    return float(np.median(intervals_s)) if len(intervals_s) else float("nan")


def _movement(track: Track) -> Movement:
    frames_per_s = 1.0 / _frame_interval_s(track)
    is_fast_enough = frames_per_s >= MIN_FRAMES_PER_S - RATE_ROUNDING
    parts = uninterrupted(track)
    angles_deg = np.stack([rotation_to_euler(each) for each in track.rotation])
    angles_deg = np.unwrap(angles_deg, axis=0, period=360.0)
    gestures: list[Gesture] = []
    for part in parts:
        time_s, rotation = track.time_s[part], track.rotation[part]
        if is_fast_enough:
            gestures += find_gestures(time_s, rotation)
        gestures += find_tilts(time_s, angles_deg[part, 2], float(np.median(angles_deg[:, 2])))
    turn_speed, place_speed = _speeds(track, parts)
    axes = {
        name: _axis(angles_deg[:, index], turn_speed[:, axis])
        for index, (name, axis) in enumerate({"yaw_deg": 1, "pitch_deg": 0, "roll_deg": 2}.items())
    }
    axes |= {
        f"{axis}_m": _axis(track.translation_m[:, index], place_speed[:, index])
        for index, axis in enumerate("xyz")
    }
    distance_m = np.linalg.norm(track.translation_m, axis=1)
    start_s, end_s = float(track.time_s[0]), float(track.time_s[-1])
    all_times_s = track.frame_times_s
    spanned = int(((all_times_s >= start_s) & (all_times_s <= end_s)).sum())

    def count(kind: str, cycles: bool = False) -> Any:
        chosen = [each.cycles if cycles else 1 for each in gestures if each.kind == kind]
        return sum(chosen) if is_fast_enough else None

    tilts = [each.direction for each in gestures if each.kind == "tilt"]
    return Movement(
        source=track.source,
        face_id=track.face_id,
        frames=len(track.time_s),
        frames_per_s=frames_per_s,
        start_s=start_s,
        end_s=end_s,
        missing_share=1.0 - len(track.time_s) / spanned,
        source_share=len(track.time_s) / len(all_times_s),
        nods=count("nod"),
        nod_cycles=count("nod", cycles=True),
        shakes=count("shake"),
        shake_cycles=count("shake", cycles=True),
        tilts_left=tilts.count("left"),
        tilts_right=tilts.count("right"),
        **axes,
        distance_median_m=float(np.median(distance_m)),
        distance_std_m=float(distance_m.std()),
        distance_drift_m_per_min=60.0 * _slope(track.time_s, distance_m),
        gestures=tuple(sorted(gestures, key=lambda each: each.start_s)),
    )


def _speeds(track: Track, parts: list[slice]) -> tuple[Floats, Floats]:
    """Return the speeds about the head's axes, degrees per second, and along the camera's, m/s."""
    turns, moves = [np.zeros((0, 3))], [np.zeros((0, 3))]
    for part in parts:
        time_s, rotation = track.time_s[part], track.rotation[part]
        later = np.searchsorted(time_s, time_s + SPEED_INTERVAL_S - 1e-6)
        earlier = np.flatnonzero(later < len(time_s))
        later = later[earlier]
        passed_s = (time_s[later] - time_s[earlier])[:, None]
        steps = rotations_to_rotvecs(rotation[earlier].swapaxes(-1, -2) @ rotation[later])
        turns.append(np.degrees(np.abs(steps)) / passed_s)
        places_m = track.translation_m[part]
        moves.append(np.abs(places_m[later] - places_m[earlier]) / passed_s)
    return np.concatenate(turns), np.concatenate(moves)


def _axis(values: Floats, speeds: Floats) -> AxisMovement:
    low, high = np.percentile(values, (5.0, 95.0))
    known = len(speeds) > 0
    return AxisMovement(
        float(np.median(values)),
        float(high - low),
        float(speeds.mean()) if known else float("nan"),
        float(np.percentile(speeds, 95.0)) if known else float("nan"),
    )


def _slope(time_s: Floats, values: Floats) -> float:
    """Return the Theil-Sen slope per second, of at most MAX_SLOPE_POINTS evenly spread rows."""
    if time_s[-1] - time_s[0] < MIN_DRIFT_S:
        return float("nan")
    rows = np.unique(np.linspace(0, len(time_s) - 1, MAX_SLOPE_POINTS).astype(np.int64))
    first, second = np.triu_indices(len(rows), 1)
    slopes = (values[rows[second]] - values[rows[first]]) / (
        time_s[rows[second]] - time_s[rows[first]]
    )
    return float(np.median(slopes))
