"""Frames as JSON: the records of ``trg predict``, with the pose to send and the capture's time."""

from __future__ import annotations

import json
import os
import stat
import sys
from contextlib import suppress
from threading import Thread
from typing import Any

from trg.geometry.axes import FrameConvention, pose_to_frame
from trg.io.records.frame_record import (
    ANGLE_DECIMALS,
    LENGTH_DECIMALS,
    ROTATION_DECIMALS,
    TIME_DECIMALS,
    FrameFaces,
    frame_record,
    rounded,
)
from trg.live.frame import LiveFace, LiveFrame
from trg.live.newest import ClosedError, NewestSlot
from trg.live.sender import SenderOptions

EXPRESSION_DECIMALS = 4


def live_record(frame: LiveFrame, axes: FrameConvention) -> dict[str, Any]:
    """Return the JSON object of a frame.

    That of :func:`~trg.io.records.frame_record.frame_record`, and

    * ``captured_unix_s``: when the frame was captured, seconds since 1970;
    * in each face ``live``: the pose relative to mount and neutral pose (``rotation``,
      ``translation_m`` in ``axes``; ``euler_deg``), ``expression`` and ``is_seen``.
    """
    faces = [each.face for each in frame.faces]
    found = FrameFaces(frame.source, frame.camera, faces, frame.index, frame.time_s, axes)
    record = frame_record(found)
    for each, plain in zip(frame.faces, record["faces"], strict=True):
        plain["live"] = _live_face(each, axes)
    record["captured_unix_s"] = rounded(frame.captured_unix_s, TIME_DECIMALS)
    return record


def live_line(frame: LiveFrame, axes: FrameConvention) -> str:
    """Return a frame as one line of JSON, without the line break."""
    return json.dumps(live_record(frame, axes), separators=(",", ":"), allow_nan=False)


def _live_face(face: LiveFace, axes: FrameConvention) -> dict[str, Any]:
    pose = pose_to_frame(face.reference_from_head, axes)
    angles = dict(zip(("yaw", "pitch", "roll"), face.euler_deg(), strict=True))
    return {
        "is_seen": face.is_seen,
        "rotation": rounded(pose[:3, :3], ROTATION_DECIMALS),
        "translation_m": rounded(pose[:3, 3], LENGTH_DECIMALS),
        "euler_deg": rounded(angles, ANGLE_DECIMALS),
        "expression": rounded(dict(face.expression), EXPRESSION_DECIMALS),
    }


class StdoutSender:
    """JSON Lines on standard output, by a thread of its own: a slow reader gets fewer frames."""

    def __init__(self, options: SenderOptions) -> None:
        self._options = options
        self._lines: NewestSlot[str] = NewestSlot()
        self._error: BrokenPipeError | None = None
        _shrink_pipe()
        self._thread = Thread(target=self._write, name="trg-live-stdout", daemon=True)
        self._thread.start()

    def send(self, frame: LiveFrame) -> None:
        """Offer a frame to the writer. Raises BrokenPipeError when the reader has gone."""
        if self._error is not None:
            raise self._error
        self._lines.put(live_line(frame, self._options.axes))

    def close(self) -> None:
        """Write the line that waits, unless the reader is stuck, and end the thread."""
        self._lines.close()
        self._thread.join(timeout=1.0)

    def _write(self) -> None:
        with suppress(ClosedError):
            while True:
                line = self._lines.take()
                try:
                    sys.stdout.buffer.write(f"{line}\n".encode())
                    sys.stdout.buffer.flush()
                except BrokenPipeError as error:
                    self._error = error
                    return


def _shrink_pipe() -> None:
    """Make a pipe hold few lines, on Linux; its 64 kB would be seconds old to a slow reader."""
    with suppress(ImportError, OSError, AttributeError, ValueError):
        import fcntl

        descriptor = sys.stdout.fileno()
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 4096)
