"""Live Link Face, decoded from the format's description and by PyLiveLinkFace."""

from __future__ import annotations

import math
import struct

import pytest
from pylivelinkface import FaceBlendShape, PyLiveLinkFace

from tests.support.live_frames import (
    MOVEMENTS,
    live_face,
    live_frame,
    moved_frame,
    port_of,
    udp_receiver,
)
from trg.live import open_sender
from trg.live.expression import ARKIT_NAMES

CHANGES = {
    # Unreal: angles of the head that is not mirrored, divided by 180 degrees.
    "turns to their left": {"HeadYaw": 20.0 / 180.0},
    "looks up": {"HeadPitch": -15.0 / 180.0},
    "tilts to their right": {"HeadRoll": 10.0 / 180.0},
    "moves to their left": {},
    "moves up": {},
    "comes nearer": {},
}


def received(frame, query: str = "") -> bytes:
    with udp_receiver() as receiver:
        sender = open_sender(f"livelinkface://127.0.0.1:{port_of(receiver)}{query}")
        sender.send(frame)
        sender.close()
        return receiver.recv(4096)


def decoded(packet: bytes) -> dict[str, float]:
    found, face = PyLiveLinkFace.decode(packet)
    assert found
    return {shape.name: face.get_blendshape(shape) for shape in FaceBlendShape}


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_each_movement_changes_its_own_number_with_unreals_sign(movement):
    values = decoded(received(moved_frame(movement)))
    assert values == pytest.approx({**dict.fromkeys(values, 0.0), **CHANGES[movement]}, abs=1e-6)


def test_every_blendshape_arrives_under_its_own_name():
    expression = {name: (place + 1) / 52 for place, name in enumerate(ARKIT_NAMES)}
    values = decoded(received(live_frame(live_face(expression=expression))))
    for name, value in expression.items():
        assert values[f"{name[0].upper()}{name[1:]}"] == pytest.approx(value, abs=1e-6)


def test_the_packet_is_laid_out_as_described():
    packet = received(live_frame(live_face()), "?name=me")
    assert packet[0] == 6
    (length,) = struct.unpack(">i", packet[1:5])
    assert length == 36
    assert packet[4:5] == b"$"  # what PyLiveLinkFace takes for the first letter of the device
    device, name_length = packet[5:41].decode(), struct.unpack(">i", packet[41:45])[0]
    assert len(device) == 36
    assert packet[45 : 45 + name_length] == b"me"
    frame, part, fps, denominator = struct.unpack(">ifii", packet[47:63])
    assert 0 <= frame < 24 * 3600 * 60
    assert 0.0 <= part < 1.0
    assert (fps, denominator) == (60, 1)
    assert packet[63] == 61
    values = struct.unpack(">61f", packet[64:])
    assert all(map(math.isfinite, values))
    assert packet == received(live_frame(live_face()), "?name=me")  # the same device again
