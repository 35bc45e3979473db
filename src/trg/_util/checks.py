"""Validation of inputs. Error messages say what was expected and what was received."""

from __future__ import annotations

import reprlib
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def finite_array(
    name: str, value: ArrayLike, shape: tuple[int | None, ...], dtype: Any = np.float64
) -> NDArray[Any]:
    """Return ``value`` as an array of ``shape`` (None: any length) and ``dtype``.

    Raises ValueError if ``value`` is not numeric, has another shape, or contains NaN or infinity.
    """
    try:
        array = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{name}: expected numbers of shape {_show(shape)}, got {reprlib.repr(value)}"
        ) from error
    if array.shape != shape and (
        array.ndim != len(shape)
        or any(each not in (None, side) for each, side in zip(shape, array.shape, strict=True))
    ):
        raise ValueError(f"{name}: expected shape {_show(shape)}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return array


def checked_port(name: str, port: int) -> int:
    """Return ``port``; raises ValueError if it is none. The system takes 70000 for 4464."""
    if not 0 <= port <= 65535:
        raise ValueError(f"{name}: expected a port from 0 to 65535, got {port}")
    return port


def rgb_image(name: str, value: Any) -> NDArray[np.uint8]:
    """Return ``value`` as an array if it is an ``(h, w, 3)`` uint8 image of at least one pixel.

    Raises ValueError if it is not.
    """
    array = np.asarray(value)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ValueError(
            f"{name}: expected an (height, width, 3) uint8 RGB image, "
            f"got shape {array.shape} of {array.dtype}"
        )
    return array


def box_array(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return boxes ``x0, y0, x1, y1`` in pixels as an array ``(k, 4)``; k may be 0.

    Raises ValueError if ``value`` is not numeric, has another shape, or contains an empty box; or
    if all numbers lie in 0..1, because they are then fractions of the image's size.
    """
    with suppress(ValueError):  # ragged lists, which are refused below
        if np.size(value) == 0:
            return np.zeros((0, 4))
    boxes = finite_array(name, value, (None, 4))
    if len(boxes) and (boxes >= 0.0).all() and (boxes <= 1.0).all():
        raise ValueError(
            f"{name}: expected pixels, got numbers that all lie in 0..1; multiply x by the image's "
            "width and y by its height"
        )
    if not (boxes[:, :2] < boxes[:, 2:]).all():
        raise ValueError(f"{name}: expected x0 < x1 and y0 < y1 in each, got {boxes.tolist()}")
    return boxes


def _show(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("n" if side is None else str(side) for side in shape) + ")"
