"""Textures and materials of one person, and the surfaces of the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trglab.synth.head.face_model import FaceModel
from trglab.synth.render.sampling import mipmaps
from trglab.synth.render.surface import Material, Surface
from trglab.synth.skin.appearance import SkinAppearance
from trglab.synth.skin.eyes import (
    LASH_SIZE,
    EyeMaps,
    eye_maps,
    paint_eye,
    paint_lashes,
    paint_mouth,
    paint_teeth,
    sample_eye_appearance,
)
from trglab.synth.skin.maps import SKIN_SIZE, SkinMaps, skin_maps
from trglab.synth.skin.paint import BUMP_M, SkinLayer, SkinTextures, paint_skin
from trglab.synth.skin.texels import TexelMap, texel_map

EYES = ("eyeball_left", "eyeball_right")

DRAWN_PARTS = ("skin", "mouth", "teeth", *EYES, "eye_occlusion", "lashes")
"""Rendered parts of a face model, in drawing order."""


@dataclass(frozen=True)
class AppearanceMaps:
    """Texel maps and part meshes of one face model, computed once per process.

    Attributes
    ----------
    skin, eyes, lashes
        Maps of the parts; ``lashes`` is None if the model has none.
    part_vertices
        Indices ``(n,)`` of the vertices of each rendered part.
    part_triangles
        Triangles ``(m, 3)`` of each rendered part, into its own vertices.
    part_uv
        Texture coordinates ``(n, 2)`` of each rendered part.
    """

    skin: SkinMaps
    eyes: dict[str, EyeMaps]
    lashes: TexelMap | None
    part_vertices: dict[str, np.ndarray]
    part_triangles: dict[str, np.ndarray]
    part_uv: dict[str, np.ndarray]


@dataclass(frozen=True)
class PersonTextures:
    """Textures of one person.

    ``oiliness`` runs from 0 (matt skin) to 1.
    """

    by_part: dict[str, np.ndarray]
    """By part, ``(h, w, 4)`` uint8."""
    mipmaps: dict[str, tuple[np.ndarray, ...]]
    """Of the large ones, by part."""
    skin_height: np.ndarray
    """Bump map ``(size, size)`` uint8."""
    oiliness: float


def appearance_maps(model: FaceModel, skin_size: int = SKIN_SIZE) -> AppearanceMaps:
    """Compute the maps of a face model; about 0.1 s."""
    skin = skin_maps(model, skin_size)
    present = [name for name in DRAWN_PARTS if len(model.part_triangles[name])]
    vertices, triangles, uv = {}, {}, {}
    for name in present:
        used, inverse = np.unique(model.part_triangles[name], return_inverse=True)
        vertices[name] = used
        triangles[name] = inverse.reshape(-1, 3).astype(np.int32)
        model_uv = skin.uv if name == "skin" else np.clip(model.uv, 0.0, 1.0)
        uv[name] = np.ascontiguousarray(model_uv[used], np.float32)
    lashes = None
    if "lashes" in present:
        card_uv = np.clip(model.uv, 0.0, 1.0)
        lashes = texel_map(model.mean_m, model.part_triangles["lashes"], card_uv, LASH_SIZE)
    eyes = {name: eye_maps(model, name) for name in EYES if name in present}
    return AppearanceMaps(skin, eyes, lashes, vertices, triangles, uv)


def paint_person(
    maps: AppearanceMaps,
    appearance: SkinAppearance,
    rng: np.random.Generator,
    photo: SkinLayer | None = None,
) -> PersonTextures:
    """Paint all textures of one person; ``photo`` adds real skin detail."""
    skin: SkinTextures = paint_skin(maps.skin, appearance, rng, photo)
    textures = {"skin": skin.albedo, "mouth": paint_mouth(rng), "teeth": paint_teeth(rng)}
    eyes = sample_eye_appearance(rng, appearance.tone.typology_deg)
    for name, eye in maps.eyes.items():
        textures[name] = paint_eye(eye, eyes, rng)
    fullness = float(np.clip(rng.normal(0.45, 0.15) + 0.4 * appearance.make_up.liner, 0.1, 1.2))
    if maps.lashes is not None:
        landmarks = maps.skin.landmarks_m
        textures["lashes"] = paint_lashes(maps.lashes, landmarks, rng, (24, 19, 17), fullness)
    # A translucent shade where lids and lashes occlude the edge of the eyes.
    textures["eye_occlusion"] = np.full((4, 4, 4), (40, 22, 18, 70), np.uint8)
    reduced = {"skin": mipmaps(skin.albedo)}
    return PersonTextures(textures, reduced, skin.height, skin.oiliness)


def appearance_surfaces(
    maps: AppearanceMaps,
    textures: PersonTextures,
    vertices_m: np.ndarray,
    occlusion: np.ndarray | None = None,
) -> list[Surface]:
    """Return the surfaces of the head, one for each part of the face model.

    Parameters
    ----------
    vertices_m
        ``(V, 3)``: all vertices of the model with the current expression, in the head frame.
    occlusion
        ``(V,)``: ambient occlusion, the unoccluded share of the surroundings; None for 1.
    """
    expected = max(int(used.max()) for used in maps.part_vertices.values())
    if vertices_m.ndim != 2 or vertices_m.shape[1] != 3 or len(vertices_m) <= expected:
        raise ValueError(
            f"appearance_surfaces: expected all the face model's vertices, (V, 3) with V > "
            f"{expected}, got {vertices_m.shape}"
        )
    surfaces = []
    for name, used in maps.part_vertices.items():
        surfaces.append(
            Surface(
                name=name,
                vertices_m=np.ascontiguousarray(vertices_m[used], np.float32),
                triangles=maps.part_triangles[name],
                uv=maps.part_uv[name],
                texture=textures.by_part[name],
                mipmaps=textures.mipmaps.get(name, ()),
                material=_material(name, textures.oiliness),
                height=textures.skin_height if name == "skin" else None,
                occlusion=None if occlusion is None else occlusion[used].astype(np.float32),
            )
        )
    return surfaces


def _material(part: str, oiliness: float) -> Material:
    if part == "skin":
        roughness = 0.68 - 0.18 * oiliness
        return Material(roughness=roughness, specular=0.028, scatter=0.12, bump_m=BUMP_M)
    return _MATERIALS[part]


_EYE = Material(roughness=0.12, specular=0.02, scatter=0.1, mirror=0.5)
_MATERIALS = {
    "mouth": Material(roughness=0.35, specular=0.03, scatter=0.2, two_sided=True),
    "teeth": Material(roughness=0.25, specular=0.045, scatter=0.1),
    "eyeball_left": _EYE,
    "eyeball_right": _EYE,
    "eye_occlusion": Material(roughness=0.9, specular=0.0, blend=True, two_sided=True),
    "lashes": Material(roughness=0.6, specular=0.02, two_sided=True),
}
