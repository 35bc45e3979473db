"""The application object, its groups of verbs, and what all verbs share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter, validators
from rich.console import Console

from trg import __version__

app = App(
    name="trg",
    help="6DoF head pose and dense 3D face landmarks from a single image.",
    version=__version__,
    version_flags=["--version", "-V"],
    suppress_keyboard_interrupt=False,  # `main` says that it stopped
)
app.register_install_completion_command(help="Install completion for this shell.")
TRAINING = Group("Training and synthetic data (needs the extra `train`)", sort_key=1)
EVALUATION = Group("Evaluation (needs the extra `train`)", sort_key=2)
messages = Console(stderr=True, soft_wrap=True, emoji=False)
"""For everything that is not a result."""


class ResultConsole(Console):
    """Standard output for results; a reader that closes the pipe raises BrokenPipeError."""

    def __init__(self) -> None:
        super().__init__(soft_wrap=True, highlight=False, emoji=False)  # names may hold ":cat:"

    def on_broken_pipe(self) -> None:
        """Let ``main`` end the program; rich would exit with code 1."""
        raise BrokenPipeError


Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]
NotNegative = Annotated[int, Parameter(validator=validators.Number(gte=0))]


def refuse_existing(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise FileExistsError that names the first of some outputs that exists."""
    if existing := next((path for path in paths if path.exists() and not overwrite), None):
        raise FileExistsError(f"{existing}: exists; choose another name, or add --overwrite")


def key_values(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` arguments; shells leave a tilde in the value."""
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"override: expected NAME=VALUE, got {pair!r}")
        values[name] = os.path.expanduser(value)
    return values
