"""What all verbs share: the application, its groups, and where messages go."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Group, Parameter, validators
from rich.console import Console

from trg import __version__

app = App(
    name="trg",
    help="6DoF head pose and dense 3D face landmarks from one picture.",
    version=__version__,
)
RESEARCH = Group("Training and synthetic data (needs the `train` extra)")
EVALUATION = Group("Evaluation (needs the `train` extra)")
messages = Console(stderr=True, soft_wrap=True)
"""Everything that is not a result."""

Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]
NotNegative = Annotated[int, Parameter(validator=validators.Number(gte=0))]


def key_values(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` arguments."""
    numbers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"override: expected NAME=VALUE, got {pair!r}")
        numbers[name] = value
    return numbers
