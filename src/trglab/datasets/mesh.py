"""The landmark mesh of a dataset."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.face_mesh import FaceTopology, vertex_indices
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


def mirror_map(vertices_m: ArrayLike) -> NDArray[np.int32]:
    """Pair each vertex of a face ``(n, 3)`` with its mirror image in the plane x = 0.

    Mutual nearest neighbours pair first, the rest greedily by distance; a vertex on the midline
    pairs with itself. The result, ``(n,)``, is its own inverse for any mesh, symmetric or not.
    """
    vertices = finite_array("vertices_m", vertices_m, (None, 3))
    mirrored = vertices * (-1.0, 1.0, 1.0)
    distance = _distances(mirrored, vertices)
    distance = np.maximum(distance, distance.T)  # equal up to rounding; ties must agree
    partner = np.full(len(vertices), -1, dtype=np.int32)
    nearest = distance.argmin(1)
    mutual = nearest[nearest] == np.arange(len(vertices))
    partner[mutual] = nearest[mutual]
    unpaired = np.flatnonzero(~mutual)
    remaining = distance[np.ix_(unpaired, unpaired)]
    for flat in np.argsort(remaining, axis=None, kind="stable"):
        i, j = unpaired[flat // len(unpaired)], unpaired[flat % len(unpaired)]
        if partner[i] < 0 and partner[j] < 0:
            partner[i], partner[j] = j, i
    return partner


def subsample_by_decimation(
    vertices_m: ArrayLike, triangles: ArrayLike, count: int, keep: ArrayLike = ()
) -> NDArray[np.int32]:
    """Choose ``count`` vertices of a mesh that preserve its shape, as in Ranjan et al. 2018.

    The mesh is simplified by quadric error (Garland and Heckbert 1997) to about ``count``
    vertices, each of which selects its nearest original vertex. Farthest-point sampling adds
    vertices up to the exact count.

    Parameters
    ----------
    vertices_m
        ``(n, 3)``.
    triangles
        ``(m, 3)``.
    count
        Number of vertices to choose, at most n.
    keep
        Vertices that must be among the chosen.

    Returns
    -------
    NDArray
        ``(count,)``, ascending.

    Raises
    ------
    ValueError
        The count is below the number of vertices to keep, or above n.
    ImportError
        The package fast-simplification, of the ``train`` extra, is missing.
    """
    import fast_simplification

    vertices = finite_array("vertices_m", vertices_m, (None, 3))
    triangles = vertex_indices("triangles", triangles, (None, 3), len(vertices))
    kept = vertex_indices("keep", keep, (None,), len(vertices))
    if not len(kept) <= count <= len(vertices):
        raise ValueError(f"count: expected {len(kept)} to {len(vertices)}, got {count}")
    chosen = np.unique(kept)
    low, high = 0, len(triangles)
    while high - low > 1:  # bisect for the most triangles that need no more than count vertices
        middle = (low + high) // 2
        points, _ = fast_simplification.simplify(
            vertices.astype(np.float32), triangles, target_count=middle
        )
        nearest = _distances(points.astype(np.float64), vertices).argmin(1)
        candidate = np.union1d(kept, nearest)
        if len(candidate) <= count:
            low, chosen = middle, candidate.astype(np.int32)
        else:
            high = middle
    return np.sort(_add_farthest_points(vertices, chosen, count))


def _add_farthest_points(
    vertices: NDArray[np.float64], chosen: NDArray[np.int32], count: int
) -> NDArray[np.int32]:
    """Add the vertex farthest from all chosen ones until there are ``count``."""
    gap = np.full(len(vertices), np.inf)
    if len(chosen):
        gap = _distances(vertices, vertices[chosen]).min(1)
    result = chosen.tolist()
    while len(result) < count:
        farthest = int(gap.argmax())
        result.append(farthest)
        gap = np.minimum(gap, np.linalg.norm(vertices - vertices[farthest], axis=1))
    return np.array(result, dtype=np.int32)


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances ``(n, m)`` between points ``(n, 3)`` and ``(m, 3)``."""
    return np.linalg.norm(a[:, None] - b[None], axis=-1)
