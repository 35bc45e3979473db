"""Hair meshes with their own RGBA textures: ragged edges, single strands and bangs.

The textures give strands and gaps; the colour is a person's. Alpha is drawn as coverage.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trg.io.images import open_image
from trglab.synth.accessories.hair import GrownHair
from trglab.synth.accessories.hair_meshes import (
    MeshHair,
    hash_of_head,
    packed_hair,
    sample_mesh_hair,
    vary_mesh,
)
from trglab.synth.accessories.head_map import HeadFit, HeadMap
from trglab.synth.accessories.shapes import UvMesh
from trglab.synth.accessories.strands import HairColour
from trglab.synth.cache import cached_arrays, fingerprint
from trglab.synth.render.surface import Material, Surface

FORMAT = 1
TEXTURE_PX = 512

CARD_MATERIAL = Material(
    roughness=0.5,
    specular=0.02,
    anisotropy=0.45,
    two_sided=True,
    coverage=True,
    coarse_light=True,
)

MEAN_SHADE = 100
"""Brightness of an average strand in :attr:`HairCards.textures`."""

CARD_SHARE = 0.4
"""Share of procedural hair that cards replace where they exist."""

_COILY = ("afro01",)
_SHORT = ("short01", "short02", "short03", "short04")


@dataclass(frozen=True, slots=True)
class HairCards:
    """Hairstyles on the mean head, with textures of strands without colour.

    Attributes
    ----------
    textures
        ``(512, 512, 2)`` uint8 each: brightness of the strands (100 on average) and alpha.
    """

    names: tuple[str, ...]
    meshes: tuple[UvMesh, ...]
    textures: tuple[np.ndarray, ...]

    def surfaces(
        self, hair: MeshHair, colour: HairColour, head_map: HeadMap, fit: HeadFit
    ) -> list[Surface]:
        """Build a variation of a hairstyle on a person's head, in the head frame."""
        mesh, texture = self.meshes[hair.index], self.textures[hair.index]
        varied = vary_mesh(mesh, hair, head_map, fit)
        return [varied.surface("hair", tinted_strands(texture, colour), CARD_MATERIAL)]


def tinted_strands(texture: np.ndarray, colour: HairColour) -> np.ndarray:
    """Return strands ``(h, w, 2)`` in a colour, ``(h, w, 4)`` uint8; light ones grey first."""
    shade = np.arange(256) / MEAN_SHADE
    rgb = np.tile(0.5 * (np.array(colour.root_rgb) + np.array(colour.tip_rgb)), (256, 1))
    if colour.grey_share > 0.0:
        grey = np.clip(0.5 + 2.0 * (colour.grey_share - 0.5) + 0.8 * (shade - 1.0), 0.0, 1.0)
        share = 0.6 * colour.grey_share + 0.4 * grey * min(1.0, 3.0 * colour.grey_share)
        rgb += 0.85 * share[:, None] * (158.0 - rgb)
    table = np.zeros((256, 4), np.uint8)
    table[:, :3] = np.clip(rgb * shade[:, None], 0, 255)
    tinted = table[texture[..., 0]]
    tinted[..., 3] = texture[..., 1]
    return tinted


def sample_card_hair(
    rng: np.random.Generator,
    hair: GrownHair | MeshHair,
    longhaired: bool,
    names: Collection[str],
) -> GrownHair | MeshHair:
    """Replace meshes without textures, and a share of procedural hair, by cards of its kind."""
    is_coily = isinstance(hair, GrownHair) and hair.kind in ("coily", "buzz")
    fitting = [
        i
        for i, name in enumerate(names)
        if (name in _COILY) == is_coily and (is_coily or (name in _SHORT) != longhaired)
    ]
    if not fitting or (isinstance(hair, GrownHair) and rng.random() >= CARD_SHARE):
        return hair
    drawn = sample_mesh_hair(rng, len(fitting))
    return MeshHair(
        index=fitting[drawn.index],
        mirrored=drawn.mirrored,
        length=drawn.length,
        volume=drawn.volume,
        wave_m=0.6 * drawn.wave_m,
        seed=drawn.seed,
        has_cards=True,
    )


def load_hair_cards(path: Path, folder: Path, head_map: HeadMap) -> HairCards:
    """Read packed hair meshes and their textures; the result is cached.

    Parameters
    ----------
    path
        The packed meshes.
    folder
        Folder of the textures, ``NAME_diffuse.png``.

    Raises
    ------
    FileNotFoundError
        There is no texture for any of the meshes.
    ValueError
        A file is damaged, a texture has no alpha, or an array is missing.
    """
    key = f"cards-{FORMAT}-{fingerprint(path)}-{fingerprint(folder)}-{hash_of_head(head_map)}"
    arrays = cached_arrays(key, lambda: _fit_all(path, folder, head_map))
    names = tuple(str(name) for name in arrays["names"])
    meshes = [
        UvMesh(arrays[f"{name}_vertices"], arrays[f"{name}_triangles"], arrays[f"{name}_uv"])
        for name in names
    ]
    return HairCards(names, tuple(meshes), tuple(arrays[f"{name}_texture"] for name in names))


def _fit_all(path: Path, folder: Path, head_map: HeadMap) -> dict[str, np.ndarray]:
    fitted: dict[str, np.ndarray] = {}
    textures = {}
    with packed_hair(path, head_map) as packed:
        for name in packed.names:
            file = _texture_file(folder, name)
            if file is None:
                continue
            textures[name] = texture = _read_texture(file)
            arrays = packed.arrays
            corners, uv_corners = arrays[f"{name}_triangles"], arrays[f"{name}_uv_triangles"]
            uv = arrays[f"{name}_uv"] * (1.0, -1.0) + (0.0, 1.0)  # v of OBJ files points up
            # One vertex per texture coordinate: the renderer has no separate indices.
            vertex_of = np.zeros(len(uv), np.int64)
            vertex_of[uv_corners] = corners
            drawn = _is_drawn(uv[uv_corners], texture[..., 1])
            used, triangles = np.unique(uv_corners[drawn], return_inverse=True)
            points = packed.points_on_mean(name)[vertex_of[used]]
            # y and z change sign from OBJ to the head frame, which keeps the orientation.
            fitted[f"{name}_vertices"] = points.astype(np.float32)
            fitted[f"{name}_triangles"] = triangles.reshape(-1, 3).astype(np.int32)
            fitted[f"{name}_uv"] = np.clip(uv[used], 0.0, 1.0).astype(np.float32)
            fitted[f"{name}_texture"] = texture
    if not textures:
        raise FileNotFoundError(
            f"hair textures: expected NAME_diffuse.png of the hair meshes in {folder}, found none"
        )
    return {"names": np.array(list(textures)), **fitted}


def _texture_file(folder: Path, name: str) -> Path | None:
    """Return the texture of a mesh; MakeHuman names some without their number."""
    for stem in (name, name.rstrip("0123456789")):
        if (file := folder / f"{stem}_diffuse.png").is_file():
            return file
    return None


def _read_texture(file: Path) -> np.ndarray:
    """Return brightness and alpha ``(512, 512, 2)`` uint8."""
    try:
        with open_image(file) as image:
            if image.mode != "RGBA":
                raise ValueError(f"{file}: expected an RGBA picture, got {image.mode}")
            if image.size != (TEXTURE_PX, TEXTURE_PX):
                image = image.resize((TEXTURE_PX, TEXTURE_PX), Image.Resampling.BOX)
            pixels = np.asarray(image).astype(np.float32)
    except OSError as error:
        raise ValueError(f"{file}: damaged ({error}); expected MakeHuman's texture") from error
    luminance = pixels[..., :3] @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    alpha = pixels[..., 3]
    mean = float((luminance * alpha).sum() / max(float(alpha.sum()), 1.0))
    # The offset limits the contrast of dark textures; painted highlights are weakened.
    shade = (luminance + 14.0) / (mean + 14.0)
    shade = np.where(shade > 1.0, 1.0 + 0.7 * (shade - 1.0), shade)
    shade = _fill_outside(np.clip(shade, 0.2, 2.0), alpha / 255.0)
    return np.stack([np.rint(shade * MEAN_SHADE), alpha], axis=-1).astype(np.uint8)


def _fill_outside(shade: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Continue the brightness of strands past their edges, so that filtering darkens none."""
    total, covered = shade * weight, weight.copy()
    for step in (1, 2, 4, 8):
        for axis in (0, 1):
            total = total + np.roll(total, step, axis) + np.roll(total, -step, axis)
            covered = covered + np.roll(covered, step, axis) + np.roll(covered, -step, axis)
    spread = np.where(covered > 1e-3, total / np.maximum(covered, 1e-3), 1.0)
    filled: np.ndarray = weight * shade + (1.0 - weight) * spread
    return filled


def _is_drawn(corners_uv: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return which triangles ``(n, 3, 2)`` of texture coordinates show any texel."""
    weights = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.34, 0.33, 0.33], [0.5, 0.5, 0],
                        [0, 0.5, 0.5], [0.5, 0, 0.5]])  # fmt: skip
    points = np.clip(np.einsum("kc,nci->nki", weights, corners_uv), 0.0, 0.9999)
    column, row = (points * TEXTURE_PX).astype(int).transpose(2, 0, 1)
    drawn: np.ndarray = (alpha[row, column] > 16).any(axis=1)
    return drawn
