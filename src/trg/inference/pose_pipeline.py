"""From face boxes to :class:`~trg.face.Face`: crop, network, pose in the camera frame, refinement.

::

    image, camera, box --> perspective crop, bbox_info --> network --> R, T, landmarks --> Face
                    ^      (trg.geometry.virtual_camera)   (trg.inference.runtime)          |
                    +---- box and roll of the head, where they differ (at most twice) ------+

The network knows faces near upright: it is accurate up to about 30 degrees of roll, degrades up to
75, and takes a face that is upside down for an upright one. Crops of rolled faces are therefore
turned upright. A box whose face is not found with high confidence is tried at other rolls too.

Boxes of several images share the calls of the network.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.crop import FaceCrop
from trg.geometry.lens import LensModelError, LensModelWarning
from trg.geometry.projection import OPTICAL_AXIS, rays_from_crop, transform
from trg.geometry.rotations import orthonormalize, rotation_between, rotation_to_roll_deg
from trg.geometry.virtual_camera import (
    VirtualCamera,
    crop_from_virtual_camera,
    virtual_camera_of_box,
    virtual_camera_of_landmarks,
)
from trg.inference.confidence import FEATURES, ConfidenceModel, confidence_features
from trg.inference.detections import Detections, box_iou
from trg.inference.error_bar_calibration import ErrorBarCalibration
from trg.inference.runtime import PoseArrays, PoseNetwork

Floats = NDArray[np.float64]

BOX_TOLERANCE = 0.15
"""A box is refined where its centre or side is off by more than this share of its side: the
largest shift of boxes in training."""

MAX_REFINEMENTS = 2

LEVEL_ROLL_DEG = 20.0
"""Crops of faces with less roll than this are level; the network is as accurate as at 0."""

MAX_CROP_ROLL_DEG = 30.0
"""A face is refined where it rolls more than this in its crop."""

CERTAIN_ROLL_DEG = 45.0
"""A detection's landmarks tell roll to about 20 degrees; they turn the first crop beyond this."""

SEARCH_ROLLS_DEG = (120.0, -120.0)
"""Further rolls at which a face is searched. From one of the three the network sees a face of any
roll within 60 degrees, which suffices for a refinement."""

SURE_CONFIDENCE = 0.997
"""Faces with less confidence are searched at other rolls: few upright ones, and of upside-down ones
that pass for upright nearly all."""

AGREED_CONFIDENCE, AGREED_ROLL_DEG = 0.98, 45.0
"""A face of this confidence is not searched where its roll and the detector's differ by less. Of
120 rendered faces that roll by 135 or 180 degrees, `trg_s` and a detector of upright faces together
took 65 for upright ones, with confidences up to 0.951; 87 % of upright faces have more than 0.98.
With `trg_m` these were 64, 0.972 and 92 %."""

FOUND_CONFIDENCE = 0.9
"""Least confidence of a face that was found by a search. What is no face gets three looks in a
search, and one of them often looks a little like a face."""

CPU_BATCH = 8
"""Crops per call of the network. Larger batches do not fit a CPU's caches and are slower."""

DUPLICATE_IOU = 0.5
"""Boxes that overlap more than this show one face; boxes of two heads never do."""


class FaceRequest(NamedTuple):
    """One face to estimate."""

    image: NDArray[np.uint8]
    """``(h, w, 3)`` RGB"""
    camera: Camera
    """Of the image's size"""
    region: ArrayLike | Face
    """Where the face is: a box ``(4,)`` px of any shape, or the face in the previous frame"""
    roll_deg: float = 0.0
    """Approximate roll of the face in a box, clockwise in the image; it may be wrong"""
    detected_roll_deg: float | None = None
    """Roll by the detector's landmarks; None: not detected"""


def requests_of(
    image: NDArray[np.uint8], camera: Camera, detections: Detections
) -> list[FaceRequest]:
    """Return one request per detection.

    Rolls within :data:`CERTAIN_ROLL_DEG` are left to the network, which knows them better.
    """
    detected_deg = detections.rolls_deg()
    rolls_deg = np.where(np.abs(detected_deg) > CERTAIN_ROLL_DEG, detected_deg, 0.0)
    lacks_points = np.isnan(detections.points_px.sum((1, 2)))
    seen_deg = [
        None if is_unknown else float(roll_deg)
        for roll_deg, is_unknown in zip(detected_deg, lacks_points, strict=True)
    ]
    return [
        FaceRequest(image, camera, box, float(roll_deg), seen)
        for box, roll_deg, seen in zip(detections.boxes_xyxy, rolls_deg, seen_deg, strict=True)
    ]


class HeadPose(NamedTuple):
    """Pose and shape of one head, float64."""

    rotation: Floats
    """``(3, 3)``, ``cam_from_head``"""
    translation_m: Floats
    """``(3,)``, the head's origin in the camera frame"""
    landmarks_m: Floats
    """``(n, 3)`` in the head frame"""


class ScoredFace(NamedTuple):
    """A face and the features its confidence was computed from."""

    face: Face
    """The estimate."""
    features: Floats
    """``(k,)``, see :func:`trg.inference.confidence.confidence_features`"""
    heatmap68_crop: NDArray[np.float32]
    """``(68, 2)``: the 68 landmarks by the heatmaps, in crop coordinates"""
    bbox_info: Floats
    """``(3,)``: the crop's"""
    cam_from_virtual: Floats
    """``(3, 3)``: the crop's"""

    def heatmap68_px(self) -> Floats:
        """Return the 68 landmarks by the heatmaps, in the image: ``(68, 2)``.

        Unlike the face's, they follow neither its shape nor the camera that the network is told.
        """
        rays = rays_from_crop(self.heatmap68_crop.astype(np.float64), self.bbox_info)
        directions = np.concatenate([rays, np.ones((len(rays), 1))], 1) @ self.cam_from_virtual.T
        return self.face.camera.project(directions)


def pose_in_camera(arrays: PoseArrays, row: int, cam_from_virtual: Floats) -> HeadPose:
    """Return one row of the network's output in the frame of the image's camera.

    The one place where a network's answer becomes a pose; the estimator and the evaluation share
    it. The float32 rotation is orthonormalised in float64, so that it is a rotation to 1e-12.
    ``cam_from_virtual`` is the crop's.
    """
    return HeadPose(
        cam_from_virtual @ orthonormalize(arrays.rotation[row].astype(np.float64)),
        cam_from_virtual @ arrays.translation_m[row].astype(np.float64),
        arrays.vertices_m[row].astype(np.float64),
    )


class PosePipeline:
    """Estimates faces in given boxes, with ``batch_size`` crops per call of the network.

    With ``refine`` a face is estimated again where its landmarks ask for another box or roll, and
    searched at other rolls where its confidence is low.
    """

    def __init__(
        self, network: PoseNetwork, refine: bool = True, batch_size: int = CPU_BATCH
    ) -> None:
        self._network = network
        self._batch_size = batch_size
        self._confidence = ConfidenceModel.from_training(network.card.training)
        self._calibration = ErrorBarCalibration.from_training(network.card.training)
        self._passes = 1 + (MAX_REFINEMENTS if refine else 0)

    def estimate(self, requests: Sequence[FaceRequest]) -> list[Face | None]:
        """Estimate one face per request.

        None where there is no face to estimate: the box lies outside the image or is smaller than
        4 px, or the estimated head is behind the camera. None with a LensModelWarning where the
        camera's lens model folds over before it reaches the face.
        """
        return [scored and scored.face for scored in self.estimate_with_features(requests)]

    def estimate_with_features(self, requests: Sequence[FaceRequest]) -> list[ScoredFace | None]:
        """Estimate as :meth:`estimate` does, and return the confidence features too."""
        cameras = [_virtual_camera(request) for request in requests]
        results = self._estimate_refined(requests, cameras)
        if self._passes == 1:
            return results
        trials = [
            (i, camera._replace(roll_deg=camera.roll_deg + roll_deg))
            for i, camera in enumerate(cameras)
            if camera is not None and _needs_search(requests[i], results[i])
            for roll_deg in SEARCH_ROLLS_DEG
        ]
        found = self._estimate_refined(
            [requests[i] for i, _ in trials], [camera for _, camera in trials]
        )
        for (i, _), other in zip(trials, found, strict=True):
            if _confidence(other) >= FOUND_CONFIDENCE:
                results[i] = max(results[i], other, key=_confidence)
        return results

    def _estimate_refined(
        self, requests: Sequence[FaceRequest], cameras: Sequence[VirtualCamera | None]
    ) -> list[ScoredFace | None]:
        """Estimate one face per virtual camera, with refinements."""
        results: list[ScoredFace | None] = [None] * len(requests)
        pending = dict(enumerate(cameras))
        for _ in range(self._passes):
            cut = {i: self._crop(requests[i], virtual) for i, virtual in pending.items()}
            crops = {i: crop for i, crop in cut.items() if crop is not None}
            found = self._estimate_crops(requests, crops)
            results = [found.get(i, result) for i, result in enumerate(results)]
            pending = {
                i: _virtual_camera_of_face(scored.face)
                for i, scored in found.items()
                if scored is not None and needs_refinement(scored, crops[i])
            }
            if not pending:
                break
        return results

    def _crop(self, request: FaceRequest, virtual: VirtualCamera | None) -> FaceCrop | None:
        return virtual and crop_from_virtual_camera(
            request.image, request.camera, virtual, self._network.crop_size
        )

    def _estimate_crops(
        self, requests: Sequence[FaceRequest], crops: dict[int, FaceCrop]
    ) -> dict[int, ScoredFace | None]:
        """Run the network once on each crop; keys are indices of requests."""
        found: dict[int, ScoredFace | None] = {}
        topology = self._network.topology
        indices = list(crops)
        for start in range(0, len(indices), self._batch_size):
            batch = indices[start : start + self._batch_size]
            arrays = self._network(
                _stacked([crops[i].pixels for i in batch]),
                np.array([crops[i].bbox_info for i in batch], np.float32),
            )
            features = confidence_features(arrays, topology.landmarks68)
            confidence = self._confidence.predict(features)
            for row, i in enumerate(batch):
                pose = pose_in_camera(arrays, row, crops[i].cam_from_virtual)
                std = None if arrays.std is None else arrays.std[row]
                try:
                    face = Face(
                        *pose,
                        float(confidence[row]),
                        requests[i].camera,
                        topology,
                        error_bars=None if std is None else self._calibration.error_bars(std),
                    )
                except LensModelError:
                    _warn_of_lost_face()
                    found[i] = None
                except ValueError:  # behind the camera or not finite: not a face
                    found[i] = None
                else:
                    heatmap68_crop = arrays.landmarks68_crop[row]
                    found[i] = ScoredFace(face, features[row], heatmap68_crop, *crops[i][1:])
        return found


def _stacked(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack(images) if len(images) > 1 else images[0][None]  # one without a copy


def _needs_search(request: FaceRequest, found: ScoredFace | None) -> bool:
    """Return whether a face may be at another roll than the one that the network sees."""
    confidence = _confidence(found)
    if isinstance(request.region, Face) or confidence >= SURE_CONFIDENCE:
        return False
    if found is None or request.detected_roll_deg is None or confidence < AGREED_CONFIDENCE:
        return True
    level_from_head = (
        rotation_between(OPTICAL_AXIS, found.face.translation_m).T @ found.face.rotation
    )
    off_deg = rotation_to_roll_deg(level_from_head) - request.detected_roll_deg
    return abs((off_deg + 180.0) % 360.0 - 180.0) > AGREED_ROLL_DEG


def needs_refinement(scored: ScoredFace, crop: FaceCrop) -> bool:
    """Return whether the landmarks' box differs too much from the crop, or the face rolls in it."""
    named = dict(zip(FEATURES, scored.features.tolist(), strict=True))
    if named["offset"] > BOX_TOLERANCE or named["side"] > math.log1p(BOX_TOLERANCE):
        return True
    return (
        abs(rotation_to_roll_deg(crop.cam_from_virtual.T @ scored.face.rotation))
        > MAX_CROP_ROLL_DEG
    )


def is_duplicate(box_xyxy: Floats, boxes_xyxy: Sequence[Floats]) -> bool:
    """Return whether a box shows the same face as one of the others."""
    if not boxes_xyxy:
        return False
    return bool((box_iou(np.stack(boxes_xyxy), box_xyxy) > DUPLICATE_IOU).any())


def drop_duplicates(faces: Sequence[Face]) -> list[Face]:
    """Return the faces without those whose box duplicates that of an earlier one."""
    kept: list[Face] = []
    for face in faces:
        if not is_duplicate(face.box_xyxy, [other.box_xyxy for other in kept]):
            kept.append(face)
    return kept


def crop_roll_deg(face_roll_deg: float) -> float:
    """Return the roll of the crop for a face of some roll, both from -180 to 180 degrees.

    0 for nearly upright faces, and the face's roll from twice :data:`LEVEL_ROLL_DEG`. Continuous in
    between and at 180 degrees, so that a face that turns in a video causes no jump.
    """
    size = abs(face_roll_deg)
    return math.copysign(max(0.0, min(size, 2.0 * (size - LEVEL_ROLL_DEG))), face_roll_deg)


def _virtual_camera(request: FaceRequest) -> VirtualCamera | None:
    if isinstance(request.region, Face):
        return _virtual_camera_of_face(request.region)
    try:
        return virtual_camera_of_box(request.camera, request.region, request.roll_deg)
    except LensModelError:
        _warn_of_lost_face()
        return None


def _warn_of_lost_face() -> None:
    warnings.warn(
        "a face has no pose, because the camera's lens model folds over before it reaches the "
        "face: see the share of the picture that this concerns in Camera.blind_share",
        LensModelWarning,
        stacklevel=1,  # one place: shown once
    )


def _virtual_camera_of_face(face: Face) -> VirtualCamera:
    level_from_cam = rotation_between(OPTICAL_AXIS, face.translation_m).T
    face_roll_deg = rotation_to_roll_deg(level_from_cam @ face.rotation)
    landmarks68_m = face.landmarks_m[face.topology.landmarks68]
    landmarks68_cam = transform(landmarks68_m, face.rotation, face.translation_m)
    return virtual_camera_of_landmarks(landmarks68_cam, crop_roll_deg(face_roll_deg))


def _confidence(scored: ScoredFace | None) -> float:
    return -1.0 if scored is None else scored.face.confidence
