"""What a training reads: batches of views as a pure function of (seed, step), and their mixture.

A feed gives the views of chosen *slots* of a step's global batch. Because the answer depends on
nothing else, a step number is the whole data position of a training, and machines that share a
batch take disjoint slots of the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trglab.datasets.view import Views, concatenate_views


class Feed(Protocol):
    """A source of batches of a fixed size."""

    def batch(self, step: int, start: int, stop: int) -> Views:
        """Return slots ``start`` to ``stop`` (exclusive) of the global batch of ``step``."""
        ...

    def close(self) -> None:
        """Let go of processes and memory; the feed is of no use afterwards."""
        ...


class Share(NamedTuple):
    """One machine's share of a step: the views and their slots in the global batch."""

    views: Views
    slots: NDArray[np.int64]


class Mixture:
    """Feeds side by side: every global batch has the same number of slots from each.

    Parameters
    ----------
    feeds
        Each serves a batch of its own count.
    counts
        Slots per global batch of each feed; see :func:`slots_by_weight`.
    """

    def __init__(self, feeds: Sequence[Feed], counts: Sequence[int]) -> None:
        if len(feeds) != len(counts) or not feeds or min(counts) < 1:
            raise ValueError(
                "mixture: expected at least one feed, and for each a count of at least 1, "
                f"got {len(feeds)} feeds and counts {list(counts)}"
            )
        self.feeds = tuple(feeds)
        self.counts = tuple(counts)

    def share(self, step: int, rank: int = 0, world: int = 1) -> Share:
        """Return the part of global batch ``step`` that machine ``rank`` of ``world`` takes."""
        views, slots, first = [], [], 0
        for feed, count in zip(self.feeds, self.counts, strict=True):
            start, stop = rank_range(count, rank, world)
            views.append(feed.batch(step, start, stop))
            slots.append(np.arange(first + start, first + stop))
            first += count
        return Share(concatenate_views(views), np.concatenate(slots))

    def close(self) -> None:
        """Close every feed."""
        for feed in self.feeds:
            feed.close()


def rank_range(count: int, rank: int, world: int) -> tuple[int, int]:
    """Return the range of ``count`` slots that machine ``rank`` of ``world`` takes.

    Raises
    ------
    ValueError
        The slots cannot be shared out evenly.
    """
    if count % world:
        raise ValueError(
            f"batch: expected a number of samples per source that {world} processes can share "
            f"evenly, got {count}; change the batch size or the weights"
        )
    each = count // world
    return rank * each, (rank + 1) * each


def slots_by_weight(weights: Sequence[float], batch_size: int, multiple: int = 1) -> list[int]:
    """Share ``batch_size`` slots out by weight, each a multiple of ``multiple`` (largest rest).

    Raises
    ------
    ValueError
        A weight is not positive, or a source would get no slot.
    """
    if not weights or not all(np.isfinite(weight) and weight > 0 for weight in weights):
        raise ValueError(f"mixture weights: expected numbers above 0, got {list(weights)}")
    if batch_size % multiple:
        raise ValueError(
            f"batch size: expected a multiple of {multiple}, the number of processes, "
            f"got {batch_size}"
        )
    exact = np.array(weights) / sum(weights) * (batch_size // multiple)
    counts = np.floor(exact).astype(int)
    for source in np.argsort(counts - exact, kind="stable")[
        : batch_size // multiple - counts.sum()
    ]:
        counts[source] += 1
    if counts.min() < 1:
        raise ValueError(
            f"mixture weights: expected each source to get a slot of a batch of {batch_size}, "
            f"got {[int(count) * multiple for count in counts]}; raise the batch size or the "
            "smallest weight"
        )
    return [int(count) * multiple for count in counts]


def shuffled(seed: int, position: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return which of ``length`` items are read at positions of an endless, reshuffled order.

    Every item comes once in each run through; each run has an order of its own.
    """
    result = np.empty_like(position)
    epochs = position // length
    for epoch in np.unique(epochs):
        order = np.random.default_rng((seed, int(epoch))).permutation(length)
        now = epochs == epoch
        result[now] = order[position[now] % length]
    return result
