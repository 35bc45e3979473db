"""Real skin: portraits projected into a face model's texture, and blended into new people.

The portraits are the Face Research Lab London Set: frontal, evenly lit, with landmarks. The face
model is fitted to each, its texture is sampled from the photograph, smooth shading is removed, and
hidden regions are filled by mirroring and extrapolation. The resulting bank is cached.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trg._util.files import write_atomic
from trglab.synth.cache import cache_folder
from trglab.synth.head.face_model import FaceModel
from trglab.synth.skin.maps import SkinMaps, polygon_distance, smoothstep
from trglab.synth.skin.paint import SkinLayer
from trglab.synth.skin.photo_fit import LONDON_CONTOUR, LONDON_HAIRLINE, PhotoFit, fit_photo
from trglab.synth.skin.photo_landmarks import open_photo, read_landmarks
from trglab.synth.skin.photo_texture import (
    fill_hidden,
    hair_free_weight,
    hairless_skin,
    mirror_layer,
    sample_linear,
    shading_density,
)
from trglab.synth.skin.tone import SkinTone, tone_from_linear

BANK_VERSION = 5
"""Version of the cached data; increase it with every change of the extraction."""

DENSITY_LOW, DENSITY_RANGE = -1.2, 3.6
"""Range of densities in the 8-bit encoding of the bank."""


class Portrait(NamedTuple):
    """A photograph and its 189 landmarks: ``rgb (h, w, 3)`` uint8, ``points_px (189, 2)``."""

    rgb: np.ndarray
    points_px: np.ndarray


class PhotoSkin(NamedTuple):
    """Skin of one portrait: detail, and the mean colour ``(3,)`` in linear RGB."""

    layer: SkinLayer
    tone_linear: np.ndarray


@dataclass(frozen=True)
class PhotoSkinBank:
    """Skin of several portraits.

    Attributes
    ----------
    encoded
        ``(n, size, size, 4)`` uint8, usually memory-mapped: density and weight.
    tones_linear
        ``(n, 3)`` mean linear RGB.
    """

    encoded: np.ndarray
    tones_linear: np.ndarray

    def __len__(self) -> int:
        return len(self.encoded)

    def layer(self, index: int) -> SkinLayer:
        """Return the skin detail of one portrait."""
        return decode_layer(np.asarray(self.encoded[index]))

    def sample(self, maps: SkinMaps, rng: np.random.Generator) -> tuple[SkinTone, SkinLayer]:
        """Make the skin of a new person from one or two portraits.

        Portraits of similar tone are blended by region, half of the results are mirrored, and the
        tone is shifted.
        """
        first = int(rng.integers(len(self)))
        layer, tone = self.layer(first), tone_from_linear(self.tones_linear[first])
        if rng.random() < 0.6 and len(self) > 1:
            lightness = np.log(self.tones_linear[:, 1])
            weights = np.exp(-(((lightness - lightness[first]) / 0.25) ** 2))
            weights[first] = 0.0
            if weights.sum() > 1e-6:
                second = int(rng.choice(len(self), p=weights / weights.sum()))
                layer = blend_layers(layer, self.layer(second), feature_regions(maps, rng))
        if rng.random() < 0.5:
            layer = mirror_layer(layer, maps)
        strength = np.float32(rng.uniform(0.85, 1.1))
        shift = np.float32(rng.normal(0.0, 0.6)) * tone.melanin
        shift = shift + rng.normal(0.0, 0.03, 3).astype(np.float32)
        linear = np.exp(-np.maximum(tone.density + shift, 0.08))
        return tone_from_linear(linear), SkinLayer(layer.density * strength, layer.weight)


def has_stubble(layer: SkinLayer, maps: SkinMaps) -> bool:
    """Return whether the beard region is clearly darker than the rest: a shaved beard."""
    seen = (layer.weight > 0.7) & (maps.lips_m > 0.006)
    lower = seen & (np.maximum(maps.beard, maps.moustache) > 0.8)
    return bool(lower.any()) and float(np.median(layer.density[lower].mean(axis=-1))) > 0.18


def blend_layers(first: SkinLayer, second: SkinLayer, share: np.ndarray) -> SkinLayer:
    """Blend two layers; ``share (size, size)`` is the weight of the second, 0 to 1."""
    density = first.density + share[..., None] * (second.density - first.density)
    return SkinLayer(density, first.weight + share * (second.weight - first.weight))


def load_photo_skins(model: FaceModel, maps: SkinMaps, folder: Path) -> PhotoSkinBank:
    """Load the bank of a folder of portraits from the cache, or build it (about 30 s).

    Raises
    ------
    FileNotFoundError, ValueError
        The folder or a file in it is missing or damaged; the message names the download.
    """
    names, points = read_landmarks(folder)
    path = cache_folder() / f"photo-skin-{_bank_key(model, maps, folder, names, points)}.npy"
    size = maps.texels.size
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if stored.shape == (len(names), size * size * 4 + 12) and stored.dtype == np.uint8:
            return _bank_from(stored, size)
    except (OSError, ValueError, EOFError):
        pass  # absent or damaged: rebuild it
    rows = np.empty((len(names), size * size * 4 + 12), np.uint8)
    for row, name, marks in zip(rows, names, points, strict=True):
        skin = extract_skin(model, maps, Portrait(_read_rgb(folder / name), marks))
        row[:12] = np.frombuffer(skin.tone_linear.astype("<f4").tobytes(), np.uint8)
        row[12:] = encode_layer(skin.layer).ravel()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: np.save(file, rows))
    except OSError:
        return _bank_from(rows, size)  # the cache is an optimisation: it may be read-only
    return _bank_from(np.load(path, mmap_mode="r", allow_pickle=False), size)


def extract_skin(model: FaceModel, maps: SkinMaps, portrait: Portrait) -> PhotoSkin:
    """Fit the face model to a portrait and extract its skin."""
    height, width = portrait.rgb.shape[:2]
    fit = fit_photo(model, np.asarray(portrait.points_px, np.float64), width, height)
    x_px, y_px = _texels_in_photo(maps, fit, width, height)
    density = -np.log(np.maximum(sample_linear(portrait.rgb, x_px, y_px), 0.004))
    weight = _visibility(maps, portrait.points_px, x_px, y_px)
    plain = hairless_skin(maps, weight)
    # Hair may cover the forehead: take the tone from cheeks and nose.
    lower = plain & (maps.y_m > maps.landmarks_m[27, 1])
    tone = np.median(density[lower], axis=0)
    plain &= np.abs((density - tone).mean(axis=-1)) < 0.5
    density -= shading_density(maps, density, plain)[..., None]
    weight = weight * hair_free_weight(maps, (density - tone).mean(axis=-1), weight)
    detail = np.clip(density - tone, DENSITY_LOW, DENSITY_LOW + DENSITY_RANGE).astype(np.float32)
    layer = fill_hidden(SkinLayer(detail, weight.astype(np.float32)), maps)
    return PhotoSkin(layer, np.exp(-tone).astype(np.float32))


def _texels_in_photo(
    maps: SkinMaps, fit: PhotoFit, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    cam = maps.texels.interpolate(fit.vertices_cam_m)
    depth = np.maximum(cam[..., 2], 1e-3)
    x_px = fit.focal_px * cam[..., 0] / depth + np.float32(width / 2.0)
    y_px = fit.focal_px * cam[..., 1] / depth + np.float32(height / 2.0)
    return x_px, y_px


def _visibility(
    maps: SkinMaps, points_px: np.ndarray, x_px: np.ndarray, y_px: np.ndarray
) -> np.ndarray:
    """Return weights of texels: facing the camera, inside hairline and jaw, outside the eyes."""
    outline = points_px[[*LONDON_HAIRLINE, *reversed(LONDON_CONTOUR)]]
    inside = -polygon_distance(x_px, y_px, outline)
    width_px = float(points_px[93, 0] - points_px[87, 0])  # of the mouth, as a length scale
    view_cosine = -maps.texels.normal[..., 2]
    front = maps.z_m < 0.4 * maps.landmarks_m[16, 2]
    weight = smoothstep(0.35, 0.75, view_cosine)
    weight = weight * smoothstep(0.12 * width_px, 0.36 * width_px, inside) * front
    # Exclude lashes: with closed eyes they would appear on the lids.
    weight = weight * smoothstep(0.0010, 0.0032, maps.eyes_m)
    return weight * maps.texels.used


def feature_regions(maps: SkinMaps, rng: np.random.Generator) -> np.ndarray:
    """Draw soft weights ``(size, size)`` that assign facial features to one of two people."""
    points = maps.landmarks_m
    centres = [
        points[[36, 37, 38, 39, 42, 45]].mean(axis=0) + [0.03, -0.006, 0.0],
        points[29],
        points[62] + [0.0, 0.004, 0.0],
        points[8] - [0.0, 0.01, 0.0],
        0.5 * (points[46] + points[54]) + [0.012, 0.0, 0.0],
        points[[21, 22]].mean(axis=0) - [0.0, 0.035 * maps.unit, 0.0],
    ]
    total = np.full(maps.x_m.shape, 1e-4, np.float32)
    share = total * np.float32(rng.random())
    for centre in centres:
        near = maps.gaussian_around(centre, 0.020)
        total = total + near
        share = share + near * np.float32(rng.random() < 0.5)
    return share / total


def _read_rgb(path: Path) -> np.ndarray:
    with open_photo(path) as image:
        return np.asarray(image.convert("RGB"))


def _bank_key(
    model: FaceModel, maps: SkinMaps, folder: Path, names: list[str], points: np.ndarray
) -> str:
    digest = hashlib.sha256(f"{BANK_VERSION} {maps.texels.size}".encode())
    for array in (model.mean_m, model.triangles, maps.uv, points):
        digest.update(np.ascontiguousarray(array).tobytes())
    for name in names:
        file = folder / name
        size = file.stat().st_size if file.is_file() else -1
        digest.update(f"{name} {size}\n".encode())
    return digest.hexdigest()[:24]


def decode_layer(encoded: np.ndarray) -> SkinLayer:
    """Invert :func:`encode_layer`."""
    scale = np.float32(DENSITY_RANGE / 255.0)
    density = encoded[..., :3] * scale + np.float32(DENSITY_LOW)
    return SkinLayer(density, encoded[..., 3] * np.float32(1.0 / 255.0))


def encode_layer(layer: SkinLayer) -> np.ndarray:
    """Return a layer as ``(size, size, 4)`` uint8."""
    scaled = (layer.density - DENSITY_LOW) * (255.0 / DENSITY_RANGE)
    packed = np.concatenate([scaled, layer.weight[..., None] * 255.0], axis=-1)
    return np.clip(np.round(packed), 0, 255).astype(np.uint8)


def _bank_from(rows: np.ndarray, size: int) -> PhotoSkinBank:
    tones = np.ascontiguousarray(rows[:, :12]).view("<f4")
    return PhotoSkinBank(rows[:, 12:].reshape(len(rows), size, size, 4), tones)
