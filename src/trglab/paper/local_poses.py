"""What the rival that is not told where its box lies is trained on (img2pose's way)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.infinite_sampler import InfiniteSampler
from trglab.datasets.mesh import topology_of_samples
from trglab.datasets.pack import Pack
from trglab.datasets.packed import sample_from_view
from trglab.datasets.sample import Sample
from trglab.datasets.view import SampleSource, Views, ViewSpec, make_view, select_views
from trglab.paper.baselines import local_views
from trglab.training.data import ShuffledSource, open_source
from trglab.training.recipes import PACK, SourceConfig

SOURCE = "trglab.paper.local_poses:LocalPoses"


def as_local(config: SourceConfig) -> SourceConfig:
    """Return a recipe's source with its poses told in the cameras that img2pose imagines.

    What is on the disk as views is quick to read, and each view comes once in each run through.
    """
    wrapped = {"source": config.source, "options": dict(config.options)}
    capacity, reuse = (1, 1) if config.source == PACK else (config.capacity, config.reuse)
    return SourceConfig(SOURCE, wrapped, config.weight, capacity, reuse)


class LocalPoses:
    """Another source's views, told in the imagined cameras around their boxes.

    Parameters
    ----------
    source, options
        As :class:`~trglab.training.recipes.SourceConfig`'s.
    seed
        Of a data set's order.
    """

    def __init__(self, source: str, options: Mapping[str, Any], seed: int = 0) -> None:
        self._config = SourceConfig(source, options)
        self._inner: Any = _ShuffledPack(options, seed) if source == PACK else self._open(seed)

    @cached_property
    def topology(self) -> FaceTopology | None:
        """The mesh of the vertices, as the other source has it or its samples show it."""
        if isinstance(self._inner, _ShuffledPack):
            return self._inner.topology
        samples = open_source(self._config)
        topology: FaceTopology | None = getattr(samples, "topology", None)
        if topology is None and hasattr(samples, "triangles"):
            topology = topology_of_samples(samples)
        return topology

    def view(self, index: int, spec: ViewSpec) -> Views:
        """Return view number ``index`` in its imagined camera."""
        return local_views(make_view(self._inner, index, spec))

    def sample(self, index: int) -> Sample:
        """Return a view as a picture of its own: a pack's as stored, others at the usual size."""
        spec = self._inner.spec if isinstance(self._inner, _ShuffledPack) else ViewSpec()
        view = self.view(index, spec)
        return sample_from_view(view, str(int(view.identity)), f"local/{index}")

    def _open(self, seed: int) -> SampleSource:
        samples = open_source(self._config)
        return samples if isinstance(samples, SampleSource) else ShuffledSource(samples, seed)


class _ShuffledPack:
    """A pack of views, read endlessly in an order of its own each time through."""

    def __init__(self, options: Mapping[str, Any], seed: int) -> None:
        self._pack = Pack(Path(options["folder"]))
        self._order = InfiniteSampler(len(self._pack), seed)
        self.spec, self.topology = self._pack.spec, self._pack.topology

    def sample(self, index: int) -> Sample:
        """Return a view as a picture of its own."""
        view = self.view(index, self.spec)
        return sample_from_view(view, str(int(view.identity)), f"pack/{index}")

    def view(self, index: int, spec: ViewSpec) -> Views:
        """Return a view as it is stored; ValueError where it was cut otherwise."""
        if spec != self.spec:
            raise ValueError(f"{self._pack.folder}: expected views of {spec}, got {self.spec}")
        return select_views(self._pack.views(np.array([self._order.number(index)])), 0)
