"""VTube Studio: its API injects the parameters that drive Live2D models."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from trg._util.files import write_atomic
from trg.live.frame import LiveFrame
from trg.live.newest import ClosedError, NewestSlot
from trg.live.receiver_state import ReceiverState
from trg.live.sender import SenderOptions, TargetUrl

DEFAULT_PORT = 8001

PLUGIN = {"pluginName": "trg", "pluginDeveloper": "The trg developers"}
API = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0"}

RETRY_S = 2.0
REPEAT_S = 0.5
"""VTube Studio takes a parameter back that was not sent for a second."""
ANSWER_TIMEOUT_S = 5.0
CONFIRM_TIMEOUT_S = 600.0
"""How long the user may take to allow the plugin."""

SUMS = {
    "MouthOpen": (("jawOpen",), 1.0),
    "MouthSmile": (("mouthSmileLeft", "mouthSmileRight"), 0.5),
    "Brows": (("browInnerUp",), 1.0),
    "CheekPuff": (("cheekPuff",), 1.0),
    "TongueOut": (("tongueOut",), 1.0),
}
"""Parameters from ARKit's blendshapes: the sum of those times a factor."""


def open_sender(url: TargetUrl, options: SenderOptions) -> VtsSender:
    """Open the sender of ``vts://HOST:8001``, with ``?token=FILE`` for where to keep the token."""
    url.refuse_unknown("token")
    return VtsSender(url, options)


class DeniedError(Exception):
    """The user, or VTube Studio, refused the plugin."""


class VtsSender:
    """Sends head angles (degrees), position (cm), eyes and mouth, by a thread of its own.

    Signs are those of a mirror, as VTube Studio's own trackers have them: FaceAngleX to the
    person's right, FaceAngleY up, FaceAngleZ tilts to the person's right; FacePositionX to the
    person's right, Y up, Z away from the camera. Positions are the movement since the neutral
    pose, or since the person was first seen. Without a person ``faceFound`` is false.

    VTube Studio asks its user once whether it may. The token that it then issues is kept in a file
    (:func:`token_file`) for the next run.
    """

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        import websockets.sync.client  # noqa: F401 -- a missing package is an error here

        host = f"[{url.host}]" if ":" in url.host else url.host
        self._address = f"ws://{host}:{url.port}"
        self._name = url.name
        self._notify = options.notify
        self._state = ReceiverState(url.name, options)
        self._token_file = Path(url.query["token"]) if "token" in url.query else token_file()
        self._requests: NewestSlot[dict[str, Any]] = NewestSlot()
        self._values: list[dict[str, Any]] = []
        """The last ones of a person."""
        self._latest: dict[str, Any] | None = None
        """The last request; the thread's."""
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="trg-live-vts", daemon=True)
        self._thread.start()

    def send(self, frame: LiveFrame) -> None:
        """Offer a frame to the thread."""
        data = vts_parameters(frame)
        if data["parameterValues"]:
            self._values = data["parameterValues"]
        elif self._values:  # the API takes no request without values
            data["parameterValues"] = self._values
        else:
            return
        self._requests.put(data)

    def close(self) -> None:
        """Disconnect."""
        self._stopping.set()
        self._requests.close()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        with suppress(ClosedError):
            while not self._stopping.is_set():
                reason = self._connect_and_send()
                if reason is None:
                    return
                self._state.failed(reason)
                self._stopping.wait(RETRY_S)

    def _connect_and_send(self) -> str | None:
        """Send until the connection ends; return why it did, None if it must not be retried.

        Raises ClosedError when the sender is closed.
        """
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        try:
            with connect(
                self._address,
                open_timeout=ANSWER_TIMEOUT_S,
                close_timeout=1.0,
                compression=None,
                proxy=None,  # the receiver is where the user says
            ) as connection:
                self._log_in(connection)
                self._state.succeeded(settle_s=0.0)
                self._send_all(connection)
        except DeniedError as error:
            self._notify(f"{self._name}: {error}; start again to ask again")
            return None
        except (OSError, WebSocketException, ValueError) as error:  # ValueError: no JSON
            return str(error) or type(error).__name__
        return "it closed the connection"

    def _send_all(self, connection: Any) -> None:
        while True:
            newer = self._requests.take(REPEAT_S)
            self._latest = self._latest if newer is None else newer
            if self._latest is not None:
                _request(connection, "InjectParameterDataRequest", self._latest)

    def _log_in(self, connection: Any) -> None:
        """Show the token; ask for one if there is none or it is not valid any more."""
        tokens = _read_tokens(self._token_file)
        token = tokens.get(self._address)
        if token is not None and self._is_accepted(connection, token):
            return
        self._notify(f"{self._name}: allow the plugin trg in VTube Studio")
        data = _request(connection, "AuthenticationTokenRequest", PLUGIN, CONFIRM_TIMEOUT_S)
        token = data.get("authenticationToken")
        if not isinstance(token, str):
            raise DeniedError(f"VTube Studio did not allow it ({data.get('message', 'no reason')})")
        _write_tokens(self._token_file, {**tokens, self._address: token})
        if not self._is_accepted(connection, token):
            raise DeniedError("VTube Studio refuses the token that it has issued")

    def _is_accepted(self, connection: Any, token: str) -> bool:
        data = _request(
            connection, "AuthenticationRequest", {**PLUGIN, "authenticationToken": token}
        )
        return data.get("authenticated") is True


def token_file() -> Path:
    """Return where tokens are kept: ``trg/vts_tokens.json`` in the user's folder of settings."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "trg" / "vts_tokens.json"


def vts_parameters(frame: LiveFrame) -> dict[str, Any]:
    """Return the data of an ``InjectParameterDataRequest``."""
    face = frame.main
    values: dict[str, float] = {}
    if face is not None:
        yaw, pitch, roll = face.euler_deg("YXZ")
        x, y, z = (100.0 * face.offset_m).tolist()
        values = {
            "FaceAngleX": yaw,
            "FaceAngleY": -pitch,
            "FaceAngleZ": -roll,
            "FacePositionX": -x,
            "FacePositionY": -y,
            "FacePositionZ": z,
        }
        for side in ("Left", "Right"):
            if f"eyeBlink{side}" in face.expression:
                values[f"EyeOpen{side}"] = 1.0 - face.expression[f"eyeBlink{side}"]
        for name, (shapes, factor) in SUMS.items():
            if all(shape in face.expression for shape in shapes):
                values[name] = factor * sum(face.expression[shape] for shape in shapes)
    parameters = [{"id": name, "value": round(value, 4)} for name, value in values.items()]
    return {"faceFound": face is not None, "mode": "set", "parameterValues": parameters}


def _request(
    connection: Any, kind: str, data: dict[str, Any], timeout_s: float = ANSWER_TIMEOUT_S
) -> dict[str, Any]:
    """Send a request and return the data of its answer."""
    connection.send(json.dumps({**API, "requestID": "trg", "messageType": kind, "data": data}))
    answer = json.loads(connection.recv(timeout=timeout_s))
    found = answer.get("data") if isinstance(answer, dict) else None
    return found if isinstance(found, dict) else {}


def _read_tokens(path: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
    return {}


def _write_tokens(path: Path, tokens: dict[str, str]) -> None:
    """Write the file for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, lambda file: file.write(json.dumps(tokens, indent=1).encode()))
    path.chmod(0o600)
