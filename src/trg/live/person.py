"""Which of several people is the one whose head is followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trg.face import Face

PersonRule = Literal["largest", "nearest"]

KEEP_S = 0.5
"""How long a person who is out of sight is waited for before another one is taken."""
TAKE_OVER_S, TAKE_OVER_RATIO = 1.0, 1.5
"""Another person who is this many times as large, or as near, for this long takes over."""


class PersonChoice:
    """Chooses one face of each frame, and stays with a person as long as that makes sense.

    ``rule`` is the largest face in the picture, the nearest head, or a track's number.
    """

    def __init__(self, rule: PersonRule | int = "largest") -> None:
        self._rule = rule
        self._id: int | None = rule if isinstance(rule, int) else None
        self._seen_s = float("-inf")
        self._rival: tuple[int | None, float] = (None, 0.0)
        """Who could take over, and since when."""

    def choose(self, faces: Sequence[Face], now_s: float) -> Face | None:
        """Return the chosen face of a frame; None if that person is out of sight."""
        current = next((face for face in faces if face.id == self._id), None)
        if isinstance(self._rule, int):
            return current
        best = max(faces, key=self._weight, default=None)
        if current is None:
            if best is None or now_s - self._seen_s < KEEP_S:
                return None
            current = best
        elif best is not None and self._takes_over(best, current, now_s):
            current = best
        self._id, self._seen_s = current.id, now_s
        return current

    def _takes_over(self, best: Face, current: Face, now_s: float) -> bool:
        if self._weight(best) < TAKE_OVER_RATIO * self._weight(current):
            self._rival = (None, now_s)
            return False
        if self._rival[0] != best.id:
            self._rival = (best.id, now_s)
        return now_s - self._rival[1] >= TAKE_OVER_S

    def _weight(self, face: Face) -> float:
        """Return the side of the face's box, or the inverse of its distance."""
        if self._rule == "nearest":
            return 1.0 / face.distance_m
        return float(face.box_xyxy[2] - face.box_xyxy[0])
