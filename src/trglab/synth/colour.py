"""Colour spaces: sRGB, linear RGB and CIE L*a*b* (D65)."""

from __future__ import annotations

import numpy as np

Rgb = tuple[float, float, float]
"""sRGB, 0 to 255."""

_WHITE_XYZ = np.array([0.95047, 1.0, 1.08883])
_RGB_FROM_XYZ = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)


def rgb_tuple(values: np.ndarray, low: float = 0.0, high: float = 255.0) -> Rgb:
    """Clip a colour ``(3,)`` and return it as plain numbers."""
    red, green, blue = np.clip(values, low, high).tolist()
    return red, green, blue


def linear_from_lab(lab: np.ndarray) -> np.ndarray:
    """Convert CIE L*a*b* ``(3,)`` to linear sRGB ``(3,)``, clipped to [0.004, 1]."""
    fy = (lab[0] + 16.0) / 116.0
    f = np.array([fy + lab[1] / 500.0, fy, fy - lab[2] / 200.0])
    relative = np.where(f > 6.0 / 29.0, f**3, (f - 4.0 / 29.0) * 3.0 * (6.0 / 29.0) ** 2)
    xyz = relative * _WHITE_XYZ
    return np.clip(_RGB_FROM_XYZ @ xyz, 0.004, 1.0)


def lab_from_linear(linear: np.ndarray) -> np.ndarray:
    """Convert linear sRGB ``(3,)`` to CIE L*a*b* ``(3,)``."""
    relative = np.linalg.solve(_RGB_FROM_XYZ, linear) / _WHITE_XYZ
    low = relative / (3.0 * (6.0 / 29.0) ** 2) + 4.0 / 29.0
    f = np.where(relative > (6.0 / 29.0) ** 3, np.cbrt(relative), low)
    return np.array([116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])])


def srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """Encode linear values in [0, 1] as uint8 sRGB, with a table of 4096 entries."""
    index = np.clip(linear * np.float32(4095.0) + np.float32(0.5), 0, 4095).astype(np.uint16)
    return _SRGB_FROM_LINEAR[index]


def linear_from_srgb(srgb: np.ndarray) -> np.ndarray:
    """Decode uint8 sRGB to float32 linear values in [0, 1]."""
    return _LINEAR_FROM_SRGB[srgb]


def _encode(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _decode(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


_SRGB_FROM_LINEAR = np.round(_encode(np.linspace(0.0, 1.0, 4096)) * 255.0).astype(np.uint8)
_LINEAR_FROM_SRGB = _decode(np.arange(256) / 255.0).astype(np.float32)
