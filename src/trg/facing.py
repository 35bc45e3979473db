"""Crops as a camera would see them that had been turned, where it stands, to look at the face.

A wide picture stretches what is near its border: a head there looks wider, by a third at 40
degrees off the axis. Turning a camera about its own centre takes that away without any knowledge
of depth. So the network is always shown a face in the middle, and what it says is turned back; a
head gives the same rotation and size wherever it is in the picture.

::

    box in the picture ──> line of sight ──> turned camera ──> crop, box numbers (0, 0, b / f)
                                                                       │ network
    R, T in the picture's camera  <── turned back ── R, T in the turned camera
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from trg._check import finite_array
from trg.camera import Camera
from trg.crop import MAX_BOX_SCALE, bilinear
from trg.geometry import cross, normalize

Floats = NDArray[np.float64]

SMALLEST_BOX_PX = 4.0
"""Below this there is nothing to see; the pose would be the network's prejudice."""

LARGEST_SIDE = 6.0
"""Of a box in rays, about 140 degrees: nearer, a face would touch the lens."""


class FacingCrop(NamedTuple):
    """What the network is shown of one face."""

    pixels: NDArray[np.uint8]
    """``(size, size, 3)``, black where the picture ends"""
    box_numbers: Floats
    """``(3,)``: 0, 0, and the box's side in rays of the turned camera"""
    camera_from_facing: Floats
    """``(3, 3)``: turns what the turned camera sees back into the picture's camera frame"""


def facing_rotation(sight: ArrayLike) -> Floats:
    """Return ``camera_from_facing``: the smallest turn of the optical axis to a direction ``(3,)``.

    The direction must point forward (z > 0).
    """
    direction = normalize(np.asarray(sight, dtype=np.float64))
    axis = cross(np.array([0.0, 0.0, 1.0]), direction)
    skew = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    turn: Floats = np.eye(3) + skew + skew @ skew / (1.0 + direction[2])
    return turn


def crop_facing(
    image: NDArray[np.uint8], camera: Camera, box_xyxy: ArrayLike, size: int
) -> FacingCrop | None:
    """Cut a face out of a picture as a camera turned to its box would see it.

    None where the box shows nothing of the picture, is smaller than 4 px or far larger than the
    picture, or lies where the lens model folds over.

    Parameters
    ----------
    image
        ``(height, width, 3)`` uint8.
    camera
        The picture's camera; its size must be the picture's.
    box_xyxy
        ``(4,)`` px, of any shape; the crop shows the square around it.
    size
        Side of the crop in pixels.

    Raises
    ------
    ValueError
        The box is not four finite numbers, or the camera is of another size than the picture.
    """
    if image.shape[:2] != (camera.height, camera.width):
        raise ValueError(
            f"camera: expected one for {image.shape[1]}x{image.shape[0]} px, the picture's size, "
            f"got {camera.width}x{camera.height}"
        )
    box = finite_array("box_xyxy", box_xyxy, (4,))
    picture_size = np.array([camera.width, camera.height])
    side_px = (box[2:] - box[:2]).max()
    in_picture = (box[2:] > 0).all() and (box[:2] < picture_size).all()
    if not (in_picture and SMALLEST_BOX_PX <= side_px <= MAX_BOX_SCALE * picture_size.max()):
        return None
    middle = (box[:2] + box[2:]) / 2.0
    (left, top), (right, bottom) = box[:2], box[2:]
    borders = [(left, middle[1]), (right, middle[1]), (middle[0], top), (middle[0], bottom)]
    try:
        rays = camera.unproject(np.array([middle, *borders]))
    except ValueError:
        if camera.is_distorted:  # the lens model folds over: no light from there comes in
            return None
        raise
    directions = np.concatenate([rays, np.ones((5, 1))], axis=1)
    camera_from_facing = facing_rotation(directions[0])
    turned = directions[1:] @ camera_from_facing
    if turned[:, 2].min() <= 0.0:
        return None
    ends = turned[:, :2] / turned[:, 2:]
    side = max(np.linalg.norm(ends[1] - ends[0]), np.linalg.norm(ends[3] - ends[2]))
    if side > LARGEST_SIDE:
        return None
    pixels = _seen(image, camera, camera_from_facing, float(side), size)
    return FacingCrop(pixels, np.array([0.0, 0.0, side]), camera_from_facing)


def _seen(
    image: NDArray[np.uint8], camera: Camera, camera_from_facing: Floats, side: float, size: int
) -> NDArray[np.uint8]:
    """Resample the square of a side in rays around the turned camera's axis."""
    # From crop pixels (x, y, 1) to directions in the picture's camera.
    unit = side / size
    facing_from_crop = np.array([[unit, 0, -side / 2], [0, unit, -side / 2], [0, 0, 1.0]])
    camera_from_crop = camera_from_facing @ facing_from_crop
    corners = np.array([[0, size, size, 0], [0, 0, size, size], [1.0, 1, 1, 1]])
    nearly_sideways = (camera_from_crop @ corners)[2].min() < 0.05
    if camera.is_distorted or nearly_sideways:
        return _resample_rays(image, camera, camera_from_crop, size)
    picture_from_crop = camera.matrix @ camera_from_crop
    places = picture_from_crop @ corners
    part, picture_from_part = _part(image, (places[:2] / places[2]).T, size * size)
    if part is None:
        return np.zeros((size, size, 3), np.uint8)
    part_from_crop = np.linalg.inv(picture_from_part) @ picture_from_crop
    numbers = (part_from_crop / part_from_crop[2, 2]).ravel()[:8].tolist()
    seen = part.transform(
        (size, size), Image.Transform.PERSPECTIVE, numbers, Image.Resampling.BILINEAR
    )
    return np.asarray(seen)


def _resample_rays(
    image: NDArray[np.uint8], camera: Camera, camera_from_crop: Floats, size: int
) -> NDArray[np.uint8]:
    """Follow each crop pixel's ray through the lens."""
    middles = np.arange(size) + 0.5
    x, y = np.meshgrid(middles, middles)
    directions = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], -1) @ camera_from_crop.T
    forward = directions[:, 2] > 1e-6
    rays = directions[:, :2] / np.where(forward, directions[:, 2], 1.0)[:, None]
    seen = forward & ~np.isnan(camera.pixels_per_ray(rays)).any(-1)
    colours = np.zeros((size * size, 3))
    places = camera.pixels_from_rays(rays[seen])
    part, picture_from_part = _part(image, places, int(seen.sum()))
    if part is not None:
        scale, shift = picture_from_part[0, 0], picture_from_part[:2, 2]
        colours[seen] = bilinear(np.asarray(part), (places - shift) / scale)
    return np.rint(colours).astype(np.uint8).reshape(size, size, 3)


def _part(
    image: NDArray[np.uint8], places_px: Floats, crop_pixels: int
) -> tuple[Image.Image | None, Floats]:
    """Cut out what lies around places ``(n, 2)``, in blocks where the crop shrinks the picture.

    Averaging blocks first keeps fine patterns from becoming coarse ones. Returns the part, None if
    it is empty, and ``picture_from_part`` ``(3, 3)``.
    """
    height, width = image.shape[:2]
    if not len(places_px):
        return None, np.eye(3)
    low, high = places_px.min(0), places_px.max(0)
    block = max(1, round(float(np.sqrt((high - low).prod() / crop_pixels))))
    left, top = np.clip(np.floor(low) - 2 * block, 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(high) + 2 * block, 0, (width, height)).astype(int).tolist()
    if right <= left or bottom <= top:
        return None, np.eye(3)
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    if block > 1:
        part = part.reduce(block)
    return part, np.array([[block, 0.0, left], [0.0, block, top], [0.0, 0.0, 1.0]])
