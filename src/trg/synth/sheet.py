"""Contact sheets: many samples in one picture, with their labels drawn in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from trg.crop import face_box
from trg.data.sample import Sample
from trg.geometry import transform
from trg.topology import FaceTopology

AXIS_M = 0.08
ROOM = 1.8
"""Side of a cell over the larger side of the landmarks' rectangle."""

_AXIS_COLOURS = ((230, 40, 40), (40, 200, 60), (60, 90, 255))
_SEEN, _HIDDEN, _MESH = (255, 220, 0, 255), (70, 140, 255, 255), (120, 255, 190, 70)


def contact_sheet(
    samples: Iterable[Sample],
    *,
    columns: int = 10,
    cell_px: int = 192,
    labels: bool = True,
    topology: FaceTopology | None = None,
) -> Image.Image:
    """Put samples side by side, each cut to the surroundings of its face.

    Parameters
    ----------
    labels
        Draw the 68 landmarks (yellow: seen, blue: hidden) and the head's axes (x red, y green,
        z blue; 8 cm each).
    topology
        With ``labels``, also draw this mesh on samples that have its vertices.

    Raises
    ------
    ValueError
        There are no samples.
    """
    cells = [_cell(sample, cell_px, labels, topology) for sample in samples]
    if not cells:
        raise ValueError("contact sheet: expected at least one sample, got none")
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * cell_px, rows * cell_px))
    for number, cell in enumerate(cells):
        sheet.paste(cell, (number % columns * cell_px, number // columns * cell_px))
    return sheet


def _cell(sample: Sample, cell_px: int, labels: bool, topology: FaceTopology | None) -> Image.Image:
    x0, y0, x1, _ = face_box(sample.require_landmarks68_px(), ROOM)
    left, top, side = round(x0), round(y0), max(1, round(x1 - x0))
    cell = Image.fromarray(sample.image).crop((left, top, left + side, top + side))
    cell = cell.resize((cell_px, cell_px), Image.Resampling.BICUBIC)
    if labels:
        _draw_labels(cell, sample, np.array([left, top]), cell_px / side, topology)
    return cell


def _draw_labels(
    cell: Image.Image,
    sample: Sample,
    corner_px: np.ndarray,
    scale: float,
    topology: FaceTopology | None,
) -> None:
    draw = ImageDraw.Draw(cell, "RGBA")
    R, T = sample.rotation, sample.translation_m
    if R is not None and T is not None and topology is not None and sample.vertices_m is not None:
        vertices = sample.camera.project(transform(sample.vertices_m, R, T))
        for ends in ((vertices - corner_px) * scale)[topology.edges]:
            if np.isfinite(ends).all():
                draw.line([*ends[0], *ends[1]], fill=_MESH)
    seen = sample.landmarks68_visible
    for number, (x, y) in enumerate((sample.require_landmarks68_px() - corner_px) * scale):
        colour = _SEEN if seen is None or seen[number] else _HIDDEN
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=colour)
    if R is not None and T is not None:
        ends = sample.camera.project(np.vstack([T, R.T * AXIS_M + T]))
        origin, *tips = (ends - corner_px) * scale
        for tip, axis_colour in zip(tips, _AXIS_COLOURS, strict=True):
            if np.isfinite([origin, tip]).all():
                draw.line([*origin, *tip], fill=axis_colour, width=2)
