"""Programs that take Open Sound Control: TouchDesigner, Max, Pure Data, lighting and sound."""

from __future__ import annotations

from trg.geometry.axes import pose_to_frame
from trg.geometry.rotations import rotation_to_quat
from trg.live.datagrams import DatagramSocket
from trg.live.frame import LiveFace, LiveFrame
from trg.live.osc import OscMessage, osc_bundle
from trg.live.sender import SenderOptions, TargetUrl

DEFAULT_PREFIX = "/trg"


def open_sender(url: TargetUrl, options: SenderOptions) -> OscSender:
    """Open the sender of ``osc://HOST:PORT/PREFIX``."""
    url.refuse_unknown()
    return OscSender(url, options)


class OscSender:
    """Sends one bundle per frame.

    ``/trg/frame`` has the frame's number, ``/trg/count`` the number of people. The followed
    person's messages begin with ``/trg``, those of every person also with ``/trg/face/ID``:
    ``/position`` x, y, z in metres; ``/quaternion`` x, y, z, w; both in the axes of ``--frame``;
    ``/euler`` yaw, pitch, roll in degrees; ``/seen`` 1 or 0; ``/expression/NAME`` 0 to 1.
    """

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        self._options = options
        self._prefix = url.path.rstrip("/") or DEFAULT_PREFIX
        self._socket = DatagramSocket(url, options)

    def send(self, frame: LiveFrame) -> None:
        """Send a frame, also one without faces."""
        messages: list[OscMessage] = [
            (f"{self._prefix}/frame", [frame.index]),
            (f"{self._prefix}/count", [len(frame.faces)]),
        ]
        for place, face in enumerate(frame.faces):
            if place == 0:
                messages += self._messages(self._prefix, face)
            messages += self._messages(f"{self._prefix}/face/{face.face.id or 0}", face)
        self._socket.send(osc_bundle(messages))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _messages(self, prefix: str, face: LiveFace) -> list[OscMessage]:
        pose = pose_to_frame(face.reference_from_head, self._options.axes)
        return [
            (f"{prefix}/position", pose[:3, 3].tolist()),
            (f"{prefix}/quaternion", rotation_to_quat(pose[:3, :3]).tolist()),
            (f"{prefix}/euler", list(face.euler_deg())),
            (f"{prefix}/seen", [int(face.is_seen)]),
            *((f"{prefix}/expression/{name}", [each]) for name, each in face.expression.items()),
        ]
