"""VTube Studio's API, against a server that follows its description."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from tests.support.live_frames import MOVEMENTS, TIMEOUT_S, live_face, live_frame, moved_frame
from trg.live import SenderOptions, open_sender
from trg.live.targets import vts


class VTubeStudio:
    """Answers logins and keeps the requests."""

    def __init__(self, allows: bool = True) -> None:
        self.allows = allows
        self.requests: queue.Queue = queue.Queue()
        self.asked = 0
        self.connections: list = []

    def answer(self, connection) -> None:
        self.connections.append(connection)
        is_known = False
        try:
            for text in connection:
                request = json.loads(text)
                assert request["apiName"] == "VTubeStudioPublicAPI"
                kind, data = request["messageType"], request["data"]
                result: dict = {}
                if kind == "AuthenticationTokenRequest":
                    assert data["pluginName"]
                    assert data["pluginDeveloper"]
                    self.asked += 1
                    result = (
                        {"authenticationToken": "let-me-in"} if self.allows else {"errorID": 50}
                    )
                elif kind == "AuthenticationRequest":
                    is_known = data["authenticationToken"] == "let-me-in"
                    result = {"authenticated": is_known}
                elif is_known:
                    self.requests.put((kind, data))
                connection.send(json.dumps({**request, "data": result}))
        except ConnectionClosed:
            pass


@contextmanager
def running(studio: VTubeStudio, port: int = 0) -> Iterator[int]:
    with serve(studio.answer, "127.0.0.1", port) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        for connection in studio.connections:
            connection.close()
        thread.join()


@pytest.fixture
def token(tmp_path):
    return tmp_path / "settings" / "tokens.json"


def received(studio: VTubeStudio) -> dict:
    kind, data = studio.requests.get(timeout=TIMEOUT_S)
    assert kind == "InjectParameterDataRequest"
    assert data["mode"] == "set"
    return {each["id"]: each["value"] for each in data["parameterValues"]} | {
        "faceFound": data["faceFound"]
    }


AHEAD = {
    **dict.fromkeys(("FaceAngleX", "FaceAngleY", "FaceAngleZ"), 0.0),
    **dict.fromkeys(("FacePositionX", "FacePositionY", "FacePositionZ"), 0.0),
    "faceFound": True,
}
CHANGES = {
    # A mirror: to the person's right is positive, and up; the distance grows away from the camera.
    "turns to their left": {"FaceAngleX": -20.0},
    "looks up": {"FaceAngleY": 15.0},
    "tilts to their right": {"FaceAngleZ": 10.0},
    "moves to their left": {"FacePositionX": -5.0},
    "moves up": {"FacePositionY": 5.0},
    "comes nearer": {"FacePositionZ": -10.0},
}


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_each_movement_changes_its_own_parameter(movement):
    data = vts.vts_parameters(moved_frame(movement))
    values = {each["id"]: each["value"] for each in data["parameterValues"]}
    assert {**values, "faceFound": True} == pytest.approx({**AHEAD, **CHANGES[movement]}, abs=1e-4)


def test_the_user_is_asked_once_and_values_are_repeated(token):
    studio = VTubeStudio()
    said: list[str] = []
    with running(studio) as port:
        target = f"vts://127.0.0.1:{port}?token={token}"
        for _ in range(2):
            sender = open_sender(target, SenderOptions(notify=said.append))
            expression = {"eyeBlinkLeft": 0.25, "jawOpen": 0.5}
            sender.send(live_frame(live_face(expression=expression)))
            first, repeated = received(studio), received(studio)
            sender.close()
            assert first == {**AHEAD, "EyeOpenLeft": 0.75, "MouthOpen": 0.5}
            assert repeated == first  # else VTube Studio takes the model back within a second
    assert studio.asked == 1
    assert said == [f"vts://127.0.0.1:{port}: allow the plugin trg in VTube Studio"]
    assert token.stat().st_mode & 0o077 == 0


def test_a_lost_face_is_reported_with_the_last_values(token):
    studio = VTubeStudio()
    with running(studio) as port:
        sender = open_sender(f"vts://127.0.0.1:{port}?token={token}")
        sender.send(live_frame(live_face()))
        assert received(studio)["faceFound"] is True
        sender.send(live_frame())
        while (values := received(studio))["faceFound"]:
            pass
        sender.close()
    assert values == {**AHEAD, "faceFound": False}


def test_a_refusal_is_said_and_not_asked_again(token):
    studio = VTubeStudio(allows=False)
    said: queue.Queue = queue.Queue()
    with running(studio) as port:
        sender = open_sender(
            f"vts://127.0.0.1:{port}?token={token}", SenderOptions(notify=said.put)
        )
        messages = [said.get(timeout=TIMEOUT_S) for _ in range(2)]
        sender.close()
    assert "VTube Studio did not allow it" in messages[1]
    assert studio.asked == 1


def test_vtube_studio_may_start_later_and_restart(token, monkeypatch):
    monkeypatch.setattr(vts, "RETRY_S", 0.01)
    said: queue.Queue = queue.Queue()
    with running(VTubeStudio()) as port:
        pass  # a port that nobody listens at
    sender = open_sender(f"vts://127.0.0.1:{port}?token={token}", SenderOptions(notify=said.put))
    assert "no receiver" in said.get(timeout=TIMEOUT_S)
    for _ in range(2):
        studio = VTubeStudio()
        with running(studio, port):
            sender.send(live_frame(live_face()))
            assert received(studio) == AHEAD
    sender.close()
