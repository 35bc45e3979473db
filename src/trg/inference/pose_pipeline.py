"""From face boxes to :class:`~trg.face.Face`: crop, network, pose in the camera frame, refinement.

::

    image, camera, box --> perspective crop, bbox_info --> network --> R, T, landmarks --> Face
                    ^      (trg.geometry.virtual_camera)   (trg.inference.runtime)          |
                    +---- box around the landmarks, where it differs (at most twice) -------+

Boxes of several images share the calls of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.crop import FaceCrop
from trg.geometry.projection import transform
from trg.geometry.rotations import rotation_from_6d, rotation_to_6d
from trg.geometry.virtual_camera import (
    VirtualCamera,
    crop_from_virtual_camera,
    virtual_camera_of_box,
    virtual_camera_of_landmarks,
)
from trg.inference.confidence import FEATURES, ConfidenceModel, confidence_features
from trg.inference.detections import box_iou
from trg.inference.runtime import PoseArrays, PoseNetwork

Floats = NDArray[np.float64]

BOX_TOLERANCE = 0.15
"""A box is refined where its centre or side is off by more than this share of its side: the
largest shift of boxes in training."""

MAX_REFINEMENTS = 2

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
    features: Floats
    """``(k,)``, see :func:`trg.inference.confidence.confidence_features`"""


def pose_in_camera(arrays: PoseArrays, row: int, cam_from_virtual: Floats) -> HeadPose:
    """Return one row of the network's output in the frame of the image's camera.

    The one place where a network's answer becomes a pose; the estimator and the evaluation share
    it. The float32 rotation is orthonormalised in float64, so that it is a rotation to 1e-15.
    ``cam_from_virtual`` is the crop's.
    """
    virtual_from_head = rotation_from_6d(rotation_to_6d(arrays.rotation[row].astype(np.float64)))
    return HeadPose(
        cam_from_virtual @ virtual_from_head,
        cam_from_virtual @ arrays.translation_m[row].astype(np.float64),
        arrays.vertices_m[row].astype(np.float64),
    )


class PosePipeline:
    """Estimates faces in given boxes, with ``batch_size`` crops per call of the network.

    With ``refine`` a face is estimated again where its landmarks ask for another box.
    """

    def __init__(
        self, network: PoseNetwork, refine: bool = True, batch_size: int = CPU_BATCH
    ) -> None:
        self._network = network
        self._batch_size = batch_size
        self._confidence = ConfidenceModel.from_training(network.card.training)
        self._passes = 1 + (MAX_REFINEMENTS if refine else 0)

    def estimate(self, requests: Sequence[FaceRequest]) -> list[Face | None]:
        """Estimate one face per request.

        None where there is no face to estimate: the box lies outside the image or is smaller than
        4 px, or the estimated head is behind the camera.
        """
        return [scored and scored.face for scored in self.estimate_with_features(requests)]

    def estimate_with_features(self, requests: Sequence[FaceRequest]) -> list[ScoredFace | None]:
        """Estimate as :meth:`estimate` does, and return the confidence features too."""
        results: list[ScoredFace | None] = [None] * len(requests)
        pending = {i: _virtual_camera(request) for i, request in enumerate(requests)}
        for _ in range(self._passes):
            crops = {i: self._crop(requests[i], virtual) for i, virtual in pending.items()}
            found = self._estimate_crops(
                requests, {i: crop for i, crop in crops.items() if crop is not None}
            )
            results = [found.get(i, result) for i, result in enumerate(results)]
            pending = {
                i: _virtual_camera_of_face(scored.face)
                for i, scored in found.items()
                if scored is not None and needs_refinement(scored.features)
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
                np.stack([crops[i].pixels for i in batch]),
                np.stack([crops[i].bbox_info for i in batch]).astype(np.float32),
            )
            features = confidence_features(arrays, topology.landmarks68)
            confidence = self._confidence.predict(features)
            for row, i in enumerate(batch):
                pose = pose_in_camera(arrays, row, crops[i].cam_from_virtual)
                try:
                    face = Face.from_pose(
                        *pose, float(confidence[row]), requests[i].camera, topology
                    )
                except ValueError:  # behind the camera or not finite: not a face
                    found[i] = None
                else:
                    found[i] = ScoredFace(face, features[row])
        return found


def needs_refinement(features: Floats) -> bool:
    """Return whether the box around the landmarks differs too much from the box of the crop."""
    named = dict(zip(FEATURES, features, strict=True))
    return bool(named["offset"] > BOX_TOLERANCE or named["side"] > np.log1p(BOX_TOLERANCE))


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


def _virtual_camera(request: FaceRequest) -> VirtualCamera | None:
    if isinstance(request.region, Face):
        return _virtual_camera_of_face(request.region)
    return virtual_camera_of_box(request.camera, request.region)


def _virtual_camera_of_face(face: Face) -> VirtualCamera:
    landmarks68_m = face.landmarks_m[face.topology.landmarks68]
    return virtual_camera_of_landmarks(transform(landmarks68_m, face.rotation, face.translation_m))
