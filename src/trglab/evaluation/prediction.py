"""Runs a method over a data set's pictures, once, and keeps predictions and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trg.geometry.crop import crop_face, face_box
from trg.geometry.projection import rays_from_crop
from trg.geometry.virtual_camera import (
    VirtualCameraCrop,
    crop_from_virtual_camera,
    virtual_camera_of_box,
)
from trg.inference.detector import Detector
from trg.inference.pose_pipeline import PoseNetwork
from trglab.datasets.biwi import shift_inside
from trglab.datasets.sample import Sample
from trglab.evaluation.ground_truth import GroundTruth, ground_truth_from_samples, without_image
from trglab.evaluation.predictions import PredictionMetadata, Predictions, mesh_sha256

Floats = NDArray[np.float64]

BATCH = 32
"""Images in memory at a time."""

BoxRule = Literal["truth", "detector", "landmarks"]
"""Where a method's face boxes come from: the data set's labels; the best detection; or, as the
paper does on BIWI, the landmarks predicted inside the best detection."""


LARGEST_BOX = 4.0
"""A box from landmarks larger than this many pictures is none; the detection's stays."""


ViewRule = Literal["crop", "turned"]
"""How a network is shown a face: the window that the box is in the picture, as in the paper; or
what a camera turned to the face would see, as :class:`~trg.estimator.HeadPoseEstimator` does."""


class Estimate(NamedTuple):
    """What a method says about the face in one picture; None where it does not say."""

    rotation: Floats
    translation_m: Floats | None = None
    vertices_m: NDArray[np.floating] | None = None
    landmarks68_px: Floats | None = None
    box_xyxy: Floats | None = None


class Method(Protocol):
    """Anything that estimates the face in each of a few pictures."""

    @property
    def facts(self) -> PredictionMetadata:
        """What the file of predictions says about the method."""
        ...

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Estimate | None]:
        """Return an estimate for each picture, or None where no face was found."""
        ...


class SampleSequence(Protocol):
    """Samples by number; what the readers are."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class LabelledImages(NamedTuple):
    """A data set, opened for evaluation."""

    samples: SampleSequence
    name: str
    points_m: Callable[[Sample], NDArray[np.floating]] | None = None
    """What ADD moves, where it is not the sample's own vertices."""
    mesh_sha256: str = ""
    """Of the triangles of the samples' vertices."""
    triangles: Callable[[Sample], NDArray[np.integer]] | None = None
    """``(m, 3)`` of what ADD moves, for drawings."""


class DatasetRun(NamedTuple):
    """What one run over a data set leaves."""

    truth: GroundTruth
    predictions: Predictions | None
    unreadable: tuple[str, ...]
    """One message for each picture that could not be read; they count nowhere else."""
    rows: NDArray[np.int64]
    """``(n,)``: the data set's number of each picture of the truth"""


class BundleMethod:
    """A weight bundle with a rule for its boxes.

    Parameters
    ----------
    runtime
        The bundle, or anything that answers as one does.
    boxes
        Where face boxes come from.
    detector
        Finds faces, for boxes other than ``truth``; in a picture with several the best counts.
    shift_boxes
        Move boxes that stick out back inside the picture, as the paper does on BIWI.
    view
        How faces are shown to the network.
    bundle_sha256
        Of the bundle's file, for the predictions' facts.
    """

    def __init__(
        self,
        runtime: PoseNetwork,
        boxes: BoxRule = "truth",
        detector: Detector | None = None,
        *,
        shift_boxes: bool = False,
        view: ViewRule = "crop",
        bundle_sha256: str = "",
    ) -> None:
        if boxes != "truth" and detector is None:
            raise ValueError(f"boxes {boxes!r}: expected a detector, got none")
        self._runtime, self._boxes, self._detector = runtime, boxes, detector
        self._shift_boxes, self._view = shift_boxes, view
        self._bundle_sha256 = bundle_sha256

    @property
    def facts(self) -> PredictionMetadata:
        """The bundle's name and hash, and the rule for boxes."""
        return PredictionMetadata(
            method=self._runtime.card.name,
            bundle_sha256=self._bundle_sha256,
            mesh_sha256=mesh_sha256(self._runtime.topology.triangles),
            settings={
                "boxes": self._boxes,
                **({"moved_inside": True} if self._shift_boxes else {}),
                **({"view": self._view} if self._view != "crop" else {}),
            },
        )

    def __call__(self, samples: Sequence[Sample]) -> list[Estimate | None]:
        """Estimate the face in each picture."""
        boxes = [self._first_box(sample) for sample in samples]
        estimates = self._estimate(samples, boxes)
        if self._boxes == "landmarks":
            boxes = [
                None if each is None else self._landmark_box(sample, each)
                for sample, each in zip(samples, estimates, strict=True)
            ]
            estimates = self._estimate(samples, boxes)
        return estimates

    def _first_box(self, sample: Sample) -> Floats | None:
        if self._detector is None:
            return np.asarray(sample.box_xyxy, dtype=np.float64)
        found = self._detector.detect(sample.image, max_faces=1)
        if not len(found.boxes_xyxy):
            return None
        return self._moved(np.asarray(found.boxes_xyxy[0], dtype=np.float64), sample)

    def _landmark_box(self, sample: Sample, estimate: Estimate) -> Floats:
        assert estimate.landmarks68_px is not None
        assert estimate.box_xyxy is not None
        box = face_box(estimate.landmarks68_px)
        if box[2] - box[0] > LARGEST_BOX * max(sample.camera.width, sample.camera.height):
            return estimate.box_xyxy
        return self._moved(box, sample)

    def _moved(self, box_xyxy: Floats, sample: Sample) -> Floats:
        if not self._shift_boxes:
            return box_xyxy
        return shift_inside(box_xyxy, sample.camera.width, sample.camera.height)

    def _estimate(
        self, samples: Sequence[Sample], boxes: Sequence[Floats | None]
    ) -> list[Estimate | None]:
        """Run the network on the pictures that have a box, all in one call."""
        estimates: list[Estimate | None] = [None] * len(samples)
        shown = [
            (row, box, crop)
            for row, box in enumerate(boxes)
            if box is not None and (crop := self._show(samples[row], box)) is not None
        ]
        if not shown:
            return estimates
        pixels = np.stack([crop.pixels for _, _, crop in shown])
        numbers = np.stack([crop.bbox_info for _, _, crop in shown])
        result = self._runtime(pixels, numbers.astype(np.float32))
        landmarks_crop = result.vertices_crop[:, self._runtime.topology.landmarks68]
        for place, (row, box, crop) in enumerate(shown):
            turn = crop.cam_from_virtual
            rays = rays_from_crop(landmarks_crop[place].astype(np.float64), crop.bbox_info)
            sights = np.column_stack([rays, np.ones(len(rays))]) @ turn.T
            estimates[row] = Estimate(
                rotation=turn @ result.rotation[place].astype(np.float64),
                translation_m=turn @ result.translation_m[place].astype(np.float64),
                vertices_m=result.vertices_m[place],
                landmarks68_px=samples[row].camera.project(sights),
                box_xyxy=box,
            )
        return estimates

    def _show(self, sample: Sample, box_xyxy: Floats) -> VirtualCameraCrop | None:
        size = self._runtime.crop_size
        if self._view == "turned":
            view = virtual_camera_of_box(sample.camera, box_xyxy)
            return (
                None
                if view is None
                else crop_from_virtual_camera(sample.image, sample.camera, view, size)
            )
        return VirtualCameraCrop(*crop_face(sample.image, sample.camera, box_xyxy, size), np.eye(3))


def run_on_dataset(
    pictures: LabelledImages,
    method: Method | None = None,
    *,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> DatasetRun:
    """Read pictures one after the other, keep their labels, and let a method estimate them.

    Parameters
    ----------
    method
        None: only the labels are read, to score predictions that are there already.
    limit
        Read only this many, evenly spread over the data set.
    on_progress
        Told how many pictures are done.

    Raises
    ------
    ValueError
        No picture at all can be read.
    """
    labels: list[Sample] = []
    rows: list[int] = []
    points: list[NDArray[np.float32]] = []
    estimates: list[Estimate | None] = []
    unreadable: list[str] = []
    for numbered in _batches(pictures.samples, limit, unreadable):
        batch = [sample for _, sample in numbered]
        estimates += method(batch) if method is not None else ()
        rows += [row for row, _ in numbered]
        for sample in batch:
            labels.append(without_image(sample))
            if pictures.points_m is not None:
                points.append(np.asarray(pictures.points_m(sample), dtype=np.float32))
        if on_progress is not None:
            on_progress(len(labels) + len(unreadable))
    if not labels:
        raise ValueError(f"{pictures.name}: expected pictures, could read none: {unreadable[:1]}")
    truth = ground_truth_from_samples(labels, points or None, pictures.mesh_sha256)
    predictions = None
    if method is not None:
        settings = {**method.facts.settings, **({} if limit is None else {"limit": limit})}
        facts = replace(
            method.facts,
            dataset=pictures.name,
            dataset_sha256=truth.sha256(),
            settings=settings,
        )
        predictions = predictions_from_estimates(truth.names, estimates, facts)
    return DatasetRun(truth, predictions, tuple(unreadable), np.array(rows))


def predictions_from_estimates(
    names: Sequence[str], estimates: Sequence[Estimate | None], facts: PredictionMetadata
) -> Predictions:
    """Put estimates, None where no face was found, into arrays.

    Raises
    ------
    ValueError
        Only some estimates say something that the others leave out.
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
    return Predictions(tuple(names), found=found, facts=facts, **arrays)


def _batches(
    samples: SampleSequence, limit: int | None, unreadable: list[str]
) -> Iterator[list[tuple[int, Sample]]]:
    """Read a few pictures at a time, with their numbers; note those that cannot be read."""
    count = len(samples)
    chosen = np.arange(count)
    if limit is not None and limit < count:
        chosen = np.linspace(0, count - 1, limit).astype(np.int64)
    batch: list[tuple[int, Sample]] = []
    for row in map(int, chosen):
        try:
            batch.append((row, samples[row]))
        except (ValueError, OSError) as error:  # what readers raise for damaged or missing files
            unreadable.append(str(error))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
