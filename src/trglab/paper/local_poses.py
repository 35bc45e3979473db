"""Training data of the img2pose-style baseline."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.mesh import dataset_topology
from trglab.datasets.sample import Sample
from trglab.datasets.view import Views, ViewSpec, make_view
from trglab.datasets.view_store import ViewStore, sample_from_view
from trglab.paper.baselines import local_views
from trglab.training.data import open_dataset, open_infinite
from trglab.training.recipes import DatasetConfig

TARGET = "trglab.paper.local_poses:LocalPoses"


def as_local(config: DatasetConfig) -> DatasetConfig:
    """Return a recipe's dataset with its poses in the local cameras of img2pose."""
    wrapped = {"target": config.target, "options": dict(config.options)}
    return DatasetConfig(TARGET, wrapped, config.weight, config.buffer_size, config.reuse)


class LocalPoses:
    """The views of another dataset, with poses in the local cameras of their boxes.

    Parameters
    ----------
    target, options
        As :class:`~trglab.training.recipes.DatasetConfig`'s.
    seed
        Of the order of a finite dataset.
    """

    def __init__(self, target: str, options: Mapping[str, Any], seed: int = 0) -> None:
        self._config = DatasetConfig(target, options)
        self._dataset = open_infinite(self._config, seed)

    @cached_property
    def topology(self) -> FaceTopology | None:
        """The mesh of the vertices."""
        return dataset_topology(open_dataset(self._config))

    def view(self, index: int, spec: ViewSpec) -> Views:
        """Return view number ``index`` with its pose in its local camera."""
        return local_views(make_view(self._dataset, index, spec))

    def sample(self, index: int) -> Sample:
        """Return a view as a sample: of a store as it is stored, else at the default size."""
        is_stored = self._config.is_view_store
        spec = ViewStore(**self._config.options).spec if is_stored else ViewSpec()
        view = self.view(index, spec)
        return sample_from_view(view, str(int(view.identity)), f"local/{index}")
