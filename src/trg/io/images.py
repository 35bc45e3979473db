"""Photos in: any picture becomes upright RGB pixels and, where it says so, its camera."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trg.geometry.camera import Camera
from trg.io.exif import exif_camera, exif_turn
from trg.io.orientation import UPRIGHT, Turn

BACKGROUND = 255
"""What shows through transparent pixels: white, as on a page."""

_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
"""Their 32-bit integer pictures hold 16-bit values."""

_DRAWING_FORMATS = ("EPS", "WMF", "EMF")
"""Pillow hands these to other programs, Ghostscript for one; no photo comes in them."""

_Read = TypeVar("_Read")


class Picture(NamedTuple):
    """A photo, the right way up."""

    pixels: NDArray[np.uint8]
    """``(h, w, 3)`` RGB."""
    camera: Camera | None
    """From EXIF, turned like the pixels. None where EXIF says nothing."""


def read_picture(source: str | PathLike[str] | Image.Image | NDArray[Any]) -> Picture:
    """Read a photo from a file, a Pillow image or an array.

    EXIF's orientation is applied to the pixels and to the camera. The first frame of an animation
    is taken. Transparent pixels are laid on white. 16-bit values are divided by 257.

    Parameters
    ----------
    source
        The path of any file that Pillow reads; a Pillow image; or an array ``(h, w)``,
        ``(h, w, 1)``, ``(h, w, 3)`` or ``(h, w, 4)`` of uint8 or uint16, grey, RGB or RGBA.
        OpenCV's arrays are BGR: hand in ``image[..., ::-1]``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file cannot be opened, or is a folder.
    ValueError
        It is no picture, is damaged or cut off, is larger than Pillow's limit, or holds numbers
        whose range is not known (floats, 32-bit integers).
    """
    if isinstance(source, np.ndarray):
        return Picture(_array_to_rgb(source, "picture"), None)
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or "picture"
        return _decode(str(name), lambda: _upright(source, str(name)))
    if not isinstance(source, (str, PathLike)):
        raise ValueError(
            "picture: expected a path, a Pillow image or an array, "
            f"got {type(source).__name__} ({source!r:.80})"
        )
    path = os.fspath(source)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: expected a picture, got a folder")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"{path}: expected a picture file, got a pipe or a device")
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below; its errors are told apart from Pillow's)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: expected a picture, found no such file") from error
    with file:
        return _decode(path, lambda: _open_upright(file, path))


def _decode(name: str, decode: Callable[[], _Read]) -> _Read:
    """Run a piece of decoding and turn whatever goes wrong in it into ValueError."""
    try:
        return decode()
    except _RefusedError as error:
        raise ValueError(f"{name}: {error}") from None
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(
            f"{name}: expected at most {limit:,} pixels (twice PIL.Image.MAX_IMAGE_PIXELS); "
            f"scale the picture down, or raise that limit if you trust it ({error})"
        ) from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name}: {_not_a_picture(name)}") from error
    except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead them into
        raise ValueError(f"{name}: the picture is damaged or cut off ({error})") from error


class _RefusedError(Exception):
    """A sound picture whose numbers cannot be understood."""


def _open_upright(file: Any, name: str) -> Picture:
    with Image.open(file) as image:
        return _upright(image, name)


def _upright(image: Image.Image, name: str) -> Picture:
    if image.format in _DRAWING_FORMATS:
        raise _RefusedError(f"expected a photo, got a drawing ({image.format})")
    if 0 in image.size:
        raise _RefusedError(
            "expected a picture of at least one pixel, got {}x{}".format(*image.size)
        )
    # Loading comes first: a TIFF turns itself upright then, and forgets its orientation.
    image.load()
    pixels = _image_to_rgb(image)
    turn, camera = _exif_facts(image)
    return Picture(turn.pixels(pixels), camera and turn.camera(camera))


def _exif_facts(image: Image.Image) -> tuple[Turn, Camera | None]:
    try:
        exif = image.getexif()
        return exif_turn(exif), exif_camera(exif, *image.size)
    except Exception:  # Pillow raises anything for a damaged block, and the pixels are fine
        return UPRIGHT, None


def _image_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return _array_to_rgb(np.asarray(image).astype(np.uint16, copy=False), "picture")
    if image.mode == "I" and image.format in _SIXTEEN_BIT_FORMATS:
        return _array_to_rgb(np.asarray(image).clip(0, 65535).astype(np.uint16), "picture")
    if image.mode in ("I", "F", "LAB"):
        raise _RefusedError(
            f"expected a picture of 8 or 16 bits, got Pillow's mode {image.mode!r}, whose range is "
            "not known; scale it to 0..255 and convert it to RGB first"
        )
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        image = Image.alpha_composite(page, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _array_to_rgb(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in array.shape:
        raise ValueError(
            f"{name}: expected an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) "
            f"of at least one pixel, got shape {array.shape}"
        )
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(
            f"{name}: expected uint8 (0..255) or uint16 (0..65535), got {array.dtype}; convert it "
            "first, numbers from 0 to 1 with (image * 255).round().astype(np.uint8)"
        )
    if array.ndim == 2:
        array = array[..., None]
    if channels == 4:
        alpha = array[..., 3:].astype(np.uint16)
        array = (array[..., :3] * alpha + BACKGROUND * (255 - alpha) + 127) // 255
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)), dtype=np.uint8)


def _not_a_picture(name: str) -> str:
    if name.lower().endswith((".heic", ".heif")):
        return (
            "Pillow does not read HEIC by itself; convert the photo to JPEG, or install "
            "pillow-heif and call pillow_heif.register_heif_opener() first"
        )
    return "expected a picture, got a file of a kind that Pillow does not know or that is damaged"
