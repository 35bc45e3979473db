"""From the datasets of a recipe to the batches that a training reads."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from functools import partial

from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.batches import Mixture, rank_range, slots_by_weight
from trglab.datasets.infinite_sampler import ShuffledDataset
from trglab.datasets.mesh import dataset_topology
from trglab.datasets.prefetch import PrefetchRing
from trglab.datasets.sample import Dataset, InfiniteDataset
from trglab.datasets.view import Views, ViewSpec, concatenate_views, select_views
from trglab.datasets.view_store import ViewStore
from trglab.synth.assets import find_asset
from trglab.synth.head.face_model import load_face_model
from trglab.training.config import DatasetConfig, HoldoutConfig, Recipe

HOLDOUT_BATCH = 64


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A process among those that share each batch, and the workers it may start."""

    rank: int = 0
    world_size: int = 1
    workers: int = 0


def open_dataset(config: DatasetConfig) -> Dataset | InfiniteDataset:
    """Call what ``config.target`` names; its module may lie in the current directory.

    Raises
    ------
    ValueError
        There is no such callable, or it does not return a dataset.
    """
    module_name, _, name = config.target.partition(":")
    # `python -m` has the current directory on the path, the installed command has not. Workers
    # inherit the path.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        make = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"dataset: expected 'module:callable' that can be imported, got {config.target!r} "
            f"({error})"
        ) from error
    dataset = make(**config.options)
    if not isinstance(dataset, Dataset | InfiniteDataset):
        raise ValueError(
            f"dataset {config.target!r}: expected an object with a method sample(), or with a "
            "length and samples by index"
        )
    return dataset


def open_infinite(config: DatasetConfig, seed: int) -> InfiniteDataset:
    """Open a dataset; a finite one is read without end, in a new order each epoch."""
    dataset = open_dataset(config)
    return dataset if isinstance(dataset, InfiniteDataset) else ShuffledDataset(dataset, seed)


def open_batches(recipe: Recipe, process: ProcessInfo, spec: ViewSpec, first_step: int) -> Mixture:
    """Open all datasets of a recipe, for this process's share of every batch."""
    counts = slots_by_weight(
        [dataset.weight for dataset in recipe.datasets], recipe.batch_size, process.world_size
    )
    rings = []
    for number, (config, count) in enumerate(zip(recipe.datasets, counts, strict=True)):
        seed = recipe.seed + number
        if config.is_view_store:  # report a mismatch before workers start
            ViewStore(**config.options).require(spec)
        ring = PrefetchRing(
            partial(open_infinite, config, seed),
            spec,
            batch_size=count,
            buffer_size=config.buffer_size,
            reuse=config.reuse,
            workers=-(-process.workers // len(recipe.datasets)),
            seed=seed,
            slots=rank_range(count, process.rank, process.world_size),
            start_step=first_step,
        )
        rings.append(ring)
    return Mixture(rings, counts)


def holdout_views(holdout: HoldoutConfig, spec: ViewSpec, workers: int) -> Views:
    """Render or read the views of the hold-out."""
    if holdout.dataset.is_view_store:
        store = ViewStore(**holdout.dataset.options)
        store.require(spec)
        return store.views(range(min(holdout.count, len(store))))
    size = min(HOLDOUT_BATCH, holdout.count)
    ring = PrefetchRing(
        partial(open_infinite, holdout.dataset, 0),
        spec,
        batch_size=size,
        buffer_size=size,
        workers=workers,
    )
    try:
        steps = -(-holdout.count // size)
        views = concatenate_views([ring.batch(step, 0, size) for step in range(steps)])
    finally:
        ring.close()
    return select_views(views, slice(0, holdout.count))


def recipe_topology(recipe: Recipe) -> FaceTopology:
    """Return the landmark mesh of the first dataset that has one, or that of the face model."""
    for config in recipe.datasets:
        topology = dataset_topology(open_dataset(config))
        if topology is not None:
            return topology
    return load_face_model(find_asset("face-model")).topology
