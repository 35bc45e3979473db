"""The webcams of this computer: their names, and how FFmpeg opens one."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import av.device

LINUX_DEVICES = Path("/sys/class/video4linux")
DEFAULT_MAC_FPS = 30.0
"""AVFoundation's own default is refused by most webcams."""

_FORMATS = {"win32": "dshow", "darwin": "avfoundation"}


class Webcam(NamedTuple):
    """A webcam that was found."""

    number: int
    """As ``trg live`` and :class:`trg.io.video.VideoReader` take it."""
    name: str
    problem: str = ""
    """Why it cannot be opened, if that is known."""


class CaptureMode(NamedTuple):
    """What a webcam is asked for; what it is not asked for is its own choice."""

    size: tuple[int, int] | None = None
    """Width and height of the pictures, px."""
    fps: float | None = None
    """Pictures per second."""

    def __str__(self) -> str:
        """Return the size and the rate, as far as they are given."""
        size = "" if self.size is None else f" {self.size[0]}x{self.size[1]}"
        return f"{size}{'' if self.fps is None else f' at {self.fps:g} fps'}".strip()


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``1280x720``. Raises ValueError if that is no size."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.strip().lower())
    if found is None:
        raise ValueError(f"capture size: expected WIDTHxHEIGHT such as 1280x720, got {text!r}")
    return int(found[1]), int(found[2])


def list_webcams(platform: str = sys.platform, devices: Path = LINUX_DEVICES) -> list[Webcam]:
    """Return the webcams by number. On macOS screens that can be captured are among them.

    ``platform`` is :data:`sys.platform`; ``devices`` Linux's folder of video devices.

    Raises OSError if FFmpeg cannot list them.
    """
    if platform not in _FORMATS:
        return _linux_webcams(devices)
    return [
        Webcam(number, device.description or device.name)
        for number, device in enumerate(_ffmpeg_devices(_FORMATS[platform]))
    ]


def find_webcam(text: str, webcams: list[Webcam]) -> Webcam | None:
    """Return the webcam that a name means, or some words of it, as "C920"; None if there is none.

    Raises ValueError if it means several.
    """
    words = text.lower().split()
    fitting = [
        each for each in webcams if words and all(word in each.name.lower() for word in words)
    ]
    exact = [each for each in fitting if each.name.lower() == text.lower()]
    found = exact or fitting
    if len(found) > 1:
        names = ", ".join(f"{each.number} ({each.name})" for each in found)
        raise ValueError(f"{text}: expected the name of one webcam, it fits {names}; use a number")
    return found[0] if found else None


def webcam_input(
    number: int, platform: str, mode: CaptureMode = CaptureMode()
) -> tuple[str, str, list[dict[str, str]]]:
    """Return FFmpeg's file name and format for a webcam, and its options, the best ones first.

    ``platform`` is :data:`sys.platform`.

    Raises FileNotFoundError if there is no webcam with this number.
    """
    if number < 0:
        raise FileNotFoundError(f"expected the number of a webcam, from 0, got {number}")
    options = {} if mode.size is None else {"video_size": f"{mode.size[0]}x{mode.size[1]}"}
    if mode.fps is not None:
        options["framerate"] = f"{mode.fps:g}"
    if platform == "darwin":
        return f"{number}:none", "avfoundation", [{"framerate": f"{DEFAULT_MAC_FPS:g}", **options}]
    if platform == "win32":
        names = [device.name for device in _ffmpeg_devices("dshow")]
        if number >= len(names):
            raise FileNotFoundError(f"webcam {number}: found {len(names)} webcams, {names}")
        return f"video={names[number]}", "dshow", [options]
    file = f"/dev/video{number}"
    if not os.path.exists(file):
        raise FileNotFoundError(f"webcam {number}: expected {file}, found no such device")
    # Uncompressed, large pictures come at a fraction of the rate.
    return file, "v4l2", [{"input_format": "mjpeg", **options}, options] if options else [{}]


def _linux_webcams(devices: Path) -> list[Webcam]:
    found = []
    for folder in devices.glob("video[0-9]*"):
        number = folder.name.removeprefix("video")
        # A webcam's second device has data about its pictures.
        if not number.isdigit() or _text(folder / "index") not in ("0", ""):
            continue
        file = f"/dev/video{number}"
        problem = ""
        if os.path.exists(file) and not os.access(file, os.R_OK | os.W_OK):
            problem = f"no permission for {file}; the group video usually has it"
        found.append(Webcam(int(number), _text(folder / "name") or "without a name", problem))
    return sorted(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _ffmpeg_devices(format_name: str) -> list[av.device.DeviceInfo]:
    import av
    import av.device

    try:
        devices = av.device.enumerate_input_devices(format_name)
    except (av.FFmpegError, ValueError) as error:
        raise OSError(f"webcams: FFmpeg cannot list them ({error})") from None
    return [device for device in devices if "video" in device.media_types]
