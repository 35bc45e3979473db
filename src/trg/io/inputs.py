"""The inputs of a command line: photos, folders, globs, videos, webcams and network streams."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from trg._util.files import real_path
from trg._util.urls import without_secrets
from trg.io.images import frame_count, is_image_file

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
_ENDINGS = ", ".join(sorted(PHOTO_SUFFIXES | VIDEO_SUFFIXES))

_NUMBER = re.compile(r"%(?:0?\d)?d")
"""C's format of a number in a file name, as FFmpeg takes it."""

_SEPARATORS = re.escape(os.sep + (os.altsep or ""))
_RECURSIVE = re.compile(rf"(?<![^{_SEPARATORS}])\*\*(?:[{_SEPARATORS}]+|$)")
"""The first component ``**`` of a glob."""

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp")


_LINUX_WEBCAM = re.compile(r"/dev/video(\d{1,4})")

STDIN_ARGUMENT, STDIN_NAME = "-", "<stdin>"


class PhotoInput(NamedTuple):
    """A still image."""

    name: str
    """For records and messages: the path as the user gave it, or "<stdin>"."""
    path: str | None
    """The file; None for standard input."""

    @property
    def content(self) -> str | BinaryIO:
        """For :func:`~trg.io.images.read_image`: the path, or the stream of standard input."""
        return sys.stdin.buffer if self.path is None else self.path


class PhotoBytes(NamedTuple):
    """A still image that is no file of its own: in an archive, a table or an object store."""

    name: str
    """For records and messages."""
    read: Callable[[], bytes]
    """Returns the bytes; raises OSError or ValueError if it cannot."""
    path: None = None

    @property
    def content(self) -> BinaryIO:
        """For :func:`~trg.io.images.read_image`."""
        stream = BytesIO(self.read())
        stream.name = self.name
        return stream


Photo: TypeAlias = PhotoInput | PhotoBytes


class NumberedFrames(NamedTuple):
    """Numbered image files that are the frames of a clip."""

    path: str
    """With ``%d`` or ``%04d`` for the number."""
    fps: float


class AnimatedImage(NamedTuple):
    """An image file with several frames, to be read as a clip."""

    path: str


class VideoInput(NamedTuple):
    """A video file, a webcam, a network stream, or still images that make a clip."""

    name: str
    """For records and messages: the path as the user gave it, "webcam 0", or the URL without
    passwords and tokens."""
    address: str | int | NumberedFrames | AnimatedImage
    """For :func:`~trg.io.image_clip.open_clip`: a path, a URL, the number of a webcam, images."""
    is_live: bool = False
    """Whether it is a webcam or stream, which ends when the user stops it."""

    @property
    def path(self) -> str | None:
        """The file, or the pattern of numbered files; None for a webcam or stream."""
        if isinstance(self.address, NumberedFrames | AnimatedImage):
            return self.address.path
        return None if self.is_live else str(self.address)


class UnreadableFolder(NamedTuple):
    """A folder whose files are missing among the inputs."""

    name: str
    """For records and messages: its path."""
    path: str
    message: str
    """Why it cannot be read; names the folder."""


MediaInput: TypeAlias = PhotoInput | PhotoBytes | VideoInput | UnreadableFolder


def find_inputs(
    arguments: Sequence[str],
    ignored: list[str] | None = None,
    *,
    fps: float | None = None,
    animated: bool = False,
) -> list[MediaInput]:
    """Return the inputs that command line arguments name, in their order, without duplicates.

    Two paths of one file are duplicates, such as a relative and an absolute one. The paths of
    files in folders that are neither photos nor videos are appended to ``ignored``.

    An argument is a photo or video; a folder, which is searched recursively in the order of the
    paths, without hidden files; a glob (``**`` matches subfolders); ``-`` for an image on standard
    input; the number of a webcam, or its ``/dev/videoN``; or the URL of a stream
    (``STREAM_SCHEMES``). ``~`` and ``file://`` are resolved. Links to folders are followed, but
    each folder is searched once. A file with an unknown ending is a photo if its content is, and
    otherwise a video. Numbered files
    (``frame_%04d.jpg``) are a clip of ``fps`` frames a second. With ``animated``, animated images
    are clips too.

    Raises
    ------
    FileNotFoundError
        An argument matches nothing, or a folder or glob without a photo or video. All such
        arguments are listed.
    ValueError
        ``fps`` is missing, or not above 0.
    """
    if fps is not None and not 0.0 < fps < float("inf"):
        raise ValueError(f"fps: expected a number above 0, got {fps:g}")
    inputs: dict[str | int | NumberedFrames | AnimatedImage | None, MediaInput] = {}
    ignored = [] if ignored is None else ignored
    unmatched = []
    for argument in arguments:
        matches = list(_expand(_local_path(argument), ignored, fps))
        if not matches:
            unmatched.append(argument)
        for match in map(_as_clip, matches) if animated else matches:
            key = match.address if isinstance(match, VideoInput) else match.path
            inputs.setdefault(key if match.path is None else real_path(match.path), match)
    if unmatched:
        folders = [each for each in unmatched if os.path.isdir(_local_path(each))]
        hint = f"; expected files that end in {_ENDINGS}" if folders else ""
        raise FileNotFoundError(
            "expected photos, videos, folders, globs, webcam numbers or stream URLs; found "
            f"nothing at {', '.join(repr(without_secrets(each)) for each in unmatched)}{hint}"
        )
    if fps is not None and not any(map(frame_files, inputs.values())):
        raise ValueError(
            f"fps: expected numbered files such as frame_%04d.jpg among the inputs, which {fps:g} "
            "frames a second would be for; videos and animations have their own times"
        )
    return _distinct_names(inputs.values())


def frame_files(item: MediaInput) -> list[str]:
    """Return the files of a clip of numbered frames; none for other inputs."""
    if isinstance(item, VideoInput) and isinstance(item.address, NumberedFrames):
        return list(numbered_files(item.address.path).values())
    return []


def is_stream_url(text: str) -> bool:
    """Return whether this is the URL of a stream rather than a path."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in STREAM_SCHEMES


def _distinct_names(inputs: Iterable[MediaInput]) -> list[MediaInput]:
    """Number inputs whose names differ only in what is hidden, such as the query of a URL."""
    counts: Counter[str] = Counter()
    distinct = []
    for item in inputs:
        counts[item.name] += 1
        count = counts[item.name]
        distinct.append(item if count == 1 else item._replace(name=f"{item.name} #{count}"))
    return distinct


def _local_path(argument: str) -> str:
    """Resolve ``file://`` and ``~``, which the shell leaves when they are quoted."""
    if argument.lower().startswith("file://"):
        from urllib.request import url2pathname  # takes 30 ms to import

        return url2pathname(urlsplit(argument).path)
    return argument if os.path.lexists(argument) else os.path.expanduser(argument)


def numbered_files(pattern: str) -> dict[int, str]:
    """Return the files of a pattern such as ``frame_%04d.jpg`` by their number, in its order."""
    folder, name = os.path.split(pattern)
    number = _NUMBER.search(name)
    if number is None or not os.path.isdir(folder or os.curdir):
        return {}
    head, tail = (name[: number.start()], name[number.end() :])
    files = re.compile(f"{re.escape(head)}(\\d{{1,18}}){re.escape(tail)}")
    found = (files.fullmatch(each) for each in os.listdir(folder or os.curdir))
    return {
        int(match[1]): os.path.join(folder, match[0])
        for match in sorted(filter(None, found), key=lambda match: int(match[1]))
        if match[0] == f"{head}{number[0] % int(match[1])}{tail}"
    }


def _as_clip(item: MediaInput) -> MediaInput:
    if not isinstance(item, PhotoInput) or item.path is None or frame_count(item.path) == 1:
        return item
    return VideoInput(item.name, AnimatedImage(item.path))


def _expand(argument: str, ignored: list[str], fps: float | None) -> Iterator[MediaInput]:
    if is_stream_url(argument):
        yield VideoInput(without_secrets(argument), argument, is_live=True)
    elif argument in (STDIN_ARGUMENT, STDIN_NAME):
        yield PhotoInput(STDIN_NAME, None)
    elif argument.startswith("/dev/") and (
        webcam := _LINUX_WEBCAM.fullmatch(os.path.realpath(argument))  # also of a link to it
    ):
        yield VideoInput(argument, int(webcam[1]), is_live=True)
    elif os.path.isdir(argument):
        yield from _in_folder(argument, ignored)
    elif os.path.exists(argument):
        yield _by_name(argument) or _by_content(argument)
    elif numbered_files(argument):
        if fps is None:
            raise ValueError(f"{argument}: expected the frame rate of numbered files (--fps 30)")
        yield VideoInput(argument, NumberedFrames(argument, fps))
    elif argument.isascii() and argument.isdigit():
        yield VideoInput(f"webcam {int(argument)}", int(argument), is_live=True)
    elif glob.has_magic(argument):
        yield from _in_glob(argument, ignored)


def _in_folder(folder: str, ignored: list[str]) -> Iterator[MediaInput]:
    for found in folders(folder):
        if isinstance(found, UnreadableFolder):
            yield found
            continue
        for name in sorted(each for each in found.files if not each.startswith(".")):
            path = os.path.join(found.path, name)
            if match := _by_name(path):
                yield match
            else:
                ignored.append(path)


def _in_glob(pattern: str, ignored: list[str]) -> Iterator[MediaInput]:
    is_recursive = _RECURSIVE.search(pattern) is not None
    found = {each if isinstance(each, str) else each.path: each for each in _glob(pattern)}
    for path, each in sorted(found.items()):
        if isinstance(each, UnreadableFolder):
            yield each
        elif os.path.isdir(path):
            # With ** the glob itself matches the files in folders.
            yield from () if is_recursive else _in_folder(path, ignored)
        elif match := _by_name(path):
            yield match


def _glob(pattern: str) -> Iterator[str | UnreadableFolder]:
    """Yield the paths that match; Python's own ``**`` has no protection against loops of links."""
    recursive = _RECURSIVE.search(pattern)
    if recursive is None:
        yield from glob.glob(pattern)
        return
    head, tail = pattern[: recursive.start()], pattern[recursive.end() :] or "*"
    for root in glob.glob(head) if head else [os.curdir]:
        for found in folders(root):
            if isinstance(found, UnreadableFolder):
                yield found
            else:
                folder = os.path.relpath(found.path) if not head else found.path
                folder = "" if folder == os.curdir else glob.escape(folder)
                yield from _glob(os.path.join(folder, tail))


class Folder(NamedTuple):
    """A folder and the names of its files."""

    path: str
    files: list[str]


def folders(root: str) -> Iterator[Folder | UnreadableFolder]:
    """Yield a folder and those below it, in the order of their paths; hidden ones are left out.

    Links are followed, but each folder is searched once, and rather by its own path than by a link.
    """
    visited = {os.path.realpath(root)}
    errors: list[OSError] = []
    for parent, folders, files in os.walk(root, onerror=errors.append, followlinks=True):
        yield from map(_unreadable, errors)
        errors.clear()
        yield Folder(parent, files)
        chosen = []
        for path in sorted((os.path.join(parent, name) for name in folders), key=_links_last):
            target = os.path.realpath(path)
            if not os.path.basename(path).startswith(".") and target not in visited:
                visited.add(target)
                chosen.append(os.path.basename(path))
        folders[:] = sorted(chosen)
    yield from map(_unreadable, errors)


def _links_last(path: str) -> tuple[bool, str]:
    return os.path.islink(path), path


def _unreadable(error: OSError) -> UnreadableFolder:
    path = str(error.filename)
    return UnreadableFolder(path, path, f"{path}: the folder cannot be read ({error.strerror})")


def _by_name(path: str) -> MediaInput | None:
    suffix = Path(path).suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        return PhotoInput(path, path)
    return VideoInput(path, path) if suffix in VIDEO_SUFFIXES else None


def _by_content(path: str) -> MediaInput:
    return PhotoInput(path, path) if is_image_file(path) else VideoInput(path, path)
