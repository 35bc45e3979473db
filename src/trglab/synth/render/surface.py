"""Textured triangle surfaces and their materials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class Material:
    """Reflection properties of a surface; numbers lie in 0 to 1 unless noted."""

    roughness: float = 0.6
    specular: float = 0.04
    """Reflectance at normal incidence; 0.028 for skin, 0.04 for most plastics and hair."""
    scatter: float = 0.0
    """Subsurface scattering: reddish light past the terminator; about 0.3 for skin."""
    mirror: float = 0.0
    """Factor of the reflected environment map, times Fresnel: eyes, lenses, visors."""
    anisotropy: float = 0.0
    """Hair: highlights are elongated across the strands, which follow the texture's v axis."""
    blend: bool = False
    """Transparent: alpha blending (lenses). Otherwise alpha below a half is a hole."""
    coverage: bool = False
    """Alpha to coverage (strands of hair): alpha is the share of the samples that are covered."""
    coarse_light: bool = False
    """Light and shadow are computed once in a block of 2 x 2 pixels (hair, cloth); the texture is
    sampled for each pixel."""
    two_sided: bool = False
    bump_m: float = 0.0
    """Height in metres of a step from 0 to 255 in the surface's ``height`` map."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A triangle mesh with a texture.

    Attributes
    ----------
    name
        For messages and to find parts.
    vertices_m
        ``(n, 3)`` float32 in the frame that ``frame`` names.
    triangles
        ``(m, 3)`` int32; front faces are counter-clockwise seen from outside, in x right, y up.
    uv
        ``(n, 2)`` float32; (0, 0) is the texture's top-left corner, (1, 1) its bottom-right.
    texture
        ``(h, w, 4)`` uint8: sRGB colour and alpha.
    height
        ``(h, w)`` uint8 bump map or None.
    occlusion
        ``(n,)`` float32: share of the environment visible from each vertex; None: 1.
    frame
        ``head``: moves with the head pose; ``camera``: fixed in the camera frame.
    mipmaps
        The texture at half size, quarter size and so on, from
        :func:`~trglab.synth.render.sampling.mipmaps`. May be empty.
    """

    name: str
    vertices_m: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    material: Material = Material()
    height: np.ndarray | None = None
    occlusion: np.ndarray | None = None
    frame: Literal["head", "camera"] = "head"
    mipmaps: tuple[np.ndarray, ...] = ()
