"""The estimator beside another method on the same images, with the cost of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.rotations import geodesic_angle_deg, rotation_to_euler
from trg.inference.runtime import PoseNetwork
from trglab.datasets.sample import Sample
from trglab.evaluation.bootstrap import Interval, SubjectBootstrap
from trglab.evaluation.metrics import nme, rectangle_size_px
from trglab.evaluation.prediction import Estimate, Method
from trglab.evaluation.predictions import PredictionMetadata
from trglab.evaluation.protocols import EvaluationProtocol
from trglab.evaluation.published import PublishedRow
from trglab.evaluation.report import BOOTSTRAP_SEED, Report
from trglab.evaluation.stills import NME_POINTS, Still, read_stills
from trglab.evaluation.table import TableRow, TextTable

Floats = NDArray[np.float64]


class TimedEstimates(Protocol):
    """A method that keeps the CPU time of each image."""

    times_ms: list[float]

    @property
    def metadata(self) -> PredictionMetadata:
        """Name and settings."""
        ...

    def estimate(self, samples: Sequence[Sample]) -> Sequence[Estimate | None]:
        """Return one estimate per sample."""
        ...


class TimedMethod:
    """A method with the CPU time of its images, of all threads."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self.times_ms: list[float] = []

    @property
    def metadata(self) -> PredictionMetadata:
        """The method's."""
        return self._method.metadata

    def estimate(self, samples: Sequence[Sample]) -> Sequence[Estimate | None]:
        """Return the method's estimates; each image of a batch counts its share of the time."""
        start = time.process_time()
        estimates = self._method.estimate(samples)
        ms = (time.process_time() - start) * 1000.0 / max(len(samples), 1)
        self.times_ms += [ms] * len(samples)
        return estimates


class EstimatorMethod:
    """The whole estimator with its own detector; of several faces the nearest to the label."""

    def __init__(self, network: PoseNetwork) -> None:
        self._estimator = HeadPoseEstimator(network)
        self.metadata = PredictionMetadata(
            network.card.name, settings={"boxes": "its own detector"}
        )

    def estimate(self, samples: Sequence[Sample]) -> list[Estimate | None]:
        """Return one estimate per sample, or None where no face was found."""
        return [self._estimate(sample) for sample in samples]

    def _estimate(self, sample: Sample) -> Estimate | None:
        faces = self._estimator(sample.image, sample.camera)
        if not faces:
            return None
        middle_px = sample.box_xyxy.reshape(2, 2).mean(0)
        centres_px = [
            (each.landmarks68_px.min(0) + each.landmarks68_px.max(0)) / 2.0 for each in faces
        ]
        offsets_px = np.linalg.norm(np.array(centres_px) - middle_px, axis=-1)
        face = faces[int(offsets_px.argmin())]
        return Estimate(face.rotation, face.translation_m, landmarks68_px=face.landmarks68_px)


def with_row_of(protocol: EvaluationProtocol, report: Report) -> EvaluationProtocol:
    """Return a protocol that prints another method's measured row above the next one's."""
    statistics = report.summary.statistics
    row = PublishedRow(
        f"{report.method}, mean, measured here",
        {name: each.mean for name, each in statistics.items()},
        {name: each.median for name, each in statistics.items()},
        f"{report.method} on the same images, {report.summary.not_found} without a face found",
    )
    return replace(
        protocol,
        published=(*protocol.published, row),
        published_aligned=(*protocol.published_aligned, row),
    )


def cost_text(methods: Sequence[TimedEstimates]) -> str:
    """Return the median CPU time per image of each method."""
    return "CPU time per image, median: " + "; ".join(
        f"{each.metadata.method} {np.median(each.times_ms):.1f} ms "
        f"(boxes: {each.metadata.settings.get('boxes', 'unknown')})"
        for each in methods
        if each.times_ms
    )


@dataclass(frozen=True, slots=True, eq=False)
class StillsEstimates:
    """One method's estimates on n photographs; NaN where it found no face."""

    label: str
    landmarks68_px: Floats
    """``(n, 68, 2)``"""
    rotation: Floats
    """``(n, 3, 3)``"""
    depth_m: Floats
    """``(n,)``"""
    ms: float
    """Median CPU time per image"""

    @property
    def has_landmarks(self) -> bool:
        """Whether the method gives points in the image."""
        return bool(np.isfinite(self.landmarks68_px).any())


@dataclass(frozen=True, slots=True, eq=False)
class StillsComparison:
    """Two methods on the same photographs."""

    names: tuple[str, ...]
    points_px: Floats
    """``(n, 68, 2)``, labelled"""
    methods: tuple[StillsEstimates, ...]

    def tables(self) -> list[TextTable]:
        """Return the errors of each method, and the differences of the second to the first."""
        return [self._errors(), self._differences()]

    def _errors(self) -> TextTable:
        size_px = rectangle_size_px(self.points_px)
        rows = []
        for each in self.methods:
            found = np.isfinite(each.rotation[:, 0, 0])
            cells = []
            for points in (list(NME_POINTS), list(range(68))):
                errors = np.full(len(self.names), np.inf)
                if each.has_landmarks:
                    errors[found] = nme(
                        each.landmarks68_px[found][:, points],
                        self.points_px[found][:, points],
                        size_px[found],
                    )
                cells.append(self._median(100.0 * errors) if each.has_landmarks else "-")
            rows.append(TableRow(each.label, [*cells, str(int((~found).sum())), f"{each.ms:.1f}"]))
        headings = ["NME-11 median %", "NME-68 median %", "not found", "CPU ms per image"]
        caption = (
            "Medians over all photographs, a missing face as the worst; 95 % over photographs, "
            "whose people are not labelled. Both find their faces themselves."
        )
        return TextTable(headings, rows, f"{len(self.names)} photographs", caption)

    def _differences(self) -> TextTable:
        first, second = self.methods
        both = np.isfinite(first.rotation[:, 0, 0]) & np.isfinite(second.rotation[:, 0, 0])
        ours, theirs = first.rotation[both], second.rotation[both]
        turns_deg = rotation_to_euler(theirs) - rotation_to_euler(ours)
        turns_deg = (turns_deg + 180.0) % 360.0 - 180.0
        rows = [
            ("rotation, angle, median, degrees", self._of(both, geodesic_angle_deg(theirs, ours)))
        ]
        for name, angles in zip(("yaw", "pitch", "roll"), turns_deg.T, strict=True):
            rows.append((f"{name}, median, degrees", self._of(both, angles)))
            rows.append((f"{name}, absolute, median, degrees", self._of(both, np.abs(angles))))
        if np.isfinite(second.depth_m[both]).any():
            ratio = 100.0 * (second.depth_m[both] / first.depth_m[both] - 1.0)
            rows.append(("depth, median, %", self._of(both, ratio)))
        if second.has_landmarks:
            size_px = rectangle_size_px(self.points_px[both])
            for name, points in (("11", list(NME_POINTS)), ("68", list(range(68)))):
                apart = nme(
                    second.landmarks68_px[both][:, points],
                    first.landmarks68_px[both][:, points],
                    size_px,
                )
                rows.append((f"{name} landmarks apart, median, %", self._of(both, 100.0 * apart)))
        title = f"{second.label} minus {first.label}, on {both.sum()} photographs"
        return TextTable(["difference"], [TableRow(name, [cell]) for name, cell in rows], title)

    def _of(self, rows: NDArray[np.bool_], values: Floats) -> str:
        return _with_interval(values, np.array(self.names)[rows].tolist())

    def _median(self, values: Floats) -> str:
        return _with_interval(values, self.names)


def compare_on_stills(
    folder: Path,
    methods: Sequence[TimedEstimates],
    *,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> StillsComparison:
    """Run two methods on a folder of photographs with 68 points each.

    Raises
    ------
    FileNotFoundError, ValueError
        From :func:`~trglab.evaluation.stills.read_stills`, or a method ended.
    """
    names, points_px = [], []
    found: list[list[Estimate | None]] = [[] for _ in methods]
    for count, still in enumerate(read_stills(folder, limit)):
        sample = _sample_of(still)
        names.append(still.name)
        points_px.append(still.points_px)
        for method, estimates in zip(methods, found, strict=True):
            estimates += method.estimate([sample])
        if on_progress is not None:
            on_progress(count + 1)
    results = tuple(
        _stacked(method, estimates) for method, estimates in zip(methods, found, strict=True)
    )
    return StillsComparison(tuple(names), np.stack(points_px), results)


def _sample_of(still: Still) -> Sample:
    height, width = still.image.shape[:2]
    return Sample(
        image=still.image,
        camera=Camera.assumed(width, height),
        box_xyxy=face_box(still.points_px),
        rotation=None,
        translation_m=None,
        vertices_m=None,
        landmarks68_px=still.points_px,
        landmarks68_visible=None,
        identity=still.name,
        name=still.name,
    )


def _stacked(method: TimedEstimates, estimates: Sequence[Estimate | None]) -> StillsEstimates:
    count = len(estimates)
    landmarks_px = np.full((count, 68, 2), np.nan)
    rotation, depth_m = np.full((count, 3, 3), np.nan), np.full(count, np.nan)
    for row, estimate in enumerate(estimates):
        if estimate is None:
            continue
        rotation[row] = estimate.rotation
        if estimate.landmarks68_px is not None:
            landmarks_px[row] = estimate.landmarks68_px
        if estimate.translation_m is not None:
            depth_m[row] = estimate.translation_m[2]
    ms = float(np.median(method.times_ms))
    return StillsEstimates(method.metadata.method, landmarks_px, rotation, depth_m, ms)


def _with_interval(values: Floats, subjects: Sequence[str]) -> str:
    if not len(values):  # a method has found no face at all
        return "-"
    bootstrap = SubjectBootstrap(subjects, np.random.default_rng(BOOTSTRAP_SEED))
    interval: Interval | None = bootstrap.median(values)
    text = f"{np.median(values):.2f}"
    if interval is None:
        return text
    return f"{text} ({interval.low:.2f} to {interval.high:.2f})"
