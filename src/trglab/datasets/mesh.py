"""The landmark mesh of a dataset."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trg.geometry.face_mesh import FaceTopology, mirror_map, subsample_by_decimation
from trglab.datasets.files import read_or_error
from trglab.datasets.sample import Dataset, InfiniteDataset, Sample

TEMPLATE_SAMPLES = 200
SUBSAMPLE = 305
"""Vertices at which features are sampled (section 4.1 of the paper)."""


@runtime_checkable
class HasTopology(Protocol):
    """A dataset with a complete mesh, or None."""

    @property
    def topology(self) -> FaceTopology | None:
        """The mesh of the samples' vertices."""


@runtime_checkable
class MeshedDataset(Dataset, Protocol):
    """A dataset with vertices, their triangles and the vertex indices of the 68 landmarks."""

    triangles: NDArray[np.int64]
    landmarks68: NDArray[np.int64]


def dataset_topology(dataset: Dataset | InfiniteDataset) -> FaceTopology | None:
    """Return the mesh of a dataset's vertices: its own, or one computed from its samples."""
    if isinstance(dataset, HasTopology):
        return dataset.topology
    return topology_from_samples(dataset) if isinstance(dataset, MeshedDataset) else None


def topology_from_samples(dataset: MeshedDataset) -> FaceTopology:
    """Compute a mesh from a dataset's triangles, landmarks and vertices.

    The template is the mean of some faces; the mirror map and the subsample are computed from it.

    Raises
    ------
    ValueError
        None of the samples that were tried can be read.
    """
    indices = np.linspace(0, len(dataset) - 1, min(TEMPLATE_SAMPLES, len(dataset))).astype(int)
    samples = [read_or_error(dataset.__getitem__, index) for index in indices.tolist()]
    faces = [sample.vertices_m for sample in samples if isinstance(sample, Sample)]
    if not faces:
        raise ValueError(f"no sample of the data set can be read; the last one: {samples[-1]}")
    template_m = np.mean(np.asarray(faces), axis=0)
    return FaceTopology(
        template_m=template_m.astype(np.float32),
        triangles=dataset.triangles.astype(np.int32),
        landmarks68=dataset.landmarks68.astype(np.int32),
        subsample=subsample_by_decimation(
            template_m, dataset.triangles, min(SUBSAMPLE, len(template_m))
        ),
        mirror=mirror_map(template_m),
    )
