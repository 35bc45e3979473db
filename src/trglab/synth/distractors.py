"""Flat distractors that resemble faces in part: round, spotted, spoked or skin-coloured shapes.

Each painter draws one shape, which spans -1 to 1 on a square patch, as linear RGB ``(n, n, 3)``
and opacity ``(n, n)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trglab.synth.environment.backgrounds import fractal_noise
from trglab.synth.environment.filters import FloatImage, blur
from trglab.synth.skin.tone import sample_skin_tone

MIN_RADIUS_PX, MAX_RADIUS_SHARE = 6.0, 0.45
"""Range of a distractor's radius; the upper end is a share of the image width."""

GRAINY_SHARE, BLURRED_SHARE = 0.4, 0.3
"""Shares of distractors with a rough texture and of blurred ones."""


class Patch(NamedTuple):
    """Rotated and stretched pixel coordinates; ``soft`` is the size of a pixel in these units."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    soft: float

    def inside(self, distance: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the opacity of a shape from signed distances, which are negative inside it."""
        return np.clip(0.5 - distance / self.soft, 0.0, 1.0).astype(np.float32)

    def disc(self, x: float, y: float, radius: float) -> NDArray[np.float32]:
        """Return the opacity of a disc."""
        return self.inside(np.hypot(self.x - x, self.y - y) - radius)

    def bar(
        self, start: tuple[float, float], end: tuple[float, float], half_width: float
    ) -> NDArray[np.float32]:
        """Return the opacity of a line segment with round caps."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        along = ((self.x - start[0]) * dx + (self.y - start[1]) * dy) / max(dx * dx + dy * dy, 1e-9)
        along = np.clip(along, 0.0, 1.0)
        reach = np.hypot(self.x - start[0] - along * dx, self.y - start[1] - along * dy)
        return self.inside(reach - half_width)


PaintedPatch = tuple[FloatImage, NDArray[np.float32]]


def scatter_distractors(
    scene: FloatImage,
    rng: np.random.Generator,
    light_rgb: NDArray[np.floating],
    count: int,
    owner: NDArray[np.int16] | None = None,
    kinds: tuple[str, ...] | None = None,
) -> None:
    """Paint ``count`` distractors over a linear image ``(h, w, 3)``, in place.

    Parameters
    ----------
    light_rgb
        ``(3,)``: colour of a white surface in the scene's light.
    owner
        ``(h, w)``: set to -2 where distractors cover more than half of a pixel.
    kinds
        Names in :data:`DISTRACTOR_PAINTERS`; None: all.
    """
    height, width = scene.shape[:2]
    names = list(kinds or DISTRACTOR_PAINTERS)
    for _ in range(count):
        radius = float(np.exp(rng.uniform(np.log(MIN_RADIUS_PX), np.log(MAX_RADIUS_SHARE * width))))
        x, y = rng.uniform(-0.05, 1.05, 2) * (width, height)
        x0, y0 = max(0, int(x - radius)), max(0, int(y - radius))
        x1, y1 = min(width, int(x + radius) + 1), min(height, int(y + radius) + 1)
        if x0 >= x1 or y0 >= y1:
            continue
        patch = _patch(rng, np.arange(x0, x1) + 0.5 - x, np.arange(y0, y1) + 0.5 - y, radius)
        rgb, cover = DISTRACTOR_PAINTERS[names[int(rng.integers(len(names)))]](rng, patch)
        shine = light_rgb * np.exp(rng.normal(0.0, 0.25)) * _shading(rng, patch)
        if rng.random() < GRAINY_SHARE:
            cells = int(np.exp(rng.uniform(np.log(3.0), np.log(max(x1 - x0, 4)))))
            grain = fractal_noise(x1 - x0, y1 - y0, rng, cells, 3)
            shine = shine * np.exp(rng.uniform(0.1, 0.9) * grain)
        if rng.random() < BLURRED_SHARE:
            rgb = blur(rgb, rng.uniform(0.01, 0.06) * radius)
        part = scene[y0:y1, x0:x1]
        part += cover[..., None] * ((rgb * shine).astype(np.float32) - part)
        if owner is not None:
            owner[y0:y1, x0:x1][cover > 0.5] = -2


def _patch(
    rng: np.random.Generator,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    radius: float,
) -> Patch:
    """Rotate and stretch pixel coordinates by random amounts."""
    angle = rng.normal(0.0, 0.25) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi)
    stretch = 1.0 if rng.random() < 0.5 else rng.uniform(1.0, 1.8)
    across, down = np.meshgrid(x / radius, y / radius)
    u = np.cos(angle) * across + np.sin(angle) * down
    v = (np.cos(angle) * down - np.sin(angle) * across) * stretch
    return Patch(u.astype(np.float32), v.astype(np.float32), 1.2 * stretch / radius)


def _shading(rng: np.random.Generator, patch: Patch) -> NDArray[np.float32]:
    """Return a linear gradient of brightness, ``(n, n, 1)``."""
    slope = rng.normal(0.0, 0.18, 2)
    shade: NDArray[np.float32] = np.clip(1.0 + slope[0] * patch.x + slope[1] * patch.y, 0.2, 2.0)
    return shade[..., None]


def _paint(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a colour: dull or vivid, from black to white."""
    grey = 0.02 + 0.85 * rng.random() ** 1.5
    share = rng.uniform(0.0, 0.2) if rng.random() < 0.5 else rng.uniform(0.3, 0.9)
    colour = grey * (1.0 - share + share * 2.0 * rng.random(3))
    return np.clip(colour, 0.01, 1.0).astype(np.float32)


def _skin(rng: np.random.Generator) -> NDArray[np.float32]:
    return np.exp(-sample_skin_tone(rng).density).astype(np.float32)


def _skin_or_paint(rng: np.random.Generator) -> NDArray[np.float32]:
    return _skin(rng) if rng.random() < 0.4 else _paint(rng)


def _filled(patch: Patch, rgb: NDArray[np.float32]) -> FloatImage:
    return np.broadcast_to(rgb, (*patch.x.shape, 3)).astype(np.float32)


def _over(image: FloatImage, cover: NDArray[np.float32], rgb: NDArray[np.float32]) -> FloatImage:
    return image + cover[..., None] * (rgb - image)


def _ball(rng: np.random.Generator, patch: Patch) -> PaintedPatch:
    """A shaded ball, plain, striped or in two colours."""
    flat = np.clip(patch.x**2 + patch.y**2, 0.0, 1.0)
    normal = np.stack([patch.x, patch.y, -np.sqrt(1.0 - flat)], -1)
    towards = rng.normal(0.0, 0.6, 3) - (0.0, 0.6, 0.9)
    lit = np.clip(normal @ (towards / np.linalg.norm(towards)), 0.0, 1.0)
    image = _filled(patch, _skin_or_paint(rng))
    if rng.random() < 0.5:
        axis, bands = rng.normal(size=3), rng.uniform(2.0, 9.0)
        stripe = np.sin(bands * (normal @ (axis / np.linalg.norm(axis))) + rng.uniform(0.0, 6.0))
        image = _over(image, patch.inside(-stripe * 0.2), _paint(rng))
    shade = rng.uniform(0.15, 0.5) + 0.9 * lit + rng.uniform(0.0, 0.8) * lit**40
    return image * shade[..., None].astype(np.float32), patch.disc(0.0, 0.0, 0.97)


def _plate(rng: np.random.Generator, patch: Patch) -> PaintedPatch:
    """Concentric rings: plates, targets, lenses, buttons, drums."""
    image = _filled(patch, _skin_or_paint(rng))
    radius = 0.95
    for _ in range(rng.integers(1, 6)):
        radius *= rng.uniform(0.5, 0.95)
        image = _over(image, patch.disc(0.0, 0.0, radius), _skin_or_paint(rng))
    return image, patch.disc(0.0, 0.0, 0.95)


def _clock(rng: np.random.Generator, patch: Patch) -> PaintedPatch:
    """A dial with marks and two or three hands."""
    paper, ink = _skin_or_paint(rng), _paint(rng)
    image = _over(_filled(patch, _paint(rng)), patch.disc(0.0, 0.0, 0.85), paper)
    marks = int(rng.choice([4, 8, 12, 12]))
    for angle in np.arange(marks) * 2.0 * np.pi / marks:
        x, y = float(np.sin(angle)), float(np.cos(angle))
        image = _over(image, patch.bar((0.68 * x, 0.68 * y), (0.78 * x, 0.78 * y), 0.03), ink)
    for length in rng.uniform(0.3, 0.75, int(rng.integers(1, 4))):
        angle = rng.uniform(0.0, 2.0 * np.pi)
        tip = (float(length * np.sin(angle)), float(length * np.cos(angle)))
        image = _over(image, patch.bar((0.0, 0.0), tip, 0.035), ink)
    return image, patch.disc(0.0, 0.0, 0.95)


def _wheel(rng: np.random.Generator, patch: Patch) -> PaintedPatch:
    """A rim, spokes and a hub; the gaps may be transparent."""
    tyre, spoke = _paint(rng), _paint(rng)
    image = _filled(patch, tyre)
    open_from, hub = rng.uniform(0.5, 0.85), rng.uniform(0.08, 0.25)
    gap = patch.disc(0.0, 0.0, open_from)
    bars = patch.disc(0.0, 0.0, hub)
    number = int(rng.integers(3, 13))
    for angle in np.arange(number) * 2.0 * np.pi / number:
        end = (float(np.sin(angle)) * open_from, float(np.cos(angle)) * open_from)
        bars = np.maximum(bars, patch.bar((0.0, 0.0), end, 0.04))
    image = _over(image, gap, _paint(rng))
    image = _over(image, bars * gap, spoke)
    cover = patch.disc(0.0, 0.0, 0.95)
    if rng.random() < 0.5:
        cover = cover * np.maximum(1.0 - gap, bars)
    return image, cover


def _dots(rng: np.random.Generator, patch: Patch) -> PaintedPatch:
    """A disc or square with spots that are not arranged like eyes and mouth."""
    image = _filled(patch, _skin_or_paint(rng))
    ink = _paint(rng) * rng.uniform(0.1, 1.0)
    for x, y in _spots(rng):
        size = rng.uniform(0.05, 0.16)
        image = _over(image, patch.disc(x, y, size), ink.astype(np.float32))
    if rng.random() < 0.6:
        return image, patch.disc(0.0, 0.0, 0.95)
    return image, patch.inside(np.maximum(np.abs(patch.x), np.abs(patch.y)) - 0.7)


def _spots(rng: np.random.Generator) -> list[tuple[float, float]]:
    """Draw spot positions: those of a die, a button or a socket, a column, or random ones."""
    kind = int(rng.integers(4))
    apart = float(rng.uniform(0.2, 0.5))
    if kind == 0:  # one, two, or four around the middle
        return [[(0.0, 0.0)], [(-apart, 0.0), (apart, 0.0)],
                [(-apart, -apart), (apart, -apart), (-apart, apart), (apart, apart)]][
                    int(rng.integers(3))]  # fmt: skip
    if kind == 1:  # a column or a row
        positions = np.linspace(-0.6, 0.6, int(rng.integers(2, 6)))
        return [(0.0, float(y)) for y in positions]
    if kind == 2:  # one above two: a face upside down
        return [(0.0, -apart), (-apart, apart), (apart, apart)]
    return [tuple(point) for point in rng.uniform(-0.6, 0.6, (int(rng.integers(5, 12)), 2))]


def _lump(rng: np.random.Generator, patch: Patch) -> PaintedPatch:
    """A convex patch of skin or cloth with a wavy outline: elbows, knees, backs, cushions."""
    angle = np.arctan2(patch.y, patch.x)
    waves = sum(
        rng.normal(0.0, 0.12) / n * np.cos(n * angle + rng.uniform(0.0, 6.3)) for n in (1, 2, 3, 5)
    )
    reach = np.hypot(patch.x, patch.y) - 0.75 - waves
    height, width = patch.x.shape
    grain = 1.0 + rng.uniform(0.05, 0.4) * fractal_noise(width, height, rng, 2, 4)
    bulge = 1.0 - rng.uniform(0.1, 0.6) * np.clip(1.0 + reach, 0.0, 1.0) ** 2
    colour = _skin(rng) if rng.random() < 0.75 else _paint(rng)
    image = (colour * grain * bulge[..., None]).astype(np.float32)
    return image, patch.inside(reach)


def _limb(rng: np.random.Generator, patch: Patch) -> PaintedPatch:
    """A bent round bar of skin or cloth: arms, legs."""
    bend = (float(rng.uniform(-0.4, 0.4)), float(rng.uniform(-0.3, 0.3)))
    half = float(rng.uniform(0.12, 0.3))
    cover = np.maximum(
        patch.bar((-0.9, float(rng.uniform(-0.6, 0.6))), bend, half),
        patch.bar(bend, (0.9, float(rng.uniform(-0.6, 0.6))), 0.85 * half),
    )
    shade = 0.75 + 0.35 * np.cos((patch.y - bend[1]) / half)
    colour = _skin(rng) if rng.random() < 0.7 else _paint(rng)
    return (colour * shade[..., None]).astype(np.float32), cover


def _board(rng: np.random.Generator, patch: Patch) -> PaintedPatch:
    """A rectangle with blocks and lines of marks: signs, screens, book covers."""
    image = _filled(patch, _skin_or_paint(rng))
    wide, tall = rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.9)
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(-wide, wide), rng.uniform(-tall, tall)
        half = rng.uniform(0.05, 0.5, 2)
        block = np.maximum(np.abs(patch.x - x) - half[0], np.abs(patch.y - y) - half[1])
        image = _over(image, patch.inside(block), _skin_or_paint(rng))
    pitch, ink = rng.uniform(0.08, 0.25), _paint(rng)
    words = rng.random((32, 32)) < rng.uniform(0.0, 0.9)
    line = np.floor(patch.y / pitch).astype(int)
    column = np.floor(patch.x / (0.6 * pitch)).astype(int)
    marked = words[line % 32, column % 32] & (patch.y / pitch - line < 0.55)
    image = _over(image, marked.astype(np.float32), ink)
    edge = np.maximum(np.abs(patch.x) - wide, np.abs(patch.y) - tall)
    return image, patch.inside(edge)


def _grate(rng: np.random.Generator, patch: Patch) -> PaintedPatch:
    """Stripes or a grid; the gaps may be transparent: blinds, fences, vents, keyboards."""
    pitch, thick = rng.uniform(0.1, 0.5), rng.uniform(0.2, 0.7)
    bars = np.abs((patch.x / pitch) % 1.0 - 0.5) * pitch - 0.5 * thick * pitch
    if rng.random() < 0.5:
        rows = np.abs((patch.y / pitch) % 1.0 - 0.5) * pitch - 0.5 * thick * pitch
        bars = np.minimum(bars, rows)
    edge = patch.inside(np.maximum(np.abs(patch.x), np.abs(patch.y)) - 0.7)
    cover = patch.inside(bars)
    image = _over(_filled(patch, _paint(rng)), cover, _paint(rng))
    return image, edge * cover if rng.random() < 0.5 else edge


DISTRACTOR_PAINTERS: dict[str, Callable[[np.random.Generator, Patch], PaintedPatch]] = {
    "ball": _ball,
    "plate": _plate,
    "clock": _clock,
    "wheel": _wheel,
    "dots": _dots,
    "lump": _lump,
    "limb": _limb,
    "board": _board,
    "grate": _grate,
}
"""Painter of each kind of distractor."""
