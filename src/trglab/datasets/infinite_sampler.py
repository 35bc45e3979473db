"""Infinite, reshuffled sampling of a finite dataset that skips damaged samples."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from trglab.datasets.files import read_or_error
from trglab.datasets.sample import Dataset, Sample
from trglab.datasets.view import Views, ViewSpec, make_view

T = TypeVar("T")

MAX_UNREADABLE_IN_A_ROW = 100
"""More indicate a wrong folder or format rather than single damaged files."""

_LOG = logging.getLogger(__name__)


class InfiniteSampler:
    """An infinite sequence of the indices of ``length`` items, reshuffled every epoch.

    Every item occurs once per epoch. The index is a pure function of (seed, position), so processes
    that read disjoint positions share the items without repeats or gaps.
    """

    def __init__(self, length: int, seed: int) -> None:
        if length < 1:
            raise ValueError("dataset: expected at least one item to read, got none")
        self._length = length
        self._seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)
        self.skipped = 0
        """Items that this process could not read so far; each was logged."""

    def index(self, position: int) -> int:
        """Return the item at a position, any from 0."""
        epoch, offset = divmod(position, self._length)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch)).permutation(self._length)
        return int(self._order[offset])

    def read(self, position: int, read: Callable[[int], T]) -> T:
        """Read the item at a position, or the next one that can be read.

        Raises
        ------
        ValueError
            A hundred items in a row cannot be read; carries the last one's error.
        """
        for ahead in range(MAX_UNREADABLE_IN_A_ROW):
            item = read_or_error(read, self.index(position + ahead))
            if not isinstance(item, OSError | ValueError):
                return item
            self.skipped += 1
            _LOG.warning("skipped (%d so far in this process): %s", self.skipped, item)
        raise ValueError(
            f"{MAX_UNREADABLE_IN_A_ROW} samples in a row cannot be read, the last one: {item}"
        )


class ShuffledDataset:
    """A finite dataset as an infinite one: all samples once per epoch, in a new order each."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._dataset = dataset
        self._sampler = InfiniteSampler(len(dataset), seed)

    def sample(self, index: int) -> Sample:
        """Return the sample at a position of the infinite sequence."""
        return self._sampler.read(index, self._dataset.__getitem__)

    def view(self, index: int, spec: ViewSpec) -> Views:
        """Return the view of that sample."""
        return self._sampler.read(index, lambda item: make_view(self._dataset, item, spec))
