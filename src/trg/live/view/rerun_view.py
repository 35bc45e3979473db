"""Rerun's viewer, or a recording for it: picture, camera, axes and mesh on a timeline."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from trg.io.overlay import AXIS_COLOURS, AXIS_DIRECTIONS, AXIS_LENGTH_M, PALETTE
from trg.live.frame import LiveFace, LiveFrame
from trg.live.statistics import Status
from trg.live.worker import NewestWorker

APPLICATION = "trg live"
JPEG_QUALITY = 75
FLUSH_TIMEOUT_S = 5.0
LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 30.0
PLANE_M = 0.3
"""Distance at which the picture is shown before the camera."""


class RerunView:
    """Logs frames to Rerun: what is sent as curves, and the faces before the camera.

    The entity ``world`` has the camera's axes (x right, y down, z away). A lens's distortion is not
    shown. A thread of its own logs the newest frame, so that a slow viewer costs no latency.

    Parameters
    ----------
    path
        A new ``.rrd`` file; None: the viewer is started.
    notify
        Takes messages for the user.

    Raises
    ------
    FileExistsError, OSError
        The file exists, or cannot be written; the viewer cannot be started.
    """

    def __init__(self, path: str | None, notify: Callable[[str], None]) -> None:
        import rerun  # the package is optional

        self._rr: Any = rerun
        self._notify = notify
        self._recording = rerun.RecordingStream(APPLICATION)
        if path is None:
            self._recording.connect_grpc(f"rerun+http://{LOOPBACK}:{_start_viewer()}/proxy")
        else:
            if os.path.exists(path):
                raise FileExistsError(f"{path}: expected the name of a new file, it exists")
            open(path, "wb").close()  # raises what Rerun would only log
            self._recording.save(path)
        self._recording.log("world", self._rr.ViewCoordinates.RDF, static=True)
        self._size = (0, 0)
        self._shown: set[int] = set()
        self._known: set[int] = set()
        """Heads whose triangles are logged, which never change."""
        self._status: Status | None = None
        self._worker = NewestWorker("trg-live-rerun", self._log)

    def send(self, frame: LiveFrame) -> None:
        """Offer a frame."""
        self._worker.put(frame)

    def show_status(self, status: Status) -> None:
        """Log latency and frame rate with the next frame."""
        self._status = status

    def close(self) -> None:
        """Write what is not written yet."""
        self._worker.close()
        try:
            self._recording.flush(timeout_sec=FLUSH_TIMEOUT_S)
        except RuntimeError:
            self._notify("view: Rerun did not take the last frames; its viewer may be closed")
        self._recording.disconnect()

    def _log(self, frame: LiveFrame) -> None:
        recording = self._recording
        recording.set_time("time", duration=frame.time_s)
        recording.set_time("frame", sequence=frame.index)
        self._log_picture(frame)
        seen = {number: each for number, each in enumerate(frame.faces) if each.is_seen}
        for number, live in seen.items():
            self._log_face(f"world/head_{number}", number, live)
        for number in self._shown - seen.keys():
            recording.log(f"world/head_{number}", self._rr.Clear(recursive=True))
        self._shown = set(seen)
        if (status := self._status) is not None:
            self._status = None
            recording.log("status/latency_ms", self._rr.Scalars(list(status.latency_ms)))
            recording.log("status/fps", self._rr.Scalars(status.fps))
        if frame.main is not None:
            for name, value in zip(("yaw", "pitch", "roll"), frame.main.euler_deg(), strict=True):
                recording.log(f"sent/angles_deg/{name}", self._rr.Scalars(value))
            for name, value in zip("xyz", frame.main.translation_m, strict=True):
                recording.log(f"sent/position_m/{name}", self._rr.Scalars(float(value)))

    def _log_picture(self, frame: LiveFrame) -> None:
        camera = frame.camera
        if self._size != (camera.width, camera.height):
            self._size = (camera.width, camera.height)
            pinhole = self._rr.Pinhole(
                focal_length=[camera.fx, camera.fy],
                principal_point=[camera.cx, camera.cy],
                resolution=list(self._size),
                image_plane_distance=PLANE_M,
            )
            self._recording.log("world/camera", pinhole)
        picture: Any = self._rr.Image(frame.pixels).compress(jpeg_quality=JPEG_QUALITY)
        self._recording.log("world/camera/picture", picture)

    def _log_face(self, path: str, number: int, live: LiveFace) -> None:
        face = live.face
        pose = self._rr.Transform3D(translation=face.translation_m, mat3x3=face.rotation)
        axes = self._rr.Arrows3D(vectors=AXIS_LENGTH_M * AXIS_DIRECTIONS, colors=AXIS_COLOURS)
        if number not in self._known:
            self._known.add(number)
            same = self._rr.Mesh3D.from_fields(
                triangle_indices=face.topology.triangles,
                albedo_factor=PALETTE[number % len(PALETTE)],
            )
            self._recording.log(f"{path}/mesh", same, static=True)
        mesh = self._rr.Mesh3D.from_fields(
            vertex_positions=face.landmarks_m.astype(np.float32),
            vertex_normals=face.mesh().normals() @ face.rotation,
        )
        self._recording.log(path, pose)
        self._recording.log(f"{path}/axes", axes)
        self._recording.log(f"{path}/mesh", mesh)


def _start_viewer() -> int:
    """Start the viewer and return its port.

    Rerun's own function for this listens in the whole network, for who likes to see the pictures.
    """
    with socket.create_server((LOOPBACK, 0)) as free:
        port: int = free.getsockname()[1]
    options = ("--bind", LOOPBACK, "--port", str(port), "--expect-data-soon")
    viewer = subprocess.Popen([sys.executable, "-m", "rerun", *options], start_new_session=True)
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while viewer.poll() is None and time.monotonic() < give_up_s:
        with suppress(OSError), socket.create_connection((LOOPBACK, port), 1.0):
            return port
        time.sleep(0.1)
    viewer.kill()
    raise OSError("view: Rerun's viewer did not start; without a screen, record a .rrd file")
