"""The page on live receivers names every target, with commands that are understood."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from trg.app.cli.live_options import CaptureOptions, SendOptions, TrackOptions
from trg.live.sender import TargetUrl, schemes

PAGE = Path(__file__).parents[2] / "docs" / "live.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not installed")


def test_every_target_has_a_row_with_a_command_and_every_command_is_a_target():
    rows = [line for line in PAGE.read_text().splitlines() if "| `trg live 0 --send " in line]
    targets = [re.search(r"--send (\S+?)[` ]", row)[1] for row in rows]
    urls = [target for target in targets if target != "-"]
    assert {url.partition("://")[0] for url in urls} == set(schemes())
    assert len(urls) + 1 == len(targets)
    for url in urls:
        assert TargetUrl.of(url).port > 0


def test_every_option_is_on_the_page():
    page = PAGE.read_text()
    flags = {"smooth": "no-smooth"}
    groups = (CaptureOptions, SendOptions, TrackOptions)
    names = [field.name for group in groups for field in fields(group)]
    for name in (*names, "list"):
        assert f"--{flags.get(name, name.replace('_', '-'))}" in page, name
