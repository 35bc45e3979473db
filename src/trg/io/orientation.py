"""The eight ways in which a stored picture can be turned, for its pixels and for its camera."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera


class Turn(NamedTuple):
    """What makes stored pixels upright: first swap rows and columns, then mirror."""

    swap: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the pixels ``(h, w, 3)`` upright; ``(w, h, 3)`` where sides are swapped."""
        turned = pixels.swapaxes(0, 1) if self.swap else pixels
        if self.mirror_x:
            turned = turned[:, ::-1]
        if self.mirror_y:
            turned = turned[::-1]
        return np.ascontiguousarray(turned)

    def camera(self, camera: Camera) -> Camera:
        """Return the camera of the upright picture from the camera of the stored one."""
        k1, k2, p1, p2, k3 = camera.distortion
        if self.swap:
            p1, p2 = p2, p1
            camera = replace(
                camera,
                fx=camera.fy,
                fy=camera.fx,
                cx=camera.cy,
                cy=camera.cx,
                width=camera.height,
                height=camera.width,
            )
        return replace(
            camera,
            cx=camera.width - camera.cx if self.mirror_x else camera.cx,
            cy=camera.height - camera.cy if self.mirror_y else camera.cy,
            distortion=(k1, k2, -p1 if self.mirror_y else p1, -p2 if self.mirror_x else p2, k3),
        )


UPRIGHT = Turn()

EXIF_TURNS = {
    1: UPRIGHT,
    2: Turn(mirror_x=True),
    3: Turn(mirror_x=True, mirror_y=True),
    4: Turn(mirror_y=True),
    5: Turn(swap=True),
    6: Turn(swap=True, mirror_x=True),
    7: Turn(swap=True, mirror_x=True, mirror_y=True),
    8: Turn(swap=True, mirror_y=True),
}
"""The values of EXIF's Orientation tag (EXIF 2.32, section 4.6.4 A)."""


def turn_of_display_matrix(matrix: NDArray[np.int32]) -> Turn:
    """Read a video's 3x3 display matrix, to the nearest right angle.

    FFmpeg's ``libavutil/display.h``: ``(x, y, 1) @ matrix`` is where a stored point is shown.
    """
    (xx, xy), (yx, yy) = matrix[:2, :2].tolist()
    if abs(xy) + abs(yx) > abs(xx) + abs(yy):
        return Turn(True, yx < 0, xy < 0)
    return Turn(False, xx < 0, yy < 0)
