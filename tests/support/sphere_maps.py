"""Made-up maps of radiance over the sphere, and their irradiance by brute force."""

from __future__ import annotations

import numpy as np

from trglab.synth.environment.light import sphere_grid


def random_normals(count: int, seed: int = 0) -> np.ndarray:
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def smooth_map(seed: int = 0, height: int = 64) -> np.ndarray:
    """Radiance that spherical harmonics of order 2 hold exactly, positive everywhere."""
    directions, _ = sphere_grid(height, 2 * height)
    x, y, z = np.moveaxis(directions, -1, 0)
    numbers = np.random.default_rng(seed).uniform(-0.2, 0.2, (8, 3))
    terms = [x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y]
    return (1.5 + np.stack(terms, -1) @ numbers).astype(np.float32)


def brute_force_irradiance(radiance: np.ndarray, normals: np.ndarray) -> np.ndarray:
    directions, solid_angles = sphere_grid(*radiance.shape[:2])
    cosines = np.maximum(directions.reshape(-1, 3) @ normals.T, 0.0)
    flux = (radiance * solid_angles[..., None]).reshape(-1, 3)
    return cosines.T @ flux / np.pi
