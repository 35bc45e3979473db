"""The pages for users of other programs say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from trg.geometry.mediapipe import BUNDLED_MAP, DOUBTFUL_MM
from trg.io.records.csv_tables import OPENFACE_COLUMNS
from trg.live.targets.openseeface import PACKET_BYTES, POINTS_OF_68

DOCS = Path(__file__).parents[2] / "docs"
TOOLS = ("mediapipe", "openface", "openseeface", "6drepnet", "insightface")


def page(tool: str) -> str:
    return (DOCS / f"coming_from_{tool}.md").read_text()


@pytest.mark.parametrize("tool", TOOLS)
def test_pages_are_short_and_listed(tool):
    assert len(page(tool).splitlines()) <= 120
    for listing in (DOCS / "index.md", DOCS.parent / "zensical.toml"):
        assert f"coming_from_{tool}.md" in listing.read_text()


def test_the_figures_of_mediapipes_points_are_those_of_the_package():
    _, vertices, median_mm = np.loadtxt(BUNDLED_MAP, delimiter=",", skiprows=1).T
    text = page("mediapipe")
    corners_mm = median_mm[[33, 133, 362, 263, 61, 291]]
    for figure in (
        f"median of the points | {np.median(median_mm):.1f} mm",
        f"within {np.quantile(median_mm, 0.95):.1f} mm",
        f"{(median_mm > DOUBTFUL_MM).sum()} of 468",
        f"{len(np.unique(vertices))}: around eyes and mouth",
        f"have {corners_mm.min():.1f} to {corners_mm.max():.1f} mm",
    ):
        assert figure in text, figure


def test_every_column_of_openfaces_format_is_on_its_page():
    named = page("openface")
    for column in OPENFACE_COLUMNS:
        family = re.sub(r"_\d+$", "_", column)
        assert f"`{family}" in named or column == "source", column


def test_openseefaces_packet_and_points_are_those_that_are_sent():
    text = page("openseeface")
    assert f"{PACKET_BYTES} bytes" in text
    assert len(POINTS_OF_68) == 66
    assert set(range(68)) - set(POINTS_OF_68.tolist()) == {48, 54}, "outer corners of the mouth"
