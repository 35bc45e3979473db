"""The README: short, with a moving picture that loops, and with figures that the pages state."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "images" / "heads.webp"

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the README is not beside the tests")


def test_it_has_at_most_150_lines():
    assert len(README.read_text().splitlines()) <= 150


def test_its_two_first_commands_stay():
    text = README.read_text()
    assert all(command in text for command in ("make demo", "make test", "trg predict photo.jpg"))


def test_figures_of_the_comparison_are_those_of_the_documentation():
    pages = " ".join((ROOT / "docs" / name).read_text() for name in ("results.md", "comparing.md"))
    section = README.read_text().partition("## How good, how fast\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    figures = {each for row in rows for each in re.findall(r"\d+\.\d+", row)}
    assert len(figures) > 12
    known = set(re.findall(r"\d+\.\d+", pages))
    rounded = {f"{float(each):.1f}" for each in known}
    assert sorted(figures - known - rounded) == []


def test_the_moving_picture_is_small_and_loops():
    assert PICTURE.stat().st_size <= 2_000_000
    with Image.open(PICTURE) as picture:
        assert 480 <= picture.width <= 640
        durations_ms = []
        for index in range(picture.n_frames):
            picture.seek(index)
            picture.load()
            durations_ms.append(picture.info["duration"])
        assert 5_000 <= sum(durations_ms) <= 8_000
        assert picture.info["loop"] == 0  # for ever
