"""Contact sheets: many samples in one picture, with their labels drawn in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from trg.crop import face_box
from trg.data.sample import Sample

AXIS_M = 0.08
_AXIS_COLOURS = ((230, 40, 40), (40, 200, 60), (60, 90, 255))
_SEEN, _HIDDEN = (255, 220, 0), (70, 140, 255)


def contact_sheet(
    samples: Iterable[Sample], *, columns: int = 10, cell_px: int = 192, labels: bool = True
) -> Image.Image:
    """Put samples side by side, each cut to the surroundings of its face.

    Parameters
    ----------
    labels
        Draw the 68 landmarks (yellow: seen, blue: hidden) and the head's axes (x red, y green,
        z blue; 8 cm each).

    Raises
    ------
    ValueError
        There are no samples.
    """
    cells = [_cell(sample, cell_px, labels) for sample in samples]
    if not cells:
        raise ValueError("contact sheet: expected at least one sample, got none")
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * cell_px, rows * cell_px))
    for number, cell in enumerate(cells):
        sheet.paste(cell, (number % columns * cell_px, number // columns * cell_px))
    return sheet


def _cell(sample: Sample, cell_px: int, labels: bool) -> Image.Image:
    landmarks_px = sample.require_landmarks68_px()
    x0, y0, x1, _ = face_box(landmarks_px, margin=1.8)
    scale = cell_px / (x1 - x0)
    left, top = round(x0), round(y0)
    side = round(x1 - x0)
    window = (left, top, left + side, top + side)
    cell = Image.fromarray(sample.image).crop(window).resize((cell_px, cell_px))
    if not labels:
        return cell
    draw = ImageDraw.Draw(cell)
    seen = sample.landmarks68_visible
    for number, (x, y) in enumerate((landmarks_px - (left, top)) * scale):
        colour = _SEEN if seen is None or seen[number] else _HIDDEN
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=colour)
    if sample.rotation is not None and sample.translation_m is not None:
        tips_m = sample.rotation.T * AXIS_M + sample.translation_m
        ends = sample.camera.project(np.vstack([sample.translation_m, tips_m]))
        origin, *tips = (ends - (left, top)) * scale
        for tip, colour in zip(tips, _AXIS_COLOURS, strict=True):
            if np.isfinite(tip).all():
                draw.line([*origin, *tip], fill=colour, width=2)
    return cell
