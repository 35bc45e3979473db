"""Types of values from files that become the fields of a dataclass."""

from __future__ import annotations

import math
import reprlib
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def typed_fields(cls: type, values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a dataclass's fields, with integers as floats where floats are expected.

    Raises ValueError for the first value of another type, and for numbers that are not finite.
    Booleans are no integers. Nested dataclasses must have been built before.
    """
    hints = get_type_hints(cls)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(
                f"{prefix}{name}: expected {_shown(hints[name])}, got {reprlib.repr(value)}"
            )
    return {name: float(v) if hints[name] is float else v for name, v in values.items()}


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(
            _fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in value.items()
        )
    if hint is float:
        return _is_number(value) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _shown(hint: Any) -> str:
    return str(hint).replace("typing.", "") if get_origin(hint) else getattr(hint, "__name__", "")
