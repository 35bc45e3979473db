"""A slot for the newest item, between a thread that produces and one that consumes."""

from __future__ import annotations

from threading import Condition
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class ClosedError(Exception):
    """No item will come any more."""


class NewestSlot(Generic[_Item]):
    """Holds at most one item; a newer one replaces it, so that nothing queues."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: _Item | None = None
        self._error: BaseException | None = None
        self._is_closed = False
        self.replaced = 0
        """How many items nobody took."""

    def put(self, item: _Item) -> None:
        """Offer an item, in place of an older one that was not taken."""
        with self._changed:
            self.replaced += self._item is not None
            self._item = item
            self._changed.notify()

    def close(self, error: BaseException | None = None) -> None:
        """Say that no item follows, because of an error if one is given."""
        with self._changed:
            self._is_closed = True
            self._error = error
            self._changed.notify_all()

    def take(self, timeout_s: float | None = None) -> _Item | None:
        """Wait for an item and remove it; None if none came in time.

        Raises ClosedError, or the error of :meth:`close`, when the last item is taken.
        """
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._item is not None or self._is_closed, timeout_s
            ):
                return None
            if self._item is None:
                raise self._error or ClosedError
            item, self._item = self._item, None
            return item
