"""Error bars: standard deviations of a face's errors, as the network estimates them.

One array of 86 numbers travels from the network to the :class:`~trg.face.Face`; this module says
what each of them means. Errors are those of an estimate against the true face:

================  ====  ====================================================================
quantity          size  standard deviation of
================  ====  ====================================================================
``rotation``      3     rotation about the head's x, y and z axis, degrees
``across``        1     position in each direction across the line of sight, over the distance
``along``         1     the logarithm of the distance
``along_sized``   1     the same, if the true size of the head were known
``shape``         6     coordinates of 3D landmarks in the head frame, metres, for each of
                        :data:`~trg.geometry.face_mesh.LANDMARK_GROUPS`
``shape_sized``   6     the same, if the true size of the head were known
``landmarks``     68    coordinates of the projected landmarks, over the side of the face box
================  ====  ====================================================================

The errors of one face are correlated: a head that is taken for larger is taken for farther.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.geometry.face_mesh import LANDMARK_GROUPS

Floats = NDArray[np.float64]

_SIZES = {
    "rotation": 3,
    "across": 1,
    "along": 1,
    "along_sized": 1,
    "shape": len(LANDMARK_GROUPS),
    "shape_sized": len(LANDMARK_GROUPS),
    "landmarks": 68,
}
_ENDS = tuple(accumulate(_SIZES.values()))

QUANTITIES: Mapping[str, slice] = MappingProxyType(
    {name: slice(end - size, end) for (name, size), end in zip(_SIZES.items(), _ENDS, strict=True)}
)
"""The part of the array that each quantity takes."""

STD_COUNT = _ENDS[-1]
"""Numbers per face."""

INTERPUPILLARY_STD = 0.023
"""Relative standard deviation of a head's size from its interpupillary distance: that of
:attr:`trg.face.Face.interpupillary_m`."""

MEAN_RADIUS_M = 0.07
"""Root mean square coordinate of a face's landmarks, by which an error of size moves them."""


@dataclass(frozen=True, slots=True, eq=False)
class ErrorBars:
    """The standard deviations of one face, ``(86,)`` float64, read-only.

    Raises ValueError if their number is another, or one is negative or not finite.
    """

    std: Floats
    """Sliced by :data:`QUANTITIES`."""

    def __post_init__(self) -> None:
        std = finite_array("error bars", self.std, (STD_COUNT,)).copy()
        if std.min() < 0.0:
            raise ValueError(f"error bars: expected standard deviations from 0, got {std.min()}")
        std.setflags(write=False)
        object.__setattr__(self, "std", std)

    def __getitem__(self, quantity: str) -> Floats:
        """Return the standard deviations of one of :data:`QUANTITIES`."""
        return self.std[QUANTITIES[quantity]]

    def size_std(self, interpupillary_m: float) -> float:
        """Return the relative error of a size from a measured interpupillary distance.

        That of :data:`INTERPUPILLARY_STD`, and that of the estimated eyes which are scaled to it.
        """
        return float(np.hypot(INTERPUPILLARY_STD, self.eyes_std(interpupillary_m)))

    def eyes_std(self, interpupillary_m: float) -> float:
        """Return the relative error of the estimated distance between the eyes, at true size."""
        eyes_m = self["shape_sized"][LANDMARK_GROUPS.index("eyes")]
        return float(eyes_m / interpupillary_m)

    def with_known_size(self, scale: float, size_std: float) -> ErrorBars:
        """Return the error bars of a face that is scaled by ``scale`` to a known size.

        ``size_std`` is the relative standard deviation of that size.
        """
        std = self.std.copy()
        std[QUANTITIES["along"]] = np.hypot(self["along_sized"], size_std)
        std[QUANTITIES["shape_sized"]] *= scale
        std[QUANTITIES["shape"]] = np.hypot(
            std[QUANTITIES["shape_sized"]], size_std * MEAN_RADIUS_M
        )
        return ErrorBars(std)
