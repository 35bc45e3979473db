"""Unreal Engine's Live Link Face, and programs that take its datagrams."""

from __future__ import annotations

import struct
import time
import uuid

from trg.live.datagrams import DatagramSocket
from trg.live.expression import ARKIT_NAMES
from trg.live.frame import LiveFrame
from trg.live.sender import SenderOptions, TargetUrl

DEFAULT_PORT = 11111
DEFAULT_NAME = "trg"

VERSION = 6
FPS = 60
"""Frames of the time of day per second."""
VALUE_COUNT = 61
"""The 52 blendshapes; yaw, pitch and roll of the head, of the left and of the right eye."""

_TIME = struct.Struct(">ifii")
_VALUES = struct.Struct(f">B{VALUE_COUNT}f")


def open_sender(url: TargetUrl, options: SenderOptions) -> LiveLinkFaceSender:
    """Open the sender of ``livelinkface://HOST:11111``, with ``?name=`` for the subject."""
    url.refuse_unknown("name")
    return LiveLinkFaceSender(url, options)


class LiveLinkFaceSender:
    """Sends blendshapes, 0 to 1, and head angles, 180 degrees as 1, as the iPhone app does.

    Signs are those of Unreal's own source for faces that are not mirrored
    (``AppleARKitFaceSupport``): yaw to the person's left, pitch down, roll to the person's right.
    The format has no place for the head's position. Without a person nothing is sent.
    """

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        self._socket = DatagramSocket(url, options)
        name = url.query.get("name", DEFAULT_NAME)
        # The same device in every run, so that Unreal keeps its subject.
        device = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"trg.{name}"))
        self._header = bytes([VERSION]) + _string(device) + _string(name)

    def send(self, frame: LiveFrame) -> None:
        """Send the followed person."""
        if frame.main is None:
            return
        yaw, pitch, roll = frame.main.euler_deg("YXZ")
        values = [frame.main.expression.get(name, 0.0) for name in ARKIT_NAMES]
        values += [-yaw / 180.0, pitch / 180.0, -roll / 180.0]
        values += [0.0] * (VALUE_COUNT - len(values))
        now = time.localtime(frame.captured_unix_s)
        second = 3600 * now.tm_hour + 60 * now.tm_min + now.tm_sec
        number, part = divmod((second + frame.captured_unix_s % 1.0) * FPS, 1.0)
        self._socket.send(
            self._header + _TIME.pack(int(number), part, FPS, 1) + _VALUES.pack(61, *values)
        )

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">i", len(data)) + data
