"""The eight orientations in which an image can be stored, applied to pixels and to cameras."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera
from trg.geometry.lens import reoriented_coefficients


class Orientation(NamedTuple):
    """The operation that makes stored pixels upright: first transpose, then flip."""

    transpose: bool = False
    """Swap rows and columns."""
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return stored pixels ``(h, w, 3)`` upright; ``(w, h, 3)`` if transposed."""
        upright = pixels.swapaxes(0, 1) if self.transpose else pixels
        if self.flip_x:
            upright = upright[:, ::-1]
        if self.flip_y:
            upright = upright[::-1]
        return np.ascontiguousarray(upright)

    def stored_view(self, upright: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a view of upright pixels in stored order, to write stored pixels upright."""
        stored = upright[::-1] if self.flip_y else upright
        if self.flip_x:
            stored = stored[:, ::-1]
        return stored.swapaxes(0, 1) if self.transpose else stored

    def apply_to_camera(self, camera: Camera) -> Camera:
        """Return the camera of the upright image, given the camera of the stored one."""
        distortion = reoriented_coefficients(camera.lens_model, camera.distortion, *self)
        if self.transpose:
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
            cx=camera.width - camera.cx if self.flip_x else camera.cx,
            cy=camera.height - camera.cy if self.flip_y else camera.cy,
            distortion=distortion,
        )


UPRIGHT = Orientation()

EXIF_ORIENTATIONS = {
    1: UPRIGHT,
    2: Orientation(flip_x=True),
    3: Orientation(flip_x=True, flip_y=True),
    4: Orientation(flip_y=True),
    5: Orientation(transpose=True),
    6: Orientation(transpose=True, flip_x=True),
    7: Orientation(transpose=True, flip_x=True, flip_y=True),
    8: Orientation(transpose=True, flip_y=True),
}
"""By the value of EXIF's Orientation tag (EXIF 2.32, section 4.6.4 A)."""


def orientation_from_display_matrix(matrix: NDArray[np.int32]) -> Orientation:
    """Return the orientation nearest to a video's display matrix ``(3, 3)``.

    FFmpeg's ``libavutil/display.h``: a stored point is shown at ``(x, y, 1) @ matrix``.
    """
    (xx, xy), (yx, yy) = matrix[:2, :2].tolist()
    if abs(xy) + abs(yx) > abs(xx) + abs(yy):
        return Orientation(True, yx < 0, xy < 0)
    return Orientation(False, xx < 0, yy < 0)
