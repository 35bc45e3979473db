"""Recipe fields overridden by dotted names, as on the command line."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

from trglab.training.config import DatasetConfig, Recipe
from trglab.training.recipes import finite_dataset

JSON_CONSTANTS = {"null": None, "true": True, "false": False}


def with_overrides(base: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Return a recipe with fields changed by dotted name: ``{"optim.learning_rate": "3e-4"}``.

    Datasets are addressed by number, as ``datasets.0.reuse`` and ``datasets.0.options.folder``.
    ``datasets.N.target`` replaces dataset N by another one, whose options start empty; if N is the
    number of datasets, it appends one. Text that is a Python literal is parsed, and ``null``,
    ``true`` and ``false``; ``null`` clears an optional field, as in ``holdout=null``.

    Raises
    ------
    ValueError
        There is no such field, or the value has another type.
    """
    for path, value in overrides.items():
        base = _set(base, path.split("."), _value(value), path)
    return base


def _set(node: Any, path: list[str], value: Any, whole: str) -> Any:
    name, *rest = path
    if isinstance(node, Mapping):
        return {**node, name: _set(node.get(name, {}), rest, value, whole) if rest else value}
    if isinstance(node, tuple) and rest and name.isdecimal() and int(name) < len(node):
        number = int(name)
        return (*node[:number], _set(node[number], rest, value, whole), *node[number + 1 :])
    if isinstance(node, tuple) and rest == ["target"] and name == str(len(node)):
        return (*node, replace(finite_dataset(str(value), {}), augment=node[0].augment))
    if isinstance(node, DatasetConfig) and name == "target" and not rest:
        return replace(finite_dataset(str(value), {}), weight=node.weight, augment=node.augment)
    names = [item.name for item in fields(node)] if is_dataclass(node) else []
    if name not in names:
        raise ValueError(f"override {whole}: expected one of {names} where it says {name!r}")
    old = getattr(node, name)
    if rest:
        value = _set(old, rest, value, whole)
    elif isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    elif isinstance(old, tuple) and isinstance(value, list):
        value = tuple(value)
    optional = type(None) in get_args(get_type_hints(type(node))[name])
    fits = optional if value is None else old is None or isinstance(value, type(old))
    if not fits:
        raise ValueError(f"override {whole}: expected a value like {old!r}, got {value!r}")
    return replace(node, **{name: value})


def _value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value in JSON_CONSTANTS:
        return JSON_CONSTANTS[value]
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
