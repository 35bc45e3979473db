"""Webcams: found in a made-up /sys, by name, with a size and a rate. None of them is a device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import av.device
import av.error
import pytest

from trg.io import video, webcams
from trg.io.inputs import find_inputs
from trg.io.video import VideoReader
from trg.io.webcams import CaptureMode, Webcam, find_webcam, list_webcams, parse_size, webcam_input

FOUND = [Webcam(0, "Integrated Camera"), Webcam(2, "HD Pro Webcam C920"), Webcam(4, "HD Webcam")]


@pytest.fixture
def devices(tmp_path) -> Path:
    """Linux's folder: two webcams, each with a second device for data, and one that is odd."""
    for name, index, title in (
        ("video0", "0", "Integrated Camera: Integrated C"),
        ("video1", "1", "Integrated Camera: Integrated C"),
        ("video2", "0", "HD Pro Webcam C920"),
        ("video3", "1", "HD Pro Webcam C920"),
        ("video10", "0", ""),
        ("v4l-subdev0", "0", "sensor"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index").write_text(f"{index}\n")
        (tmp_path / name / "name").write_text(f"{title}\n")
    return tmp_path


def test_linux_webcams_are_found_by_number_and_name(devices):
    assert list_webcams("linux", devices) == [
        Webcam(0, "Integrated Camera: Integrated C"),
        Webcam(2, "HD Pro Webcam C920"),
        Webcam(10, "without a name"),
    ]
    assert list_webcams("linux", devices / "nowhere") == []


def test_a_webcam_that_may_not_be_opened_says_so(devices, monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/video2")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    problems = [each.problem for each in list_webcams("linux", devices)]
    assert problems == ["", "no permission for /dev/video2; the group video usually has it", ""]


def info(name: str, description: str, *kinds: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, description=description, media_types=list(kinds))


@pytest.mark.parametrize(("platform", "kind"), [("win32", "dshow"), ("darwin", "avfoundation")])
def test_other_systems_are_asked_through_ffmpeg(monkeypatch, platform, kind):
    asked = []

    def enumerate_devices(format_name: str) -> Sequence[SimpleNamespace]:
        asked.append(format_name)
        return [
            info("@mic", "Microphone", "audio"),
            info("@one", "Integrated Camera", "video"),
            info("@two", "", "video"),
        ]

    monkeypatch.setattr(av.device, "enumerate_input_devices", enumerate_devices)
    assert list_webcams(platform) == [Webcam(0, "Integrated Camera"), Webcam(1, "@two")]
    assert asked == [kind]


def test_ffmpeg_that_cannot_list_is_an_error_of_one_line(monkeypatch):
    def fail(format_name: str) -> None:
        raise ValueError("no such input format: 'dshow'")

    monkeypatch.setattr(av.device, "enumerate_input_devices", fail)
    with pytest.raises(OSError, match="webcams: FFmpeg cannot list them"):
        list_webcams("win32")


def test_a_webcam_is_found_by_words_of_its_name():
    assert find_webcam("c920", FOUND) == FOUND[1]
    assert find_webcam("webcam pro", FOUND) == FOUND[1]
    assert find_webcam("HD Webcam", FOUND) == FOUND[2]  # exactly, though another fits too
    assert find_webcam("nobody", FOUND) is None
    assert find_webcam(" ", FOUND) is None
    with pytest.raises(ValueError, match=r"it fits 2 \(HD Pro Webcam C920\), 4 \(HD Webcam\)"):
        find_webcam("hd", FOUND)


@pytest.mark.parametrize("path", ["/dev/video7", "/dev/../dev/video7"])
def test_a_device_file_is_a_webcam(path):
    (found,) = find_inputs([path])
    assert (found.name, found.address, found.is_live) == (path, 7, True)


def test_sizes_are_parsed():
    assert parse_size("1280x720") == parse_size(" 1280X720 ") == (1280, 720)
    for text in ("720p", "1280", "0x720", "1280x", "-1x5", "1280x720x3", "9" * 9 + "x1"):
        with pytest.raises(ValueError, match="expected WIDTHxHEIGHT such as 1280x720"):
            parse_size(text)


HD = CaptureMode((1280, 720), 60.0)


def test_size_and_rate_are_options_of_each_system(monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    plain = {"video_size": "1280x720", "framerate": "60"}
    assert webcam_input(0, "linux", HD)[2] == [{"input_format": "mjpeg", **plain}, plain]
    assert webcam_input(0, "darwin", HD)[2] == [plain]
    assert webcam_input(0, "darwin", CaptureMode((640, 480)))[2] == [
        {"framerate": "30", "video_size": "640x480"}
    ]
    monkeypatch.setattr(webcams, "_ffmpeg_devices", lambda kind: [info("@one", "Camera", "video")])
    assert webcam_input(0, "win32", HD) == ("video=@one", "dshow", [plain])


def test_a_webcam_without_jpeg_is_opened_without_and_one_that_refuses_names_what_it_was_asked(
    monkeypatch,
):
    attempts: list[dict] = []

    def refuse(file, format, container_options, timeout):  # noqa: A002 -- PyAV's name
        attempts.append(container_options)
        raise av.error.ArgumentError(22, "Invalid argument", "/dev/video0")

    monkeypatch.setattr(os.path, "exists", lambda path: True)
    monkeypatch.setattr(video.sys, "platform", "linux")
    monkeypatch.setattr(video.av, "open", refuse)
    with pytest.raises(OSError, match="webcam 0: cannot be read with 1280x720 at 60 fps"):
        VideoReader(0, mode=HD)
    assert [each.get("input_format") for each in attempts] == ["mjpeg", None]
    with pytest.raises(OSError, match=r"webcam 0: cannot be read \("):
        VideoReader(0)
    assert attempts[2:] == [{}]
