"""The landmark mesh: template, triangles, standard landmarks, subsample and mirror map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array

LANDMARKS68_MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65],
    dtype=np.int32,
)
"""``(68,)``: for each of the 68 standard landmarks, its counterpart on the other side."""

LANDMARK_GROUPS = ("jaw", "brows", "nose", "eyes", "mouth", "rest")
"""Parts of the face: the standard landmarks 0-16, 17-26, 27-35, 36-47 and 48-67 and the vertices
around them, and the rest, forehead and cheeks."""

_LAST_LANDMARKS = (16, 26, 35, 47, 67)
"""Of the groups with standard landmarks."""

GROUP_RADIUS_M = 0.018
"""Vertices farther than this from all standard landmarks are in the group "rest"."""

STORED_ARRAYS = ("template_m", "triangles", "landmarks68", "subsample", "mirror")
"""Names of the arrays that define a mesh, as files store them."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceTopology:
    """A landmark mesh of n vertices, with the index sets that the network needs.

    Validated on construction; its arrays are read-only copies.

    Raises ValueError if a shape is wrong, an index out of range or repeated, or the mirror map not
    its own inverse.
    """

    template_m: NDArray[np.float32]
    """``(n, 3)`` float32: the mean face in the head frame, metres."""
    triangles: NDArray[np.int32]
    """``(m, 3)`` int32."""
    landmarks68: NDArray[np.int32]
    """``(68,)`` int32: the vertices that are the standard 68 landmarks."""
    subsample: NDArray[np.int32]
    """``(k,)`` int32: the vertices at which the network samples features (k = 305 in the paper)."""
    mirror: NDArray[np.int32]
    """``(n,)`` int32: for each vertex, its counterpart on the other side of the face."""
    edges: NDArray[np.int32] = field(init=False)
    """``(e, 2)`` int32: each edge of the triangles once, the smaller index first."""

    def __post_init__(self) -> None:
        template = finite_array("topology template_m", self.template_m, (None, 3), np.float32)
        count = len(template)
        shapes: dict[str, tuple[int | None, ...]] = {
            "triangles": (None, 3),
            "landmarks68": (68,),
            "subsample": (None,),
            "mirror": (count,),
        }
        arrays: dict[str, NDArray[Any]] = {"template_m": template.copy()}
        for name, shape in shapes.items():
            arrays[name] = vertex_indices(f"topology {name}", getattr(self, name), shape, count)
        for name in ("landmarks68", "subsample"):
            if len(set(arrays[name].tolist())) != len(arrays[name]):
                raise ValueError(f"topology {name}: expected each vertex at most once")
        mirror = arrays["mirror"]
        if not np.array_equal(mirror[mirror], np.arange(count)):
            raise ValueError("topology mirror: expected a map that is its own inverse")
        arrays["edges"] = edges_of(arrays["triangles"])
        for name, array in arrays.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def vertex_count(self) -> int:
        """The number of vertices, n."""
        return len(self.template_m)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, for storage."""
        return {name: getattr(self, name) for name in STORED_ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> FaceTopology:
        """Build from the arrays of :meth:`to_arrays`; others are ignored.

        Raises ValueError if an array is missing or inconsistent with the others.
        """
        missing = [name for name in STORED_ARRAYS if name not in arrays]
        if missing:
            raise ValueError(f"topology: expected arrays {STORED_ARRAYS}, {missing} missing")
        return cls(**{name: np.asarray(arrays[name]) for name in STORED_ARRAYS})


def nearest_of_68(topology: FaceTopology) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each vertex the nearest of the standard 68 landmarks on the mean face.

    Indices ``(n,)`` from 0 to 67 and distances ``(n,)`` in metres. The way back is
    ``topology.landmarks68``.
    """
    template_m = topology.template_m.astype(np.float64)
    offsets_m = template_m[:, None] - template_m[topology.landmarks68]
    distances_m = np.linalg.norm(offsets_m, axis=-1)
    return distances_m.argmin(1), distances_m.min(1)


def landmark_groups(topology: FaceTopology) -> NDArray[np.int32]:
    """Return the index in :data:`LANDMARK_GROUPS` of each vertex, ``(n,)``."""
    nearest, distances_m = nearest_of_68(topology)
    groups = np.searchsorted(_LAST_LANDMARKS, nearest).astype(np.int32)
    groups[distances_m > GROUP_RADIUS_M] = LANDMARK_GROUPS.index("rest")
    return groups


def edges_of(triangles: ArrayLike) -> NDArray[np.int32]:
    """Return each edge of triangles ``(m, 3)`` once, ``(e, 2)``, the smaller index first."""
    triangles = np.asarray(triangles, dtype=np.int32)
    pairs = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    pairs = np.sort(pairs, axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    is_new = np.ones(len(pairs), bool)  # np.unique imports numpy.ma, which costs each start 25 ms
    is_new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[is_new]


def vertex_indices(
    name: str, value: ArrayLike, shape: tuple[int | None, ...], vertex_count: int
) -> NDArray[np.int32]:
    """Return ``value`` as a new int32 array of ``shape`` (None: any length).

    Raises ValueError if the shape differs, or a number is not an integer in [0, vertex_count).
    """
    numbers = finite_array(name, value, shape)
    indices = numbers.astype(np.int32)
    if not np.array_equal(indices, numbers):
        raise ValueError(f"{name}: expected whole numbers")
    if indices.size and (indices.min() < 0 or indices.max() >= vertex_count):
        raise ValueError(
            f"{name}: expected vertex indices from 0 to {vertex_count - 1}, "
            f"got {indices.min()} to {indices.max()}"
        )
    return indices
