"""Every test named in docs/conventions.md exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conventions.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="needs docs/")
def test_every_test_that_the_page_names_exists():
    """A name without a file is in the file named last."""
    named = re.findall(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 20
    last_file = ""
    for file, name in named:
        last_file = file or last_file
        source = (ROOT / last_file).read_text(encoding="utf-8")
        assert f"def {name}(" in source, f"{last_file} has no {name}"
