"""The diagrams of the documentation are those that the script draws from today's code."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scripts.draw_concepts import FIGURES

from tests.support.child_process import ROOT
from trg.inference.bundle import DEFAULT_BUNDLE, bundled_names

IMAGES = ROOT / "docs" / "images"
NUMBER = re.compile(r"(?<![\w#])-?\d+\.\d\b")

pytestmark = pytest.mark.skipif(
    not IMAGES.is_dir() or DEFAULT_BUNDLE not in bundled_names(),
    reason="the documentation is not beside the tests, or the package has no weights",
)


@pytest.mark.parametrize("name", FIGURES)
def test_the_figure_in_the_documentation_is_current(tmp_path, name):
    FIGURES[name](tmp_path / "drawn.svg")
    drawn, kept = (tmp_path / "drawn.svg").read_text(), (IMAGES / f"{name}.svg").read_text()
    assert NUMBER.sub("#", drawn) == NUMBER.sub("#", kept)
    numbers = [np.array(NUMBER.findall(text), dtype=float) for text in (drawn, kept)]
    np.testing.assert_allclose(*numbers, atol=0.15)
