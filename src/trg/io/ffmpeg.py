"""Opening media files with FFmpeg, through PyAV 17 to 19."""

from __future__ import annotations

import os
from os import PathLike
from typing import Any

import av

# Older versions decode tags as strict UTF-8 by default; from 19 on any bytes are accepted.
_TAG_OPTIONS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)

_decoder_threads = 0


def limit_decoder_threads(count: int) -> None:
    """Set the threads that decode each video in this process; 0: as many as FFmpeg chooses."""
    global _decoder_threads
    _decoder_threads = count


def decoder_threads() -> int:
    """Return the threads that decode each video in this process."""
    return _decoder_threads


def open_media_file(path: str | PathLike[str]) -> Any:
    """Open a local video or sound file for reading; return PyAV's input container.

    Raises av.error.FFmpegError if the file cannot be opened or is not a media file.
    """
    return av.open(
        os.path.abspath(path),  # a colon in a relative name would be read as a protocol
        # A playlist that poses as a video must not reach the network. This is passed as
        # container_options because PyAV before 18 crashes on MPEG files with "options".
        container_options={"protocol_whitelist": "file"},
        **_TAG_OPTIONS,
    )


def reason(error: Exception) -> str:
    """Return FFmpeg's message without the error number and the file name."""
    return str(getattr(error, "strerror", None) or error)
