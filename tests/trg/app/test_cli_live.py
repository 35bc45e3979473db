"""``trg live``: from a clip to receivers, its options, keys and signals."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import sys
import time
from threading import Event
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from tests.support.cli import trg_cli  # noqa: F401 -- a fixture
from tests.support.live_frames import TIMEOUT_S, port_of, udp_receiver
from tests.support.synthetic_topology import ellipsoid_topology
from trg.app.cli.hotkeys import hot_keys
from trg.app.cli.live import stop_and_neutral_signals
from trg.app.cli.optional_values import complete_view
from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER
from trg.inference.detector import BUNDLED
from trg.io.video import VideoFrame
from trg.io.video_writer import VideoWriter
from trg.io.webcams import CaptureMode, Webcam

pytest.importorskip("onnx")
from tests.support.constant_bundle import write_constant_bundle


@pytest.fixture
def clip(tmp_path):
    """Half a second with a face."""
    image = Image.open(SELFTEST_FOLDER / IMAGE_NAME).convert("RGB").resize((320, 320))
    with VideoWriter(tmp_path / "clip.mp4", 320, 320, 20.0) as writer:
        for index in range(10):
            writer.write(np.asarray(image), index / 20)
    return tmp_path / "clip.mp4"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "constant.trg"
    write_constant_bundle(path, ellipsoid_topology(), (0.0, 0.0, 0.6))
    return path


@pytest.mark.skipif(not BUNDLED.is_file(), reason="this copy of the package has no face detector")
def test_a_clip_is_sent_in_real_time_to_several_receivers(trg_cli, clip, model):  # noqa: F811
    with udp_receiver() as receiver:
        target = f"udp+json://127.0.0.1:{port_of(receiver)}"
        options = ("--send", target, "-", "ws://127.0.0.1:0", "--neutral", "--frame", "ros")
        done = trg_cli("live", clip, "--model", model, *options)
        datagram = json.loads(receiver.recv(65536))
    assert done.code == 0, done.err
    assert done.records[0]["source"] == datagram["source"] == str(clip)
    assert datagram["axes"] == "ros"
    assert done.records[-1]["frame"] == 9
    assert "frames, " in done.err
    assert "from capture to sending" in done.err


@pytest.mark.skipif(not BUNDLED.is_file(), reason="this copy of the package has no face detector")
def test_an_assumed_camera_is_said_and_a_stated_one_is_not(trg_cli, clip, model):  # noqa: F811
    done = trg_cli("live", clip, "--model", model)
    assert "assuming a diagonal field of view of 60 degrees" in " ".join(done.err.split())
    done = trg_cli("live", clip, "--model", model, "--fov", "70")
    assert "assuming" not in done.err


@pytest.mark.skipif(not BUNDLED.is_file(), reason="this copy of the package has no face detector")
def test_mirrored_pictures_are_mirrored_back(trg_cli, clip, model):  # noqa: F811
    boxes = []
    for mirror in ([], ["--mirror"]):
        done = trg_cli("live", clip, "--model", model, "--send", "-", *mirror)
        (face,) = done.records[-1]["faces"]
        boxes.append(face["box_xyxy"])
    (x0, _, x1, _), (mirrored_x0, _, mirrored_x1, _) = boxes
    assert (mirrored_x0, mirrored_x1) == pytest.approx((320 - x1, 320 - x0), abs=8.0)


@pytest.mark.skipif(not BUNDLED.is_file(), reason="this copy of the package has no face detector")
def test_nothing_is_sent_that_was_not_asked_for(trg_cli, clip, model, monkeypatch):  # noqa: F811
    def refuse(*arguments, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    done = trg_cli("live", clip, "--model", model)
    assert (done.code, done.out) == (0, "")
    assert "nothing is sent" in done.err


@pytest.mark.skipif(not BUNDLED.is_file(), reason="this copy of the package has no face detector")
def test_a_view_is_opened_on_this_computer_alone(trg_cli, clip, model):  # noqa: F811
    done = trg_cli("live", "--view", clip, "--model", model)
    assert done.code == 0, done.err
    assert re.search(r"view: http://127\.0\.0\.1:\d+/\?key=\S{16}$", done.err, re.M)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--view"], ["--view=browser"]),
        (["--view", "--neutral"], ["--view=browser", "--neutral"]),
        (["--view", "clip.mp4"], ["--view=browser", "clip.mp4"]),
        (["--view", "rerun"], ["--view=rerun"]),
        (["--view", "127.0.0.1:8766", "0"], ["--view=127.0.0.1:8766", "0"]),
        (["--view=rerun"], ["--view=rerun"]),
    ],
)
def test_the_value_of_view_may_be_left_out(arguments, expected):
    assert complete_view(["live", *arguments]) == ["live", *expected]


def test_another_verbs_view_keeps_its_value():
    given = ["eval", "synthetic", "--view", "virtual"]
    assert complete_view(given) == given


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.mp4",), "nowhere.mp4: expected a webcam's number or name"),
        ((SELFTEST_FOLDER / IMAGE_NAME,), "a webcam's number or name, a stream's URL or a video"),
        (("{clip}", "--person", "tallest"), "expected largest, nearest, all or a number"),
        (("{clip}", "--mount", "above=3"), "mount: expected NAME=NUMBER"),
        (("{clip}", "--smoothing", "yaw=1"), "smoothing: expected AXIS=HZ,BETA"),
        (("{clip}", "--smoothing", "ear=1,2"), "smoothing: expected AXIS=HZ,BETA"),
        (("{clip}", "--predict", "2"), "expected 0 to 1 frames"),
        (("{clip}", "--ipd", "6"), "expected 30 to 90"),
        (("{clip}", "--capture-size", "720p"), "capture size: expected WIDTHxHEIGHT"),
        (("{clip}", "--capture-size", "640x480"), "expected a webcam to choose a capture size for"),
        (("{clip}", "--view=window"), "view: expected browser, rerun, HOST:PORT"),
        (("{clip}", "--send", "morse://127.0.0.1:1"), "morse://127.0.0.1:1: expected"),
        (("{clip}", "--send", "osc://127.0.0.1"), "expected a host and a port"),
        (("--send", "osc://127.0.0.1:9000", "{clip}"), "the webcam or video comes first"),
    ],
)
def test_invalid_arguments_are_one_line(trg_cli, clip, arguments, message):  # noqa: F811
    done = trg_cli("live", *(str(each).format(clip=clip) for each in arguments))
    assert done.code != 0
    assert message in done.err


def test_a_webcam_that_is_missing_is_said_before_the_model_is_loaded(trg_cli, monkeypatch):  # noqa: F811
    monkeypatch.setattr("trg.estimator.HeadPoseEstimator", None)
    done = trg_cli("live", "77")
    assert done.code == 2
    assert "webcam 77" in done.err


def test_webcams_are_listed(trg_cli, monkeypatch):  # noqa: F811
    webcams = [Webcam(0, "Integrated Camera"), Webcam(2, "C920", "no permission")]
    monkeypatch.setattr("trg.io.webcams.list_webcams", lambda: webcams)
    done = trg_cli("live", "--list")
    assert (done.code, done.out) == (0, "0  Integrated Camera\n2  C920  (no permission)\n")
    monkeypatch.setattr("trg.io.webcams.list_webcams", list)
    done = trg_cli("live", "--list")
    assert (done.code, done.out) == (0, "")
    assert "no webcam was found" in done.err


class FakeWebcam:
    """A webcam that takes what it is asked for, except that its pictures are 640x480."""

    opened: ClassVar[list] = []
    width, height, fps = 640, 480, 30.0

    def __init__(self, number, *, mode) -> None:
        self.opened.append((number, mode))

    def __iter__(self):
        for index in range(3):
            yield VideoFrame(index, index / 30, np.zeros((480, 640, 3), np.uint8))
        signal.raise_signal(signal.SIGINT)
        time.sleep(TIMEOUT_S)

    def close(self) -> None:
        pass


@pytest.mark.skipif(not BUNDLED.is_file(), reason="this copy of the package has no face detector")
def test_a_webcam_by_name_is_asked_for_a_size_and_a_rate(trg_cli, model, monkeypatch):  # noqa: F811
    monkeypatch.setattr("trg.io.webcams.list_webcams", lambda: [Webcam(2, "HD Pro Webcam C920")])
    monkeypatch.setattr("trg.live.capture.VideoReader", FakeWebcam)
    options = ("--capture-size", "1280x720", "--fps", "60", "--model", model)
    done = trg_cli("live", "C920", *options)
    assert done.code == 0, done.err
    assert FakeWebcam.opened == [(2, CaptureMode((1280, 720), 60.0))]
    assert "HD Pro Webcam C920: 640x480 px in place of 1280x720" in done.err


def test_parameters_of_single_axes_leave_the_others(clip):
    from trg.app.cli.live_options import parse_smoothing
    from trg.inference.smoothing import FaceSmoothing, OneEuroParameters

    default, given = FaceSmoothing(), OneEuroParameters(2.0, 3.0)
    smoothing = parse_smoothing(["yaw=2,3", "z=2,3"])
    assert smoothing.rotation == (default.rotation, given, default.rotation)
    assert (smoothing.position, smoothing.depth) == (default.position, given)
    assert parse_smoothing([]) == default


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_signals_stop_and_set_the_neutral_pose():
    stop, neutral = Event(), Event()
    with stop_and_neutral_signals(stop, neutral.set):
        signal.raise_signal(signal.SIGUSR1)
        assert (neutral.is_set(), stop.is_set()) == (True, False)
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a POSIX terminal")
def test_keys_of_a_terminal_are_read_one_by_one_and_the_terminal_is_restored(monkeypatch):
    import termios

    main, terminal = os.openpty()
    before = termios.tcgetattr(terminal)
    keys: queue.Queue = queue.Queue()
    with os.fdopen(terminal, "r") as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        monkeypatch.setattr(os, "tcgetpgrp", lambda descriptor: os.getpgrp())
        with hot_keys(keys.put) as has_keyboard:
            assert has_keyboard
            os.write(main, b"n")  # without Enter
            assert keys.get(timeout=TIMEOUT_S) == "n"
            os.write(main, b"\r")
            assert keys.get(timeout=TIMEOUT_S) in "\r\n"
        assert termios.tcgetattr(terminal) == before
    os.close(main)


def test_without_a_terminal_no_key_is_read(monkeypatch, tmp_path):
    (tmp_path / "input").write_text("n")
    with (tmp_path / "input").open() as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        with hot_keys(print) as has_keyboard:
            assert not has_keyboard
        assert standard_input.read() == "n"
