"""From face boxes to faces: crops, the network, boxes drawn again, confidence.

::

    picture, camera, box ──> crop, box numbers ──> network ──> R, T, landmarks ──> Face
                   ▲         (trg.geometry.virtual_camera)                         │
                   └── box around the landmarks, where it differs ┘   at most twice

Many boxes of many pictures share the network's calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import transform
from trg.geometry.rotations import rotation_from_6d, rotation_to_6d
from trg.geometry.virtual_camera import (
    VirtualCamera,
    VirtualCameraCrop,
    crop_from_virtual_camera,
    virtual_camera_of_box,
    virtual_camera_of_landmarks,
)
from trg.inference.bundle import WeightCard
from trg.inference.confidence import FEATURES, ConfidenceModel, confidence_features
from trg.inference.detections import overlap
from trg.inference.runtime import PoseArrays

BOX_TOLERANCE = 0.15
"""A box is drawn again where its centre or side is off by more than this share of its side: as far
as boxes were shifted in training."""

MAX_REFINEMENTS = 2

CPU_BATCH = 8
"""Crops in one call of the network: on a CPU more at once fall out of its caches."""

SAME_FACE_OVERLAP = 0.5
"""Two boxes that share this much of their union are one face: two heads' never do."""


@runtime_checkable
class PoseNetwork(Protocol):
    """What finds poses in crops: :class:`trg.inference.runtime.PoseRuntime`, or a stand-in."""

    @property
    def topology(self) -> FaceTopology:
        """The mesh of the landmarks."""

    @property
    def crop_size(self) -> int:
        """Side of the crops, px."""

    @property
    def card(self) -> WeightCard:
        """What is known of the weights."""

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate ``b`` faces from ``(b, s, s, 3)`` and ``(b, 3)``."""


class ModelWrapper:
    """What networks share that ask another one: its mesh, its crops and its card.

    Parameters
    ----------
    network
        The one that is asked.
    note
        What is done otherwise, for the card's name.
    """

    def __init__(self, network: PoseNetwork, note: str) -> None:
        self._network = network
        self._card = replace(network.card, name=f"{network.card.name}, {note}")

    @property
    def topology(self) -> FaceTopology:
        """The mesh of the landmarks."""
        return self._network.topology

    @property
    def crop_size(self) -> int:
        """Side of the crops, px."""
        return self._network.crop_size

    @property
    def card(self) -> WeightCard:
        """The network's, its name with the note."""
        return self._card


class FaceRequest(NamedTuple):
    """One face to estimate."""

    pixels: NDArray[np.uint8]
    """``(h, w, 3)``: the whole picture"""
    camera: Camera
    """Of the picture's size"""
    place: ArrayLike | Face
    """A box ``(4,)`` px, of any shape, or a face that was there a moment ago"""


class Measured(NamedTuple):
    """A face, and what its confidence was made of."""

    face: Face
    features: NDArray[np.float64]
    """As :func:`trg.inference.confidence.confidence_features` gives them"""


class PosePipeline:
    """Runs a network on boxes.

    Parameters
    ----------
    network
        What finds poses in crops.
    refine
        Whether boxes that are off are drawn again around the landmarks that were found.
    batch_size
        Crops in one call of the network.
    """

    def __init__(
        self, network: PoseNetwork, refine: bool = True, batch_size: int = CPU_BATCH
    ) -> None:
        self._network = network
        self._batch_size = batch_size
        self._confidence = ConfidenceModel.from_training_facts(network.card.training)
        self._rounds = 1 + (MAX_REFINEMENTS if refine else 0)

    def __call__(self, requests: Sequence[FaceRequest]) -> list[Face | None]:
        """Estimate a face per request.

        None where there cannot be one: the box shows nothing of the picture, is smaller than
        4 px, or the head would be behind the camera.
        """
        return [each and each.face for each in self.measure(requests)]

    def measure(self, requests: Sequence[FaceRequest]) -> list[Measured | None]:
        """Estimate faces as a plain call does, and say what their confidences were made of."""
        results: list[Measured | None] = [None] * len(requests)
        pending = {i: _virtual_camera(request) for i, request in enumerate(requests)}
        for _ in range(self._rounds):
            crops = {
                i: crop
                for i, virtual in pending.items()
                if virtual is not None and (crop := self._crop(requests[i], virtual)) is not None
            }
            found = self._run(requests, crops)
            results = [found.get(i, result) for i, result in enumerate(results)]
            pending = {
                i: _virtual_camera_of_face(each.face)
                for i, each in found.items()
                if each is not None and needs_refinement(each.features)
            }
            if not pending:
                break
        return results

    def _crop(self, request: FaceRequest, virtual: VirtualCamera) -> VirtualCameraCrop | None:
        return crop_from_virtual_camera(
            request.pixels, request.camera, virtual, self._network.crop_size
        )

    def _run(
        self, requests: Sequence[FaceRequest], crops: dict[int, VirtualCameraCrop]
    ) -> dict[int, Measured | None]:
        """Run the network once on each crop."""
        found: dict[int, Measured | None] = {}
        topology = self._network.topology
        numbers = list(crops)
        for start in range(0, len(numbers), self._batch_size):
            chunk = numbers[start : start + self._batch_size]
            arrays = self._network(
                np.stack([crops[i].pixels for i in chunk]),
                np.stack([crops[i].bbox_info for i in chunk]).astype(np.float32),
            )
            features = confidence_features(arrays, topology.landmarks68)
            confidence = self._confidence(features)
            for row, i in enumerate(chunk):
                pose = _to_camera_frame(arrays, row, crops[i].cam_from_virtual)
                try:
                    face = Face.from_pose(
                        *pose, float(confidence[row]), requests[i].camera, topology
                    )
                except ValueError:  # behind the camera, or not finite: what was seen is no face
                    found[i] = None
                else:
                    found[i] = Measured(face, features[row])
        return found


def needs_refinement(features: NDArray[np.float64]) -> bool:
    """Say whether a face's own box differs too much from the box that it was seen in."""
    named = dict(zip(FEATURES, features, strict=True))
    return bool(named["offset"] > BOX_TOLERANCE or named["side"] > np.log1p(BOX_TOLERANCE))


def _virtual_camera(request: FaceRequest) -> VirtualCamera | None:
    if isinstance(request.place, Face):
        return _virtual_camera_of_face(request.place)
    return virtual_camera_of_box(request.camera, request.place)


def _virtual_camera_of_face(face: Face) -> VirtualCamera:
    sparse_m = face.landmarks_m[face.topology.landmarks68]
    return virtual_camera_of_landmarks(transform(sparse_m, face.rotation, face.translation_m))


def is_same_face(box: NDArray[np.float64], boxes: Sequence[NDArray[np.float64]]) -> bool:
    """Say whether a box nearly covers one of others, so that both show one face."""
    return bool(boxes) and bool((overlap(np.stack(boxes), box) > SAME_FACE_OVERLAP).any())


def without_duplicates(faces: Sequence[Face]) -> list[Face]:
    """Return the faces without those that an earlier one's box nearly covers."""
    kept: list[Face] = []
    for face in faces:
        if not is_same_face(face.box_xyxy, [other.box_xyxy for other in kept]):
            kept.append(face)
    return kept


def _to_camera_frame(
    arrays: PoseArrays, row: int, cam_from_virtual: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return rotation and translation in the picture's camera, and the landmarks in head space."""
    rotation_6d = rotation_to_6d(arrays.rotation[row].astype(np.float64))
    return (
        cam_from_virtual @ rotation_from_6d(rotation_6d),
        cam_from_virtual @ arrays.translation_m[row].astype(np.float64),
        arrays.vertices_m[row].astype(np.float64),
    )
