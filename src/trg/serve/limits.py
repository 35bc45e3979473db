"""What requests may cost: the limits, and the two places that enforce them before any decoding."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

CLIENT_GONE = 499
"""Status of requests whose client left, in metrics; no client sees it."""

MAX_RETRY_AFTER_S = 60

SLOW_PICTURE_S = 0.5
"""Assumed until requests are measured: the queue starts short."""

SPEED_WEIGHT = 0.2
"""Of the last request in the average of their speed."""

MAX_CONNECTIONS = 4096
"""Open connections; more are closed at once."""

IDLE_CHECK_S = 10.0
"""A connection without a request, or with an unread answer, that did not move between two checks
is closed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the service. Raises ValueError if one is below 1, or they contradict each other."""

    queue: int = 64
    """Pictures that are accepted and not yet answered."""
    body_bytes: int = 32 * 2**20
    """Of one request."""
    memory_bytes: int = 512 * 2**20
    """Bodies of all requests together."""
    images: int = 16
    """Pictures in one request."""
    faces: int = 100
    """In one picture."""
    timeout_s: float = 30.0
    """For receiving a request, and again for answering it."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 1 <= value < float("inf"):
                raise ValueError(f"{each.name}: expected a finite number from 1, got {value}")
        if self.images > self.queue:
            raise ValueError(
                f"images: expected at most the queue's {self.queue} pictures, got {self.images}"
            )
        if self.body_bytes > self.memory_bytes:
            raise ValueError(
                f"body_bytes: expected at most the memory's {self.memory_bytes}, got "
                f"{self.body_bytes}"
            )


class Load:
    """What is being worked on, and how fast that goes; used by the event loop alone.

    Requests are refused with HTTPException 429 where the queue is full, or so slow that they would
    wait for half of the time limit.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.pictures = 0
        self.bytes = 0
        self._picture_s = SLOW_PICTURE_S
        """Of late, from admission to answer, over the pictures that were in the queue."""

    @property
    def retry_after_s(self) -> int:
        """When there is room again, in whole seconds."""
        return round(min(max(self.pictures * self._picture_s, 1.0), MAX_RETRY_AFTER_S))

    @contextmanager
    def admit(self, pictures: int) -> Iterator[None]:
        """Count pictures until they are answered; raises HTTPException 429 if there is no room."""
        self.refuse_if_full(pictures)
        self.pictures += pictures
        waiting, start_s = self.pictures, time.monotonic()
        try:
            yield
        except HTTPException as error:
            if error.status_code != CLIENT_GONE:
                self._note_speed((time.monotonic() - start_s) / waiting)
            raise
        else:
            self._note_speed((time.monotonic() - start_s) / waiting)
        finally:
            self.pictures -= pictures

    def refuse_if_full(self, pictures: int = 1) -> None:
        """Raise HTTPException 429 if there is no room for pictures."""
        waiting = self.pictures + pictures
        if waiting > self._limits.queue:
            raise self._busy(f"the queue of {self._limits.queue} pictures is full")
        if self.pictures and waiting * self._picture_s > self._limits.timeout_s / 2:
            raise self._busy(f"the {self.pictures} pictures in the queue take long")

    @contextmanager
    def memory(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts received bytes until the request ends; raises likewise."""
        held = 0

        def receive(size: int) -> None:
            nonlocal held
            if self.bytes + size > self._limits.memory_bytes:
                raise self._busy("the memory for requests is full")
            held += size
            self.bytes += size

        try:
            yield receive
        finally:
            self.bytes -= held

    def _note_speed(self, picture_s: float) -> None:
        self._picture_s += SPEED_WEIGHT * (picture_s - self._picture_s)

    def _busy(self, reason: str) -> HTTPException:
        retry_after_s = self.retry_after_s
        return HTTPException(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"{reason}; try again in {retry_after_s} s",
            {"Retry-After": str(retry_after_s)},
        )


async def read_body(request: Request, limits: Limits, receive: Callable[[int], None]) -> bytes:
    """Return the body of a request.

    Raises HTTPException if it is too large (413), compressed (415) or too slow (408), if the client
    leaves, or if ``receive``, which gets the size of each part, refuses it.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"content-encoding: expected none, got {encoding[:40]!r}",
        )
    too_large = HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"body: expected at most {limits.body_bytes:,} bytes",
    )
    if int(request.headers.get("content-length", 0)) > limits.body_bytes:
        raise too_large

    async def read() -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limits.body_bytes:
                raise too_large
            receive(len(part))
            parts.append(part)
        return b"".join(parts)

    try:
        return await asyncio.wait_for(read(), limits.timeout_s)
    except asyncio.TimeoutError:
        raise HTTPException(
            HTTPStatus.REQUEST_TIMEOUT, f"body: expected within {limits.timeout_s:g} s"
        ) from None
    except ClientDisconnect:
        raise HTTPException(CLIENT_GONE) from None


class WatchedConnection(H11Protocol):
    """Uvicorn's connection, which by itself waits for ever for a request's head or a slow reader.

    Refused bodies are read and dropped meanwhile, so that their senders get the answer.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to watch; close at once where there are too many connections."""
        super().connection_made(transport)
        self._seen: Any = None
        self._watch = self.loop.call_later(IDLE_CHECK_S, self._check)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to watch."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _check(self) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        state = (self.cycle, unread_bytes)
        is_working = self.cycle is not None and not self.cycle.response_complete
        if state == self._seen and (unread_bytes or not is_working):
            self.transport.abort()
            return
        self._seen = state
        self._watch = self.loop.call_later(IDLE_CHECK_S, self._check)
