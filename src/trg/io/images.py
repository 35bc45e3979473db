"""Still image input: any image becomes upright RGB pixels and, if EXIF has it, a camera."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from os import PathLike
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trg._util.files import existing_file
from trg.geometry.camera import Camera
from trg.io.exif import ExifCamera, exif_camera, exif_orientation, explain_exif_camera
from trg.io.orientation import UPRIGHT, Orientation

BACKGROUND = 255
"""Grey value behind transparent pixels: white."""

PHOTO_FORMATS = (
    "JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "DIB", "JPEG2000", "PPM", "QOI", "SGI",
    "ICO", "PCX", "TGA",
)  # fmt: skip
"""Formats that :func:`open_image` reads, by Pillow's names; JPEG includes MPO. HEIC joins them if
pillow-heif is installed. Pillow itself reads many more, and hands PostScript to Ghostscript,
whatever the file's suffix."""

MAX_STREAM_BYTES = 2**30
"""Limit of an image that is read from a stream, such as standard input."""

_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
"""Pillow opens 16-bit files of these formats as 32-bit integers."""

_SINGLE_PHOTO_FORMATS = ("MPO", "HEIF", "ICO")
"""What else such a file holds belongs to the same photo: depth, other exposures, other sizes."""

_VECTOR_FORMATS = ("EPS", "WMF", "EMF")
"""Pillow runs external programs such as Ghostscript for these; photos do not use them."""

_HEVC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
"""Brands of HEIF files with HEVC images (ISO/IEC 23008-12, annex B). AVIF files have others."""

_HEADER_BYTES = 64

MAX_JPEG_SCANS = 100
"""Scans of a JPEG; libtiff has the same limit. Progressive photos have about 10, and each takes as
long as decoding the photo, from some thirty bytes of file."""

_JPEG_START = b"\xff\xd8"
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)
"""A marker that a segment with its length follows, or the end."""

_STRIP_PX = 2**24
"""Pixels that are converted to RGB at a time, to bound the memory that large photos need."""


class UprightImage(NamedTuple):
    """An image with its EXIF orientation applied."""

    pixels: NDArray[np.uint8]
    """``(h, w, 3)`` RGB."""
    camera: Camera | None
    """From EXIF, for the upright pixels; None if EXIF has no focal length."""
    frame_count: int = 1
    """Frames of an animation or pages in the file; the pixels are those of the first."""


def allow_pixels(max_pixels: int) -> None:
    """Set the size of the largest image that this process opens.

    Pillow's warning about images of half that size is switched off. Reading an image needs about
    eight bytes per pixel.
    """
    Image.MAX_IMAGE_PIXELS = max_pixels // 2
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def open_image(
    source: str | PathLike[str] | BinaryIO, formats: Sequence[str] = PHOTO_FORMATS
) -> Image.Image:
    """Open an image with Pillow, without decoding its pixels.

    Every image file is opened here, so that none reaches the decoder of another format. The
    formats are recognised by content, whatever the file's suffix.

    Raises
    ------
    FileNotFoundError, OSError
        There is no such file, it cannot be opened, or it is of none of these formats
        (``PIL.UnidentifiedImageError``). Pillow raises further exceptions for damaged files.
    ValueError
        The file is HEIC, and pillow-heif is not installed.
    """
    if isinstance(source, (str, PathLike)):
        source = existing_file(source, "an image")
        with source.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    else:
        source.seek(0)
        header = source.read(_HEADER_BYTES)
    if formats is PHOTO_FORMATS and _is_heic(header):
        _register_heif()
        formats = ("HEIF",)
    return Image.open(source, formats=tuple(formats))  # noqa: TID251


def read_image(
    source: str | PathLike[str] | BinaryIO | Image.Image | NDArray[Any],
) -> UprightImage:
    """Read an image from a file, a stream, a Pillow image or an array.

    EXIF's orientation is applied to the pixels and to the camera. Of an animation the first frame
    is taken. Transparent pixels are blended with white. 16-bit values are divided by 257.

    Parameters
    ----------
    source
        Path of a file in one of the ``PHOTO_FORMATS``; a binary stream with such a file, which need
        not be seekable; a Pillow image; or an array ``(h, w)``, ``(h, w, 1)``, ``(h, w, 3)`` or
        ``(h, w, 4)`` of uint8 or uint16: grey, RGB or RGBA. OpenCV's arrays are BGR: pass
        ``image[..., ::-1]``.

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
    if isinstance(source, (str, PathLike)):
        path = existing_file(source, "an image")
        with path.open("rb") as file:  # opened here to keep its errors apart from Pillow's
            return _decode(file, str(path))
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "image"))
        return _decode(io.BytesIO(_read_stream(source, name)), name)
    raise ValueError(
        "image: expected a path, a binary stream, a Pillow image or an array, "
        f"got {type(source).__name__} ({source!r:.80})"
    )


class _UnsupportedError(ValueError):
    """The image is intact, but of a kind that is refused."""


def _read_stream(stream: BinaryIO, name: str) -> bytes:
    content = stream.read(MAX_STREAM_BYTES + 1)
    if len(content) > MAX_STREAM_BYTES:
        raise ValueError(f"{name}: expected an image of at most {MAX_STREAM_BYTES:,} bytes")
    return content


def _decode(source: Any, name: str) -> UprightImage:
    """Decode a Pillow image or an open file; raise every failure as ValueError."""
    try:
        if isinstance(source, Image.Image):
            return _upright(source)
        with open_image(source) as image:
            _refuse_many_scans(source)
            return _upright(image)._replace(frame_count=_frame_count(image))
    except _UnsupportedError as error:
        raise ValueError(f"{name}: {error}") from None
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(
            f"{name}: expected at most {limit:,} pixels (twice PIL.Image.MAX_IMAGE_PIXELS); "
            "scale the image down, or raise that limit (--max-megapixels) if you trust the file "
            f"({error})"
        ) from error
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{name}: expected an image ({', '.join((*PHOTO_FORMATS, 'HEIC'))}), got a file of "
            "another kind"
        ) from error
    except MemoryError as error:
        raise ValueError(f"{name}: there is not enough memory for this image") from error
    except Exception as error:  # Pillow's plugins raise any exception for damaged bytes
        raise ValueError(f"{name}: the image is damaged or truncated ({error})") from error


def _refuse_many_scans(file: BinaryIO) -> None:
    """Raise _UnsupportedError if an open file is a JPEG of more scans than photos have."""
    place = file.tell()
    file.seek(0)
    try:
        if file.read(2) == _JPEG_START and _scan_count(_JPEG_START + file.read()) > MAX_JPEG_SCANS:
            raise _UnsupportedError(f"expected a JPEG of at most {MAX_JPEG_SCANS} scans")
    finally:
        file.seek(place)


def _scan_count(data: bytes) -> int:
    """Return the number of scans of a JPEG, counted up to the limit and one."""
    count, place = 0, len(_JPEG_START)
    while count <= MAX_JPEG_SCANS and (marker := _JPEG_MARKER.search(data, place)):
        if marker[0] == _JPEG_END:
            break
        count += marker[0] == _JPEG_SCAN
        length = int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        place = marker.end() + length  # thumbnails in segments have markers of their own
    return count


def _upright(image: Image.Image) -> UprightImage:
    if image.format in _VECTOR_FORMATS:
        raise _UnsupportedError(f"expected a photo, got a drawing ({image.format})")
    if 0 in image.size:
        raise _UnsupportedError(
            "expected an image of at least one pixel, got {}x{}".format(*image.size)
        )
    # Before EXIF is read: Pillow itself rotates a TIFF while loading and clears its orientation.
    image.load()
    orientation, camera = _read_exif(image)
    width, height = image.size
    upright = np.empty(
        (*((width, height) if orientation.transpose else (height, width)), 3), np.uint8
    )
    stored = orientation.stored_view(upright)
    rows = max(1, _STRIP_PX // width)
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        strip = image if rows >= height else image.crop(box)
        stored[top : top + rows] = _image_to_rgb(strip, image.format)
    return UprightImage(upright, camera and orientation.apply_to_camera(camera))


def _frame_count(image: Image.Image) -> int:
    if image.format in _SINGLE_PHOTO_FORMATS:
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # Pillow raises any exception for damage behind the first frame
        return 1


def _read_exif(image: Image.Image) -> tuple[Orientation, Camera | None]:
    try:
        exif = image.getexif()
        return exif_orientation(exif), exif_camera(exif, *image.size)
    except Exception:  # Pillow raises any exception for a damaged block; the pixels are intact
        return UPRIGHT, None


def _image_to_rgb(image: Image.Image, image_format: str | None) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return _array_to_rgb(np.asarray(image).astype(np.uint16, copy=False))
    if image.mode == "I" and image_format in _SIXTEEN_BIT_FORMATS:
        return _array_to_rgb(np.asarray(image).clip(0, 65535).astype(np.uint16))
    if image.mode in ("I", "F", "LAB"):
        raise _UnsupportedError(
            f"expected an image of 8 or 16 bits, got Pillow's mode {image.mode!r}, whose range is "
            "unknown; scale it to 0..255 and convert it to RGB first"
        )
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


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


def photo_camera(path: str | PathLike[str]) -> tuple[ExifCamera, tuple[int, int]]:
    """Return what EXIF tells of a photo's camera, for the upright image, and its size in pixels.

    The pixels are not read. Raises as :func:`open_image`.
    """
    with open_image(path) as image:
        exif = image.getexif()
        orientation, found = exif_orientation(exif), explain_exif_camera(exif, *image.size)
        width, height = image.size
    if found.camera is not None:
        found = found._replace(camera=orientation.apply_to_camera(found.camera))
    return found, (height, width) if orientation.transpose else (width, height)


def frame_count(path: str) -> int:
    """Return the number of frames of an image file; 1 for a photo or what cannot be read."""
    try:
        with open_image(path) as image:
            return _frame_count(image)
    except Exception:  # reading it reports why
        return 1


def is_image_file(path: str) -> bool:
    """Return whether a file's content is recognised as a photo, readable or not."""
    try:
        with open_image(path):
            return True
    except _UnsupportedError:
        return True
    except Exception:  # Pillow raises any exception for content that it does not recognise
        return False


def _is_heic(header: bytes) -> bool:
    """Return whether these are the first bytes of a HEIF file with HEVC images."""
    size = min(int.from_bytes(header[:4], "big"), len(header))
    brands = {header[8:12]} | {header[at : at + 4] for at in range(16, size, 4)}
    return header[4:8] == b"ftyp" and not brands.isdisjoint(_HEVC_BRANDS)


def _register_heif() -> None:
    """Add pillow-heif's decoder to Pillow, unless the program has done so or has another."""
    if "HEIF" in Image.OPEN:
        return
    try:
        import pillow_heif
    except ImportError as error:
        raise _UnsupportedError(
            "is a HEIC photo, which needs the package pillow-heif; install it with: "
            "pip install 'trg-headpose[heic]', or convert the photo to JPEG"
        ) from error
    pillow_heif.register_heif_opener()
