"""Light and surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Light:
    """What falls onto a head, in linear RGB and the camera frame (x right, y down, z forward).

    Attributes
    ----------
    irradiance_sh
        ``(9, 3)`` float32: spherical harmonics of the diffuse light that a white surface sends
        back, as a function of its unit normal (cosine lobe and 1 / pi folded in), in the order
        ``1, y, z, x, xy, yz, 3zz-1, xz, xx-yy`` with the constants folded in.
    key_direction
        ``(3,)`` unit vector from the head towards the strongest source.
    key_rgb
        ``(3,)``: light sent back by a white surface that faces the strongest source. It is not
        contained in ``irradiance_sh``, and it casts shadows.
    key_softness
        0 for a point, 1 for a source that fills half the sky.
    surroundings
        ``(32, 64, 3)`` float32 equirectangular radiance in the camera frame for reflections:
        row 0 looks up (-y), column 0 looks back (-z), the middle column forward (+z).
    """

    irradiance_sh: np.ndarray
    key_direction: np.ndarray
    key_rgb: np.ndarray
    key_softness: float
    surroundings: np.ndarray
