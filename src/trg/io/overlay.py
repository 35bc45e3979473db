"""Draws faces on images: mesh and features as thin lines, landmarks, axes, box and distance.

Only the part of the image around each face is touched. Antialiased masks select where a colour is
blended in: lines and points are rasterised with NumPy, arrows by Pillow with supersampling.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trg._util.checks import rgb_image
from trg.face import Face
from trg.geometry.projection import transform

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

Layer = Literal["mesh", "landmarks", "axes", "box", "label"]
DEFAULT_LAYERS: tuple[Layer, ...] = ("mesh", "axes", "box", "label")

PALETTE: tuple[Colour, ...] = (
    (86, 196, 255),
    (255, 170, 92),
    (140, 226, 140),
    (232, 144, 255),
    (255, 222, 92),
    (255, 130, 144),
)
"""One colour per identity, cyclic; faces without identity use their index."""

AXIS_COLOURS: tuple[Colour, ...] = ((236, 64, 64), (72, 205, 84), (70, 120, 255))
AXIS_DIRECTIONS = np.diag([1.0, 1.0, -1.0])
"""Red x to the right of the image, green y down, blue -z out of the face."""

AXIS_LENGTH_M = 0.1

LANDMARK_COLOUR: Colour = (255, 255, 255)
BORDER_COLOUR: Colour = (16, 20, 28)
"""Of the borders that give contrast on bright images."""

SCREEN_PX = 1600.0
"""Images above this size are assumed to be shown at it: no line is thinner than a pixel then."""

MESH_COVERAGE = 0.35
"""Maximum share of the mesh's lines in half of a face; fades dense lines, those of small faces."""

FEATURE_LINES = np.array(
    [(i, i + 1) for i in range(67) if i not in (16, 21, 26, 30, 35, 41, 47, 59)]
    + [(41, 36), (47, 42), (59, 48), (67, 60)]
)
"""``(l, 2)``: lines between the 68 landmarks along jaw, brows, nose, eyes and lips."""

HIDDEN_DEPTH_M = 0.03
"""Lines this far behind the surface in front of them are hidden, such as a cheek by the nose."""

MIN_FONT_PX = 6
"""Images that are too small for this font size get no label."""


@dataclass(frozen=True, slots=True)
class OverlayStyle:
    """What is drawn."""

    mesh: bool = True
    axes: bool = True
    box: bool = True
    label: bool = True
    landmarks: bool = False
    """The 68 landmarks as points."""
    opacity: float = 0.7
    """Of the mesh's lines, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.opacity <= 1.0:
            raise ValueError(f"opacity: expected 0 to 1, got {self.opacity}")

    @classmethod
    def of(cls, layers: Iterable[str]) -> OverlayStyle:
        """Return the style with exactly these layers; raises ValueError if one is unknown."""
        chosen = set(layers)
        if not chosen or not chosen <= set(get_args(Layer)):
            raise ValueError(
                f"layers of drawings: expected some of {','.join(get_args(Layer))}, got "
                f"{','.join(sorted(chosen))!r}"
            )
        return cls(**{name: name in chosen for name in get_args(Layer)})


class _Window(NamedTuple):
    """A rectangle of the image in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        return self.right - self.left, self.bottom - self.top


def draw_faces(
    pixels: NDArray[np.uint8], faces: Sequence[Face], style: OverlayStyle | None = None
) -> NDArray[np.uint8]:
    """Return a copy of an image with faces drawn on it, the farthest first.

    The mesh is drawn as thin translucent lines that leave the face visible, in the colour of the
    identity. The axes start at the head's origin: red x, green y, and blue -z, out of the face. The
    label shows the identity, if any, and the distance; ``~`` marks a distance that depends on an
    assumed camera. Line widths and font size scale with the face and the image. Parts that are
    behind the camera or not finite are omitted.

    Raises ValueError if ``pixels`` is not an ``(h, w, 3)`` uint8 RGB image.
    """
    style = style or OverlayStyle()
    drawn = np.array(rgb_image("pixels", pixels))
    distance_m = [face.distance_m for face in faces]
    for index in np.argsort(distance_m, kind="stable")[::-1]:
        _draw_face(drawn, faces[index], colour_of(faces[index], int(index)), style)
    return drawn


def colour_of(face: Face, index: int = 0) -> Colour:
    """Return the colour of a face by its identity, or by its index if it has none."""
    return PALETTE[(index if face.id is None else face.id) % len(PALETTE)]


def _draw_face(drawn: NDArray[np.uint8], face: Face, colour: Colour, style: OverlayStyle) -> None:
    # A fisheye lens sees beyond 90 degrees, where the depth is negative.
    in_front = bool(np.isfinite(face.camera.project(face.translation_m)).all())
    size = (drawn.shape[1], drawn.shape[0])
    unit_px = _line_unit_px(size, face.box_xyxy)
    if style.mesh and in_front:
        _draw_mesh(drawn, face, colour, style.opacity)
    if style.landmarks and in_front:
        _draw_landmarks(drawn, face, unit_px)
    if style.box:
        _draw_box(drawn, face.box_xyxy, colour, unit_px)
    if style.axes and in_front:
        _draw_axes(drawn, face, unit_px)
    if style.label and in_front:
        _draw_label(drawn, face, unit_px)


def _line_unit_px(size: tuple[int, int], box_xyxy: Floats) -> float:
    """Return the width of a thin line, which scales with the face within limits by the image."""
    face_px = float((box_xyxy[2:] - box_xyxy[:2]).max())
    thinnest_px = max(1.0, max(size) / SCREEN_PX)
    return float(np.clip(face_px / 190.0, thinnest_px, max(size) / 500.0 + 0.7))


def _window_around(points_px: Floats, margin_px: float, size: tuple[int, int]) -> _Window | None:
    """Return the part of an image around points ``(n, 2)``; None if they are outside."""
    low = np.clip(np.floor(points_px.min(0) - margin_px), 0, size).astype(int)
    high = np.clip(np.ceil(points_px.max(0) + margin_px), 0, size).astype(int)
    if (high <= low).any():
        return None
    return _Window(*low.tolist(), *high.tolist())


def _blend(drawn: NDArray[np.uint8], window: _Window, mask: Image.Image, colour: Colour) -> None:
    """Blend a colour into a window of the image by a mask of its size."""
    region = drawn[window.top : window.bottom, window.left : window.right]
    canvas = Image.fromarray(region)
    canvas.paste(colour, (0, 0, *window.size), mask)
    region[:] = np.asarray(canvas)


def _draw_mesh(drawn: NDArray[np.uint8], face: Face, colour: Colour, opacity: float) -> None:
    size = (drawn.shape[1], drawn.shape[0])
    width_px = max(1.0, float((face.box_xyxy[2:] - face.box_xyxy[:2]).max()) / 600.0)
    window = _window_around(face.landmarks_px, width_px, size)
    if window is None:
        return
    # Wide lines are thin ones of an enlarged mask.
    mask_size = (ceil(window.size[0] / width_px), ceil(window.size[1] / width_px))
    is_seen = _visible_vertices(face)
    points_px = (face.landmarks_px - window[:2]) / width_px
    edges, features = (
        points_px[lines[is_seen[lines].all(1)]]
        for lines in (face.topology.edges, face.topology.landmarks68[FEATURE_LINES])
    )
    coverage = np.minimum(_line_coverage(edges, mask_size), 1.0)
    typical = float(np.median(coverage[coverage > 0])) if coverage.any() else 0.0
    coverage *= MESH_COVERAGE / max(typical, MESH_COVERAGE)
    coverage = np.minimum(coverage + _line_coverage(features, mask_size), 1.0)
    mask = Image.fromarray(np.rint(255.0 * opacity * coverage).astype(np.uint8))
    extent = (0.0, 0.0, window.size[0] / width_px, window.size[1] / width_px)
    mask = mask.resize(window.size, Image.Resampling.BILINEAR, extent)
    _blend(drawn, window, mask, colour)


def _visible_vertices(face: Face) -> NDArray[np.bool_]:
    """Return which vertices ``(n,)`` face the camera and are not behind other parts of the face."""
    topology, points_px = face.topology, face.landmarks_px
    a, b, c = (points_px[corner] for corner in topology.triangles.T)
    # Triangles are counter-clockwise seen from outside; the image's y axis points down.
    area_px = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    is_seen = np.zeros(len(points_px), bool)
    is_seen[topology.triangles[area_px < 0]] = True
    edges_px = np.abs(points_px[topology.edges[:, 1]] - points_px[topology.edges[:, 0]])
    cell_px = 2.0 * max(float(np.median(edges_px.max(1))), 0.5)
    cells = np.floor((points_px - points_px.min(0)) / cell_px).astype(np.int64)
    _, cell = np.unique(cells @ (1, 2**20), return_inverse=True)
    distances_m = np.linalg.norm(face.mesh().vertices_m, axis=1)
    nearest_m = np.full(cell.max() + 1, np.inf)
    np.minimum.at(nearest_m, cell[is_seen], distances_m[is_seen])
    return is_seen & (distances_m < nearest_m[cell] + HIDDEN_DEPTH_M)


def _line_coverage(lines_px: Floats, size: tuple[int, int]) -> Floats:
    """Return how far thin lines ``(n, 2, 2)`` cover pixels ``(h, w)``; above 1 where they meet.

    Samples about a pixel apart along each line are distributed to their four nearest pixels.
    """
    along = lines_px[:, 1] - lines_px[:, 0]
    length = np.linalg.norm(along, axis=1)
    kept = (length > 0) & (length < 2 * sum(size))  # others only at the edge of close-ups
    starts, along, length = lines_px[kept, 0], along[kept], length[kept]
    counts = np.ceil(length).astype(np.int64)
    line = np.repeat(np.arange(len(counts)), counts)
    step = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
    samples = starts[line] + along[line] * ((step + 0.5) / counts[line])[:, None]
    return _distribute(samples, (length / counts)[line], size)


def _distribute(points_px: Floats, weights: Floats, size: tuple[int, int]) -> Floats:
    """Add the weight of each point to the four pixels around it, bilinearly; return ``(h, w)``."""
    width, height = size
    corner = np.floor(points_px - 0.5)
    inside = ((corner >= -1) & (corner < size)).all(1)
    corner, weights = corner[inside], weights[inside]
    x, y = (points_px[inside] - 0.5 - corner).T
    stride = width + 2  # a border, so that no point needs clipping
    first = (corner[:, 1].astype(np.int64) + 1) * stride + corner[:, 0].astype(np.int64) + 1
    index = np.concatenate([first, first + 1, first + stride, first + stride + 1])
    shares = np.concatenate([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])
    weight = shares * np.tile(weights, 4)
    total = np.bincount(index, weight, (height + 2) * stride).astype(np.float64, copy=False)
    return total.reshape(height + 2, stride)[1:-1, 1:-1]


def _draw_landmarks(drawn: NDArray[np.uint8], face: Face, unit_px: float) -> None:
    """Draw the 68 landmarks as points with a dark border."""
    points_px = face.landmarks68_px
    for radius, colour in ((1.8 * unit_px, BORDER_COLOUR), (1.2 * unit_px, LANDMARK_COLOUR)):
        window = _window_around(points_px, radius + 1, (drawn.shape[1], drawn.shape[0]))
        if window is None:
            return
        reach = np.arange(-np.ceil(radius) - 1, np.ceil(radius) + 2)
        near = np.floor(points_px)[:, None, None] + np.stack(np.meshgrid(reach, reach), -1)
        gap = np.linalg.norm(near + 0.5 - points_px[:, None, None], axis=-1)
        alpha = np.clip(radius + 0.5 - gap, 0.0, 1.0)
        mask = np.zeros(window.size[::-1])
        x, y = (near - window[:2]).astype(np.int64).reshape(-1, 2).T
        inside = (x >= 0) & (y >= 0) & (x < window.size[0]) & (y < window.size[1])
        np.maximum.at(mask, (y[inside], x[inside]), alpha.ravel()[inside])
        _blend(drawn, window, Image.fromarray(np.rint(255 * mask).astype(np.uint8)), colour)


def _draw_box(drawn: NDArray[np.uint8], box_xyxy: Floats, colour: Colour, unit_px: float) -> None:
    """Mark the corners of a box, with a dark border for contrast on bright images."""
    width = max(1, round(1.6 * unit_px))
    x0, y0, x1, y1 = np.clip(np.rint(box_xyxy), -1e6, 1e6).astype(int).tolist()
    arm = max(3 * width, round(0.12 * (x1 - x0)))
    rectangles = [
        (*sorted((x, x + towards_x * reach_x)), *sorted((y, y + towards_y * reach_y)))
        for x, towards_x in ((x0, 1), (x1, -1))
        for y, towards_y in ((y0, 1), (y1, -1))
        for reach_x, reach_y in ((arm, width), (width, arm))
    ]
    for border, fill, opacity in (
        (max(1, round(unit_px / 2)), BORDER_COLOUR, 0.35),
        (0, colour, 1.0),
    ):
        for left, right, top, bottom in rectangles:
            rows = slice(max(top - border, 0), max(bottom + border, 0))
            columns = slice(max(left - border, 0), max(right + border, 0))
            region = drawn[rows, columns]
            region[:] = region * (1 - opacity) + np.array(fill) * opacity


def _draw_axes(drawn: NDArray[np.uint8], face: Face, unit_px: float) -> None:
    """Draw the three arrows from the head's origin, the farthest tip first."""
    size = (drawn.shape[1], drawn.shape[0])
    tips_m = np.concatenate([np.zeros((1, 3)), AXIS_DIRECTIONS * AXIS_LENGTH_M])
    tips_cam = transform(tips_m, face.rotation, face.translation_m)
    points_px = face.camera.project(tips_cam)
    if not np.isfinite(points_px).all() or np.ptp(points_px, axis=0).max() > 2 * max(size):
        return
    for axis in np.argsort(-tips_cam[1:, 2], kind="stable"):
        ends = points_px[[0, 1 + axis]]
        _draw_arrow(drawn, ends, 2.4 * unit_px, AXIS_COLOURS[axis])


def _draw_arrow(drawn: NDArray[np.uint8], ends: Floats, width: float, colour: Colour) -> None:
    window = _window_around(ends, 4 * width, (drawn.shape[1], drawn.shape[0]))
    if window is None:
        return
    scale = 3 if max(window.size) < 300 else 2
    start, end = (ends - window[:2]) * scale
    width *= scale
    length = float(np.linalg.norm(end - start))
    along = (end - start) / max(length, 1e-9)
    across = np.array([-along[1], along[0]])
    head = min(3.2 * width, 0.6 * length)
    neck = end - along * head
    for border, fill, opacity in ((0.3 * width, BORDER_COLOUR, 130), (0.0, colour, 255)):
        mask = Image.new("L", (window.size[0] * scale, window.size[1] * scale))
        draw = ImageDraw.Draw(mask)
        half = width / 2 + border
        shaft = [start - across * half, start + across * half]
        shaft += [neck + across * half, neck - across * half]
        draw.polygon([(float(x), float(y)) for x, y in shaft], fill=opacity)
        draw.ellipse((*(start - half).tolist(), *(start + half).tolist()), fill=opacity)
        spread = 0.45 * head + border
        tip = [end + along * border * 1.5, neck - along * border + across * spread]
        tip += [neck - along * border - across * spread]
        draw.polygon([(float(x), float(y)) for x, y in tip], fill=opacity)
        _blend(drawn, window, mask.reduce(scale), fill)


@lru_cache(maxsize=32)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _draw_label(drawn: NDArray[np.uint8], face: Face, unit_px: float) -> None:
    """Write identity and distance on a dark plate above the box, or inside if there is no room."""
    image_height, image_width = drawn.shape[:2]
    about = "~" if face.camera.source == "assumed" else ""
    identity = "" if face.id is None else f"#{face.id}  "
    text = f"{identity}{about}{face.distance_m:.2f} m"
    size_px = round(min(max(13.0 * unit_px, 11.0), image_height / 8))
    if size_px < MIN_FONT_PX:
        return
    font = _font(size_px)
    pad = round(0.35 * size_px)
    width, height = round(font.getlength(text)) + 2 * pad, round(0.75 * size_px) + 2 * pad
    gap = round(2 * unit_px)
    x = round(float(np.clip(face.box_xyxy[0], 0, max(image_width - width, 0))))
    y = round(float(face.box_xyxy[1])) - height - gap
    if y < 0:
        y = max(round(float(face.box_xyxy[1])), 0) + gap
    if y > image_height or face.box_xyxy[2] < 0 or face.box_xyxy[0] > image_width:
        return
    region = drawn[y : y + height, x : x + width]
    if not region.size:
        return
    canvas = Image.fromarray(region)
    draw = ImageDraw.Draw(canvas, "RGBA")
    draw.rounded_rectangle((0, 0, width - 1, height - 1), pad, fill=(*BORDER_COLOUR, 175))
    draw.text((pad, height - pad), text, fill=(255, 255, 255), font=font, anchor="ls")
    region[:] = np.asarray(canvas)
