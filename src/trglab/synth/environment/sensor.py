"""Simulation of the sensor, from linear light to sRGB bytes, including video compression.

No step shifts the image: blurs are centred, resampling preserves the borders, and chromatic
aberration scales red and blue about the centre in opposite directions.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg._util.checks import finite_array
from trg.io.images import open_image
from trglab.synth.environment.filters import FloatImage, blur, motion_blur, scale_channels
from trglab.synth.environment.light import LUMINANCE
from trglab.synth.kernels import fastmath_kernel, strict_kernel

SensorMode = Literal["colour", "grey", "infrared"]

_CURVE_STEPS = 1024
_NOISE_TILE_PX = 512

FACE_ALBEDO = 0.3
"""Albedo of a face of medium tone."""

# Pillow's nearest and box filters would shift small structures by up to half a coarse pixel.
_DOWNSCALERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_UPSCALERS = {**_DOWNSCALERS, "nearest": Image.Resampling.NEAREST}
_UPSCALER_PROBABILITIES = (0.4, 0.1, 0.3, 0.18, 0.02)


@dataclass(frozen=True, slots=True)
class SensorParams:
    """Parameters of the sensor simulation. The defaults are a good camera without errors.

    Lengths are shares of the image width, so parameters are independent of the resolution.

    Attributes
    ----------
    exposure_stops
        Exposure above the metered one.
    contrast
        Steepness of the tone curve at middle grey; 1: unchanged.
    shoulder
        0 clips highlights, 1 compresses them like film.
    saturation
        0: grey; 1: unchanged.
    white_balance
        Share of the light's colour that is removed.
    balance_error
        ``(3,)`` residual factors.
    vignetting
        Share of the light lost in the corners.
    defocus, motion
        Standard deviation of the blur and length of the motion.
    motion_rad
        Direction of motion.
    chromatic_aberration
        Relative scale of the red and blue channels, minus 1.
    noise
        Standard deviation of shot noise at white, in linear light; read noise is proportional.
    noise_grain
        Blur of the noise in pixels, from demosaicing and denoising.
    noise_colour
        0 for grey noise, 1 for independent channels.
    downscale
        Factor by which the image is reduced before it is enlarged again.
    downscale_filter, upscale_filter
        Pillow's resampling filters: bilinear, hamming, bicubic or lanczos; nearest only to enlarge.
    sharpening
        Strength of unsharp masking.
    jpeg_quality
        20 to 98; None: no compression.
    jpeg_before_upscale
        Compress before enlarging, which also enlarges the JPEG blocks.
    levels
        Number of levels per channel.
    mode
        Colour, grey, or near infrared.
    """

    exposure_stops: float = 0.0
    contrast: float = 1.0
    shoulder: float = 0.3
    saturation: float = 1.0
    white_balance: float = 0.9
    balance_error: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignetting: float = 0.0
    defocus: float = 0.0
    motion: float = 0.0
    motion_rad: float = 0.0
    chromatic_aberration: float = 0.0
    noise: float = 0.005
    noise_grain: float = 0.5
    noise_colour: float = 0.5
    downscale: float = 1.0
    downscale_filter: str = "bilinear"
    upscale_filter: str = "bilinear"
    sharpening: float = 0.0
    jpeg_quality: int | None = None
    jpeg_before_upscale: bool = False
    levels: int = 256
    mode: SensorMode = "colour"

    @classmethod
    def sample(cls, rng: np.random.Generator, mode: SensorMode | None = None) -> SensorParams:
        """Draw parameters; most images have mild errors. ``mode`` fixes the mode."""

        def happens(probability: float) -> bool:
            return bool(rng.random() < probability)

        warmth, green = rng.normal(0.02, 0.05), rng.normal(0.0, 0.015)
        is_dim = happens(0.15)
        return cls(
            exposure_stops=float(rng.normal(0.05, 0.32)),
            contrast=float(np.exp(rng.normal(0.10, 0.14))),
            shoulder=float(rng.uniform(0.0, 0.8)),
            saturation=float(np.exp(rng.normal(0.0, 0.18))),
            white_balance=float(rng.uniform(0.75, 1.0)),
            balance_error=(float(np.exp(warmth)), float(np.exp(green)), float(np.exp(-warmth))),
            vignetting=float(rng.uniform(0.05, 0.4)) if happens(0.25) else 0.0,
            defocus=float(0.001 + 0.009 * rng.random() ** 3) if happens(0.35) else 0.0,
            motion=float(0.005 + 0.035 * rng.random() ** 2) if happens(0.12) else 0.0,
            motion_rad=float(rng.uniform(0.0, np.pi)),
            chromatic_aberration=float(rng.uniform(0.0005, 0.003)) if happens(0.15) else 0.0,
            noise=float(rng.uniform(0.02, 0.07) if is_dim else 0.02 * rng.random() ** 2),
            noise_grain=float(rng.uniform(0.2, 1.0)),
            noise_colour=float(rng.uniform(0.1, 1.0)),
            downscale=float(1.0 + 2.5 * rng.random() ** 2) if happens(0.35) else 1.0,
            downscale_filter=str(rng.choice(list(_DOWNSCALERS))),
            upscale_filter=str(rng.choice(list(_UPSCALERS), p=_UPSCALER_PROBABILITIES)),
            sharpening=float(rng.uniform(0.2, 1.5)) if happens(0.3) else 0.0,
            jpeg_quality=int(98 - 78 * rng.random() ** 2) if happens(0.75) else None,
            jpeg_before_upscale=happens(0.5),
            levels=int(rng.integers(12, 64)) if happens(0.02) else 256,
            mode=mode or ("grey" if happens(0.03) else "infrared" if happens(0.005) else "colour"),
        )


def simulate_sensor(
    rgb_linear: NDArray[np.float32],
    rng: np.random.Generator,
    params: SensorParams,
    light_rgb: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """Turn linear light ``(h, w, 3)`` into an sRGB image ``(h, w, 3)`` uint8.

    Parameters
    ----------
    rng
        Used for noise only.
    light_rgb
        ``(3,)`` colour of a white surface in this light, for the white balance. None: half of the
        mean colour of the image is removed.

    Raises
    ------
    ValueError
        The image has another shape or is empty.
    """
    image = np.ascontiguousarray(rgb_linear, dtype=np.float32)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"rgb_linear: expected shape (h, w, 3), got {image.shape}")
    width = image.shape[1]
    image = _expose_and_balance(image, params, light_rgb)
    image = blur(image, params.defocus * width)
    if params.motion * width > 0.5:
        image = motion_blur(image, params.motion * width, params.motion_rad)
    if params.chromatic_aberration > 0:
        image = _chromatic_aberration(image, params.chromatic_aberration)
    if params.mode == "infrared":
        image = simulate_infrared(image, flatness=0.6)
    tile, top, left = _noise_patch(rng)
    saturation = params.saturation if params.mode == "colour" else 0.0
    image = _add_noise_and_tone(
        image, _tone_curve(params.contrast, params.shoulder), _noise_tile(tile), top, left,
        params.noise, params.noise_colour, saturation, params.vignetting,
    )  # fmt: skip
    if params.noise_grain > 0.3 and params.noise > 0:
        image = blur(image, 0.5 * params.noise_grain, passes=1)
    return _compress_and_resample(image, params)


def simulate_infrared(rgb_linear: FloatImage, flatness: float) -> FloatImage:
    """Turn a linear image ``(h, w, 3)`` into that of a near-infrared camera.

    Skin scatters infrared deeply: spots and lips fade, and dark skin is nearly as bright as pale
    skin. The red channel is closest to that; a power below one flattens it further.

    Parameters
    ----------
    flatness
        0 keeps the contrast of the red channel, 1 takes its square root.
    """
    red = np.maximum(rgb_linear @ np.array([0.9, 0.15, -0.05], dtype=np.float32), 0.0)
    scale = float(red.mean()) + 1e-6
    grey = scale * (red / scale) ** np.float32(1.0 - 0.5 * flatness)
    return np.repeat(grey[..., None], 3, axis=-1)


def _expose_and_balance(
    image: FloatImage, params: SensorParams, light_rgb: NDArray[np.floating] | None
) -> FloatImage:
    """Apply exposure, metered on the image centre and the light, and white balance."""
    height, width = image.shape[:2]
    middle = image[height // 6 : height - height // 6, width // 6 : width - width // 6]
    coarse = middle[::3, ::3].reshape(-1, 3) if min(height, width) >= 12 else image.reshape(-1, 3)
    luminance = coarse @ LUMINANCE
    # Highlights are capped: otherwise a lamp in view would darken the face.
    metered = float(np.minimum(luminance, 3.0 * luminance.mean()).mean())
    if light_rgb is None:
        white, strength = coarse.mean(0), 0.5 * params.white_balance
    else:
        white, strength = finite_array("light_rgb", light_rgb, (3,)), params.white_balance
        # Cameras meter on faces: half of the exposure is that of a face of medium tone.
        metered = float(np.sqrt(metered * FACE_ALBEDO * max(float(white @ LUMINANCE), 1e-6)))
    gain = 0.23 * 2.0**params.exposure_stops / max(metered, 1e-6)
    white = np.maximum(white, 1e-6)
    cast = (white / (white @ LUMINANCE)).clip(0.1, 10.0)
    factors = gain * np.asarray(params.balance_error) / cast**strength
    return scale_channels(image, factors)


@lru_cache(maxsize=256)
def _rounded_tone_curve(contrast: float, shoulder: float) -> NDArray[np.float32]:
    linear = np.linspace(0.0, 1.0, _CURVE_STEPS + 1) ** 2 * 4.0  # finer steps in the shadows
    knee = 1.0 - 0.5 * shoulder
    over = np.maximum(linear - knee, 0.0) / max(1.0 - knee, 1e-6)
    rolled = np.where(linear > knee, knee + (1.0 - knee) * (1.0 - np.exp(-over)), linear)
    light = np.minimum(rolled if shoulder > 0 else linear, 1.0)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    # A power on each side of middle grey: steeper in the middle, black and white unchanged.
    curve = np.where(
        srgb < 0.5, 0.5 * (2.0 * srgb) ** contrast, 1.0 - 0.5 * (2.0 - 2.0 * srgb) ** contrast
    )
    return (255.0 * curve).astype(np.float32)


def _tone_curve(contrast: float, shoulder: float) -> NDArray[np.float32]:
    """Return the display value, 0 to 255, of linear light ``4 (i / steps)^2``."""
    return _rounded_tone_curve(round(contrast, 2), round(shoulder, 1))


@lru_cache(maxsize=4)
def _noise_tile(number: int) -> NDArray[np.float32]:
    """Return a fixed tile of standard normal noise ``(s, s, 4)``: grey, red, green, blue.

    Drawing 110,000 normal numbers per image would take longer than the rest of the simulation;
    a few tiles at random offsets are indistinguishable from fresh noise.
    """
    shape = (_NOISE_TILE_PX, _NOISE_TILE_PX, 4)
    return np.random.default_rng(7919 + number).standard_normal(shape, dtype=np.float32)


def _noise_patch(rng: np.random.Generator) -> tuple[int, int, int]:
    top, left = rng.integers(0, _NOISE_TILE_PX, 2)
    return int(rng.integers(2)), int(top), int(left)


def _chromatic_aberration(image: FloatImage, amount: float) -> FloatImage:
    """Enlarge red and reduce blue about the centre by a factor of ``1 +- amount``."""
    return _scale_channels(image, np.float32(1.0 + amount), np.float32(1.0 - amount))


@fastmath_kernel
def _scale_channels(
    image: FloatImage, red: np.float32, blue: np.float32
) -> FloatImage:  # pragma: no cover - compiled
    height, width = image.shape[:2]
    out = image.copy()
    for channel, scale in ((0, red), (2, blue)):
        for y in range(height):
            v = min(max((y + 0.5 - height / 2) / scale + height / 2 - 0.5, 0.0), height - 1.0)
            top = min(int(v), max(height - 2, 0))
            bottom, fy = min(top + 1, height - 1), np.float32(v - top)
            for x in range(width):
                u = min(max((x + 0.5 - width / 2) / scale + width / 2 - 0.5, 0.0), width - 1.0)
                left = min(int(u), max(width - 2, 0))
                right, fx = min(left + 1, width - 1), np.float32(u - left)
                above = image[top, left, channel] * (1 - fx) + image[top, right, channel] * fx
                below = image[bottom, left, channel] * (1 - fx) + image[bottom, right, channel] * fx
                out[y, x, channel] = above * (1 - fy) + below * fy
    return out


@fastmath_kernel
def _add_noise_and_tone(
    image: FloatImage,
    curve: NDArray[np.float32],
    tile: NDArray[np.float32],
    tile_top: int,
    tile_left: int,
    noise: float,
    noise_colour: float,
    saturation: float,
    vignetting: float,
) -> FloatImage:  # pragma: no cover - compiled
    """Add noise to linear light and apply saturation and tone curve; display values 0 to 255."""
    height, width = image.shape[:2]
    out = np.empty_like(image)
    mask = tile.shape[0] - 1
    steps = len(curve) - 1
    shot, read2 = np.float32(noise * noise), np.float32(0.05 * noise * noise)
    own = np.float32(np.sqrt(noise_colour))
    shared = np.float32(np.sqrt(1.0 - noise_colour))
    sat, rest = np.float32(saturation), np.float32(1.0 - saturation)
    fall = np.float32(vignetting / (0.25 * (width * width + height * height)))
    # Several plain passes over each row, which the compiler vectorises.
    light = np.empty((width, 3), dtype=np.float32)
    x2 = ((np.arange(width) + 0.5 - width / 2) ** 2).astype(np.float32)
    for y in range(height):
        dy2 = np.float32((y + 0.5 - height / 2) ** 2)
        grains = tile[(y + tile_top) & mask]
        for x in range(width):
            dim = np.float32(1.0) - fall * (dy2 + x2[x])
            grain = (x + tile_left) & mask
            for c in range(3):
                value = image[y, x, c] * dim
                sigma = np.sqrt(shot * min(max(value, np.float32(0.0)), np.float32(1.0)) + read2)
                light[x, c] = value + sigma * (
                    shared * grains[grain, 0] + own * grains[grain, c + 1]
                )
        for x in range(width):
            grey = np.float32(0.2126) * light[x, 0] + np.float32(0.7152) * light[x, 1]
            grey = (grey + np.float32(0.0722) * light[x, 2]) * rest
            for c in range(3):
                value = (sat * light[x, c] + grey) * np.float32(0.25)
                value = min(max(value, np.float32(0.0)), np.float32(1.0))
                light[x, c] = np.sqrt(value) * np.float32(steps)
        for x in range(width):
            for c in range(3):
                at = light[x, c]
                below = min(int(at), steps - 1)
                step = curve[below + 1] - curve[below]
                out[y, x, c] = curve[below] + (at - np.float32(below)) * step
    return out


def _compress_and_resample(image: FloatImage, params: SensorParams) -> NDArray[np.uint8]:
    """Sharpen, quantise, downscale, compress and upscale, as cameras and video calls do."""
    height, width = image.shape[:2]
    if params.sharpening > 0:
        soft = blur(image, 0.005 * width + 0.4, passes=1)
        image = image + np.float32(params.sharpening) * (image - soft)
    if params.levels < 256:
        step = np.float32(255.0 / (params.levels - 1))
        image = np.rint(image / step) * step
    pixels = _round_to_bytes(image)
    if params.downscale <= 1.0 and params.jpeg_quality is None:
        return pixels
    resampled = Image.fromarray(pixels)
    small = (max(2, round(width / params.downscale)), max(2, round(height / params.downscale)))
    is_small = small != (width, height)
    if is_small:
        resampled = resampled.resize(small, _DOWNSCALERS[params.downscale_filter])
        if params.jpeg_before_upscale:
            resampled = _compress(resampled, params.jpeg_quality)
        resampled = resampled.resize((width, height), _UPSCALERS[params.upscale_filter])
    if not (is_small and params.jpeg_before_upscale):
        resampled = _compress(resampled, params.jpeg_quality)
    return np.array(resampled)


@strict_kernel
def _round_to_bytes(image: FloatImage) -> NDArray[np.uint8]:  # pragma: no cover - compiled
    out = np.empty(image.shape, dtype=np.uint8)
    flat, bytes_ = image.ravel(), out.ravel()
    for i in range(flat.size):
        bytes_[i] = np.uint8(
            min(max(flat[i], np.float32(0.0)), np.float32(255.0)) + np.float32(0.5)
        )
    return out


def _compress(resampled: Image.Image, quality: int | None) -> Image.Image:
    if quality is None:
        return resampled
    buffer = io.BytesIO()
    resampled.save(buffer, "JPEG", quality=quality)
    with open_image(buffer, ("JPEG",)) as compressed:
        compressed.load()
        return compressed
