"""VMC protocol, for 3D avatars: VMagicMirror, Warudo, VSeeFace, VNyan, EVMC4U."""

from __future__ import annotations

from collections.abc import Mapping

from trg.geometry.rotations import rotation_to_quat
from trg.live.datagrams import DatagramSocket
from trg.live.frame import LiveFrame
from trg.live.osc import OscMessage, osc_bundle
from trg.live.sender import SenderOptions, TargetUrl

DEFAULT_PORT = 39539

VRM_NAMES = {"Blink_L": "eyeBlinkLeft", "Blink_R": "eyeBlinkRight", "A": "jawOpen"}
"""Blendshapes that every VRM avatar has, and ARKit's name of each."""


def open_sender(url: TargetUrl, options: SenderOptions) -> VmcSender:
    """Open the sender of ``vmc://HOST:39539``, with ``?blendshapes=arkit`` for all of ARKit's."""
    url.refuse_unknown("blendshapes")
    return VmcSender(url, options)


class VmcSender:
    """Sends the bone ``Head`` and blendshapes, one bundle per frame.

    Unity's axes for an avatar that faces +z: x to the person's right, y up, z out of the face.
    The position is the movement since the neutral pose, or since the person was first seen.
    Without a person, only that nothing is tracked is sent.
    """

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        names = url.query.get("blendshapes", "vrm")
        if names not in ("vrm", "arkit"):
            raise ValueError(f"{url.text}: expected blendshapes=vrm or arkit, got {names!r}")
        self._has_arkit_names = names == "arkit"
        self._socket = DatagramSocket(url, options)

    def send(self, frame: LiveFrame) -> None:
        """Send the followed person."""
        face = frame.main
        messages: list[OscMessage] = [
            # Loaded, calibrated, in normal mode; tracking well or not.
            ("/VMC/Ext/OK", [1, 3, 0, int(face is not None)]),
            ("/VMC/Ext/T", [float(frame.time_s)]),
        ]
        if face is not None:
            # Both frames have all three axes reversed, which leaves a rotation matrix as it is.
            pose = [*(-face.offset_m).tolist(), *rotation_to_quat(face.rotation).tolist()]
            messages.append(("/VMC/Ext/Bone/Pos", ["Head", *pose]))
            messages += [
                ("/VMC/Ext/Blend/Val", [name, value])
                for name, value in self._blendshapes(face.expression).items()
            ]
            messages.append(("/VMC/Ext/Blend/Apply", []))
        self._socket.send(osc_bundle(messages))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _blendshapes(self, expression: Mapping[str, float]) -> dict[str, float]:
        if self._has_arkit_names:  # as avatars for "perfect sync" name them
            return {f"{name[0].upper()}{name[1:]}": each for name, each in expression.items()}
        return {name: expression[arkit] for name, arkit in VRM_NAMES.items() if arkit in expression}
