"""The websocket server: slow, malformed, flooding and foreign clients, pages, commands."""

from __future__ import annotations

import http.client
import queue
import socket
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.live_frames import TIMEOUT_S
from trg.live import websocket_server
from trg.live.websocket_server import Page, WebsocketServer


@pytest.fixture
def server(monkeypatch) -> Iterator[WebsocketServer]:
    monkeypatch.setattr(websocket_server, "HANDSHAKE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(websocket_server, "CLOSE_TIMEOUT_S", 0.1)
    running = WebsocketServer("127.0.0.1", 0)
    yield running
    running.close()


def url_of(server: WebsocketServer) -> str:
    return f"ws://127.0.0.1:{server.port}"


def client_of(server: WebsocketServer, **options):
    timeouts = {"open_timeout": TIMEOUT_S, "close_timeout": 0.1}
    return connect(url_of(server), proxy=None, **timeouts, **options)


def test_a_slow_client_gets_the_newest_message_and_delays_nobody(server):
    """A client that does not read: what it has not read is bounded, and others go on."""
    big = "x" * 50_000
    with (
        client_of(server, max_queue=1, max_size=None) as slow,
        client_of(server, max_size=None) as fast,
    ):
        for number in range(200):
            server.send(f"{number} {big}")
            number_text = fast.recv(timeout=TIMEOUT_S).partition(" ")[0]
            assert number_text == str(number)
        seen = []
        while not seen or seen[-1] != 199:
            seen.append(int(slow.recv(timeout=TIMEOUT_S).partition(" ")[0]))
    assert len(seen) < 200  # 10 MB do not wait for it
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    "malformed",
    [
        b"\x00" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
        b"hello\r\n\r\n",
        b"",
    ],
)
def test_malformed_clients_end_and_others_go_on(server, malformed, capfd):
    with (
        socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as broken,
        client_of(server) as client,
    ):
        broken.sendall(malformed)
        if malformed:
            while broken.recv(4096):
                pass  # until the server closes the connection
        server.send("still here")
        assert client.recv(timeout=TIMEOUT_S) == "still here"
    captured = capfd.readouterr()
    assert captured.err == ""


def test_frames_that_break_the_protocol_close_only_their_own_connection(server):
    with client_of(server) as client, client_of(server) as breaker:
        breaker.socket.sendall(b"\xff\xff\xff\xff")  # reserved bits and an unknown kind
        with pytest.raises(Exception, match="1002"):
            breaker.recv(timeout=TIMEOUT_S)
        server.send("still here")
        assert client.recv(timeout=TIMEOUT_S) == "still here"


def test_a_client_that_floods_the_server_and_one_that_sends_too_much(server):
    with client_of(server) as client, client_of(server) as flooding, client_of(server) as large:
        large.send("y" * 100_000)
        with pytest.raises(Exception, match="1009"):
            large.recv(timeout=TIMEOUT_S)
        frame = b"\x81\x85\x00\x00\x00\x00hello"
        with pytest.raises(OSError):  # noqa: PT011 -- whichever way the system says it
            flooding.socket.sendall(frame * 10_000_000)
        server.send("still here")
        assert client.recv(timeout=TIMEOUT_S) == "still here"


def test_a_flood_of_clients_is_limited(server, monkeypatch):
    monkeypatch.setattr(websocket_server, "MAX_CLIENTS", 3)
    with ExitStack() as opened:
        clients = [opened.enter_context(client_of(server)) for _ in range(3)]
        with pytest.raises(InvalidStatus, match="503"), client_of(server):
            pass
        server.send("hello")
        assert [client.recv(timeout=TIMEOUT_S) for client in clients] == ["hello"] * 3


def test_a_flood_of_connections_that_say_nothing_is_limited(server, monkeypatch):
    monkeypatch.setattr(websocket_server, "MAX_CONNECTIONS", 3)
    with ExitStack() as opened:
        silent = [
            opened.enter_context(socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S))
            for _ in range(4)
        ]
        with suppress(ConnectionResetError):
            assert silent[-1].recv(16) == b""
    with client_of(server) as client:
        server.send("still here")
        assert client.recv(timeout=TIMEOUT_S) == "still here"


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        (None, True),
        ("http://localhost:5173", True),
        ("http://127.0.0.1:8000", True),
        ("https://example.org", False),
        ("http://127.0.0.1.example.org", False),
        ("null", False),
    ],
)
def test_pages_of_other_sites_may_not_connect(server, origin, is_allowed):
    refusal = nullcontext() if is_allowed else pytest.raises(InvalidStatus, match="403")
    with refusal, client_of(server, origin=origin):
        pass


def test_a_page_of_another_site_may_be_allowed():
    server = WebsocketServer("127.0.0.1", 0, origins=frozenset({"https://example.org"}))
    with client_of(server, origin="https://example.org"):
        pass
    server.close()


def test_pages_and_commands():
    commands: queue.Queue = queue.Queue()
    pages = {"/": Page("text/html; charset=utf-8", b"<p>hello")}
    server = WebsocketServer("127.0.0.1", 0, pages=pages, on_command=commands.put)
    request = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    request.request("GET", "/?a=b")
    with request.getresponse() as answer:
        content = answer.read()
    assert (answer.status, content) == (200, b"<p>hello")
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    request.close()
    with client_of(server) as client:
        for message in ("no json", "[1]", '{"command": 3}', '{"command": "neutral"}'):
            client.send(message)
        assert commands.get(timeout=TIMEOUT_S) == "neutral"
    server.close()
    assert commands.empty()


def test_a_paced_client_gets_a_message_when_it_asks_and_then_the_newest():
    server = WebsocketServer("127.0.0.1", 0, paced=True)
    with client_of(server) as client:
        while not server.is_awaited:  # until the server has taken the client in
            pass
        server.send("0")
        assert client.recv(timeout=TIMEOUT_S) == "0"
        assert not server.is_awaited
        for number in range(1, 6):
            server.send(f"{number}")
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.05)
        client.send('{"command": "next"}')
        assert client.recv(timeout=TIMEOUT_S) == "5"
    server.close()
