"""Options whose value may be left out, which the parser itself does not know."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import get_args


def complete_draw(tokens: Sequence[str]) -> list[str]:
    """Give ``--draw`` of ``trg predict`` its value: the layers after it, or else the default ones.

    A file that exists is a source, even if it has the name of a layer; ``--draw=box`` is always a
    layer.
    """
    if list(tokens[:1]) != ["predict"] or "--draw" not in tokens:
        return list(tokens)
    from trg.io.overlay import DEFAULT_LAYERS, Layer

    def is_layers(token: str) -> bool:
        return bool({*token.split(",")} & {*get_args(Layer)}) and not os.path.exists(token)

    return _complete_option(tokens, "--draw", is_layers, ",".join(DEFAULT_LAYERS))


def complete_view(tokens: Sequence[str]) -> list[str]:
    """Give ``--view`` of ``trg live`` its value: the one that follows it, or else the browser."""
    if list(tokens[:1]) != ["live"] or "--view" not in tokens:
        return list(tokens)
    from trg.live.view import BROWSER, is_view

    return _complete_option(tokens, "--view", is_view, BROWSER)


def _complete_option(
    tokens: Sequence[str], option: str, is_value: Callable[[str], bool], default: str
) -> list[str]:
    """Give an option its value: the token that follows it if it is one, or else the default.

    The parser itself knows no option whose value may be left out. What follows ``--`` is no option.
    """
    complete: list[str] = []
    end = tokens.index("--") if "--" in tokens else len(tokens)
    for token in tokens[:end]:
        if complete and complete[-1] == option:
            complete[-1] = f"{option}={token if is_value(token) else default}"
            if is_value(token):
                continue
        complete.append(token)
    if complete and complete[-1] == option:
        complete[-1] = f"{option}={default}"
    return [*complete, *tokens[end:]]
