"""A websocket server in a thread of its own: every client gets the newest message.

A slow client gets fewer messages; none waits for another. What clients send is read and dropped,
except commands (:class:`WebsocketServer`). Pages of other web sites are refused, because browsers
let any page connect to this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import json
import logging
import socket
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from trg._util.checks import checked_port

MAX_CLIENTS = 64
MAX_CONNECTIONS = 256
"""With those that have not said yet what they want; more are closed at once."""
MAX_INCOMING_BYTES = 4096
MAX_INCOMING_PER_S = 50
"""Messages of one client; one that sends more is disconnected."""
HANDSHAKE_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 0.5
WRITE_BUFFER_BYTES = 32 * 1024
"""Of a client, before it counts as slow; the system's own buffer is limited to the same."""

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Connection": "close",
}
"""A page can load nothing from elsewhere, and be shown in no other page."""


NEXT_COMMAND = "next"


class Page(NamedTuple):
    """A document that the server delivers over HTTP on the same port."""

    content_type: str
    content: bytes


class WebsocketServer:
    """Serves the newest message to every client.

    Parameters
    ----------
    host, port
        Where to listen. Port 0: a free one, see :attr:`port`.
    origins
        Origins of web pages that may connect, ``*`` for all, besides those of this machine.
        Programs other than browsers state none and may connect.
    pages
        Documents by path, ``/`` for the first.
    key
        What a client's address must end in, ``?key=KEY``. Of web pages, only those of this very
        server may then connect, and only where the browser knows the server by a number or as
        localhost: another site's name may resolve to this machine.
    paced
        Whether a client gets its next message only when it has sent the command ``next``. Messages
        then do not wait in the buffers of a slow network, where they would become seconds old.
    on_command
        Takes the text of the field ``command`` of a JSON object that a client sends; called from
        the server's thread. Other messages are dropped.

    Raises
    ------
    OSError
        The address cannot be listened on.
    ValueError
        There is no such port.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        origins: frozenset[str] = frozenset(),
        pages: Mapping[str, Page] | None = None,
        key: str | None = None,
        paced: bool = False,
        on_command: Callable[[str], None] | None = None,
    ) -> None:
        self._origins = origins
        self._pages = dict(pages or {})
        self._key = key
        self._paced = paced
        self._on_command = on_command
        self._listening = _listen(host, port)
        self.port: int = self._listening.getsockname()[1]
        self._clients: dict[ServerConnection, _Client] = {}
        self._message: str | bytes | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = Thread(target=self._run, name="trg-live-websocket", daemon=True)
        self._thread.start()

    @property
    def client_count(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    @property
    def is_awaited(self) -> bool:
        """Whether any client would get a message now."""
        return any(client.ready.is_set() for client in list(self._clients.values()))

    def send(self, message: str | bytes) -> None:
        """Offer a message to all clients, in place of those that wait."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._publish, message)

    def close(self) -> None:
        """Close all connections and the server."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=3.0)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()
            self._listening.close()

    async def _serve(self) -> None:
        silent = logging.getLogger("trg.live.websocket")
        silent.addHandler(logging.NullHandler())
        silent.propagate = False  # clients that speak no websocket are not the user's errors
        async with serve(
            self._serve_client,
            create_connection=partial(_CountedConnection, set()),  # type: ignore[arg-type]  # any callable
            sock=self._listening,
            process_request=self._answer_request,
            compression=None,
            open_timeout=HANDSHAKE_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=MAX_INCOMING_BYTES,
            max_queue=4,
            write_limit=WRITE_BUFFER_BYTES,
            logger=silent,
        ):
            await self._stop.wait()

    def _publish(self, message: str | bytes) -> None:
        self._message = message
        for client in self._clients.values():
            client.news.set()

    async def _serve_client(self, client: ServerConnection) -> None:
        """Read until the client leaves, while a task of its own writes."""
        self._clients[client] = state = _Client(asyncio.Event(), asyncio.Event())
        state.ready.set()
        writer = asyncio.ensure_future(self._write(client, state))
        try:
            recent: deque[float] = deque(maxlen=MAX_INCOMING_PER_S)
            async for message in client:
                now_s = self._loop.time()
                if len(recent) == recent.maxlen and now_s - recent[0] < 1.0:
                    await client.close(CloseCode.POLICY_VIOLATION, "too many messages")
                    return
                recent.append(now_s)
                command = _command(message)
                if command == NEXT_COMMAND:
                    state.ready.set()
                elif command is not None and self._on_command is not None:
                    self._on_command(command)
        except ConnectionClosed:
            pass
        finally:
            writer.cancel()
            del self._clients[client]

    async def _write(self, client: ServerConnection, state: _Client) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await state.ready.wait()
                await state.news.wait()
                state.news.clear()
                if self._paced:
                    state.ready.clear()
                if self._message is not None:
                    await client.send(self._message)

    def _answer_request(self, client: ServerConnection, request: Request) -> Response | None:
        """Deliver a page, refuse a request, or return None to let a websocket open."""
        if not self._may_connect(request.headers):
            return client.respond(HTTPStatus.FORBIDDEN, "pages of other sites may not connect\n")
        address = urlsplit(request.path)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            page = self._pages.get(address.path)
            if page is None:
                return client.respond(HTTPStatus.UPGRADE_REQUIRED, "this is a websocket\n")
            headers = Headers(
                {"Content-Type": page.content_type, "Content-Length": str(len(page.content))}
            )
            headers.update(PAGE_HEADERS)
            return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, page.content)
        if self._key is not None:
            key = parse_qs(address.query).get("key", [""])[-1]
            if not hmac.compare_digest(key.encode(), self._key.encode()):
                return client.respond(HTTPStatus.FORBIDDEN, "the key in the address is wrong\n")
        if len(self._clients) >= MAX_CLIENTS:
            return client.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n")
        return None

    def _may_connect(self, headers: Headers) -> bool:
        """Return whether a browser's page, by its origin, may read the poses."""
        origin = headers.get("Origin")
        own_host = urlsplit(f"//{headers.get('Host', '')}").hostname or ""
        if self._key is not None:
            is_own = origin in (None, f"http://{headers.get('Host')}")
            return is_own and (own_host == "localhost" or _number(own_host) is not None)
        if origin is None or origin in self._origins or "*" in self._origins:
            return True
        page_host = urlsplit(origin).hostname or ""
        if page_host == "localhost":
            return True
        address = _number(page_host)  # another site's name may resolve to this machine
        return address is not None and (address.is_loopback or page_host == own_host)


class _Client(NamedTuple):
    """What a client's writer waits for."""

    news: asyncio.Event
    """A newer message has come."""
    ready: asyncio.Event
    """The client wants one."""


class _CountedConnection(ServerConnection):
    """Counts itself among the open ones, and closes itself if there are too many."""

    def __init__(self, open_connections: set[ServerConnection], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._open_connections = open_connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open_connections.add(self)
        if len(self._open_connections) > MAX_CONNECTIONS:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_connections.discard(self)
        super().connection_lost(exc)


def _command(message: str | bytes) -> str | None:
    with contextlib.suppress(ValueError):
        found = json.loads(message)
        if isinstance(found, dict) and isinstance(found.get("command"), str):
            return str(found["command"])
    return None


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host states as a number; None if it is a name."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host)
    return None


def _listen(host: str, port: int) -> socket.socket:
    checked_port(f"ws://{host}", port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"ws://{host}:{port}: cannot listen there ({error.strerror or error}); choose "
            "another port, or end the program that has it"
        ) from None
    # Inherited by the connections: what a slow client has not read yet becomes old.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WRITE_BUFFER_BYTES)
    return listening
