"""A compact linear basis of face shapes: who a person is, and ARKit's 52 expressions.

``vertices = mean + coefficients @ identity modes + weights @ expression modes``, all on the 1220
landmarks in the head frame. The bundled basis is computed from ICT-FaceKit (Li et
al. 2020) by ``scripts/compute_face_basis.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.archives import read_npz
from trg._util.checks import finite_array
from trg._util.files import existing_file
from trg.geometry.face_mesh import FaceTopology


def _both(name: str) -> tuple[str, str]:
    return f"{name}Left", f"{name}Right"


EXPRESSION_NAMES: tuple[str, ...] = (
    *_both("browDown"), "browInnerUp", *_both("browOuterUp"),
    "cheekPuff", *_both("cheekSquint"),
    *_both("eyeBlink"), *_both("eyeLookDown"), *_both("eyeLookIn"), *_both("eyeLookOut"),
    *_both("eyeLookUp"), *_both("eyeSquint"), *_both("eyeWide"),
    "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", *_both("mouthDimple"), *_both("mouthFrown"), "mouthFunnel", "mouthLeft",
    *_both("mouthLowerDown"), *_both("mouthPress"), "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    *_both("mouthSmile"), *_both("mouthStretch"), *_both("mouthUpperUp"),
    *_both("noseSneer"), "tongueOut",
)  # fmt: skip
"""ARKit's 52 blend shapes (``ARFaceAnchor.BlendShapeLocation``) by name, in alphabetical order.

Left and right are the person's own.
"""

BUNDLED_BASIS = Path(__file__).parents[1] / "bundles" / "face_basis.npz"
MAX_ARRAY_BYTES = 2**24
MAX_TEMPLATE_DIFFERENCE_M = 1e-4
"""Two meshes are the same if their mean faces differ by less."""

_ARRAYS = ("mean_m", "identity_m", "expressions_m")


@dataclass(frozen=True, slots=True, eq=False)
class ShapeBasis:
    """A linear basis of face shapes on n landmarks, in the head frame.

    Validated on construction; its arrays are read-only float64 copies. Raises ValueError if a shape
    is wrong or a number not finite.
    """

    mean_m: NDArray[np.float64]
    """``(n, 3)``: the mean neutral face, metres."""
    identity_m: NDArray[np.float64]
    """``(k, n, 3)``: metres per standard deviation of the k identity modes, which are orthogonal
    and sorted by variance. Coefficients of people are independent and have unit variance."""
    expressions_m: NDArray[np.float64]
    """``(52, n, 3)``: offsets at weight 1 of :data:`EXPRESSION_NAMES`, metres."""

    def __post_init__(self) -> None:
        count = len(self.mean_m)
        shapes: dict[str, tuple[int | None, ...]] = {
            "mean_m": (None, 3),
            "identity_m": (None, count, 3),
            "expressions_m": (len(EXPRESSION_NAMES), count, 3),
        }
        for name, shape in shapes.items():
            array = finite_array(f"shape basis {name}", getattr(self, name), shape).copy()
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def vertex_count(self) -> int:
        """The number of landmarks, n."""
        return len(self.mean_m)

    def vertices_m(self, identity: ArrayLike = (), expressions: ArrayLike = ()) -> NDArray[Any]:
        """Return a face ``(n, 3)`` in the head frame, metres.

        Parameters
        ----------
        identity
            Coefficients of the first identity modes, in standard deviations; the rest is zero.
        expressions
            ``(52,)`` weights of :data:`EXPRESSION_NAMES`; empty: neutral.

        Raises ValueError if a number is not finite, or there are too many.
        """
        vertices = self.mean_m.copy()
        for name, value, modes in (
            ("identity", identity, self.identity_m),
            ("expressions", expressions, self.expressions_m),
        ):
            weights = finite_array(name, value, (None,))
            if len(weights) > len(modes):
                raise ValueError(f"{name}: expected at most {len(modes)} weights")
            vertices += np.tensordot(weights, modes[: len(weights)], 1)
        return vertices

    def require_mesh(self, topology: FaceTopology) -> None:
        """Raise ValueError if a topology is not the mesh that this basis describes."""
        if topology.vertex_count == self.vertex_count:
            difference_m = float(np.abs(topology.template_m - self.mean_m).max())
            if difference_m < MAX_TEMPLATE_DIFFERENCE_M:
                return
        raise ValueError(
            "shape basis: expected the landmark mesh of the bundled models, got another one; "
            "expressions and shapes cannot be computed for this model's faces"
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays for storage, the modes in half precision."""
        return {
            "mean_m": self.mean_m.astype(np.float32),
            "identity_m": self.identity_m.astype(np.float16),
            "expressions_m": self.expressions_m.astype(np.float16),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ShapeBasis:
        """Restore a basis from :meth:`to_arrays`; raises ValueError if an array is missing."""
        missing = [name for name in _ARRAYS if name not in arrays]
        if missing:
            raise ValueError(f"shape basis: expected arrays {_ARRAYS}, {missing} missing")
        return cls(**{name: arrays[name] for name in _ARRAYS})


def read_shape_basis(path: str | PathLike[str]) -> ShapeBasis:
    """Read a basis from an ``.npz`` file.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    ValueError
        The file is damaged or another one.
    """
    path = existing_file(path, "a shape basis (.npz)")
    try:
        return ShapeBasis.from_arrays(read_npz(path.read_bytes(), _ARRAYS, MAX_ARRAY_BYTES))
    except ValueError as error:
        raise ValueError(f"{path}: expected a shape basis (.npz), but {error}") from error


@lru_cache(maxsize=1)
def bundled_shape_basis() -> ShapeBasis:
    """Return the basis inside the package; it is read once."""
    return read_shape_basis(BUNDLED_BASIS)
