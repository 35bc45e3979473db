"""Tables of facts about cameras, each with its source."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path


@lru_cache
def read_table(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a bundled CSV table; lines that start with # are comments."""
    text = (Path(__file__).parent / f"{name}.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(csv.DictReader(lines))
