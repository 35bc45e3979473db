"""Skin colour as pigments: tones of real people, and what melanin and blood do to them.

Colours are linear RGB; changes are optical densities (minus the natural logarithm of
reflectance), in which pigments add up (Tsumura et al. 1999, "Independent-component analysis of
skin color image", JOSA A 16).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

# Individual typology angle (degrees), L*, a*, b* of skin from very light to very dark: after Del
# Bino and Bernerd 2013, "Variations in skin colour and the biological consequences of ultraviolet
# radiation exposure" (Br. J. Dermatol. 169), whose classes have borders at 55, 41, 28, 10, -30.
_TONES = np.array(
    [
        [66.0, 77.0, 7.0, 12.0],
        [52.0, 71.5, 9.5, 16.0],
        [38.0, 65.5, 11.0, 18.5],
        [20.0, 58.0, 12.5, 20.5],
        [-8.0, 47.0, 13.0, 20.0],
        [-35.0, 38.0, 11.5, 16.5],
        [-55.0, 31.0, 9.0, 12.5],
        [-68.0, 26.5, 6.5, 8.5],
    ]
)

_WHITE_XYZ = np.array([0.95047, 1.0, 1.08883])
_RGB_FROM_XYZ = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)

BLOOD_DENSITY = np.array([0.16, 0.78, 0.50], np.float32)
"""Density that one unit of haemoglobin adds: it takes green most and leaves red."""

TAN_STEP_DEG = 8.0


@dataclass(frozen=True)
class SkinTone:
    """The mean colour of a skin, and the directions in which its pigments move it.

    Attributes
    ----------
    typology_deg
        Individual typology angle: above 55 very light, below -30 dark.
    density
        ``(3,)`` float32: minus the logarithm of the linear RGB reflectance.
    melanin
        ``(3,)`` float32: density that a little more melanin adds; of a length near 0.15.
    """

    typology_deg: float
    density: np.ndarray
    melanin: np.ndarray


def sample_skin_tone(rng: np.random.Generator) -> SkinTone:
    """Draw a tone, spread evenly over the range of human skin from very light to very dark."""
    typology = float(rng.uniform(-66.0, 64.0))
    return skin_tone(typology, rng.normal(0.0, (1.5, 1.3, 1.6)))


def skin_tone(typology_deg: float, lab_offset: ArrayLike = (0.0, 0.0, 0.0)) -> SkinTone:
    """Return the tone at an individual typology angle, shifted by ``(3,)`` in CIE L*a*b*."""
    density = _density_at(typology_deg, lab_offset)
    darker = _density_at(typology_deg - TAN_STEP_DEG, lab_offset)
    return SkinTone(typology_deg, density, (darker - density).astype(np.float32))


def tone_from_linear(linear: np.ndarray) -> SkinTone:
    """Return the tone of a measured mean colour, linear sRGB ``(3,)``."""
    lab = lab_from_linear(linear)
    typology = float(np.degrees(np.arctan2(lab[0] - 50.0, max(lab[2], 1.0))))
    melanin = skin_tone(float(np.clip(typology, _TONES[-1, 0], _TONES[0, 0]))).melanin
    density = -np.log(np.clip(linear, 0.004, 1.0)).astype(np.float32)
    return SkinTone(typology, density, melanin)


def _density_at(typology_deg: float, lab_offset: ArrayLike) -> np.ndarray:
    order = np.argsort(_TONES[:, 0])
    lab = [np.interp(typology_deg, _TONES[order, 0], _TONES[order, axis]) for axis in (1, 2, 3)]
    # Beyond the table's dark end go on in its direction, so that the melanin axis never vanishes.
    lab[0] += 0.25 * min(0.0, typology_deg - _TONES[-1, 0])
    return -np.log(linear_from_lab(np.asarray(lab) + np.asarray(lab_offset))).astype(np.float32)


def linear_from_lab(lab: np.ndarray) -> np.ndarray:
    """Turn CIE L*a*b* (D65) ``(3,)`` into linear sRGB ``(3,)``, kept inside [0.004, 1]."""
    fy = (lab[0] + 16.0) / 116.0
    f = np.array([fy + lab[1] / 500.0, fy, fy - lab[2] / 200.0])
    relative = np.where(f > 6.0 / 29.0, f**3, (f - 4.0 / 29.0) * 3.0 * (6.0 / 29.0) ** 2)
    xyz = relative * _WHITE_XYZ
    return np.clip(_RGB_FROM_XYZ @ xyz, 0.004, 1.0)


def lab_from_linear(linear: np.ndarray) -> np.ndarray:
    """Turn linear sRGB ``(3,)`` into CIE L*a*b* (D65) ``(3,)``."""
    relative = np.linalg.solve(_RGB_FROM_XYZ, linear) / _WHITE_XYZ
    low = relative / (3.0 * (6.0 / 29.0) ** 2) + 4.0 / 29.0
    f = np.where(relative > (6.0 / 29.0) ** 3, np.cbrt(relative), low)
    return np.array([116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])])


def srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """Encode linear values in [0, 1] as uint8 sRGB, through a table of 4096 steps."""
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
