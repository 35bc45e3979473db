"""Whether a receiver is there, told to the user once when that changes."""

from __future__ import annotations

import time

from trg.live.sender import SenderOptions

RECOVERED_AFTER_S = 1.0
"""Time without an error after which a receiver counts as present again; a host that refuses
datagrams answers only now and then."""


class ReceiverState:
    """Tells the user once that a receiver is missing, and once that it is back."""

    def __init__(self, name: str, options: SenderOptions) -> None:
        self._name = name
        self._notify = options.notify
        self._failed_s: float | None = None

    def failed(self, reason: str) -> None:
        """Note a failure."""
        if self._failed_s is None:
            self._notify(f"{self._name}: no receiver ({reason}); trying on")
        self._failed_s = time.monotonic()

    def succeeded(self, settle_s: float = RECOVERED_AFTER_S) -> None:
        """Note a success; the receiver is back if nothing has failed for ``settle_s``."""
        if self._failed_s is not None and time.monotonic() - self._failed_s >= settle_s:
            self._failed_s = None
            self._notify(f"{self._name}: the receiver is there")
