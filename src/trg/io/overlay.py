"""Draws faces on images: mesh and features as thin lines, landmarks, axes, box and distance.

Only the part of the image around each face is touched. Antialiased masks select where a colour is
blended in: lines and points are rasterised with NumPy, arrows by Pillow with supersampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from trg.geometry.rotations import rotation_from_rotvec
from trg.io.line_coverage import line_coverage

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

Layer = Literal["mesh", "landmarks", "errors", "axes", "box", "label"]
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

POINT_COLOUR: Colour = (255, 255, 255)
BORDER_COLOUR: Colour = (16, 20, 28)
"""Of the borders that give contrast on bright images."""

SCREEN_PX = 1600.0
"""Images above this size are assumed to be shown at it: no line is thinner than a pixel then."""

SPARSE_OPACITY, DENSE_OPACITY = 0.75, 0.35
"""Of the mesh's lines beside the lines of features: of a large face, and of a small one."""

DENSE_EDGE_PX = 4.0
"""Mean length of the lines of a face that is small in this sense."""

FEATURE_LINES = np.array(
    [(i, i + 1) for i in range(67) if i not in (16, 21, 26, 30, 35, 41, 47, 59)]
    + [(41, 36), (47, 42), (59, 48), (67, 60)]
)
"""``(l, 2)``: lines between the 68 landmarks along jaw, brows, nose, eyes and lips."""

HIDDEN_DEPTH_M = 0.03
"""Lines this far behind the surface in front of them are hidden, such as a cheek by the nose."""

ERROR_STDS = 2.0
"""Standard deviations from the middle of an ellipse of errors to its border."""

ERROR_OPACITY = 0.3
MAX_ERROR_DEG = 45.0
"""Larger errors of the rotation are drawn as this one."""

MIN_FONT_PX = 6
"""Images that are too small for this font size get no label."""


@dataclass(frozen=True, slots=True)
class OverlayStyle:
    """What is drawn."""

    mesh: bool = True
    """The edges of the landmark mesh."""
    axes: bool = True
    """The axes of the head frame, 10 cm long."""
    box: bool = True
    """The square face box."""
    label: bool = True
    """Identity and distance."""
    landmarks: bool = False
    """The 68 landmarks as points."""
    errors: bool = False
    """Ellipses of two standard deviations: of the 68 landmarks, and of the tip of the blue axis,
    from the rotation. Nothing for a face without error bars."""
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


class _Pen(NamedTuple):
    """How a face is drawn."""

    colour: Colour
    unit_px: float
    """Width of a thin line."""
    opacity: float
    """Of the mesh's lines."""


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
    unit_px = _line_unit_px((drawn.shape[1], drawn.shape[0]), face.box_xyxy)
    pen = _Pen(colour, unit_px, style.opacity)
    for layer, draw in _LAYERS.items():
        if getattr(style, layer):
            draw(drawn, face, pen)


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


def _draw_mesh(drawn: NDArray[np.uint8], face: Face, pen: _Pen) -> None:
    size = (drawn.shape[1], drawn.shape[0])
    width_px = max(1.0, float((face.box_xyxy[2:] - face.box_xyxy[:2]).max()) / 600.0)
    window = _window_around(face.landmarks_px, width_px, size)
    if window is None:
        return
    # Wide lines are thin ones of an enlarged mask.
    mask_size = (ceil(window.size[0] / width_px), ceil(window.size[1] / width_px))
    is_seen = _visible_vertices(face)
    points_px = (face.landmarks_px - window[:2]) / width_px
    edges_px, features_px = (
        points_px[lines[is_seen[lines].all(1)]]
        for lines in (face.topology.edges, face.topology.landmarks68[FEATURE_LINES])
    )
    if not len(edges_px):
        return
    coverage = line_coverage(edges_px, mask_size)
    coverage *= _edge_opacity(edges_px)
    coverage += line_coverage(features_px, mask_size)
    coverage = 255.0 * pen.opacity * np.minimum(coverage, 1.0)
    mask = Image.fromarray(coverage.astype(np.uint8))
    if width_px > 1.0:
        extent = (0.0, 0.0, window.size[0] / width_px, window.size[1] / width_px)
        mask = mask.resize(window.size, Image.Resampling.BILINEAR, extent)
    _blend(drawn, window, mask, pen.colour)


def _edge_opacity(edges_px: Floats) -> float:
    """Return the opacity of a mesh's lines ``(n, 2, 2)``, which fade where they are dense."""
    length_px = float(np.linalg.norm(edges_px[:, 1] - edges_px[:, 0], axis=1).mean())
    density = min(DENSE_EDGE_PX / max(length_px, 1e-9), 1.0)
    return SPARSE_OPACITY + density * (DENSE_OPACITY - SPARSE_OPACITY)


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


def _draw_landmarks(drawn: NDArray[np.uint8], face: Face, pen: _Pen) -> None:
    """Draw the 68 landmarks as points with a dark border."""
    size = (drawn.shape[1], drawn.shape[0])
    points_px = face.landmarks68_px
    for radius, colour in ((1.8 * pen.unit_px, BORDER_COLOUR), (1.2 * pen.unit_px, POINT_COLOUR)):
        window = _window_around(points_px, radius + 1, size)
        if window is None:
            return
        reach = ceil(radius) + 1
        offset = np.arange(-reach, reach + 1)
        near = np.floor(points_px)[:, None, None] + np.stack(np.meshgrid(offset, offset), -1)
        gap = np.linalg.norm(near + 0.5 - points_px[:, None, None], axis=-1)
        stamps = (255.0 * np.clip(radius + 0.5 - gap, 0.0, 1.0)).astype(np.uint8)
        # A border takes the parts of points that leave the window.
        mask = np.zeros((window.size[1] + 4 * reach, window.size[0] + 4 * reach), np.uint8)
        corners = near[:, 0, 0] - window[:2] + 2 * reach
        is_inside = ((corners >= 0) & (corners < np.add(window.size, 2 * reach))).all(1)
        for (x, y), stamp in zip(
            corners[is_inside].astype(int).tolist(), stamps[is_inside], strict=True
        ):
            part = mask[y : y + len(stamp), x : x + len(stamp)]
            np.maximum(part, stamp, out=part)
        inner = np.ascontiguousarray(mask[2 * reach : -2 * reach, 2 * reach : -2 * reach])
        _blend(drawn, window, Image.fromarray(inner), colour)


def _draw_errors(drawn: NDArray[np.uint8], face: Face, pen: _Pen) -> None:
    """Fill the ellipses of the landmarks' errors and of the rotation's, faintly."""
    landmarks_std_px = face.landmarks_std_px
    if landmarks_std_px is None:
        return
    angles = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], -1)
    radii_px = ERROR_STDS * landmarks_std_px[:, None, None]
    outlines_px = [*(face.landmarks68_px[:, None] + radii_px * circle), _tip_ellipse(face, circle)]
    size = (drawn.shape[1], drawn.shape[0])
    for group, colour in ((outlines_px[:-1], POINT_COLOUR), (outlines_px[-1:], AXIS_COLOURS[2])):
        points_px = np.concatenate(group)
        if not np.isfinite(points_px).all():
            continue
        window = _window_around(np.clip(points_px, -max(size), 2 * max(size)), 1.0, size)
        if window is None:
            continue
        mask = Image.new("L", (2 * window.size[0], 2 * window.size[1]))
        draw = ImageDraw.Draw(mask)
        for outline in group:
            corners = (2.0 * (outline - window[:2])).ravel().tolist()
            draw.polygon(corners, fill=round(255 * ERROR_OPACITY))
        _blend(drawn, window, mask.reduce(2), colour)


def _tip_ellipse(face: Face, circle: Floats) -> Floats:
    """Return where the errors of the rotation move the tip of the blue axis, ``(k, 2)`` px."""
    rotation_std_deg = face.rotation_std_deg
    assert rotation_std_deg is not None
    tip_m = AXIS_LENGTH_M * AXIS_DIRECTIONS[2]
    turns = np.radians(np.minimum(ERROR_STDS * rotation_std_deg, MAX_ERROR_DEG))
    about_x, about_y = np.diag(turns)[:2]
    tips_m = np.stack(
        [rotation_from_rotvec(turn) @ tip_m for turn in (about_x, -about_x, about_y, -about_y)]
    )
    tips_px = face.camera.project(transform(tips_m, face.rotation, face.translation_m))
    half_px = (tips_px[0::2] - tips_px[1::2]) / 2.0
    centre_px: Floats = tips_px.mean(0)
    return centre_px + circle @ half_px


def _draw_box(drawn: NDArray[np.uint8], face: Face, pen: _Pen) -> None:
    """Mark the corners of a box, with a dark border for contrast on bright images."""
    width = max(1, round(1.6 * pen.unit_px))
    x0, y0, x1, y1 = np.clip(np.rint(face.box_xyxy), -1e6, 1e6).astype(int).tolist()
    arm = max(3 * width, round(0.12 * (x1 - x0)))
    rectangles = [
        (*sorted((x, x + towards_x * reach_x)), *sorted((y, y + towards_y * reach_y)))
        for x, towards_x in ((x0, 1), (x1, -1))
        for y, towards_y in ((y0, 1), (y1, -1))
        for reach_x, reach_y in ((arm, width), (width, arm))
    ]
    for border, fill, opacity in (
        (max(1, round(pen.unit_px / 2)), BORDER_COLOUR, 0.35),
        (0, pen.colour, 1.0),
    ):
        for left, right, top, bottom in rectangles:
            rows = slice(max(top - border, 0), max(bottom + border, 0))
            columns = slice(max(left - border, 0), max(right + border, 0))
            region = drawn[rows, columns]
            region[:] = region * (1 - opacity) + np.array(fill) * opacity


def _draw_axes(drawn: NDArray[np.uint8], face: Face, pen: _Pen) -> None:
    """Draw the three arrows from the head's origin, the farthest tip first."""
    size = (drawn.shape[1], drawn.shape[0])
    tips_m = np.concatenate([np.zeros((1, 3)), AXIS_DIRECTIONS * AXIS_LENGTH_M])
    tips_cam = transform(tips_m, face.rotation, face.translation_m)
    points_px = face.camera.project(tips_cam)
    if not np.isfinite(points_px).all() or np.ptp(points_px, axis=0).max() > 2 * max(size):
        return
    for axis in np.argsort(-tips_cam[1:, 2], kind="stable"):
        ends = points_px[[0, 1 + axis]]
        _draw_arrow(drawn, ends, 2.4 * pen.unit_px, AXIS_COLOURS[axis])


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


def _draw_label(drawn: NDArray[np.uint8], face: Face, pen: _Pen) -> None:
    """Write identity and distance on a dark plate above the box, or inside if there is no room."""
    image_height, image_width = drawn.shape[:2]
    about = "~" if face.camera.source == "assumed" else ""
    identity = "" if face.id is None else f"#{face.id}  "
    text = f"{identity}{about}{face.distance_m:.2f} m"
    size_px = round(min(max(13.0 * pen.unit_px, 11.0), image_height / 8))
    if size_px < MIN_FONT_PX:
        return
    font = _font(size_px)
    pad = round(0.35 * size_px)
    width, height = round(font.getlength(text)) + 2 * pad, round(0.75 * size_px) + 2 * pad
    gap = round(2 * pen.unit_px)
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


_LAYERS: dict[Layer, Callable[[NDArray[np.uint8], Face, _Pen], None]] = {
    "mesh": _draw_mesh,
    "errors": _draw_errors,
    "landmarks": _draw_landmarks,
    "box": _draw_box,
    "axes": _draw_axes,
    "label": _draw_label,
}
"""What draws each layer, the lowest first."""
