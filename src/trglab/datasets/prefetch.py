"""A ring of views that worker processes fill ahead of the training.

Row q of the ring holds samples ``q * batch_size`` to ``(q + 1) * batch_size``, one per slot of the
batch. With ``reuse`` of 1, step s reads row s: every sample comes exactly once, in order.

Rendering a sample costs far more than training on it, so rendered views are used ``reuse`` times,
with fresh augmentation, before new ones replace them (data echoing, Choi et al. 2019)::

    row            low                low + depth         low + depth + ahead
    ---------------|------------------|-------------------|------------------
       overwritten    read by this step   being made ahead    not yet made

``low`` advances by one row every ``reuse`` steps, and slot j reads a random one of the ``depth``
rows. What a step reads is a function of (seed, step) alone: the number of workers changes the speed
and nothing else, and a step waits until its rows are made.
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

from trglab.datasets.sample import InfiniteDataset
from trglab.datasets.store_writer import CHUNK
from trglab.datasets.view import Views, ViewSpec, make_view, select_views, stack_views

AHEAD_ROWS = 4
"""Rows that workers may fill ahead of those being read; more if that many workers hold more."""

POLL_S = 0.002

OpenDataset = Callable[[], InfiniteDataset]
"""Opens the dataset, once in each worker: a module's function or ``functools.partial`` of one."""


class PrefetchRing:
    """A batch source that makes its views while it is read.

    Parameters
    ----------
    open_dataset
        Opens the dataset; picklable if there are workers.
    spec
        How views are cut.
    batch_size
        Slots of the global batch that this ring serves.
    buffer_size
        Views that a step chooses from if ``reuse`` is above 1, rounded down to whole batches, at
        least one.
    reuse
        1: each view is used exactly once, in order. Above: mean number of times that each is used.
    workers
        Processes. 0: views are made in this one, on demand.
    seed
        Of the choice among the views; the dataset has its own.
    slots
        The range of slots that will be asked for: this process's share of the batch.
    start_step
        The first step that will be asked for.

    Raises
    ------
    RuntimeError
        From :meth:`batch`: a worker failed; carries its traceback.
    """

    def __init__(
        self,
        open_dataset: OpenDataset,
        spec: ViewSpec,
        *,
        batch_size: int,
        buffer_size: int,
        reuse: int = 1,
        workers: int = 0,
        seed: int = 0,
        slots: tuple[int, int] | None = None,
        start_step: int = 0,
    ) -> None:
        if batch_size < 1 or reuse < 1 or workers < 0:
            raise ValueError(
                "prefetch ring: expected batch_size and reuse of at least 1 and workers of at "
                f"least 0, got {batch_size}, {reuse} and {workers}"
            )
        self.spec = spec
        self.batch_size = batch_size
        # A random row of several would repeat some views and skip others.
        self.depth = max(1, buffer_size // batch_size) if reuse > 1 else 1
        self.reuse = reuse
        self.seed = seed
        self.slots = slots or (0, batch_size)
        self._ring: _LocalRing | _WorkerRing
        if workers:
            width = self.slots[1] - self.slots[0]
            ahead = max(AHEAD_ROWS, -(-2 * workers * CHUNK // width))
            layout = _Layout(batch_size, *self.slots, rows=self.depth + ahead)
            self._ring = _WorkerRing(open_dataset, spec, layout, workers, start_step // reuse)
        else:
            self._ring = _LocalRing(open_dataset(), spec)

    def batch(self, step: int, start: int, stop: int) -> Views:
        """Return the views of slots ``start`` to ``stop``, waiting until they are made."""
        if not self.slots[0] <= start < stop <= self.slots[1]:
            raise ValueError(f"slots: expected a range within {self.slots}, got {(start, stop)}")
        low = step // self.reuse
        rng = np.random.default_rng((self.seed, step))
        rows = low + rng.integers(self.depth, size=self.batch_size)[start:stop]
        indices = rows * self.batch_size + np.arange(start, stop)
        return self._ring.take(indices, low * self.batch_size)

    def close(self) -> None:
        """Stop the workers and free the shared memory."""
        self._ring.close()


class _LocalRing:
    """Makes views on demand, and keeps those that may be asked for again."""

    def __init__(self, dataset: InfiniteDataset, spec: ViewSpec) -> None:
        self._dataset = dataset
        self._spec = spec
        self._views: dict[int, Views] = {}

    def take(self, indices: NDArray[np.int64], oldest: int) -> Views:
        for index in [known for known in self._views if known < oldest]:
            del self._views[index]
        for index in indices.tolist():
            if index not in self._views:
                self._views[index] = make_view(self._dataset, index, self._spec)
        return stack_views([self._views[index] for index in indices.tolist()])

    def close(self) -> None:
        self._views.clear()


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where samples lie in the shared ring, for one process's slots of the batch."""

    batch_size: int
    start: int
    stop: int
    rows: int

    @property
    def width(self) -> int:
        return self.stop - self.start

    def sample_of(self, order: int) -> int:
        """Return the sample that is made as the ``order``-th."""
        row, slot = divmod(order, self.width)
        return row * self.batch_size + self.start + slot

    def chunk_end(self, order: int) -> int:
        """Return the end of the chunk that begins at ``order``: before a multiple of CHUNK."""
        to_boundary = CHUNK - self.sample_of(order) % CHUNK
        to_row_end = self.width - order % self.width
        return order + (
            to_boundary if self.width == self.batch_size else min(to_boundary, to_row_end)
        )

    def position_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of samples in the ring."""
        rows, slots = np.divmod(indices, self.batch_size)
        return rows % self.rows * self.width + slots - self.start


@dataclass(frozen=True, slots=True)
class _Shared:
    """State shared with the workers; sent to each when it starts."""

    layout: _Layout
    spec: ViewSpec
    buffers: dict[str, Any]
    """Memory of each array of the views."""
    made: Any
    """int64 per position: number of the sample that is complete there, plus 1."""
    next_order: Any
    low_row: Any
    failures: Any
    parent: int

    def views(self) -> Views:
        """Return the ring as arrays over the shared memory."""
        count = self.layout.rows * self.layout.width
        return Views(
            **{
                name: np.frombuffer(self.buffers[name], dtype).reshape(count, *shape)
                for name, (shape, dtype) in self.spec.fields().items()
            }
        )


class _WorkerRing:
    """Views made by worker processes in shared memory."""

    def __init__(
        self,
        open_dataset: OpenDataset,
        spec: ViewSpec,
        layout: _Layout,
        workers: int,
        first_row: int,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        count = layout.rows * layout.width
        self._shared = _Shared(
            layout=layout,
            spec=spec,
            buffers={
                name: context.RawArray(
                    "B", count * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
                )
                for name, (shape, dtype) in spec.fields().items()
            },
            made=context.RawArray("q", count),
            next_order=context.Value("q", first_row * layout.width),
            low_row=context.Value("q", first_row),
            failures=context.SimpleQueue(),
            parent=os.getpid(),
        )
        self._made = np.frombuffer(self._shared.made, np.int64)
        self._ring = self._shared.views()
        self._processes = [
            context.Process(target=_work, args=(open_dataset, self._shared), daemon=True)
            for _ in range(workers)
        ]
        with _one_thread_per_process():
            for process in self._processes:
                process.start()

    def take(self, indices: NDArray[np.int64], oldest: int) -> Views:
        low_row = oldest // self._shared.layout.batch_size
        if low_row < self._shared.low_row.value:
            raise ValueError("prefetch ring: expected steps in order; an earlier one was asked for")
        self._shared.low_row.value = low_row
        positions = self._shared.layout.position_of(indices)
        while not np.array_equal(self._made[positions], indices + 1):
            self._check_workers()
            time.sleep(POLL_S)
        return select_views(self._ring, positions)

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
                    "the machine may be short of memory: use fewer workers or a smaller buffer"
                )


def _work(open_dataset: OpenDataset, shared: _Shared) -> None:
    """Make views, chunk by chunk, until the parent stops this process or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles interrupts
    try:
        dataset, ring, layout = open_dataset(), shared.views(), shared.layout
        made = np.frombuffer(shared.made, np.int64)
        while True:
            with shared.next_order.get_lock():
                first = shared.next_order.value
                end = layout.chunk_end(first)
                shared.next_order.value = end
            for order in range(first, end):
                while order // layout.width >= shared.low_row.value + layout.rows:
                    if os.getppid() != shared.parent:
                        return
                    time.sleep(POLL_S)
                index = layout.sample_of(order)
                position = int(layout.position_of(np.array([index]))[0])
                view = make_view(dataset, index, shared.spec)
                made[position] = 0
                for name in ring._fields:
                    getattr(ring, name)[position] = getattr(view, name)
                made[position] = index + 1
    except Exception:  # report anything to the reading process
        shared.failures.put(traceback.format_exc())


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
