"""Which vertices of a full head model are rendered, and which are the 1220 landmarks.

Both meshes are subsets of the full model's vertices, so identity shapes, expression shapes and
texture coordinates carry over by indexing. The index lists are part of the package;
``scripts/compute_head_topology.py`` computes them by mesh decimation.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg.geometry.face_mesh import FaceTopology

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LandmarkIndices:
    """The landmark mesh as indices.

    Attributes
    ----------
    dense
        ``(1220,)`` ascending: vertex of the full model that each landmark is.
    triangles
        ``(m, 3)`` into ``dense``.
    subsample
        ``(305,)`` into ``dense``: the network's sample points.
    mirror
        ``(1220,)`` into ``dense``: the landmark on the other side of the face.
    """

    dense: Indices
    triangles: Indices
    subsample: Indices
    mirror: Indices

    def topology(self, mean_m: NDArray[np.floating], landmarks68: Indices) -> FaceTopology:
        """Return the landmark mesh of a full model's mean ``(V, 3)`` and 68 landmarks ``(68,)``."""
        return FaceTopology(
            template_m=mean_m[self.dense].astype(np.float32),
            triangles=self.triangles.astype(np.int32),
            landmarks68=np.searchsorted(self.dense, landmarks68).astype(np.int32),
            subsample=self.subsample.astype(np.int32),
            mirror=self.mirror.astype(np.int32),
        )


@dataclass(frozen=True, slots=True)
class RenderedIndices:
    """The mesh that is rendered, as indices; V vertices, F triangles.

    Attributes
    ----------
    vertices
        ``(V,)`` ascending: vertex of the full model. Vertices on a texture seam appear once for
        each of their texture vertices.
    uv_vertices
        ``(V,)``: texture vertex of the full model.
    part
        ``(V,)`` into :data:`~trglab.synth.head.face_model.PARTS`.
    triangles
        ``(F, 3)`` into ``vertices``.
    """

    vertices: Indices
    uv_vertices: Indices
    part: NDArray[np.uint8]
    triangles: Indices

    def first_index_of(self, full: Indices) -> NDArray[np.int32]:
        """Return where vertices of the full model first appear in :attr:`vertices`."""
        return np.searchsorted(self.vertices, full).astype(np.int32)


def landmark_indices(model: str) -> LandmarkIndices:
    """Return the landmark mesh of ``ict_facekit`` or ``procedural_head``."""
    return LandmarkIndices(**_load(f"{model}_landmarks"))


def rendered_indices(model: str) -> RenderedIndices:
    """Return the rendered mesh of ``ict_facekit``."""
    arrays = _load(f"{model}_rendered")
    return RenderedIndices(**{**arrays, "part": arrays["part"].astype(np.uint8)})


def _load(name: str) -> dict[str, NDArray[Any]]:
    with (
        (files("trglab.synth.head") / "indices" / f"{name}.npz").open("rb") as stream,
        np.load(stream, allow_pickle=False) as stored,
    ):
        return {key: array.astype(np.int64) for key, array in stored.items()}
