"""Datagrams to receivers that come and go."""

from __future__ import annotations

import errno
import os
import socket
import sys

import pytest

from tests.support.live_frames import TIMEOUT_S, port_of, udp_receiver
from trg.live import SenderOptions, datagrams, receiver_state
from trg.live.datagrams import DatagramSocket
from trg.live.sender import TargetUrl


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(receiver_state, "time", fake)
    return fake


def make(port: int, said: list[str], host: str = "127.0.0.1") -> DatagramSocket:
    url = TargetUrl.of(f"opentrack://{host}:{port}")
    return DatagramSocket(url, SenderOptions(notify=said.append))


def test_a_receiver_that_is_gone_and_comes_back_is_said_once_each(clock):
    """A port that nobody listens at answers by ICMP; what follows its return arrives at once."""
    said: list[str] = []
    with udp_receiver() as receiver:
        port = port_of(receiver)
        sender = make(port, said)
        sender.send(b"0")
        assert receiver.recv(16) == b"0"
    for _ in range(100):
        sender.send(b"lost")
        clock.now_s += 1 / 30
    with udp_receiver(port=port) as receiver:
        for index in range(100):
            sender.send(b"%d" % index)
            clock.now_s += 1 / 30
            assert receiver.recv(16) == b"%d" % index
    sender.close()
    name = f"opentrack://127.0.0.1:{port}"
    assert said == [
        f"{name}: no receiver (Connection refused); trying on",
        f"{name}: the receiver is there",
    ]


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN])
def test_a_network_that_is_unplugged_and_comes_back(clock, monkeypatch, code):
    said: list[str] = []
    is_unplugged = False

    class Cable(socket.socket):
        def send(self, data, flags=0):
            if is_unplugged:
                raise OSError(code, os.strerror(code))
            return super().send(data, flags)

        def connect(self, address):
            if is_unplugged:
                raise OSError(code, os.strerror(code))
            super().connect(address)

    monkeypatch.setattr(datagrams.socket, "socket", Cable)
    with udp_receiver() as receiver:
        sender = make(port_of(receiver), said)
        for is_unplugged in (True, False):  # noqa: B007 -- read by the cable
            for _ in range(60):
                sender.send(b"x")
                clock.now_s += 1 / 30
        assert receiver.recv(16) == b"x"
    sender.close()
    assert len(said) == 2
    assert os.strerror(code) in said[0]
    assert "is there" in said[1]


def test_a_full_buffer_drops_the_datagram_without_a_word(monkeypatch):
    said: list[str] = []

    class Full(socket.socket):
        def send(self, data, flags=0):
            raise BlockingIOError

    monkeypatch.setattr(datagrams.socket, "socket", Full)
    sender = make(4242, said)
    sender.send(b"x")
    sender.close()
    assert said == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs broadcasts on loopback")
def test_two_receivers_of_one_port_both_get_a_broadcast():
    broadcast = "127.255.255.255"
    with udp_receiver(broadcast) as first, udp_receiver(broadcast, port_of(first)) as second:
        sender = make(port_of(first), [], broadcast)
        sender.send(b"both")
        assert [each.recv(16) for each in (first, second)] == [b"both", b"both"]
        sender.close()


def test_of_two_receivers_of_one_port_the_other_goes_on():
    """Programs that share a port, as opentrack lets others do: one ends, the other gets all."""
    with udp_receiver() as first:
        port = port_of(first)
        sender = make(port, [])
        with udp_receiver(port=port) as second:
            sender.send(b"one of them")
            first.setblocking(False)
            second.setblocking(False)
            assert b"one of them" in [attempt(each) for each in (first, second)]
        first.settimeout(TIMEOUT_S)
        sender.send(b"the other")
        assert first.recv(16) == b"the other"
        sender.close()


def attempt(receiver: socket.socket) -> bytes | None:
    try:
        return receiver.recv(16)
    except BlockingIOError:
        return None


def test_a_host_that_does_not_exist_is_an_error():
    with pytest.raises(OSError, match=r"the host no\.such\.host\.invalid is unknown"):
        make(4242, [], "no.such.host.invalid")
