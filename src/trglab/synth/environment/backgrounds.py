"""Backgrounds: views of panoramas and procedurally painted patterns.

All images are float32 linear RGB ``(height, width, 3)``; a white surface in a light of brightness 1
has the value 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera
from trglab.synth.environment.filters import FloatImage, blur, resize_smooth
from trglab.synth.environment.panorama import Panorama
from trglab.synth.kernels import fastmath_kernel


def render_panorama(
    panorama: Panorama,
    camera: Camera,
    cam_from_world: NDArray[np.floating],
    rng: np.random.Generator,
) -> FloatImage:
    """Render what ``camera`` sees of a panorama.

    Light and background agree if ``light_from_panorama`` gets the same matrix. Lens distortion is
    ignored: it cannot be measured on such a background. The image is out of focus by a random
    amount, in half of all draws clearly.
    """
    pixels = _view(
        panorama.radiance,
        np.asarray(cam_from_world, dtype=np.float32),
        np.float32(1.0 / camera.fx),
        np.float32(1.0 / camera.fy),
        np.float32(camera.cx),
        np.float32(camera.cy),
        camera.width,
        camera.height,
    )
    # Image pixels per panorama pixel. Where bilinear interpolation would show the panorama's grid,
    # the image is smoothed over it.
    grid_px = camera.fx * 2.0 * np.pi / panorama.radiance.shape[1]
    defocus_px = rng.uniform(0.01, 0.05) * camera.width if rng.random() < 0.5 else 0.0
    return blur(pixels, max(0.3 * grid_px if grid_px > 1.5 else 0.0, defocus_px))


def paint_background(
    width: int, height: int, rng: np.random.Generator, kind: str | None = None
) -> FloatImage:
    """Paint one of :data:`BACKGROUND_PAINTERS`, with foreground shapes and shading in some draws.

    Raises
    ------
    ValueError
        ``kind`` is not the name of a painter.
    """
    if kind is None:
        weights = np.array([weight for weight, _ in BACKGROUND_PAINTERS.values()])
        kind = str(rng.choice(list(BACKGROUND_PAINTERS), p=weights / weights.sum()))
    if kind not in BACKGROUND_PAINTERS:
        raise ValueError(
            f"background kind: expected one of {tuple(BACKGROUND_PAINTERS)}, got {kind!r}"
        )
    _, painter = BACKGROUND_PAINTERS[kind]
    image = painter(width, height, rng)
    if rng.random() < 0.25:
        image = add_foreground_shapes(image, rng)
    if rng.random() < 0.6:
        corners = rng.uniform(0.5, 1.4, (2, 2, 1)) * np.ones(3)
        image = image * resize_smooth(corners.astype(np.float32), height, width)
    if rng.random() < 0.8:
        image = blur(image, (0.004 + 0.05 * rng.random() ** 1.5) * width)
    return image


def add_foreground_shapes(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return the image with a few boxes, discs and poles in front of it."""
    image = image.copy()
    height, width = image.shape[:2]
    for _ in range(rng.integers(1, 7)):
        tone, shade = _colour(rng), rng.uniform(0.5, 1.0)
        x, y = rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.1, 1.1) * height
        kind = rng.integers(3)
        if kind == 0:
            half_w, half_h = rng.uniform(0.03, 0.3, 2) * (width, height)
            _rectangle(image, x - half_w, y - half_h, x + half_w, y + half_h, tone)
            _rectangle(image, x - half_w, y + 0.7 * half_h, x + half_w, y + half_h, tone * shade)
        elif kind == 1:
            _disc(image, x, y, rng.uniform(0.03, 0.2) * width, tone, 1.0)
        else:
            half_w = rng.uniform(0.005, 0.05) * width
            _rectangle(image, x - half_w, 0, x + half_w, height, tone)
            _rectangle(image, x, 0, x + half_w, height, tone * shade)
    return image


def fractal_noise(
    width: int, height: int, rng: np.random.Generator, first: int = 3, octaves: int = 5
) -> FloatImage:
    """Return smooth noise ``(h, w, 1)``, about -1 to 1.

    The coarsest octave has ``first`` cells across; each following one has twice as many and 0.6
    times the amplitude.
    """
    total = np.zeros((height, width, 1), dtype=np.float32)
    for octave in range(octaves):
        cells = first * 2**octave
        rows = max(2, round(cells * height / width))
        grid = (rng.random((rows, cells, 1), dtype=np.float32) - 0.5) * np.float32(0.6**octave)
        total += resize_smooth(grid, height, width)
    return total


def _colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw an albedo: mostly dull, sometimes vivid, from black to white."""
    grey = 0.02 + 0.88 * rng.random() ** 1.7
    vivid = rng.random(3)
    share = rng.uniform(0.0, 0.25) if rng.random() < 0.85 else rng.uniform(0.3, 0.8)
    return (grey * (1.0 - share + share * 2.0 * vivid)).clip(0.01, 1.0).astype(np.float32)


def _rectangle(
    image: FloatImage,
    left: float,
    top: float,
    right: float,
    bottom: float,
    rgb: NDArray[np.float32],
) -> None:
    x0, x1, y0, y1 = (max(0, round(edge)) for edge in (left, right, top, bottom))
    image[y0:y1, x0:x1] = rgb


def _disc(
    image: FloatImage, x: float, y: float, radius: float, rgb: NDArray[np.float32], weight: float
) -> None:
    """Blend a soft-edged disc into the image."""
    height, width = image.shape[:2]
    x0, x1 = max(0, int(x - radius - 1)), min(width, int(x + radius + 2))
    y0, y1 = max(0, int(y - radius - 1)), min(height, int(y + radius + 2))
    if x0 >= x1 or y0 >= y1:
        return
    dx, dy = np.arange(x0, x1) + 0.5 - x, np.arange(y0, y1) + 0.5 - y
    reach = np.sqrt(dx[None] ** 2 + dy[:, None] ** 2)
    cover = (np.clip(radius - reach + 0.5, 0, 1) * weight).astype(np.float32)[..., None]
    part = image[y0:y1, x0:x1]
    part += cover * (rgb - part)


def _gradient(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    corners = np.stack([_colour(rng) for _ in range(4)]).reshape(2, 2, 3)
    return resize_smooth(np.ascontiguousarray(corners), height, width)


def _wall(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    stains = 1.0 + rng.uniform(0.02, 0.25) * fractal_noise(width, height, rng)
    image = (_colour(rng) * stains).astype(np.float32)
    if rng.random() < 0.4:  # a corner between two walls
        edge = int(rng.uniform(0, width))
        image[:, edge:] *= np.float32(rng.uniform(0.6, 0.95))
    if rng.random() < 0.3:
        _rectangle(image, 0, rng.uniform(0.7, 1.0) * height, width, height, _colour(rng))
    return image


def _noise(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    mix = 0.5 + 0.9 * fractal_noise(width, height, rng, int(rng.integers(2, 12)))
    low, high = _colour(rng), _colour(rng)
    return (low + (high - low) * mix.clip(0.0, 1.0)).astype(np.float32)


def _stripes(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.02, 0.25) * width
    rows, columns = np.indices((height, width), dtype=np.float32)
    phase = (columns * np.cos(angle) + rows * np.sin(angle)) / period
    edge = np.clip((np.sin(2 * np.pi * phase) + rng.uniform(-0.6, 0.6)) * period / 3, -0.5, 0.5)
    low, high = _colour(rng), _colour(rng)
    return (low + (high - low) * (edge[..., None] + 0.5)).astype(np.float32)


def _rectangles(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    image = np.empty((height, width, 3), dtype=np.float32)
    image[:] = _colour(rng)
    for _ in range(rng.integers(5, 30)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        half_w, half_h = rng.uniform(0.02, 0.2, 2) * (width, height)
        _rectangle(image, x - half_w, y - half_h, x + half_w, y + half_h, _colour(rng))
    return image


def _shelves(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    """Rows of upright books or boxes with boards between them."""
    image = np.empty((height, width, 3), dtype=np.float32)
    image[:] = _colour(rng) * 0.3
    board, dark = _colour(rng), np.full(3, 0.02, dtype=np.float32)
    pitch = rng.uniform(0.2, 0.45) * height
    thick, spine = 0.06 * pitch, rng.uniform(0.03, 0.12) * width
    floor = rng.uniform(0.0, 1.0) * pitch
    while floor < height + pitch:
        x = 0.0
        while x < width:
            step = spine * rng.uniform(0.4, 1.4)
            if rng.random() < 0.9:
                top = floor - pitch * rng.uniform(0.55, 0.92)
                _rectangle(image, x, top, x + step, floor, _colour(rng))
                _rectangle(image, x + step - 1, top, x + step, floor, dark)
            x += step
        _rectangle(image, 0, floor, width, floor + thick, board)
        floor += pitch
    return image


def _bokeh(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    """A dark scene with lamps out of focus."""
    image = _gradient(width, height, rng) * np.float32(rng.uniform(0.03, 0.3))
    radius = rng.uniform(0.02, 0.09) * width
    for _ in range(rng.integers(6, 25)):
        lamp = _colour(rng) * np.float32(rng.uniform(0.5, 3.0))
        size = radius * rng.uniform(0.6, 1.2)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        _disc(image, x, y, size, lamp, rng.uniform(0.2, 0.9))
    return image


def _foliage(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    """Layers of leaves with sky in the gaps."""
    sky = np.array([0.7, 0.85, 1.1], dtype=np.float32) * np.float32(rng.uniform(0.4, 1.5))
    leaf = np.array([0.10, 0.15, 0.05], dtype=np.float32) * rng.uniform(0.6, 1.4, 3).astype(
        np.float32
    )
    coarse = fractal_noise(width, height, rng, int(rng.integers(4, 9)), 3)
    fine = fractal_noise(width, height, rng, int(rng.integers(14, 30)), 2)
    glow = np.clip(0.8 + 1.6 * fine, 0.1, 2.5)
    gaps = np.clip((coarse + 0.4 * fine - rng.uniform(0.1, 0.5)) * 8.0, 0.0, 1.0)
    return (leaf * glow * (1.0 - gaps) + sky * gaps).astype(np.float32)


def _text(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    """Lines of word-like blocks: posters, screens and whiteboards."""
    paper, ink = np.sort(np.stack([_colour(rng), _colour(rng)]), axis=0)[::-1]
    pitch = max(3.0, rng.uniform(0.02, 0.09) * height)
    page = rng.random(((int(height / pitch) + 1) * 2, max(8, int(1.6 * width / pitch)), 1))
    words = (page > rng.uniform(0.2, 0.45)).astype(np.float32)
    words[::2] = 0.0  # line spacing
    inked = np.repeat(np.repeat(words, max(1, round(pitch / 2)), 0), max(1, round(pitch / 1.6)), 1)
    rows, columns = np.arange(height) % inked.shape[0], np.arange(width) % inked.shape[1]
    return (paper + (ink - paper) * inked[rows][:, columns]).astype(np.float32)


def _bricks(width: int, height: int, rng: np.random.Generator) -> FloatImage:
    """Bricks or tiles of varying shade, with joints."""
    tall = rng.uniform(0.04, 0.16) * height
    wide = tall * rng.uniform(1.0, 3.2)
    offset = rng.choice([0.0, 0.5])
    row = (np.arange(height) + rng.uniform(0, tall)) / tall
    shifted = (
        np.arange(width)[None]
        + rng.uniform(0, wide)
        + (row.astype(int) % 2 * offset * wide)[:, None]
    )
    column = shifted / wide
    joint = rng.uniform(0.03, 0.12)
    is_joint = (row % 1.0 < joint)[:, None] | (column % 1.0 < joint * tall / wide)
    shades = rng.normal(1.0, rng.uniform(0.02, 0.25), 257).clip(0.4, 1.6)
    number = (row.astype(int)[:, None] * 31 + column.astype(int) * 7) % 257
    image = _colour(rng) * shades[number][..., None]
    image[is_joint] = _colour(rng)
    return image.astype(np.float32)


Painter = Callable[[int, int, np.random.Generator], FloatImage]

BACKGROUND_PAINTERS: dict[str, tuple[float, Painter]] = {
    "gradient": (4.0, _gradient),
    "wall": (4.0, _wall),
    "noise": (1.5, _noise),
    "stripes": (0.4, _stripes),
    "rectangles": (0.8, _rectangles),
    "shelves": (1.2, _shelves),
    "bokeh": (1.2, _bokeh),
    "foliage": (1.2, _foliage),
    "text": (0.5, _text),
    "bricks": (0.6, _bricks),
}
"""Relative frequency and painter of each kind; plain backgrounds are the most common."""


@fastmath_kernel
def _angle(y: np.float32, x: np.float32) -> np.float32:  # pragma: no cover - compiled
    """Four-quadrant arc tangent by a polynomial; error below 2e-4 rad (0.03 panorama pixels)."""
    ax, ay = abs(x), abs(y)
    ratio = min(ax, ay) / (max(ax, ay) + np.float32(1e-20))
    s = ratio * ratio
    angle = (
        (np.float32(-0.0464964749) * s + np.float32(0.15931422)) * s - np.float32(0.327622764)
    ) * s * ratio + ratio
    if ay > ax:
        angle = np.float32(1.57079637) - angle
    if x < 0:
        angle = np.float32(3.14159274) - angle
    return -angle if y < 0 else angle


@fastmath_kernel
def _view(
    radiance: FloatImage,
    cam_from_world: NDArray[np.float32],
    inverse_fx: np.float32,
    inverse_fy: np.float32,
    cx: np.float32,
    cy: np.float32,
    width: int,
    height: int,
) -> FloatImage:  # pragma: no cover - compiled
    """Sample the panorama bilinearly along the ray of every pixel."""
    rows, columns = radiance.shape[:2]
    M = cam_from_world
    out = np.empty((height, width, 3), dtype=np.float32)
    per_radian_x = np.float32(columns / (2.0 * np.pi))
    per_radian_y = np.float32(rows / np.pi)
    half = np.float32(0.5)
    for v in range(height):
        ry = (np.float32(v) + half - cy) * inverse_fy
        for u in range(width):
            rx = (np.float32(u) + half - cx) * inverse_fx
            x = M[0, 0] * rx + M[1, 0] * ry + M[2, 0]
            y = M[0, 1] * rx + M[1, 1] * ry + M[2, 1]
            z = M[0, 2] * rx + M[1, 2] * ry + M[2, 2]
            column = _angle(x, z) * per_radian_x + np.float32(columns) * half - half
            row = _angle(y, np.sqrt(x * x + z * z)) * per_radian_y + np.float32(rows) * half - half
            row = min(max(row, np.float32(0.0)), np.float32(rows - 1))
            left, top = int(np.floor(column)), int(row)
            fx, fy = column - np.float32(left), row - np.float32(top)
            bottom = min(top + 1, rows - 1)
            right = left + 1
            if left < 0:
                left += columns
            if right >= columns:
                right -= columns
            one = np.float32(1.0)
            for c in range(3):
                above = radiance[top, left, c] * (one - fx) + radiance[top, right, c] * fx
                below = radiance[bottom, left, c] * (one - fx) + radiance[bottom, right, c] * fx
                out[v, u, c] = above * (one - fy) + below * fy
    return out
