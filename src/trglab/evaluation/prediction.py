"""Run a method over a labelled data set once, and keep its predictions with the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trg.face import Face
from trg.geometry.crop import crop_face, face_box
from trg.geometry.projection import rays_from_crop
from trg.inference.detections import Detector
from trg.inference.error_bar_calibration import ErrorBarCalibration
from trg.inference.pose_pipeline import FaceRequest, PosePipeline, pose_in_camera
from trg.inference.runtime import PoseNetwork
from trglab.datasets.biwi import shift_inside
from trglab.datasets.sample import Sample
from trglab.evaluation.ground_truth import GroundTruth, ground_truth_from_samples, without_image
from trglab.evaluation.predictions import PredictionMetadata, Predictions, mesh_sha256

Floats = NDArray[np.float64]

BoxedSample = tuple[Sample, Floats]
"""A sample and its face box ``(4,)``, px."""

BATCH_SIZE = 32
"""Images in memory at a time."""

BoxRule = Literal["truth", "detector", "landmarks"]
"""Source of the face boxes: the labels; the best detection; or the landmarks predicted inside the
best detection."""

MAX_LANDMARK_BOX = 4.0
"""A box around predicted landmarks that is larger than this many images is invalid; the detected
box is used instead."""

ViewRule = Literal["crop", "virtual", "refined"]
"""How the network sees a face: "crop" cuts the box out of the image, as in the paper; "virtual"
runs the product's :class:`~trg.inference.pose_pipeline.PosePipeline` once on each box; "refined"
runs it as the product does, with refined boxes and a search at other rolls."""


class Estimate(NamedTuple):
    """A method's estimate of the face in one image; None for what it does not estimate."""

    rotation: Floats
    translation_m: Floats | None = None
    vertices_m: NDArray[np.floating] | None = None
    landmarks68_px: Floats | None = None
    box_xyxy: Floats | None = None
    std: Floats | None = None


class Method(Protocol):
    """Anything that estimates one face per image."""

    @property
    def metadata(self) -> PredictionMetadata:
        """Metadata for the file of predictions."""
        ...

    def estimate(self, samples: Sequence[Sample]) -> Sequence[Estimate | None]:
        """Return one estimate per sample, or None where no face was found."""
        ...


class SampleSequence(Protocol):
    """Samples by index, as the data set readers provide them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class LabelledImages(NamedTuple):
    """A data set, opened for evaluation."""

    samples: SampleSequence
    name: str
    points_m: Callable[[Sample], NDArray[np.floating]] | None = None
    """The points of ADD (Eq. 8), where they are not the sample's vertices."""
    mesh_sha256: str = ""
    """Of the triangles of the samples' vertices."""
    triangles: Callable[[Sample], NDArray[np.integer]] | None = None
    """``(m, 3)`` of the points of ADD, for drawings."""
    groups: NDArray[np.int32] | None = None
    """``(v,)``, :func:`~trg.geometry.face_mesh.landmark_groups` of the samples' vertices, to score
    error bars."""
    seven_vertices: Callable[[], NDArray[np.integer]] | None = None
    """``(7,)``: the points of ADD that are :data:`~trglab.evaluation.protocols.SEVEN_LANDMARKS`."""


class DatasetRun(NamedTuple):
    """The result of one run over a data set."""

    ground_truth: GroundTruth
    predictions: Predictions | None
    unreadable: tuple[str, ...]
    """One message per image that could not be read; they appear nowhere else"""
    indices: NDArray[np.int64]
    """``(n,)``: the data set's index of each image"""


class BundleMethod:
    """A pose network as a method, with a rule for its face boxes.

    Parameters
    ----------
    network
        The weight bundle's runtime, or any other pose network.
    boxes
        Source of the face boxes.
    detector
        Finds faces, for boxes other than ``truth``; its best detection is used.
    landmark_network
        Predicts the landmarks of boxes ``landmarks``; None: the measured network itself.
    shift_boxes
        Shift boxes that extend beyond the image back inside, as the paper does on BIWI.
    view
        How the network sees a face.
    bundle_sha256
        Of the bundle's file, for the predictions' metadata.
    box_name
        Name of the rule for boxes in the predictions' metadata; empty: that of ``boxes``.
    """

    def __init__(
        self,
        network: PoseNetwork,
        boxes: BoxRule = "truth",
        detector: Detector | None = None,
        *,
        landmark_network: PoseNetwork | None = None,
        shift_boxes: bool = False,
        view: ViewRule = "crop",
        bundle_sha256: str = "",
        box_name: str = "",
    ) -> None:
        if boxes != "truth" and detector is None:
            raise ValueError(f"boxes {boxes!r}: expected a detector, got none")
        self._network, self._boxes, self._detector = network, boxes, detector
        self._landmark_network = landmark_network or network
        self._shift_boxes, self._view, self._box_name = shift_boxes, view, box_name or boxes
        self._pipeline = PosePipeline(network, refine=view == "refined")
        self._bundle_sha256 = bundle_sha256

    @property
    def metadata(self) -> PredictionMetadata:
        """The bundle's name and hash, and the rules for boxes and views."""
        return PredictionMetadata(
            method=self._network.card.name,
            bundle_sha256=self._bundle_sha256,
            mesh_sha256=mesh_sha256(self._network.topology.triangles),
            settings={
                "boxes": self._box_name,
                **({"view": self._view} if self._view != "crop" else {}),
            },
        )

    def estimate(self, samples: Sequence[Sample]) -> list[Estimate | None]:
        """Return one estimate per sample, or None where no face was found."""
        run = self._run_network if self._view == "crop" else self._run_pipeline
        return _estimate_boxes(samples, self.face_boxes(samples), run)

    def face_boxes(self, samples: Sequence[Sample]) -> list[Floats | None]:
        """Return the face box of each sample, or None where the detector found no face."""
        boxes = [self._initial_box(sample) for sample in samples]
        if self._boxes != "landmarks":
            return boxes
        run = partial(_run_on_crops, self._landmark_network)
        return [
            None if each is None else self._landmark_box(sample, each)
            for sample, each in zip(samples, _estimate_boxes(samples, boxes, run), strict=True)
        ]

    def _initial_box(self, sample: Sample) -> Floats | None:
        if self._detector is None:
            return np.asarray(sample.box_xyxy, dtype=np.float64)
        found = self._detector.detect(sample.image, max_faces=1)
        if not len(found.boxes_xyxy):
            return None
        return self._shifted(np.asarray(found.boxes_xyxy[0], dtype=np.float64), sample)

    def _landmark_box(self, sample: Sample, estimate: Estimate) -> Floats:
        assert estimate.landmarks68_px is not None
        assert estimate.box_xyxy is not None
        box = face_box(estimate.landmarks68_px)
        if box[2] - box[0] > MAX_LANDMARK_BOX * max(sample.camera.width, sample.camera.height):
            return estimate.box_xyxy
        return self._shifted(box, sample)

    def _shifted(self, box_xyxy: Floats, sample: Sample) -> Floats:
        if not self._shift_boxes:
            return box_xyxy
        return shift_inside(box_xyxy, sample.camera.width, sample.camera.height)

    def _run_pipeline(self, faces: Sequence[BoxedSample]) -> list[Estimate | None]:
        """Estimate as the product does: virtual cameras, and no face behind the camera."""
        requests = [FaceRequest(sample.image, sample.camera, box) for sample, box in faces]
        found = self._pipeline.estimate(requests)
        return [
            None if face is None else _estimate_of_face(face, box)
            for face, (_, box) in zip(found, faces, strict=True)
        ]

    def _run_network(self, faces: Sequence[BoxedSample]) -> list[Estimate | None]:
        return _run_on_crops(self._network, faces)


def _estimate_boxes(
    samples: Sequence[Sample],
    boxes: Sequence[Floats | None],
    run: Callable[[Sequence[BoxedSample]], list[Estimate | None]],
) -> list[Estimate | None]:
    """Estimate the faces of the samples that have a box."""
    rows = [row for row, box in enumerate(boxes) if box is not None]
    chosen = [(samples[row], np.asarray(boxes[row])) for row in rows]
    estimates: list[Estimate | None] = [None] * len(samples)
    for row, estimate in zip(rows, run(chosen) if chosen else [], strict=True):
        estimates[row] = estimate
    return estimates


def _run_on_crops(network: PoseNetwork, faces: Sequence[BoxedSample]) -> list[Estimate | None]:
    """Estimate as the paper does: the network on crops of the image, in one call."""
    size = network.crop_size
    crops = [crop_face(sample.image, sample.camera, box, size) for sample, box in faces]
    arrays = network(
        np.stack([crop.pixels for crop in crops]),
        np.stack([crop.bbox_info for crop in crops]).astype(np.float32),
    )
    landmarks68_crop = arrays.vertices_crop[:, network.topology.landmarks68]
    calibration = ErrorBarCalibration.from_training(network.card.training)
    estimates: list[Estimate | None] = []
    for row, (sample, box_xyxy) in enumerate(faces):
        # The landmarks are the network's own projections: those of early checkpoints may lie
        # behind the camera, where Face would refuse them.
        pose = pose_in_camera(arrays, row, crops[row].cam_from_virtual)
        rays = rays_from_crop(landmarks68_crop[row].astype(np.float64), crops[row].bbox_info)
        landmarks68_px = sample.camera.pixels_from_rays(rays)
        estimates.append(
            Estimate(
                pose.rotation,
                pose.translation_m,
                arrays.vertices_m[row],
                landmarks68_px,
                box_xyxy,
                None if arrays.std is None else calibration.error_bars(arrays.std[row]).std,
            )
        )
    return estimates


def _estimate_of_face(face: Face, box_xyxy: Floats) -> Estimate:
    return Estimate(
        face.rotation,
        face.translation_m,
        face.landmarks_m.astype(np.float32),
        face.landmarks68_px,
        box_xyxy,
        None if face.error_bars is None else face.error_bars.std,
    )


def run_on_dataset(
    dataset: LabelledImages,
    method: Method | None = None,
    *,
    boxes: Mapping[str, Floats] = MappingProxyType({}),
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> DatasetRun:
    """Read a data set's images in order, keep their labels, and run a method on them.

    Parameters
    ----------
    method
        None: read only the labels, to score existing predictions. The face boxes that a method
        uses replace those of the data set.
    boxes
        Face boxes ``(4,)`` of existing predictions by image name, to the same effect.
    limit
        Read only this many images, evenly spaced over the data set.
    on_progress
        Called with the number of images done.

    Raises
    ------
    ValueError
        No image can be read.
    """
    labels: list[Sample] = []
    indices: list[int] = []
    points: list[NDArray[np.float32]] = []
    estimates: list[Estimate | None] = []
    unreadable: list[str] = []
    for indexed in _batches(dataset.samples, limit, unreadable):
        batch = [sample for _, sample in indexed]
        found = method.estimate(batch) if method is not None else [None] * len(batch)
        estimates += found
        indices += [index for index, _ in indexed]
        for sample, estimate in zip(batch, found, strict=True):
            box_xyxy = boxes.get(sample.name) if estimate is None else estimate.box_xyxy
            labels.append(
                without_image(sample if box_xyxy is None else replace(sample, box_xyxy=box_xyxy))
            )
            if dataset.points_m is not None:
                points.append(np.asarray(dataset.points_m(sample), dtype=np.float32))
        if on_progress is not None:
            on_progress(len(labels) + len(unreadable))
    if not labels:
        raise ValueError(f"{dataset.name}: expected images, could read none: {unreadable[:1]}")
    truth = ground_truth_from_samples(labels, points or None, dataset.mesh_sha256)
    truth = replace(truth, groups=dataset.groups)
    predictions = None
    if method is not None:
        settings = {**method.metadata.settings, **({} if limit is None else {"limit": limit})}
        metadata = replace(
            method.metadata,
            dataset=dataset.name,
            dataset_sha256=truth.sha256(),
            settings=settings,
        )
        predictions = predictions_from_estimates(truth.names, estimates, metadata)
    return DatasetRun(truth, predictions, tuple(unreadable), np.array(indices))


def predictions_from_estimates(
    names: Sequence[str], estimates: Sequence[Estimate | None], metadata: PredictionMetadata
) -> Predictions:
    """Stack estimates, None where no face was found, into arrays.

    Raises
    ------
    ValueError
        Some estimates lack a field that others have.
    """
    given = [each for each in estimates if each is not None]
    found = np.array([each is not None for each in estimates], dtype=bool)
    arrays: dict[str, Any] = {"rotation": np.tile(np.eye(3), (len(found), 1, 1))}
    for name in Estimate._fields:
        values = [getattr(each, name) for each in given]
        if not values or all(value is None for value in values):
            continue
        if any(value is None for value in values):
            raise ValueError(f"estimates: expected {name} for all faces or none")
        stacked = np.stack(values)
        arrays[name] = np.zeros((len(found), *stacked.shape[1:]), stacked.dtype)
        arrays[name][found] = stacked
    return Predictions(tuple(names), found=found, metadata=metadata, **arrays)


def _batches(
    samples: SampleSequence, limit: int | None, unreadable: list[str]
) -> Iterator[list[tuple[int, Sample]]]:
    """Yield batches of samples with their indices; collect messages for unreadable ones."""
    count = len(samples)
    chosen = np.arange(count)
    if limit is not None and limit < count:
        chosen = np.linspace(0, count - 1, limit).astype(np.int64)
    batch: list[tuple[int, Sample]] = []
    for row in map(int, chosen):
        try:
            batch.append((row, samples[row]))
        except (ValueError, OSError) as error:  # readers raise these for damaged or missing files
            unreadable.append(str(error))
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch
