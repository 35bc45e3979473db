"""Worker processes that render, read or encode samples ahead of the process that uses them."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import groupby, islice
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from typing import Any, Generic, TypeVar

T = TypeVar("T")

CHUNK = 24
"""Neighbouring samples that one worker makes. As many share a person in the renderer, and creating
a person costs as much as rendering the images."""

CHUNKS_AHEAD = 3
"""Chunks per worker that may wait for the reader."""

OpenMaker = Callable[[], Callable[[int], T]]
"""Returns the function that makes an item by its index; called once in each process."""


class WorkerPool(Generic[T]):
    """Processes that each open a maker once, and then make items by index.

    Parameters
    ----------
    open_maker
        Picklable: a module's function or ``functools.partial`` of one.
    workers
        Number of processes, at least 1.
    """

    def __init__(self, open_maker: OpenMaker[T], workers: int) -> None:
        context = get_context("spawn")
        self._stop = context.Event()
        self._pool = ProcessPoolExecutor(
            workers, context, initializer=_start_worker, initargs=(open_maker, self._stop)
        )

    def submit(self, indices: Sequence[int]) -> Future[list[T]]:
        """Let a worker make the items ``indices``."""
        with _one_thread_per_process():  # the pool starts its processes here
            return self._pool.submit(_make, list(indices))

    def close(self) -> None:
        """End the workers, each after its present item."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


class MadeAhead(Generic[T]):
    """Items made ahead of a reader: iterates over pairs of index and item, in order.

    Parameters
    ----------
    open_maker
        Picklable if there are workers.
    indices
        Of the items, ascending; may be infinite.
    workers
        Processes, which start at once. 0: items are made in this one, when they are read.
    """

    def __init__(self, open_maker: OpenMaker[T], indices: Iterable[int], workers: int) -> None:
        self._open_maker, self._indices = open_maker, indices
        self._pool = WorkerPool(open_maker, workers) if workers else None
        self._chunks = ([*chunk] for _, chunk in groupby(indices, lambda index: index // CHUNK))
        self._most_jobs = CHUNKS_AHEAD * workers
        self._jobs: deque[tuple[list[int], Future[list[T]]]] = deque()
        self._submit()

    def __iter__(self) -> Iterator[tuple[int, T]]:
        if self._pool is None:
            make = self._open_maker()
            yield from ((index, make(index)) for index in self._indices)
        while self._jobs:
            chunk, job = self._jobs.popleft()
            self._submit()
            yield from zip(chunk, job.result(), strict=True)

    def _submit(self) -> None:
        if self._pool is not None:
            for chunk in islice(self._chunks, self._most_jobs - len(self._jobs)):
                self._jobs.append((chunk, self._pool.submit(chunk)))

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.close()


_maker: Callable[[int], Any] | None = None
_stop: Event | None = None
"""State of a worker process: a pool gives its initializer no other place for it."""


def _start_worker(open_maker: OpenMaker[Any], stop: Event) -> None:
    global _maker, _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles interrupts
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _maker, _stop = open_maker(), stop


def _exit_with_parent() -> None:
    """End this process when the parent is killed: the pool's queue would keep it waiting."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(indices: list[int]) -> list[Any]:
    assert _maker is not None
    assert _stop is not None
    items = []
    for index in indices:
        if _stop.is_set():
            break
        items.append(_maker(index))
    return items


@contextmanager
def _one_thread_per_process() -> Iterator[None]:
    """Limit libraries to one thread in the processes started here, through the environment."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
