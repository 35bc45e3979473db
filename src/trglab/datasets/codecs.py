"""Bytes of images and arrays as a shard store holds them."""

from __future__ import annotations

import io
import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from trg.io.images import open_image

Buffer = bytes | memoryview

ImageFormat = Literal["jpeg", "png", "raw"]
"""``jpeg`` is small, ``png`` is lossless, ``raw`` (.npy) is lossless and needs no decoding."""

IMAGE_FIELDS: dict[ImageFormat, str] = {
    "jpeg": "image.jpg",
    "png": "image.png",
    "raw": "image.npy",
}
"""File name suffix of an image in a record, by format."""

JPEG_QUALITY = 92


def encode_image(
    image: NDArray[np.uint8],
    image_format: ImageFormat,
    quality: int = JPEG_QUALITY,
    *,
    full_chroma: bool = False,
) -> bytes:
    """Encode an image ``(h, w, 3)`` uint8 RGB; the last two parameters are for JPEG only."""
    if image_format == "raw":
        return encode_npy(image)
    file = io.BytesIO()
    if image_format == "png":
        Image.fromarray(image).save(file, "PNG", compress_level=1)
    else:
        subsampling = 0 if full_chroma else -1
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()


def decode_image(
    content: Buffer, field: str, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Decode the image of a record's field, read-only.

    ``size`` is its expected width and height; another one is refused before it is decoded.

    Raises
    ------
    OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError
        The image is damaged.
    """
    if field.endswith(".npy"):
        return decode_npy(content)
    with open_image(io.BytesIO(content), ("JPEG", "PNG")) as image:
        if size is not None and image.size != size:
            raise ValueError(f"expected an image of {size} px, got {image.size}")
        return np.asarray(image)


def encode_npy(array: NDArray[Any]) -> bytes:
    """Return an array, or a structured scalar, as the content of an .npy file."""
    array = np.asarray(array)
    return _npy_header(array.dtype, array.shape) + array.tobytes()


def decode_npy(content: Buffer) -> NDArray[Any]:
    """Return the array of an .npy file (version 1), read-only and without a copy.

    Headers are parsed once and cached: ``numpy.load`` would parse one per record, which takes
    longer than reading the data.

    Raises
    ------
    ValueError
        The content is damaged.
    """
    data_offset = (
        npy.MAGIC_LEN + 2 + int.from_bytes(content[npy.MAGIC_LEN : npy.MAGIC_LEN + 2], "little")
    )
    dtype, shape = _parse_npy_header(bytes(content[:data_offset]))
    return np.frombuffer(content, dtype, math.prod(shape), data_offset).reshape(shape)


@lru_cache
def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    header = {"shape": shape, "fortran_order": False, "descr": npy.dtype_to_descr(dtype)}
    npy.write_array_header_1_0(file, header)
    return file.getvalue()


@lru_cache
def _parse_npy_header(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    file = io.BytesIO(header)
    if npy.read_magic(file) != (1, 0):
        raise ValueError("expected .npy version 1.0")
    shape, fortran_order, dtype = npy.read_array_header_1_0(file)
    if fortran_order or dtype.hasobject:
        raise ValueError("expected a plain array in C order")
    return dtype, shape
