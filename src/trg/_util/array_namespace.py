"""Functions for NumPy arrays and torch tensors alike: which library does an array belong to?"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np


def namespace_of(array: Any) -> ModuleType:
    """Return the array library that ``array`` belongs to, without importing it."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    return sys.modules[type(array).__module__.partition(".")[0]]
