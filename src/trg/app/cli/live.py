"""The verb ``trg live``: head poses of a webcam, sent to other programs as they happen."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from trg.app.cli.hotkeys import hot_keys
from trg.app.cli.live_options import CaptureOptions, SendOptions, TrackOptions, live_options
from trg.app.cli.predict_options import CameraOptions
from trg.app.cli.shared import ResultConsole, messages

if TYPE_CHECKING:
    from trg.io.inputs import VideoInput
    from trg.live.sender import Sender
    from trg.live.session import LiveSession
    from trg.live.statistics import Status

LOG_INTERVAL_S = 60.0
"""Between status lines in a log; a terminal shows every one."""
NEUTRAL_KEYS, STOP_KEYS = ("n", "N", "\r", "\n"), ("q", "Q")


def live(
    source: str = "0",
    /,
    *,
    list_webcams: Annotated[bool, Parameter(name="--list", negative="")] = False,
    sending: SendOptions = SendOptions(),
    webcam: CaptureOptions = CaptureOptions(),
    camera: CameraOptions = CameraOptions(),
    tracking: TrackOptions = TrackOptions(),
) -> None:
    """Send head poses to games, avatars, robots and scripts as they happen.

    Frames that cannot be processed in time are dropped; nothing queues. Stop with Ctrl-C or ``q``.

    Parameters
    ----------
    source
        The number or name of a webcam, the URL of a stream, or a video, which plays in real time.
    list_webcams
        List the webcams and end.
    """
    from trg.estimator import HeadPoseEstimator
    from trg.live.capture import Capture, open_input
    from trg.live.session import LiveSession
    from trg.live.view import View, open_view

    if list_webcams:
        _print_webcams()
        return
    video = _video_input(source)
    options = live_options(sending, webcam, camera, tracking)
    stop, wants_neutral = Event(), Event()
    with ExitStack() as opened:
        senders = _open_senders(sending, opened)
        opener = partial(open_input, mode=webcam.mode)
        capture = Capture(video, _notify, opener, mirror=webcam.mirror)
        opened.callback(capture.close)
        _explain_size(video, webcam.mode.size, capture.size)
        estimator = HeadPoseEstimator(tracking.model, threads=tracking.threads)
        view: View | None = None
        if sending.view is not None:
            view = open_view(sending.view, estimator.topology, _notify, wants_neutral.set)
            opened.callback(view.close)
            senders.append(view)
        session = LiveSession(estimator, senders, options, video.name, wants_neutral)
        session.warm_up(*capture.size)
        gc.collect()
        gc.freeze()  # looking through all that was imported would take half a frame's time
        opened.enter_context(stop_and_neutral_signals(stop, session.set_neutral))
        _explain_keys(opened.enter_context(hot_keys(partial(_on_key, stop, session))))
        if options.camera is None:
            _explain_assumed_camera()
        if not sending.send:
            messages.print("nothing is sent; --send names receivers (docs/live.md)")
        with capture, _status_line() as show_line:

            def show(status: Status) -> None:
                show_line(status)
                if view is not None:
                    view.show_status(status)

            status = session.run(capture, stop, show)
    messages.print(escape(f"{video.name}: {status}"), highlight=False)


def _open_senders(sending: SendOptions, opened: ExitStack) -> list[Sender]:
    from trg.live.sender import SenderOptions, open_sender

    options = SenderOptions(axes=sending.frame, notify=_notify)
    senders = []
    for target in sending.send:
        sender = open_sender(_target(target), options)
        opened.callback(sender.close)
        senders.append(sender)
    return senders


def _on_key(stop: Event, session: LiveSession, key: str) -> None:
    if key in NEUTRAL_KEYS:
        session.set_neutral()
        messages.print("the pose that is seen now is zero")
    elif key in STOP_KEYS:
        stop.set()


def _explain_keys(has_keys: bool) -> None:
    if has_keys:
        messages.print("keys: n or Enter sets the neutral pose, q stops", highlight=False)


def _explain_size(video: VideoInput, wanted: tuple[int, int] | None, size: tuple[int, int]) -> None:
    """Say what size a webcam has chosen in place of the one that it was asked for."""
    if wanted is None:
        return
    if not isinstance(video.address, int):
        raise ValueError(f"{video.name}: expected a webcam to choose a capture size for")
    if size != wanted:
        _notify(f"{video.name}: {size[0]}x{size[1]} px in place of {wanted[0]}x{wanted[1]}")


def _explain_assumed_camera() -> None:
    from trg.geometry.camera import ASSUMED_FOV_DEG

    _notify(
        f"camera: unknown, assuming a diagonal field of view of {ASSUMED_FOV_DEG:.0f} degrees; "
        "distances depend on it, angles hardly. Specify --camera NAME (trg camera list), --fov or "
        "--focal."
    )


def _print_webcams() -> None:
    from trg.io.webcams import list_webcams

    results = ResultConsole()
    webcams = list_webcams()
    for webcam in webcams:
        problem = f"  ({webcam.problem})" if webcam.problem else ""
        results.print(escape(f"{webcam.number}  {webcam.name}{problem}"))
    if not webcams:
        messages.print("no webcam was found")


def _video_input(source: str) -> VideoInput:
    """Return the one video that the argument names."""
    from trg.io.inputs import VideoInput, find_inputs
    from trg.io.webcams import find_webcam, list_webcams

    try:
        found = find_inputs([source])
    except FileNotFoundError:
        webcams = list_webcams()
        named = find_webcam(source, webcams)
        if named is None:
            names = ", ".join(each.name for each in webcams) or "none"
            raise FileNotFoundError(
                f"{source}: expected a webcam's number or name, a stream's URL or a video; there "
                f"is no such file, and of webcams there is {names}"
            ) from None
        return VideoInput(named.name, named.number, is_live=True)
    if len(found) != 1 or not isinstance(found[0], VideoInput):
        raise ValueError(f"{source}: expected a webcam's number or name, a stream's URL or a video")
    return found[0]


def _target(argument: str) -> str:
    """Return the target; ``main`` has replaced a lone hyphen, which cyclopts cannot parse.

    Raises ValueError if it is no URL.
    """
    from trg.io.inputs import STDIN_NAME
    from trg.live.sender import STDOUT

    if argument == STDIN_NAME:
        return STDOUT
    if "://" not in argument:  # --send takes all arguments that follow it
        raise ValueError(
            f"{argument}: expected a receiver after --send, such as opentrack://127.0.0.1:4242; "
            "the webcam or video comes first: trg live SOURCE --send TARGET ..."
        )
    return argument


def _notify(message: str) -> None:
    messages.print(escape(message), highlight=False)


@contextmanager
def stop_and_neutral_signals(stop: Event, set_neutral: Callable[[], None]) -> Iterator[None]:
    """Stop on Ctrl-C and its like, at once on the second; SIGUSR1 sets the neutral pose."""
    from trg.app.cli.console import STOP_SIGNALS

    def on_stop(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    handlers: dict[int, Any] = dict.fromkeys(STOP_SIGNALS, on_stop)
    if hasattr(signal, "SIGUSR1"):
        handlers[signal.SIGUSR1] = lambda number, frame: set_neutral()
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _status_line() -> Iterator[Callable[[Status], None]]:
    """Yield a function that shows the status: one line of a terminal, now and then in a log."""
    is_terminal = messages.is_terminal
    next_s = time.monotonic() + LOG_INTERVAL_S
    line = Live(console=messages, auto_refresh=False, transient=True)

    def show(status: Status) -> None:
        nonlocal next_s
        if is_terminal:
            line.update(Text(str(status), no_wrap=True, overflow="ellipsis"), refresh=True)
        elif time.monotonic() >= next_s:
            next_s = time.monotonic() + LOG_INTERVAL_S
            messages.print(str(status), highlight=False)

    if not is_terminal:
        yield show
    else:
        with line:
            yield show
