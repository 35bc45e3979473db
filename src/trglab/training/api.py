"""High-level training entry points: what the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trg.inference.bundle import WeightBundle
from trg.network.checkpoint import load_checkpoint
from trg.network.export import export_bundle
from trg.network.onnx_graph import Storage
from trg.network.trg import TRGNetwork
from trglab.datasets.codecs import ImageFormat
from trglab.datasets.store_writer import SHARD_SIZE, StoreReport
from trglab.datasets.view_store import ViewStoreSettings, write_views
from trglab.evaluation.stills import Stills
from trglab.synth.assets import find_asset
from trglab.synth.head.face_model import load_face_model
from trglab.training.config import Recipe
from trglab.training.data import open_dataset
from trglab.training.loop import Measure, OnStep, TrainingResult, run_training
from trglab.training.overrides import with_overrides
from trglab.training.recipes import SYNTHETIC, recipe, synthetic_holdout
from trglab.training.validate import draw_sheet, predict

SHEET_STILLS = 24

RecipePart = Literal["training", "holdout", "far"]
"""The first dataset of a recipe; its hold-out; the synthetic hold-out beyond training distances."""


def configured_recipe(
    name: str, options: Mapping[str, Any] | None, overrides: Mapping[str, Any]
) -> Recipe:
    """Return a recipe by name (:func:`~trglab.training.recipes.recipe`), with fields changed.

    Raises
    ------
    ValueError
        The recipe, an option or an overridden field does not exist, or a value does not fit.
    """
    return with_overrides(recipe(name, options), overrides)


def train(
    chosen: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    workers: int = 0,
    max_minutes: float | None = None,
    stills: Path | None = None,
    on_step: OnStep | None = None,
) -> TrainingResult:
    """Train by a recipe; arguments as for :func:`trglab.training.loop.run_training`.

    Parameters
    ----------
    device
        ``cpu``, ``cuda``, ``cuda:1``; None: a GPU if there is one.
    stills
        Folder of real photographs to measure on, never to train on.
    """
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


def pack_recipe(
    chosen: Recipe,
    folder: Path,
    indices: range,
    *,
    part: RecipePart = "training",
    holdout_version: int = 1,
    image_format: ImageFormat = "raw",
    workers: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> StoreReport:
    """Render views of a recipe once, for several trainings (:func:`write_views`).

    Raises
    ------
    ValueError
        The recipe reads a store of views already, or has no hold-out.
    """
    config = chosen.datasets[0]
    if part == "holdout" and holdout_version == 1:
        if chosen.holdout is None:
            raise ValueError(f"recipe {chosen.name}: expected one with a hold-out, it has none")
        config = chosen.holdout.dataset
    elif part != "training":
        config = synthetic_holdout(
            chosen.model,
            far=part == "far",
            without=chosen.holdout_without,
            version=holdout_version,
        ).dataset
    if config.is_view_store:
        raise ValueError(f"recipe {chosen.name}: expected a dataset to render, got a store")
    provenance = {"dataset": config.target, "options": dict(config.options)}
    if config.target == SYNTHETIC:
        provenance["face_model"] = load_face_model(find_asset("face-model")).name
    return write_views(
        folder,
        partial(open_dataset, config),
        ViewStoreSettings(
            chosen.view_size, chosen.view_margin, image_format, shard_size=SHARD_SIZE
        ),
        indices=indices,
        provenance=provenance,
        workers=workers,
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
    """Turn the checkpoint of a training into a weight bundle.

    Parameters
    ----------
    checkpoint
        ``best.pt`` of a training's folder, or ``last.pt``, whose averaged weights are taken.
    name, licence, attribution
        For the card of the bundle.
    """
    loaded = load_checkpoint(checkpoint)
    training: dict[str, Any] = {
        key: value for key, value in loaded.extra.items() if key in ("step", "figures", "recipe")
    }
    if "average" in loaded.extra:
        loaded.network.load_state_dict(loaded.extra["average"])
    return export_bundle(
        loaded.network.eval(),
        bundle,
        name,
        storage,
        licence=licence,
        attribution=attribution,
        training=training,
    )


def stills_measure(stills: Stills) -> Measure:
    """Return a measurement of networks on stills, with a sheet of some of them."""

    def measure(network: TRGNetwork) -> tuple[dict[str, float], Image.Image]:
        some = stills.crops[:: max(1, len(stills) // SHEET_STILLS)][:SHEET_STILLS]
        crops = _tensor(network, np.stack([still.crop for still in some]).transpose(0, 3, 1, 2))
        boxes = _tensor(network, np.stack([still.bbox_info for still in some]).astype(np.float32))
        sheet = draw_sheet(
            crops, boxes, predict(network, crops, boxes), network.topology.landmarks68
        )
        return stills.measure(torch_predictor(network)).statistics(), sheet

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
