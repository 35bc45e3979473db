"""iFacialMocap's text, decoded from its description."""

from __future__ import annotations

import re

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
from trg.live.expression import ARKIT_NAMES

HEAD = ("pitch_deg", "yaw_deg", "roll_deg", "x_m", "y_m", "z_m")
AHEAD = {**dict.fromkeys(HEAD, 0.0), "z_m": -0.6}
CHANGES = {
    # ARKit: x to the person's left, y up, z out of the face; angles by the right-hand rule.
    "turns to their left": {"yaw_deg": 20.0},
    "looks up": {"pitch_deg": -15.0},
    "tilts to their right": {"roll_deg": 10.0},
    "moves to their left": {"x_m": 0.05},
    "moves up": {"y_m": 0.05},
    "comes nearer": {"z_m": -0.5},
}


def received(frame) -> str:
    with udp_receiver() as receiver:
        sender = open_sender(f"ifacialmocap://127.0.0.1:{port_of(receiver)}")
        sender.send(frame)
        sender.close()
        return receiver.recv(4096).decode("ascii")


def decoded(text: str) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Return the blendshapes and the bones."""
    assert "nan" not in text
    shapes_text, equals, bones_text = text.partition("=")
    assert equals
    shapes = {}
    for item in shapes_text.split("|")[:-1]:
        name, value = item.rsplit("-", 1)
        shapes[name] = int(value)
    bones = {}
    for item in bones_text.split("|")[:-1]:
        name, numbers = item.split("#")
        bones[name] = [float(number) for number in numbers.split(",")]
    return shapes, bones


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_each_movement_changes_its_own_number_with_arkits_sign(movement):
    _, bones = decoded(received(moved_frame(movement)))
    assert list(bones) == ["head", "rightEye", "leftEye"]
    head = dict(zip(HEAD, bones["head"], strict=True))
    assert head == pytest.approx({**AHEAD, **CHANGES[movement]}, abs=1e-4)
    assert bones["rightEye"] == bones["leftEye"] == [0.0, 0.0, 0.0]


def test_every_blendshape_has_its_short_name_and_a_whole_number_up_to_100():
    expression = {name: place / 51 for place, name in enumerate(ARKIT_NAMES)}
    shapes, _ = decoded(received(live_frame(live_face(expression=expression))))
    assert len(shapes) == 52
    assert {"eyeBlink_L", "mouthSmile_R", "jawLeft", "mouthRight", "browInnerUp"} <= set(shapes)
    assert not any(re.search("(Blink|Smile)(Left|Right)", name) for name in shapes)
    assert list(shapes.values()) == [round(100 * place / 51) for place in range(52)]
