"""A progress bar for a training, in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trglab.training.loop import OnStep

SMOOTHING = 0.98
"""Decay of the displayed loss, which varies from batch to batch."""


@contextmanager
def training_bar(steps: int, batch_size: int, console: Console | None = None) -> Iterator[OnStep]:
    """Show steps, smoothed loss, images per second and remaining time.

    Yields the ``on_step`` callback of :func:`~trglab.training.loop.run_training`.
    """
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=steps, state="starting")
        began: tuple[int, float] | None = None
        loss: float | None = None

        def on_step(step: int, numbers: dict[str, float]) -> None:
            nonlocal began, loss
            now = time.monotonic()
            began = began or (step, now)
            new = numbers["total"]
            loss = new if loss is None else SMOOTHING * loss + (1.0 - SMOOTHING) * new
            rate = (step - began[0]) * batch_size / max(now - began[1], 1e-9)
            bar.update(task, completed=step + 1, state=f"loss {loss:.3f}  {rate:.0f} img/s")

        yield on_step
