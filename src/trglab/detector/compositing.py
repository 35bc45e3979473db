"""Cut-out pictures laid over a scene: turned, scaled, mirrored, and only then made of light.

A cut-out is ``(h, w, 4)`` uint8: linear RGB, already multiplied by the opacity and coded by
:func:`encode`, and the opacity. Filtering such pixels leaves no dark or bright seam.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trglab.synth.kernels import kernel

HEADROOM = 3.0
"""The brightest value of a cut-out, in parts of what a white surface sends back."""


class Similarity(NamedTuple):
    """``scene = turn @ cutout + shift``, in pixels; ``turn`` is a scaled rotation or mirroring."""

    turn: NDArray[np.float64]
    shift: NDArray[np.float64]

    @classmethod
    def about(
        cls,
        centre_px: NDArray[np.float64],
        place_px: NDArray[np.float64],
        scale: float,
        roll_rad: float,
        mirrored: bool,
    ) -> Similarity:
        """Bring a cut-out's ``centre_px`` to ``place_px``; a positive roll turns clockwise."""
        cos, sin = np.cos(roll_rad), np.sin(roll_rad)
        turn = scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirrored else 1.0, 1])
        return cls(turn, place_px - turn @ centre_px)

    def __call__(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Move ``(..., 2)`` points of the cut-out into the scene."""
        moved: NDArray[np.float64] = points_px @ self.turn.T + self.shift
        return moved

    def of_level(self, level: int) -> Similarity:
        """Return the same for the cut-out at ``1 / 2**level`` of its size."""
        return Similarity(self.turn * 2.0**level, self.shift)


def encode(rgb_linear: NDArray[np.floating], coverage: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the cut-out of premultiplied light ``(h, w, 3)`` and coverage ``(h, w)``.

    Values are roots, so that dark places keep their steps; above :data:`HEADROOM` they clip.
    """
    light = np.sqrt(np.clip(rgb_linear / HEADROOM, 0.0, 1.0))
    both = np.concatenate([light, np.clip(coverage, 0.0, 1.0)[..., None]], -1)
    return np.rint(255.0 * both).astype(np.uint8)


def decode(cutout: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Undo :func:`encode`: premultiplied linear RGB and coverage, ``(h, w, 4)``."""
    values = cutout.astype(np.float32) / np.float32(255.0)
    values[..., :3] *= values[..., :3] * np.float32(HEADROOM)
    return values


def halve(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a cut-out at half its size, averaged as light; odd sides grow by an empty pixel."""
    height, width = cutout.shape[:2]
    values = np.pad(decode(cutout), ((0, height % 2), (0, width % 2), (0, 0)))
    means = values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2, 4).mean((1, 3))
    return encode(means[..., :3], means[..., 3])


def paste(
    scene: NDArray[np.float32],
    owner: NDArray[np.int16],
    number: int,
    cutout: NDArray[np.uint8],
    pose: Similarity,
    light_rgb: NDArray[np.floating],
    tail: float = 0.0,
) -> None:
    """Lay a cut-out over a scene in place.

    Parameters
    ----------
    scene
        ``(h, w, 3)`` float32, linear.
    owner
        ``(h, w)``: becomes ``number`` where the cut-out covers more than half of a pixel.
    light_rgb
        ``(3,)``: the light in the scene; multiplies the cut-out's colours.
    tail
        The cut-out's lowest row goes on below it for this many of its heights: clothes do not
        end where a rendering does.
    """
    height, width = cutout.shape[:2]
    bottom = height * (1.0 + tail)
    corners = pose(np.array([[0.0, 0.0], [width, 0.0], [0.0, bottom], [width, bottom]]))
    limits = (scene.shape[1], scene.shape[0])
    low = np.clip(np.floor(corners.min(0)) - 1, 0, limits).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, 0, limits).astype(int)
    inverse = np.linalg.inv(pose.turn)
    _paste(
        scene, owner, number, cutout, inverse, inverse @ -pose.shift, _LIGHT,
        np.asarray(light_rgb, np.float32), bottom, low[0], low[1], high[0], high[1],
    )  # fmt: skip


_LIGHT = (HEADROOM * (np.arange(256) / 255.0) ** 2).astype(np.float32)
"""Linear light of each code."""


@kernel
def _paste(scene, owner, number, cutout, turn, shift, light, rgb, bottom, x0, y0, x1, y1):
    rows, columns = cutout.shape[:2]
    one = np.float32(1.0)
    for y in range(y0, y1):
        for x in range(x0, x1):
            u = turn[0, 0] * (x + 0.5) + turn[0, 1] * (y + 0.5) + shift[0] - 0.5
            v = turn[1, 0] * (x + 0.5) + turn[1, 1] * (y + 0.5) + shift[1] - 0.5
            if u <= -1.0 or u >= columns or v <= -1.0 or v >= bottom - 0.5:
                continue
            if bottom > rows:
                v = min(v, rows - 1.0)
            left, top = int(np.floor(u)), int(np.floor(v))
            fx, fy = np.float32(u - left), np.float32(v - top)
            red, green, blue, cover = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for dy in range(2):
                row = top + dy
                if row < 0 or row >= rows:
                    continue
                across = fy if dy else one - fy
                for dx in range(2):
                    column = left + dx
                    if column < 0 or column >= columns:
                        continue
                    weight = across * (fx if dx else one - fx)
                    red += weight * light[cutout[row, column, 0]]
                    green += weight * light[cutout[row, column, 1]]
                    blue += weight * light[cutout[row, column, 2]]
                    cover += weight * np.float32(cutout[row, column, 3])
            cover *= np.float32(1.0 / 255.0)
            if cover <= 0.0 and red <= 0.0:
                continue
            through = one - cover
            scene[y, x, 0] = scene[y, x, 0] * through + red * rgb[0]
            scene[y, x, 1] = scene[y, x, 1] * through + green * rgb[1]
            scene[y, x, 2] = scene[y, x, 2] * through + blue * rgb[2]
            if cover > 0.5:
                owner[y, x] = number
