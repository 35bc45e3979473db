"""Real skin: portraits laid onto a face model's texture, and mixed so that few become many.

The portraits are the Face Research Lab London Set: frontal, evenly lit, with landmarks. Each is
fitted with the face model, projected into the skin texture, freed of its shading, mirrored and
continued where the camera saw nothing. The result is a *bank* in the user's cache folder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from trg._util.atomic import write_atomic
from trglab.synth.cache import cache_folder
from trglab.synth.skin.maps import SkinMaps, polygon_distance, smoothstep
from trglab.synth.skin.paint import SkinLayer
from trglab.synth.skin.photo_fit import LONDON_CONTOUR, LONDON_HAIRLINE, PhotoFit, fit_photo
from trglab.synth.skin.photo_landmarks import SOURCE, read_landmarks
from trglab.synth.skin.tone import SkinTone, linear_from_srgb, tone_from_linear

if TYPE_CHECKING:
    from trglab.synth.head.face_model import FaceModel

BANK_VERSION = 5
"""Counts changes of what is stored in the cache."""

DENSITY_LOW, DENSITY_RANGE = -1.2, 3.6
"""Span of the densities that the bank's bytes stand for."""

FRINGE_SHARE = 0.4
"""A forehead with more strands than this lies under a fringe, as do the brows: it is not used."""

DELIGHT = 0.85
"""Share of the smooth shading that is taken out."""


class Portrait(NamedTuple):
    """A photograph and its 189 landmarks: ``rgb (h, w, 3)`` uint8, ``points_px (189, 2)``."""

    rgb: np.ndarray
    points_px: np.ndarray


class PhotoSkin(NamedTuple):
    """One person's skin, :class:`~trglab.synth.skin.paint.SkinLayer`, and its mean colour (3,)."""

    layer: SkinLayer
    tone_linear: np.ndarray


@dataclass(frozen=True)
class PhotoSkinBank:
    """The skins of several people.

    Attributes
    ----------
    bytes_
        ``(n, size, size, 4)`` uint8, usually mapped from a file: density and weight.
    tones_linear
        ``(n, 3)`` mean linear RGB.
    """

    bytes_: np.ndarray
    tones_linear: np.ndarray

    def __len__(self) -> int:
        return len(self.bytes_)

    def layer(self, index: int) -> SkinLayer:
        """Return one person's skin."""
        stored = np.asarray(self.bytes_[index])
        scale = np.float32(DENSITY_RANGE / 255.0)
        density = stored[..., :3] * scale + np.float32(DENSITY_LOW)
        return SkinLayer(density, stored[..., 3] * np.float32(1.0 / 255.0))

    def sample(self, chart: SkinMaps, rng: np.random.Generator) -> tuple[SkinTone, SkinLayer]:
        """Make a new person's skin out of one or two: mixed by regions, mirrored, tone shifted."""
        first = int(rng.integers(len(self)))
        layer, tone = self.layer(first), tone_from_linear(self.tones_linear[first])
        if rng.random() < 0.6 and len(self) > 1:
            lightness = np.log(self.tones_linear[:, 1])
            odds = np.exp(-(((lightness - lightness[first]) / 0.25) ** 2))
            odds[first] = 0.0
            if odds.sum() > 1e-6:
                second = int(rng.choice(len(self), p=odds / odds.sum()))
                layer = blend_layers(layer, self.layer(second), _regions(chart, rng))
        if rng.random() < 0.5:
            layer = mirror_layer(layer, chart)
        strength = np.float32(rng.uniform(0.85, 1.1))
        shift = np.float32(rng.normal(0.0, 0.6)) * tone.melanin
        shift = shift + rng.normal(0.0, 0.03, 3).astype(np.float32)
        linear = np.exp(-np.maximum(tone.density + shift, 0.08))
        return tone_from_linear(linear), SkinLayer(layer.density * strength, layer.weight)


def has_stubble(layer: SkinLayer, chart: SkinMaps) -> bool:
    """Whether the lower face is clearly darker than the cheeks: the photographed man shaves."""
    seen = (layer.weight > 0.7) & (chart.lips_m > 0.006)
    lower = seen & (np.maximum(chart.beard, chart.moustache) > 0.8)
    return bool(lower.any()) and float(np.median(layer.density[lower].mean(axis=-1))) > 0.18


def blend_layers(first: SkinLayer, second: SkinLayer, share: np.ndarray) -> SkinLayer:
    """Mix two skins: ``share (size, size)`` of the second one, 0 to 1."""
    density = first.density + share[..., None] * (second.density - first.density)
    return SkinLayer(density, first.weight + share * (second.weight - first.weight))


def mirror_layer(layer: SkinLayer, chart: SkinMaps) -> SkinLayer:
    """Swap the left and the right side; nothing is left where the model has no mirror image."""
    mirrored = chart.texels.mirrored.ravel()
    source = np.maximum(mirrored, 0)
    there = (mirrored >= 0).astype(np.float32)
    density = layer.density.reshape(-1, 3)[source] * there[:, None]
    weight = layer.weight.ravel()[source] * there
    return SkinLayer(density.reshape(layer.density.shape), weight.reshape(layer.weight.shape))


def load_photo_skins(model: FaceModel, chart: SkinMaps, folder: Path) -> PhotoSkinBank:
    """Load the bank of a photo folder from the cache, or build it (about half a minute).

    Raises
    ------
    FileNotFoundError, ValueError
        The folder or a file in it is missing or damaged; the message says where to get it.
    """
    names, points = read_landmarks(folder)
    path = cache_folder() / f"photo-skin-{_bank_key(model, chart, folder, names, points)}.npy"
    size = chart.texels.size
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if stored.shape == (len(names), size * size * 4 + 12) and stored.dtype == np.uint8:
            return _bank_from(stored, size)
    except (OSError, ValueError, EOFError):
        pass  # absent or damaged: built again
    rows = np.empty((len(names), size * size * 4 + 12), np.uint8)
    for row, name, marks in zip(rows, names, points, strict=True):
        skin = extract_skin(model, chart, Portrait(_read_photo(folder / name), marks))
        row[:12] = np.frombuffer(skin.tone_linear.astype("<f4").tobytes(), np.uint8)
        row[12:] = _to_bytes(skin.layer).ravel()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: np.save(file, rows))
    except OSError:
        return _bank_from(rows, size)  # a read-only cache costs time, not function
    return _bank_from(np.load(path, mmap_mode="r", allow_pickle=False), size)


def extract_skin(model: FaceModel, chart: SkinMaps, portrait: Portrait) -> PhotoSkin:
    """Fit the face model to a portrait and read its skin off."""
    height, width = portrait.rgb.shape[:2]
    fit = fit_photo(model, np.asarray(portrait.points_px, np.float64), width, height)
    x_px, y_px = _texels_in_photo(chart, fit, width, height)
    density = -np.log(np.maximum(_sample_linear(portrait.rgb, x_px, y_px), 0.004))
    weight = _visibility(chart, portrait.points_px, x_px, y_px)
    plain = _plain_skin(chart, weight)
    # A fringe may cover the forehead: the tone is that of the cheeks and the nose.
    lower = plain & (chart.y_m > chart.landmarks_m[27, 1])
    tone = np.median(density[lower], axis=0)
    plain &= np.abs((density - tone).mean(axis=-1)) < 0.5
    density -= _shading(chart, density, plain)[..., None]
    weight = weight * _free_of_hair(chart, (density - tone).mean(axis=-1), weight)
    detail = np.clip(density - tone, DENSITY_LOW, DENSITY_LOW + DENSITY_RANGE).astype(np.float32)
    layer = _complete(SkinLayer(detail, weight.astype(np.float32)), chart)
    return PhotoSkin(layer, np.exp(-tone).astype(np.float32))


def _texels_in_photo(
    chart: SkinMaps, fit: PhotoFit, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    cam = chart.texels.interpolate(fit.vertices_cam_m)
    depth = np.maximum(cam[..., 2], 1e-3)
    x_px = fit.focal_px * cam[..., 0] / depth + np.float32(width / 2.0)
    y_px = fit.focal_px * cam[..., 1] / depth + np.float32(height / 2.0)
    return x_px, y_px


def _sample_linear(rgb: np.ndarray, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
    """Bilinear samples in linear light, ``(..., 3)``; pixel centres are at +0.5."""
    height, width = rgb.shape[:2]
    x = np.clip(x_px - 0.5, 0.0, width - 1.001)
    y = np.clip(y_px - 0.5, 0.0, height - 1.001)
    left, top = x.astype(np.int64), y.astype(np.int64)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    linear = linear_from_srgb(rgb)
    upper = linear[top, left] * (1 - fx) + linear[top, left + 1] * fx
    lower = linear[top + 1, left] * (1 - fx) + linear[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def _visibility(
    chart: SkinMaps, points_px: np.ndarray, x_px: np.ndarray, y_px: np.ndarray
) -> np.ndarray:
    """How well the photo shows each texel: facing, inside hairline and jaw, not an eye."""
    outline = points_px[[*LONDON_HAIRLINE, *reversed(LONDON_CONTOUR)]]
    inside = -polygon_distance(x_px, y_px, outline)
    width_px = float(points_px[93, 0] - points_px[87, 0])  # of the mouth: sets the scale
    facing = smoothstep(0.35, 0.75, -chart.texels.normal[..., 2])
    front = chart.z_m < 0.4 * chart.landmarks_m[16, 2]
    weight = facing * smoothstep(0.12 * width_px, 0.36 * width_px, inside) * front
    # Not the lashes either: closed eyes would smear them over the lids.
    weight = weight * smoothstep(0.0010, 0.0032, chart.eyes_m)
    return weight * chart.texels.used


def _plain_skin(chart: SkinMaps, weight: np.ndarray) -> np.ndarray:
    """Mark well seen cheeks, nose and forehead: no beard, brows, lips or eye rings."""
    plain = (weight > 0.9) & (chart.beard < 0.05) & (chart.moustache < 0.05)
    plain &= (chart.eyes_m > 0.010) & (chart.lips_m > 0.006)
    plain &= np.abs(chart.brow_across_m) > 0.010
    if (plain & (chart.y_m > chart.landmarks_m[27, 1])).sum() < 50:
        raise ValueError("photo skin: expected a frontal face whose cheeks and forehead are free")
    return plain


def _free_of_hair(chart: SkinMaps, excess: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Drop strands on the forehead and temples; where there are many, drop brows and all."""
    above_m = chart.landmarks_m[[19, 24], 1].mean() - chart.y_m
    upper = above_m > 0.012 * chart.unit
    side = (np.abs(chart.azimuth) > 0.75) & (chart.y_m < chart.landmarks_m[33, 1])
    side &= (np.abs(chart.brow_across_m) > 0.007) | (chart.brow_along > 1.2)
    side &= chart.eyes_m > 0.012
    strand = (upper | side) & ((excess > 0.45) | (excess < -0.9)) & (weight > 0.3)
    share = (strand & upper).sum() / max(1, (upper & (weight > 0.3)).sum())
    if share > FRINGE_SHARE:
        return smoothstep(0.0, -0.006 * chart.unit, above_m)
    near = strand.astype(np.float64)
    for axis in (0, 1):
        kernel = np.hanning(2 * (chart.texels.size // 50) + 3)
        near = np.apply_along_axis(np.convolve, axis, near, kernel, mode="same")
    return np.where(upper | side, smoothstep(1.0, 0.0, near), 1.0)


def _shading(chart: SkinMaps, density: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Fit smooth shading by surface direction; return its density over that of a frontal patch."""
    nx, ny, nz = (chart.texels.normal[..., axis] for axis in range(3))
    basis = np.stack([nx, ny, nz, nx * nx, ny * ny, nx * ny, np.ones_like(nx)], axis=-1)
    grey = density.mean(axis=-1)
    seen = plain.copy()
    for _ in range(3):  # trimmed: spots, strands and highlights must not count as shading
        solution = np.linalg.lstsq(basis[seen], grey[seen], rcond=None)[0]
        residual = grey - basis @ solution
        seen = plain & (np.abs(residual) < 2.0 * residual[seen].std() + 1e-6)
    frontal = np.array([0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]) @ solution
    return (DELIGHT * np.clip(basis @ solution - frontal, -0.35, 0.35)).astype(np.float32)


def _complete(layer: SkinLayer, chart: SkinMaps) -> SkinLayer:
    """Fill what one side does not show from the other, then continue the colour smoothly."""
    other = mirror_layer(layer, chart)
    share = other.weight * (1.0 - layer.weight)
    total = np.maximum(layer.weight + share, 1e-6)
    detail = layer.density * layer.weight[..., None] + other.density * share[..., None]
    detail = detail / total[..., None]
    weight = np.clip(layer.weight + share, 0.0, 1.0)
    low, reach = _continuation(detail, weight)
    mixed = detail * weight[..., None] + low * ((1.0 - weight) * reach)[..., None]
    return SkinLayer(mixed.astype(np.float32), weight.astype(np.float32))


def _continuation(detail: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a very smooth continuation of the known detail and how far it reaches, 0 to 1."""
    size = weight.shape[0]
    block = max(1, size // 32)
    weight_sum = _blur(_shrink(weight, block))
    low = np.empty_like(detail)
    for channel in range(3):
        total = _blur(_shrink(detail[..., channel] * weight, block))
        low[..., channel] = _enlarge(total / np.maximum(weight_sum, 1e-4), size)
    return low, _enlarge(np.clip(weight_sum * 2.5, 0.0, 1.0), size)


def _shrink(image: np.ndarray, block: int) -> np.ndarray:
    side = image.shape[0] // block
    cut = image[: side * block, : side * block]
    return cut.reshape(side, block, side, block).mean(axis=(1, 3))


def _blur(image: np.ndarray) -> np.ndarray:
    kernel = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    for axis in (0, 1):
        for _ in range(2):
            image = np.apply_along_axis(np.convolve, axis, image, kernel, mode="same")
    return image


def _enlarge(image: np.ndarray, size: int) -> np.ndarray:
    picture = Image.fromarray(image.astype(np.float32))
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))


def _regions(chart: SkinMaps, rng: np.random.Generator) -> np.ndarray:
    """Soft random split of the face into features that come from one person or the other."""
    points = chart.landmarks_m
    centres = [
        points[[36, 37, 38, 39, 42, 45]].mean(axis=0) + [0.03, -0.006, 0.0],
        points[29],
        points[62] + [0.0, 0.004, 0.0],
        points[8] - [0.0, 0.01, 0.0],
        0.5 * (points[46] + points[54]) + [0.012, 0.0, 0.0],
        points[[21, 22]].mean(axis=0) - [0.0, 0.035 * chart.unit, 0.0],
    ]
    total = np.full(chart.x_m.shape, 1e-4, np.float32)
    share = total * np.float32(rng.random())
    for centre in centres:
        near = chart.near(centre, 0.020)
        total = total + near
        share = share + near * np.float32(rng.random() < 0.5)
    return share / total


def _read_photo(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"photo skin: expected the photograph {path}. {SOURCE}")
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"photo skin: cannot read {path} ({error}). {SOURCE}") from error


def _bank_key(
    model: FaceModel, chart: SkinMaps, folder: Path, names: list[str], points: np.ndarray
) -> str:
    digest = hashlib.sha256(f"{BANK_VERSION} {chart.texels.size}".encode())
    for array in (model.mean_m, model.triangles, chart.uv, points):
        digest.update(np.ascontiguousarray(array).tobytes())
    for name in names:
        file = folder / name
        size = file.stat().st_size if file.is_file() else -1
        digest.update(f"{name} {size}\n".encode())
    return digest.hexdigest()[:24]


def _to_bytes(layer: SkinLayer) -> np.ndarray:
    scaled = (layer.density - DENSITY_LOW) * (255.0 / DENSITY_RANGE)
    packed = np.concatenate([scaled, layer.weight[..., None] * 255.0], axis=-1)
    return np.clip(np.round(packed), 0, 255).astype(np.uint8)


def _bank_from(rows: np.ndarray, size: int) -> PhotoSkinBank:
    tones = np.ascontiguousarray(rows[:, :12]).view("<f4")
    return PhotoSkinBank(rows[:, 12:].reshape(len(rows), size, size, 4), tones)
