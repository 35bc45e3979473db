"""iFacialMocap's receivers: VSeeFace, Warudo, VNyan, Blender and Unity add-ons."""

from __future__ import annotations

import re

from trg.live.datagrams import DatagramSocket
from trg.live.expression import ARKIT_NAMES
from trg.live.frame import LiveFrame
from trg.live.sender import SenderOptions, TargetUrl

DEFAULT_PORT = 49983


def open_sender(url: TargetUrl, options: SenderOptions) -> IFacialMocapSender:
    """Open the sender of ``ifacialmocap://HOST:49983``."""
    url.refuse_unknown()
    return IFacialMocapSender(url, options)


class IFacialMocapSender:
    """Sends text: blendshapes 0 to 100, the head's angles in degrees, its position in metres.

    Angles and position are in ARKit's axes: x to the person's left, y up, z out of the face towards
    the camera. The eyes look straight ahead. Without a person nothing is sent.
    """

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        self._socket = DatagramSocket(url, options)

    def send(self, frame: LiveFrame) -> None:
        """Send the followed person."""
        face = frame.main
        if face is None:
            return
        shapes = "".join(
            f"{_short(name)}-{round(100.0 * face.expression.get(name, 0.0))}|"
            for name in ARKIT_NAMES
        )
        yaw, pitch, roll = face.euler_deg("YXZ")
        x, y, z = face.translation_m
        head = _numbers(pitch, -yaw, -roll, x, -y, -z)
        eye = _numbers(0.0, 0.0, 0.0)
        self._socket.send(f"{shapes}=head#{head}|rightEye#{eye}|leftEye#{eye}|".encode())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _short(name: str) -> str:
    """Return iFacialMocap's name, ``eyeBlink_L`` for ``eyeBlinkLeft``; ``jawLeft`` stays."""
    if name in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        return name
    return re.sub("(Left|Right)$", lambda side: f"_{side[1][0]}", name)


def _numbers(*values: float) -> str:
    return ",".join(f"{value + 0.0:.5f}" for value in values)
