"""Perspective crops from a virtual camera rotated toward the face, and about its axis upright.

A wide-angle image stretches what is near its border: a head 40 degrees off the axis looks a third
wider. Rotating the camera about its own centre removes this without any knowledge of depth. The
network therefore always sees the face at the centre of a virtual camera, and its pose is converted
back to the camera frame; a head gives the same rotation and size anywhere in the image. The virtual
camera can also roll, so that a face at any roll is upright in its image.

::

    pixel box ──> view direction ──> virtual camera ──> crop, bbox_info (0, 0, b / f)
                                                              │ network
    R, T in the camera frame <── cam_from_virtual ── R, T in the virtual camera
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from trg._util.checks import finite_array
from trg.geometry.camera import Camera
from trg.geometry.crop import BOX_MARGIN, MAX_BOX_SCALE, FaceCrop, bilinear, check_image_size
from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import normalize, rotation_between, rotation_from_euler

Floats = NDArray[np.float64]

MIN_BOX_PX = 4.0
"""Smallest side of a box: below, the crop has no information and the pose is the prior's."""

MAX_SIDE_RAYS = 6.0
"""Largest side of a virtual camera: a field of view of about 140 degrees."""

MIN_CORNER_DEPTH = 0.05
"""Cosine to the optical axis below which a homography is too steep, and rays are used instead."""


class VirtualCamera(NamedTuple):
    """An ideal camera with a square image, at the centre of the real one."""

    view_direction: Floats
    """``(3,)``: the direction it looks in, in the real camera's frame, z > 0"""
    side_rays: float
    """Side of its image on its plane z = 1"""
    roll_deg: float = 0.0
    """Rotation about its own axis, clockwise in the image: a face of this roll is upright"""

    @property
    def cam_from_virtual(self) -> Floats:
        """``(3, 3)``: the roll, then the least rotation of the axis onto the view direction."""
        cam_from_level = rotation_between(OPTICAL_AXIS, self.view_direction)
        if self.roll_deg == 0.0:
            return cam_from_level
        return cam_from_level @ rotation_from_euler(np.array([0.0, 0.0, self.roll_deg]))


def virtual_camera_of_box(
    camera: Camera, box_xyxy: ArrayLike, roll_deg: float = 0.0
) -> VirtualCamera | None:
    """Return the virtual camera that sees the square around a pixel box of any shape.

    The side is the geometric mean of what the square's width and height become after the rotation.

    Returns
    -------
    VirtualCamera or None
        None if the box does not overlap the image, its larger side is below 4 px or above
        :data:`~trg.geometry.crop.MAX_BOX_SCALE` image sizes, or the lens model folds over there.

    Raises
    ------
    ValueError
        The box is not four finite numbers.
    """
    box = finite_array("box_xyxy", box_xyxy, (4,))
    image_size = np.array([camera.width, camera.height])
    side_px = (box[2:] - box[:2]).max()
    overlaps = (box[2:] > 0).all() and (box[:2] < image_size).all()
    if not (overlaps and MIN_BOX_PX <= side_px <= MAX_BOX_SCALE * image_size.max()):
        return None
    centre, half = (box[:2] + box[2:]) / 2.0, side_px / 2.0
    steps = np.array([(0.0, 0.0), (-half, 0.0), (half, 0.0), (0.0, -half), (0.0, half)])
    try:
        rays = camera.unproject(centre + steps)
    except ValueError:
        if camera.is_distorted:  # the lens model folds over: no light reaches these pixels
            return None
        raise
    directions = np.concatenate([rays, np.ones((5, 1))], axis=1)
    edges = directions[1:] @ rotation_between(OPTICAL_AXIS, directions[0])
    if edges[:, 2].min() <= 0.0:
        return None
    ends = edges[:, :2] / edges[:, 2:]
    width, height = np.linalg.norm(ends[1] - ends[0]), np.linalg.norm(ends[3] - ends[2])
    return VirtualCamera(directions[0], float(np.sqrt(width * height)), roll_deg)


def virtual_camera_of_landmarks(landmarks_cam: Floats, roll_deg: float = 0.0) -> VirtualCamera:
    """Return the virtual camera of the paper's box around 68 landmarks ``(68, 3)``, z > 0.

    The landmarks are in the camera frame, in any unit of length. The box is upright in the virtual
    camera's image.
    """
    view_direction = normalize(landmarks_cam).mean(0)
    for _ in range(2):  # the centre of the landmarks' rectangle depends on the view direction
        cam_from_virtual = VirtualCamera(view_direction, 1.0, roll_deg).cam_from_virtual
        landmarks_virtual = landmarks_cam @ cam_from_virtual
        rays = landmarks_virtual[:, :2] / np.clip(landmarks_virtual[:, 2:], 1e-3, None)
        low, high = rays.min(0), rays.max(0)
        view_direction = cam_from_virtual @ np.append((low + high) / 2.0, 1.0)
    return VirtualCamera(view_direction, BOX_MARGIN * float((high - low).max()), roll_deg)


def crop_from_virtual_camera(
    image: NDArray[np.uint8], camera: Camera, virtual: VirtualCamera, size: int
) -> FaceCrop | None:
    """Render the virtual camera's view of an image as a crop of ``size`` x ``size`` px.

    ``bbox_info`` is 0, 0 and the virtual camera's side. None if the crop would show nothing of the
    image.

    Raises ValueError if the camera's size differs from the image's.
    """
    check_image_size(image, camera)
    direction, side, _ = virtual
    if not (direction[2] > 0 and 0 < side <= MAX_SIDE_RAYS):
        return None
    scale = camera.pixels_per_ray(direction[:2] / direction[2])
    if not side * scale.max() >= MIN_BOX_PX:  # NaN where the lens model folds over
        return None
    cam_from_virtual = virtual.cam_from_virtual
    unit = side / size
    # From crop pixels (x, y, 1) to directions in the virtual camera.
    virtual_from_crop = np.array([[unit, 0, -side / 2], [0, unit, -side / 2], [0, 0, 1.0]])
    pixels = _render(image, camera, cam_from_virtual @ virtual_from_crop, size)
    if pixels is None:
        return None
    return FaceCrop(pixels, np.array([0.0, 0.0, side]), cam_from_virtual)


def _render(
    image: NDArray[np.uint8], camera: Camera, cam_from_crop: Floats, size: int
) -> NDArray[np.uint8] | None:
    """Resample the image at the directions ``cam_from_crop @ (x, y, 1)``; None if all outside."""
    corners = np.array([[0, size, size, 0], [0, 0, size, size], [1.0, 1, 1, 1]])
    is_steep = (cam_from_crop @ corners)[2].min() < MIN_CORNER_DEPTH
    if camera.is_distorted or is_steep:
        return _render_by_ray(image, camera, cam_from_crop, size)
    # Without distortion the crop is a homography of the image; Pillow resamples it.
    image_from_crop = camera.matrix @ cam_from_crop
    corners_image = image_from_crop @ corners
    block_size = _block_size(camera, cam_from_crop, size)
    part, image_from_part = _cut_out(image, (corners_image[:2] / corners_image[2]).T, block_size)
    if part is None:
        return None
    part_from_crop = np.linalg.inv(image_from_part) @ image_from_crop
    coefficients = (part_from_crop / part_from_crop[2, 2]).ravel()[:8].tolist()
    crop = part.transform(
        (size, size), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(crop)


def _render_by_ray(
    image: NDArray[np.uint8], camera: Camera, cam_from_crop: Floats, size: int
) -> NDArray[np.uint8] | None:
    """Follow each crop pixel's ray through the lens."""
    centres = np.arange(size) + 0.5
    x, y = np.meshgrid(centres, centres)
    directions = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], -1) @ cam_from_crop.T
    is_forward = directions[:, 2] > 1e-6
    rays = directions[:, :2] / np.where(is_forward, directions[:, 2], 1.0)[:, None]
    is_seen = is_forward & ~np.isnan(camera.pixels_per_ray(rays)).any(-1)
    pixels_image = camera.pixels_from_rays(rays[is_seen])
    part, image_from_part = _cut_out(image, pixels_image, _block_size(camera, cam_from_crop, size))
    if part is None:
        return None
    colours = np.zeros((size * size, 3))
    scale, shift = image_from_part[0, 0], image_from_part[:2, 2]
    colours[is_seen] = bilinear(np.asarray(part), (pixels_image - shift) / scale)
    return np.rint(colours).astype(np.uint8).reshape(size, size, 3)


def _block_size(camera: Camera, cam_from_crop: Floats, size: int) -> int:
    """Return about how many image pixels one crop pixel spans at the crop's centre."""
    centre = size / 2.0
    steps = np.array([(centre, centre, 1), (centre + 1, centre, 1), (centre, centre + 1, 1)])
    directions = steps @ cam_from_crop.T
    pixels = camera.pixels_from_rays(directions[:, :2] / directions[:, 2:])
    width, height = np.linalg.norm(pixels[1:] - pixels[0], axis=1)
    return int(np.clip(round(float(np.sqrt(width * height))), 1, min(camera.width, camera.height)))


def _cut_out(
    image: NDArray[np.uint8], pixels: Floats, block_size: int
) -> tuple[Image.Image | None, Floats]:
    """Cut out the image around ``pixels`` ``(n, 2)`` and average blocks of its pixels.

    Averaging avoids aliasing where the crop shrinks the image. Returns the part, None if it is
    empty, and ``image_from_part`` ``(3, 3)``.
    """
    height, width = image.shape[:2]
    if not len(pixels):
        return None, np.eye(3)
    low, high = pixels.min(0) - 2 * block_size, pixels.max(0) + 2 * block_size
    left, top = np.floor(np.clip(low, 0, (width, height))).astype(int).tolist()
    right, bottom = np.ceil(np.clip(high, 0, (width, height))).astype(int).tolist()
    if right <= left or bottom <= top:
        return None, np.eye(3)
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    if block_size > 1:
        part = part.reduce(block_size)
    scale = float(block_size)
    return part, np.array([[scale, 0.0, left], [0.0, scale, top], [0.0, 0.0, 1.0]])
