"""Alignment of the head origins of two data sets by landmarks, without predictions.

Data sets place the head's origin differently, which biases translations across data sets. TRGv2
(Chun et al. 2026, Pattern Recognition 179) corrects it for each person: the translation that brings
seven landmarks of the person's face onto those of a reference face, with the least mean distance of
the seven pairs, moves the person's true origin. Axes are not turned and predictions take no part,
unlike in :mod:`trglab.evaluation.alignment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.inference.bundle import SUFFIX, read_bundle
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.datasets.files import read_or_error
from trglab.datasets.sample import Sample
from trglab.datasets.store import is_store
from trglab.evaluation.ground_truth import GroundTruth
from trglab.evaluation.prediction import LabelledImages
from trglab.evaluation.protocols import (
    SEVEN_LANDMARKS,
    arkitface_images,
    biwi_images,
    read_pack,
)

Floats = NDArray[np.float64]

REFERENCE_SAMPLES = 2000
"""Faces that the mean face of a data set is made of, evenly spread."""

_STEP_M = 1e-12
_MAX_STEPS = 10_000


class ReferenceFace(NamedTuple):
    """The face whose head frame the origins are moved to."""

    label: str
    points_m: Floats
    """``(7, 3)``: :data:`~trglab.evaluation.protocols.SEVEN_LANDMARKS` in the head frame"""


class OriginShift(NamedTuple):
    """The alignment of one person."""

    shift_m: Floats
    """``(3,)``, added to points in the person's head frame"""
    residual_m: float
    """Mean distance of the seven pairs after it"""


@dataclass(frozen=True, slots=True, eq=False)
class OriginAlignment:
    """The alignment of a data set's origins to a reference face."""

    reference: str
    by_subject: Mapping[str, OriginShift]

    @property
    def mean_shift_m(self) -> Floats:
        """``(3,)``, over people."""
        return np.mean([each.shift_m for each in self.by_subject.values()], axis=0)

    @property
    def mean_residual_m(self) -> float:
        """Over people."""
        return float(np.mean([each.residual_m for each in self.by_subject.values()]))


def align_origins(
    truth: GroundTruth, images: LabelledImages, reference: ReferenceFace
) -> tuple[GroundTruth, OriginAlignment]:
    """Move the origins of labels to that of a reference face, person by person.

    The seven points of a person are the mean over the person's images.

    Raises
    ------
    ValueError
        The data set has no metric poses, or its seven landmarks are not known.
    """
    points_m, rotation, translation_m = truth.points_m, truth.rotation, truth.translation_m
    if points_m is None or rotation is None or translation_m is None:
        raise ValueError(
            f"{images.name}: expected metric poses and a mesh, to align its head origins; this "
            "data set has none"
        )
    vertices = _seven_vertices(images)
    subjects = np.asarray(truth.subjects)
    by_subject = {}
    shifts_m = np.zeros((len(truth), 3))
    for name in dict.fromkeys(truth.subjects):
        rows = np.flatnonzero(subjects == name)
        own_m = np.stack([points_m[row][vertices] for row in rows]).mean(0, dtype=np.float64)
        by_subject[name] = origin_shift(own_m, reference.points_m)
        shifts_m[rows] = by_subject[name].shift_m
    moved_m = [
        (points + shift_m).astype(np.float32)
        for points, shift_m in zip(points_m, shifts_m, strict=True)
    ]
    # X_cam = R X + T = R (X + d) + (T - R d)
    moved = replace(
        truth,
        points_m=tuple(moved_m),
        translation_m=translation_m - np.einsum("nij,nj->ni", rotation, shifts_m),
    )
    return moved, OriginAlignment(reference.label, by_subject)


def origin_shift(points_m: Floats, reference_m: Floats) -> OriginShift:
    """Return the translation of points ``(k, 3)`` with the least mean distance to their pairs."""
    shift_m = geometric_median(reference_m - points_m)
    residual_m = np.linalg.norm(points_m + shift_m - reference_m, axis=-1).mean()
    return OriginShift(shift_m, float(residual_m))


def geometric_median(points: Floats) -> Floats:
    """Return the point ``(3,)`` with the least sum of distances to points ``(k, 3)``.

    Weiszfeld's iteration; a given point is the median if the unit vectors to the others do not
    sum to more than the number of points at its place (Kuhn 1973).
    """
    for candidate in points:
        offsets = points - candidate
        distances = np.linalg.norm(offsets, axis=-1)
        apart = distances > _STEP_M
        pull = (offsets[apart] / distances[apart, None]).sum(0)
        if np.linalg.norm(pull) <= (~apart).sum():
            return np.asarray(candidate, dtype=np.float64).copy()
    median = points.mean(0)
    for _ in range(_MAX_STEPS):
        weights = 1.0 / np.maximum(np.linalg.norm(points - median, axis=-1), _STEP_M)
        before, median = median, weights @ points / weights.sum()
        if np.linalg.norm(median - before) < _STEP_M:
            break
    return median


def read_reference(path: Path) -> ReferenceFace:
    """Return the mean face of a training.

    Parameters
    ----------
    path
        A weight bundle, whose mesh has the mean face in its head frame; the folder of ARKitFace,
        whose training part is averaged; that of BIWI; or a pack of views.

    Raises
    ------
    FileNotFoundError, ValueError
        From the reader, or the path is nothing of these.
    """
    if path.suffix == SUFFIX:
        bundle = read_bundle(path)
        template_m = bundle.topology.template_m.astype(np.float64)
        points_m = template_m[bundle.topology.landmarks68[list(SEVEN_LANDMARKS)]]
        return ReferenceFace(f"the mean face of {bundle.card.name}", points_m)
    if not path.is_dir():
        raise FileNotFoundError(
            f"{path}: expected a weight bundle (.trg), or the folder of ARKitFace, BIWI or a pack "
            "of views, as the reference of the head origins; found none"
        )
    if is_store(path):
        images = read_pack(path)
    elif (path / "ARKitFace_list").is_dir():
        images = arkitface_images(ARKitFace(path, "train"))
    else:
        images = biwi_images(BIWI(path))
    return ReferenceFace(f"the mean face of {images.name}, {path.name}", _mean_points_m(images))


def _mean_points_m(images: LabelledImages) -> Floats:
    vertices, count = _seven_vertices(images), len(images.samples)
    found = []
    for index in np.linspace(0, count - 1, min(count, REFERENCE_SAMPLES)).astype(int).tolist():
        sample = read_or_error(images.samples.__getitem__, index)
        if not isinstance(sample, Sample):
            continue
        points_m = sample.vertices_m if images.points_m is None else images.points_m(sample)
        if points_m is not None:
            found.append(np.asarray(points_m, dtype=np.float64)[vertices])
    if not found:
        raise ValueError(f"{images.name}: expected faces with a mesh for the reference, found none")
    return np.mean(found, axis=0)


def _seven_vertices(images: LabelledImages) -> NDArray[np.integer]:
    if images.seven_vertices is None:
        raise ValueError(
            f"{images.name}: expected a data set whose seven landmarks are known, to align head "
            "origins; expected arkitface, biwi or synthetic"
        )
    return images.seven_vertices()
