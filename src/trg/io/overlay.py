"""Draws faces on images: shaded translucent mesh, axes, box and distance.

Each face is drawn in its own window, on supersampled layers, which antialiases the edges. The
triangles of the mesh are painted from back to front (painter's algorithm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trg._util.checks import rgb_image
from trg.face import Face, Mesh
from trg.geometry.projection import transform
from trg.geometry.rotations import normalize

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

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

LIGHT_DIRECTION = np.array([-0.28, -0.45, -0.848])
"""Unit vector towards the light in the camera frame: from above left of the viewer."""

MAX_LAYER_PX = 1400
"""Maximum longer side of a layer; limits the cost of close-ups."""

WIRE_FADE_PX = (4.0, 12.0)
"""Triangle edges are invisible up to the first length, and fully visible from the second."""

MIN_FONT_PX = 6
"""Images that are too small for this font size get no label."""


@dataclass(frozen=True, slots=True)
class OverlayStyle:
    """What is drawn."""

    mesh: bool = True
    axes: bool = True
    box: bool = True
    label: bool = True
    opacity: float = 0.5
    """Of the mesh, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.opacity <= 1.0:
            raise ValueError(f"opacity: expected 0 to 1, got {self.opacity}")


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

    The mesh is shaded by its normals. The axes start at the head's origin: red x, green y, and
    blue -z, out of the face. The label shows the identity, if any, and the distance; ``~`` marks a
    distance that depends on an assumed camera. Line widths and font size scale with the face and
    the image. Parts that are behind the camera or not finite are omitted.

    Raises ValueError if ``pixels`` is not an ``(h, w, 3)`` uint8 RGB image.
    """
    style = style or OverlayStyle()
    canvas = Image.fromarray(np.array(rgb_image("pixels", pixels)))
    depth_m = [float(np.nan_to_num(face.translation_m[2])) for face in faces]
    for index in np.argsort(depth_m, kind="stable")[::-1]:
        _draw_face(canvas, faces[index], colour_of(faces[index], int(index)), style)
    return np.asarray(canvas)


def colour_of(face: Face, index: int = 0) -> Colour:
    """Return the colour of a face by its identity, or by its index if it has none."""
    return PALETTE[(index if face.id is None else face.id) % len(PALETTE)]


def _draw_face(canvas: Image.Image, face: Face, colour: Colour, style: OverlayStyle) -> None:
    in_front = bool(face.translation_m[2] > 0)
    unit_px = _line_unit_px(canvas, face.box_xyxy)
    if style.mesh and in_front:
        _draw_mesh(canvas, face, colour, style.opacity)
    if style.box:
        _draw_box(canvas, face.box_xyxy, colour, unit_px)
    if style.axes and in_front:
        _draw_axes(canvas, face, unit_px)
    if style.label and in_front:
        _draw_label(canvas, face, unit_px)


def _line_unit_px(canvas: Image.Image, box_xyxy: Floats) -> float:
    """Return the width of a thin line, which scales with the face up to a limit by the image."""
    face_px = float((box_xyxy[2:] - box_xyxy[:2]).max())
    return float(np.clip(face_px / 190.0, 1.0, max(canvas.size) / 500.0 + 0.7))


def _window_around(points_px: Floats, margin_px: float, size: tuple[int, int]) -> _Window | None:
    """Return the part of an image around points ``(n, 2)``; None if they are outside."""
    low = np.clip(np.floor(points_px.min(0) - margin_px), 0, size).astype(int)
    high = np.clip(np.ceil(points_px.max(0) + margin_px), 0, size).astype(int)
    if (high <= low).any():
        return None
    return _Window(*low.tolist(), *high.tolist())


def _paste(canvas: Image.Image, layer: Image.Image, window: _Window, scale: int) -> None:
    """Downsample an RGBA layer to its window and blend it over the image."""
    if scale > 1:
        layer = layer.reduce(scale)
    canvas.paste(layer, window[:2], layer)


def _draw_mesh(canvas: Image.Image, face: Face, colour: Colour, opacity: float) -> None:
    window = _window_around(face.landmarks_px, 1.0, canvas.size)
    if window is None:
        return
    scale = 2 if 2 * max(window.size) <= MAX_LAYER_PX else 1
    mesh = face.mesh()
    points_px = (face.landmarks_px - window[:2]) * scale
    # Pillow is slow for polygons that extend far outside the layer.
    near = np.abs(points_px).max(-1) < 4 * MAX_LAYER_PX
    near &= mesh.vertices_m[:, 2] > 0
    triangles = mesh.triangles[near[mesh.triangles].all(-1)]
    corners_px = points_px[triangles]
    order = np.argsort(-mesh.vertices_m[triangles, 2].mean(-1), kind="stable")
    colours = _shade(mesh, triangles, colour, opacity)
    wires = _wire_colours(colours, corners_px / scale)
    layer = Image.new("RGBA", (window.size[0] * scale, window.size[1] * scale))
    draw = ImageDraw.Draw(layer)
    polygons = corners_px.reshape(-1, 6)[order].tolist()
    fills = [tuple(fill) for fill in colours[order].tolist()]
    outlines = [None] * len(fills) if wires is None else map(tuple, wires[order].tolist())
    for polygon, fill, outline in zip(polygons, fills, outlines, strict=True):
        draw.polygon(polygon, fill=fill, outline=outline)
    _paste(canvas, layer, window, scale)


def _shade(
    mesh: Mesh, triangles: NDArray[np.int32], colour: Colour, opacity: float
) -> NDArray[np.uint8]:
    """Return RGBA colours ``(m, 4)`` of triangles: Lambert and specular shading, opaque rim."""
    # Vertex normals give smoother shading than triangle normals.
    normals = normalize(mesh.normals()[triangles].sum(1))
    corners = mesh.vertices_m[triangles]
    to_camera = -normalize(corners.mean(1))
    cosine = (normals * to_camera).sum(-1)
    normals = normals * np.sign(cosine)[:, None]  # back faces are lit from the inside
    lambert = np.clip(normals @ LIGHT_DIRECTION, 0.0, 1.0)
    halfway = normalize(LIGHT_DIRECTION + to_camera)
    specular = np.clip((normals * halfway).sum(-1), 0.0, 1.0) ** 12
    light = np.where(cosine > 0, 0.3 + 0.75 * lambert, 0.25)
    rgb = np.array(colour) * light[:, None] + 60.0 * specular[:, None]
    alpha = 255.0 * opacity * (0.8 + 0.5 * (1.0 - np.abs(cosine)))
    return np.clip(np.column_stack([rgb, alpha]), 0, 255).astype(np.uint8)


def _wire_colours(fills: NDArray[np.uint8], corners_px: Floats) -> NDArray[np.uint8] | None:
    """Return lighter, more opaque colours for edges; None if the triangles are too small."""
    edge_px = np.linalg.norm(corners_px[:, 0] - corners_px[:, 1], axis=-1)
    fade_from, fade_to = WIRE_FADE_PX
    typical_px = float(np.median(edge_px)) if len(edge_px) else 0.0
    strength = float(np.clip((typical_px - fade_from) / (fade_to - fade_from), 0.0, 1.0))
    if strength == 0.0:
        return None
    lighter = (
        fills
        + (np.array([255, 255, 255, 255]) - fills) * np.array([0.5, 0.5, 0.5, 0.35]) * strength
    )
    return lighter.astype(np.uint8)


def _draw_box(canvas: Image.Image, box_xyxy: Floats, colour: Colour, unit_px: float) -> None:
    """Mark the corners of a box, with a dark border for contrast on bright images."""
    width = max(1, round(1.6 * unit_px))
    x0, y0, x1, y1 = np.clip(np.rint(box_xyxy), -1e6, 1e6).astype(int).tolist()
    arm = max(3 * width, round(0.12 * (x1 - x0)))
    draw = ImageDraw.Draw(canvas, "RGBA")
    for border, fill in ((max(1, round(unit_px / 2)), (0, 0, 0, 90)), (0, (*colour, 255))):
        for x, towards_x in ((x0, 1), (x1, -1)):
            for y, towards_y in ((y0, 1), (y1, -1)):
                for reach_x, reach_y in ((arm, width), (width, arm)):
                    xs = sorted((x, x + towards_x * reach_x))
                    ys = sorted((y, y + towards_y * reach_y))
                    draw.rectangle(
                        (xs[0] - border, ys[0] - border, xs[1] + border - 1, ys[1] + border - 1),
                        fill=fill,
                    )


def _draw_axes(canvas: Image.Image, face: Face, unit_px: float) -> None:
    """Draw the three arrows from the head's origin, the farthest tip first."""
    tips_m = np.concatenate([np.zeros((1, 3)), AXIS_DIRECTIONS * AXIS_LENGTH_M])
    tips_cam = transform(tips_m, face.rotation, face.translation_m)
    points_px = face.camera.project(tips_cam)
    if not np.isfinite(points_px).all():
        return
    width = 2.4 * unit_px
    window = _window_around(points_px, 4 * width, canvas.size)
    if window is None or max(window.size) > 2 * max(canvas.size):
        return
    scale = 3
    layer = Image.new("RGBA", (window.size[0] * scale, window.size[1] * scale))
    draw = ImageDraw.Draw(layer)
    ends = (points_px - window[:2]) * scale
    for axis in np.argsort(-tips_cam[1:, 2], kind="stable"):
        _draw_arrow(draw, ends[0], ends[1 + axis], width * scale, AXIS_COLOURS[axis])
    _paste(canvas, layer, window, scale)


def _draw_arrow(
    draw: ImageDraw.ImageDraw, start: Floats, end: Floats, width: float, colour: Colour
) -> None:
    length = float(np.linalg.norm(end - start))
    along = (end - start) / max(length, 1e-9)
    across = np.array([-along[1], along[0]])
    head = min(3.2 * width, 0.6 * length)
    neck = end - along * head
    for border, fill in ((0.3 * width, (20, 20, 20, 130)), (0.0, (*colour, 255))):
        half = width / 2 + border
        shaft = [start - across * half, start + across * half]
        shaft += [neck + across * half, neck - across * half]
        draw.polygon([(float(x), float(y)) for x, y in shaft], fill=fill)
        draw.ellipse((*(start - half).tolist(), *(start + half).tolist()), fill=fill)
        spread = 0.45 * head + border
        tip = [end + along * border * 1.5, neck - along * border + across * spread]
        tip += [neck - along * border - across * spread]
        draw.polygon([(float(x), float(y)) for x, y in tip], fill=fill)


@lru_cache(maxsize=32)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _draw_label(canvas: Image.Image, face: Face, unit_px: float) -> None:
    """Write identity and distance on a dark plate above the box, or inside if there is no room."""
    about = "~" if face.camera.source == "assumed" else ""
    identity = "" if face.id is None else f"#{face.id}  "
    text = f"{identity}{about}{face.distance_m:.2f} m"
    size_px = round(min(max(13.0 * unit_px, 11.0), canvas.height / 8))
    if size_px < MIN_FONT_PX:
        return
    font = _font(size_px)
    text_px = font.getlength(text)
    pad = round(0.35 * size_px)
    width, height = round(text_px) + 2 * pad, round(0.75 * size_px) + 2 * pad
    gap = round(2 * unit_px)
    x = round(float(np.clip(face.box_xyxy[0], 0, max(canvas.width - width, 0))))
    y = round(float(face.box_xyxy[1])) - height - gap
    if y < 0:
        y = max(round(float(face.box_xyxy[1])), 0) + gap
    if y > canvas.height or face.box_xyxy[2] < 0 or face.box_xyxy[0] > canvas.width:
        return
    draw = ImageDraw.Draw(canvas, "RGBA")
    draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), pad, fill=(16, 20, 28, 175))
    draw.text((x + pad, y + height - pad), text, fill=(255, 255, 255), font=font, anchor="ls")
