"""OpenSeeFace's datagrams, decoded and converted as its Unity receiver does.

From ``facetracker.py`` (the layout), ``Unity/OpenSee.cs`` and ``Unity/OpenSeeIKTarget.cs``.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.support.live_frames import (
    MOVEMENTS,
    live_face,
    live_frame,
    moved_frame,
    port_of,
    udp_receiver,
)
from trg.geometry.head_points import LEFT_EYELIDS
from trg.live import open_sender

PACKET_BYTES = 1785


def received(frame) -> list[dict]:
    """Send a frame and return its faces."""
    with udp_receiver() as receiver:
        sender = open_sender(f"openseeface://127.0.0.1:{port_of(receiver)}")
        sender.send(frame)
        sender.close()
        datagram = receiver.recv(65535)
    assert len(datagram) == PACKET_BYTES * len(frame.faces)
    return [
        decoded(datagram[start : start + PACKET_BYTES])
        for start in range(0, len(datagram), PACKET_BYTES)
    ]


def decoded(packet: bytes) -> dict:
    fields: dict = {}
    position = 0

    def take(name: str, kind: str, count: int = 1) -> None:
        nonlocal position
        layout = f"<{count}{kind}"
        values = struct.unpack_from(layout, packet, position)
        position += struct.calcsize(layout)
        assert np.isfinite(values).all(), name
        fields[name] = values[0] if count == 1 else np.array(values)

    take("time", "d")
    take("id", "i")
    take("size", "f", 2)
    take("right_eye_open", "f")
    take("left_eye_open", "f")
    take("success", "B")
    take("error", "f")
    take("quaternion", "f", 4)
    take("euler", "f", 3)
    take("translation", "f", 3)
    take("confidence", "f", 68)
    take("points", "f", 136)
    take("points_3d", "f", 210)
    take("features", "f", 14)
    assert position == len(packet) == PACKET_BYTES
    return fields


def unity(face: dict) -> tuple[Rotation, np.ndarray]:
    """Return rotation and position as ``OpenSeeIKTarget`` computes them, before calibration."""
    x, y, z, w = face["quaternion"]
    rotation = Rotation.from_quat([-y, -x, z, w])
    raw_x, raw_y, raw_z = face["translation"]
    in_opensee = (-raw_y, raw_x, -raw_z)
    return rotation, np.array([-in_opensee[0], in_opensee[1], -in_opensee[2]])


CHANGES = {
    # Unity, an avatar that faces +z: x to its right, y up; Euler angles as in the editor.
    "turns to their left": {"yaw_pitch_roll_deg": (-20.0, 0.0, 0.0)},
    "looks up": {"yaw_pitch_roll_deg": (0.0, -15.0, 0.0)},
    "tilts to their right": {"yaw_pitch_roll_deg": (0.0, 0.0, -10.0)},
    "moves to their left": {"position_m": (-0.05, 0.0, 0.0)},
    "moves up": {"position_m": (0.0, 0.05, 0.0)},
    "comes nearer": {"position_m": (0.0, 0.0, 0.1)},
}


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_each_movement_is_the_same_one_in_unity(movement):
    (ahead,), (moved,) = received(live_frame(live_face())), received(moved_frame(movement))
    (start, start_position), (end, end_position) = unity(ahead), unity(moved)
    turned = (end * start.inv()).as_euler("YXZ", degrees=True)
    expected = {
        "yaw_pitch_roll_deg": (0.0, 0.0, 0.0),
        "position_m": (0.0, 0.0, 0.0),
        **CHANGES[movement],
    }
    assert turned == pytest.approx(expected["yaw_pitch_roll_deg"], abs=1e-3)
    # OpenSeeFace's unit: its face model's, whose jaw is 0.91 wide.
    face = live_face().face
    jaw_m = np.linalg.norm(np.diff(face.landmarks_m[face.topology.landmarks68[[0, 16]]], axis=0))
    moved_m = (end_position - start_position) * jaw_m / 0.9104
    assert moved_m == pytest.approx(expected["position_m"], abs=1e-4)


def test_angles_of_a_face_that_looks_ahead_are_the_receivers_zero():
    """``OpenSee.cs`` takes 90 from the third and adds 180 to the first."""
    (face,) = received(live_frame(live_face()))
    euler = face["euler"] * (1, -1, 1)
    assert -(euler[0] + 180.0) % 360.0 == pytest.approx(0.0, abs=1e-4)
    assert euler[1] == pytest.approx(0.0, abs=1e-4)
    assert (euler[2] - 90.0) % 360.0 == pytest.approx(0.0, abs=1e-4)


def test_the_rest_of_the_packet():
    expression = {"eyeBlinkLeft": 0.75, "jawOpen": 0.5}
    frame = live_frame(live_face(expression=expression))
    (packet,) = received(frame)
    face = frame.main.face
    assert (packet["time"], packet["id"], packet["success"]) == (1.7e9, 0, 1)
    assert packet["size"].tolist() == [640.0, 480.0]
    assert (packet["left_eye_open"], packet["right_eye_open"]) == (0.25, 1.0)
    assert packet["confidence"] == pytest.approx(face.confidence)
    points = packet["points"].reshape(68, 2)
    np.testing.assert_allclose(points[:48], face.landmarks68_px[:48], atol=1e-3)
    # The outer corners of the mouth are left out; 58 and 62 are the inner ones.
    np.testing.assert_allclose(points[58], face.landmarks68_px[60], atol=1e-3)
    np.testing.assert_allclose(points[62], face.landmarks68_px[64], atol=1e-3)
    np.testing.assert_allclose(points[67], face.landmarks68_px[LEFT_EYELIDS].mean(0), atol=1e-3)
    assert packet["features"][[0, 1, 12]].tolist() == [-0.75, 0.0, 0.5]


def test_points_in_space_are_to_the_persons_right_down_and_to_the_back():
    (packet,) = received(live_frame(live_face()))
    points = packet["points_3d"].reshape(70, 3)
    assert points[0, 0] > points[16, 0]  # the jaw begins at the person's right ear
    assert points[0, 0] - points[16, 0] == pytest.approx(0.91, abs=0.01)
    assert points[8, 1] > points[27, 1]  # the chin is below the bridge of the nose
    assert points[0, 2] > points[30, 2]  # the ear is behind the tip of the nose
    gaze = points[66:68] - points[68:70]
    assert (gaze[:, 2] < 0.0).all()  # the pupils are in front of the eyeballs' centres


def test_several_people_are_in_one_datagram_and_the_followed_one_is_face_0():
    frame = live_frame(live_face(id=5), live_face(translation_m=(0.2, 0.0, 0.9), id=2))
    assert [face["id"] for face in received(frame)] == [0, 3]
