"""Fit the error bars of a finished network to faces that it has not been trained on.

The network runs as users run it, from its bundle, on stored views of rendered faces: half with
what a detector's boxes vary in, half beyond that (blur, noise, covered patches, roll, wrong boxes),
where errors are large. The head of :mod:`trg.network.error_bars` is fitted to the errors by a
Gaussian negative log-likelihood. One factor per quantity is calibrated on further views, which vary
in what a detector's boxes vary in only. The network's own answers do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trg.error_bars import QUANTITIES
from trg.geometry.face_mesh import FaceTopology, landmark_groups
from trg.inference.bundle import WeightBundle
from trg.inference.error_bar_calibration import CARD_KEY
from trg.inference.runtime import PoseArrays, PoseRuntime
from trg.network.error_bars import ErrorBarHead, add_error_bars, head_inputs, without_error_bars
from trglab.datasets.view_store import ViewStore
from trglab.evaluation.error_bar_scores import (
    ComponentErrors,
    FaceArrays,
    calibration_factors,
    component_errors,
    mean_squares,
    standardized,
)
from trglab.training.augment import (
    AugmentConfig,
    Augmenter,
    TrainingBatch,
    concatenate_draws,
    draw,
    taps_for,
)

FACES = 16_000
"""Views that are read, some of them twice if the stores hold fewer."""

CALIBRATED_SHARE = 0.2
"""Share of the views, the last ones, that are not fitted to and calibrate."""

VIEW_BATCH = 16
"""Half with each of the two augmentations."""

USUAL = AugmentConfig()
BEYOND = replace(
    AugmentConfig.strong(), centre_jitter=0.3, size_jitter=0.3, roll_deg=60.0, roll_probability=0.5
)

STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 3000, 256, 2e-3, 0.1
INPUT_NOISE = 0.05
"""Standard deviation of noise on the standardised features, against overfitting."""

LARGEST_SQUARE = 1e4
"""Clips squared standardised errors, lest one face taken for upside down outweigh all others."""

NORMAL_MEDIAN_SQUARE = 0.455
"""Median of a squared standard normal variable."""


class _Examples(NamedTuple):
    """Features ``(n, 84)`` and squared errors ``(n, 86)``."""

    features: Tensor
    squares: Tensor


def with_error_bars(
    bundle: WeightBundle,
    stores: Sequence[Path],
    faces: int = FACES,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> WeightBundle:
    """Return the bundle with error bars that are fitted to its errors on stored views.

    Parameters
    ----------
    stores
        Folders of rendered views, as ``trg data pack synthetic`` writes them.
    faces
        Number of views to read.
    on_progress
        Called with the number of views done.

    Raises
    ------
    ValueError
        A store has no vertices or those of another mesh.
    """
    bundle = without_error_bars(bundle)
    head = ErrorBarHead(bundle.topology)
    fitted = round(faces * (1.0 - CALIBRATED_SHARE))
    parts = []
    runs = _run_on_views(bundle, stores, range(fitted), (USUAL, BEYOND), seed)
    for done, (arrays, batch) in enumerate(runs, 1):
        parts.append(_examples(arrays, batch, head, bundle.topology))
        if on_progress is not None:
            on_progress(done * VIEW_BATCH)
    features, squares = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    fit_head(head, features, squares, STEPS, seed)
    calibrated = calibrate(add_error_bars(bundle, head), stores, range(fitted, faces), seed)
    if on_progress is not None:
        on_progress(faces)
    return calibrated


def calibrate(
    bundle: WeightBundle, stores: Sequence[Path], faces: range, seed: int = 0
) -> WeightBundle:
    """Return a bundle with error bars with factors that calibrate them on stored views."""
    parts: list[dict[str, NDArray[np.float64]]] = []
    for arrays, batch in _run_on_views(bundle, stores, faces, (USUAL,), seed):
        assert arrays.std is not None
        std = arrays.std.astype(np.float64)
        parts.append(standardized(_errors(arrays, batch, bundle.topology), std))
    ratios = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    training = {**bundle.card.training, CARD_KEY: calibration_factors(ratios)}
    return replace(bundle, card=replace(bundle.card, training=training))


def fit_head(
    head: ErrorBarHead, features: Tensor, squares: Tensor, steps: int, seed: int = 0
) -> None:
    """Fit a head to the features ``(n, 84)`` and squared errors ``(n, 86)`` of n faces."""
    generator = torch.Generator().manual_seed(seed)
    head.feature_mean.copy_(features.mean(0))
    head.feature_std.copy_(features.std(0).clamp_min(1e-3))
    head.log_std.copy_((squares.median(0).values / NORMAL_MEDIAN_SQUARE).clamp_min(1e-12).log() / 2)
    layers = [layer for layer in head.mlp if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(layers[-1].weight)  # the fit starts from the medians
    weights = torch.cat(
        [torch.full((part.stop - part.start,), 1.0 / (part.stop - part.start))
         for part in QUANTITIES.values()]
    )  # fmt: skip
    optimizer = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(features), (BATCH,), generator=generator)
        noise = torch.randn(BATCH, features.shape[1], generator=generator)
        log_std = head.log_std_of(features[rows] + INPUT_NOISE * noise * head.feature_std)
        standardized = (squares[rows] * (-2.0 * log_std).exp()).clamp_max(LARGEST_SQUARE)
        loss = ((0.5 * standardized + log_std) * weights).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _run_on_views(
    bundle: WeightBundle,
    folders: Sequence[Path],
    faces: range,
    augmentations: Sequence[AugmentConfig],
    seed: int,
) -> Iterator[tuple[PoseArrays, TrainingBatch]]:
    """Run the network on augmented views, batch by batch; the batches take turns in the stores."""
    runtime = PoseRuntime(bundle)
    stores = [ViewStore(folder) for folder in folders]
    augmenters = [_augmenter(store, bundle) for store in stores]
    generator = torch.Generator().manual_seed(seed)
    for start in faces[::VIEW_BATCH]:
        which = start // VIEW_BATCH % len(stores)
        store, first = stores[which], start // len(stores)
        views = store.views((first + i) % len(store) for i in range(VIEW_BATCH))
        share = VIEW_BATCH // len(augmentations)
        draws = concatenate_draws([draw(each, share, generator) for each in augmentations])
        batch = augmenters[which](views, draws, torch.device("cpu"))
        crops = batch.crops.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        yield runtime(np.ascontiguousarray(crops.numpy()), batch.bbox_info.numpy()), batch


def _augmenter(store: ViewStore, bundle: WeightBundle) -> Augmenter:
    """Return what cuts the bundle's crops out of a store's views."""
    spec, mirror = store.spec, bundle.topology.mirror
    count = spec.vertex_count if store.manifest["has_vertices"] else 0
    if count != len(mirror):
        raise ValueError(
            f"{store.folder}: expected views with {len(mirror)} vertices, as the bundle has, got "
            f"{count}; pack some with `trg data pack synthetic`"
        )
    size = bundle.card.crop_size
    return Augmenter(size, mirror, taps_for(spec.size, spec.margin, size))


@torch.no_grad()
def _examples(
    arrays: PoseArrays, batch: TrainingBatch, head: ErrorBarHead, topology: FaceTopology
) -> _Examples:
    errors = _errors(arrays, batch, topology)
    squares = torch.tensor(mean_squares(errors), dtype=torch.float32)
    return _Examples(head.features(*head_inputs(arrays, batch.bbox_info)), squares)


def _errors(arrays: PoseArrays, batch: TrainingBatch, topology: FaceTopology) -> ComponentErrors:
    estimated = (
        *(arrays.rotation, arrays.translation_m, arrays.vertices_m),
        arrays.vertices_crop[:, topology.landmarks68],
    )
    true = (batch.rotation, batch.translation_m, batch.vertices_m, batch.landmarks68_crop)
    return component_errors(
        FaceArrays(*(array.astype(np.float64) for array in estimated)),
        FaceArrays(*(tensor.double().numpy() for tensor in true)),
        landmark_groups(topology),
    )
