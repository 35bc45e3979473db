"""Single keys of a terminal, read by a thread while a verb runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

POLL_S = 0.1


@contextmanager
def hot_keys(on_key: Callable[[str], None]) -> Iterator[bool]:
    """Call ``on_key`` with each key that is pressed; yields whether there is a keyboard.

    Does nothing unless standard input is a terminal that this process is in the foreground of.
    """
    if not sys.stdin or not sys.stdin.isatty():
        yield False
    elif sys.platform == "win32":
        with _thread(_read_windows_keys, on_key):
            yield True
    else:
        import termios
        import tty

        terminal = sys.stdin.fileno()
        if os.tcgetpgrp(terminal) != os.getpgrp():  # setting up the terminal would stop the process
            yield False
            return
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal)
        try:
            with _thread(_read_posix_keys, on_key):
                yield True
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextmanager
def _thread(
    read: Callable[[Callable[[str], None], Event], None], on_key: Callable[[str], None]
) -> Iterator[None]:
    stop = Event()
    reader = Thread(target=read, args=(on_key, stop), name="trg-hot-keys", daemon=True)
    reader.start()
    try:
        yield
    finally:
        stop.set()
        reader.join()


def _read_posix_keys(on_key: Callable[[str], None], stop: Event) -> None:
    import select

    while not stop.is_set():
        if select.select([sys.stdin], [], [], POLL_S)[0]:
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys:  # the terminal was closed
                return
            for key in keys.decode(errors="ignore"):
                on_key(key)


def _read_windows_keys(on_key: Callable[[str], None], stop: Event) -> None:
    import msvcrt

    while not stop.is_set():
        if msvcrt.kbhit():  # type: ignore[attr-defined]
            on_key(msvcrt.getwch())  # type: ignore[attr-defined]
        else:
            time.sleep(POLL_S)
