"""Stages that run side by side: the items of an iterator, made in a thread ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")


@contextmanager
def read_ahead(items: Iterable[Item], count: int = 1) -> Iterator[Iterator[Item]]:
    """Iterate over ``items`` in a thread that stays at most ``count`` items ahead of their use.

    For items whose making releases Python's lock, as decoding, encoding and ONNX Runtime do.
    Stages of a pipeline, each in a thread of its own, are blocks one in the other::

        with (
            read_ahead(read(path)) as frames,
            read_ahead(estimate(frame) for frame in frames) as results,
        ):
            for result in results: ...

    The order stays the same, and an exception of ``items`` is raised where its item would have
    come. At the end of the block the thread finishes the item at hand and begins no other, so that
    what ``items`` reads from can be closed.
    """
    iterator = (item for item in items)  # unlike others, ends for good with its first exception
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read_ahead") as thread:

        def results() -> Iterator[Item]:
            pending: deque[Future[Any]] = deque()
            while True:
                while len(pending) <= count:
                    pending.append(thread.submit(next, iterator, end))
                item = pending.popleft().result()
                if item is end:
                    return
                yield item

        try:
            yield results()
        finally:
            thread.shutdown(cancel_futures=True)
