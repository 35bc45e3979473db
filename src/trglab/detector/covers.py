"""Objects that hide part of a face: a wall, a book, a cup, a sleeve, as plain rectangles.

An edge of the rectangle crosses the face, in any direction, so that up to about half of the face is
hidden. The rest of the face, its box and its points stay labelled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trglab.synth.environment.backgrounds import fractal_noise
from trglab.synth.environment.filters import FloatImage
from trglab.synth.skin.tone import sample_skin_tone

EDGE_SIDES = (-0.02, 0.22)
"""Distance of the edge from the centre of the face box, in box sides; the face itself reaches
about a third of the side from the centre."""

DEPTH_SIDES, WIDTH_SIDES = (0.25, 1.5), (0.5, 2.5)
"""Extent of the rectangle across and along that edge, in box sides."""

SKIN_SHARE, PLAIN_SHARE = 0.25, 0.35
"""Shares of rectangles in the colour of skin, and of those without a texture."""


def cover_face(
    scene: FloatImage,
    cutout_index: NDArray[np.int16],
    box_xyxy: NDArray[np.float64],
    rng: np.random.Generator,
    light_rgb: NDArray[np.floating],
) -> None:
    """Paint a rectangle over part of a face, in place.

    Parameters
    ----------
    scene
        ``(h, w, 3)``, linear.
    cutout_index
        ``(h, w)``: set to -2 where the rectangle covers the pixel.
    box_xyxy
        ``(4,)`` px: the box of the face.
    light_rgb
        ``(3,)``: colour of a white surface in the scene's light.
    """
    side = float(box_xyxy[2] - box_xyxy[0])
    centre_x, centre_y = (box_xyxy[:2] + box_xyxy[2:]) / 2.0
    # Most edges are level or upright: a table, a door, a phone.
    quarters = int(rng.integers(4))
    angle = np.pi / 2.0 * quarters + rng.normal(0.0, 0.25)
    if rng.random() < 0.25:
        angle = rng.uniform(-np.pi, np.pi)
    near = side * rng.uniform(*EDGE_SIDES)
    far = near + side * rng.uniform(*DEPTH_SIDES)
    half_width = side * rng.uniform(*WIDTH_SIDES) / 2.0
    shift = rng.uniform(-0.3, 0.3) * side
    reach = float(np.hypot(far, half_width + abs(shift)))
    limits = np.array([scene.shape[1], scene.shape[0]])
    x0, y0 = np.clip((centre_x - reach, centre_y - reach), 0, limits).astype(int)
    x1, y1 = np.clip((centre_x + reach + 1, centre_y + reach + 1), 0, limits).astype(int)
    if x0 >= x1 or y0 >= y1:
        return
    across, down = np.meshgrid(
        np.arange(x0, x1) + 0.5 - centre_x, np.arange(y0, y1) + 0.5 - centre_y
    )
    depth = np.cos(angle) * across + np.sin(angle) * down
    along = np.cos(angle) * down - np.sin(angle) * across - shift
    inside = np.minimum(np.minimum(depth - near, far - depth), half_width - np.abs(along))
    cover = np.clip(inside + 0.5, 0.0, 1.0).astype(np.float32)
    is_skin = rng.random() < SKIN_SHARE
    colour = np.exp(-sample_skin_tone(rng).density) if is_skin else _colour(rng)
    rgb = np.broadcast_to(colour * light_rgb, (*cover.shape, 3)).astype(np.float32)
    if rng.random() >= PLAIN_SHARE:
        cells = int(np.exp(rng.uniform(np.log(3.0), np.log(max(x1 - x0, 4)))))
        grain = fractal_noise(x1 - x0, y1 - y0, rng, cells, 3)
        rgb = rgb * np.exp(rng.uniform(0.1, 0.8) * grain)
    part = scene[y0:y1, x0:x1]
    part += cover[..., None] * (rgb - part)
    cutout_index[y0:y1, x0:x1][cover > 0.5] = -2


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw an albedo ``(3,)``, mostly dull, from black to white."""
    grey = 0.02 + 0.88 * rng.random() ** 1.7
    return grey * (1.0 + rng.uniform(0.0, 0.5) * rng.uniform(-1.0, 1.0, 3)).clip(0.1, 1.1)
