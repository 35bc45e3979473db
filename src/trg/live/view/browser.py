"""A page that shows the camera's picture, the faces, the numbers and a 3D head.

The page is served by the websocket server that delivers the frames. Those who know its address with
the key in it may watch; the address is shown to the user alone. Pictures are encoded only while
somebody watches, and a page gets the next one when it has drawn the last.

A frame is one binary message, little-endian::

    uint32    bytes of the JSON
    JSON      see _header; padded with spaces to a multiple of 4 bytes, with the uint32
    float32   (n, 3) of the followed person: the mesh in the reference frame's axes, metres,
              from the head's origin
    float32   (n, 2) of each person in sight: the mesh in the image, px
    JPEG      the picture
"""

from __future__ import annotations

import io
import json
import secrets
import struct
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image

from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import transform
from trg.io.overlay import AXIS_DIRECTIONS, AXIS_LENGTH_M
from trg.live.frame import LiveFace, LiveFrame
from trg.live.statistics import Status
from trg.live.websocket_server import Page, WebsocketServer
from trg.live.worker import NewestWorker

INTERVAL_S = 0.06
"""Least time between pictures: every second one of most webcams."""
MAX_SIDE_PX = 960
"""Of the pictures that are sent."""
JPEG_QUALITY = 75

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Hosts that stand for all addresses of this computer, and one of those."""

NEUTRAL_COMMAND = "neutral"

_CONTENT_TYPES = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}


class BrowserView:
    """Serves the page.

    Parameters
    ----------
    host, port
        Where to listen; port 0: a free one.
    topology
        Of the faces that will be shown.
    notify
        Takes a message with the address.
    on_neutral
        Called when the page's button is pressed, from the server's thread.

    Raises OSError if the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        topology: FaceTopology,
        notify: Callable[[str], None],
        on_neutral: Callable[[], None],
    ) -> None:
        key = secrets.token_urlsafe(12)
        self._on_neutral = on_neutral
        self._status: Status | None = None
        folder = resources.files("trg.live.view")
        pages = {
            f"/{name}": Page(kind, (folder / name).read_bytes())
            for name, kind in _CONTENT_TYPES.items()
        }
        pages["/"] = pages.pop("/page.html")
        triangles = topology.triangles.astype("<u2").tobytes()
        pages["/triangles"] = Page("application/octet-stream", triangles)
        self._server = WebsocketServer(
            host, port, pages=pages, key=key, paced=True, on_command=self._obey
        )
        is_open = host in ANY_ADDRESS
        shown = ANY_ADDRESS.get(host, host)
        shown = f"[{shown}]" if ":" in shown else shown
        self.url = f"http://{shown}:{self._server.port}/?key={key}"
        """The address of the page."""
        notify(f"view: {self.url}")
        if is_open:
            notify(f"view: on other devices, this computer's address in place of {shown}")
        self._worker = NewestWorker("trg-live-view", self._show, INTERVAL_S)

    def send(self, frame: LiveFrame) -> None:
        """Offer a frame to those who watch; without any, this costs nothing."""
        if self._server.is_awaited:
            self._worker.put(frame)

    def show_status(self, status: Status) -> None:
        """Show the state of the session with the next frame."""
        self._status = status

    def close(self) -> None:
        """Close the server."""
        self._worker.close()
        self._server.close()

    def _obey(self, command: str) -> None:
        if command == NEUTRAL_COMMAND:
            self._on_neutral()

    def _show(self, frame: LiveFrame) -> None:
        self._server.send(view_message(frame, self._status))


def view_message(frame: LiveFrame, status: Status | None) -> bytes:
    """Return the message of a frame: see the module."""
    main = frame.main
    shown = [face for face in frame.faces if face.is_seen]
    header = json.dumps(_header(frame, shown, status), separators=(",", ":"), allow_nan=False)
    encoded = header.encode()
    encoded += b" " * (-len(encoded) % 4)
    meshes = [main.face.landmarks_m @ main.rotation.T] if main is not None else []
    meshes += [each.face.landmarks_px for each in shown]
    arrays = [np.nan_to_num(each).astype("<f4").tobytes() for each in meshes]
    return b"".join([struct.pack("<I", len(encoded)), encoded, *arrays, _jpeg(frame)])


def _header(frame: LiveFrame, shown: list[LiveFace], status: Status | None) -> dict[str, Any]:
    height, width = frame.pixels.shape[:2]
    main = frame.main
    header: dict[str, Any] = {
        "source": frame.source,
        "frame": frame.index,
        "size_px": [width, height],
        "vertices": 0 if main is None else len(main.face.landmarks_m),
        "main": None if main is None else _numbers(main),
        "shown": [
            {"id": each.face.id, "axes_px": _axes_px(each), "box_px": _rounded(each.face.box_xyxy)}
            for each in shown
        ],
    }
    if status is not None:
        header["status"] = {
            "fps": round(status.fps, 1),
            "latency_ms": [round(each, 1) for each in status.latency_ms],
            "frames": status.frames,
            "dropped": status.dropped,
            "people": status.people,
        }
    return header


def _numbers(live: LiveFace) -> dict[str, Any]:
    return {
        "is_seen": live.is_seen,
        "euler_deg": _rounded(live.euler_deg()),
        "translation_m": _rounded(live.translation_m, 4),
        "distance_m": round(live.face.distance_m, 4),
        "confidence": round(live.face.confidence, 3),
        "axes": _rounded(AXIS_DIRECTIONS @ live.rotation.T, 4),
    }


def _axes_px(live: LiveFace) -> list[list[float]] | None:
    """Return the head's origin and the tips of its axes in the image, if all can be seen."""
    face = live.face
    points_m = np.concatenate([np.zeros((1, 3)), AXIS_LENGTH_M * AXIS_DIRECTIONS])
    points_px = face.camera.project(transform(points_m, face.rotation, face.translation_m))
    return _rounded(points_px) if np.isfinite(points_px).all() else None


def _rounded(values: Any, decimals: int = 2) -> Any:
    return np.round(np.asarray(values, np.float64), decimals).tolist()


def _jpeg(frame: LiveFrame) -> bytes:
    picture = Image.fromarray(frame.pixels)
    picture = picture.reduce(max(1, -(-max(picture.size) // MAX_SIDE_PX)))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
