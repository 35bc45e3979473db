"""Alpha compositing of cut-outs over a scene, in linear light.

A cut-out is ``(h, w, 4)`` uint8: linear RGB premultiplied by alpha and encoded by :func:`encode`,
and alpha. Premultiplied pixels can be filtered without dark or bright seams.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trglab.synth.kernels import kernel

HEADROOM = 3.0
"""Largest value that a cut-out can hold, relative to a white diffuse surface."""


class Similarity(NamedTuple):
    """``scene = matrix @ cutout + offset`` in pixels; a scaled rotation, with or without a flip."""

    matrix: NDArray[np.float64]
    offset_px: NDArray[np.float64]

    @classmethod
    def from_centre(
        cls,
        centre_px: NDArray[np.float64],
        target_px: NDArray[np.float64],
        scale: float,
        roll_rad: float,
        flip: bool,
    ) -> Similarity:
        """Map ``centre_px`` of the cut-out to ``target_px``; positive roll is clockwise."""
        cos, sin = np.cos(roll_rad), np.sin(roll_rad)
        matrix = scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1])
        return cls(matrix, target_px - matrix @ centre_px)

    def apply(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map points ``(..., 2)`` of the cut-out into the scene."""
        mapped: NDArray[np.float64] = points_px @ self.matrix.T + self.offset_px
        return mapped

    def at_level(self, level: int) -> Similarity:
        """Return the transform of the cut-out at ``1 / 2**level`` of its size."""
        return Similarity(self.matrix * 2.0**level, self.offset_px)


def encode(rgb_linear: NDArray[np.floating], alpha: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Encode premultiplied linear RGB ``(h, w, 3)`` and alpha ``(h, w)`` as a cut-out.

    Square roots preserve dark tones in 8 bits; values above :data:`HEADROOM` are clipped.
    """
    roots = np.sqrt(np.clip(rgb_linear / HEADROOM, 0.0, 1.0))
    rgba = np.concatenate([roots, np.clip(alpha, 0.0, 1.0)[..., None]], -1)
    return np.rint(255.0 * rgba).astype(np.uint8)


def decode(cutout: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Invert :func:`encode`: premultiplied linear RGB and alpha, ``(h, w, 4)``."""
    values = cutout.astype(np.float32) / np.float32(255.0)
    values[..., :3] *= values[..., :3] * np.float32(HEADROOM)
    return values


def downsample(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a cut-out at half its size, averaged in linear light; odd sides are padded."""
    height, width = cutout.shape[:2]
    values = np.pad(decode(cutout), ((0, height % 2), (0, width % 2), (0, 0)))
    means = values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2, 4).mean((1, 3))
    return encode(means[..., :3], means[..., 3])


def composite(
    scene: NDArray[np.float32],
    cutout_index: NDArray[np.int16],
    index: int,
    cutout: NDArray[np.uint8],
    scene_from_cutout: Similarity,
    light_rgb: NDArray[np.floating],
    tail: float = 0.0,
) -> None:
    """Composite a cut-out over a scene in place.

    Parameters
    ----------
    scene
        ``(h, w, 3)`` float32, linear.
    cutout_index
        ``(h, w)``: set to ``index`` where the cut-out's alpha exceeds one half.
    light_rgb
        ``(3,)``: colour of the light in the scene, a factor of the cut-out's colours.
    tail
        Extends the lowest row downwards by this many heights of the cut-out, as clothes continue
        below the end of a rendering.
    """
    height, width = cutout.shape[:2]
    bottom = height * (1.0 + tail)
    corners = np.array([[0.0, 0.0], [width, 0.0], [0.0, bottom], [width, bottom]])
    corners = scene_from_cutout.apply(corners)
    limits = (scene.shape[1], scene.shape[0])
    low = np.clip(np.floor(corners.min(0)) - 1, 0, limits).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, 0, limits).astype(int)
    inverse = np.linalg.inv(scene_from_cutout.matrix)
    _composite(
        scene, cutout_index, index, cutout, inverse, inverse @ -scene_from_cutout.offset_px,
        _LINEAR_FROM_CODE, np.asarray(light_rgb, np.float32), bottom,
        low[0], low[1], high[0], high[1],
    )  # fmt: skip


_LINEAR_FROM_CODE = (HEADROOM * (np.arange(256) / 255.0) ** 2).astype(np.float32)


@kernel
def _composite(scene, owner, number, cutout, turn, shift, light, rgb, bottom, x0, y0, x1, y1):
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
