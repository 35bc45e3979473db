"""The options of ``trg live`` by the group of its help page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from trg.app.cli.predict_options import CameraOptions, FrameName
from trg.app.cli.shared import Positive

if TYPE_CHECKING:
    from trg.inference.smoothing import FaceSmoothing, PerAxis
    from trg.io.webcams import CaptureMode
    from trg.live.session import LiveOptions

SMOOTHED_AXES = ("yaw", "pitch", "roll", "x", "y", "z", "shape")

CAPTURE = Group.create_ordered("Capture")
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
    max_faces: Positive = 3
    ipd: float | None = None
    size: Literal["person", "frame"] = "person"
    smooth: bool = True
    smoothing: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = ()
    predict: float = 0.0


@Parameter(name="*", group=CAPTURE)
@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What a webcam is asked for, and what is done to its pictures first.

    Parameters
    ----------
    capture_size
        Size of a webcam's pictures, ``1280x720``; the webcam may choose another one.
    fps
        Largest number of frames processed per second. A webcam is asked for this rate.
    mirror
        Exchange left and right in the pictures: for a webcam that delivers mirrored ones, or an
        avatar that is to move like an image in a mirror.
    """

    capture_size: str | None = None
    fps: float | None = None
    mirror: Annotated[bool, Parameter(negative="")] = False

    @property
    def mode(self) -> CaptureMode:
        """The size and rate. Raises ValueError if the size is none."""
        from trg.io.webcams import CaptureMode, parse_size

        size = None if self.capture_size is None else parse_size(self.capture_size)
        return CaptureMode(size, self.fps)


def live_options(
    sending: SendOptions,
    capture: CaptureOptions,
    camera: CameraOptions,
    tracking: TrackOptions,
) -> LiveOptions:
    """Return the options of the session. Raises ValueError if one is invalid."""
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
        max_fps=capture.fps,
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
