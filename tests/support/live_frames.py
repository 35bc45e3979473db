"""Frames for tests of live senders, and receivers on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tests.support.faces import VGA, make_face
from trg.live.frame import LiveFace, LiveFrame

TIMEOUT_S = 10.0
"""Of sockets; a test that waits this long has failed."""

AHEAD = (0.0, 0.0, 0.6)
MOVEMENTS: dict[str, dict[str, Any]] = {
    "turns to their left": {"yaw_pitch_roll_deg": (-20.0, 0.0, 0.0)},
    "looks up": {"yaw_pitch_roll_deg": (0.0, -15.0, 0.0)},
    "tilts to their right": {"yaw_pitch_roll_deg": (0.0, 0.0, -10.0)},
    "moves to their left": {"translation_m": (0.05, 0.0, 0.6)},
    "moves up": {"translation_m": (0.0, -0.05, 0.6)},
    "comes nearer": {"translation_m": (0.0, 0.0, 0.5)},
}
"""Each changes one number of a head that looks straight into the camera from 0.6 m.

In OpenCV's axes of the camera, which the tests of :mod:`trg.face` tie to the image.
"""


def live_face(offset_from: Any = AHEAD, **changes: Any) -> LiveFace:
    """Return a face without mount or neutral pose; ``changes`` of :func:`make_face` or LiveFace."""
    own = {name: changes.pop(name) for name in ("expression", "is_seen") if name in changes}
    face = make_face(**{"yaw_pitch_roll_deg": (0.0, 0.0, 0.0), "translation_m": AHEAD, **changes})
    return LiveFace(face, face.matrix, face.translation_m - np.array(offset_from), **own)


def live_frame(*faces: LiveFace, index: int = 7) -> LiveFrame:
    """Return a frame of these faces."""
    return LiveFrame(
        source="webcam 0",
        index=index,
        time_s=1.5,
        captured_s=100.0,
        captured_unix_s=1.7e9,
        camera=VGA,
        pixels=np.zeros((480, 640, 3), np.uint8),
        faces=faces,
    )


def moved_frame(movement: str, **changes: Any) -> LiveFrame:
    """Return a frame of a head that does one of :data:`MOVEMENTS`."""
    return live_frame(live_face(**MOVEMENTS[movement], **changes))


@contextmanager
def udp_receiver(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """Yield a bound socket that raises TimeoutError rather than wait for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        receiver.bind((host, port))
        receiver.settimeout(TIMEOUT_S)
        yield receiver


def port_of(receiver: socket.socket) -> int:
    """Return the port of a bound socket."""
    return int(receiver.getsockname()[1])
