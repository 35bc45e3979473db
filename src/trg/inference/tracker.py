"""Faces over the frames of a video: boxes from the last frame's landmarks, identities, smoothing.

A frame in which all is well costs one call of the network per person and no detection. The
detector looks again every few frames for newcomers, and at once when somebody is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.camera import Camera
from trg.inference.detections import Detector, overlap
from trg.inference.pose_pipeline import FaceRequest, PosePipeline, is_same_face
from trg.inference.smoothing import FaceSmoother, FaceSmoothing

SPARE_CANDIDATES = 2
"""Detections beyond those asked for are looked at, for some may turn out to be no faces."""


@dataclass(frozen=True, slots=True)
class TrackingOptions:
    """How faces are followed.

    Attributes
    ----------
    smoothing
        How strongly; None: not at all.
    max_faces
        Follow at most so many. None: all.
    redetect_every
        Frames between looks for newcomers; half a second of a usual video.
    new_confidence
        What a detection needs to become a face.
    keep_confidence
        What a face needs to go on being one: less, for it was there a moment ago.
    lost_track_buffer
        How many frames somebody may be lost and still come back as the same.
    min_overlap
        Share of the union of two boxes that makes a detection somebody who was lost.
    """

    smoothing: FaceSmoothing | None = field(default_factory=FaceSmoothing)
    max_faces: int | None = None
    redetect_every: int = 15
    new_confidence: float = 0.5
    keep_confidence: float = 0.3
    lost_track_buffer: int = 15
    min_overlap: float = 0.2

    def __post_init__(self) -> None:
        if self.max_faces is not None and self.max_faces < 1:
            raise ValueError(f"max_faces: expected None or at least 1, got {self.max_faces}")
        if self.redetect_every < 1 or self.lost_track_buffer < 0:
            raise ValueError(
                "tracking: expected redetect_every of at least 1 and lost_track_buffer of at least "
                f"0, got {self.redetect_every} and {self.lost_track_buffer}"
            )


@dataclass(slots=True)
class _Track:
    """Somebody who is followed."""

    id: int
    place: NDArray[np.float64] | Face
    """Where to look next: a detected box, or the last face"""
    smoother: FaceSmoother | None
    missed: int = 0
    face: Face | None = field(default=None, repr=False)
    """In the present frame, as measured."""

    @property
    def box_xyxy(self) -> NDArray[np.float64]:
        """The box where to look next, px."""
        return self.place.box_xyxy if isinstance(self.place, Face) else self.place


class FaceTracker:
    """Follows the faces of one video, frame by frame.

    Parameters
    ----------
    stage
        What turns boxes into faces.
    detector
        What finds boxes.
    options
        How faces are followed.
    """

    def __init__(
        self, stage: PosePipeline, detector: Detector, options: TrackingOptions = TrackingOptions()
    ) -> None:
        self._stage = stage
        self._detector = detector
        self._options = options
        self._tracks: list[_Track] = []
        self._next_id = 0
        self._since_detection = 0

    def __call__(self, pixels: NDArray[np.uint8], camera: Camera, time_s: float) -> list[Face]:
        """Take the next frame and return its faces, in the order of their appearance.

        Parameters
        ----------
        pixels
            ``(h, w, 3)`` uint8 RGB.
        camera
            Of the frame's size.
        time_s
            When the frame was taken; the rate may vary. Times that repeat or run backwards are
            allowed and only concern the smoothing.
        """
        self._measure(self._tracks, pixels, camera)
        if self._wants_detection():
            self._redetect(pixels, camera)
        self._merge_duplicates()
        faces = []
        for track in self._tracks:
            if track.face is None:
                track.missed += 1
                continue
            track.missed = 0
            track.place = face = track.face
            if track.smoother is not None:
                face = track.smoother(face, time_s)
            faces.append(replace(face, id=track.id, time_s=time_s))
        is_full = len(faces) == self._options.max_faces
        patience = 0 if is_full else self._options.lost_track_buffer
        self._tracks = [track for track in self._tracks if track.missed <= patience]
        return faces

    def _measure(self, tracks: Sequence[_Track], pixels: NDArray[np.uint8], camera: Camera) -> None:
        """Estimate the faces of tracks from their boxes."""
        requests = [FaceRequest(pixels, camera, track.place) for track in tracks]
        for track, face in zip(tracks, self._stage(requests), strict=True):
            options = self._options
            needed = options.new_confidence if track.missed else options.keep_confidence
            track.face = face if face is not None and face.confidence >= needed else None

    def _wants_detection(self) -> bool:
        """Say whether somebody is lost, or it is time to look for newcomers and there is room."""
        self._since_detection += 1
        if not self._tracks or any(track.face is None for track in self._tracks):
            return True
        is_full = len(self._tracks) == self._options.max_faces
        return not is_full and self._since_detection >= self._options.redetect_every

    def _redetect(self, pixels: NDArray[np.uint8], camera: Camera) -> None:
        """Detect faces: those who were lost are found again, others are new."""
        self._since_detection = 0
        limit = self._options.max_faces
        wanted = None if limit is None else limit + SPARE_CANDIDATES
        boxes = list(self._detector.detect(pixels, max_faces=wanted).boxes_xyxy)
        seen = [track.face.box_xyxy for track in self._tracks if track.face is not None]
        boxes = [box for box in boxes if not is_same_face(box, seen)]
        lost = [track for track in self._tracks if track.face is None]
        found = []
        for track in lost:
            shared = overlap(np.reshape(boxes, (-1, 4)), track.box_xyxy)
            if shared.max(initial=0.0) >= self._options.min_overlap:
                track.place = boxes.pop(int(shared.argmax()))
                found.append(track)
        self._measure(found, pixels, camera)
        self._start_tracks(boxes, pixels, camera)

    def _start_tracks(
        self, boxes: Sequence[NDArray[np.float64]], pixels: NDArray[np.uint8], camera: Camera
    ) -> None:
        """Begin to follow those detections that are faces, the best first."""
        present = sum(track.face is not None for track in self._tracks)
        faces = self._stage([FaceRequest(pixels, camera, box) for box in boxes])
        for face in faces:
            if self._options.max_faces is not None and present >= self._options.max_faces:
                return
            if face is None or face.confidence < self._options.new_confidence:
                continue
            if self._is_seen(face, self._tracks):
                continue
            smoothing = self._options.smoothing
            smoother = None if smoothing is None else FaceSmoother(smoothing)
            self._tracks.append(_Track(self._next_id, face, smoother, face=face))
            self._next_id += 1
            present += 1

    def _merge_duplicates(self) -> None:
        """Where two tracks have come to follow one face, the older goes on."""
        kept: list[_Track] = []
        for track in self._tracks:
            if track.face is None or not self._is_seen(track.face, kept):
                kept.append(track)
        self._tracks = kept

    @staticmethod
    def _is_seen(face: Face, tracks: Sequence[_Track]) -> bool:
        boxes = [track.face.box_xyxy for track in tracks if track.face is not None]
        return is_same_face(face.box_xyxy, boxes)
