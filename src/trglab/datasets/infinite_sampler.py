"""Reads a data set again and again, in an order of its own each time, past what is damaged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from trglab.datasets.files import read_or_error

T = TypeVar("T")

MAX_IN_A_ROW = 100
"""So many unreadable items one after another are no accident: the data set is not what it says."""

_LOG = logging.getLogger(__name__)


class InfiniteSampler:
    """Which of ``length`` items comes at each position of an endless, reshuffled order.

    Every item comes once in each run through; each run has an order of its own. Processes and
    machines that read disjoint positions therefore share the items without repeats or gaps.

    Attributes
    ----------
    skipped
        How many items this process could not read so far. Each was reported in the log.
    """

    def __init__(self, length: int, seed: int) -> None:
        if length < 1:
            raise ValueError("data set: expected at least one item to read, got none")
        self._length = length
        self._seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)
        self.skipped = 0

    def number(self, position: int) -> int:
        """Return the item at a position, any from 0 on."""
        epoch, place = divmod(position, self._length)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch)).permutation(self._length)
        return int(self._order[place])

    def read(self, position: int, read: Callable[[int], T]) -> T:
        """Read the item at a position, or the next in the order that can be read.

        Raises
        ------
        ValueError
            A hundred items in a row could not be read; carries the last one's error.
        """
        for ahead in range(MAX_IN_A_ROW):
            item = read_or_error(read, self.number(position + ahead))
            if not isinstance(item, OSError | ValueError):
                return item
            self.skipped += 1
            _LOG.warning("left out (%d so far in this process): %s", self.skipped, item)
        raise ValueError(f"{MAX_IN_A_ROW} samples in a row could not be read, the last one: {item}")
