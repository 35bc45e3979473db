"""Skin of portraits without hand-placed landmarks: low resolution, smiles, glasses, beards.

The face model is fitted with identity and expression to the estimated landmarks. Teeth, open
mouths and the region of glasses are masked; beards stay. What the photographs are too small to
show, pores and fine spots, is added by procedure when a skin is drawn.

Skins are drawn for a person of a given age. Their tones follow :data:`TONE_SHARES` whatever the
tones of the photographs: of the skins near the wanted tone one is chosen, and melanin makes up the
rest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg._util.files import write_atomic
from trg.io.images import read_image
from trglab.synth.cache import cache_folder
from trglab.synth.head.face_model import FaceModel
from trglab.synth.noise import lattice_noise
from trglab.synth.portraits.estimates import FaceEstimates, estimate_photos
from trglab.synth.portraits.fit import PortraitFit, fit_portrait
from trglab.synth.render.mesh import smooth_normals
from trglab.synth.skin.maps import SkinMaps, polygon_distance, skin_maps, smoothstep
from trglab.synth.skin.paint import SkinLayer
from trglab.synth.skin.photo_skin import (
    blend_layers,
    decode_layer,
    encode_layer,
    feature_regions,
)
from trglab.synth.skin.photo_texture import (
    fill_hidden,
    hair_free_weight,
    hairless_skin,
    mirror_layer,
    resize_map,
    sample_linear,
    shading_density,
)
from trglab.synth.skin.tone import TAN_STEP_DEG, SkinTone, skin_tone, tone_from_linear

Floats = NDArray[np.float64]

BANK_VERSION = 2
"""Version of the cached data; increase it with every change of the extraction."""

STORED_SIZE = 256
"""Side of a stored skin in texels: about a millimetre each, as a pixel of a face 150 px wide."""

TONE_SHARES = (
    ((55.0, 66.0), 0.07),
    ((41.0, 55.0), 0.18),
    ((28.0, 41.0), 0.22),
    ((10.0, 28.0), 0.20),
    ((-30.0, 10.0), 0.20),
    ((-60.0, -30.0), 0.13),
)
"""Assumed shares of the world's population by individual typology angle in degrees, in the classes
of Del Bino and Bernerd 2013. A rough estimate from the sizes of the world's regions, no survey."""

TONE_WINDOW_DEG = 10.0
AGE_WINDOW_YEARS = 12.0
"""Standard deviations of the choice of a portrait around the wanted tone and age."""

MAX_SHIFT_DEG = 30.0
"""Largest change of a portrait's typology angle by melanin."""

NOT_GREY_YEARS, GREY_YEARS = 48.0, (52.0, 80.0)
"""Assumed age of people without grey hair, and range of the others by rank of greyness."""

GREY_PHOTO_CHROMA = 0.06
"""Below this difference between the densities of blue and red, a photograph has no colour."""

GLASSES_CONTRAST = 0.235
"""Above this contrast of thin lines beside nose and eyes a person wears glasses."""

OPEN_MOUTH = 0.06
"""Gap between the lips, over the width of the mouth, above which the mouth counts as open."""

FINE_DETAIL = ((0.0042, 0.020), (0.0022, 0.022), (0.0012, 0.016))
"""Wavelength in metres and standard deviation of density of the detail that is added."""

_HEADER = 6


class PortraitSkin(NamedTuple):
    """Skin of one portrait."""

    layer: SkinLayer
    tone_linear: np.ndarray
    """``(3,)``"""
    greyness: float
    """0 to 1: share of grey in brows and hair"""
    glasses: float
    """Contrast of lines where a frame would be"""


@dataclass(frozen=True)
class PortraitSkinBank:
    """Skins of portraits.

    Attributes
    ----------
    rows
        n of ``(row,)`` uint8, usually memory-mapped: values, then the encoded density and weight.
    tones_linear
        ``(n, 3)`` mean linear RGB.
    ages_years
        ``(n,)``: assumed from greyness.
    has_glasses
        ``(n,)`` bool: the region of the eyes is masked.
    dropped
        Number of photographs by the reason for which they are left out.
    """

    rows: tuple[np.ndarray, ...]
    tones_linear: Floats
    ages_years: Floats
    has_glasses: NDArray[np.bool_]
    dropped: dict[str, int]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def typologies_deg(self) -> Floats:
        """Individual typology angle of each portrait."""
        return np.array([tone_from_linear(tone).typology_deg for tone in self.tones_linear])

    def layer(self, index: int, size: int) -> SkinLayer:
        """Return the skin detail of one portrait at ``size`` texels."""
        encoded = self.rows[index][4 * _HEADER :].reshape(STORED_SIZE, STORED_SIZE, 4)
        stored = decode_layer(np.asarray(encoded))
        density = np.stack([resize_map(channel, size) for channel in stored.density.T], axis=-1)
        return SkinLayer(
            np.ascontiguousarray(density.transpose(1, 0, 2)),
            np.clip(resize_map(stored.weight, size), 0.0, 1.0),
        )

    def sample(
        self, maps: SkinMaps, rng: np.random.Generator, age_years: float
    ) -> tuple[SkinTone, SkinLayer, float]:
        """Make the skin of a new person; return its tone, its detail and the age it shows.

        One or two portraits of similar tone and age are blended by region, half of the results are
        mirrored, and the tone is shifted to the wanted one.
        """
        wanted_deg = sample_typology(rng)
        typologies = self.typologies_deg
        fitness = np.exp(-0.5 * ((typologies - wanted_deg) / TONE_WINDOW_DEG) ** 2) + 1e-6
        fitness *= np.exp(-0.5 * ((self.ages_years - age_years) / AGE_WINDOW_YEARS) ** 2) + 1e-3
        first = int(rng.choice(len(self), p=fitness / fitness.sum()))
        layer = self.layer(first, maps.texels.size)
        others = fitness * ~self.has_glasses
        others[first] = 0.0
        if others.sum() > 0.0 and (self.has_glasses[first] or rng.random() < 0.6):
            second = int(rng.choice(len(self), p=others / others.sum()))
            share = feature_regions(maps, rng)
            if self.has_glasses[first]:
                share = np.maximum(share, _around_eyes(maps))
            layer = blend_layers(layer, self.layer(second, maps.texels.size), share)
        if rng.random() < 0.5:
            layer = mirror_layer(layer, maps)
        tone = tone_from_linear(self.tones_linear[first])
        shift_deg = np.clip(wanted_deg - tone.typology_deg, -MAX_SHIFT_DEG, MAX_SHIFT_DEG)
        # One unit of melanin lowers the typology angle by TAN_STEP_DEG. White balance and make-up
        # distort hues, so half of the tone is the mean of real skins.
        shifted = tone.density - np.float32(shift_deg / TAN_STEP_DEG) * tone.melanin
        density = 0.5 * (shifted + skin_tone(tone.typology_deg + shift_deg).density)
        density = density + rng.normal(0.0, 0.03, 3).astype(np.float32)
        linear = np.exp(-np.maximum(density, 0.08))
        strength = np.float32(rng.uniform(0.9, 1.1))
        detail = layer.density * strength + _fine_detail(maps, rng)[..., None]
        return (
            tone_from_linear(linear),
            SkinLayer(detail.astype(np.float32), layer.weight),
            float(self.ages_years[first]),
        )


def sample_typology(rng: np.random.Generator) -> float:
    """Draw an individual typology angle in degrees from :data:`TONE_SHARES`."""
    shares = np.array([share for _, share in TONE_SHARES])
    (low, high), _ = TONE_SHARES[int(rng.choice(len(shares), p=shares / shares.sum()))]
    return float(rng.uniform(low, high))


def load_portrait_skins(
    model: FaceModel,
    maps: SkinMaps,
    folders: list[Path],
    on_progress: Callable[[str, int, int], None] | None = None,
) -> PortraitSkinBank:
    """Load the skins of folders of portraits from the cache, or build them (about 15 minutes).

    ``on_progress`` is called with what is done, and the numbers of photographs done and of all.

    Raises
    ------
    FileNotFoundError, ValueError
        A folder has no images, or none of its portraits can be used.
    """
    rows: list[np.ndarray] = []
    dropped = Counter[str]()
    for folder in folders:
        estimates = estimate_photos(
            folder, on_progress=on_progress and (lambda *n: on_progress("estimating faces", *n))
        )
        stored = _load_rows(model, maps, folder, estimates, on_progress)
        values = _values(stored)
        has_colour = values[:, 5] > 0
        problems = [estimates.problem(index) for index in range(len(estimates))]
        dropped.update(problem for problem in problems if problem)
        usable = np.array([problem is None for problem in problems])
        dropped["no colour, or cheeks and forehead hidden"] += int((usable & ~has_colour).sum())
        rows += [stored[index] for index in np.flatnonzero(usable & has_colour)]
    if not rows:
        raise ValueError(f"portraits: expected usable ones in {folders}, left out: {dict(dropped)}")
    values = np.concatenate([_values(row[None]) for row in rows])
    return PortraitSkinBank(
        tuple(rows),
        values[:, :3].astype(np.float64),
        _ages(values[:, 3]),
        values[:, 4] > GLASSES_CONTRAST,
        {reason: count for reason, count in dropped.items() if count},
    )


def extract_portrait_skin(maps: SkinMaps, fit: PortraitFit, rgb: np.ndarray) -> PortraitSkin:
    """Extract the skin of a fitted portrait; ``maps`` belong to the model that was fitted.

    Raises ValueError if too little bare skin is visible, or the photograph has no colour.
    """
    height, width = rgb.shape[:2]
    cam = maps.texels.interpolate(fit.vertices_cam_m)
    depth = np.maximum(cam[..., 2], 1e-3)
    x_px = fit.focal_px * cam[..., 0] / depth + np.float32(width / 2.0)
    y_px = fit.focal_px * cam[..., 1] / depth + np.float32(height / 2.0)
    density = -np.log(np.maximum(sample_linear(rgb, x_px, y_px), 0.004))
    weight = _visible(maps, fit, cam)
    plain = hairless_skin(maps, weight)
    lower = plain & (maps.y_m > maps.landmarks_m[27, 1])
    tone = np.median(density[lower], axis=0)
    if tone[2] - tone[0] < GREY_PHOTO_CHROMA:
        raise ValueError("portrait: expected a photograph in colour")
    plain &= np.abs((density - tone).mean(axis=-1)) < 0.5
    density -= shading_density(maps, density, plain)[..., None]
    relative = (density - tone).mean(axis=-1)
    glasses = _line_contrast(relative, weight, _frame_zone(maps))
    weight = weight * hair_free_weight(maps, relative, weight)
    weight = weight * _mouth_weight(maps, fit, relative)
    if glasses > GLASSES_CONTRAST:
        weight = weight * (1.0 - _around_eyes(maps))
    greyness = _greyness(maps, cam, density, tone)
    layer = fill_hidden(SkinLayer((density - tone).astype(np.float32), weight), maps)
    return PortraitSkin(layer, np.exp(-tone).astype(np.float32), greyness, glasses)


def _visible(maps: SkinMaps, fit: PortraitFit, cam: np.ndarray) -> np.ndarray:
    """Return weights of texels that face the camera, inside hairline and jaw, outside the eyes."""
    vertices = np.ascontiguousarray(fit.vertices_cam_m, np.float32)
    normal = maps.texels.interpolate(smooth_normals(vertices, maps.texels.triangles))
    view_direction = cam / np.maximum(np.linalg.norm(cam, axis=-1, keepdims=True), 1e-6)
    view_cosine = -(normal * view_direction).sum(axis=-1)
    points, unit = maps.landmarks_m, maps.unit
    # From ear to ear via the chin, and above the forehead: the hairline bounds it there.
    top = points[[16, 0], :2] - [[0.0, 0.12 * unit], [0.0, 0.12 * unit]]
    outline = np.concatenate([points[:17, :2], top])
    inside = -polygon_distance(maps.x_m, maps.y_m, outline)
    weight = smoothstep(0.30, 0.65, view_cosine) * smoothstep(0.002, 0.010, inside)
    weight = weight * smoothstep(-0.003, -0.012, maps.scalp_m)
    weight = weight * (maps.z_m < 0.4 * points[16, 2]) * smoothstep(0.0015, 0.0045, maps.eyes_m)
    return (weight * maps.texels.used).astype(np.float32)


def _mouth_weight(maps: SkinMaps, fit: PortraitFit, relative: np.ndarray) -> np.ndarray:
    """Return weights of texels without teeth and open mouths, which reach over the lips' edge."""
    lips = maps.lips_m < 0.001
    teeth = lips & (relative < -0.2)
    if fit.mouth_gap < OPEN_MOUTH and teeth.sum() < 0.05 * lips.sum():
        return np.ones_like(relative, dtype=np.float32)
    weight = smoothstep(0.0015, 0.0040, np.abs(maps.mouth_m))
    return weight * np.where(teeth, np.float32(0.0), np.float32(1.0))


def _around_eyes(maps: SkinMaps) -> np.ndarray:
    """Return a soft mask ``(size, size)`` of what glasses cover."""
    points = maps.landmarks_m
    height = smoothstep(points[33, 1] - 0.006, points[33, 1] - 0.016, maps.y_m)
    reach = smoothstep(0.030, 0.022, maps.eyes_m)
    bridge = maps.gaussian_around(points[28], 0.012)
    return np.maximum(reach * height, np.minimum(1.5 * bridge, 1.0)).astype(np.float32)


def _frame_zone(maps: SkinMaps) -> np.ndarray:
    """Return where frames of glasses lie, and few other lines: below the eyes, at the bridge."""
    points = maps.landmarks_m
    below = (maps.eyes_m > 0.008) & (maps.eyes_m < 0.024) & (maps.y_m > points[41, 1] + 0.004)
    below &= maps.y_m < points[33, 1] - 0.006
    bridge = (np.abs(maps.x_m) < 0.008) & (np.abs(maps.y_m - points[27, 1] - 0.003) < 0.010)
    zone: np.ndarray = (below | bridge) & (maps.lips_m > 0.01)
    return zone


def _line_contrast(relative: np.ndarray, weight: np.ndarray, zone: np.ndarray) -> float:
    """Return the 92nd percentile of the contrast of thin lines in a zone; 0 if it is hidden."""
    seen = zone & (weight > 0.5)
    if seen.sum() < 30:
        return 0.0
    size = relative.shape[0]
    filled = np.where(weight > 0.3, relative, 0.0).astype(np.float32)
    smooth = resize_map(resize_map(filled, size // 8), size)
    return float(np.quantile(np.abs(filled - smooth)[seen], 0.92))


def _greyness(maps: SkinMaps, cam: np.ndarray, density: np.ndarray, tone: np.ndarray) -> float:
    """Return how grey the hair at brows and temples is, 0 to 1."""
    brow = (np.abs(maps.brow_across_m) < 0.003) & (maps.brow_along > 0.1) & (maps.brow_along < 0.9)
    scalp = (maps.scalp_m > 0.006) & (maps.scalp_m < 0.035) & (cam[..., 2] > 0) & maps.texels.used
    scalp &= maps.z_m < 0.8 * maps.landmarks_m[16, 2]
    shares = []
    for region in (brow, scalp):
        colour = density[region]
        hair = colour[np.abs(colour - tone).max(axis=-1) > 0.15]
        if len(hair) > 20:
            chroma = np.median(hair[:, 2] - hair[:, 0])
            light = np.median(hair.mean(axis=-1))
            pale = np.interp(chroma, (0.2, 0.8), (1.0, 0.0))
            shares.append(float(pale * np.interp(light, (1.0, 3.0), (1.0, 0.0))))
    return float(np.mean(shares)) if shares else 0.0


def _ages(greyness: np.ndarray) -> Floats:
    """Return ages ``(n,)`` in years: by rank for grey hair, one age for all others."""
    ages: Floats = np.full(len(greyness), NOT_GREY_YEARS)
    grey = np.flatnonzero(greyness > 0.0)
    order = grey[np.argsort(greyness[grey], kind="stable")]
    ages[order] = np.linspace(*GREY_YEARS, len(order))
    return ages


def _fine_detail(maps: SkinMaps, rng: np.random.Generator) -> np.ndarray:
    """Draw the density ``(size, size)`` of pores and spots that small photographs do not show."""
    total = np.zeros(maps.x_m.shape, np.float32)
    for wavelength_m, deviation in FINE_DETAIL:
        offset = rng.uniform(0.0, 32.0, 3)
        noise = lattice_noise(maps.lattice, maps.texels.position_m, 1.0 / wavelength_m, offset)
        total += np.float32(deviation) * noise
    return total


def _load_rows(
    model: FaceModel,
    maps: SkinMaps,
    folder: Path,
    estimates: FaceEstimates,
    on_progress: Callable[[str, int, int], None] | None,
) -> np.ndarray:
    """Return a row for each photograph of a folder: values, encoded skin; zeros if unusable."""
    width = STORED_SIZE * STORED_SIZE * 4 + 4 * _HEADER
    path = cache_folder() / f"portrait-skin-{_bank_key(model, maps, estimates)}.npy"
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if stored.shape == (len(estimates), width) and stored.dtype == np.uint8:
            return stored
    except (OSError, ValueError, EOFError):
        pass  # absent or damaged: rebuild it
    small = skin_maps(model, STORED_SIZE)
    rows = np.zeros((len(estimates), width), np.uint8)
    for index, name in enumerate(estimates.names):
        if on_progress is not None:
            on_progress("extracting skin", index + 1, len(estimates))
        if estimates.problem(index) is not None:
            continue
        fit = fit_portrait(model, estimates, index)
        try:
            skin = extract_portrait_skin(small, fit, read_image(folder / name).pixels)
        except ValueError:
            continue
        values = np.array([*skin.tone_linear, skin.greyness, skin.glasses, 1.0], "<f4")
        rows[index, : 4 * _HEADER] = np.frombuffer(values.tobytes(), np.uint8)
        rows[index, 4 * _HEADER :] = encode_layer(skin.layer).ravel()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: np.save(file, rows))
    except OSError:
        return rows  # the cache is an optimisation: it may be read-only
    written: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return written


def _values(rows: np.ndarray) -> np.ndarray:
    """Return the values ``(n, 6)``: tone, greyness, glasses, whether it is usable."""
    return np.ascontiguousarray(rows[:, : 4 * _HEADER]).view("<f4")


def _bank_key(model: FaceModel, maps: SkinMaps, estimates: FaceEstimates) -> str:
    digest = hashlib.sha256(f"{BANK_VERSION} {STORED_SIZE}".encode())
    for array in (model.mean_m, model.triangles, maps.uv, estimates.landmarks68_px):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]
