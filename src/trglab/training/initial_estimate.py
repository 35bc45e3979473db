"""R_0 and V_0, where the iterations of a network start (section 4.1 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import nearest_rotation
from trglab.datasets.files import read_or_error
from trglab.datasets.sample import InfiniteDataset
from trglab.datasets.view import Views, ViewSpec, make_view
from trglab.training.config import Recipe
from trglab.training.data import open_dataset

MEAN_SAMPLES = 1000
"""Samples that "mean" averages; reading all of a large data set would take hours."""

INDEX_RANGE = 2**20
"""Indices that samples of an infinite dataset are drawn from."""


class InitialEstimate(NamedTuple):
    """R_0 and V_0."""

    rotation: NDArray[np.float32]
    """``(3, 3)``, ``cam_from_head``"""
    vertices_m: NDArray[np.float32]
    """``(n, 3)`` in the head frame"""


def initial_estimate(recipe: Recipe, spec: ViewSpec) -> InitialEstimate | None:
    """Return R_0 and V_0 as ``recipe.initial_estimate`` says; None for "template".

    A pure function of the recipe with its seed and the data. Samples that cannot be read or have
    no pose or vertices are skipped.

    Raises
    ------
    ValueError
        None of :data:`MEAN_SAMPLES` samples of any dataset has pose and vertices.
    """
    if recipe.initial_estimate == "template":
        return None
    views = _labelled_views(recipe, spec)
    first = next(views, None)
    if first is None:
        raise ValueError(
            f"recipe {recipe.name}: expected samples with pose and vertices for "
            f"initial_estimate={recipe.initial_estimate}, found none"
        )
    if recipe.initial_estimate == "sample":
        return InitialEstimate(first.rotation, first.vertices_m)
    rotation_sum, vertices_sum, count = np.zeros((3, 3)), np.zeros(first.vertices_m.shape), 0
    for view in (first, *views):
        rotation_sum += view.rotation
        vertices_sum += view.vertices_m
        count += 1
    # The rotation with the least squared Frobenius distance to all: the chordal mean.
    mean_rotation = nearest_rotation(rotation_sum / count)
    return InitialEstimate(np.float32(mean_rotation), np.float32(vertices_sum / count))


def _labelled_views(recipe: Recipe, spec: ViewSpec) -> Iterator[Views]:
    """Yield random views with all labels of the first dataset that has any."""
    for config in recipe.datasets:
        dataset = open_dataset(config)
        length = INDEX_RANGE if isinstance(dataset, InfiniteDataset) else len(dataset)
        rng = np.random.default_rng(recipe.seed)
        indices = rng.choice(length, size=min(length, MEAN_SAMPLES), replace=False)
        read = partial(make_view, dataset, spec=spec)
        found = False
        for index in indices.tolist():
            view = read_or_error(read, index)
            if isinstance(view, Views) and view.has_pose and view.has_vertices:
                found = True
                yield view
        if found:
            return
