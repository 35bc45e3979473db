"""Measures a network on the hold-out during training, and draws its predictions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from trg.geometry.projection import crop_from_rays, rays_from_points, transform
from trg.geometry.rotations import rotation_to_euler
from trg.network.trg import StepOutput, TRGNetwork
from trglab.datasets.view import Views, select_views
from trglab.evaluation.metrics import add_mm, geodesic_error_deg, landmark_error_mm, mae_r_deg
from trglab.training.augment import AugmentConfig, Augmenter, TrainingBatch, draw

SCORE = "add_mm_median"
"""Figure that selects the best network, lower is better; covers rotation and translation."""

HIDDEN_SHARE, HIDDEN_YAW_DEG = 0.75, 40.0
"""A face with a smaller yaw counts as occluded if a smaller share of its landmarks is visible."""

AXIS_LENGTH_M = 0.06
AXIS_COLOURS = ((230, 60, 60), (60, 200, 60), (80, 120, 255))
BATCH = 64


class Prediction(NamedTuple):
    """Final estimates for n faces, float64."""

    rotation: NDArray[np.float64]
    translation_m: NDArray[np.float64]
    vertices_m: NDArray[np.float64]
    vertices_crop: NDArray[np.float64]


class Holdout:
    """The hold-out: labelled views, cropped for the network without augmentation."""

    def __init__(self, views: Views, augmenter: Augmenter, device: torch.device) -> None:
        self._views = views
        self._augmenter = augmenter
        self._device = device

    def __len__(self) -> int:
        return len(self._views.image)

    def measure(self, network: TRGNetwork) -> dict[str, float]:
        """Return the paper's errors and the relative depth error over the samples with poses.

        Names that begin with ``hidden_`` are over partly occluded faces only.
        """
        rows: list[dict[str, NDArray[np.float64]]] = []
        hidden: list[NDArray[np.bool_]] = []
        for start in range(0, len(self), BATCH):
            batch = self.batch(slice(start, start + BATCH))
            posed = (batch.has_pose & batch.has_vertices).cpu().numpy()
            predicted = predict(network, batch.crops, batch.bbox_info)
            landmarks68 = network.topology.landmarks68
            rows.append(_errors(_take(predicted, posed), batch, posed, landmarks68))
            hidden.append(_is_hidden(batch)[posed])
        joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        is_hidden = np.concatenate(hidden)
        figures = {}
        for prefix, chosen in (("", np.ones_like(is_hidden)), ("hidden_", is_hidden)):
            for name, values in joined.items() if chosen.any() else ():
                figures[f"{prefix}{name}_mean"] = float(values[chosen].mean())
                figures[f"{prefix}{name}_median"] = float(np.median(values[chosen]))
        return figures

    def batch(self, index: slice) -> TrainingBatch:
        """Return a slice of the samples as a batch."""
        views = select_views(self._views, index)
        none = draw(AugmentConfig.none(), len(views.image), torch.Generator().manual_seed(0))
        return self._augmenter(views, none, self._device)

    def sheet(self, network: TRGNetwork, count: int = 24) -> Image.Image:
        """Draw predictions on the first ``count`` samples."""
        batch = self.batch(slice(0, count))
        predicted = predict(network, batch.crops, batch.bbox_info)
        return draw_sheet(batch.crops, batch.bbox_info, predicted, network.topology.landmarks68)


@torch.no_grad()
def predict(network: TRGNetwork, crops: Tensor, bbox_info: Tensor) -> Prediction:
    """Run a network in evaluation mode on crops ``(n, 3, s, s)``."""
    was_training = network.training
    network.eval()
    try:
        last: StepOutput = network(crops, bbox_info).steps[-1]
    finally:
        network.train(was_training)
    kept = (last.rotation, last.translation_m, last.vertices_m, last.vertices_crop)
    return Prediction(*(tensor.double().cpu().numpy() for tensor in kept))


def draw_sheet(
    crops: Tensor,
    bbox_info: Tensor,
    predicted: Prediction,
    landmarks68: NDArray[np.int32],
    columns: int = 6,
) -> Image.Image:
    """Draw crops with the head axes (x red, y green, -z blue) and the 68 landmarks."""
    pixels = crops.clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    boxes = bbox_info.double().cpu().numpy()
    count, size = len(pixels), pixels.shape[1]
    sheet = Image.new("RGB", (columns * size, -(-count // columns) * size))
    # The third axis is drawn as -z, out of the face, where it is visible.
    axes_m = np.concatenate([np.zeros((1, 3)), np.diag([1.0, 1.0, -1.0]) * AXIS_LENGTH_M])
    for face in range(count):
        tile = Image.fromarray(pixels[face])
        pen = ImageDraw.Draw(tile)
        for x, y in (predicted.vertices_crop[face, landmarks68] + 1.0) * size / 2.0:
            pen.point((x, y), fill=(255, 255, 0))
        tips = transform(axes_m, predicted.rotation[face], predicted.translation_m[face])
        ends = (crop_from_rays(rays_from_points(tips), boxes[face]) + 1.0) * size / 2.0
        for end, colour in zip(ends[1:], AXIS_COLOURS, strict=True):
            pen.line([*map(float, ends[0]), *map(float, end)], fill=colour, width=2)
        sheet.paste(tile, (face % columns * size, face // columns * size))
    return sheet


def _take(predicted: Prediction, chosen: NDArray[np.bool_]) -> Prediction:
    return Prediction(*(array[chosen] for array in predicted))


def _errors(
    predicted: Prediction,
    batch: TrainingBatch,
    posed: NDArray[np.bool_],
    landmarks68: NDArray[np.int32],
) -> dict[str, NDArray[np.float64]]:
    def true(tensor: Tensor) -> NDArray[np.float64]:
        return tensor.double().cpu().numpy()[posed]

    rotation, translation_m = true(batch.rotation), true(batch.translation_m)
    vertices_m = true(batch.vertices_m)
    depth_m = translation_m[:, 2]
    return {
        "ge_deg": geodesic_error_deg(predicted.rotation, rotation),
        "mae_r_deg": mae_r_deg(predicted.rotation, rotation),
        "tz_relative": np.abs(predicted.translation_m[:, 2] - depth_m) / depth_m,
        "add_mm": add_mm(
            vertices_m, predicted.rotation, predicted.translation_m, rotation, translation_m
        ),
        "landmarks_mm": landmark_error_mm(predicted.vertices_m, vertices_m),
        "landmarks68_crop": np.linalg.norm(
            predicted.vertices_crop[:, landmarks68] - true(batch.landmarks68_crop), axis=-1
        ).mean(-1),
    }


def _is_hidden(batch: TrainingBatch) -> NDArray[np.bool_]:
    """Return which faces near frontal show too few of their 51 inner landmarks."""
    seen_share = batch.landmarks68_visible[:, 17:].double().mean(1).cpu().numpy()
    yaw_deg = rotation_to_euler(batch.rotation.double().cpu().numpy())[:, 0]
    hidden: NDArray[np.bool_] = (seen_share < HIDDEN_SHARE) & (np.abs(yaw_deg) < HIDDEN_YAW_DEG)
    return hidden
