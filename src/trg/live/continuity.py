"""What is sent while a person is out of sight, and a return without a jump."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import (
    rotation_from_6d,
    rotation_from_rotvec,
    rotation_to_6d,
    rotation_to_rotvec,
)

LostBehaviour = Literal["hold", "fade", "stop"]

GRACE_S = 0.25
"""A loss as short as this is not one: the last pose is held."""
FADE_DELAY_S, FADE_S = 0.5, 1.0
"""With ``fade``, the pose is held for the first, and moves to rest within the second."""
RETURN_S = 0.4
"""Within this time after a return the pose moves from what was sent last to what is seen."""


class PersonState(NamedTuple):
    """Pose and expression of a person."""

    pose: NDArray[np.float64]
    """``(4, 4)``: ``reference_from_head``."""
    expression: Mapping[str, float]


class Continuity:
    """Bridges the losses of one person."""

    def __init__(self, lost: LostBehaviour = "hold") -> None:
        self._lost = lost
        self.restart()

    def restart(self) -> None:
        """Forget what was sent, so that the next pose is sent as it is."""
        self._sent: PersonState | None = None
        self._seen: PersonState | None = None
        self._seen_s = 0.0
        self._id: int | None = None
        self._is_lost = False
        self._return_from: PersonState | None = None
        self._return_s = 0.0

    def seen(self, state: PersonState, person_id: int | None, now_s: float) -> PersonState:
        """Return what to send for a person who is in sight."""
        if self._sent is not None and (self._is_lost or person_id != self._id):
            self._return_from, self._return_s = _difference(state, self._sent), now_s
        self._is_lost, self._id, self._seen, self._seen_s = False, person_id, state, now_s
        if self._return_from is not None:
            share = 1.0 - _smooth_step((now_s - self._return_s) / RETURN_S)
            if share > 0.0:
                state = _moved(state, self._return_from, share)
            else:
                self._return_from = None
        self._sent = state
        return state

    def lost(self, rest: PersonState, now_s: float) -> PersonState | None:
        """Return what to send for a person who is out of sight; None: nothing.

        ``rest`` is the state in which a fading person ends.
        """
        if self._seen is None or self._sent is None:
            return None
        lost_s = now_s - self._seen_s
        if not self._is_lost:
            self._is_lost, self._seen = True, self._sent
        if self._lost == "stop" and lost_s > GRACE_S:
            return None
        if self._lost == "fade":
            share = _smooth_step((lost_s - FADE_DELAY_S) / FADE_S)
            self._sent = _moved(self._seen, _difference(self._seen, rest), share)
        return self._sent


def _smooth_step(share: float) -> float:
    """Return a rise from 0 to 1 that starts and ends at rest."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


def _difference(start: PersonState, end: PersonState) -> PersonState:
    """Return the change that moves ``start`` to ``end``."""
    change = np.eye(4)
    change[:3, :3] = end.pose[:3, :3] @ start.pose[:3, :3].T
    change[:3, 3] = end.pose[:3, 3] - start.pose[:3, 3]
    names = {**start.expression, **end.expression}
    return PersonState(
        change,
        {name: end.expression.get(name, 0.0) - start.expression.get(name, 0.0) for name in names},
    )


def _moved(state: PersonState, change: PersonState, share: float) -> PersonState:
    """Return a state after a share of a change."""
    rotvec = rotation_to_rotvec(rotation_from_6d(rotation_to_6d(change.pose[:3, :3])))
    pose = state.pose.copy()
    pose[:3, :3] = rotation_from_rotvec(share * rotvec) @ pose[:3, :3]
    pose[:3, 3] += share * change.pose[:3, 3]
    expression = {
        name: value + share * change.expression.get(name, 0.0)
        for name, value in state.expression.items()
    }
    return PersonState(pose, expression)
