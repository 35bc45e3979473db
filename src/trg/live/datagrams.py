"""Datagrams to a receiver that may be absent."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from trg.live.receiver_state import ReceiverState
from trg.live.sender import SenderOptions, TargetUrl


class DatagramSocket:
    """Sends datagrams to one address without ever waiting.

    The socket is connected, so that the system reports a host or port that nobody listens at
    (ICMP). Such errors are shown once (:class:`ReceiverState`) and otherwise ignored.

    Raises OSError if the host's name is unknown.
    """

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        self._state = ReceiverState(url.name, options)
        try:
            found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM)
        except socket.gaierror as error:
            raise OSError(
                f"{url.text}: the host {url.host} is unknown ({error.strerror})"
            ) from None
        self._family: int = found[0][0]
        self._address: Any = found[0][4]
        self._socket: socket.socket | None = None
        self._is_closed = False

    def send(self, datagram: bytes) -> None:
        """Send a datagram if that is possible at once."""
        if self._is_closed:
            return
        try:
            if self._socket is None:
                self._socket = self._connect()
            # The first call may only report that an earlier datagram was refused.
            with suppress(ConnectionRefusedError):
                self._socket.send(datagram)
                self._state.succeeded()
                return
            self._state.failed("Connection refused")
            self._socket.send(datagram)
        except BlockingIOError:  # the network is slower than the frames
            pass
        except OSError as error:
            self._state.failed(error.strerror or str(error))
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def close(self) -> None:
        """Close the socket."""
        self._is_closed = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        connected = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            connected.connect(self._address)
        except BaseException:
            connected.close()
            raise
        return connected
