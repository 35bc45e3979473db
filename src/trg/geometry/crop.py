"""The network's square crop of a face box, and conversions between image and crop.

The crop is the view of an ideal pinhole camera through a square window on the plane z = 1. Unequal
focal lengths, an off-centre principal point and lens distortion are removed; ``bbox_info`` is all
that remains of the camera. Pixel i of a crop has its centre at crop coordinate
``(i + 0.5) / size * 2 - 1``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from trg._util.checks import finite_array, rgb_image
from trg.geometry.camera import Camera
from trg.geometry.projection import crop_from_rays, rays_from_crop

MAX_BOX_SCALE = 16.0
"""Largest side of a box, in image sizes; beyond the image the crop is black."""

BOX_MARGIN = 1.5
"""Side of the paper's face box over the larger side of the landmarks' bounding rectangle."""


class FaceCrop(NamedTuple):
    """The network's input for one face, and how to convert its pose to the camera frame."""

    pixels: NDArray[np.uint8]
    """``(size, size, 3)``, black outside the image"""
    bbox_info: NDArray[np.float64]
    """``(3,)``: ``tau_x / f, tau_y / f, b / f`` in the virtual camera"""
    cam_from_virtual: NDArray[np.float64]
    """``(3, 3)``: rotates from the virtual camera's frame to the image camera's; identity without
    a virtual camera"""


def face_box(landmarks_px: ArrayLike, margin: float = BOX_MARGIN) -> NDArray[np.float64]:
    """Return the square box ``(x0, y0, x1, y1)`` around landmarks ``(n, 2)``, in pixels.

    Its side is ``margin`` times the larger side of the landmarks' bounding rectangle.
    """
    points = finite_array("landmarks_px", landmarks_px, (None, 2))
    if len(points) < 2:
        raise ValueError(f"landmarks_px: expected at least 2 points, got {len(points)}")
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2.0, margin * (high - low).max() / 2.0
    return np.concatenate([centre - half, centre + half])


def bbox_info_from_box(camera: Camera, box_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Return ``bbox_info`` ``(3,)`` of the square around a pixel box of any shape.

    The square has the box's centre and, in rays, its larger side. Under distortion the side is
    measured with the scale at the centre.

    Raises ValueError if the box is empty, not finite, or lies where the lens model folds over.
    """
    box = finite_array("box_xyxy", box_xyxy, (4,))
    size = box[2:] - box[:2]
    if not (size > 0).all():
        raise ValueError(f"box_xyxy: expected x0 < x1 and y0 < y1, got {box.tolist()}")
    centre_ray = camera.unproject((box[:2] + box[2:]) / 2.0)
    side_ray = (size / camera.pixels_per_ray(centre_ray)).max()
    return np.append(centre_ray, side_ray)


def box_from_bbox_info(camera: Camera, bbox_info: ArrayLike) -> NDArray[np.float64]:
    """Return the pixel box ``(x0, y0, x1, y1)`` of ``bbox_info``, with the scale at its centre."""
    info = finite_array("bbox_info", bbox_info, (3,))
    centre = camera.pixels_from_rays(info[:2])
    half = info[2] * camera.pixels_per_ray(info[:2]) / 2.0
    return np.concatenate([centre - half, centre + half])


def pixels_from_crop(
    camera: Camera, crop_points: ArrayLike, bbox_info: ArrayLike
) -> NDArray[np.float64]:
    """Map crop coordinates ``(..., n, 2)`` to pixels of the full image."""
    info = np.asarray(bbox_info, dtype=np.float64)
    return camera.pixels_from_rays(rays_from_crop(np.asarray(crop_points), info))


def crop_from_pixels(
    camera: Camera, pixels: ArrayLike, bbox_info: ArrayLike
) -> NDArray[np.float64]:
    """Map pixels ``(..., n, 2)`` of the full image to crop coordinates."""
    return crop_from_rays(camera.unproject(pixels), np.asarray(bbox_info, dtype=np.float64))


def crop_face(image: NDArray[np.uint8], camera: Camera, box_xyxy: ArrayLike, size: int) -> FaceCrop:
    """Crop the square around a face box from an image, without distortion.

    Parameters
    ----------
    image
        ``(height, width, 3)`` uint8.
    camera
        The image's camera, of the image's size.
    box_xyxy
        ``(4,)`` px, of any shape. Outside the image the crop is black.
    size
        Side of the crop in pixels.

    Raises
    ------
    ValueError
        The image is not uint8 RGB, the camera has another size, or the box is empty or larger than
        :data:`MAX_BOX_SCALE` image sizes.
    """
    image = rgb_image("image", image)
    check_image_size(image, camera)
    if size < 1:
        raise ValueError(f"size: expected at least 1 px, got {size}")
    bbox_info = bbox_info_from_box(camera, box_xyxy)
    side_px = float((bbox_info[2] * camera.pixels_per_ray(bbox_info[:2])).max())
    if side_px > MAX_BOX_SCALE * max(camera.width, camera.height):
        raise ValueError(
            f"box_xyxy: expected a box at most {MAX_BOX_SCALE:.0f} times as large as the image "
            f"of {camera.width}x{camera.height} px, got a side of {side_px:.0f} px"
        )
    resample = _resample_distorted if camera.is_distorted else _resample_rectangle
    return FaceCrop(resample(image, camera, bbox_info, size), bbox_info, np.eye(3))


def check_image_size(image: NDArray[np.uint8], camera: Camera) -> None:
    """Raise ValueError unless the camera's size is the image's."""
    if image.shape[:2] != (camera.height, camera.width):
        raise ValueError(
            f"camera: expected one for {image.shape[1]}x{image.shape[0]} px, the image's size, "
            f"got {camera.width}x{camera.height}"
        )


def _resample_rectangle(
    image: NDArray[np.uint8], camera: Camera, bbox_info: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    """Resample the window with Pillow: without distortion it is a rectangle of the image."""
    box = box_from_bbox_info(camera, bbox_info)
    # Pillow's filter reads beyond the window: two source pixels, times the reduction factor.
    reach = np.ceil(2.0 * np.maximum(1.0, (box[2:] - box[:2]) / size)).astype(int)
    left, top = np.floor(box[:2]).astype(int) - reach
    right, bottom = np.ceil(box[2:]).astype(int) + reach
    left_in, top_in = np.clip((left, top), 0, (camera.width, camera.height))
    right_in, bottom_in = np.clip((right, bottom), 0, (camera.width, camera.height))
    inside = Image.fromarray(np.ascontiguousarray(image[top_in:bottom_in, left_in:right_in]))
    if (left, top, right, bottom) == (left_in, top_in, right_in, bottom_in):
        padded = inside
    elif right_in <= left_in or bottom_in <= top_in:
        return np.zeros((size, size, 3), dtype=np.uint8)
    else:
        padded = Image.new("RGB", (int(right - left), int(bottom - top)))
        padded.paste(inside, (int(left_in - left), int(top_in - top)))
    window = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    resized = padded.resize((size, size), Image.Resampling.BILINEAR, box=window)
    return np.asarray(resized)


def _resample_distorted(
    image: NDArray[np.uint8], camera: Camera, bbox_info: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    """Follow rays through the lens: several per crop pixel where the crop shrinks the image."""
    scale = bbox_info[2] * camera.pixels_per_ray(bbox_info[:2]).max() / size
    per_pixel = int(np.clip(np.ceil(scale), 1, 8))
    fine = size * per_pixel
    axis = (np.arange(fine) + 0.5) / fine * 2.0 - 1.0
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    rays = rays_from_crop(grid, bbox_info)
    pixels = camera.pixels_from_rays(rays)
    is_seen = ~np.isnan(pixels).any(-1)
    colours = np.zeros((fine * fine, 3))
    colours[is_seen] = bilinear(image, pixels[is_seen])
    blocks = colours.reshape(size, per_pixel, size, per_pixel, 3)
    return np.rint(blocks.mean((1, 3))).astype(np.uint8)


def bilinear(image: NDArray[np.uint8], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample an image ``(h, w, 3)`` at pixel positions ``(n, 2)``, giving ``(n, 3)``; 0 outside."""
    height, width = image.shape[:2]
    limit = np.array([width, height], dtype=np.float64)
    position = np.clip(pixels - 0.5, -2.0, limit + 1.0)
    corner = np.floor(position).astype(np.int64)
    x_share, y_share = (position - corner).T[..., None]
    padded = np.pad(image, ((2, 3), (2, 3), (0, 0)))
    x, y = corner.T + 2
    top = padded[y, x] * (1.0 - x_share) + padded[y, x + 1] * x_share
    bottom = padded[y + 1, x] * (1.0 - x_share) + padded[y + 1, x + 1] * x_share
    return top * (1.0 - y_share) + bottom * y_share
