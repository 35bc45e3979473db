"""A ring of freshly made views, filled by worker processes and read several times.

Making a sample costs far more than training on it, so each view is used ``reuse`` times, with
fresh augmentation, before a new one takes its place. The ring is made of *rows*: row q holds
samples ``q * batch_size`` to ``(q + 1) * batch_size``, one per slot of the batch::

    row            lo                 lo + depth          lo + depth + ahead
    ---------------|------------------|-------------------|---------------
       over-written  read by this step   being made ahead    not yet

The step moves ``lo`` on by one row every ``reuse`` steps, and slot j reads a random one of the
``depth`` rows. What a step reads is therefore a function of (seed, step) alone: the number of
workers changes the speed and nothing else, and a step waits until its rows are made.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trglab.datasets.view import (
    SampleSource,
    Views,
    ViewSpec,
    make_view,
    select_views,
    stack_views,
)

AHEAD_ROWS = 4
"""Rows beyond those being read that workers may fill, so that they need not wait for the step;
more where that many workers hold more in their hands."""

CHUNK = 24
"""A worker takes the samples between two multiples of this: as many neighbours share a person in
the renderer, and making one costs as much as the pictures."""

POLL_S = 0.002
SourceMaker = Callable[[], SampleSource]
"""Makes the source, once in each worker; a module's function or ``functools.partial`` of one."""


class ViewPool:
    """A feed that makes its views while it is read.

    Parameters
    ----------
    make_source
        Makes the source; must be picklable when there are workers.
    spec
        How views are cut.
    batch_size
        Slots of the (global) batch that this pool serves.
    capacity
        Views that a step chooses from, rounded down to whole batches, at least one.
    reuse
        How often each view is used on average.
    workers
        Processes. 0: views are made in this one, when they are asked for.
    seed
        Of the choice among the views; the source has its own.
    slots
        The range of slots that will be asked for; this machine's share of the batch.
    start_step
        The first step that will be asked for.

    Raises
    ------
    RuntimeError
        From :meth:`batch`: a worker failed; carries its traceback.
    """

    def __init__(
        self,
        make_source: SourceMaker,
        spec: ViewSpec,
        *,
        batch_size: int,
        capacity: int,
        reuse: int = 1,
        workers: int = 0,
        seed: int = 0,
        slots: tuple[int, int] | None = None,
        start_step: int = 0,
    ) -> None:
        if batch_size < 1 or reuse < 1 or workers < 0:
            raise ValueError(
                "view pool: expected batch_size and reuse of at least 1 and workers of at least "
                f"0, got {batch_size}, {reuse} and {workers}"
            )
        self.spec = spec
        self.batch_size = batch_size
        self.depth = max(1, capacity // batch_size)
        self.reuse = reuse
        self.seed = seed
        self.slots = slots or (0, batch_size)
        self._ring: _LocalRing | _WorkerRing
        if workers:
            width = self.slots[1] - self.slots[0]
            ahead = max(AHEAD_ROWS, -(-2 * workers * CHUNK // width))
            layout = _Layout(batch_size, *self.slots, rows=self.depth + ahead)
            self._ring = _WorkerRing(make_source, spec, layout, workers, start_step // reuse)
        else:
            self._ring = _LocalRing(make_source(), spec)

    def batch(self, step: int, start: int, stop: int) -> Views:
        """Return the views of slots ``start`` to ``stop``; waits until they are made."""
        if not self.slots[0] <= start < stop <= self.slots[1]:
            raise ValueError(f"slots: expected a range within {self.slots}, got {(start, stop)}")
        lowest = step // self.reuse
        rng = np.random.default_rng((self.seed, step))
        rows = lowest + rng.integers(self.depth, size=self.batch_size)[start:stop]
        indices = rows * self.batch_size + np.arange(start, stop)
        return self._ring.take(indices, lowest * self.batch_size)

    def close(self) -> None:
        """End the workers and free the shared memory."""
        self._ring.close()


class _LocalRing:
    """Makes views when they are asked for, and keeps those that may be asked for again."""

    def __init__(self, source: SampleSource, spec: ViewSpec) -> None:
        self._source = source
        self._spec = spec
        self._views: dict[int, Views] = {}

    def take(self, indices: NDArray[np.int64], oldest: int) -> Views:
        for index in [known for known in self._views if known < oldest]:
            del self._views[index]
        for index in indices.tolist():
            if index not in self._views:
                self._views[index] = make_view(self._source, index, self._spec)
        return stack_views([self._views[index] for index in indices.tolist()])

    def close(self) -> None:
        self._views.clear()


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which sample lies where in the shared ring, for one machine's slots of the batch."""

    batch_size: int
    start: int
    stop: int
    rows: int

    @property
    def width(self) -> int:
        return self.stop - self.start

    def sample_of(self, order: int) -> int:
        """Return the sample that is made as number ``order``."""
        row, slot = divmod(order, self.width)
        return row * self.batch_size + self.start + slot

    def chunk_end(self, order: int) -> int:
        """Return where the chunk ends that begins as number ``order``: at a multiple of CHUNK."""
        to_boundary = CHUNK - self.sample_of(order) % CHUNK
        to_row_end = self.width - order % self.width
        return order + (
            to_boundary if self.width == self.batch_size else min(to_boundary, to_row_end)
        )

    def place_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where samples lie in the ring."""
        rows, slots = np.divmod(indices, self.batch_size)
        return rows % self.rows * self.width + slots - self.start


@dataclass(frozen=True, slots=True)
class _Shared:
    """What this process and the workers share; sent to each worker when it starts."""

    layout: _Layout
    spec: ViewSpec
    buffers: dict[str, Any]
    """Raw memory of each array of the views."""
    made: Any
    """int64 per place: the sample that lies there whole, plus 1."""
    next_order: Any
    lowest_row: Any
    failures: Any
    parent: int

    def views(self) -> Views:
        """Return the ring as arrays over the shared memory."""
        places = self.layout.rows * self.layout.width
        return Views(
            **{
                name: np.frombuffer(self.buffers[name], dtype).reshape(places, *shape)
                for name, (shape, dtype) in self.spec.fields().items()
            }
        )


class _WorkerRing:
    """Views made by worker processes in shared memory."""

    def __init__(
        self,
        make_source: SourceMaker,
        spec: ViewSpec,
        layout: _Layout,
        workers: int,
        first_row: int,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        places = layout.rows * layout.width
        self._shared = _Shared(
            layout=layout,
            spec=spec,
            buffers={
                name: context.RawArray(
                    "B", places * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
                )
                for name, (shape, dtype) in spec.fields().items()
            },
            made=context.RawArray("q", places),
            next_order=context.Value("q", first_row * layout.width),
            lowest_row=context.Value("q", first_row),
            failures=context.SimpleQueue(),
            parent=os.getpid(),
        )
        self._made = np.frombuffer(self._shared.made, np.int64)
        self._ring = self._shared.views()
        self._processes = [
            context.Process(target=_work, args=(make_source, self._shared), daemon=True)
            for _ in range(workers)
        ]
        with _one_thread_each():
            for process in self._processes:
                process.start()

    def take(self, indices: NDArray[np.int64], oldest: int) -> Views:
        lowest_row = oldest // self._shared.layout.batch_size
        if lowest_row < self._shared.lowest_row.value:
            raise ValueError("view pool: expected steps in order; an earlier one was asked for")
        self._shared.lowest_row.value = lowest_row
        places = self._shared.layout.place_of(indices)
        while not np.array_equal(self._made[places], indices + 1):
            self._check_workers()
            time.sleep(POLL_S)
        return select_views(self._ring, places)

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def _check_workers(self) -> None:
        if not self._shared.failures.empty():
            raise RuntimeError(f"a view worker failed:\n{self._shared.failures.get()}")
        for process in self._processes:
            if process.exitcode is not None:
                raise RuntimeError(
                    f"a view worker ended with exit code {process.exitcode}; if it was killed, "
                    "the machine may be short of memory: use fewer workers or a smaller capacity"
                )


def _work(make_source: SourceMaker, shared: _Shared) -> None:
    """Make views, chunk by chunk, until the parent ends this process or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    try:
        source, ring, layout = make_source(), shared.views(), shared.layout
        made = np.frombuffer(shared.made, np.int64)
        while True:
            with shared.next_order.get_lock():
                first = shared.next_order.value
                end = layout.chunk_end(first)
                shared.next_order.value = end
            for order in range(first, end):
                while order // layout.width >= shared.lowest_row.value + layout.rows:
                    if os.getppid() != shared.parent:
                        return
                    time.sleep(POLL_S)
                index = layout.sample_of(order)
                place = int(layout.place_of(np.array([index]))[0])
                view = make_view(source, index, shared.spec)
                made[place] = 0
                for name in ring._fields:
                    getattr(ring, name)[place] = getattr(view, name)
                made[place] = index + 1
    except Exception:  # whatever it is, the process that reads must hear of it
        shared.failures.put(traceback.format_exc())


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start here use one core each, in libraries that ask the environment."""
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
