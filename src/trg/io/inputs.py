"""The inputs of a command line: photos, folders, globs, videos, webcams and network streams."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from trg.io.images import is_image_file

# fmt: off
PHOTO_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".bmp", ".dib", ".gif", ".tif",
    ".tiff", ".mpo", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".heic", ".heif",
})
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".flv", ".3gp", ".3g2", ".ogv", ".vob", ".mxf", ".mjpeg", ".mjpg", ".h264", ".264",
    ".hevc", ".y4m",
})
# fmt: on
STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp")


class PhotoInput(NamedTuple):
    """A still image."""

    name: str
    """For records and messages: the path as the user gave it."""
    path: str


class VideoInput(NamedTuple):
    """A video file, a webcam or a network stream."""

    name: str
    """For records and messages: the path as the user gave it, "webcam 0", or the URL without its
    password."""
    address: str | int
    """For :class:`~trg.io.video.VideoReader`: a path, a URL or the number of a webcam."""
    is_live: bool = False
    """Whether it is a webcam or stream, which ends when the user stops it."""

    @property
    def path(self) -> str | None:
        """The file; None for a webcam or stream."""
        return None if self.is_live else str(self.address)


MediaInput: TypeAlias = PhotoInput | VideoInput


def find_inputs(arguments: Sequence[str]) -> list[MediaInput]:
    """Return the inputs that command line arguments name, in their order, without duplicates.

    An argument is a photo or video; a folder, which is searched recursively in the order of the
    paths, without hidden files; a glob (``**`` matches subfolders); the number of a webcam; or
    the URL of a stream (``STREAM_SCHEMES``). A file with an unknown ending is a photo if Pillow
    recognises its content, and otherwise a video.

    Raises
    ------
    FileNotFoundError
        An argument matches nothing, or a folder or glob without a photo or video. All such
        arguments are listed.
    """
    inputs: dict[str | int, MediaInput] = {}
    unmatched = []
    for argument in arguments:
        matches = list(_expand(argument))
        if not matches:
            unmatched.append(argument)
        for match in matches:
            key = match.path if isinstance(match, PhotoInput) else match.address
            inputs.setdefault(key, match)
    if unmatched:
        raise FileNotFoundError(
            "expected photos, videos, folders, globs, webcam numbers or stream URLs; "
            f"found nothing at {', '.join(map(repr, unmatched))}"
        )
    return list(inputs.values())


def is_stream_url(text: str) -> bool:
    """Return whether this is the URL of a stream rather than a path."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in STREAM_SCHEMES


def without_password(url: str) -> str:
    """Return the URL without its user name and password."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def _expand(argument: str) -> Iterator[MediaInput]:
    if is_stream_url(argument):
        yield VideoInput(without_password(argument), argument, is_live=True)
    elif os.path.isdir(argument):
        yield from _in_folder(argument)
    elif os.path.exists(argument):
        yield _by_name(argument) or _by_content(argument)
    elif argument.isascii() and argument.isdigit():
        yield VideoInput(f"webcam {int(argument)}", int(argument), is_live=True)
    elif glob.has_magic(argument):
        for path in sorted(glob.glob(argument, recursive=True)):
            if os.path.isdir(path):
                # With ** the glob itself matches the files in folders.
                yield from () if "**" in argument else _in_folder(path)
            elif match := _by_name(path):
                yield match


def _in_folder(folder: str) -> Iterator[MediaInput]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            match = None if name.startswith(".") else _by_name(os.path.join(parent, name))
            if match:
                yield match


def _by_name(path: str) -> MediaInput | None:
    suffix = Path(path).suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        return PhotoInput(path, path)
    return VideoInput(path, path) if suffix in VIDEO_SUFFIXES else None


def _by_content(path: str) -> MediaInput:
    return PhotoInput(path, path) if is_image_file(path) else VideoInput(path, path)
