"""A window of views that worker processes fill ahead of the training.

Row q of the ring holds samples ``q * batch_size`` to ``(q + 1) * batch_size``, one per slot of the
batch. With ``reuse`` of 1, step s reads row s: every sample comes exactly once, in order.

Rendering a sample costs far more than training on it, so rendered views are used ``reuse`` times,
with fresh augmentation, before new ones replace them (data echoing, Choi et al. 2019)::

    row            low                low + depth
    ---------------|------------------|------------------
        dropped       read by this step   being made ahead

``low`` advances by one row every ``reuse`` steps, and slot j reads a random one of the ``depth``
rows. What a step reads is a function of (seed, step) alone: the number of workers changes the speed
and nothing else, and a step waits until its rows are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import count

import numpy as np

from trglab.datasets.sample import InfiniteDataset
from trglab.datasets.view import Views, ViewSpec, make_view, stack_views
from trglab.datasets.workers import MadeAhead

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
        self.batch_size = batch_size
        # A random row of several would repeat some views and skip others.
        self.depth = max(1, buffer_size // batch_size) if reuse > 1 else 1
        self.reuse = reuse
        self.seed = seed
        self.slots = slots or (0, batch_size)
        self._views: dict[int, Views] = {}
        """The views of the window by number of the sample"""
        self._end = start_step // reuse * batch_size
        """Workers have delivered the views of all own samples before this one"""
        open_maker = partial(_open_maker, open_dataset, spec)
        self._ahead = MadeAhead(open_maker, self._own_samples(), workers) if workers else None
        self._make = None if workers else open_maker()
        self._made = iter(self._ahead or ())

    def batch(self, step: int, start: int, stop: int) -> Views:
        """Return the views of slots ``start`` to ``stop``, waiting until they are made."""
        if not self.slots[0] <= start < stop <= self.slots[1]:
            raise ValueError(f"slots: expected a range within {self.slots}, got {(start, stop)}")
        low = step // self.reuse
        rng = np.random.default_rng((self.seed, step))
        rows = low + rng.integers(self.depth, size=self.batch_size)[start:stop]
        indices = (rows * self.batch_size + np.arange(start, stop)).tolist()
        for index in [known for known in self._views if known < low * self.batch_size]:
            del self._views[index]
        if self._make is not None:
            self._views |= {i: self._make(i) for i in indices if i not in self._views}
        else:
            self._receive(low * self.batch_size, max(indices))
        if not self._views.keys() >= set(indices):
            raise ValueError("prefetch ring: expected steps in order; an earlier one was asked for")
        return stack_views([self._views[index] for index in indices])

    def close(self) -> None:
        """Stop the workers."""
        self._views.clear()
        if self._ahead is not None:
            self._ahead.close()

    def _own_samples(self) -> Iterator[int]:
        """Yield the samples of this process's slots, row by row."""
        for row in count(self._end // self.batch_size):
            yield from range(
                row * self.batch_size + self.slots[0], row * self.batch_size + self.slots[1]
            )

    def _receive(self, first: int, last: int) -> None:
        """Wait for the workers' views up to sample ``last``; keep those from ``first``."""
        while self._end <= last:
            try:
                index, view = next(self._made)
            except BrokenProcessPool as error:
                raise RuntimeError(
                    "a view worker ended; if it was killed, the machine may be short of memory: "
                    "use fewer workers or a smaller buffer"
                ) from error
            except Exception as error:
                raise RuntimeError(f"a view worker failed:\n{error.__cause__ or error}") from error
            self._end = index + 1
            if index >= first:
                self._views[index] = view


def _open_maker(open_dataset: OpenDataset, spec: ViewSpec) -> Callable[[int], Views]:
    dataset = open_dataset()
    return lambda index: make_view(dataset, index, spec)
