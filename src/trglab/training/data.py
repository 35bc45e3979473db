"""From a recipe's sources to the feed that a training reads."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.batches import Feed, Mixture, rank_range, slots_by_weight
from trglab.datasets.infinite_sampler import InfiniteSampler
from trglab.datasets.mesh import topology_of_samples
from trglab.datasets.pack import Pack
from trglab.datasets.packed import PackedViews
from trglab.datasets.prefetch import ViewPool
from trglab.datasets.sample import Sample, Samples
from trglab.datasets.view import (
    SampleSource,
    Views,
    ViewSource,
    ViewSpec,
    concatenate_views,
    select_views,
    view_from_sample,
)
from trglab.training.recipes import PACK, PACKED, HoldoutConfig, Recipe, SourceConfig

HOLDOUT_ROW = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process stands among those that share each batch, and the workers it may start."""

    rank: int = 0
    world: int = 1
    workers: int = 0


class ShuffledSource:
    """A data set, read endlessly, in an order of its own each time through.

    Samples that cannot be read are reported in the log and passed over.
    """

    def __init__(self, samples: Samples, seed: int) -> None:
        self._samples = samples
        self._order = InfiniteSampler(len(samples), seed)

    def sample(self, index: int) -> Sample:
        """Return sample number ``index`` of the endless order."""
        return self._order.read(index, self._samples.__getitem__)

    def view(self, index: int, spec: ViewSpec) -> Views:
        """Return its view; as it is stored, where the data set is packed."""
        return self._order.read(index, partial(self._view, spec=spec))

    def _view(self, number: int, spec: ViewSpec) -> Views:
        if isinstance(self._samples, ViewSource):
            return self._samples.view(number, spec)
        return view_from_sample(self._samples[number], spec)


def open_source(config: SourceConfig) -> Any:
    """Call what ``config.source`` names.

    The result makes samples without end, by ``sample(index)``, or is a data set with a length and
    samples by number.

    Raises
    ------
    ValueError
        There is no such thing to call, or it does not make samples.
    """
    module_name, _, name = config.source.partition(":")
    try:
        make = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"source: expected 'module:callable' that can be imported, got {config.source!r} "
            f"({error})"
        ) from error
    source = make(**config.options)
    if not isinstance(source, SampleSource) and not hasattr(source, "__getitem__"):
        raise ValueError(
            f"source {config.source!r}: expected an object with a method sample() or a sequence"
        )
    return source


def open_feed(recipe: Recipe, place: Place, spec: ViewSpec, first_step: int) -> Mixture:
    """Open all sources of a recipe, for this process's part of every batch."""
    counts = slots_by_weight(
        [source.weight for source in recipe.sources], recipe.batch_size, place.world
    )
    feeds: list[Feed] = []
    for number, (source, count) in enumerate(zip(recipe.sources, counts, strict=True)):
        seed = recipe.seed + number
        if source.source == PACK:
            feeds.append(open_pack(source, spec, count, seed))
            continue
        if source.source == PACKED:
            PackedViews(source.options["folder"]).require(spec)  # say so before workers start
        feeds.append(
            ViewPool(
                partial(_open_infinite, source, seed),
                spec,
                batch_size=count,
                capacity=source.capacity,
                reuse=source.reuse,
                workers=-(-place.workers // len(recipe.sources)),
                seed=seed,
                slots=rank_range(count, place.rank, place.world),
                start_step=first_step,
            )
        )
    return Mixture(feeds, counts)


def open_pack(source: SourceConfig, spec: ViewSpec, count: int, seed: int) -> Pack:
    """Open a pack, or raise ValueError when its views are cut otherwise than ``spec``."""
    pack = Pack(Path(source.options["folder"]), count, seed)
    if pack.spec != spec:
        raise ValueError(
            f"pack {source.options['folder']}: expected views of {spec}, got {pack.spec}; "
            "write the pack anew or set the recipe's view_scale and view_margin to fit"
        )
    return pack


def holdout_views(holdout: HoldoutConfig, spec: ViewSpec, workers: int) -> Views:
    """Make or read the hold-out's views, once."""
    if holdout.source.source == PACK:
        pack = open_pack(holdout.source, spec, 1, 0)
        return pack.views(slice(0, holdout.count))
    row = min(HOLDOUT_ROW, holdout.count)
    pool = ViewPool(
        partial(_open_infinite, holdout.source, 0),
        spec,
        batch_size=row,
        capacity=row,
        workers=workers,
    )
    try:
        rows = -(-holdout.count // row)
        views = concatenate_views([pool.batch(step, 0, row) for step in range(rows)])
    finally:
        pool.close()
    return select_views(views, slice(0, holdout.count))


def topology_of(recipe: Recipe) -> FaceTopology:
    """Return the mesh that the first source with vertices labels.

    Raises
    ------
    ValueError
        No source has one.
    """
    for config in recipe.sources:
        if config.source == PACK:
            topology = Pack(Path(config.options["folder"])).topology
        else:
            source = open_source(config)
            topology = getattr(source, "topology", None)
            if topology is None and hasattr(source, "triangles"):
                topology = topology_of_samples(source)
        if topology is not None:
            return topology
    raise ValueError(
        f"recipe {recipe.name}: expected a source with a topology, found none among "
        f"{[config.source for config in recipe.sources]}"
    )


def _open_infinite(config: SourceConfig, seed: int) -> SampleSource:
    source = open_source(config)
    return source if isinstance(source, SampleSource) else ShuffledSource(source, seed)
