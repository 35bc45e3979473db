"""Still image input: any image becomes upright RGB pixels and, if EXIF has it, a camera."""

from __future__ import annotations

from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trg._util.files import existing_file
from trg.geometry.camera import Camera
from trg.io.exif import exif_camera, exif_orientation
from trg.io.orientation import UPRIGHT, Orientation

BACKGROUND = 255
"""Grey value behind transparent pixels: white."""

_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
"""Pillow opens 16-bit files of these formats as 32-bit integers."""

_VECTOR_FORMATS = ("EPS", "WMF", "EMF")
"""Pillow runs external programs such as Ghostscript for these; photos do not use them."""


class UprightImage(NamedTuple):
    """An image with its EXIF orientation applied."""

    pixels: NDArray[np.uint8]
    """``(h, w, 3)`` RGB."""
    camera: Camera | None
    """From EXIF, for the upright pixels; None if EXIF has no focal length."""


def read_image(source: str | PathLike[str] | Image.Image | NDArray[Any]) -> UprightImage:
    """Read an image from a file, a Pillow image or an array.

    EXIF's orientation is applied to the pixels and to the camera. Of an animation the first frame
    is taken. Transparent pixels are blended with white. 16-bit values are divided by 257.

    Parameters
    ----------
    source
        Path of any file that Pillow reads; a Pillow image; or an array ``(h, w)``, ``(h, w, 1)``,
        ``(h, w, 3)`` or ``(h, w, 4)`` of uint8 or uint16: grey, RGB or RGBA. OpenCV's arrays are
        BGR: pass ``image[..., ::-1]``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file cannot be opened, or is a folder.
    ValueError
        The file is not an image, is damaged or truncated, or exceeds Pillow's size limit; or the
        value range is unknown (floats, 32-bit integers).
    """
    if isinstance(source, np.ndarray):
        return UprightImage(_array_to_rgb(source), None)
    if isinstance(source, Image.Image):
        return _decode(source, str(getattr(source, "filename", "") or "image"))
    if not isinstance(source, (str, PathLike)):
        raise ValueError(
            "image: expected a path, a Pillow image or an array, "
            f"got {type(source).__name__} ({source!r:.80})"
        )
    path = existing_file(source, "an image")
    with path.open("rb") as file:  # opened here to keep its errors apart from Pillow's
        return _decode(file, str(path))


class _UnsupportedError(Exception):
    """The image is intact, but of a kind that is refused."""


def _decode(source: Any, name: str) -> UprightImage:
    """Decode a Pillow image or an open file; raise every failure as ValueError."""
    try:
        if isinstance(source, Image.Image):
            return _upright(source)
        with Image.open(source) as image:
            return _upright(image)
    except _UnsupportedError as error:
        raise ValueError(f"{name}: {error}") from None
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(
            f"{name}: expected at most {limit:,} pixels (twice PIL.Image.MAX_IMAGE_PIXELS); "
            f"scale the image down, or raise that limit if you trust the file ({error})"
        ) from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name}: {_unidentified(name)}") from error
    except Exception as error:  # Pillow's plugins raise any exception for damaged bytes
        raise ValueError(f"{name}: the image is damaged or truncated ({error})") from error


def _upright(image: Image.Image) -> UprightImage:
    if image.format in _VECTOR_FORMATS:
        raise _UnsupportedError(f"expected a photo, got a drawing ({image.format})")
    if 0 in image.size:
        raise _UnsupportedError(
            "expected an image of at least one pixel, got {}x{}".format(*image.size)
        )
    # Before EXIF is read: Pillow itself rotates a TIFF while loading and clears its orientation.
    image.load()
    pixels = _image_to_rgb(image)
    orientation, camera = _read_exif(image)
    return UprightImage(orientation.apply(pixels), camera and orientation.apply_to_camera(camera))


def _read_exif(image: Image.Image) -> tuple[Orientation, Camera | None]:
    try:
        exif = image.getexif()
        return exif_orientation(exif), exif_camera(exif, *image.size)
    except Exception:  # Pillow raises any exception for a damaged block; the pixels are intact
        return UPRIGHT, None


def _image_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return _array_to_rgb(np.asarray(image).astype(np.uint16, copy=False))
    if image.mode == "I" and image.format in _SIXTEEN_BIT_FORMATS:
        return _array_to_rgb(np.asarray(image).clip(0, 65535).astype(np.uint16))
    if image.mode in ("I", "F", "LAB"):
        raise _UnsupportedError(
            f"expected an image of 8 or 16 bits, got Pillow's mode {image.mode!r}, whose range is "
            "unknown; scale it to 0..255 and convert it to RGB first"
        )
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _array_to_rgb(array: NDArray[Any]) -> NDArray[np.uint8]:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in array.shape:
        raise ValueError(
            "image: expected an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) "
            f"of at least one pixel, got shape {array.shape}"
        )
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(
            f"image: expected uint8 (0..255) or uint16 (0..65535), got {array.dtype}; convert it "
            "first, values from 0 to 1 with (image * 255).round().astype(np.uint8)"
        )
    if array.ndim == 2:
        array = array[..., None]
    if channels == 4:
        alpha = array[..., 3:].astype(np.uint16)
        array = (array[..., :3] * alpha + BACKGROUND * (255 - alpha) + 127) // 255
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)), dtype=np.uint8)


def _unidentified(name: str) -> str:
    if name.lower().endswith((".heic", ".heif")):
        return (
            "Pillow does not read HEIC by itself; convert the photo to JPEG, or install "
            "pillow-heif and call pillow_heif.register_heif_opener() first"
        )
    return "expected an image, got a file that Pillow does not recognise"
