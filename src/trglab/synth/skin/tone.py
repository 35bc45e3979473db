"""Skin colour as pigments: measured skin tones, and the effect of melanin and haemoglobin.

Changes are optical densities (minus the natural logarithm of linear reflectance), in which
pigments add (Tsumura et al. 1999, "Independent-component analysis of skin color image", JOSA A 16).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from trglab.synth.colour import lab_from_linear, linear_from_lab

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

BLOOD_DENSITY = np.array([0.16, 0.78, 0.50], np.float32)
"""Density of one unit of haemoglobin, linear RGB: it absorbs mostly green and hardly any red."""

TAN_STEP_DEG = 8.0


@dataclass(frozen=True)
class SkinTone:
    """The mean colour of a skin, and the direction in which melanin moves it.

    Attributes
    ----------
    typology_deg
        Individual typology angle: above 55 very light, below -30 dark.
    density
        ``(3,)`` float32 optical density of linear RGB.
    melanin
        ``(3,)`` float32: density added by one unit of melanin; length near 0.15.
    """

    typology_deg: float
    density: np.ndarray
    melanin: np.ndarray


def sample_skin_tone(rng: np.random.Generator) -> SkinTone:
    """Draw a tone; typology angles are uniform over the range of human skin."""
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
    # Extrapolate beyond the dark end of the table, so that the melanin axis never vanishes.
    lab[0] += 0.25 * min(0.0, typology_deg - _TONES[-1, 0])
    return -np.log(linear_from_lab(np.asarray(lab) + np.asarray(lab_offset))).astype(np.float32)
