"""Checks of what comes in from outside: what was expected, what came, in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def finite_array(
    name: str, value: ArrayLike, shape: tuple[int | None, ...], dtype: Any = np.float64
) -> NDArray[Any]:
    """Return ``value`` as an array of ``shape`` (None: any length), or raise ValueError."""
    try:
        array = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected numbers of shape {_show(shape)}, got {value!r}"
        ) from error
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: expected shape {_show(shape)}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return array


def rgb_image(name: str, value: Any) -> NDArray[np.uint8]:
    """Return ``value`` if it is an ``(h, w, 3)`` uint8 image with at least one pixel, or raise."""
    array = np.asarray(value)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ValueError(
            f"{name}: expected an (height, width, 3) uint8 RGB image, "
            f"got shape {array.shape} of {array.dtype}"
        )
    return array


def _show(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("n" if side is None else str(side) for side in shape) + ")"
