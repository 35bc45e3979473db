"""Views of a live session: a page for the browser, and Rerun.

A view is a sender (:class:`trg.live.sender.Sender`) that shows frames to the user instead of
sending poses to a program. It works in a thread of its own, on the newest frame.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from trg.geometry.face_mesh import FaceTopology
from trg.live.frame import LiveFrame
from trg.live.statistics import Status

BROWSER, RERUN = "browser", "rerun"
RECORDING_SUFFIX = ".rrd"

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})")


class View(Protocol):
    """Shows the frames of a session, and its state."""

    def send(self, frame: LiveFrame) -> None:
        """Show a frame."""

    def show_status(self, status: Status) -> None:
        """Show the state of the session."""

    def close(self) -> None:
        """Release sockets, files and threads; does nothing if already closed."""


def is_view(text: str) -> bool:
    """Return whether a text names a view: see :func:`open_view`."""
    is_recording = text.lower().endswith(RECORDING_SUFFIX)
    return text in (BROWSER, RERUN) or is_recording or _ADDRESS.fullmatch(text) is not None


def open_view(
    text: str,
    topology: FaceTopology,
    notify: Callable[[str], None],
    on_neutral: Callable[[], None],
) -> View:
    """Open a view.

    Parameters
    ----------
    text
        ``browser``, a page at a free port of this computer; ``HOST:PORT``, the page there;
        ``rerun``, Rerun's viewer; or the name of a new ``.rrd`` file.
    topology
        Of the faces that will be shown.
    notify
        Takes messages for the user.
    on_neutral
        Called when the user asks for the present pose to become zero, from any thread.

    Raises
    ------
    ValueError
        ``text`` names no view.
    OSError
        The port is taken, or the file exists or cannot be written.
    ImportError
        The view needs a package of the extra ``live`` or ``rerun``.
    """
    address = _ADDRESS.fullmatch(text)
    if text == BROWSER or address:
        from trg.live.view.browser import BrowserView

        host, port = address.groups() if address else ("127.0.0.1", "0")
        return BrowserView(host.strip("[]"), int(port), topology, notify, on_neutral)
    if text == RERUN or text.lower().endswith(RECORDING_SUFFIX):
        from trg.live.view.rerun_view import RerunView

        return RerunView(None if text == RERUN else text, notify)
    raise ValueError(
        f"view: expected {BROWSER}, {RERUN}, HOST:PORT or the name of a {RECORDING_SUFFIX} file, "
        f"got {text!r}"
    )
