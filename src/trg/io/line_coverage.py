"""Thin antialiased lines, thousands at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def line_coverage(lines_px: Floats, size: tuple[int, int]) -> Floats:
    """Return how far thin lines ``(n, 2, 2)`` cover pixels ``(h, w)``, at most 1.

    In each column a line is distributed to the two nearest pixels, as Wu (1991) does; steep lines
    in each row.
    """
    width, height = size
    stride = width + 2  # a border of one pixel for lines that leave the image
    extent_px = np.abs(lines_px[:, 1] - lines_px[:, 0])
    is_steep = extent_px[:, 1] > extent_px[:, 0]
    shares = (
        _column_shares(lines_px[~is_steep], (width, height), (1, stride)),
        _column_shares(lines_px[is_steep][..., ::-1], (height, width), (stride, 1)),
    )
    index, share = (np.concatenate(each) for each in zip(*shares, strict=True))
    total = np.bincount(index, share, (height + 2) * stride).reshape(height + 2, stride)
    return np.minimum(total[1:-1, 1:-1], 1.0)


def _column_shares(
    lines_px: Floats, size: tuple[int, int], strides: tuple[int, int]
) -> tuple[NDArray[np.int64], Floats]:
    """Return the pixels that flat lines cover, and by how much.

    A pixel is an index into an image of this size with a border of one pixel and these strides.
    """
    x0, y0, x1, y1 = lines_px.reshape(-1, 4).T
    slope = (y1 - y0) / np.where(x0 == x1, 1.0, x1 - x0)
    # Columns whose middle a line crosses.
    first, end = (
        np.ceil(np.clip(each - 0.5, 0, size[0])).astype(np.int64)
        for each in (np.minimum(x0, x1), np.maximum(x0, x1))
    )
    count = end - first
    x = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)
    y = np.repeat(y0 - 0.5 + slope * (0.5 - x0), count) + x * np.repeat(slope, count)
    above = np.floor(y)
    share = np.repeat(np.hypot(1.0, slope), count)
    is_inside = (above >= -1) & (above < size[1])
    if not is_inside.all():
        x, y, above, share = (each[is_inside] for each in (x, y, above, share))
    share_below = (y - above) * share
    index = (x + 1) * strides[0] + (above.astype(np.int64) + 1) * strides[1]
    return (
        np.concatenate([index, index + strides[1]]),
        np.concatenate([share - share_below, share_below]),
    )
