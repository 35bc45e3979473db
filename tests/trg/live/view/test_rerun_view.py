"""Rerun: what is logged where, on which timelines, and that a recording can be read."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("rerun", reason="needs the extra rerun")
import rerun as rr

from tests.support.faces import face_topology
from tests.support.live_frames import live_face, live_frame, moved_frame
from trg.live.statistics import Status
from trg.live.view import open_view, rerun_view
from trg.live.view.rerun_view import RerunView


def open_rerun(path) -> RerunView:
    view = open_view(str(path), face_topology(), print, print)
    assert isinstance(view, RerunView)
    return view


def numbers(batch) -> list[float]:
    """Return the numbers of a component."""
    return np.concatenate([np.ravel(each) for each in batch.as_arrow_array().to_pylist()]).tolist()


def test_a_recording_has_picture_camera_axes_and_mesh(tmp_path):
    path = tmp_path / "out.rrd"
    view = open_rerun(path)
    view.show_status(Status(29.97, (17.0, 28.0), 100, 3, 0.4, 1))
    view.send(live_frame(live_face()))
    view.close()
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", "-v", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    for entity in (
        "/world/camera@Pinhole:image_from_camera",
        "/world/camera/picture@EncodedImage:blob",
        "/world/head_0@Transform3D:translation",
        "/world/head_0/axes@Arrows3D:vectors",
        "/world/head_0/mesh@Mesh3D:vertex_positions",
        "/world/head_0/mesh@Mesh3D:triangle_indices",
        "/sent/angles_deg/yaw@Scalars:scalars",
        "/status/latency_ms@Scalars:scalars",
    ):
        assert entity in done.stdout


def test_the_poses_are_those_before_the_camera_and_a_lost_head_goes(tmp_path, monkeypatch):
    logged: dict = {}
    counts: Counter = Counter()

    def log(self, path, archetype, **options):
        logged[path] = archetype
        counts[path] += 1

    times: dict = {}
    monkeypatch.setattr(rr.RecordingStream, "log", log)
    monkeypatch.setattr(
        rr.RecordingStream, "set_time", lambda self, name, **time: times.update({name: time})
    )
    view = open_rerun(tmp_path / "out.rrd")
    frame = moved_frame("turns to their left", translation_m=(0.1, 0.0, 0.7))
    view._log(frame)
    view._log(frame)
    assert times == {"time": {"duration": frame.time_s}, "frame": {"sequence": frame.index}}
    pose = logged["world/head_0"]
    assert numbers(pose.translation) == pytest.approx([0.1, 0.0, 0.7])
    columns = np.array(numbers(pose.mat3x3)).reshape(3, 3)  # Rerun stores column by column
    np.testing.assert_allclose(columns.T, frame.main.face.rotation, atol=1e-6)
    assert numbers(logged["sent/angles_deg/yaw"].scalars) == pytest.approx([-20.0])
    # Once static, then twice with new vertices; the camera only once.
    assert (counts["world/head_0/mesh"], counts["world/camera"]) == (3, 1)
    view._log(live_frame(live_face(is_seen=False)))
    assert isinstance(logged["world/head_0"], rr.Clear)
    view.close()


def test_a_file_that_exists_is_kept(tmp_path):
    path = tmp_path / "out.rrd"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="expected the name of a new file"):
        open_rerun(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_rerun(tmp_path / "nowhere" / "out.rrd")
    assert path.read_text() == "precious"


@pytest.mark.slow
def test_the_viewer_is_for_this_computer_alone_and_may_be_closed(monkeypatch):
    """A stand-in for the viewer, which takes the connection and goes."""
    started = []

    class Viewer:
        def __init__(self, command, **options) -> None:
            started.extend(command)
            port = int(command[command.index("--port") + 1])
            self.listening = socket.create_server(("127.0.0.1", port))

        def poll(self) -> None:
            return None

    monkeypatch.setattr(rerun_view.subprocess, "Popen", Viewer)
    monkeypatch.setattr(rerun_view, "FLUSH_TIMEOUT_S", 0.2)
    said: list[str] = []
    view = open_view("rerun", face_topology(), said.append, print)
    assert started[started.index("--bind") + 1] == "127.0.0.1"
    view.send(live_frame(live_face()))
    view.close()
    assert said == ["view: Rerun did not take the last frames; its viewer may be closed"]


def test_a_viewer_that_ends_at_once_is_an_error(monkeypatch):
    monkeypatch.setattr(rerun_view.sys, "executable", shutil.which("true"))
    with pytest.raises(OSError, match=r"Rerun's viewer did not start"):
        open_view("rerun", face_topology(), print, print)
