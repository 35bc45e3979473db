"""Scripts, in any language: one JSON object per datagram."""

from __future__ import annotations

from trg.live.datagrams import DatagramSocket
from trg.live.frame import LiveFrame
from trg.live.json_lines import live_line
from trg.live.sender import SenderOptions, TargetUrl


def open_sender(url: TargetUrl, options: SenderOptions) -> JsonDatagramSender:
    """Open the sender of ``udp+json://HOST:PORT``."""
    url.refuse_unknown()
    return JsonDatagramSender(url, options)


class JsonDatagramSender:
    """Sends each frame as one datagram of JSON (:func:`trg.live.json_lines.live_record`)."""

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        self._axes = options.axes
        self._socket = DatagramSocket(url, options)

    def send(self, frame: LiveFrame) -> None:
        """Send a frame, also one without faces."""
        self._socket.send(live_line(frame, self._axes).encode())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
