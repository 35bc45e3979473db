"""Pose networks at inference: crops in, arrays out. ONNX Runtime and NumPy, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.error_bars import STD_COUNT
from trg.geometry.face_mesh import FaceTopology
from trg.inference.bundle import WeightBundle, WeightCard, read_bundle
from trg.inference.onnx_session import OnnxSession

INPUTS = ("crops", "bbox_info")

LEGACY_INPUTS = ("crops", "box_numbers")
"""Input names of graphs exported before version 0.2."""


class PoseArrays(NamedTuple):
    """Output of a pose network for ``b`` faces with ``n`` landmarks. All float32."""

    rotation: NDArray[np.float32]
    """``(b, 3, 3)``, ``cam_from_head``"""
    translation_m: NDArray[np.float32]
    """``(b, 3)``, the head's origin in the camera frame"""
    vertices_m: NDArray[np.float32]
    """``(b, n, 3)`` in the head frame"""
    vertices_crop: NDArray[np.float32]
    """``(b, n, 2)``: the projected vertices in crop coordinates (-1 to 1 over the box)"""
    landmarks68_crop: NDArray[np.float32]
    """``(b, 68, 2)``: the heatmaps' landmarks in crop coordinates"""
    peaks: NDArray[np.float32]
    """``(b, 68)``: the largest softmax value of each heatmap, 0 to 1"""
    std: NDArray[np.float32] | None = None
    """``(b, 86)``: standard deviations (:mod:`trg.error_bars`); None if the weights have none"""

    def rows(self, chosen: slice) -> PoseArrays:
        """Return some of the faces."""
        parts = (None if array is None else array[chosen] for array in self)
        return PoseArrays(*parts)  # type: ignore[arg-type]  # only std is None


REQUIRED_OUTPUTS = tuple(name for name in PoseArrays._fields if name != "std")
"""Outputs of every graph; ``std`` follows where the weights have error bars."""


@runtime_checkable
class PoseNetwork(Protocol):
    """A network that estimates poses from crops: :class:`PoseRuntime`, or a substitute."""

    @property
    def topology(self) -> FaceTopology:
        """The mesh of the landmarks."""

    @property
    def crop_size(self) -> int:
        """Side of the crops, px."""

    @property
    def card(self) -> WeightCard:
        """Metadata of the weights."""

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate ``b`` faces from ``(b, s, s, 3)`` and ``(b, 3)``."""


class ModelWrapper:
    """Base of pose networks that wrap another one: forwards its mesh, crop size and card.

    ``note``, on what the wrapper changes, is appended to the card's name.
    """

    def __init__(self, network: PoseNetwork, note: str) -> None:
        self._network = network
        self.topology = network.topology
        self.crop_size = network.crop_size
        self.card = replace(network.card, name=f"{network.card.name}, {note}")


class PoseRuntime:
    """A weight bundle in ONNX Runtime.

    Parameters
    ----------
    bundle
        A bundle or the path of one.
    threads
        CPU threads per call. None: one per physical core.
    providers
        ONNX Runtime's execution providers, in order of preference. None: the CPU.

    Raises
    ------
    ValueError
        The bundle is damaged, its graph has other inputs or outputs or contradicts its card or
        mesh, or a provider is not installed.
    """

    def __init__(
        self,
        bundle: WeightBundle | str | PathLike[str],
        threads: int | None = 1,
        providers: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(bundle, WeightBundle):
            bundle = read_bundle(bundle)
        self.topology = bundle.topology
        self.card = bundle.card
        self.crop_size = bundle.card.crop_size
        name = f"weight bundle {bundle.card.name!r}"
        self._session = OnnxSession(name, bundle.model, threads, providers)
        self.input_names = tuple(self._session.inputs)
        """Of the graph: of crops, then of ``bbox_info``."""
        self._check_graph(name)

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate faces.

        Parameters
        ----------
        crops
            ``(b, s, s, 3)`` uint8 RGB, s the bundle's crop size; b may be 0.
        bbox_info
            ``(b, 3)``: box centre and side in normalised image coordinates (section 3.4).

        Raises
        ------
        ValueError
            A shape or type is wrong, a number is not finite, or a side is not positive.
        """
        size = self.crop_size
        crops = np.asarray(crops)
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
            raise ValueError(
                f"crops: expected (b, {size}, {size}, 3) uint8, got {crops.shape} of {crops.dtype}"
            )
        boxes = finite_array("bbox_info", bbox_info, (len(crops), 3), np.float32)
        if not (boxes[:, 2] > 0).all():
            raise ValueError(f"bbox_info: expected sides above 0, got {boxes[:, 2].min()}")
        if not len(crops):
            return self._empty()
        inputs = dict(zip(self.input_names, (crops, boxes), strict=True))
        return PoseArrays(*self._session.run(None, inputs))

    def _check_graph(self, name: str) -> None:
        """Raise ValueError unless the graph's inputs and outputs have the expected shapes."""
        outputs = tuple(self._session.outputs)
        known = (REQUIRED_OUTPUTS, PoseArrays._fields)
        if self.input_names not in (INPUTS, LEGACY_INPUTS) or outputs not in known:
            raise ValueError(
                f"{name}: expected a graph from {INPUTS} to "
                f"{REQUIRED_OUTPUTS}, and perhaps std, got one from {self.input_names} to "
                f"{outputs}"
            )
        size = self.crop_size
        shapes = {self.input_names[0]: (size, size, 3), self.input_names[1]: (3,)}
        shapes.update(zip(outputs, self._output_shapes(), strict=True))
        for node, shape in {**self._session.inputs, **self._session.outputs}.items():
            if shape[1:] != shapes[node]:
                raise ValueError(
                    f"{name}: its card and mesh contradict its graph; expected {node} of shape "
                    f"{('b', *shapes[node])}, the graph has {shape}"
                )

    def _output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of one face's outputs."""
        count = self.topology.vertex_count
        shapes = (3, 3), (3,), (count, 3), (count, 2), (68, 2), (68,), (STD_COUNT,)
        return shapes[: len(self._session.outputs)]

    def _empty(self) -> PoseArrays:
        """Return the output for no faces; the graph itself needs at least one."""
        return PoseArrays(*(np.zeros((0, *shape), np.float32) for shape in self._output_shapes()))
