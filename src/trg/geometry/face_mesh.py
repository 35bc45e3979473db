"""The landmark mesh: which vertices there are, how they hang together, and which mirrors which."""

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
"""For each of the 68 standard landmarks, the one on the other side of the face."""

_ARRAYS = ("template_m", "triangles", "landmarks68", "subsample", "mirror")


@dataclass(frozen=True, slots=True, eq=False)
class FaceTopology:
    """A mesh of n landmarks with everything that the network needs to know of it.

    Checked when it is made: indices in range and not repeated, the mirror map its own inverse.
    Its arrays are read-only.

    Attributes
    ----------
    template_m
        ``(n, 3)`` float32: the mean face in head space, metres.
    triangles
        ``(m, 3)`` int32.
    landmarks68
        ``(68,)`` int32: the vertices that are the standard 68 landmarks.
    subsample
        ``(k,)`` int32: the vertices that the network samples features at (305 in the paper).
    mirror
        ``(n,)`` int32: for each vertex, the one on the other side of the face.
    """

    template_m: NDArray[np.float32]
    triangles: NDArray[np.int32]
    landmarks68: NDArray[np.int32]
    subsample: NDArray[np.int32]
    mirror: NDArray[np.int32]
    edges: NDArray[np.int32] = field(init=False)
    """``(k, 2)`` int32: each edge of the triangles once, the smaller index first."""

    def __post_init__(self) -> None:
        # A copy: the arrays are frozen below, and the caller's are the caller's.
        template = finite_array("topology template_m", self.template_m, (None, 3), np.float32)
        template = template.copy()
        count = len(template)
        arrays: dict[str, Any] = {
            "template_m": template,
            "triangles": _indices("triangles", self.triangles, (None, 3), count),
            "landmarks68": _indices("landmarks68", self.landmarks68, (68,), count),
            "subsample": _indices("subsample", self.subsample, (None,), count),
            "mirror": _indices("mirror", self.mirror, (count,), count),
        }
        for name in ("landmarks68", "subsample"):
            if len(np.unique(arrays[name])) != len(arrays[name]):
                raise ValueError(f"topology {name}: expected each vertex at most once")
        mirror = arrays["mirror"]
        if not np.array_equal(mirror[mirror], np.arange(count)):
            raise ValueError("topology mirror: expected a map that undoes itself")
        arrays["edges"] = edges_of(arrays["triangles"])
        for name, array in arrays.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def vertex_count(self) -> int:
        """The number of landmarks, n."""
        return len(self.template_m)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, for storage."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> FaceTopology:
        """Build from what :meth:`to_arrays` gave.

        Raises
        ------
        ValueError
            An array is missing or does not fit the others.
        """
        missing = [name for name in _ARRAYS if name not in arrays]
        if missing:
            raise ValueError(f"topology: expected arrays {_ARRAYS}, {missing} missing")
        return cls(**{name: np.asarray(arrays[name]) for name in _ARRAYS})


def edges_of(triangles: ArrayLike) -> NDArray[np.int32]:
    """Return each edge of ``(m, 3)`` triangles once, ``(k, 2)``, the smaller index first."""
    triangles = np.asarray(triangles, dtype=np.int32)
    pairs = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def mirror_map(vertices_m: ArrayLike) -> NDArray[np.int32]:
    """Pair each vertex of a face ``(n, 3)`` with its mirror image in the plane x = 0.

    Vertices pair with each other, or with themselves on the midline: the result is its own
    inverse for any mesh, symmetric or not. Mutual nearest neighbours pair first; what is left
    over pairs greedily by distance.
    """
    vertices = finite_array("vertices_m", vertices_m, (None, 3))
    mirrored = vertices * (-1.0, 1.0, 1.0)
    distance = _distances(mirrored, vertices)
    distance = np.maximum(distance, distance.T)  # equal up to rounding; ties must agree
    partner = np.full(len(vertices), -1, dtype=np.int32)
    nearest = distance.argmin(1)
    mutual = nearest[nearest] == np.arange(len(vertices))
    partner[mutual] = nearest[mutual]
    left_over = np.flatnonzero(~mutual)
    remaining = distance[np.ix_(left_over, left_over)]
    for flat in np.argsort(remaining, axis=None, kind="stable"):
        i, j = left_over[flat // len(left_over)], left_over[flat % len(left_over)]
        if partner[i] < 0 and partner[j] < 0:
            partner[i], partner[j] = j, i
    return partner


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances between all points of two sets, ``(n, 3)`` and ``(m, 3)``."""
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def _indices(
    name: str, value: ArrayLike, shape: tuple[int | None, ...], count: int
) -> NDArray[np.int32]:
    numbers = finite_array(f"topology {name}", value, shape)
    indices = numbers.astype(np.int32)
    if not np.array_equal(indices, numbers):
        raise ValueError(f"topology {name}: expected whole numbers")
    if indices.size and (indices.min() < 0 or indices.max() >= count):
        raise ValueError(
            f"topology {name}: expected vertex numbers from 0 to {count - 1}, "
            f"got {indices.min()} to {indices.max()}"
        )
    return indices


def subsample_by_decimation(
    vertices_m: ArrayLike, triangles: ArrayLike, count: int, keep: ArrayLike = ()
) -> NDArray[np.int32]:
    """Choose ``count`` vertices of a mesh that keep its shape best, as in Ranjan et al. 2018.

    The mesh is simplified by quadric error (Garland and Heckbert 1997) until about ``count``
    vertices are left, and each of those takes the nearest original vertex. Farthest-point
    choice then fills up to the exact count, so that no region stays empty.

    Parameters
    ----------
    vertices_m
        ``(n, 3)``.
    triangles
        ``(m, 3)``.
    count
        How many vertices to choose, at most n.
    keep
        Vertices that must be among the chosen.

    Raises
    ------
    ImportError
        The package fast-simplification, of the ``train`` extra, is missing.
    """
    import fast_simplification

    vertices = finite_array("vertices_m", vertices_m, (None, 3))
    triangles = _indices("triangles", triangles, (None, 3), len(vertices))
    kept = _indices("keep", keep, (None,), len(vertices))
    if not len(kept) <= count <= len(vertices):
        raise ValueError(f"count: expected {len(kept)} to {len(vertices)}, got {count}")
    chosen = np.unique(kept)
    low, high = 0, len(triangles)
    while high - low > 1:  # the most triangles whose vertices, with those kept, do not exceed count
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
    return np.sort(_fill_by_farthest_point(vertices, chosen, count))


def _fill_by_farthest_point(
    vertices: NDArray[np.float64], chosen: NDArray[np.int32], count: int
) -> NDArray[np.int32]:
    """Add the vertex that is farthest from all chosen ones until there are ``count``."""
    gap = np.full(len(vertices), np.inf)
    if len(chosen):
        gap = _distances(vertices, vertices[chosen]).min(1)
    result = chosen.tolist()
    while len(result) < count:
        farthest = int(gap.argmax())
        result.append(farthest)
        gap = np.minimum(gap, np.linalg.norm(vertices - vertices[farthest], axis=1))
    return np.array(result, dtype=np.int32)
