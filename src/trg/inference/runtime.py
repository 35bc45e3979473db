"""Runs a weight bundle with ONNX Runtime: arrays in, arrays out. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.inference.bundle import WeightBundle, read_bundle
from trg.inference.onnx_session import open_session

INPUTS = ("crops", "bbox_info")

FORMER_INPUTS = ("crops", "box_numbers")
"""Of graphs that were exported before version 0.2."""


class PoseArrays(NamedTuple):
    """What the network says about ``b`` faces with ``n`` landmarks. All float32."""

    rotation: NDArray[np.float32]
    """``(b, 3, 3)``, ``cam_from_head``"""
    translation_m: NDArray[np.float32]
    """``(b, 3)``, the head's origin in the camera frame"""
    vertices_m: NDArray[np.float32]
    """``(b, n, 3)`` in head space"""
    vertices_crop: NDArray[np.float32]
    """``(b, n, 2)``: the same, projected, in crop coordinates (-1 to 1 over the box)"""
    landmarks68_crop: NDArray[np.float32]
    """``(b, 68, 2)`` from the heatmaps, in crop coordinates"""
    peaks: NDArray[np.float32]
    """``(b, 68)``: the largest share of each heatmap in one cell, 0 to 1"""


class PoseRuntime:
    """A weight bundle, ready to run.

    Parameters
    ----------
    bundle
        A bundle or the path of one.
    threads
        CPU threads for one call. None: one per physical core.
    providers
        ONNX Runtime's execution providers, in order of preference. None: the CPU.

    Raises
    ------
    ValueError
        The bundle is damaged, or its graph is not one of this package's; a provider is not
        installed.
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
        self._session = open_session(name, bundle.model, threads, providers)
        names = tuple(node.name for node in self._session.get_inputs())
        outputs = tuple(node.name for node in self._session.get_outputs())
        if names not in (INPUTS, FORMER_INPUTS) or outputs != PoseArrays._fields:
            raise ValueError(
                f"{name}: expected a graph from {INPUTS} to "
                f"{PoseArrays._fields}, got one from {names} to {outputs}"
            )

        self._input_names = names

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use."""
        return tuple(self._session.get_providers())

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate faces.

        Parameters
        ----------
        crops
            ``(b, s, s, 3)`` uint8 RGB, s the bundle's crop size; b may be 0.
        bbox_info
            ``(b, 3)``: box centre and side in rays.

        Raises
        ------
        ValueError
            A shape or type is wrong, a number is not finite, or a box has no extent.
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
            return self._nothing()
        inputs = dict(zip(self._input_names, (crops, boxes), strict=True))
        return PoseArrays(*self._session.run(None, inputs))

    def _nothing(self) -> PoseArrays:
        """Return the result for no face; the graph itself needs at least one."""
        count = self.topology.vertex_count
        shapes: list[tuple[int, ...]] = [(3, 3), (3,), (count, 3), (count, 2), (68, 2), (68,)]
        return PoseArrays(*(np.zeros((0, *shape), np.float32) for shape in shapes))
