"""What senders get: the faces of one frame, in the frame that the user chose as zero.

The *reference frame* is the camera's until a mount or a neutral pose is set
(:mod:`trg.live.reference`). Its axes are OpenCV's: x right in the image, y down, z away from the
camera. For the person in front of it::

    turns to their left     yaw decreases        moves to their left     x increases
    looks up                pitch decreases      moves up                y decreases
    tilts to their right    roll decreases       comes nearer            z decreases

Each sender converts to its receiver's axes, units and signs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.rotations import checked_rotation, rotation_to_euler


@dataclass(frozen=True, slots=True, eq=False)
class LiveFace:
    """One person in one frame. Validated on construction, so that no sender sends a NaN.

    Raises ValueError if a number is not finite, or the pose is not one.
    """

    face: Face
    """As estimated in the camera frame; of a lost person, the last one seen."""
    reference_from_head: NDArray[np.float64]
    """``(4, 4)``: the pose to send; metres, OpenCV's axes."""
    offset_m: NDArray[np.float64]
    """``(3,)``: the head's position, less the neutral one, or less the first one seen. For
    receivers that expect movements about a zero."""
    expression: Mapping[str, float] = field(default_factory=dict)
    """ARKit's names of blendshapes, each 0 to 1; those that are not measured are left out."""
    is_seen: bool = True
    """False: the person is lost, and the pose is held or fading."""

    def __post_init__(self) -> None:
        pose = finite_array("live pose", self.reference_from_head, (4, 4))
        checked_rotation("live pose", pose[:3, :3])
        object.__setattr__(self, "offset_m", finite_array("live offset", self.offset_m, (3,)))
        values = finite_array("live expression", list(self.expression.values()), (None,))
        clipped = dict(zip(self.expression, np.clip(values, 0.0, 1.0).tolist(), strict=True))
        object.__setattr__(self, "expression", MappingProxyType(clipped))

    @property
    def rotation(self) -> NDArray[np.float64]:
        """``(3, 3)``: from the head to the reference frame."""
        return self.reference_from_head[:3, :3]

    @property
    def translation_m(self) -> NDArray[np.float64]:
        """``(3,)``: the head's origin in the reference frame, metres."""
        return self.reference_from_head[:3, 3]

    def euler_deg(self, order: str = "yxz") -> tuple[float, float, float]:
        """Return yaw, pitch and roll in degrees, with the signs of this module's table.

        The default order is that of the records. ``YXZ`` turns the head about the vertical, then
        up or down, then about its own line of sight, as games and avatars do.
        """
        yaw, pitch, roll = rotation_to_euler(self.rotation, order)
        return float(yaw), float(pitch), float(roll)


@dataclass(frozen=True, slots=True, eq=False)
class LiveFrame:
    """The faces of one video frame."""

    source: str
    """Name of the webcam, stream or video."""
    index: int
    """Number of the captured frame, from 0; frames that were dropped leave gaps."""
    time_s: float
    """From the start of the input."""
    captured_s: float
    """When the frame was captured, on the clock of :func:`time.monotonic`."""
    captured_unix_s: float
    """The same in seconds since 1970."""
    camera: Camera
    """Of the whole image."""
    pixels: NDArray[np.uint8]
    """``(h, w, 3)`` RGB."""
    faces: tuple[LiveFace, ...]
    """The chosen person first, for receivers that know only one."""

    @property
    def main(self) -> LiveFace | None:
        """The chosen person; None if nothing is to be sent about anybody."""
        return self.faces[0] if self.faces else None
