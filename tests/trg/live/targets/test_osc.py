"""Open Sound Control and VMC, received by python-osc's server."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import numpy as np
import pytest
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from scipy.spatial.transform import Rotation

from tests.support.live_frames import MOVEMENTS, TIMEOUT_S, live_face, live_frame, moved_frame
from trg.live import SenderOptions, open_sender


@contextmanager
def osc_server() -> Iterator[tuple[int, queue.Queue]]:
    """Yield the port of python-osc's server and what it receives."""
    messages: queue.Queue = queue.Queue()
    dispatcher = Dispatcher()
    dispatcher.set_default_handler(lambda address, *values: messages.put((address, values)))
    with BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1], messages
        server.shutdown()
        thread.join()


def received(target: str, frame, last: str, **options) -> list[tuple[str, tuple]]:
    """Send a frame and return the messages up to the address ``last``."""
    with osc_server() as (port, messages):
        sender = open_sender(target.format(port=port), SenderOptions(**options))
        sender.send(frame)
        found = [messages.get(timeout=TIMEOUT_S)]
        while found[-1][0] != last:
            found.append(messages.get(timeout=TIMEOUT_S))
        sender.close()
    return found


OSC_CHANGES = {
    "turns to their left": {"/trg/euler": (-20.0, 0.0, 0.0)},
    "looks up": {"/trg/euler": (0.0, -15.0, 0.0)},
    "tilts to their right": {"/trg/euler": (0.0, 0.0, -10.0)},
    "moves to their left": {"/trg/position": (0.05, 0.0, 0.6)},
    "moves up": {"/trg/position": (0.0, -0.05, 0.6)},
    "comes nearer": {"/trg/position": (0.0, 0.0, 0.5)},
}


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_osc_states_position_and_angles_in_opencvs_axes(movement):
    frame = moved_frame(movement)
    found = dict(received("osc://127.0.0.1:{port}", frame, "/trg/face/0/seen"))
    assert (found["/trg/frame"], found["/trg/count"], found["/trg/seen"]) == ((7,), (1,), (1,))
    expected = {
        "/trg/position": (0.0, 0.0, 0.6),
        "/trg/euler": (0.0, 0.0, 0.0),
        **OSC_CHANGES[movement],
    }
    for address, values in expected.items():
        assert found[address] == pytest.approx(values, abs=1e-4), address
    rotation = Rotation.from_quat(found["/trg/quaternion"]).as_matrix()
    np.testing.assert_allclose(rotation, frame.main.rotation, atol=1e-5)


def test_osc_states_the_frame_of_ros_and_several_people_under_a_prefix():
    near = live_face(translation_m=(0.1, -0.2, 0.6), id=4, expression={"jawOpen": 0.5})
    frame = live_frame(near, live_face(translation_m=(-0.3, 0.0, 0.9), id=9))
    target, last = "osc://127.0.0.1:{port}/show/head/", "/show/head/face/9/seen"
    found = dict(received(target, frame, last, axes="ros"))
    # ROS: x forward, y left, z up.
    assert found["/show/head/position"] == pytest.approx((0.6, -0.1, 0.2))
    assert found["/show/head/face/4/position"] == found["/show/head/position"]
    assert found["/show/head/face/9/position"] == pytest.approx((0.9, 0.3, 0.0))
    assert found["/show/head/quaternion"] == pytest.approx((0.0, 0.0, 1.0, 0.0), abs=1e-6)
    assert found["/show/head/expression/jawOpen"] == (0.5,)
    assert found["/show/head/count"] == (2,)


VMC_CHANGES = {
    # Unity, an avatar that faces +z: x to its right, y up; left-handed rotations.
    "turns to their left": {"euler_yxz_deg": (-20.0, 0.0, 0.0)},
    "looks up": {"euler_yxz_deg": (0.0, -15.0, 0.0)},
    "tilts to their right": {"euler_yxz_deg": (0.0, 0.0, -10.0)},
    "moves to their left": {"position_m": (-0.05, 0.0, 0.0)},
    "moves up": {"position_m": (0.0, 0.05, 0.0)},
    "comes nearer": {"position_m": (0.0, 0.0, 0.1)},
}


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_vmc_moves_the_heads_bone_in_unitys_axes(movement):
    frame = moved_frame(movement, expression={"eyeBlinkLeft": 0.25, "jawOpen": 0.5})
    found = received("vmc://127.0.0.1:{port}", frame, "/VMC/Ext/Blend/Apply")
    assert found[:2] == [("/VMC/Ext/OK", (1, 3, 0, 1)), ("/VMC/Ext/T", (1.5,))]
    address, (bone, *pose) = found[2]
    assert (address, bone, len(pose)) == ("/VMC/Ext/Bone/Pos", "Head", 7)
    expected = {
        "position_m": (0.0, 0.0, 0.0),
        "euler_yxz_deg": (0.0, 0.0, 0.0),
        **VMC_CHANGES[movement],
    }
    assert pose[:3] == pytest.approx(expected["position_m"], abs=1e-6)
    # Unity's Euler angles: about z, then x, then y, by the same formula as for right-handed axes.
    angles = Rotation.from_quat(pose[3:]).as_euler("YXZ", degrees=True)
    assert angles == pytest.approx(expected["euler_yxz_deg"], abs=1e-4)
    assert found[3:-1] == [
        ("/VMC/Ext/Blend/Val", ("Blink_L", 0.25)),
        ("/VMC/Ext/Blend/Val", ("A", 0.5)),
    ]


def test_a_head_that_turns_in_unity_looks_where_the_person_looks():
    """Unity: +z is out of the face, and -x to the avatar's left."""
    frame = moved_frame("turns to their left")
    found = dict(received("vmc://127.0.0.1:{port}", frame, "/VMC/Ext/Blend/Apply"))
    ahead = Rotation.from_quat(found["/VMC/Ext/Bone/Pos"][4:]).as_matrix()[:, 2]
    assert ahead[0] < -0.3
    assert ahead[2] > 0.9


def test_vmc_sends_arkits_names_for_avatars_that_know_them():
    frame = live_frame(live_face(expression={"eyeBlinkLeft": 0.25, "browInnerUp": 1.0}))
    target = "vmc://127.0.0.1:{port}?blendshapes=arkit"
    found = received(target, frame, "/VMC/Ext/Blend/Apply")
    values = dict(values for address, values in found if address == "/VMC/Ext/Blend/Val")
    assert values == {"EyeBlinkLeft": 0.25, "BrowInnerUp": 1.0}
    with pytest.raises(ValueError, match="vrm or arkit"):
        open_sender("vmc://127.0.0.1:39539?blendshapes=all")


def test_vmc_says_that_nobody_is_tracked():
    found = received("vmc://127.0.0.1:{port}", live_frame(), "/VMC/Ext/T")
    assert found[0] == ("/VMC/Ext/OK", (1, 3, 0, 0))
    assert len(found) == 2
