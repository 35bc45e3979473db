"""Comparison of nested settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def changed_settings(before: Any, now: Any, name: str = "") -> list[str]:
    """Describe each setting that differs between two nested values, by its dotted name."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = dict.fromkeys([*before, *now])
        pairs = [(key, before.get(key, "unset"), now.get(key, "unset")) for key in keys]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(str(index), *pair) for index, pair in enumerate(zip(before, now, strict=True))]
    else:
        return [] if before == now else [f"{name} was {before!r}, is {now!r}"]
    return [
        text
        for key, old, new in pairs
        for text in changed_settings(old, new, f"{name}.{key}" if name else str(key))
    ]
