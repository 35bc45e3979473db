"""Three angles of a head as other programs and data sets define them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg.geometry.rotations import rotation_from_rotvec, rotation_to_euler

Floats = NDArray[np.float64]


class HasEuler(Protocol):
    """What has a rotation, as :class:`~trg.face.Face`."""

    def euler(self, order: str, relative_to: Literal["camera", "sight"]) -> Floats:
        """Return angles in degrees."""


class AngleConvention(NamedTuple):
    """How a program writes a rotation as pitch, yaw and roll."""

    order: str
    """SciPy's: about x, y and z in this order; lower case: the fixed axes, else the moving ones."""
    signs: tuple[int, int, int]
    """Of the three angles, relative to rotations about this package's axes."""
    relative_to: Literal["camera", "sight"]
    """What the program's angles are 0 for: a head with the camera's axes, or one that looks at the
    camera, because the program sees only the crop."""

    def of(self, face: HasEuler) -> Floats:
        """Return pitch, yaw and roll ``(3,)`` of a face, degrees, as the program would."""
        return np.array(self.signs) * face.euler(self.order, self.relative_to)

    def from_rotation(self, rotation: Floats) -> Floats:
        """Return pitch, yaw and roll ``(..., 3)``, degrees, of rotations ``(..., 3, 3)``.

        The rotations are relative to :attr:`relative_to`.
        """
        return np.array(self.signs) * rotation_to_euler(np.asarray(rotation), self.order)

    def to_rotation(self, pitch_yaw_roll_deg: ArrayLike) -> Floats:
        """Return rotations ``(..., 3, 3)`` of pitch, yaw and roll ``(..., 3)``, degrees.

        They are relative to :attr:`relative_to`: multiply by the rotation of the optical axis onto
        the line of sight (:func:`~trg.geometry.rotations.rotation_between`) to get
        ``cam_from_head`` from angles that are relative to the line of sight.
        """
        angles_rad = np.radians(np.asarray(pitch_yaw_roll_deg, dtype=np.float64) * self.signs)
        x, y, z = (
            rotation_from_rotvec(angles_rad[..., axis, None] * np.eye(3)[axis]) for axis in range(3)
        )
        return x @ y @ z if self.order == "XYZ" else z @ y @ x


ANGLE_CONVENTIONS: Mapping[str, AngleConvention] = MappingProxyType(
    {
        "openface": AngleConvention("XYZ", (1, 1, 1), "camera"),
        "300wlp": AngleConvention("XYZ", (-1, 1, 1), "sight"),
        "6drepnet": AngleConvention("XYZ", (-1, 1, 1), "sight"),
        "insightface": AngleConvention("xyz", (-1, -1, 1), "sight"),
    }
)
"""By program or data set.

* ``openface``: ``pose_Rx``, ``pose_Ry``, ``pose_Rz``, which it writes in radians.
* ``300wlp``: ``Pose_Para`` of 300W-LP and AFLW2000-3D, in radians; 6DRepNet learns from these.
* ``insightface``: ``face.pose``. Its mean shape counts z towards the camera, so that pitch and yaw
  have the other sign.
"""
