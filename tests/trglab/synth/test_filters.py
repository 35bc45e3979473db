"""Blur, scaling and other filters of rendered images."""

from __future__ import annotations

import numpy as np
import pytest

from trglab.synth.environment.filters import blur, motion_blur, resize_smooth, scale_channels


def test_box_filter_is_the_naive_average():
    image = np.random.default_rng(0).random((11, 13, 3), dtype=np.float32)
    sigma = np.sqrt((2 * 1**2 + 2 * 0.5 * 2**2) / 4.0)  # one pass with radius 1.5
    taps = np.array([0.5, 1, 1, 1, 0.5]) / 4.0
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    expected = sum(
        taps[i] * taps[j] * padded[i : i + 11, j : j + 13] for i in range(5) for j in range(5)
    )
    np.testing.assert_allclose(blur(image, sigma, passes=1), expected, atol=1e-5)


def test_a_narrow_blur_is_the_naive_average_at_all_sizes():
    """A radius below one pixel, as that of noise grain, is computed without running sums."""
    for height, width in ((1, 1), (2, 5), (7, 3), (11, 13)):
        image = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
        sigma = np.sqrt(2 * 0.5 / 2.0)  # one pass with radius 0.5
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        taps = np.array([0.5, 1.0, 0.5]) / 2.0
        expected = sum(
            taps[i] * taps[j] * padded[i : i + height, j : j + width]
            for i in range(3)
            for j in range(3)
        )
        np.testing.assert_allclose(blur(image, sigma, passes=1), expected, atol=1e-5)


@pytest.mark.parametrize("angle_rad", [0.0, 0.7, 2.1, 0.5 * np.pi])
def test_motion_blur_is_the_mean_of_shifted_images(angle_rad):
    image = np.random.default_rng(1).random((9, 12, 3), dtype=np.float32)
    rows, columns = np.indices((9, 12))
    for length_px in (0.6, 3.0, 30.0):  # the last one leaves the image
        taps = max(3, 2 * int(length_px / 2.0 + 0.999) + 1)
        expected = np.zeros_like(image)
        for along in np.linspace(-0.5, 0.5, taps) * length_px:
            y, x = rows + along * np.sin(angle_rad), columns + along * np.cos(angle_rad)
            top, left = np.floor(y).astype(int), np.floor(x).astype(int)
            for dy, dx in np.ndindex(2, 2):
                weight = np.abs(1 - dy - (y - top)) * np.abs(1 - dx - (x - left))
                shifted = image[np.clip(top + dy, 0, 8), np.clip(left + dx, 0, 11)]
                expected += weight[..., None] * shifted / taps
        np.testing.assert_allclose(motion_blur(image, length_px, angle_rad), expected, atol=1e-5)


def test_scaling_channels_is_multiplication():
    image = np.random.default_rng(2).random((5, 7, 3), dtype=np.float32)
    factors = np.array([0.5, 1.3, 2.0], np.float32)
    np.testing.assert_array_equal(scale_channels(image, factors), image * factors)


def test_filters_keep_mean_and_position():
    image = np.zeros((41, 41, 3), np.float32)
    image[20, 20] = 1.0
    rows, columns = np.indices((41, 41))
    for filtered in (blur(image, 2.3), blur(image, 1.1, 3), motion_blur(image, 9.0, 0.7)):
        assert filtered[..., 0].sum() == pytest.approx(1.0, rel=1e-3)
        assert (rows * filtered[..., 1]).sum() == pytest.approx(20.0, abs=0.02)
        assert (columns * filtered[..., 1]).sum() == pytest.approx(20.0, abs=0.02)
    for sigma in (0.2, 0.7, 2.3, 3.1):
        variance = (blur(image, sigma)[..., 0] * (rows - 20) ** 2).sum()
        assert variance == pytest.approx(sigma**2, rel=2e-3)
    ramp = np.tile(np.linspace(0, 1, 8, dtype=np.float32)[None, :, None], (4, 1, 3))
    wide = resize_smooth(ramp, 40, 80)
    assert (np.diff(wide[0, :, 0]) >= -1e-6).all()
    np.testing.assert_allclose(wide.mean(), 0.5, atol=1e-3)
