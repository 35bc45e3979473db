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

from trg._util.checks import finite_array
from trg.geometry.camera import Camera
from trg.geometry.crop import BOX_MARGIN, MAX_BOX_SCALE, bilinear
from trg.geometry.rotations import cross, normalize

Floats = NDArray[np.float64]

SMALLEST_BOX_PX = 4.0
"""Below this there is nothing to see; the pose would be the network's prejudice."""

LARGEST_SIDE = 6.0
"""Of a box in rays, about 140 degrees: nearer, a face would touch the lens."""


class View(NamedTuple):
    """Where a turned camera looks, and how much of it the crop shows."""

    sight: Floats
    """``(3,)``: a direction in the picture's camera frame, z > 0"""
    side: float
    """Of the square box around it, in rays of the turned camera"""


class VirtualCameraCrop(NamedTuple):
    """What the network is shown of one face."""

    pixels: NDArray[np.uint8]
    """``(size, size, 3)``, black where the picture ends"""
    bbox_info: Floats
    """``(3,)``: 0, 0, and the box's side in rays of the turned camera"""
    cam_from_virtual: Floats
    """``(3, 3)``: turns what the turned camera sees back into the picture's camera frame"""


def facing_rotation(sight: ArrayLike) -> Floats:
    """Return ``cam_from_virtual``: the smallest turn of the optical axis to a direction ``(3,)``.

    The direction must point forward (z > 0).
    """
    direction = normalize(np.asarray(sight, dtype=np.float64))
    axis = cross(np.array([0.0, 0.0, 1.0]), direction)
    skew = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    turn: Floats = np.eye(3) + skew + skew @ skew / (1.0 + direction[2])
    return turn


def virtual_camera_of_box(camera: Camera, box_xyxy: ArrayLike) -> View | None:
    """Return the view of the square around a pixel box of any shape.

    None where the box shows nothing of the picture, is smaller than 4 px or far larger than the
    picture, or lies where the lens model folds over. A box that is stretched with the picture does
    not say by which side it was measured: the mean of what both sides become is taken.

    Raises
    ------
    ValueError
        The box is not four finite numbers.
    """
    box = finite_array("box_xyxy", box_xyxy, (4,))
    picture_size = np.array([camera.width, camera.height])
    side_px = (box[2:] - box[:2]).max()
    in_picture = (box[2:] > 0).all() and (box[:2] < picture_size).all()
    if not (in_picture and SMALLEST_BOX_PX <= side_px <= MAX_BOX_SCALE * picture_size.max()):
        return None
    middle, half = (box[:2] + box[2:]) / 2.0, side_px / 2.0
    steps = np.array([(0.0, 0.0), (-half, 0.0), (half, 0.0), (0.0, -half), (0.0, half)])
    try:
        rays = camera.unproject(middle + steps)
    except ValueError:
        if camera.is_distorted:  # the lens model folds over: no light from there comes in
            return None
        raise
    directions = np.concatenate([rays, np.ones((5, 1))], axis=1)
    turned = directions[1:] @ facing_rotation(directions[0])
    if turned[:, 2].min() <= 0.0:
        return None
    ends = turned[:, :2] / turned[:, 2:]
    across, down = np.linalg.norm(ends[1] - ends[0]), np.linalg.norm(ends[3] - ends[2])
    return View(directions[0], float(np.sqrt(across * down)))


def virtual_camera_of_landmarks(landmarks_cam: Floats) -> View:
    """Return the view of the paper's box around a face's 68 landmarks ``(68, 3)``, z > 0."""
    sight = normalize(landmarks_cam).mean(0)
    for _ in range(2):  # aim at the middle of the box, which depends on where one looks from
        cam_from_virtual = facing_rotation(sight)
        turned = landmarks_cam @ cam_from_virtual
        rays = turned[:, :2] / np.clip(turned[:, 2:], 1e-3, None)
        low, high = rays.min(0), rays.max(0)
        sight = cam_from_virtual @ np.append((low + high) / 2.0, 1.0)
    return View(sight, BOX_MARGIN * float((high - low).max()))


def crop_from_virtual_camera(
    image: NDArray[np.uint8], camera: Camera, view: View, size: int
) -> VirtualCameraCrop | None:
    """Cut a view out of a picture; None where it shows nothing of it.

    Parameters
    ----------
    image
        ``(height, width, 3)`` uint8.
    camera
        The picture's camera; its size must be the picture's.
    view
        Where to look.
    size
        Side of the crop in pixels.

    Raises
    ------
    ValueError
        The camera is of another size than the picture.
    """
    if image.shape[:2] != (camera.height, camera.width):
        raise ValueError(
            f"camera: expected one for {image.shape[1]}x{image.shape[0]} px, the picture's size, "
            f"got {camera.width}x{camera.height}"
        )
    if not (view.sight[2] > 0 and 0 < view.side <= LARGEST_SIDE):
        return None
    scale = camera.pixels_per_ray(view.sight[:2] / view.sight[2])
    if not view.side * scale.max() >= SMALLEST_BOX_PX:  # NaN where the lens folds over
        return None
    cam_from_virtual = facing_rotation(view.sight)
    pixels = _seen(image, camera, cam_from_virtual, view.side, size)
    if pixels is None:
        return None
    return VirtualCameraCrop(pixels, np.array([0.0, 0.0, view.side]), cam_from_virtual)


def _seen(
    image: NDArray[np.uint8], camera: Camera, cam_from_virtual: Floats, side: float, size: int
) -> NDArray[np.uint8] | None:
    """Resample the square of a side in rays around the turned camera's axis, if it is there."""
    # From crop pixels (x, y, 1) to directions in the picture's camera.
    unit = side / size
    facing_from_crop = np.array([[unit, 0, -side / 2], [0, unit, -side / 2], [0, 0, 1.0]])
    camera_from_crop = cam_from_virtual @ facing_from_crop
    corners = np.array([[0, size, size, 0], [0, 0, size, size], [1.0, 1, 1, 1]])
    nearly_sideways = (camera_from_crop @ corners)[2].min() < 0.05
    if camera.is_distorted or nearly_sideways:
        return _resample_rays(image, camera, camera_from_crop, size)
    picture_from_crop = camera.matrix @ camera_from_crop
    places = picture_from_crop @ corners
    block = _block(camera, camera_from_crop, size)
    part, picture_from_part = _part(image, (places[:2] / places[2]).T, block)
    if part is None:
        return None
    part_from_crop = np.linalg.inv(picture_from_part) @ picture_from_crop
    numbers = (part_from_crop / part_from_crop[2, 2]).ravel()[:8].tolist()
    seen = part.transform(
        (size, size), Image.Transform.PERSPECTIVE, numbers, Image.Resampling.BILINEAR
    )
    return np.asarray(seen)


def _resample_rays(
    image: NDArray[np.uint8], camera: Camera, camera_from_crop: Floats, size: int
) -> NDArray[np.uint8] | None:
    """Follow each crop pixel's ray through the lens."""
    middles = np.arange(size) + 0.5
    x, y = np.meshgrid(middles, middles)
    directions = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], -1) @ camera_from_crop.T
    forward = directions[:, 2] > 1e-6
    rays = directions[:, :2] / np.where(forward, directions[:, 2], 1.0)[:, None]
    seen = forward & ~np.isnan(camera.pixels_per_ray(rays)).any(-1)
    places = camera.pixels_from_rays(rays[seen])
    part, picture_from_part = _part(image, places, _block(camera, camera_from_crop, size))
    if part is None:
        return None
    colours = np.zeros((size * size, 3))
    scale, shift = picture_from_part[0, 0], picture_from_part[:2, 2]
    colours[seen] = bilinear(np.asarray(part), (places - shift) / scale)
    return np.rint(colours).astype(np.uint8).reshape(size, size, 3)


def _block(camera: Camera, camera_from_crop: Floats, size: int) -> int:
    """Return about how many of the picture's pixels one in the middle of the crop spans."""
    middle = size / 2.0
    steps = np.array([(middle, middle, 1), (middle + 1, middle, 1), (middle, middle + 1, 1)])
    directions = steps @ camera_from_crop.T
    places = camera.pixels_from_rays(directions[:, :2] / directions[:, 2:])
    across, down = np.linalg.norm(places[1:] - places[0], axis=1)
    return int(np.clip(round(float(np.sqrt(across * down))), 1, min(camera.width, camera.height)))


def _part(
    image: NDArray[np.uint8], places_px: Floats, block: int
) -> tuple[Image.Image | None, Floats]:
    """Cut out what lies around places ``(n, 2)``, with blocks of pixels averaged to one.

    Averaging keeps fine patterns from becoming coarse ones where the crop shrinks the picture.
    Returns the part, None if it is empty, and ``picture_from_part`` ``(3, 3)``.
    """
    height, width = image.shape[:2]
    if not len(places_px):
        return None, np.eye(3)
    low, high = places_px.min(0) - 2 * block, places_px.max(0) + 2 * block
    left, top = np.floor(np.clip(low, 0, (width, height))).astype(int).tolist()
    right, bottom = np.ceil(np.clip(high, 0, (width, height))).astype(int).tolist()
    if right <= left or bottom <= top:
        return None, np.eye(3)
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    if block > 1:
        part = part.reduce(block)
    return part, np.array([[block, 0.0, left], [0.0, block, top], [0.0, 0.0, 1.0]])
