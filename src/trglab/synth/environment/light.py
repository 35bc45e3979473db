"""Light and surroundings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ENVIRONMENT_MAP_SHAPE = (32, 64)
"""Rows and columns of :attr:`Light.environment_map`."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
"""Rec. 709: how bright linear red, green and blue look."""

# Real spherical harmonics squared, times the cosine lobe's factor over pi (1, 2/3, 1/4):
# Ramamoorthi and Hanrahan 2001, "An efficient representation for irradiance environment maps".
_IRRADIANCE_WEIGHTS = np.array([1.0, 2, 2, 2, 15 / 4, 15 / 4, 5 / 16, 15 / 4, 15 / 16]) / (
    4.0 * np.pi
)


@dataclass(frozen=True, slots=True)
class Light:
    """What falls onto a head, in linear RGB and the camera frame (x right, y down, z forward).

    Attributes
    ----------
    irradiance_sh
        ``(9, 3)`` float32: spherical harmonics of the diffuse light that a white surface sends
        back, as a function of its unit normal (cosine lobe and 1 / pi folded in), in the order
        ``1, y, z, x, xy, yz, 3zz-1, xz, xx-yy`` with the constants folded in.
    key_direction
        ``(3,)`` unit vector from the head towards the strongest source.
    key_rgb
        ``(3,)``: light sent back by a white surface that faces the strongest source. It is not
        contained in ``irradiance_sh``, and it casts shadows.
    key_softness
        0 for a point, 1 for a source that fills half the sky.
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
    """Light ``(..., 3)`` that a white surface with unit ``normals (..., 3)`` sends back."""
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
    """Turn ``irradiance_sh (9, 3)`` by an orthogonal ``(3, 3)`` matrix, mirroring included.

    Exact: nine coefficients are a constant, a vector and a symmetric matrix without trace, and
    those turn as c, M b and M Q M^T.
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
    turned = [c, y, z, x, 2 * Q[:, 0, 1], 2 * Q[:, 1, 2], Q[:, 2, 2] / 2, 2 * Q[:, 0, 2]]
    return np.stack([*turned, (Q[:, 0, 0] - Q[:, 1, 1]) / 2]).astype(np.float32)


def scale_light(light: Light, rgb: NDArray[np.floating] | float) -> Light:
    """Return ``light`` made brighter, darker or tinted by a factor per channel, ``(3,)``."""
    factor = np.asarray(rgb, dtype=np.float32)
    return replace(
        light,
        irradiance_sh=light.irradiance_sh * factor,
        key_rgb=light.key_rgb * factor,
        environment_map=light.environment_map * factor,
    )


def random_tint(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a factor ``(3,)`` of light: half to double brightness, warmer or colder, greener or not.

    Give the same factor to the light and to the background that it lights.
    """
    warmth, green = rng.normal(0.0, 0.08), rng.normal(0.0, 0.025)
    brightness = 2.0 ** rng.uniform(-1.0, 1.0)
    return (brightness * np.exp([warmth, green, -warmth])).astype(np.float32)


def white_point(light: Light) -> NDArray[np.float32]:
    """Colour ``(3,)`` of a white card held at the head, facing the camera: what to balance on."""
    normal = np.array([0.0, 0.0, -1.0], dtype=np.float32)
    facing = max(float(light.key_direction @ normal), 0.0)
    white = evaluate_irradiance(light.irradiance_sh, normal) + facing * light.key_rgb
    return np.maximum(white, 1e-4).astype(np.float32)
