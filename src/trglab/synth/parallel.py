"""Synthetic faces as a sequence, rendered ahead of the reader by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trglab.datasets.sample import Sample
from trglab.datasets.workers import WorkerPool
from trglab.synth.dataset import IMAGES_PER_PERSON, SyntheticFaces

READ_AHEAD_PEOPLE = 3
"""Number of people that each process may be ahead of the reader."""


class FaceSequence:
    """The first samples of a set, rendered ahead of a sequential reader by worker processes.

    Samples are rendered when they or slightly earlier ones are read, so reading from the middle
    costs only the rest. Use it as a context manager; leaving it ends the workers.

    Parameters
    ----------
    count
        Number of samples, at least 1.
    options
        Arguments of :class:`~trglab.synth.dataset.SyntheticFaces`.
    workers
        Number of processes; 0: render in this one.
    first_person
        Number of the person in the first sample. Sequences of other people of the same set are
        independent of this one.
    """

    def __init__(
        self, count: int, options: Mapping[str, Any], workers: int = 0, *, first_person: int = 0
    ) -> None:
        if count < 1 or workers < 0:
            raise ValueError(
                f"expected a count of at least 1 and workers of at least 0, got {count}, {workers}"
            )
        self._first = first_person * IMAGES_PER_PERSON
        self._count = count
        self._faces = SyntheticFaces(**options)
        self._ahead = workers * READ_AHEAD_PEOPLE
        open_renderer = partial(_open_renderer, dict(options))
        self._pool = WorkerPool(open_renderer, workers) if workers else None
        self._futures: dict[int, Future[list[Sample]]] = {}

    @property
    def faces(self) -> SyntheticFaces:
        """The set that the samples belong to."""
        return self._faces

    def neutral_m(self, index: int) -> NDArray[np.float32]:
        """Return the neutral vertices ``(1220, 3)`` of the person in sample ``index``."""
        return self._faces.neutral_m(self._first + index)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Sample:
        """Return a sample, waiting until it is rendered."""
        if not 0 <= index < self._count:
            raise IndexError(f"index: expected 0 to {self._count - 1}, got {index}")
        if self._pool is None:
            return self._faces.sample(self._first + index)
        person, offset = divmod(index, IMAGES_PER_PERSON)
        last = (self._count - 1) // IMAGES_PER_PERSON
        for wanted in range(person, min(person + self._ahead, last) + 1):
            if wanted not in self._futures:
                first = wanted * IMAGES_PER_PERSON
                end = min(first + IMAGES_PER_PERSON, self._count)
                images = range(self._first + first, self._first + end)
                self._futures[wanted] = self._pool.submit(images)
        for past in [number for number in self._futures if number < person]:
            del self._futures[past]
        return self._futures[person].result()[offset]

    def __enter__(self) -> FaceSequence:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.close()


def _open_renderer(options: Mapping[str, Any]) -> Callable[[int], Sample]:
    return SyntheticFaces(**options).sample
