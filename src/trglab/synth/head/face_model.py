"""Parametric head model: identity and expression blend shapes on one mesh with 1220 landmarks.

Head frame: x to the image's right, y down, z away from the camera, metres. "Left" in part and
expression names is the person's left, on the image's right.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.face_mesh import FaceTopology
from trg.geometry.rotations import rotation_from_euler

PARTS = ("skin", "mouth", "teeth", "eyeball_left", "eyeball_right", "eye_occlusion", "lashes")
"""Parts of a head; each has its own texture, (0, 0) to (1, 1)."""

GAZE_SIDE_DEG = 30.0
GAZE_UP_DEG = 22.0
GAZE_DOWN_DEG = 28.0
"""Rotation of an eye at weight 1 of eyeLookIn and eyeLookOut, eyeLookUp, and eyeLookDown."""

Floats = NDArray[np.float32]

_ARRAYS = ("mean_m", "identity", "expression", "triangles", "uv", "part", "landmarks68", "dense")


@dataclass(frozen=True, eq=False)
class FaceModel:
    """A head model of V vertices and F triangles.

    Attributes
    ----------
    name
        Origin of the model.
    mean_m
        ``(V, 3)`` float32: mean neutral head.
    identity
        ``(I, V, 3)`` float32: offsets in metres per standard deviation.
    expression
        ``(E, V, 3)`` float32: offsets in metres at weight 1.
    expression_names
        E ARKit names, with ``_L`` and ``_R``.
    triangles
        ``(F, 3)`` int32, counter-clockwise seen from outside.
    uv
        ``(V, 2)`` float32: (0, 0) is the top-left corner of the part's texture. Vertices on a
        texture seam are duplicated.
    part
        ``(V,)`` uint8 into :data:`PARTS`. The vertices of a triangle share one part.
    landmarks68
        ``(68,)`` int32 into V.
    dense
        ``(1220,)`` int32 into V, in the topology's order.
    topology
        Landmark mesh.
    """

    name: str
    mean_m: Floats
    identity: Floats
    expression: Floats
    expression_names: tuple[str, ...]
    triangles: NDArray[np.int32]
    uv: Floats
    part: NDArray[np.uint8]
    landmarks68: NDArray[np.int32]
    dense: NDArray[np.int32]
    topology: FaceTopology

    def __post_init__(self) -> None:
        count = len(self.mean_m)
        finite_array("face model mean_m", self.mean_m, (None, 3))
        finite_array("face model identity", self.identity, (None, count, 3), np.float32)
        shape = (len(self.expression_names), count, 3)
        finite_array("face model expression", self.expression, shape, np.float32)
        finite_array("face model uv", self.uv, (count, 2))
        finite_array("face model part", self.part, (count,))
        for name, shape_of in (("triangles", (None, 3)), ("landmarks68", (68,))):
            finite_array(f"face model {name}", getattr(self, name), shape_of)
        finite_array("face model dense", self.dense, (self.topology.vertex_count,))
        for name in ("triangles", "landmarks68", "dense"):
            indices = getattr(self, name)
            if indices.min() < 0 or indices.max() >= count:
                raise ValueError(f"face model {name}: expected vertex numbers below {count}")
        if self.part.max() >= len(PARTS):
            raise ValueError(f"face model part: expected numbers below {len(PARTS)}")

    def neutral(self, identity: ArrayLike, scale: float = 1.0) -> NDArray[np.float32]:
        """Return the neutral head ``(V, 3)`` in metres.

        Parameters
        ----------
        identity
            Up to I coefficients in standard deviations; missing ones are zero.
        scale
            Uniform scale about the origin.

        Raises
        ------
        ValueError
            More than I coefficients, or one that is not finite.
        """
        coefficients = finite_array("identity", identity, (None,), np.float32)
        if len(coefficients) > len(self.identity):
            raise ValueError(
                f"identity: expected at most {len(self.identity)} numbers, got {len(coefficients)}"
            )
        shapes = self.identity[: len(coefficients)].reshape(-1, self.mean_m.size)
        offset = (coefficients @ shapes).reshape(self.mean_m.shape)
        return (self.mean_m + offset) * np.float32(scale)

    def express(
        self, neutral_m: NDArray[np.float32], expression: ArrayLike, scale: float = 1.0
    ) -> NDArray[np.float32]:
        """Apply an expression ``(E,)`` to a neutral head ``(V, 3)``, including eye rotation.

        Parameters
        ----------
        neutral_m
            Result of :meth:`neutral`.
        expression
            ``(E,)``: weights, usually 0 to 1.
        scale
            The scale given to :meth:`neutral`.
        """
        coefficients = finite_array(
            "expression", expression, (len(self.expression_names),), np.float32
        )
        result = neutral_m.copy()
        for index in np.flatnonzero(coefficients):
            result += self.expression[index] * (coefficients[index] * np.float32(scale))
        for part, side, outward in (("eyeball_left", "_L", 1.0), ("eyeball_right", "_R", -1.0)):
            right, down = self._gaze_deg(coefficients, side, outward)
            if right or down:
                ball = self.part_vertices[part]
                result[ball] = _rotate_eyeball(result[ball], right, down)
        return result

    @cached_property
    def part_vertices(self) -> dict[str, NDArray[np.int64]]:
        """Vertex indices of each part, by name; empty for parts that the model lacks."""
        return {name: np.flatnonzero(self.part == index) for index, name in enumerate(PARTS)}

    @cached_property
    def part_triangles(self) -> dict[str, NDArray[np.int32]]:
        """Triangles of each part, by name."""
        part = self.part[self.triangles[:, 0]]
        return {name: self.triangles[part == index] for index, name in enumerate(PARTS)}

    @cached_property
    def expression_index(self) -> dict[str, int]:
        """Index of each expression name."""
        return {name: index for index, name in enumerate(self.expression_names)}

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the model as named arrays, for storage."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays["name"] = np.array(self.name)
        arrays["expression_names"] = np.array(self.expression_names)
        topology = self.topology.to_arrays().items()
        return arrays | {f"topology_{name}": array for name, array in topology}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> FaceModel:
        """Restore a model from :meth:`to_arrays`; raises KeyError if an array is missing."""
        topology = {
            name.removeprefix("topology_"): array
            for name, array in arrays.items()
            if name.startswith("topology_")
        }
        return cls(
            name=str(arrays["name"]),
            expression_names=tuple(arrays["expression_names"].tolist()),
            topology=FaceTopology.from_arrays(topology),
            **{name: arrays[name] for name in _ARRAYS},
        )

    def _gaze_deg(
        self, coefficients: NDArray[np.float32], side: str, outward: float
    ) -> tuple[float, float]:
        """Return the rotation of one eye to the image's right and down."""

        def amount(direction: str) -> float:
            index = self.expression_index.get(f"eyeLook{direction}{side}")
            return 0.0 if index is None else float(coefficients[index])

        right = outward * GAZE_SIDE_DEG * (amount("Out") - amount("In"))
        down = GAZE_DOWN_DEG * amount("Down") - GAZE_UP_DEG * amount("Up")
        return right, down


def load_face_model(path: Path | None = None, *, for_training: bool = False) -> FaceModel:
    """Load the face model at ``path``, or the built-in head.

    Parameters
    ----------
    path
        ICT-FaceKit's ``FaceXModel`` folder or its packed ``.npz``, as
        :func:`~trglab.synth.assets.find_asset` finds it; None: the built-in head.
    for_training
        Warn if only the built-in head is available.

    Raises
    ------
    FileNotFoundError, ValueError
        The model is missing or damaged; the message says where to get it.
    """
    from trglab.synth.head.ict_facekit import load_ict_facekit
    from trglab.synth.head.procedural_head import load_procedural_head

    if path is not None:
        return load_ict_facekit(path)
    if for_training:
        warnings.warn(
            "training on the built-in head, which is too simple for real photographs. Get "
            "ICT-FaceKit (https://github.com/ICT-VGL/ICT-FaceKit, MIT) and name its FaceXModel "
            "folder with `trg asset face-model PATH`.",
            stacklevel=2,
        )
    return load_procedural_head()


def _rotate_eyeball(points_m: Floats, right_deg: float, down_deg: float) -> Floats:
    """Rotate an eyeball ``(n, 3)`` about the centre of its sphere."""
    centre = _sphere_centre(points_m)
    rotation = rotation_from_euler(np.array([-right_deg, down_deg, 0.0]))
    return ((points_m - centre) @ rotation.T + centre).astype(np.float32)


def _sphere_centre(points_m: Floats) -> NDArray[np.float64]:
    """Return the centre of the sphere fitted to ``(n, 3)`` by linear least squares."""
    points = points_m.astype(np.float64)
    origin = points.mean(0)
    points -= origin
    # With the points centred on their mean, the radius drops out of the normal equations.
    squares = np.einsum("ij,ij->i", points, points)
    centre: NDArray[np.float64] = np.linalg.solve(2.0 * points.T @ points, squares @ points)
    return centre + origin
