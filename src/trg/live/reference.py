"""The reference frame of the poses that are sent: the camera's, a mount's, or a neutral pose's."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotation_from_rotvec

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mount:
    """Where the camera is beside the screen, and where it looks.

    Without any, the camera is at the middle of the screen and looks straight out of it. Directions
    are those of a person in front of the screen. A camera above the screen usually looks down, one
    to the right usually is turned to the person, and both numbers are then positive.

    Raises ValueError if a number is not finite.
    """

    up_cm: float = 0.0
    """How far above the middle of the screen."""
    right_cm: float = 0.0
    """How far to the right of it."""
    forward_cm: float = 0.0
    """How far in front of it, towards the person."""
    tilt_deg: float = 0.0
    """How far the camera looks down."""
    turn_deg: float = 0.0
    """How far it looks to the person's left."""
    roll_deg: float = 0.0
    """How far the camera's image is turned: positive, if an upright head tilts to the person's
    right in it."""

    def __post_init__(self) -> None:
        values = [getattr(self, each.name) for each in fields(self)]
        if not np.isfinite(values).all():
            raise ValueError(f"mount: expected finite numbers, got {self}")

    @classmethod
    def parse(cls, text: str) -> Mount:
        """Parse ``up=20,tilt=15``. Raises ValueError if a name or a number is invalid."""
        units = {each.name.rpartition("_")[0]: each.name for each in fields(cls)}
        values: dict[str, float] = {}
        for part in text.split(","):
            name, _, value = part.partition("=")
            try:
                values[units[name.strip()]] = float(value)
            except (KeyError, ValueError):
                raise ValueError(
                    f"mount: expected NAME=NUMBER,... with names of {', '.join(units)} (cm, "
                    f"degrees), such as up=20,tilt=15; got {part!r}"
                ) from None
        return cls(**values)

    @property
    def screen_from_camera(self) -> Floats:
        """``(4, 4)``: to the frame at the middle of the screen; OpenCV's axes, metres."""
        # A camera that looks down is turned about +x by a negative angle, as its z axis shows.
        tilt, turn, roll = np.radians([-self.tilt_deg, self.turn_deg, self.roll_deg])
        pose = np.eye(4)
        pose[:3, :3] = (
            rotation_from_rotvec([0.0, turn, 0.0])
            @ rotation_from_rotvec([tilt, 0.0, 0.0])
            @ rotation_from_rotvec([0.0, 0.0, roll])
        )
        pose[:3, 3] = np.array([-self.right_cm, -self.up_cm, self.forward_cm]) / 100.0
        return pose


class ReferenceFrame:
    """Converts poses from the camera frame to the frame that the user chose as zero."""

    def __init__(self, mount: Mount = Mount()) -> None:
        self._screen_from_camera = mount.screen_from_camera
        self._reference_from_screen: Floats = np.eye(4)
        self.has_neutral = False
        """Whether a neutral pose is set: rest is then the identity."""

    def set_neutral(self, camera_from_head: Floats) -> None:
        """Make a pose ``(4, 4)`` zero: the head's axes and origin become the reference frame's."""
        screen_from_head = self._screen_from_camera @ camera_from_head
        self._reference_from_screen = np.asarray(np.linalg.inv(screen_from_head), np.float64)
        self.has_neutral = True

    def convert(self, camera_from_head: Floats) -> Floats:
        """Return ``reference_from_head`` ``(4, 4)``."""
        return self._reference_from_screen @ self._screen_from_camera @ camera_from_head
