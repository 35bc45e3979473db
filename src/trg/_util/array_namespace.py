"""Dispatch between NumPy and torch by the type of the array."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

ArrayT = TypeVar("ArrayT", bound=Any)
"""A NumPy array or a torch tensor."""


def namespace_of(array: Any) -> ModuleType:
    """Return the module, numpy or torch, that ``array`` belongs to, without importing torch."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    return sys.modules[type(array).__module__.partition(".")[0]]


def constant_like(array: ArrayT, values: Any) -> ArrayT:
    """Return ``values`` as an array of the kind, type and device of another."""
    if namespace_of(array) is np:
        return np.asarray(values, dtype=array.dtype)  # type: ignore[return-value]
    return array.new_tensor(values)
