"""High-dynamic-range panoramas: reading Radiance files, and image-based lighting.

The world frame of a panorama is x right, y down, z towards the centre of the map: a camera that
looks at the centre has ``cam_from_world`` = identity. The matrix may be any orthogonal one;
determinant -1 mirrors the panorama.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.rotations import rotation_from_euler
from trglab.synth.environment.light import (
    ENVIRONMENT_MAP_SHAPE,
    LUMINANCE,
    Light,
    project_irradiance,
    rotate_irradiance,
    sphere_grid,
    white_point,
)
from trglab.synth.kernels import strict_kernel

WHERE_TO_GET = "CC0 panoramas in this format (1k .hdr) are at https://polyhaven.com/hdris"

KEY_REACH_DEG = 25.0
"""The key light lies within this angle of the brightest spot."""

KEY_THRESHOLD = 0.25
"""Pixels above this share of the peak luminance belong to the key light."""

ENVIRONMENT_MAP_CAP = 60.0
"""Upper limit of the environment map, in multiples of the mean radiance.

A sun in pixels of 5 degrees would otherwise cover a whole eye; the key light adds its highlight."""


@dataclass(frozen=True, slots=True, eq=False)
class Panorama:
    """Radiance over the sphere and the light in the panorama's own frame.

    Normalised to a mean luminance of 1 over the sphere, which is also the radiance of a white
    surface, averaged over all orientations.

    Attributes
    ----------
    name
        For messages.
    radiance
        ``(h, 2 h, 3)`` float32, linear RGB, laid out like
        :func:`~trglab.synth.environment.light.sphere_grid`.
    light
        Light for ``cam_from_world`` = identity.
    """

    name: str
    radiance: NDArray[np.float32]
    light: Light

    @classmethod
    def from_radiance(cls, name: str, radiance: ArrayLike) -> Panorama:
        """Measure the light of an equirectangular map ``(h, 2 h, 3)`` of at least 32 rows.

        Raises
        ------
        ValueError
            Wrong shape, NaN, negative numbers, or zero radiance.
        """
        pixels = finite_array(f"panorama {name}", radiance, (None, None, 3), np.float32)
        height, width = pixels.shape[:2]
        if width != 2 * height or height < ENVIRONMENT_MAP_SHAPE[0]:
            raise ValueError(
                f"panorama {name}: expected a full sphere, twice as wide as high and at least "
                f"{ENVIRONMENT_MAP_SHAPE[0]} rows, got {width}x{height}"
            )
        _, solid_angles = sphere_grid(height, width)
        mean = float((pixels @ LUMINANCE * solid_angles).sum() / (4.0 * np.pi))
        if pixels.min() < 0 or mean <= 0:
            raise ValueError(f"panorama {name}: expected radiance of 0 and more, and some light")
        pixels = np.ascontiguousarray(pixels / np.float32(mean))
        return cls(name, pixels, _measure_light(pixels))


def load_panorama(path: str | Path, height: int = 512) -> Panorama:
    """Read a Radiance .hdr file and average blocks of ``rows // height`` pixels.

    Raises
    ------
    FileNotFoundError
        The file does not exist; the message says where to get panoramas.
    ValueError
        The file is damaged or has another format.
    """
    path = Path(path)
    radiance = read_radiance_hdr(path)
    factor = max(1, radiance.shape[0] // height)
    rows, columns = radiance.shape[0] // factor, radiance.shape[1] // factor
    cut = radiance[: rows * factor, : columns * factor]
    small = cut.reshape(rows, factor, columns, factor, 3).mean((1, 3), dtype=np.float32)
    return Panorama.from_radiance(path.stem, small)


def load_panoramas(folder: str | Path, height: int = 512) -> list[Panorama]:
    """Read all ``*.hdr`` files of a folder, ordered by name.

    Raises
    ------
    FileNotFoundError
        The folder contains no panorama; the message says where to get some.
    """
    paths = sorted(Path(folder).glob("*.hdr"))
    if not paths:
        raise FileNotFoundError(f"{folder}: expected *.hdr panoramas, found none. {WHERE_TO_GET}")
    return [load_panorama(path, height) for path in paths]


def random_orientation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw ``cam_from_world (3, 3)``: any heading, small tilt and roll, half of them mirrored."""
    heading, tilt, roll = rng.uniform(-180.0, 180.0), *rng.normal(0.0, (8.0, 3.0))
    mirror = np.diag([rng.choice([-1.0, 1.0]), 1.0, 1.0])
    return rotation_from_euler(np.array([heading, tilt, roll])) @ mirror


def light_from_panorama(panorama: Panorama, cam_from_world: NDArray[np.floating]) -> Light:
    """Return the panorama's light in the camera frame."""
    own = panorama.light
    M = np.asarray(cam_from_world, dtype=np.float64)
    directions, _ = sphere_grid(*ENVIRONMENT_MAP_SHAPE)
    return Light(
        irradiance_sh=rotate_irradiance(own.irradiance_sh, M),
        key_direction=(M @ own.key_direction).astype(np.float32),
        key_rgb=own.key_rgb,
        key_softness=own.key_softness,
        environment_map=sample_sphere(own.environment_map, directions @ M.astype(np.float32)),
    )


def choose_orientation(
    panorama: Panorama,
    orientations: Sequence[NDArray[np.float64]],
    rng: np.random.Generator,
    front_lit_share: float,
) -> tuple[NDArray[np.float64], Light]:
    """Return one of several ``cam_from_world (3, 3)`` and its light.

    With probability ``front_lit_share`` the one that lights a face towards the camera best, else
    the first.
    """
    lights = [light_from_panorama(panorama, orientation) for orientation in orientations]
    chosen = 0
    if rng.random() < front_lit_share:
        chosen = int(np.argmax([white_point(light) @ LUMINANCE for light in lights]))
    return orientations[chosen], lights[chosen]


def sample_sphere(
    radiance: NDArray[np.float32], directions: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Sample an equirectangular map ``(h, w, 3)`` bilinearly along ``directions (..., 3)``."""
    flat = np.ascontiguousarray(directions.reshape(-1, 3), dtype=np.float32)
    return _sample_sphere(radiance, flat).reshape(directions.shape)


@strict_kernel
def _sample_sphere(
    radiance: NDArray[np.float32], directions: NDArray[np.float32]
) -> NDArray[np.float32]:  # pragma: no cover - compiled
    height, width = radiance.shape[:2]
    out = np.empty((len(directions), 3), dtype=np.float32)
    for i in range(len(directions)):
        x, y, z = directions[i]
        column = (np.arctan2(x, z) / (2.0 * np.pi) + 0.5) * width - 0.5
        row = (np.arctan2(y, np.hypot(x, z)) / np.pi + 0.5) * height - 0.5
        row = min(max(row, 0.0), height - 1.0)
        left, top = int(np.floor(column)), int(row)
        fx, fy = np.float32(column - left), np.float32(row - top)
        bottom = min(top + 1, height - 1)
        right = (left + 1) % width
        left = left % width
        for c in range(3):
            above = radiance[top, left, c] * (1 - fx) + radiance[top, right, c] * fx
            below = radiance[bottom, left, c] * (1 - fx) + radiance[bottom, right, c] * fx
            out[i, c] = above * (1 - fy) + below * fy
    return out


def _measure_light(radiance: NDArray[np.float32]) -> Light:
    """Split a radiance map into the key light, its dominant source, and the rest."""
    directions, solid_angles = sphere_grid(*radiance.shape[:2])
    luminance = radiance @ LUMINANCE
    peak = np.unravel_index(_smooth(luminance).argmax(), luminance.shape)
    near = directions @ directions[peak] > np.cos(np.radians(KEY_REACH_DEG))
    level = float(np.percentile(luminance[near], 50))
    threshold = level + KEY_THRESHOLD * (float(luminance[near].max()) - level)
    inside = near & (luminance >= threshold) & (luminance > 0)
    # The median radiance around the source stays part of the ambient light.
    excess = np.where(inside[..., None], np.maximum(radiance - level, 0.0), 0.0)
    flux = excess * solid_angles[..., None]
    weight = flux @ LUMINANCE
    if weight.sum() <= 0:  # uniform radiance: there is no dominant source
        key_direction, softness = directions[peak], 1.0
    else:
        key_direction = (directions * weight[..., None]).sum((0, 1))
        key_direction = key_direction / np.linalg.norm(key_direction)
        spread = solid_angles.repeat(radiance.shape[1], 1)[inside].sum()
        softness = np.arccos(np.clip(1.0 - spread / (2.0 * np.pi), 0.0, 1.0)) / (np.pi / 2.0)
    return Light(
        irradiance_sh=project_irradiance(radiance - excess),
        key_direction=np.asarray(key_direction, dtype=np.float32),
        key_rgb=(flux.sum((0, 1)) / np.pi).astype(np.float32),
        key_softness=float(softness),
        environment_map=_shrink(radiance).clip(0.0, ENVIRONMENT_MAP_CAP),
    )


def _smooth(luminance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average over 5 x 5 pixels: single hot pixels must not dominate."""
    rows = sum(np.roll(luminance, step, 1) for step in range(-2, 3))
    padded = np.pad(rows, ((2, 2), (0, 0)), mode="edge")
    return np.asarray(sum(padded[step : step + len(luminance)] for step in range(5)))


def _shrink(radiance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average to the size of :attr:`Light.environment_map`."""
    rows, columns = ENVIRONMENT_MAP_SHAPE
    edges = np.linspace(0, radiance.shape[0], rows + 1).astype(int)[:-1]
    sides = np.linspace(0, radiance.shape[1], columns + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(radiance, edges, 0), sides, 1)
    counts = np.diff([*edges, radiance.shape[0]])[:, None] * np.diff([*sides, radiance.shape[1]])
    return (sums / counts[..., None]).astype(np.float32)


def read_radiance_hdr(path: str | Path) -> NDArray[np.float32]:
    """Read a Radiance image (.hdr, RGBE), flat or run-length encoded: ``(h, w, 3)`` linear RGB.

    Supports only the common orientation, top row first and left to right. Format: Ward, "The
    RADIANCE picture file format", Radiance reference manual.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing, truncated, or has another format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: file not found. {WHERE_TO_GET}")
    data = path.read_bytes()
    if not data.startswith((b"#?RADIANCE", b"#?RGBE")):
        raise ValueError(
            f"{path}: expected a Radiance .hdr image, which starts with '#?RADIANCE', "
            f"got {data[:10]!r}. {WHERE_TO_GET}"
        )
    size = re.search(rb"\n\n-Y (\d+) \+X (\d+)\n", data)
    if size is None or b"32-bit_rle_xyze" in data[: size.start()]:
        raise ValueError(
            f"{path}: expected a header with '32-bit_rle_rgbe' and '-Y height +X width', "
            f"got {data[:120]!r}"
        )
    height, width = int(size[1]), int(size[2])
    body = np.frombuffer(data, dtype=np.uint8, offset=size.end())
    is_packed = 8 <= width < 32768 and body[:4].tolist() == [2, 2, width >> 8, width & 255]
    if is_packed:
        rgbe = np.empty((height, 4, width), dtype=np.uint8)
        complete = _unpack_rows(body, rgbe)
        rgbe = rgbe.transpose(0, 2, 1)
    else:
        complete = len(body) >= height * width * 4
        rgbe = body[: height * width * 4].reshape(-1, width, 4) if complete else body
    if not complete:
        raise ValueError(
            f"{path}: expected {height} rows of {width} pixels, but the file is truncated "
            "or damaged; download it again"
        )
    # 2^(e - 128) / 256, as the format defines; e = 0 is black.
    scale = np.ldexp(np.float32(1.0), np.arange(256) - 136).astype(np.float32)
    scale[0] = 0.0
    return rgbe[..., :3].astype(np.float32) * scale[rgbe[..., 3]][..., None]


@strict_kernel
def _unpack_rows(
    body: NDArray[np.uint8], rgbe: NDArray[np.uint8]
) -> bool:  # pragma: no cover - compiled
    """Decode the run-length code into ``(h, 4, w)``; return False if the data are invalid."""
    height, channels, width = rgbe.shape
    at, end = 0, len(body)
    for y in range(height):
        if at + 4 > end or body[at] != 2 or body[at + 1] != 2:
            return False
        at += 4
        for c in range(channels):
            x = 0
            while x < width:
                if at + 2 > end:
                    return False
                count = int(body[at])
                is_run = count > 128
                count = count - 128 if is_run else count
                if count == 0 or x + count > width or (not is_run and at + 1 + count > end):
                    return False
                for k in range(count):
                    rgbe[y, c, x + k] = body[at + 1] if is_run else body[at + 1 + k]
                at += 2 if is_run else 1 + count
                x += count
    return True
