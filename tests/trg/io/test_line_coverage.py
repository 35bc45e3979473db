"""Antialiased lines: in their place, as bright in every direction, cut at the image's border."""

from __future__ import annotations

import numpy as np
import pytest

from trg.io.line_coverage import line_coverage


@pytest.mark.parametrize("angle_deg", range(0, 360, 15))
def test_a_line_covers_about_as_much_in_every_direction(angle_deg):
    """Of diagonal lines, those that meet the middles of pixels lose what exceeds a whole pixel."""
    towards = np.array([np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))])
    sums = []
    for start in np.random.default_rng(0).uniform(40.0, 60.0, (20, 2)):
        covered = line_coverage(np.array([[start, start + 30.0 * towards]]), (100, 100))
        sums.append(covered.sum())
        y, x = np.nonzero(covered)
        beside = (np.stack([x, y], -1) + 0.5 - start) @ (-towards[1], towards[0])
        assert np.abs(beside).max() <= 1.0
    assert np.mean(sums) == pytest.approx(30.0, rel=0.12)


def test_lines_are_cut_at_the_border():
    rng = np.random.default_rng(0)
    lines = rng.uniform(-40.0, 90.0, (300, 2, 2))
    whole = line_coverage(lines + 50.0, (150, 140))
    np.testing.assert_allclose(line_coverage(lines, (40, 30)), whole[50:80, 50:90], atol=1e-9)


def test_lines_of_any_length():
    lines = np.array([[[5.0, 5.0], [5.0, 5.0]], [[-1e12, -1e12], [1e12, 1e12]]])
    np.testing.assert_allclose(line_coverage(lines, (20, 20)), np.eye(20), atol=1e-3)
    assert line_coverage(np.empty((0, 2, 2)), (7, 5)).shape == (5, 7)
    assert line_coverage(np.full((1, 2, 2), 1e300), (7, 5)).sum() == 0.0
