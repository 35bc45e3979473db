"""The audit of the paper counts its own rows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "paper.md"

pytestmark = pytest.mark.skipif(
    not PAGE.is_file(), reason="the documentation is not beside the tests"
)


def test_statements_are_numbered_and_counted():
    text = PAGE.read_text()
    rows = re.findall(r"^\| (\d+) \|.*\| \**(same|differs|option)\** \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    count = Counter(status for _, status in rows)
    stated = re.search(r"(\d+) statements: (\d+) same, (\d+) differ, (\d+) optional", text)
    assert stated is not None
    assert [int(number) for number in stated.groups()] == [
        len(rows),
        count["same"],
        count["differs"],
        count["option"],
    ]
