"""The labels of a data set as arrays, without the images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trg.geometry.crop import bbox_info_from_box
from trglab.datasets.sample import Sample, Traits

Floats = NDArray[np.float64]

_NO_IMAGE = np.zeros((0, 0, 3), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Labels of n images; None for what the data set does not label."""

    names: tuple[str, ...]
    subjects: tuple[str, ...]
    rotation: Floats | None
    """``(n, 3, 3)``, ``cam_from_head``"""
    translation_m: Floats | None
    """``(n, 3)``"""
    points_m: tuple[NDArray[np.float32], ...] | None
    """n times ``(v, 3)`` in the head frame, the points of ADD (Eq. 8): the image's vertices, or the
    subject's mesh, shared by all images of the subject"""
    has_vertices: bool
    """Whether ``points_m`` are this image's landmarks, so that predicted ones can be compared"""
    landmarks68_px: Floats | None
    """``(n, 68, 2)``"""
    bbox_info: Floats
    """``(n, 3)``, of the face boxes that the estimates used, otherwise of the data set's"""
    mesh_sha256: str = ""
    """Of the vertices' triangles; empty if unknown"""
    groups: NDArray[np.int32] | None = None
    """``(v,)``, :func:`~trg.geometry.face_mesh.landmark_groups` of the vertices; None if unknown"""
    traits: tuple[Traits | None, ...] = ()
    """Of each image's person; empty if no image has any"""
    visible_share: Floats | None = None
    """``(n,)``, 0 to 1: landmarks that the camera sees; None if unknown"""

    def __len__(self) -> int:
        return len(self.names)

    def sha256(self) -> str:
        """Return the hex digest of names, subjects and labels."""
        digest = hashlib.sha256("\n".join((*self.names, *self.subjects)).encode())
        for array in (self.rotation, self.translation_m, self.landmarks68_px):
            digest.update(b"-" if array is None else array.astype("<f4").tobytes())
        last = None
        for points in self.points_m or ():
            if points is not last:
                digest.update(points.astype("<f4").tobytes())
            last = points
        return digest.hexdigest()


def without_image(sample: Sample) -> Sample:
    """Return a sample's labels, small enough to keep those of a whole data set in memory."""
    vertices = None if sample.vertices_m is None else np.float32(sample.vertices_m)
    return replace(sample, image=_NO_IMAGE, vertices_m=vertices)


def ground_truth_from_samples(
    samples: Sequence[Sample],
    points_m: Sequence[NDArray[np.float32]] | None = None,
    mesh_sha256: str = "",
) -> GroundTruth:
    """Stack the labels of samples.

    Parameters
    ----------
    points_m
        The points of ADD, one array per sample. None: the samples' vertices, if they have any.
    mesh_sha256
        Of the triangles of the samples' vertices.

    Raises
    ------
    ValueError
        There are no samples, names repeat, or only some samples have a label.
    """
    if not samples:
        raise ValueError("ground truth: expected at least one image, got none")
    names = tuple(sample.name for sample in samples)
    if len(set(names)) != len(names):
        raise ValueError("ground truth: expected unique image names, got a name twice")
    vertices = _labels(samples, "vertices_m")
    visible = _labels(samples, "landmarks68_visible")
    traits = tuple(sample.traits for sample in samples)
    if points_m is None and vertices is not None:
        points_m = [np.float32(each) for each in vertices]
    stacked = {
        name: None if (labels := _labels(samples, name)) is None else np.stack(labels)
        for name in ("rotation", "translation_m", "landmarks68_px")
    }
    return GroundTruth(
        names=names,
        subjects=tuple(sample.identity for sample in samples),
        points_m=None if points_m is None else tuple(points_m),
        has_vertices=vertices is not None,
        bbox_info=np.stack([bbox_info_from_box(s.camera, s.box_xyxy) for s in samples]),
        mesh_sha256=mesh_sha256,
        traits=traits if any(each is not None for each in traits) else (),
        visible_share=None if visible is None else np.stack(visible).mean(-1, dtype=np.float64),
        **stacked,
    )


def _labels(samples: Sequence[Sample], name: str) -> list[NDArray[np.floating]] | None:
    labels = [getattr(sample, name) for sample in samples]
    missing = [sample.name for sample, label in zip(samples, labels, strict=True) if label is None]
    if len(missing) == len(samples):
        return None
    if missing:
        raise ValueError(
            f"ground truth: expected {name} for all images or none, {missing[0]} has none"
        )
    return labels
