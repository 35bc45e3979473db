"""The training room's verbs, with explicit arguments: what the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trg.inference.bundle import WeightBundle
from trg.network.checkpoint import load_checkpoint
from trg.network.export import ExportFacts, Storage, export_bundle
from trg.network.trg import TRGNetwork
from trglab.datasets.pack import write_pack
from trglab.datasets.view import ViewSpec
from trglab.evaluation.stills import Stills
from trglab.training.data import open_source
from trglab.training.loop import Measure, OnStep, TrainingResult, run_training
from trglab.training.overrides import with_overrides
from trglab.training.recipes import PACK, recipe, synthetic_holdout
from trglab.training.validate import draw_sheet, predict

SHEET_STILLS = 24


def train(
    recipe_name: str,
    folder: Path,
    *,
    options: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    resume: bool = False,
    device: str | None = None,
    workers: int = 0,
    max_minutes: float | None = None,
    stills: Path | None = None,
    on_step: OnStep | None = None,
) -> TrainingResult:
    """Train by a named recipe.

    Parameters
    ----------
    recipe_name
        See :func:`trglab.training.recipes.recipe`.
    folder
        Where checkpoints, log and sheets go.
    options
        The recipe's own arguments, such as the data's folders.
    overrides
        Fields of the recipe by dotted name.
    resume, workers, max_minutes, on_step
        As in :func:`trglab.training.loop.run_training`.
    device
        ``cpu``, ``cuda``, ``cuda:1``; None: a GPU where there is one.
    stills
        A folder of real photographs to measure on, never to train on.

    Raises
    ------
    ValueError
        The recipe, an option or an override does not exist or does not fit.
    """
    chosen = with_overrides(recipe(recipe_name, options), overrides or {})
    measures = {}
    if stills is not None:
        measures["stills"] = stills_measure(Stills(stills, chosen.model.crop_size))
    return run_training(
        chosen,
        folder,
        resume=resume,
        device=None if device is None else torch.device(device),
        workers=workers,
        max_minutes=max_minutes,
        measures=measures,
        on_step=on_step,
    )


def render_pack(
    recipe_name: str,
    folder: Path,
    count: int,
    *,
    options: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    first: int = 0,
    holdout: bool = False,
    far: bool = False,
    workers: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Make the views of a recipe's first source, or of its hold-out, once, for all trainings.

    ``far``: of the synthetic hold-out beyond all training distances, whatever the recipe's own.

    Raises
    ------
    ValueError
        The recipe already reads a pack, or has no hold-out.
    """
    chosen = with_overrides(recipe(recipe_name, options), overrides or {})
    if holdout and chosen.holdout is None:
        raise ValueError(f"recipe {recipe_name}: expected one with a hold-out, it has none")
    source = chosen.holdout.source if holdout and chosen.holdout else chosen.sources[0]
    if far:
        source = synthetic_holdout(chosen.model, far=True).source
    if source.source == PACK:
        raise ValueError(f"recipe {recipe_name}: expected a source to render, got a pack")
    topology = open_source(source).topology
    write_pack(
        folder,
        partial(open_source, source),
        ViewSpec(chosen.view_size, chosen.view_margin, topology.vertex_count),
        count,
        first=first,
        workers=workers,
        topology=topology,
        facts={"source": source.source, "options": dict(source.options)},
        on_progress=on_progress,
    )


def export(
    checkpoint: Path,
    bundle: Path,
    *,
    name: str,
    licence: str,
    attribution: tuple[str, ...] = (),
    storage: Storage = "float16",
) -> WeightBundle:
    """Turn a training's checkpoint into a weight bundle, with what is known of it.

    Parameters
    ----------
    checkpoint
        ``best.pt`` of a training's folder, or ``last.pt``, of which the averaged weights are taken.
    name, licence, attribution
        For the bundle's card.
    """
    loaded = load_checkpoint(checkpoint)
    training: dict[str, Any] = {
        key: value for key, value in loaded.extra.items() if key in ("step", "figures", "recipe")
    }
    if "average" in loaded.extra:
        loaded.network.load_state_dict(loaded.extra["average"])
    facts = ExportFacts(name=name, licence=licence, attribution=attribution, training=training)
    return export_bundle(loaded.network.eval(), bundle, facts, storage)


def stills_measure(stills: Stills) -> Measure:
    """Return the measurement of a network on stills, with a sheet of the first of them."""

    def measure(network: TRGNetwork) -> tuple[dict[str, float], Image.Image]:
        some = stills.stills[:: max(1, len(stills) // SHEET_STILLS)][:SHEET_STILLS]
        crops = _tensor(network, np.stack([still.crop for still in some]).transpose(0, 3, 1, 2))
        boxes = _tensor(network, np.stack([still.bbox_info for still in some]).astype(np.float32))
        sheet = draw_sheet(
            crops, boxes, predict(network, crops, boxes), network.topology.landmarks68
        )
        return stills.measure(torch_predictor(network)).figures(), sheet

    return measure


def torch_predictor(
    network: TRGNetwork,
) -> Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float64]]:
    """Return a network as a predictor for :class:`trglab.evaluation.stills.Stills`."""

    def landmarks(crops: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float64]:
        predicted = predict(
            network, _tensor(network, crops.transpose(0, 3, 1, 2)), _tensor(network, boxes)
        )
        return predicted.vertices_crop[:, network.topology.landmarks68]

    return landmarks


def _tensor(network: TRGNetwork, array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(network.pixel_mean.device)
