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

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from trg._util.checks import finite_array
from trg.geometry.camera import Camera
from trg.geometry.crop import BOX_MARGIN, MAX_BOX_SCALE, FaceCrop, bilinear, check_image_size
from trg.geometry.lens import LensModelError
from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between

Floats = NDArray[np.float64]

MIN_BOX_PX = 4.0
"""Smallest side of a box: below, the crop has no information and the pose is the prior's."""

MAX_SIDE_RAYS = 6.0
"""Largest side of a virtual camera: a field of view of about 140 degrees."""

MIN_CORNER_DEPTH = 0.05
"""Cosine to the optical axis below which a homography is too steep, and rays are used instead."""

MAP_CELLS = 12
"""Cells along each side of a crop, between whose corners a distorted lens is interpolated."""

COARSER_MAP_CELLS = (2, 4, 6)
"""Numbers of cells that are enough where the lens hardly bends within the crop. Divisors of
:data:`MAP_CELLS`."""

MAP_TOLERANCE = 0.2
"""Largest error of the interpolation with fewer cells, in crop pixels."""


class VirtualCamera(NamedTuple):
    """An ideal camera with a square image, at the centre of the real one."""

    view_direction: Floats
    """``(3,)``: the direction it looks in, in the real camera's frame"""
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
        angle = math.radians(self.roll_deg)
        sin, cos = math.sin(angle), math.cos(angle)
        return cam_from_level @ np.array([(cos, -sin, 0.0), (sin, cos, 0.0), (0.0, 0.0, 1.0)])


def virtual_camera_of_box(
    camera: Camera, box_xyxy: ArrayLike, roll_deg: float = 0.0
) -> VirtualCamera | None:
    """Return the virtual camera that sees the square around a pixel box of any shape.

    The side is the geometric mean of what the square's width and height become after the rotation.
    Where the lens model folds over within the square, it is the part around the centre that counts.

    Returns
    -------
    VirtualCamera or None
        None if the box does not overlap the image, or its larger side is below 4 px or above
        :data:`~trg.geometry.crop.MAX_BOX_SCALE` image sizes.

    Raises
    ------
    ValueError
        The box is not four finite numbers.
    LensModelError
        The lens model folds over before it reaches the box's centre.
    """
    box = finite_array("box_xyxy", box_xyxy, (4,))
    image_size = np.array([camera.width, camera.height])
    side_px = (box[2:] - box[:2]).max()
    overlaps = (box[2:] > 0).all() and (box[:2] < image_size).all()
    if not (overlaps and MIN_BOX_PX <= side_px <= MAX_BOX_SCALE * image_size.max()):
        return None
    centre, half = (box[:2] + box[2:]) / 2.0, side_px / 2.0
    steps = np.array([(0.0, 0.0), (-half, 0.0), (half, 0.0), (0.0, -half), (0.0, half)])
    directions = camera.directions(centre + steps)
    if np.isnan(directions[0]).any():
        raise LensModelError(
            f"box_xyxy {np.round(box, 1).tolist()}: no direction in front of the camera reaches "
            "its centre, because the camera's lens model folds over before it"
        )
    edges = directions[1:] @ rotation_between(OPTICAL_AXIS, directions[0])
    if edges[:, 2].min() <= 0.0:
        return None
    ends = edges[:, :2] / edges[:, 2:]
    if np.isnan(ends).any():
        ends = _completed(ends)
    width, height = np.linalg.norm(ends[1] - ends[0]), np.linalg.norm(ends[3] - ends[2])
    return VirtualCamera(directions[0], float(np.sqrt(width * height)), roll_deg)


def _completed(ends: Floats) -> Floats:
    """Replace missing ends ``(4, 2)`` of a square by those opposite, else by those across."""
    ends = np.where(np.isnan(ends), -ends[[1, 0, 3, 2]], ends)
    return np.where(np.isnan(ends), ends[[2, 3, 0, 1]], ends)


def virtual_camera_of_landmarks(landmarks_cam: Floats, roll_deg: float = 0.0) -> VirtualCamera:
    """Return the virtual camera of the paper's box around 68 landmarks ``(68, 3)``.

    The landmarks are in the camera frame, in any unit of length. The box is upright in the virtual
    camera's image.
    """
    distances = np.sqrt(np.einsum("ij,ij->i", landmarks_cam, landmarks_cam))
    view_direction = (1.0 / np.maximum(distances, 1e-12)) @ landmarks_cam  # of any length
    for _ in range(2):  # the centre of the landmarks' rectangle depends on the view direction
        cam_from_virtual = VirtualCamera(view_direction, 1.0, roll_deg).cam_from_virtual
        landmarks_virtual = cam_from_virtual.T @ landmarks_cam.T
        rays = landmarks_virtual[:2] / np.maximum(landmarks_virtual[2], 1e-3)
        (left, top), (right, bottom) = rays.min(1).tolist(), rays.max(1).tolist()
        centre = np.array([(left + right) / 2.0, (top + bottom) / 2.0, 1.0])
        view_direction = cam_from_virtual @ centre
    return VirtualCamera(view_direction, BOX_MARGIN * max(right - left, bottom - top), roll_deg)


def crop_from_virtual_camera(
    image: NDArray[np.uint8], camera: Camera, virtual: VirtualCamera, size: int
) -> FaceCrop | None:
    """Render the virtual camera's view of an image as a crop of ``size`` x ``size`` px.

    ``bbox_info`` is 0, 0 and the virtual camera's side. None if the crop would show nothing of the
    image.

    Raises ValueError if the camera's size differs from the image's.
    """
    check_image_size(image, camera)
    side = virtual.side_rays
    if not 0 < side <= MAX_SIDE_RAYS:
        return None
    cam_from_virtual = virtual.cam_from_virtual
    unit = side / size
    # From crop pixels (x, y, 1) to directions in the virtual camera.
    virtual_from_crop = np.array([[unit, 0, -side / 2], [0, unit, -side / 2], [0, 0, 1.0]])
    cam_from_crop = cam_from_virtual @ virtual_from_crop
    # NaN along an axis where the lens does not see the crop's centre or the pixel beside it.
    scales = [
        each for each in _image_px_per_crop_px(camera, cam_from_crop, size) if not math.isnan(each)
    ]
    if not scales or max(scales) * size < MIN_BOX_PX:
        return None
    mean_scale = math.prod(scales) ** (1.0 / len(scales))
    pixels = _render(image, camera, cam_from_crop, size, mean_scale)
    if pixels is None:
        return None
    return FaceCrop(pixels, np.array([0.0, 0.0, side]), cam_from_virtual)


def _render(
    image: NDArray[np.uint8],
    camera: Camera,
    cam_from_crop: Floats,
    size: int,
    image_px_per_crop_px: float,
) -> NDArray[np.uint8] | None:
    """Resample the image at the directions ``cam_from_crop @ (x, y, 1)``; None if all outside."""
    block_size = min(max(round(image_px_per_crop_px), 1), camera.width, camera.height)
    corners = np.array([[0, size, size, 0], [0, 0, size, size], [1.0, 1, 1, 1]])
    is_steep = (cam_from_crop[2] @ corners).min() < MIN_CORNER_DEPTH
    if camera.is_distorted:
        nodes = np.round(np.linspace(0.0, size, min(MAP_CELLS, size) + 1))
        nodes_image = _image_positions(camera, cam_from_crop, nodes)
        if not np.isnan(nodes_image).any():
            step = _map_step(nodes, nodes_image, MAP_TOLERANCE * image_px_per_crop_px)
            nodes, nodes_image = nodes[::step], nodes_image[::step, ::step]
            return _render_by_cell(image, nodes, nodes_image, block_size)
    if camera.is_distorted or is_steep:
        return _render_by_ray(image, camera, cam_from_crop, size, block_size)
    # Without distortion the crop is a homography of the image; Pillow resamples it.
    image_from_crop = camera.matrix @ cam_from_crop
    corners_image = image_from_crop @ corners
    cut = _cut_out(image, (corners_image[:2] / corners_image[2]).T, block_size)
    if cut is None:
        return None
    part_from_crop = cut.part_from_image @ image_from_crop
    coefficients = (part_from_crop / part_from_crop[2, 2]).ravel()[:8].tolist()
    crop = cut.part.transform(
        (size, size), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(crop)


def _image_positions(camera: Camera, cam_from_crop: Floats, positions: Floats) -> Floats:
    """Return where a grid of crop positions lies in the image: ``(n, n, 2)``, rows first."""
    x, y = np.meshgrid(positions, positions)
    return camera.project(np.stack([x, y, np.ones_like(x)], -1) @ cam_from_crop.T)


def _map_step(nodes: Floats, nodes_image: Floats, tolerance_px: float) -> int:
    """Return the largest step between nodes that predicts those between to a tolerance."""
    for cells in COARSER_MAP_CELLS:
        step, rest = divmod(len(nodes) - 1, cells)
        if rest or step < 2:
            continue
        # Linear interpolation along rows, then along columns.
        weights = _interpolation_weights(tuple(nodes.tolist()), step)
        rows = np.tensordot(weights, nodes_image[::step, ::step], 1)
        if np.abs(weights @ rows - nodes_image).max() <= tolerance_px:
            return step
    return 1


@lru_cache(maxsize=16)
def _interpolation_weights(nodes: tuple[float, ...], step: int) -> Floats:
    """Return the shares ``(n, m)`` of every m-th of n nodes in a linear interpolation."""
    coarse = nodes[::step]
    return np.stack([np.interp(nodes, coarse, unit) for unit in np.eye(len(coarse))], -1)


def _render_by_cell(
    image: NDArray[np.uint8], nodes: Floats, nodes_image: Floats, block_size: int
) -> NDArray[np.uint8] | None:
    """Interpolate positions in the image between those of a grid of ``nodes`` of the crop."""
    cut = _cut_out(image, nodes_image.reshape(-1, 2), block_size)
    if cut is None:
        return None
    in_part = cut.in_part(nodes_image)
    # Pillow's order of corners: top left, bottom left, bottom right, top right.
    corners = np.concatenate(
        [in_part[:-1, :-1], in_part[1:, :-1], in_part[1:, 1:], in_part[:-1, 1:]], -1
    ).tolist()
    ends = nodes.astype(int).tolist()
    cells = [
        ((ends[column], ends[row], ends[column + 1], ends[row + 1]), tuple(corners[row][column]))
        for row in range(len(ends) - 1)
        for column in range(len(ends) - 1)
    ]
    size = (ends[-1], ends[-1])
    crop = cut.part.transform(size, Image.Transform.MESH, cells, Image.Resampling.BILINEAR)
    return np.asarray(crop)


def _render_by_ray(
    image: NDArray[np.uint8], camera: Camera, cam_from_crop: Floats, size: int, block_size: int
) -> NDArray[np.uint8] | None:
    """Follow each crop pixel's ray through the lens."""
    positions = _image_positions(camera, cam_from_crop, np.arange(0.5, size)).reshape(-1, 2)
    is_seen = ~np.isnan(positions).any(-1)
    cut = _cut_out(image, positions[is_seen], block_size)
    if cut is None:
        return None
    colours = np.zeros((size * size, 3))
    colours[is_seen] = bilinear(np.asarray(cut.part), cut.in_part(positions[is_seen]))
    return np.rint(colours).astype(np.uint8).reshape(size, size, 3)


def _image_px_per_crop_px(camera: Camera, cam_from_crop: Floats, size: int) -> tuple[float, float]:
    """Return how many image pixels a crop pixel spans in width and height at the crop's centre.

    NaN where the lens does not see them.
    """
    centre = size / 2.0
    steps = np.array([(centre, centre, 1), (centre + 1, centre, 1), (centre, centre + 1, 1)])
    (x, y), right, below = camera.project(steps @ cam_from_crop.T).tolist()
    return math.hypot(right[0] - x, right[1] - y), math.hypot(below[0] - x, below[1] - y)


class _Cut(NamedTuple):
    """A part of an image, reduced by averaging blocks of its pixels."""

    part: Image.Image
    left_top: tuple[int, int]
    """In the image, px"""
    block_size: int

    @property
    def part_from_image(self) -> Floats:
        """``(3, 3)``, for homogeneous coordinates."""
        (left, top), scale = self.left_top, 1.0 / self.block_size
        return np.array([[scale, 0.0, -left * scale], [0.0, scale, -top * scale], [0.0, 0.0, 1.0]])

    def in_part(self, pixels: Floats) -> Floats:
        """Convert pixels ``(..., 2)`` of the image to pixels of the part."""
        return (pixels - self.left_top) / self.block_size


def _cut_out(image: NDArray[np.uint8], pixels: Floats, block_size: int) -> _Cut | None:
    """Cut out the image around ``pixels`` ``(n, 2)``; None if nothing of it is there.

    Averaging avoids aliasing where the crop shrinks the image.
    """
    if not len(pixels):
        return None
    height, width = image.shape[:2]
    low, high = pixels.min(0).tolist(), pixels.max(0).tolist()
    left, top = (max(math.floor(start) - 2 * block_size, 0) for start in low)
    right, bottom = (
        min(math.ceil(end) + 2 * block_size, side)
        for end, side in zip(high, (width, height), strict=True)
    )
    if right <= left or bottom <= top:
        return None
    # Pillow reads the rows where they are, without a copy of the part in between.
    rows = np.ascontiguousarray(image).reshape(-1)[3 * (top * width + left) :]
    size = right - left, bottom - top
    part = Image.frombuffer("RGB", size, rows, "raw", "RGB", 3 * width, 1)
    return _Cut(part.reduce(block_size) if block_size > 1 else part, (left, top), block_size)
