"""Face tracking over video frames: tracking by landmarks, re-detection, identities, smoothing.

A frame costs one network call per tracked face and no detection. The detector runs every few
frames to find new faces, and at once when a track is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.camera import Camera
from trg.inference.detections import Detector, box_iou, check_max_faces
from trg.inference.identity import (
    BRIDGED_DIFFERENCE,
    OTHER_DIFFERENCE,
    Person,
    Signature,
    recognize,
)
from trg.inference.pose_pipeline import FaceRequest, PosePipeline, is_duplicate, requests_of
from trg.inference.size_memory import SizeEstimate, SizeMemory
from trg.inference.smoothing import FaceSmoother, FaceSmoothing

SizeSource = Literal["person", "frame"]
"""Whether a face's size is that of its person over all frames, or of its frame alone."""

KnownDistance: TypeAlias = "float | Callable[[int], float | None] | None"
"""People's distance between the pupils, metres: everybody's, or by id; None: unknown."""

Box = NDArray[np.float64]

SPARE_CANDIDATES = 2
"""Detections to verify beyond ``max_faces``, because some may be false positives."""


@dataclass(frozen=True, slots=True)
class TrackingOptions:
    """Parameters of the tracker."""

    smoothing: FaceSmoothing | None = field(default_factory=FaceSmoothing)
    """Temporal smoothing; None: off."""
    size: SizeSource = "person"
    """Where the size of faces, and with it their distance, comes from."""
    max_faces: int | None = None
    """Largest number of tracks. None: no limit."""
    redetect_every: int = 15
    """Frames between detections while all tracks are present; 15 are half a second of most videos.
    """
    new_confidence: float = 0.5
    """Least confidence of a face that starts a track."""
    keep_confidence: float = 0.3
    """Least confidence of a face that continues a track; lower, because it was seen before."""
    lost_track_buffer: int = 15
    """Frames after which a lost track is deleted. Its id remains that of the person."""
    bridged_s: float = 2.0
    """Time after which a face at the place of a lost one must be recognised more surely."""
    remembered_people: int = 200
    """People out of sight who are remembered: those seen last."""
    min_iou: float = 0.2
    """Least intersection over union of a detection and a lost track's box to recover the track."""

    def __post_init__(self) -> None:
        check_max_faces(self.max_faces)
        if self.redetect_every < 1 or self.lost_track_buffer < 0 or self.remembered_people < 0:
            raise ValueError(
                "tracking: expected redetect_every of at least 1, lost_track_buffer and "
                f"remembered_people of at least 0, got {self.redetect_every}, "
                f"{self.lost_track_buffer} and {self.remembered_people}"
            )


@dataclass(slots=True)
class _Track:
    """One tracked face."""

    last_face: Face
    """Where to search in the next frame."""
    id: int | None = None
    """The person; None: not yet known."""
    smoother: FaceSmoother | None = None
    frames_lost: int = 0
    face: Face | None = field(default=None, repr=False)
    """The face in the current frame, by itself; None: lost."""


class FaceTracker:
    """Tracks the faces of one video, frame by frame.

    Parameters
    ----------
    known_sizes
        The :attr:`sizes` of an earlier pass over the same video with equal options.
    interpupillary_m
        The known distance between the pupils, which then sets the size of people or faces.
    """

    def __init__(
        self,
        pipeline: PosePipeline,
        detector: Detector,
        options: TrackingOptions = TrackingOptions(),
        known_sizes: Mapping[int, SizeEstimate] | None = None,
        interpupillary_m: KnownDistance = None,
    ) -> None:
        self._pipeline = pipeline
        self._detector = detector
        self._options = options
        self._known_sizes = known_sizes or {}
        self._interpupillary_m = interpupillary_m
        self._sizes: dict[int, SizeMemory] = {}
        self._people: dict[int, Person] = {}
        self._person_count = 0
        self._tracks: list[_Track] = []
        self._frames_since_detection = 0

    @property
    def sizes(self) -> dict[int, SizeEstimate]:
        """The sizes of the people who are remembered by id; empty without size memory."""
        found = {number: memory.estimate for number, memory in self._sizes.items()}
        return {number: size for number, size in found.items() if size is not None}

    def track(self, image: NDArray[np.uint8], camera: Camera, time_s: float) -> list[Face]:
        """Process the next frame and return its faces, in the order of ids.

        Parameters
        ----------
        image
            ``(h, w, 3)`` uint8 RGB.
        camera
            Of the frame's size.
        time_s
            The frame's timestamp; the frame rate may vary. Repeated and decreasing timestamps are
            allowed and affect only smoothing, size and the bridging of gaps.
        """
        self._estimate(
            self._tracks, [FaceRequest(image, camera, track.last_face) for track in self._tracks]
        )
        if self._needs_detection():
            self._redetect(image, camera)
        self._merge_duplicates()
        self._identify(image, time_s)
        faces = []
        for track in self._tracks:
            if track.face is None or track.id is None:
                track.frames_lost += 1
                continue
            track.frames_lost = 0
            track.last_face = face = track.face
            if track.id in self._sizes:
                face = self._sizes[track.id].remember(face, time_s)
            if track.smoother is not None:
                face = track.smoother.smooth(face, time_s)
            if track.id not in self._sizes:
                known_m = self._known_m(track.id)
                face = face if known_m is None else face.with_interpupillary(known_m)
            faces.append(face.in_track(track.id, time_s))
        # A lost track must not block a place when all places are taken by visible faces.
        is_full = len(faces) == self._options.max_faces
        buffer = 0 if is_full else self._options.lost_track_buffer
        self._tracks = [track for track in self._tracks if track.frames_lost <= buffer]
        return faces

    def _estimate(self, tracks: Sequence[_Track], requests: Sequence[FaceRequest]) -> None:
        """Estimate the faces of tracks in the current frame, one request each."""
        options = self._options
        for track, face in zip(tracks, self._pipeline.estimate(requests), strict=True):
            needed = options.new_confidence if track.frames_lost else options.keep_confidence
            track.face = face if face is not None and face.confidence >= needed else None

    def _needs_detection(self) -> bool:
        """Return whether a track is lost, or a search for new faces is due and may succeed."""
        self._frames_since_detection += 1
        if not self._tracks or any(track.face is None for track in self._tracks):
            return True
        is_full = len(self._tracks) == self._options.max_faces
        return not is_full and self._frames_since_detection >= self._options.redetect_every

    def _redetect(self, image: NDArray[np.uint8], camera: Camera) -> None:
        """Detect faces, recover lost tracks and start new ones."""
        self._frames_since_detection = 0
        limit = self._options.max_faces
        wanted = None if limit is None else limit + SPARE_CANDIDATES
        requests = requests_of(image, camera, self._detector.detect(image, max_faces=wanted))
        tracked = _boxes_of(self._tracks)
        requests = [each for each in requests if not is_duplicate(_box(each), tracked)]
        recovered: dict[int, FaceRequest] = {}
        for index, track in enumerate(self._tracks):
            if track.face is not None:
                continue
            boxes = np.array([_box(each) for each in requests]).reshape(-1, 4)
            iou = box_iou(boxes, track.last_face.box_xyxy)
            if iou.max(initial=0.0) >= self._options.min_iou:
                recovered[index] = requests.pop(int(iou.argmax()))
        self._estimate([self._tracks[index] for index in recovered], list(recovered.values()))
        self._start_tracks(requests)

    def _start_tracks(self, requests: Sequence[FaceRequest]) -> None:
        """Start tracks from confident detections."""
        options = self._options
        present = len(_boxes_of(self._tracks))
        for face in self._pipeline.estimate(requests):
            if options.max_faces is not None and present >= options.max_faces:
                return
            if face is None or face.confidence < options.new_confidence:
                continue
            if is_duplicate(face.box_xyxy, _boxes_of(self._tracks)):
                continue
            self._tracks.append(_Track(face, face=face))
            present += 1

    def _identify(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Say which person each face of the current frame is.

        A track keeps its person as long as its face does not suddenly become another one, as at a
        cut. The face of a new or changed track is a person who was seen before, if that is sure.
        """
        unknown: list[tuple[_Track, Signature, int | None]] = []
        for track in self._tracks:
            if track.face is None:
                continue
            signature = Signature.of(track.face, image)
            if track.id is not None:
                limit = BRIDGED_DIFFERENCE if track.frames_lost else OTHER_DIFFERENCE
                person = self._people[track.id]
                if person.is_like(signature, limit):
                    person.see(signature, track.face, time_s)
                    continue
            unknown.append((track, signature, track.id))
            track.id = None
        for track, signature, former_id in unknown:
            self._name(track, signature, time_s, former_id)
        if unknown:
            named = {track.id for track, _, _ in unknown}
            self._tracks = [t for t in self._tracks if t.face is not None or t.id not in named]
            self._tracks.sort(key=lambda track: -1 if track.id is None else track.id)

    def _name(
        self, track: _Track, signature: Signature, time_s: float, former_id: int | None
    ) -> None:
        """Give a track the id of an absent person, or a new one.

        ``former_id``: the person in whose place this face is, suddenly.
        """
        assert track.face is not None
        face = track.face
        present = {other.id for other in self._tracks if other.face is not None}
        absent = {number: p for number, p in self._people.items() if number not in present}
        nearby = [
            number
            for number, person in absent.items()
            if number != former_id
            and abs(time_s - person.last_time_s) <= self._options.bridged_s
            and box_iou(person.last_face.box_xyxy[None], face.box_xyxy)[0] >= self._options.min_iou
        ]
        number = recognize(signature, absent, nearby)
        if number is None:
            number = self._person_count
            self._person_count += 1
            self._forget()
            self._people[number] = Person(signature, signature, face, time_s)
            if self._options.size == "person":
                known = self._known_sizes.get(number)
                self._sizes[number] = SizeMemory(known, self._known_m(number))
        else:
            self._people[number].see(signature, face, time_s)
        track.id = number
        smoothing = self._options.smoothing
        track.smoother = None if smoothing is None else FaceSmoother(smoothing)

    def _forget(self) -> None:
        """Forget those not seen for longest: over days, a camera sees any number of people."""
        tracked = {track.id for track in self._tracks}
        absent = [number for number in self._people if number not in tracked]
        absent.sort(key=lambda number: self._people[number].last_time_s, reverse=True)
        for number in absent[self._options.remembered_people :]:
            del self._people[number]
            self._sizes.pop(number, None)

    def _known_m(self, number: int) -> float | None:
        """Return a person's known distance between the pupils."""
        known = self._interpupillary_m
        return known(number) if callable(known) else known

    def _merge_duplicates(self) -> None:
        """Where several tracks follow one face, keep the oldest."""
        if sum(track.face is not None for track in self._tracks) < 2:
            return
        kept: list[_Track] = []
        for track in self._tracks:
            if track.face is None or not is_duplicate(track.face.box_xyxy, _boxes_of(kept)):
                kept.append(track)
        self._tracks = kept


def _box(request: FaceRequest) -> Box:
    """Return the box of a detection's request."""
    return np.asarray(request.region, dtype=np.float64)


def _boxes_of(tracks: Sequence[_Track]) -> list[Box]:
    """Return the boxes of the tracks that are present in the current frame."""
    return [track.face.box_xyxy for track in tracks if track.face is not None]
