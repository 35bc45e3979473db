"""Hostile changes to nested values as JSON has them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

HOSTILE = (
    None, True, -1, 0, 0.5, 10**12, 10**400, 1e308, float("nan"), float("inf"), "", "x" * 5000,
    "\udce9", [], [[[]]], {}, {"a": {}}, [None], [1, "2"], [10**9] * 4, [0], [-3, 5, 7],
)  # fmt: skip


def mutated(value: Any, rng: np.random.Generator) -> Any:
    """Return a copy with one part at a random depth replaced, removed, renamed or added."""
    value = copy.deepcopy(value)
    node: Any = value
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = keys[rng.integers(len(keys))]
        child = node[key]
        if isinstance(child, dict | list) and child and rng.random() < 0.7:
            node = child
            continue
        if isinstance(node, dict) and rng.random() < 0.2:
            removed = node.pop(key)
            if rng.random() < 0.5:
                node[f"{key}_"] = removed
        else:
            node[key] = HOSTILE[rng.integers(len(HOSTILE))]
        break
    return value
