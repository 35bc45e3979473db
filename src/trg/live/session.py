"""The loop of ``trg live``: newest frame, tracked faces, the pose to send, all senders.

::

    webcam, stream, file ──> Capture (thread) ──newest──> FaceTracker ──> PersonChoice
                                                                              │
    senders <── Continuity <── ReferenceFrame <── PosePredictor <─────────────┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np

from trg.estimator import HeadPoseEstimator
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.camera_source import CameraLike, resolve_camera
from trg.inference.smoothing import FaceSmoothing
from trg.inference.tracker import SizeSource
from trg.io.eye_distances import checked_interpupillary_m
from trg.live.capture import Capture, CapturedFrame
from trg.live.continuity import Continuity, LostBehaviour, PersonState
from trg.live.expression import expression_of
from trg.live.frame import LiveFace, LiveFrame
from trg.live.newest import ClosedError
from trg.live.person import PersonChoice, PersonRule
from trg.live.prediction import PosePredictor
from trg.live.reference import Mount, ReferenceFrame
from trg.live.sender import Sender
from trg.live.statistics import Statistics, Status

STATUS_INTERVAL_S = 0.25
"""Between reports of the state; it costs time that a frame could need."""
IDLE_S = 0.2
"""How often something is sent while no frame comes, as from a webcam that was unplugged."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How frames become what is sent.

    Raises ValueError if a number is out of range.
    """

    camera: CameraLike | None = None
    """None: assumed."""
    smoothing: FaceSmoothing | None = FaceSmoothing()
    """None: poses are sent as estimated."""
    max_faces: int | None = 3
    """Largest number of people who are tracked."""
    size: SizeSource = "person"
    """Whether faces have the size of their person or of their frame alone."""
    interpupillary_m: float | None = None
    """A known distance between the pupils, which sets the size of everybody."""
    person: PersonRule | int = "largest"
    """Who is followed."""
    everybody: bool = False
    """Whether all people are sent to receivers that know several; else the followed one alone."""
    mount: Mount = Mount()
    """How the camera is mounted, which poses are relative to."""
    neutral: bool = False
    """Whether the first pose seen becomes zero."""
    lost: LostBehaviour = "hold"
    """What is sent while nobody is seen."""
    predict_frames: float = 0.0
    """How far ahead poses are predicted, 0 to 1 frames."""
    max_fps: float | None = None
    """Largest number of frames processed per second."""

    def __post_init__(self) -> None:
        PosePredictor(self.predict_frames)  # checks the number
        if self.interpupillary_m is not None:
            checked_interpupillary_m("eye distance", 1000.0 * self.interpupillary_m)
        if self.max_fps is not None and not 0.0 < self.max_fps < float("inf"):
            raise ValueError(f"fps: expected a number above 0, got {self.max_fps:g}")


class LiveSession:
    """Processes captured frames one after another, and sends them.

    Parameters
    ----------
    estimator, senders, options
        Who estimates, who sends, and how frames become what is sent.
    source
        Name of the input.
    wants_neutral
        Set from outside, it makes the next pose that is seen zero.
    """

    def __init__(
        self,
        estimator: HeadPoseEstimator,
        senders: Sequence[Sender],
        options: LiveOptions = LiveOptions(),
        source: str = "",
        wants_neutral: Event | None = None,
    ) -> None:
        self._estimator = estimator
        self._options = options
        self._senders = list(senders)
        self._source = source
        self._tracker = estimator.tracker(
            options.smoothing,
            options.max_faces,
            size=options.size,
            interpupillary_m=options.interpupillary_m,
        )
        self._choice = PersonChoice(options.person)
        self._reference = ReferenceFrame(options.mount)
        self._predictor = PosePredictor(options.predict_frames)
        self._continuity = Continuity(options.lost)
        self._wants_neutral = Event() if wants_neutral is None else wants_neutral
        if options.neutral:
            self._wants_neutral.set()
        self._zero_m: np.ndarray | None = None
        """Where offsets count from, in the reference frame."""
        self._face: Face | None = None
        """The followed person, as last seen."""
        self._camera: Camera | None = None
        self._last: LiveFrame | None = None
        self._statistics = Statistics()

    def warm_up(self, width: int = 640, height: int = 480) -> None:
        """Run everything once on an empty picture; first runs are slow, and would drop frames.

        A picture of the input's size: what is prepared for one size is slow again for another.
        """
        empty = np.zeros((height, width, 3), np.uint8)
        camera = resolve_camera(width, height, None)
        self._estimator.tracker().track(empty, camera, 0.0)
        self._estimator(empty, camera, boxes=[[0.0, 0.0, width / 2.0, height / 2.0]])
        topology = self._estimator.topology
        landmarks_m = topology.template_m.astype(np.float64)
        expression_of(Face(np.eye(3), np.array([0, 0, 0.6]), landmarks_m, 1.0, camera, topology))

    def set_neutral(self) -> None:
        """Make the next pose that is seen zero; may be called from any thread or signal."""
        self._wants_neutral.set()

    def run(
        self, capture: Capture, stop: Event, on_status: Callable[[Status], None] | None = None
    ) -> Status:
        """Process the newest frames until the input ends or ``stop`` is set.

        ``on_status`` gets the state every :data:`STATUS_INTERVAL_S`.

        Raises OSError or ValueError if the input ends with an error.
        """
        interval_s = 0.0 if self._options.max_fps is None else 1.0 / self._options.max_fps
        next_s = status_s = time.monotonic()
        while not stop.is_set():
            try:
                frame = capture.newest(IDLE_S)
            except ClosedError:
                break
            if frame is None:
                self.idle(time.monotonic())
            else:
                self.process(frame)
                next_s = max(next_s + interval_s, time.monotonic() - interval_s)
            if on_status is not None and time.monotonic() >= status_s:
                status_s = time.monotonic() + STATUS_INTERVAL_S
                on_status(self._statistics.status(capture.dropped))
            stop.wait(max(0.0, next_s - time.monotonic()))
        return self._statistics.status(capture.dropped)

    def process(self, captured: CapturedFrame) -> LiveFrame:
        """Track the faces of a frame and send them."""
        height, width = captured.pixels.shape[:2]
        if self._camera is None or (self._camera.width, self._camera.height) != (width, height):
            self._camera = resolve_camera(width, height, self._options.camera)
        faces = self._tracker.track(captured.pixels, self._camera, captured.time_s)
        frame = LiveFrame(
            source=self._source,
            index=captured.index,
            time_s=captured.time_s,
            captured_s=captured.captured_s,
            captured_unix_s=time.time() - (time.monotonic() - captured.captured_s),
            camera=self._camera,
            pixels=captured.pixels,
            faces=self._live_faces(faces, captured.captured_s),
        )
        self._send(frame)
        self._statistics.add(captured.captured_s, time.monotonic(), len(faces))
        return frame

    def idle(self, now_s: float) -> None:
        """Send on, without a new frame: the person counts as lost."""
        if self._last is None:
            return
        faces = self._live_faces([], now_s)
        self._send(
            LiveFrame(
                source=self._source,
                index=self._last.index,
                time_s=self._last.time_s,
                captured_s=now_s,
                captured_unix_s=time.time(),
                camera=self._last.camera,
                pixels=self._last.pixels,
                faces=faces,
            )
        )

    def _send(self, frame: LiveFrame) -> None:
        self._last = frame
        for sender in self._senders:
            sender.send(frame)

    def _live_faces(self, faces: Sequence[Face], now_s: float) -> tuple[LiveFace, ...]:
        """Return what is sent about the people of a frame, the followed person first."""
        face = self._choice.choose(faces, now_s)
        if face is not None:
            self._face = face
            if self._wants_neutral.is_set():
                self._wants_neutral.clear()
                self._reference.set_neutral(face.matrix)
                self._continuity.restart()
                self._zero_m = np.zeros(3)
            # In the camera frame, which does not jump when a neutral pose is set.
            pose = self._reference.convert(self._predictor.predict(face.matrix, face.id, now_s))
            if self._zero_m is None:
                self._zero_m = pose[:3, 3].copy()
            state: PersonState | None = self._continuity.seen(
                PersonState(pose, expression_of(face)), face.id, now_s
            )
        else:
            state = self._continuity.lost(self._rest(), now_s)
        result = []
        if state is not None and self._face is not None:
            result.append(self._live_face(self._face, state, face is not None))
        if self._options.everybody:
            result += [self._other(each) for each in faces if each is not face]
        return tuple(result)

    def _other(self, face: Face) -> LiveFace:
        pose = self._reference.convert(face.matrix)
        return self._live_face(face, PersonState(pose, expression_of(face)), True)

    def _live_face(self, face: Face, state: PersonState, is_seen: bool) -> LiveFace:
        zero_m = np.zeros(3) if self._zero_m is None else self._zero_m
        offset_m = state.pose[:3, 3] - zero_m
        return LiveFace(face, state.pose, offset_m, state.expression, is_seen)

    def _rest(self) -> PersonState:
        """Return the state of a person who looks straight ahead, at the place of zero."""
        pose = np.eye(4)
        if self._zero_m is not None:
            pose[:3, 3] = self._zero_m
        return PersonState(pose, {})
