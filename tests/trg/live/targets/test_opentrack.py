"""opentrack's datagrams, decoded as ``tracker-udp/ftnoir_tracker_udp.cpp`` does."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from tests.support.live_frames import (
    MOVEMENTS,
    live_face,
    live_frame,
    moved_frame,
    port_of,
    udp_receiver,
)
from trg.live import open_sender

NAMES = ("x_cm", "y_cm", "z_cm", "yaw_deg", "pitch_deg", "roll_deg")
AHEAD = {"x_cm": 0.0, "y_cm": 0.0, "z_cm": 60.0, "yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0}
CHANGES = {
    "turns to their left": {"yaw_deg": -20.0},
    "looks up": {"pitch_deg": 15.0},
    "tilts to their right": {"roll_deg": -10.0},
    "moves to their left": {"x_cm": 5.0},
    "moves up": {"y_cm": 5.0},
    "comes nearer": {"z_cm": 50.0},
}


def received(*frames) -> list[dict[str, float]]:
    """Send frames and return the packets, each of exactly 48 bytes and without a NaN."""
    with udp_receiver() as receiver:
        sender = open_sender(f"opentrack://127.0.0.1:{port_of(receiver)}")
        for frame in frames:
            sender.send(frame)
        sender.close()
        packets = []
        for frame in frames:
            if frame.faces:
                packet = receiver.recv(4096)
                assert len(packet) == 48
                values = struct.unpack("=6d", packet)
                assert all(map(math.isfinite, values))
                packets.append(dict(zip(NAMES, values, strict=True)))
        return packets


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_each_movement_changes_its_own_number_with_opentracks_sign(movement):
    ahead, moved = received(live_frame(live_face()), moved_frame(movement))
    assert ahead == pytest.approx(AHEAD, abs=1e-9)
    assert moved == pytest.approx({**AHEAD, **CHANGES[movement]}, abs=1e-9)


def test_yaw_and_pitch_are_those_of_the_line_of_sight_as_in_opentrack():
    """opentrack takes them from the face's direction, and roll about that direction."""
    frame = live_frame(live_face(yaw_pitch_roll_deg=(25.0, -20.0, 30.0)))
    (packet,) = received(frame)
    rotation = frame.main.rotation
    ahead = -rotation[:, 2]  # out of the face
    left, up, towards = ahead[0], -ahead[1], -ahead[2]
    assert packet["yaw_deg"] == pytest.approx(np.degrees(math.atan2(-left, towards)))
    assert packet["pitch_deg"] == pytest.approx(
        np.degrees(math.atan2(up, math.hypot(left, towards)))
    )


def test_one_datagram_per_frame_and_none_without_a_person():
    assert len(received(live_frame(live_face(), live_face()), live_frame())) == 1
