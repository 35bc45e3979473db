"""Draws what was found on a picture: shaded translucent mesh, axes, box, distance.

Each face is drawn in its own window, in layers that are larger than the window and are shrunk
into it, which smooths the edges. The triangles of the mesh are painted from far to near.
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
"""One colour per identity, in turn; of faces without one, one by their place in the list."""

AXIS_COLOURS: tuple[Colour, ...] = ((236, 64, 64), (72, 205, 84), (70, 120, 255))
AXIS_DIRECTIONS = np.diag([1.0, 1.0, -1.0])
"""Red x to the image's right, green y down, blue -z out of the face, as the training sheets do."""

AXIS_LENGTH_M = 0.1

LIGHT_DIRECTION = np.array([-0.28, -0.45, -0.848])
"""Towards the light, in the camera frame: over the viewer's left shoulder. A unit vector."""

MAX_LAYER_PX = 1400
"""Layers are at most this large on their longer side, so that close-ups stay cheap."""

WIRE_FADES_IN_PX = (4.0, 12.0)
"""Edges of triangles show from the first length on, and fully from the second."""

SMALLEST_LETTERS_PX = 6
"""A picture too low for letters of this size goes without."""


@dataclass(frozen=True, slots=True)
class OverlayStyle:
    """What is drawn, and how strongly.

    Attributes
    ----------
    mesh, axes, box, label
        Whether each is drawn.
    opacity
        Of the mesh, 0 to 1.
    """

    mesh: bool = True
    axes: bool = True
    box: bool = True
    label: bool = True
    opacity: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.opacity <= 1.0:
            raise ValueError(f"opacity: expected 0 to 1, got {self.opacity}")


class _Window(NamedTuple):
    """A rectangle of the picture, in whole pixels."""

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
    """Return a copy of a picture with faces drawn on it, the farthest first.

    The mesh is lit by its normals. The axes sit at the head's origin: red x, green y, and blue
    -z, out of the face. The label is the identity, if there is one, and the distance; a ``~``
    says that the camera was only assumed, and the distance with it. Widths and letters grow with
    the face and the picture. What cannot be drawn, because it is not finite or behind the camera,
    is left out.

    Parameters
    ----------
    pixels
        ``(h, w, 3)`` uint8 RGB.
    faces
        Found in this picture.

    Raises
    ------
    ValueError
        ``pixels`` is no uint8 RGB picture.
    """
    style = style or OverlayStyle()
    canvas = Image.fromarray(np.array(rgb_image("pixels", pixels)))
    depth_m = [float(np.nan_to_num(face.translation_m[2])) for face in faces]
    for index in np.argsort(depth_m, kind="stable")[::-1]:
        _draw_face(canvas, faces[index], colour_of(faces[index], int(index)), style)
    return np.asarray(canvas)


def colour_of(face: Face, number: int = 0) -> Colour:
    """Return a face's colour: its identity's, or of one without, that of its place in the list."""
    return PALETTE[(number if face.id is None else face.id) % len(PALETTE)]


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
    """Return the width of a thin line for a face in a picture: both should carry it."""
    face_px = float((box_xyxy[2:] - box_xyxy[:2]).max())
    return float(np.clip(face_px / 190.0, 1.0, max(canvas.size) / 500.0 + 0.7))


def _window_around(points_px: Floats, margin_px: float, size: tuple[int, int]) -> _Window | None:
    """Return the part of a picture that holds points ``(n, 2)``; None where there is none."""
    low = np.clip(np.floor(points_px.min(0) - margin_px), 0, size).astype(int)
    high = np.clip(np.ceil(points_px.max(0) + margin_px), 0, size).astype(int)
    if (high <= low).any():
        return None
    return _Window(*low.tolist(), *high.tolist())


def _paste(canvas: Image.Image, layer: Image.Image, window: _Window, shrink: int) -> None:
    """Shrink an RGBA layer to its window and lay it over the picture."""
    if shrink > 1:
        layer = layer.reduce(shrink)
    canvas.paste(layer, window[:2], layer)


def _draw_mesh(canvas: Image.Image, face: Face, colour: Colour, opacity: float) -> None:
    window = _window_around(face.landmarks_px, 1.0, canvas.size)
    if window is None:
        return
    shrink = 2 if 2 * max(window.size) <= MAX_LAYER_PX else 1
    mesh = face.mesh()
    points_px = (face.landmarks_px - window[:2]) * shrink
    # Far outside nothing shows, and the painter must not walk over it.
    near = np.abs(points_px).max(-1) < 4 * MAX_LAYER_PX
    near &= mesh.vertices_m[:, 2] > 0
    triangles = mesh.triangles[near[mesh.triangles].all(-1)]
    corners_px = points_px[triangles]
    order = np.argsort(-mesh.vertices_m[triangles, 2].mean(-1), kind="stable")
    colours = _shade(mesh, triangles, colour, opacity)
    wires = _wire_colours(colours, corners_px / shrink)
    layer = Image.new("RGBA", (window.size[0] * shrink, window.size[1] * shrink))
    pen = ImageDraw.Draw(layer)
    polygons = corners_px.reshape(-1, 6)[order].tolist()
    fills = [tuple(fill) for fill in colours[order].tolist()]
    outlines = [None] * len(fills) if wires is None else map(tuple, wires[order].tolist())
    for polygon, fill, outline in zip(polygons, fills, outlines, strict=True):
        pen.polygon(polygon, fill=fill, outline=outline)
    _paste(canvas, layer, window, shrink)


def _shade(
    mesh: Mesh, triangles: NDArray[np.int32], colour: Colour, opacity: float
) -> NDArray[np.uint8]:
    """Return the RGBA colours ``(m, 4)`` of triangles: Lambert, a gloss, and a denser rim."""
    # From the vertices' normals rather than the triangles', so that neighbours differ little.
    normals = normalize(mesh.normals()[triangles].sum(1))
    corners = mesh.vertices_m[triangles]
    to_camera = -normalize(corners.mean(1))
    facing = (normals * to_camera).sum(-1)
    normals = normals * np.sign(facing)[:, None]  # the inside of the mask is lit from inside
    lambert = np.clip(normals @ LIGHT_DIRECTION, 0.0, 1.0)
    halfway = normalize(LIGHT_DIRECTION + to_camera)
    gloss = np.clip((normals * halfway).sum(-1), 0.0, 1.0) ** 12
    light = np.where(facing > 0, 0.3 + 0.75 * lambert, 0.25)
    rgb = np.array(colour) * light[:, None] + 60.0 * gloss[:, None]
    alpha = 255.0 * opacity * (0.8 + 0.5 * (1.0 - np.abs(facing)))
    return np.clip(np.column_stack([rgb, alpha]), 0, 255).astype(np.uint8)


def _wire_colours(fills: NDArray[np.uint8], corners_px: Floats) -> NDArray[np.uint8] | None:
    """Return lighter, denser colours for edges, or None where triangles are too small for them."""
    edge_px = np.linalg.norm(corners_px[:, 0] - corners_px[:, 1], axis=-1)
    fade_from, fade_to = WIRE_FADES_IN_PX
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
    """Mark the corners of a box, with a dark border that shows on bright pictures."""
    width = max(1, round(1.6 * unit_px))
    x0, y0, x1, y1 = np.clip(np.rint(box_xyxy), -1e6, 1e6).astype(int).tolist()
    arm = max(3 * width, round(0.12 * (x1 - x0)))
    pen = ImageDraw.Draw(canvas, "RGBA")
    for border, ink in ((max(1, round(unit_px / 2)), (0, 0, 0, 90)), (0, (*colour, 255))):
        for x, towards_x in ((x0, 1), (x1, -1)):
            for y, towards_y in ((y0, 1), (y1, -1)):
                for reach_x, reach_y in ((arm, width), (width, arm)):
                    xs = sorted((x, x + towards_x * reach_x))
                    ys = sorted((y, y + towards_y * reach_y))
                    pen.rectangle(
                        (xs[0] - border, ys[0] - border, xs[1] + border - 1, ys[1] + border - 1),
                        fill=ink,
                    )


def _draw_axes(canvas: Image.Image, face: Face, unit_px: float) -> None:
    """Draw the three arrows from the head's origin, those that point away first."""
    tips_m = np.concatenate([np.zeros((1, 3)), AXIS_DIRECTIONS * AXIS_LENGTH_M])
    tips_cam = transform(tips_m, face.rotation, face.translation_m)
    points_px = face.camera.project(tips_cam)
    if not np.isfinite(points_px).all():
        return
    width = 2.4 * unit_px
    window = _window_around(points_px, 4 * width, canvas.size)
    if window is None or max(window.size) > 2 * max(canvas.size):
        return
    shrink = 3
    layer = Image.new("RGBA", (window.size[0] * shrink, window.size[1] * shrink))
    pen = ImageDraw.Draw(layer)
    ends = (points_px - window[:2]) * shrink
    for axis in np.argsort(-tips_cam[1:, 2], kind="stable"):
        _draw_arrow(pen, ends[0], ends[1 + axis], width * shrink, AXIS_COLOURS[axis])
    _paste(canvas, layer, window, shrink)


def _draw_arrow(
    pen: ImageDraw.ImageDraw, start: Floats, end: Floats, width: float, colour: Colour
) -> None:
    length = float(np.linalg.norm(end - start))
    along = (end - start) / max(length, 1e-9)
    across = np.array([-along[1], along[0]])
    head = min(3.2 * width, 0.6 * length)
    neck = end - along * head
    for border, ink in ((0.3 * width, (20, 20, 20, 130)), (0.0, (*colour, 255))):
        half = width / 2 + border
        shaft = [start - across * half, start + across * half]
        shaft += [neck + across * half, neck - across * half]
        pen.polygon([(float(x), float(y)) for x, y in shaft], fill=ink)
        radius = half
        pen.ellipse(
            (*(start - radius).tolist(), *(start + radius).tolist()),
            fill=ink,
        )
        spread = 0.45 * head + border
        tip = [end + along * border * 1.5, neck - along * border + across * spread]
        tip += [neck - along * border - across * spread]
        pen.polygon([(float(x), float(y)) for x, y in tip], fill=ink)


@lru_cache(maxsize=32)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _draw_label(canvas: Image.Image, face: Face, unit_px: float) -> None:
    """Write identity and distance on a dark plate above the box, or inside for want of room."""
    about = "~" if face.camera.source == "assumed" else ""
    identity = "" if face.id is None else f"#{face.id}  "
    text = f"{identity}{about}{face.distance_m:.2f} m"
    size_px = round(min(max(13.0 * unit_px, 11.0), canvas.height / 8))
    if size_px < SMALLEST_LETTERS_PX:
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
    pen = ImageDraw.Draw(canvas, "RGBA")
    pen.rounded_rectangle((x, y, x + width - 1, y + height - 1), pad, fill=(16, 20, 28, 175))
    pen.text((x + pad, y + height - pad), text, fill=(255, 255, 255), font=font, anchor="ls")
