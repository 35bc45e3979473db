"""The verb ``trg live``: head poses of a webcam, sent to other programs as they happen."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from trg.app.cli.hotkeys import hot_keys
from trg.app.cli.predict_options import CameraOptions, FrameName
from trg.app.cli.shared import Positive, app, complete_option, messages

if TYPE_CHECKING:
    from trg.inference.smoothing import FaceSmoothing, PerAxis
    from trg.io.inputs import VideoInput
    from trg.live.session import LiveOptions
    from trg.live.statistics import Status

LOG_INTERVAL_S = 60.0
"""Between status lines in a log; a terminal shows every one."""
NEUTRAL_KEYS, STOP_KEYS = ("n", "N", "\r", "\n"), ("q", "Q")

SMOOTHED_AXES = ("yaw", "pitch", "roll", "x", "y", "z", "shape")

SENDING = Group.create_ordered("Sending")
TRACKING = Group.create_ordered("Tracking")


@Parameter(name="*", group=SENDING)
@dataclass(frozen=True, slots=True)
class SendOptions:
    """What is sent, and where.

    Parameters
    ----------
    send
        Receivers, each ``SCHEME://HOST:PORT``, or ``-`` for JSON Lines on standard output
        (docs/live.md lists them).
    frame
        The program in whose axes JSON and OSC state poses.
    neutral
        Take the first pose seen as zero. Later, the key ``n``, Enter or the signal SIGUSR1 take the
        present one.
    mount
        Where the camera is beside the screen: ``up=20,tilt=15`` for one 20 cm above its middle that
        looks 15 degrees down. Also ``right``, ``forward`` (cm), ``turn`` and ``roll`` (degrees).
    person
        Who is followed: ``largest``, ``nearest``, the number of a track, or ``all`` to send
        everybody to receivers that know several people.
    lost
        What is sent while the person is out of sight: ``hold`` the last pose, ``fade`` to rest, or
        ``stop``.
    view
        Show picture, faces and numbers in a page of the browser, at an address that is printed.
        ``HOST:PORT``, ``rerun`` or the name of a new ``.rrd`` file may follow: the page there, in
        Rerun, or in a recording for it.
    """

    send: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = ()
    frame: FrameName = "opencv"
    neutral: bool = False
    mount: str | None = None
    person: str = "largest"
    lost: Literal["hold", "fade", "stop"] = "hold"
    view: str | None = None


@Parameter(name="*", group=TRACKING)
@dataclass(frozen=True, slots=True)
class TrackOptions:
    """How faces are tracked.

    Parameters
    ----------
    model
        The weights: a name listed by ``trg models``, or a .trg file.
    threads
        CPU threads.
    fps
        Largest number of frames processed per second.
    max_faces
        Largest number of people who are tracked.
    ipd
        The person's distance between the pupils, mm; sets the scale of distances.
    size
        Where the size of faces comes from, and with it their distance: ``person``, from all frames
        of the person so far, or ``frame``, from each frame alone.
    smooth
        Smooth the poses over time.
    smoothing
        Parameters of the One-Euro filters by axis, ``yaw=1,8 roll=0.5,4``: the cut-off frequency at
        rest in Hz, and its rise with speed. Axes are ``yaw``, ``pitch``, ``roll``, ``x``, ``y``,
        ``z`` and ``shape``.
    predict
        Predict the pose by this many frames, 0 to 1, against the delay of camera and network.
    """

    model: Annotated[str | None, Parameter(name=["--model", "-m"])] = None
    threads: Positive = 1
    fps: float | None = None
    max_faces: Positive = 3
    ipd: float | None = None
    size: Literal["person", "frame"] = "person"
    smooth: bool = True
    smoothing: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = ()
    predict: float = 0.0


@app.command(sort_key=1)
def live(
    source: str = "0",
    /,
    *,
    sending: SendOptions = SendOptions(),
    camera: CameraOptions = CameraOptions(),
    tracking: TrackOptions = TrackOptions(),
) -> None:
    """Send head poses to games, avatars, robots and scripts as they happen.

    Frames that cannot be processed in time are dropped; nothing queues. Stop with Ctrl-C or ``q``.

    Parameters
    ----------
    source
        The number of a webcam, the URL of a stream, or a video, which plays in real time.
    """
    from trg.estimator import HeadPoseEstimator
    from trg.live.capture import Capture
    from trg.live.sender import SenderOptions, open_sender
    from trg.live.session import LiveSession
    from trg.live.view import open_view

    video = _video_input(source)
    options = _live_options(sending, camera, tracking)
    sender_options = SenderOptions(axes=sending.frame, notify=_notify)
    stop = Event()
    with ExitStack() as opened:
        senders = []
        for target in sending.send:
            sender = open_sender(_target(target), sender_options)
            opened.callback(sender.close)
            senders.append(sender)
        capture = Capture(video, _notify)
        opened.callback(capture.close)
        estimator = HeadPoseEstimator(tracking.model, threads=tracking.threads)

        def set_neutral() -> None:
            session.set_neutral()
            messages.print("the pose that is seen now is zero")

        view = None
        if sending.view is not None:
            view = open_view(sending.view, estimator.topology, _notify, set_neutral)
            opened.callback(view.close)
            senders.append(view)
        session = LiveSession(estimator, senders, options, video.name)
        session.warm_up(*capture.size)
        gc.collect()
        gc.freeze()  # looking through all that was imported would take half a frame's time
        opened.enter_context(stop_and_neutral_signals(stop, session.set_neutral))

        def on_key(key: str) -> None:
            if key in NEUTRAL_KEYS:
                set_neutral()
            elif key in STOP_KEYS:
                stop.set()

        has_keys = opened.enter_context(hot_keys(on_key))
        if not sending.send:
            messages.print("nothing is sent; --send names receivers (docs/live.md)")
        if has_keys:
            messages.print("keys: n or Enter sets the neutral pose, q stops", highlight=False)
        with capture, _status_line() as show_line:

            def show(status: Status) -> None:
                show_line(status)
                if view is not None:
                    view.show_status(status)

            status = session.run(capture, stop, show)
    messages.print(escape(f"{video.name}: {status}"), highlight=False)


def complete_view(tokens: Sequence[str]) -> list[str]:
    """Give ``--view`` its value: the one that follows it, or else the browser."""
    if "--view" not in tokens:
        return list(tokens)
    from trg.live.view import BROWSER, is_view

    return complete_option(tokens, "--view", is_view, BROWSER)


def _video_input(source: str) -> VideoInput:
    """Return the one video that the argument names."""
    from trg.io.inputs import VideoInput, find_inputs

    found = find_inputs([source])
    if len(found) != 1 or not isinstance(found[0], VideoInput):
        raise ValueError(f"{source}: expected a webcam's number, a stream's URL or a video")
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


def _live_options(
    sending: SendOptions, camera: CameraOptions, tracking: TrackOptions
) -> LiveOptions:
    from trg.live.reference import Mount
    from trg.live.session import LiveOptions

    person: Any = sending.person
    if person.isascii() and person.isdigit():
        person = int(person)
    elif person not in ("largest", "nearest", "all"):
        raise ValueError(f"person: expected largest, nearest, all or a number, got {person!r}")
    return LiveOptions(
        camera=camera.resolve(),
        smoothing=parse_smoothing(tracking.smoothing) if tracking.smooth else None,
        max_faces=tracking.max_faces,
        size=tracking.size,
        interpupillary_m=None if tracking.ipd is None else tracking.ipd / 1000.0,
        person="largest" if person == "all" else person,
        everybody=person == "all",
        mount=Mount() if sending.mount is None else Mount.parse(sending.mount),
        neutral=sending.neutral,
        lost=sending.lost,
        predict_frames=tracking.predict,
        max_fps=tracking.fps,
    )


def parse_smoothing(texts: Sequence[str]) -> FaceSmoothing:
    """Parse ``yaw=1,8`` and the like; the other axes keep the default parameters."""
    from trg.inference.smoothing import FaceSmoothing, OneEuroParameters

    default = FaceSmoothing()
    given: dict[str, OneEuroParameters] = {}
    for text in texts:
        axis, _, numbers = text.partition("=")
        try:
            if axis not in SMOOTHED_AXES:
                raise ValueError
            min_cutoff_hz, beta = map(float, numbers.split(","))
        except ValueError:
            raise ValueError(
                f"smoothing: expected AXIS=HZ,BETA such as yaw=1,8, with an axis of "
                f"{', '.join(SMOOTHED_AXES)}; got {text!r}"
            ) from None
        given[axis] = OneEuroParameters(min_cutoff_hz, beta)

    def part(default: PerAxis, *axes: str) -> PerAxis:
        if not any(axis in given for axis in axes) or isinstance(default, tuple):
            return default
        return tuple(given.get(axis, default) for axis in axes)

    return FaceSmoothing(
        rotation=part(default.rotation, "pitch", "yaw", "roll"),
        position=part(default.position, "x", "y"),
        depth=given.get("z", default.depth),
        shape=given.get("shape", default.shape),
    )


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
