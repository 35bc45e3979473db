"""What the user points at: photos, folders, globs, videos, webcams and streams, in order."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

AssetKind = Literal["photo", "video", "webcam", "stream"]

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


class MediaInput(NamedTuple):
    """One thing to read."""

    name: str
    """For records and messages: the path as it was given, "webcam 0", or the URL without its
    password."""
    kind: AssetKind
    path: str | int
    """For ``read_image`` (photos) or ``VideoReader`` (the rest)."""


def find_inputs(arguments: Sequence[str]) -> list[MediaInput]:
    """Turn what stands on a command line into the media it names, each once, in that order.

    An argument is a photo or video; a folder, taken with all its folders, in the order of the
    paths, hidden files left out; a glob (``**`` goes into folders); the number of a webcam; or
    the URL of a stream (``STREAM_SCHEMES``). A file whose name does not tell its kind is a photo
    if Pillow knows it, and otherwise taken for a video.

    Raises
    ------
    FileNotFoundError
        An argument names nothing, or a folder or glob without a photo or video. All such
        arguments are named.
    """
    sources: dict[str | int, MediaInput] = {}
    missing = []
    for argument in arguments:
        found = list(_sources_of(argument))
        if not found:
            missing.append(argument)
        for source in found:
            sources.setdefault(source.path, source)
    if missing:
        raise FileNotFoundError(
            "expected photos, videos, folders, globs, webcam numbers or stream URLs; "
            f"found nothing at {', '.join(map(repr, missing))}"
        )
    return list(sources.values())


def is_stream_url(text: str) -> bool:
    """Say whether this is the URL of a stream rather than a path."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in STREAM_SCHEMES


def without_password(url: str) -> str:
    """Return the URL as it may be shown."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def _sources_of(argument: str) -> Iterator[MediaInput]:
    if is_stream_url(argument):
        yield MediaInput(without_password(argument), "stream", argument)
    elif os.path.isdir(argument):
        yield from _in_folder(argument)
    elif os.path.exists(argument):
        yield MediaInput(argument, _kind_by_name(argument) or _kind_by_content(argument), argument)
    elif argument.isascii() and argument.isdigit():
        yield MediaInput(f"webcam {int(argument)}", "webcam", int(argument))
    elif glob.has_magic(argument):
        for path in sorted(glob.glob(argument, recursive=True)):
            if os.path.isdir(path):
                # With ** the folders' files are matched by themselves.
                yield from () if "**" in argument else _in_folder(path)
            elif kind := _kind_by_name(path):
                yield MediaInput(path, kind, path)


def _in_folder(folder: str) -> Iterator[MediaInput]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            kind = None if name.startswith(".") else _kind_by_name(name)
            if kind:
                path = os.path.join(parent, name)
                yield MediaInput(path, kind, path)


def _kind_by_name(path: str) -> Literal["photo", "video"] | None:
    suffix = Path(path).suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        return "photo"
    return "video" if suffix in VIDEO_SUFFIXES else None


def _kind_by_content(path: str) -> Literal["photo", "video"]:
    try:
        with Image.open(path):
            return "photo"
    except Exception:  # Pillow raises anything on bytes it does not know; so it is no photo
        return "video"
