"""Steps from a photograph to skin detail in texture space, shared by all photographed skins."""

from __future__ import annotations

import numpy as np
from PIL import Image

from trglab.synth.colour import linear_from_srgb
from trglab.synth.skin.maps import SkinMaps, smoothstep
from trglab.synth.skin.paint import SkinLayer

FRINGE_SHARE = 0.4
"""Above this share of hair texels, forehead and brows count as hidden by a fringe."""

DELIGHT = 0.85
"""Share of the smooth shading that is removed."""


def sample_linear(rgb: np.ndarray, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
    """Sample an image bilinearly in linear RGB, ``(..., 3)``; pixel centres are at +0.5."""
    height, width = rgb.shape[:2]
    x = np.clip(x_px - 0.5, 0.0, width - 1.001)
    y = np.clip(y_px - 0.5, 0.0, height - 1.001)
    left, top = x.astype(np.int64), y.astype(np.int64)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    linear = linear_from_srgb(rgb)
    upper = linear[top, left] * (1 - fx) + linear[top, left + 1] * fx
    lower = linear[top + 1, left] * (1 - fx) + linear[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def hairless_skin(maps: SkinMaps, weight: np.ndarray) -> np.ndarray:
    """Return a mask of visible cheeks, nose and forehead, without beard, brows, lips, eye rings."""
    plain = (weight > 0.9) & (maps.beard < 0.05) & (maps.moustache < 0.05)
    plain &= (maps.eyes_m > 0.010) & (maps.lips_m > 0.006)
    plain &= np.abs(maps.brow_across_m) > 0.010
    if (plain & (maps.y_m > maps.landmarks_m[27, 1])).sum() < 50:
        raise ValueError("photo skin: expected a frontal face whose cheeks and forehead are free")
    return plain


def hair_free_weight(maps: SkinMaps, excess: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return weights without hair on forehead and temples, and without brows under a fringe."""
    above_m = maps.landmarks_m[[19, 24], 1].mean() - maps.y_m
    upper = above_m > 0.012 * maps.unit
    side = (np.abs(maps.azimuth) > 0.75) & (maps.y_m < maps.landmarks_m[33, 1])
    side &= (np.abs(maps.brow_across_m) > 0.007) | (maps.brow_along > 1.2)
    side &= maps.eyes_m > 0.012
    strand = (upper | side) & ((excess > 0.45) | (excess < -0.9)) & (weight > 0.3)
    share = (strand & upper).sum() / max(1, (upper & (weight > 0.3)).sum())
    if share > FRINGE_SHARE:
        return smoothstep(0.0, -0.006 * maps.unit, above_m)
    near = strand.astype(np.float64)
    for axis in (0, 1):
        kernel = np.hanning(2 * (maps.texels.size // 50) + 3)
        near = np.apply_along_axis(np.convolve, axis, near, kernel, mode="same")
    return np.where(upper | side, smoothstep(1.0, 0.0, near), 1.0)


def shading_density(maps: SkinMaps, density: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Fit shading as a quadratic function of the normal; return its density relative to frontal."""
    nx, ny, nz = (maps.texels.normal[..., axis] for axis in range(3))
    basis = np.stack([nx, ny, nz, nx * nx, ny * ny, nx * ny, np.ones_like(nx)], axis=-1)
    grey = density.mean(axis=-1)
    seen = plain.copy()
    for _ in range(3):  # trimmed least squares: spots, hair and highlights are outliers
        solution = np.linalg.lstsq(basis[seen], grey[seen], rcond=None)[0]
        residual = grey - basis @ solution
        seen = plain & (np.abs(residual) < 2.0 * residual[seen].std() + 1e-6)
    frontal = np.array([0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]) @ solution
    return (DELIGHT * np.clip(basis @ solution - frontal, -0.35, 0.35)).astype(np.float32)


def fill_hidden(layer: SkinLayer, maps: SkinMaps) -> SkinLayer:
    """Fill hidden texels from the other side of the face, then by smooth extrapolation."""
    other = mirror_layer(layer, maps)
    share = other.weight * (1.0 - layer.weight)
    total = np.maximum(layer.weight + share, 1e-6)
    detail = layer.density * layer.weight[..., None] + other.density * share[..., None]
    detail = detail / total[..., None]
    weight = np.clip(layer.weight + share, 0.0, 1.0)
    low, reach = _extrapolate(detail, weight)
    mixed = detail * weight[..., None] + low * ((1.0 - weight) * reach)[..., None]
    return SkinLayer(mixed.astype(np.float32), weight.astype(np.float32))


def reduce_layer(layer: SkinLayer, size: int) -> SkinLayer:
    """Return a layer at ``size`` texels, which divides its own size."""
    block = len(layer.weight) // size
    if block == 1:
        return layer
    parts = [(row, column) for row in range(block) for column in range(block)]
    share = np.float32(1.0 / len(parts))
    return SkinLayer(
        sum(layer.density[row::block, column::block] for row, column in parts) * share,
        sum(layer.weight[row::block, column::block] for row, column in parts) * share,
    )


def mirror_layer(layer: SkinLayer, maps: SkinMaps) -> SkinLayer:
    """Swap left and right; texels without a mirror image become empty."""
    index = maps.texels.mirror_index.ravel()
    unknown = np.flatnonzero(index < 0)
    density = np.take(layer.density.reshape(-1, 3), index, axis=0, mode="clip")
    weight = np.take(layer.weight.ravel(), index, mode="clip")
    density[unknown], weight[unknown] = 0.0, 0.0
    return SkinLayer(density.reshape(layer.density.shape), weight.reshape(layer.weight.shape))


def _extrapolate(detail: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a very smooth extrapolation of known detail, and its weight that fades to 0."""
    size = weight.shape[0]
    block = max(1, size // 32)
    weight_sum = _blur(_block_mean(weight, block))
    low = np.empty_like(detail)
    for channel in range(3):
        total = _blur(_block_mean(detail[..., channel] * weight, block))
        low[..., channel] = resize_map(total / np.maximum(weight_sum, 1e-4), size)
    return low, resize_map(np.clip(weight_sum * 2.5, 0.0, 1.0), size)


def _block_mean(image: np.ndarray, block: int) -> np.ndarray:
    side = image.shape[0] // block
    cropped = image[: side * block, : side * block]
    return cropped.reshape(side, block, side, block).mean(axis=(1, 3))


def _blur(image: np.ndarray) -> np.ndarray:
    kernel = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    for axis in (0, 1):
        for _ in range(2):
            image = np.apply_along_axis(np.convolve, axis, image, kernel, mode="same")
    return image


def resize_map(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a square map to ``(size, size)`` float32 with bicubic interpolation."""
    resizable = Image.fromarray(image.astype(np.float32))
    return np.asarray(resizable.resize((size, size), Image.Resampling.BICUBIC))
