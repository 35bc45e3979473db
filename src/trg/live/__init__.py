"""Head poses as they happen: from a webcam to games, avatars, robots and scripts."""

from __future__ import annotations

from trg.live.frame import LiveFace, LiveFrame
from trg.live.sender import Sender, SenderOptions, open_sender

__all__ = ["LiveFace", "LiveFrame", "Sender", "SenderOptions", "open_sender"]
