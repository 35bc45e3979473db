"""OpenSeeFace's receivers: VSeeFace, vpuppr, VTube Studio on Linux, Unity and Godot add-ons."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from trg.geometry.head_points import LEFT_EYELIDS, RIGHT_EYELIDS
from trg.geometry.rotations import rotation_to_euler, rotation_to_quat
from trg.live.datagrams import DatagramSocket
from trg.live.frame import LiveFace, LiveFrame
from trg.live.sender import SenderOptions, TargetUrl

Floats = NDArray[np.float64]

DEFAULT_PORT = 11573

MAX_FACES = 36
"""As many fit into one datagram."""

POINTS_OF_68 = np.array([*range(48), *range(49, 54), *range(55, 60), *range(60, 68)])
"""OpenSeeFace's 66 points among the 68 landmarks: the outer corners of the mouth are left out."""

JAW_WIDTH = 2 * 0.4552
"""Distance of the jaw's first and last point in OpenSeeFace's face model, whose unit is its own."""

NOSE_TIP = 30
EYEBALL_DEPTH = 0.385
"""Depth of an eyeball's centre, in widths of the eye."""

RAW_FROM_OPENCV = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], dtype=np.float64)
"""OpenSeeFace counts x up, y to the person's right and z towards the camera."""
FRONTAL = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]], dtype=np.float64)
"""Its rotation of a face that looks into the camera."""

_FACE = struct.Struct("<di4fBf" + f"{4 + 3 + 3}f" + "68f" + "136f" + "210f" + "14f")
PACKET_BYTES = _FACE.size
"""1785."""


def open_sender(url: TargetUrl, options: SenderOptions) -> OpenSeeFaceSender:
    """Open the sender of ``openseeface://HOST:11573``."""
    url.refuse_unknown()
    return OpenSeeFaceSender(url, options)


class OpenSeeFaceSender:
    """Sends 1785 bytes per face, all faces of a frame in one datagram.

    The followed person is face 0, which receivers show. OpenSeeFace solves for the pose with x and
    y of the image exchanged, and finds the solution behind the camera; rotation and translation
    follow it, so that its receivers' conversions give the true movement. Gaze is straight ahead.
    Without a person nothing is sent, as by OpenSeeFace.
    """

    def __init__(self, url: TargetUrl, options: SenderOptions) -> None:
        self._socket = DatagramSocket(url, options)

    def send(self, frame: LiveFrame) -> None:
        """Send all people of a frame."""
        packets = [
            _packet(frame, face, 0 if place == 0 else 1 + (face.face.id or 0))
            for place, face in enumerate(frame.faces[:MAX_FACES])
        ]
        if packets:
            self._socket.send(b"".join(packets))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _packet(frame: LiveFrame, live: LiveFace, number: int) -> bytes:
    face = live.face
    points68_m = face.landmarks_m[face.topology.landmarks68]
    unit_m = float(np.linalg.norm(points68_m[16] - points68_m[0])) / JAW_WIDTH
    rotation = _rotation(live.rotation)
    translation = RAW_FROM_OPENCV @ live.translation_m / unit_m
    eyes = (RIGHT_EYELIDS, LEFT_EYELIDS)
    pupils_px = np.array([face.landmarks68_px[eye].mean(0) for eye in eyes])
    points_px = np.concatenate([face.landmarks68_px[POINTS_OF_68], pupils_px])
    right_open, left_open = (
        1.0 - live.expression.get(name, 0.0) for name in ("eyeBlinkRight", "eyeBlinkLeft")
    )
    return _FACE.pack(
        frame.captured_unix_s,
        number,
        frame.camera.width,
        frame.camera.height,
        right_open,
        left_open,
        1,  # 3D points are known
        0.0,  # and fit the pose without error
        # OpenSeeFace's formula gives the inverse rotation.
        *rotation_to_quat(rotation.T),
        *rotation_to_euler(rotation, "xyz"),
        *translation,
        *np.full(len(points_px), face.confidence),
        *points_px.ravel(),
        *_points_3d(points68_m, unit_m).ravel(),
        *_features(live, right_open, left_open),
    )


def _rotation(rotation: Floats) -> Floats:
    """Return OpenSeeFace's rotation matrix: that of the mirrored face behind the camera."""
    mirror = np.diag([1.0, 1.0, -1.0])
    raw = RAW_FROM_OPENCV @ rotation @ RAW_FROM_OPENCV.T
    return mirror @ raw @ mirror @ FRONTAL


def _points_3d(points68_m: Floats, unit_m: float) -> Floats:
    """Return 70 points of the head ``(70, 3)``: to the person's right, down, to the back."""
    pupils, eyeballs = [], []
    for eye in (points68_m[RIGHT_EYELIDS], points68_m[LEFT_EYELIDS]):
        centre = eye.mean(0)
        depth_m = EYEBALL_DEPTH * float(np.linalg.norm(eye[3] - eye[0]))
        pupils.append(centre)
        eyeballs.append(centre + (0.0, 0.0, depth_m))
    points_m = np.concatenate([points68_m[POINTS_OF_68], pupils, eyeballs]) - points68_m[NOSE_TIP]
    return points_m * (-1.0, 1.0, 1.0) / unit_m


def _features(live: LiveFace, right_open: float, left_open: float) -> list[float]:
    """Return the 14 features, -1 to 1 about a neutral face; unknown ones are 0."""
    value = live.expression.get
    brow_left, brow_right = (
        max(value("browInnerUp", 0.0), value(f"browOuterUp{side}", 0.0))
        - value(f"browDown{side}", 0.0)
        for side in ("Left", "Right")
    )
    corner_left, corner_right = (
        value(f"mouthSmile{side}", 0.0) - value(f"mouthFrown{side}", 0.0)
        for side in ("Left", "Right")
    )
    wide = max(value("mouthStretchLeft", 0.0), value("mouthStretchRight", 0.0))
    return [
        *(left_open - 1.0, right_open - 1.0),
        *(0.0, brow_left, 0.0),  # steepness, up and down, quirk
        *(0.0, brow_right, 0.0),
        *(corner_left, 0.0),  # up and down, in and out
        *(corner_right, 0.0),
        value("jawOpen", 0.0),
        wide - value("mouthPucker", 0.0),
    ]
