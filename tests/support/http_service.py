"""The HTTP service on a real socket, in a thread of the test, and clients that may misbehave."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from threading import Event, Thread
from typing import Any, NamedTuple

from PIL import Image

from trg.estimator import HeadPoseEstimator
from trg.inference.detections import FixedBoxes
from trg.serve.limits import Limits
from trg.serve.schema import ServedModel
from trg.serve.server import listen, make_server
from trg.serve.service import Service

MODEL = "constant"
BOX = [100.0, 60.0, 220.0, 180.0]
BOUNDARY = "frontier"
PREDICT = "/v1/predict"


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> str:
        return self.json["error"]


class GatedNetwork:
    """A pose network that waits for permission, and counts what it is given."""

    def __init__(self, network):
        self._network = network
        self.topology, self.crop_size, self.card = (
            network.topology,
            network.crop_size,
            network.card,
        )
        self.is_open = Event()
        self.has_started = Event()
        self.refused_crops: int | None = None
        """From this number of crops on, calls fail."""
        self.crops = 0

    def __call__(self, crops, bbox_info):
        self.has_started.set()
        assert self.is_open.wait(20)
        self.crops += len(crops)
        if self.refused_crops is not None and len(crops) >= self.refused_crops:
            raise RuntimeError("refused")
        return self._network(crops, bbox_info)


class RunningService:
    """A service with one network; a context manager."""

    def __init__(self, network, origins=(), batch_size=4, **limits):
        estimator = HeadPoseEstimator(network, FixedBoxes([BOX]), min_confidence=0.0, refine=False)
        model = ServedModel(name=MODEL, sha256=None, licence="MIT", attribution=[])
        self.service = Service([{MODEL: estimator}], [model], Limits(**limits), batch_size, 2)
        self.server = make_server(self.service, origins)
        self._socket = listen("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self.thread = Thread(target=self.server.run, args=([self._socket],), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()

    def request(self, method, path, body=None, **headers) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path, **headers) -> Response:
        return self.request("GET", path, **headers)

    def post(self, body, query="", content_type="image/png", **headers) -> Response:
        path = PREDICT + (f"?{query}" if query else "")
        return self.request("POST", path, body, content_type=content_type, **headers)

    def post_form(self, *parts, query="", **headers) -> Response:
        """Send parts ``(name, content)`` and ``(name, file name, content)``."""
        return self.post(
            form(*parts), query, f"multipart/form-data; boundary={BOUNDARY}", **headers
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def exchange(self, data: bytes) -> bytes:
        """Send raw bytes, then read until the service closes the connection."""
        with self.connect() as client:
            client.sendall(data)
            return read_all(client)


def read_all(client: socket.socket) -> bytes:
    received = b""
    while True:
        try:
            part = client.recv(65536)
        except ConnectionResetError:
            part = b""
        if not part:
            return received
        received += part


def form(*parts) -> bytes:
    body = b""
    for name, *file_name, content in parts:
        disposition = f'form-data; name="{name}"'.encode()
        if file_name:
            quoted = file_name[0] if isinstance(file_name[0], bytes) else file_name[0].encode()
            disposition += b'; filename="%b"' % quoted
        data = content if isinstance(content, bytes) else content.encode()
        body += b"--%b\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (
            BOUNDARY.encode(),
            disposition,
            data,
        )
    return body + f"--{BOUNDARY}--\r\n".encode()


def head(length: int | None, content_type: str = "image/png", **headers: str) -> bytes:
    """Return the head of a request; ``length`` None: its body comes in chunks."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n{size}\r\n"
        f"{more}\r\n"
    ).encode()


def picture(width=320, height=240, kind="PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(stream, kind, **options)
    return stream.getvalue()


def wait_until(condition, seconds=20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
