"""Contact sheets: many samples in one image, with their labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from trg.geometry.projection import transform
from trglab.datasets.sample import Sample

AXIS_M = 0.08
RELATIVE_AXIS = 0.4
"""Length of an axis over the side of the box, if the distance is unknown."""
CELL_MARGIN = 1.2
"""Side of a cell over the side of the face box."""

_AXIS_COLOURS = ((230, 40, 40), (40, 200, 60), (60, 90, 255))
_SEEN, _HIDDEN, _MESH = (255, 220, 0, 255), (70, 140, 255, 255), (120, 255, 190, 70)
_BOX = (255, 255, 255, 160)


def contact_sheet(
    samples: Iterable[Sample],
    *,
    columns: int = 10,
    cell_px: int = 192,
    labels: bool = True,
    edges: NDArray[np.integer] | None = None,
) -> Image.Image:
    """Draw samples side by side, each cropped around its face.

    Parameters
    ----------
    labels
        Draw the face box, the 68 landmarks (yellow: seen, blue: hidden) and the head's axes (x
        red, y green, z blue; 8 cm each, or relative to the box where the distance is unknown).
    edges
        With ``labels``, also draw these pairs ``(m, 2)`` of vertices on samples that have them.

    Raises
    ------
    ValueError
        There are no samples.
    """
    cells = [_cell(sample, cell_px, labels, edges) for sample in samples]
    if not cells:
        raise ValueError("contact sheet: expected at least one sample, got none")
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * cell_px, rows * cell_px))
    for number, cell in enumerate(cells):
        sheet.paste(cell, (number % columns * cell_px, number // columns * cell_px))
    return sheet


def _cell(
    sample: Sample, cell_px: int, labels: bool, edges: NDArray[np.integer] | None
) -> Image.Image:
    box = np.asarray(sample.box_xyxy, dtype=np.float64)
    side = max(1, round(CELL_MARGIN * float((box[2:] - box[:2]).max())))
    left, top = np.round((box[:2] + box[2:] - side) / 2.0).astype(int).tolist()
    cell = Image.fromarray(sample.image).crop((left, top, left + side, top + side))
    cell = cell.resize((cell_px, cell_px), Image.Resampling.BICUBIC)
    if labels:
        _draw_labels(cell, sample, np.array([left, top]), cell_px / side, edges)
    return cell


def _draw_labels(
    cell: Image.Image,
    sample: Sample,
    corner_px: NDArray[np.integer],
    scale: float,
    edges: NDArray[np.integer] | None,
) -> None:
    draw = ImageDraw.Draw(cell, "RGBA")
    R, T, vertices_m = sample.rotation, sample.translation_m, sample.vertices_m
    if R is not None and T is not None and edges is not None and vertices_m is not None:
        vertices = sample.camera.project(transform(vertices_m, R, T))
        for ends in ((vertices - corner_px) * scale)[edges]:
            if np.isfinite(ends).all():
                draw.line([*ends[0], *ends[1]], fill=_MESH)
    box = (sample.box_xyxy.reshape(2, 2) - corner_px) * scale
    draw.rectangle([*box[0], *box[1]], outline=_BOX)
    if sample.landmarks68_px is not None:
        seen = sample.landmarks68_visible
        for number, (x, y) in enumerate((sample.landmarks68_px - corner_px) * scale):
            colour = _SEEN if seen is None or seen[number] else _HIDDEN
            draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=colour)
    if R is not None:
        origin, *tips = (_axes_px(sample, R, T) - corner_px) * scale
        for tip, axis_colour in zip(tips, _AXIS_COLOURS, strict=True):
            if np.isfinite([origin, tip]).all():
                draw.line([*origin, *tip], fill=axis_colour, width=2)


def _axes_px(
    sample: Sample, rotation: NDArray[np.floating], translation_m: NDArray[np.floating] | None
) -> NDArray[np.float64]:
    """Return the image points of the head origin and the tips of its axes, ``(4, 2)``."""
    if translation_m is not None:
        tips_m = rotation.T * AXIS_M + translation_m
        return sample.camera.project(np.vstack([translation_m, tips_m]))
    centre = sample.box_xyxy.reshape(2, 2).mean(0)
    side = float((sample.box_xyxy[2:] - sample.box_xyxy[:2]).max())
    return np.vstack([centre, rotation.T[:, :2] * RELATIVE_AXIS * side + centre])
