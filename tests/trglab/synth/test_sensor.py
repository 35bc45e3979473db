"""Sensor simulation: no step shifts the image, each has its effect, and most draws are mild."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from trglab.synth.environment.sensor import SensorParams, simulate_sensor

CLEAN = SensorParams(noise=0.0)


def scene(size: int = 96, seed: int = 0) -> np.ndarray:
    """Smooth coloured image in linear light."""
    rng = np.random.default_rng(seed)
    grid = rng.uniform(0.05, 0.6, (6, 6, 3)).astype(np.float32)
    return np.kron(grid, np.ones((size // 6, size // 6, 1), np.float32))


def dots(size: int, centre: tuple[float, float]) -> np.ndarray:
    """A soft dark dot on a light ground."""
    rows, columns = np.indices((size, size)) + 0.5
    distance2 = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2
    image = 0.5 - 0.45 * np.exp(-0.5 * distance2 / 4.0**2)
    return np.repeat(image[..., None], 3, -1).astype(np.float32)


def centroid(image: np.ndarray, near: tuple[float, float], reach: int = 22) -> np.ndarray:
    """Centre of the dark dot, mean of the channels, within a window around where it should be."""
    x, y = round(near[0]), round(near[1])
    window = image[y - reach : y + reach, x - reach : x + reach].astype(float).mean(-1)
    border = np.concatenate([window[0], window[-1], window[:, 0], window[:, -1]])
    weight = np.maximum(np.median(border) - window - 0.1 * np.ptp(window), 0.0)
    rows, columns = np.indices(window.shape) + 0.5
    found = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    return found + (x - reach, y - reach)


STEPS = {
    "nothing": {},
    "tone": {"contrast": 1.4, "shoulder": 0.8, "exposure_stops": 0.7},
    "defocus": {"defocus": 0.012},
    "motion": {"motion": 0.04, "motion_rad": 0.6},
    "chromatic aberration": {"chromatic_aberration": 0.003},
    "shrink bilinear": {"downscale": 2.3},
    "shrink hamming nearest": {
        "downscale": 2.7, "downscale_filter": "hamming", "upscale_filter": "nearest",
    },
    "shrink lanczos bicubic": {
        "downscale": 3.1, "downscale_filter": "lanczos", "upscale_filter": "bicubic",
    },
    "sharpening": {"sharpening": 1.2},
    "jpeg": {"jpeg_quality": 30},
    "jpeg when small": {"jpeg_quality": 50, "downscale": 1.9, "jpeg_before_upscale": True},
    "grain": {"noise": 0.01, "noise_grain": 1.0},
    "infrared": {"mode": "infrared"},
    "grey": {"mode": "grey"},
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_no_step_moves_a_dot(step):
    params, rng = replace(CLEAN, **STEPS[step]), np.random.default_rng(0)
    errors = []
    for centre in rng.uniform(45.0, 147.0, (25, 2)):
        image = simulate_sensor(dots(192, tuple(centre)), rng, params)
        errors.append(centroid(image, centre) - centre)
    assert np.abs(np.mean(errors, 0)).max() < 0.03
    # Blocks ragged or ringing around a dot, differently in each place, do not shift it.
    is_blocky = params.jpeg_quality is not None or params.upscale_filter == "nearest"
    assert np.abs(errors).max() < (0.3 if is_blocky else 0.1)


def test_all_steps_together_do_not_move_a_dot_on_average():
    centre, found = (101.4, 87.7), []
    rng = np.random.default_rng(0)
    for _ in range(120):
        params = replace(SensorParams.sample(rng), vignetting=0.0, noise=0.002)
        found.append(centroid(simulate_sensor(dots(192, centre), rng, params), centre))
    error = np.array(found) - centre
    assert np.abs(np.median(error, 0)).max() < 0.03
    assert np.percentile(np.abs(error), 90) < 0.1


def test_the_result_is_reproducible_and_the_input_unchanged():
    image = scene()
    before = image.copy()
    params = replace(CLEAN, noise=0.05, sharpening=1.0, jpeg_quality=60, downscale=1.5)
    first = simulate_sensor(image, np.random.default_rng(4), params)
    second = simulate_sensor(image, np.random.default_rng(4), params)
    other = simulate_sensor(image, np.random.default_rng(5), params)
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    np.testing.assert_array_equal(image, before)
    assert first.shape == image.shape
    assert first.dtype == np.uint8


def test_exposure_does_not_depend_on_the_scenes_brightness():
    image = scene()
    rng = np.random.default_rng(0)
    normal, bright = (
        simulate_sensor(image, rng, CLEAN),
        simulate_sensor(image * 37.0, rng, CLEAN),
    )
    assert np.abs(normal.astype(int) - bright).max() <= 1
    assert 90 < normal.mean() < 150
    over = simulate_sensor(image, rng, replace(CLEAN, exposure_stops=1.0))
    assert over.mean() > normal.mean() + 20


def test_without_errors_the_image_is_srgb_of_the_light():
    image = np.clip(scene(), 0.02, 0.5)
    params = replace(CLEAN, shoulder=0.0, white_balance=0.0)
    got = simulate_sensor(image, np.random.default_rng(0), params)
    ratio = (got / 255.0 + 0.055) / 1.055
    linear = np.where(got / 255.0 < 0.04045, got / 255.0 / 12.92, ratio**2.4)
    gain = np.median(linear / image)
    mask = linear < 0.95
    np.testing.assert_allclose(linear[mask], gain * image[mask], atol=0.006)


def test_white_balance_removes_the_colour_of_the_light():
    surface, lamp = np.full((48, 48, 3), 0.4, np.float32), np.array([1.6, 1.0, 0.5])
    image = surface * lamp.astype(np.float32)
    rng = np.random.default_rng(0)
    full = simulate_sensor(image, rng, replace(CLEAN, white_balance=1.0), light_rgb=lamp)[20, 20]
    none = simulate_sensor(image, rng, replace(CLEAN, white_balance=0.0), light_rgb=lamp)[20, 20]
    assert np.ptp(full.astype(int)) <= 2
    assert int(none[0]) - int(none[2]) > 50


def test_noise_has_the_given_amplitude_and_grows_with_light():
    flat = np.full((128, 128, 3), 0.2, np.float32)
    flat[:, 64:] = 0.05
    params = replace(CLEAN, noise=0.05, noise_grain=0.0, white_balance=0.0, noise_colour=1.0)
    got = simulate_sensor(flat, np.random.default_rng(0), params) / 255.0
    linear = np.where(got < 0.04045, got / 12.92, ((got + 0.055) / 1.055) ** 2.4)
    bright, dark = linear[4:-4, 4:60, 1], linear[4:-4, 68:-4, 1]
    for part in (bright, dark):
        expected = 0.05 * np.sqrt(part.mean() + 0.05)
        assert part.std() == pytest.approx(expected, rel=0.1)
    assert abs(np.corrcoef(linear[4:-4, 4:60, 0].ravel(), bright.ravel())[0, 1]) < 0.1
    shared = simulate_sensor(flat, np.random.default_rng(0), replace(params, noise_colour=0.0))
    assert np.ptp(shared.astype(int), axis=2).max() <= 1


def test_vignetting_darkens_the_corners_only():
    flat = np.full((96, 96, 3), 0.3, np.float32)
    got = simulate_sensor(flat, np.random.default_rng(0), replace(CLEAN, vignetting=0.4)).astype(
        int
    )
    plain = simulate_sensor(flat, np.random.default_rng(0), CLEAN).astype(int)
    assert abs(got[48, 48] - plain[48, 48]).max() <= 1
    assert (got[2, 2] < plain[2, 2] - 20).all()


def test_grey_infrared_levels_and_saturation():
    image, rng = scene(), np.random.default_rng(0)
    for mode in ("grey", "infrared"):
        assert np.ptp(simulate_sensor(image, rng, replace(CLEAN, mode=mode)), axis=2).max() == 0
    posterised = simulate_sensor(image, rng, replace(CLEAN, levels=12))
    assert len(np.unique(posterised)) <= 12
    dull = simulate_sensor(image, rng, replace(CLEAN, saturation=0.3)).astype(int)
    vivid = simulate_sensor(image, rng, replace(CLEAN, saturation=1.5)).astype(int)
    assert np.ptp(dull, axis=2).mean() < np.ptp(vivid, axis=2).mean() / 2


def test_low_quality_and_low_resolution_lose_detail():
    image = np.random.default_rng(0).uniform(0.0, 0.5, (96, 96, 3)).astype(np.float32)
    rng = np.random.default_rng(0)
    sharp = simulate_sensor(image, rng, CLEAN).astype(float)
    for change in ({"jpeg_quality": 20}, {"downscale": 3.0}, {"defocus": 0.02}, {"motion": 0.06}):
        worse = simulate_sensor(image, rng, replace(CLEAN, **change)).astype(float)
        assert np.abs(np.diff(worse, axis=1)).mean() < np.abs(np.diff(sharp, axis=1)).mean(), change


def test_sampled_params_are_mild_for_most_and_valid_for_all():
    rng = np.random.default_rng(0)
    drawn = [SensorParams.sample(rng) for _ in range(2000)]
    assert np.mean([params.motion > 0 for params in drawn]) < 0.2
    assert np.mean([params.downscale > 2 for params in drawn]) < 0.2
    looks = Counter(params.mode for params in drawn)
    assert looks["colour"] > 0.85 * 2000
    assert all(20 <= p.jpeg_quality <= 98 for p in drawn if p.jpeg_quality is not None)
    assert SensorParams.sample(np.random.default_rng(7)) == SensorParams.sample(
        np.random.default_rng(7)
    )
    assert SensorParams.sample(rng, "infrared").mode == "infrared"


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 3), (33, 70)])
def test_all_image_sizes_work(size):
    rng = np.random.default_rng(0)
    for _ in range(25):
        image = rng.random((*size, 3), dtype=np.float32)
        assert simulate_sensor(image, rng, SensorParams.sample(rng)).shape == (*size, 3)


def test_black_images_stay_black_and_wrong_shapes_raise():
    rng = np.random.default_rng(0)
    assert simulate_sensor(np.zeros((24, 24, 3), np.float32), rng, CLEAN).max() == 0
    with pytest.raises(ValueError, match="expected shape"):
        simulate_sensor(np.zeros((24, 24), np.float32), rng, CLEAN)
    with pytest.raises(ValueError, match="light_rgb"):
        simulate_sensor(scene(), rng, CLEAN, light_rgb=np.array([1.0, np.nan, 1.0]))
