"""Light on a head: spherical harmonics, a key light and an environment map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ENVIRONMENT_MAP_SHAPE = (32, 64)
"""Rows and columns of :attr:`Light.environment_map`."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
"""Rec. 709 weights of linear red, green and blue."""

# Real spherical harmonics squared, times the cosine lobe's factor over pi (1, 2/3, 1/4):
# Ramamoorthi and Hanrahan 2001, "An efficient representation for irradiance environment maps".
_IRRADIANCE_WEIGHTS = np.array([1.0, 2, 2, 2, 15 / 4, 15 / 4, 5 / 16, 15 / 4, 15 / 16]) / (
    4.0 * np.pi
)


@dataclass(frozen=True, slots=True)
class Light:
    """Incident light, in linear RGB and the camera frame (x right, y down, z forward).

    Attributes
    ----------
    irradiance_sh
        ``(9, 3)`` float32: spherical harmonics of the radiance of a white Lambertian surface as a
        function of its unit normal, in the order ``1, y, z, x, xy, yz, 3zz-1, xz, xx-yy``. The
        cosine lobe, 1 / pi and the basis constants are included in the coefficients.
    key_direction
        ``(3,)`` unit vector from the head to the key light, the strongest source.
    key_rgb
        ``(3,)``: radiance of a white surface that faces the key light. It is not part of
        ``irradiance_sh``, and it casts shadows.
    key_softness
        0 for a point light, 1 for one that fills a hemisphere.
    environment_map
        ``(32, 64, 3)`` float32 equirectangular radiance in the camera frame for reflections:
        row 0 looks up (-y), column 0 looks back (-z), the middle column forward (+z).
    """

    irradiance_sh: np.ndarray
    key_direction: np.ndarray
    key_rgb: np.ndarray
    key_softness: float
    environment_map: np.ndarray


@lru_cache(maxsize=8)
def sphere_grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return directions ``(h, w, 3)`` and solid angles ``(h, 1)`` in sr of an equirectangular map.

    Row 0 looks up (-y), column 0 looks back (-z), the middle column looks forward (+z). Both
    arrays are shared and read-only.
    """
    down = ((np.arange(height) + 0.5) / height - 0.5)[:, None] * np.pi
    right = ((np.arange(width) + 0.5) / width - 0.5)[None] * 2.0 * np.pi
    x, z = np.cos(down) * np.sin(right), np.cos(down) * np.cos(right)
    directions = np.stack([x, np.broadcast_to(np.sin(down), x.shape), z], -1).astype(np.float32)
    band = np.sin(down + np.pi / (2 * height)) - np.sin(down - np.pi / (2 * height))
    solid_angles = (band * 2.0 * np.pi / width).astype(np.float32)
    directions.setflags(write=False)
    solid_angles.setflags(write=False)
    return directions, solid_angles


def sh_basis(normals: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the nine polynomials of :attr:`Light.irradiance_sh` at ``(..., 3)``: ``(..., 9)``."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    terms = [np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]
    return np.stack(terms, -1)


def evaluate_irradiance(
    irradiance_sh: NDArray[np.floating], normals: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return the radiance ``(..., 3)`` of white surfaces with unit ``normals (..., 3)``."""
    return sh_basis(normals) @ irradiance_sh


def project_irradiance(radiance: NDArray[np.floating]) -> NDArray[np.float32]:
    """Project an equirectangular radiance map ``(h, w, 3)`` to ``irradiance_sh (9, 3)``."""
    height, width = radiance.shape[:2]
    basis, solid_angles = _basis_grid(height, width)
    weighted = (radiance * solid_angles[..., None]).reshape(-1, 3)
    projected = basis.T @ weighted.astype(np.float32)
    return (projected * _IRRADIANCE_WEIGHTS[:, None]).astype(np.float32)


@lru_cache(maxsize=8)
def _basis_grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    directions, solid_angles = sphere_grid(height, width)
    return sh_basis(directions).reshape(-1, 9).astype(np.float32), solid_angles


def rotate_irradiance(
    irradiance_sh: NDArray[np.floating], cam_from_world: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Rotate ``irradiance_sh (9, 3)`` by an orthogonal ``(3, 3)`` matrix, possibly a reflection.

    Exact: the coefficients are a constant c, a vector b and a traceless symmetric matrix Q, which
    become c, M b and M Q M^T.
    """
    c, y, z, x, xy, yz, zz, xz, xx = irradiance_sh.astype(np.float64)
    quadratic = np.stack(
        [
            np.stack([xx - zz, xy / 2, xz / 2], -1),
            np.stack([xy / 2, -xx - zz, yz / 2], -1),
            np.stack([xz / 2, yz / 2, 2 * zz], -1),
        ],
        -2,
    )
    M = np.asarray(cam_from_world, dtype=np.float64)
    x, y, z = M @ np.stack([x, y, z])
    Q = M @ quadratic @ M.T
    rotated = [c, y, z, x, 2 * Q[:, 0, 1], 2 * Q[:, 1, 2], Q[:, 2, 2] / 2, 2 * Q[:, 0, 2]]
    return np.stack([*rotated, (Q[:, 0, 0] - Q[:, 1, 1]) / 2]).astype(np.float32)


def scale_light(light: Light, rgb: NDArray[np.floating] | float) -> Light:
    """Multiply a light by a factor, one number or one per channel ``(3,)``."""
    factor = np.asarray(rgb, dtype=np.float32)
    return replace(
        light,
        irradiance_sh=light.irradiance_sh * factor,
        key_rgb=light.key_rgb * factor,
        environment_map=light.environment_map * factor,
    )


def random_tint(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a factor ``(3,)`` that changes brightness (half to double) and colour of a light.

    Apply the same factor to the light and to the background.
    """
    warmth, green = rng.normal(0.0, 0.08), rng.normal(0.0, 0.025)
    brightness = 2.0 ** rng.uniform(-1.0, 1.0)
    return (brightness * np.exp([warmth, green, -warmth])).astype(np.float32)


def white_point(light: Light) -> NDArray[np.float32]:
    """Return the radiance ``(3,)`` of a white card at the head that faces the camera."""
    normal = np.array([0.0, 0.0, -1.0], dtype=np.float32)
    cosine = max(float(light.key_direction @ normal), 0.0)
    white = evaluate_irradiance(light.irradiance_sh, normal) + cosine * light.key_rgb
    return np.maximum(white, 1e-4).astype(np.float32)
