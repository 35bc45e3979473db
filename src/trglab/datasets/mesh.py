"""The landmark mesh of a data set that comes without one of ours."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trg.geometry.face_mesh import FaceTopology, mirror_map, subsample_by_decimation
from trglab.datasets.files import read_or_error
from trglab.datasets.sample import Sample, Samples

TEMPLATE_SAMPLES = 200
SUBSAMPLE = 305
"""Vertices that features are sampled at (section 4.1 of the paper)."""


@runtime_checkable
class MeshedSamples(Samples, Protocol):
    """A data set with vertices, their triangles and the numbers of the 68 landmarks."""

    triangles: NDArray[np.int64]
    landmarks68: NDArray[np.int64]


def topology_of_samples(samples: MeshedSamples) -> FaceTopology:
    """Make a mesh from a data set's triangles, landmarks and vertices.

    The template is the mean over some faces, without those that cannot be read; the mirror map
    and the subsample are computed.

    Raises
    ------
    ValueError
        None of the faces that were tried can be read.
    """
    chosen = np.linspace(0, len(samples) - 1, min(TEMPLATE_SAMPLES, len(samples))).astype(int)
    tried = [read_or_error(samples.__getitem__, index) for index in chosen.tolist()]
    faces = [face.vertices_m for face in tried if isinstance(face, Sample)]
    if not faces:
        raise ValueError(f"no sample of the data set can be read; the last one: {tried[-1]}")
    template_m = np.mean(np.asarray(faces), axis=0)
    return FaceTopology(
        template_m=template_m.astype(np.float32),
        triangles=samples.triangles.astype(np.int32),
        landmarks68=samples.landmarks68.astype(np.int32),
        subsample=subsample_by_decimation(
            template_m, samples.triangles, min(SUBSAMPLE, len(template_m))
        ),
        mirror=mirror_map(template_m),
    )
