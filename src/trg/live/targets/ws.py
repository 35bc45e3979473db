"""Browsers and scripts that subscribe: a websocket server with one JSON object per message."""

from __future__ import annotations

from trg.live.frame import LiveFrame
from trg.live.json_lines import live_line
from trg.live.sender import SenderOptions, TargetUrl


def open_sender(url: TargetUrl, options: SenderOptions) -> WebsocketSender:
    """Open the server of ``ws://ADDRESS:PORT``, with ``?origin=`` for a page of another site."""
    url.refuse_unknown("origin")
    return WebsocketSender(url, options)


class WebsocketSender:
    """Serves each frame to all clients (:func:`trg.live.json_lines.live_record`)."""

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        from trg.live.websocket_server import WebsocketServer

        self._axes = options.axes
        origin = url.query.get("origin")
        origins = frozenset() if origin is None else frozenset({origin})
        self._server = WebsocketServer(url.host, url.port, origins=origins)
        if url.port == 0:
            options.notify(f"{url.name}: listening on port {self.port}")

    @property
    def port(self) -> int:
        """The port, also if the URL's was 0."""
        return self._server.port

    def send(self, frame: LiveFrame) -> None:
        """Offer a frame to all clients; without any, this costs nothing."""
        if self._server.client_count:
            self._server.send(live_line(frame, self._axes))

    def close(self) -> None:
        """Close the server."""
        self._server.close()
