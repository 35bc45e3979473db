"""Targets by URL, and the senders of JSON: datagrams, a websocket server, standard output."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
from websockets.sync.client import connect

from tests.support.live_frames import (
    MOVEMENTS,
    TIMEOUT_S,
    live_face,
    live_frame,
    moved_frame,
    port_of,
    udp_receiver,
)
from trg.live import LiveFace, SenderOptions, open_sender
from trg.live.sender import TargetUrl, schemes


def test_every_module_of_targets_is_a_scheme_and_opens_senders():
    assert {"udp+json", "ws"} <= set(schemes())


@pytest.mark.parametrize("target", ["opentrak://127.0.0.1:4242", "127.0.0.1:4242", "ws:8000", ""])
def test_an_unknown_scheme_names_the_known_ones(target):
    with pytest.raises(ValueError, match=r"expected - .*udp\+json, .*ws"):
        open_sender(target)


@pytest.mark.parametrize("target", ["udp+json://127.0.0.1", "udp+json://:5005", "udp+json://h:x"])
def test_a_target_without_host_or_port_is_refused(target):
    with pytest.raises(ValueError, match="expected"):
        open_sender(target)


def test_an_unknown_option_of_a_target_is_refused():
    with pytest.raises(ValueError, match="expected nothing after the question mark, got colour"):
        open_sender("udp+json://127.0.0.1:5005?colour=red")


def test_a_target_takes_ipv6_addresses():
    url = TargetUrl.of("osc://[::1]:9000/head?name=x")
    assert (url.host, url.port, url.path, url.query) == ("::1", 9000, "/head", {"name": "x"})


def test_a_number_that_is_not_finite_is_never_sent():
    face = live_face()
    broken = face.reference_from_head.copy()
    broken[0, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        LiveFace(face.face, broken, np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        LiveFace(face.face, face.reference_from_head, np.zeros(3), {"jawOpen": np.inf})


def test_a_frame_is_one_datagram_of_json():
    with udp_receiver() as receiver:
        sender = open_sender(f"udp+json://127.0.0.1:{port_of(receiver)}")
        sender.send(live_frame(live_face(translation_m=(0.0, 0.0, 0.5), expression={"jawOpen": 2})))
        sender.send(live_frame())
        record, empty = (json.loads(receiver.recv(65536)) for _ in range(2))
        sender.close()
    assert (record["frame"], record["time_s"], record["captured_unix_s"]) == (7, 1.5, 1.7e9)
    (face,) = record["faces"]
    assert face["translation_m"] == face["live"]["translation_m"] == [0.0, 0.0, 0.5]
    assert face["live"]["expression"] == {"jawOpen": 1.0}
    assert face["live"]["is_seen"] is True
    assert empty["faces"] == []


JSON_CHANGES = {
    # OpenCV's axes of the camera: x to the person's left, y down, z away from the camera.
    "turns to their left": {"yaw": -20.0},
    "looks up": {"pitch": -15.0},
    "tilts to their right": {"roll": -10.0},
    "moves to their left": {"x": 0.05},
    "moves up": {"y": -0.05},
    "comes nearer": {"z": 0.5},
}


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_each_movement_changes_its_own_number_in_json(movement):
    with udp_receiver() as receiver:
        sender = open_sender(f"udp+json://127.0.0.1:{port_of(receiver)}")
        sender.send(moved_frame(movement))
        (face,) = json.loads(receiver.recv(65536))["faces"]
        sender.close()
    place = dict(zip("xyz", face["live"]["translation_m"], strict=True))
    ahead = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "x": 0.0, "y": 0.0, "z": 0.6}
    assert {**face["live"]["euler_deg"], **place} == {**ahead, **JSON_CHANGES[movement]}


def test_json_states_the_pose_in_the_frame_of_ros():
    with udp_receiver() as receiver:
        options = SenderOptions(axes="ros")
        sender = open_sender(f"udp+json://127.0.0.1:{port_of(receiver)}", options)
        sender.send(live_frame(live_face(translation_m=(0.1, -0.2, 0.6))))
        (face,) = json.loads(receiver.recv(65536))["faces"]
        sender.close()
    # ROS: x forward, y left, z up; a face that looks into the camera is turned half about z.
    assert face["live"]["translation_m"] == [0.6, -0.1, 0.2]
    assert face["live"]["rotation"] == [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]


def test_every_client_of_the_websocket_server_gets_each_frame():
    said: list[str] = []
    sender = open_sender("ws://127.0.0.1:0", SenderOptions(notify=said.append))
    assert said == [f"ws://127.0.0.1:0: listening on port {sender.port}"]
    url = f"ws://127.0.0.1:{sender.port}"
    with connect(url, open_timeout=TIMEOUT_S) as first, connect(url) as second:
        sender.send(live_frame(live_face()))
        for client in (first, second):
            assert json.loads(client.recv(timeout=TIMEOUT_S))["frame"] == 7
        second.close()
        sender.send(live_frame(index=8))
        assert json.loads(first.recv(timeout=TIMEOUT_S))["frame"] == 8
    sender.close()


def test_a_port_that_is_taken_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: cannot listen there .*another port"):
            open_sender(f"ws://127.0.0.1:{port}")


def test_standard_output_gets_json_lines(capfdbinary):
    sender = open_sender("-")
    sender.send(live_frame(live_face()))
    sender.close()
    (line,) = capfdbinary.readouterr().out.splitlines()
    assert json.loads(line)["frame"] == 7
