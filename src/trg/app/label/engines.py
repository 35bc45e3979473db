"""Engines: where shards are labelled. All call :func:`~trg.app.label.shards.label_shard`.

Ray runs it in plain tasks, not in Ray Data's actors: a shard reads its own input and writes its own
output, so that nothing has to pass through Ray's object store. The weights stay loaded in each
process as in an actor.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple, Protocol

from trg._util.worker_pool import Ask, Work, WorkerDied, WorkerPool
from trg.app.label.shards import Labelling, label_shard
from trg.app.label.sources import Shard

Engine = Literal["local", "ray"]

MAX_TRIES = 10
"""Of a shard whose process ends; from the second on its pictures are processed apart."""

RAY_POLL_S = 0.5
RAY_TASKS_PER_CORE = 2
"""Tasks that wait in Ray, so that no core is idle."""


class LabelObserver(Protocol):
    """Receives the progress of a run; the command line shows it."""

    def on_pictures(self, count: int) -> None:
        """Handle further pictures that are done; not all engines tell."""

    def on_shard(self, shard: Shard) -> None:
        """Handle a shard that is done."""

    def on_death(self, shard: Shard, reason: str) -> None:
        """Handle the end of a process; the shard is tried again."""

    def raise_if_stopped(self) -> None:
        """Raise KeyboardInterrupt if the user wants to stop; called several times a second."""


class _Try(NamedTuple):
    shard: Shard
    number: int = 1

    @property
    def isolated(self) -> bool:
        return self.number > 1

    def next(self, reason: str) -> _Try:
        """Return the next try; raises OSError after the last."""
        if self.number == MAX_TRIES:
            raise OSError(
                f"{self.shard.name}: {reason}, {MAX_TRIES} times; start again with fewer workers"
            )
        return self._replace(number=self.number + 1)


def label_local(
    labelling: Labelling, shards: Iterable[Shard], workers: int, observer: LabelObserver
) -> None:
    """Label shards in processes of this machine; with one worker in this process.

    Raises OSError if results cannot be written, and KeyboardInterrupt if the user wants to stop.
    """
    if workers == 1:
        labelling.start()
        for shard in shards:
            label_shard(labelling, shard, tell=partial(_tell_here, observer))
            observer.on_shard(shard)
        return
    waiting = deque(map(_Try, shards))
    with WorkerPool(partial(_start_local, labelling), workers) as pool:
        for attempt, result in pool.run(
            lambda: waiting.popleft() if waiting else None,
            lambda attempt, count: observer.on_pictures(count),
            observer.raise_if_stopped,
        ):
            if isinstance(result, WorkerDied):
                observer.on_death(attempt.shard, str(result))
                waiting.appendleft(attempt.next(str(result)))
            else:
                observer.on_shard(attempt.shard)


def _tell_here(observer: LabelObserver, count: int) -> None:
    observer.on_pictures(count)
    observer.raise_if_stopped()


def _start_local(labelling: Labelling) -> Work[_Try]:
    return partial(_label_local, labelling.start())


def _label_local(labelling: Labelling, attempt: _Try, ask: Ask) -> None:
    label_shard(labelling, attempt.shard, attempt.isolated, ask)


def label_ray(labelling: Labelling, shards: Iterable[Shard], observer: LabelObserver) -> None:
    """Label shards on the Ray cluster of ``RAY_ADDRESS``, or of this machine, or in a new one.

    A shard whose process or machine ends is tried again elsewhere.

    Raises
    ------
    ImportError
        The package ray is missing, of the extra ``ray``.
    OSError
        Results cannot be written.
    KeyboardInterrupt
        The user wants to stop.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that starts here
    import ray

    ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
    try:
        task = ray.remote(num_cpus=1, max_retries=0)(_label_ray)
        content = ray.put(pickle.dumps(labelling))
        waiting = deque(map(_Try, shards))
        running: dict[Any, _Try] = {}
        while waiting or running:
            observer.raise_if_stopped()
            most = RAY_TASKS_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))
            while waiting and len(running) < most:
                attempt = waiting.popleft()
                running[task.remote(content, attempt)] = attempt
            for ended in ray.wait(list(running), timeout=RAY_POLL_S)[0]:
                attempt = running.pop(ended)
                try:
                    ray.get(ended)
                except ray.exceptions.RayTaskError as error:  # the function's own
                    raise error.cause from error
                except ray.exceptions.RayError as error:  # a process or machine has ended
                    observer.on_death(attempt.shard, type(error).__name__)
                    waiting.appendleft(attempt.next(str(error)))
                else:
                    observer.on_shard(attempt.shard)
    finally:
        ray.shutdown()


def _label_ray(content: bytes, attempt: _Try) -> None:
    label_shard(_loaded(content), attempt.shard, attempt.isolated)


@lru_cache(maxsize=1)
def _loaded(content: bytes) -> Labelling:
    """Keep the weights loaded for the next shards of the same run."""
    labelling: Labelling = pickle.loads(content)
    return labelling.start()
