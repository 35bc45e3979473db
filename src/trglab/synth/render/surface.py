"""What the renderer draws: textured triangle surfaces with a material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface answers light. All numbers from 0 to 1 unless said otherwise."""

    roughness: float = 0.6
    specular: float = 0.04
    """Reflectance at normal incidence; 0.028 for skin, 0.04 for most plastics and hair."""
    scatter: float = 0.0
    """Light that bleeds past the terminator, reddish: about 0.3 for skin, 0 for hard things."""
    mirror: float = 0.0
    """Share of the blurred surroundings reflected, times Fresnel: eyes, lenses, visors."""
    anisotropy: float = 0.0
    """Hair: highlights stretch across the strands, which run along the texture's v axis."""
    blend: bool = False
    """Alpha mixes with what lies behind (lenses). Otherwise alpha below a half cuts a hole."""
    two_sided: bool = False
    bump_m: float = 0.0
    """Height in metres that a full step of the surface's ``height`` map stands for."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A triangle mesh with a texture.

    Attributes
    ----------
    name
        For messages and debug pictures.
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
        ``(n,)`` float32: the share of the surroundings that each vertex sees, or None for 1.
    frame
        ``head`` moves with the head; ``camera`` stays where it is.
    mipmaps
        The texture at half size, a quarter and so on, from
        :func:`~trglab.synth.render.sampling.mipmaps`: quicker to average where texels are smaller
        than pixels. May be empty.
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
