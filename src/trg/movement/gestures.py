"""Nods, shakes and tilts from rotations over time.

Definitions. A *stroke* is a turn of the head in one direction about one of its own axes, between
two turning points that differ by :data:`MIN_STROKE_DEG`. Strokes that follow each other without a
rest, in opposite directions and of similar size, are a *gesture*: symmetrical, cyclic movements are
those that say yes and no (Hadar, Steiner and Rose 1985, J. Nonverbal Behavior 9(4)). A cycle is two
strokes, there and back (Mori, Den and Jokinen 2025, "Structure of nods in conversation", PLOS ONE
20(5)).

* A *nod* is at least one cycle about the head's left-right axis.
* A *shake* is at least a cycle and a half (to one side, to the other and back) about its vertical
  axis; a glance aside and back is none.
* A *tilt* is a head inclined towards a shoulder, further than the person's median by
  :data:`MIN_TILT_DEG`, for :data:`MIN_TILT_S` (the "tilt, sideways" of the MUMIN scheme, Allwood et
  al. 2007, Language Resources and Evaluation 41).

Rotations are about the head's own axes, which makes them independent of where the head looks, and a
gesture counts only if the head turns further about its axis than about the others (Chen, Yu and
Odobez 2015, "Head nod detection from a full 3D model", ICCV Workshops).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotations_to_rotvecs

Floats = NDArray[np.float64]
GestureKind = Literal["nod", "shake", "tilt"]

MIN_STROKE_DEG = 3.0
"""Smallest stroke. Several times the noise of a tracked pose."""

STROKE_EDGE = 0.1
"""A stroke lasts from 10 to 90 % of its turn: rests before and after do not count."""

MAX_STROKE_S, MAX_REST_S = 0.4, 0.4
"""Longest stroke, and longest rest between two strokes of a gesture. A sinusoid faster than 0.8 Hz
keeps both limits; nods of listeners reach 6.5 Hz (Hale et al. 2020, J. Nonverbal Behavior 44)."""

REST_DEG = 1.5
"""A head that turns less within the longest rest is at rest."""

MIN_SYMMETRY = 0.4
"""Smallest ratio between the sizes of two successive strokes of a gesture. The first and the last
of a shake about the middle are half as large as the others."""

MIN_STROKES = {"nod": 2, "shake": 3}

MIN_TILT_DEG, END_TILT_DEG, MIN_TILT_S = 10.0, 7.0, 0.3
"""Where a tilt begins, where it ends, and how long it lasts at least."""

HEAD_AXIS: dict[GestureKind, int] = {"nod": 0, "shake": 1}
"""Index of a gesture's axis among the head's x (to the person's left), y (down) and z (back)."""


class Gesture(NamedTuple):
    """A nod, a shake or a tilt."""

    kind: GestureKind
    start_s: float
    end_s: float
    cycles: float
    """Half the number of strokes; 0 for a tilt."""
    amplitude_deg: float
    """The largest stroke; of a tilt, the largest inclination from the median."""
    direction: str
    """Of the first stroke: ``down``, ``up``, ``left``, ``right``; of a tilt: the shoulder. Sides
    are the person's own."""


class _Stroke(NamedTuple):
    start_s: float
    end_s: float
    turn_deg: float


def turns_deg(rotation: Floats) -> Floats:
    """Return the turn about the head's own axes since the first row, ``(n, 3)``, degrees.

    The sum of the small rotations from each row of ``(n, 3, 3)`` to the next.
    """
    steps = rotations_to_rotvecs(rotation[:-1].swapaxes(-1, -2) @ rotation[1:])
    return np.degrees(np.concatenate([np.zeros((1, 3)), steps.cumsum(0)]))


def find_gestures(time_s: Floats, rotation: Floats) -> list[Gesture]:
    """Return the nods and shakes of an uninterrupted track, by start.

    Parameters
    ----------
    time_s
        ``(n,)``, increasing.
    rotation
        ``(n, 3, 3)``: ``cam_from_head``.
    """
    if len(time_s) < 3:
        return []
    turned_deg = turns_deg(rotation)
    found = [
        _gesture(kind, group)
        for kind, axis in HEAD_AXIS.items()
        for group in _groups(_strokes(time_s, turned_deg[:, axis]))
        if len(group) >= MIN_STROKES[kind] and _is_main_axis(group, time_s, turned_deg, axis)
    ]
    return sorted(found, key=lambda each: each.start_s)


def find_tilts(time_s: Floats, roll_deg: Floats, neutral_deg: float) -> list[Gesture]:
    """Return the tilts of an uninterrupted track.

    Parameters
    ----------
    time_s
        ``(n,)``, increasing.
    roll_deg
        ``(n,)``: positive towards the person's left shoulder.
    neutral_deg
        The person's median roll.
    """
    found = []
    for side, sign in (("left", 1.0), ("right", -1.0)):
        inclined = sign * (roll_deg - neutral_deg)
        beyond = np.concatenate([[False], inclined >= END_TILT_DEG, [False]])
        edges = np.flatnonzero(np.diff(beyond.astype(np.int8)))
        for first, after in zip(edges[::2], edges[1::2], strict=True):
            peak = float(inclined[first:after].max())
            start_s, end_s = float(time_s[first]), float(time_s[after - 1])
            if peak >= MIN_TILT_DEG and end_s - start_s >= MIN_TILT_S:
                found.append(Gesture("tilt", start_s, end_s, 0.0, peak, side))
    return sorted(found, key=lambda each: each.start_s)


def turning_points(values: Floats, threshold: float) -> list[int]:
    """Return the rows of alternating minima and maxima that differ by at least ``threshold``.

    The first and the last are the extremes before the first and after the last reversal. Smaller
    ripples are skipped.
    """
    points: list[int] = []
    low = high = 0
    direction = 0
    for row, value in enumerate(values.tolist()):
        if value > values[high]:
            high = row
        if value < values[low]:
            low = row
        if direction >= 0 and values[high] - value >= threshold:
            # The maximum is final: what came before it rose, or was the beginning.
            if direction == 0 and values[high] - values[: high + 1].min() >= threshold:
                points.append(int(values[: high + 1].argmin()))
            points.append(high)
            direction, low = -1, row
        elif direction <= 0 and value - values[low] >= threshold:
            if direction == 0 and values[: low + 1].max() - values[low] >= threshold:
                points.append(int(values[: low + 1].argmax()))
            points.append(low)
            direction, high = 1, row
    if direction > 0:
        points.append(high)
    elif direction < 0:
        points.append(low)
    return points


def _strokes(time_s: Floats, turned_deg: Floats) -> list[_Stroke]:
    strokes: list[_Stroke] = []
    for first, last in pairwise(turning_points(turned_deg, MIN_STROKE_DEG)):
        strokes += _between_rests(time_s[first : last + 1], turned_deg[first : last + 1])
    return strokes


def _between_rests(time_s: Floats, turned_deg: Floats) -> list[_Stroke]:
    """Return the strokes of a turn in one direction: two if the head rests on the way."""
    turn_deg = float(turned_deg[-1] - turned_deg[0])
    if abs(turn_deg) < MIN_STROKE_DEG:
        return []
    # The way that the head has come, without its small steps back.
    way_deg = np.maximum.accumulate((turned_deg - turned_deg[0]) * np.sign(turn_deg))
    edge_deg = STROKE_EDGE * abs(turn_deg)
    begins = int(np.flatnonzero(way_deg <= edge_deg)[-1])
    ends = max(begins, int(np.flatnonzero(way_deg >= abs(turn_deg) - edge_deg)[0]))
    leaves = np.searchsorted(way_deg, way_deg + REST_DEG)[begins : ends + 1].clip(max=ends)
    rests_s = time_s[leaves] - time_s[begins : ends + 1]
    longest = int(rests_s.argmax())
    if rests_s[longest] <= MAX_REST_S:
        return [_Stroke(float(time_s[begins]), float(time_s[ends]), turn_deg)]
    stops, goes = begins + longest, max(int(leaves[longest]) - 1, 1)
    before = _between_rests(time_s[: stops + 1], turned_deg[: stops + 1])
    return before + _between_rests(time_s[goes:], turned_deg[goes:])


def _groups(strokes: list[_Stroke]) -> list[list[_Stroke]]:
    """Split strokes into runs that follow each other quickly and are of similar size."""
    groups: list[list[_Stroke]] = []
    for stroke in strokes:
        if stroke.end_s - stroke.start_s > MAX_STROKE_S:
            groups.append([])
            continue
        before = groups[-1][-1] if groups and groups[-1] else None
        if before is not None:
            sizes = sorted((abs(before.turn_deg), abs(stroke.turn_deg)))
            follows = stroke.start_s - before.end_s <= MAX_REST_S
            turns_back = before.turn_deg * stroke.turn_deg < 0.0
            if follows and turns_back and sizes[0] >= MIN_SYMMETRY * sizes[1]:
                groups[-1].append(stroke)
                continue
        groups.append([stroke])
    return [group for group in groups if group]


def _is_main_axis(group: list[_Stroke], time_s: Floats, turned_deg: Floats, axis: int) -> bool:
    """Return whether the head turns further about this axis than about each other."""
    during = (time_s >= group[0].start_s) & (time_s <= group[-1].end_s)
    spans = np.ptp(turned_deg[during], axis=0)
    return bool(spans[axis] >= spans.max())


def _gesture(kind: GestureKind, group: list[_Stroke]) -> Gesture:
    forward, backward = ("down", "up") if kind == "nod" else ("right", "left")
    return Gesture(
        kind,
        group[0].start_s,
        group[-1].end_s,
        len(group) / 2.0,
        max(abs(stroke.turn_deg) for stroke in group),
        forward if group[0].turn_deg > 0.0 else backward,
    )
