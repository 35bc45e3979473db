"""opentrack, input "UDP over network", and through it the games that opentrack serves."""

from __future__ import annotations

import struct

from trg.live.datagrams import DatagramSocket
from trg.live.frame import LiveFrame
from trg.live.sender import SenderOptions, TargetUrl

DEFAULT_PORT = 4242

_PACKET = struct.Struct("<6d")


def open_sender(url: TargetUrl, options: SenderOptions) -> OpentrackSender:
    """Open the sender of ``opentrack://HOST:4242``."""
    url.refuse_unknown()
    return OpentrackSender(url, options)


class OpentrackSender:
    """Sends x, y, z in centimetres and yaw, pitch, roll in degrees, six doubles of 48 bytes.

    Axes and signs are those of opentrack's own camera trackers
    (``tracker-neuralnet/ftnoir_tracker_neuralnet.cpp``): x to the person's left, y up, z away from
    the camera; yaw to the person's right, pitch up, roll to the person's left. Without a person
    nothing is sent, and opentrack keeps the last pose.
    """

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        self._socket = DatagramSocket(url, options)

    def send(self, frame: LiveFrame) -> None:
        """Send the followed person."""
        if frame.main is None:
            return
        x, y, z = 100.0 * frame.main.translation_m
        yaw, pitch, roll = frame.main.euler_deg("YXZ")
        self._socket.send(_PACKET.pack(x, -y, z, yaw, -pitch, roll))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
