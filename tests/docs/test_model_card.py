"""The model card states the sizes of the files that are shipped."""

from __future__ import annotations

import re

import pytest

from tests.support.child_process import ROOT
from trg.inference.bundle import bundled, bundled_names

PAGE = ROOT / "docs" / "model_card.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")
@pytest.mark.skipif(not bundled_names(), reason="this copy of the package has no weights")
def test_sizes_are_those_of_the_files():
    text = PAGE.read_text(encoding="utf-8")
    stated = dict(re.findall(r"`trg/bundles/(\w+)\.trg`, ([\d.]+) MB", text))
    sizes = {name: f"{bundled(name).stat().st_size / 1e6:.1f}" for name in bundled_names()}
    assert stated == sizes
