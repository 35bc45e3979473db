"""Synthetic faces as a sequence, rendered ahead of the reader by worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, overload

from trglab.datasets.sample import Sample
from trglab.synth.dataset import IMAGES_PER_PERSON, SyntheticFaces

READ_AHEAD_PEOPLE = 3
"""Number of people that each process may be ahead of the reader."""


class FaceSequence(Sequence[Sample]):
    """Samples 0 to ``count - 1``, rendered ahead of a sequential reader by worker processes.

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
    """

    def __init__(self, count: int, options: Mapping[str, Any], workers: int = 0) -> None:
        if count < 1 or workers < 0:
            raise ValueError(
                f"expected a count of at least 1 and workers of at least 0, got {count}, {workers}"
            )
        self._count = count
        self._faces = SyntheticFaces(**options)
        self._ahead = workers * READ_AHEAD_PEOPLE
        self._pool: ProcessPoolExecutor | None = None
        self._futures: dict[int, Future[list[Sample]]] = {}
        if workers:
            self._pool = ProcessPoolExecutor(
                workers, get_context("spawn"), initializer=_start_worker, initargs=(dict(options),)
            )

    @property
    def faces(self) -> SyntheticFaces:
        """The set that the samples belong to."""
        return self._faces

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(f"index: expected 0 to {self._count - 1}, got {index}")
        if self._pool is None:
            return self._faces.sample(index)
        person, offset = divmod(index, IMAGES_PER_PERSON)
        last = (self._count - 1) // IMAGES_PER_PERSON
        for wanted in range(person, min(person + self._ahead, last) + 1):
            if wanted not in self._futures:
                self._futures[wanted] = self._pool.submit(_render_person, wanted, self._count)
        for past in [number for number in self._futures if number < person]:
            del self._futures[past]
        return self._futures[person].result()[offset]

    def __enter__(self) -> FaceSequence:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


_worker_faces: SyntheticFaces | None = None
"""The set that a worker process of :class:`FaceSequence` renders."""


def _start_worker(options: dict[str, Any]) -> None:
    global _worker_faces  # a pool gives its initializer no other place for state
    _worker_faces = SyntheticFaces(**options)


def _render_person(person: int, count: int) -> list[Sample]:
    assert _worker_faces is not None
    start = person * IMAGES_PER_PERSON
    stop = min(start + IMAGES_PER_PERSON, count)
    return [_worker_faces.sample(index) for index in range(start, stop)]
