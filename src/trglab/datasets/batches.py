"""Batches of views as a pure function of (seed, step), and mixtures of them.

A batch source returns the views of chosen *slots* of a step's global batch. Nothing else
determines the answer, so the step number is the whole data state of a training, and processes that
share a batch take disjoint slots of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trglab.datasets.view import Views, concatenate_views


class BatchSource(Protocol):
    """Batches of a fixed size by step."""

    def batch(self, step: int, start: int, stop: int) -> Views:
        """Return slots ``start`` to ``stop`` (exclusive) of the global batch of ``step``."""
        ...

    def close(self) -> None:
        """Release processes and memory; the source cannot be used afterwards."""
        ...


class BatchShare(NamedTuple):
    """One process's share of a batch: views, and their slots in the global batch."""

    views: Views
    slots: NDArray[np.int64]


class Mixture:
    """Several batch sources, each with a fixed number of slots of every global batch.

    Parameters
    ----------
    sources
        Each serves batches of its own count.
    counts
        Slots per global batch of each source; see :func:`slots_by_weight`.
    """

    def __init__(self, sources: Sequence[BatchSource], counts: Sequence[int]) -> None:
        if len(sources) != len(counts) or not sources or min(counts) < 1:
            raise ValueError(
                "mixture: expected at least one batch source, each with a count of at least 1, "
                f"got {len(sources)} sources and counts {list(counts)}"
            )
        self.sources = tuple(sources)
        self.counts = tuple(counts)

    def share(self, step: int, rank: int = 0, world_size: int = 1) -> BatchShare:
        """Return the share of global batch ``step`` of process ``rank``."""
        views, slots, first = [], [], 0
        for source, count in zip(self.sources, self.counts, strict=True):
            start, stop = rank_range(count, rank, world_size)
            views.append(source.batch(step, start, stop))
            slots.append(np.arange(first + start, first + stop))
            first += count
        return BatchShare(concatenate_views(views), np.concatenate(slots))

    def close(self) -> None:
        """Close every source."""
        for source in self.sources:
            source.close()


def rank_range(count: int, rank: int, world_size: int) -> tuple[int, int]:
    """Return the range of ``count`` slots that process ``rank`` takes.

    Raises
    ------
    ValueError
        The slots cannot be shared evenly.
    """
    if count % world_size:
        raise ValueError(
            f"batch: expected a number of samples per dataset that {world_size} processes can "
            f"share evenly, got {count}; change the batch size or the weights"
        )
    each = count // world_size
    return rank * each, (rank + 1) * each


def slots_by_weight(weights: Sequence[float], batch_size: int, multiple: int = 1) -> list[int]:
    """Divide ``batch_size`` slots by weight (largest remainder method).

    Parameters
    ----------
    multiple
        Each count is a multiple of it: the number of processes that share the batch.

    Raises
    ------
    ValueError
        A weight is not positive, or a dataset would get no slot.
    """
    if not weights or not all(np.isfinite(weight) and weight > 0 for weight in weights):
        raise ValueError(f"mixture weights: expected numbers above 0, got {list(weights)}")
    if batch_size % multiple:
        raise ValueError(
            f"batch size: expected a multiple of {multiple}, the number of processes, "
            f"got {batch_size}"
        )
    groups = batch_size // multiple
    exact = np.array(weights) / sum(weights) * groups
    counts = np.floor(exact).astype(int)
    largest_remainders = np.argsort(counts - exact, kind="stable")[: groups - counts.sum()]
    counts[largest_remainders] += 1
    result = (counts * multiple).tolist()
    if min(result) < 1:
        raise ValueError(
            f"mixture weights: expected each dataset to get a slot of a batch of {batch_size}, "
            f"got {result}; raise the batch size or the smallest weight"
        )
    return [int(count) for count in result]
