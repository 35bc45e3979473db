"""Network, targets and losses of the face detector.

Anchor-free and single-stage: each cell of a stride-8 grid predicts whether it contains the centre
of a face, and the box and five points of that face::

    image (h, w, 3) uint8, h and w multiples of 32
      | stem                                        1/4
      | stride 8    residual blocks                 1/8  ------------- + -- smooth -- head --> 14
      | stride 16                                   1/16 ---- + -- smooth --^ upsampled x2
      | stride 32                                   1/32 -----^ upsampled x2

There are two architectures: :data:`DENSE` has 3x3 convolutions; in :data:`SEPARABLE` each spatial
convolution after the stem is depthwise and followed by 1x1 convolutions, which an ordinary
processor computes in less than half of the time.

The 14 channels are a logit, the offset of the box centre from the cell centre (2) and of the points
(10) in sides of the box, and the logarithm of the side over :data:`UNIT_SIDE_PX`. These units give
faces of all sizes the same weight in the loss. The box is the paper's square, 1.5 times the larger
side of the 68 landmarks' bounding box.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trg.inference.detections import POINT_COUNT
from trg.inference.detector import FACE_CHANNELS, STRIDE, UNIT_SIDE_PX

INPUT_SCALE = 1.0 / 127.5
"""Factor of the pixels, which the export folds into the first convolution."""

OFFSET = 127.5
"""Subtracted from the pixels in the dense network. The separable one has none: its zero padding
continues the black border of padded images."""

PRIOR = 0.01
"""Initial face probability of a cell, which stabilises early training (Lin et al. 2017)."""

SIGMA_SIDES = 0.06
"""Standard deviation of a face's Gaussian in the heatmap, in box sides: a box shifted by that much
has an IoU of about 0.85."""

SIGMA_MIN_CELLS = 0.6
REGRESSION_FROM = 0.3
"""Cells with at least this heatmap value regress the box and points of the face."""

MIN_SIDE_PX = 12.0
"""Smaller boxes are ignored: they are too small for a stride of 8 px."""

FULL_SIDE_PX = 48.0
MIN_WEIGHT = 0.25
"""Boxes below :data:`FULL_SIDE_PX` have a weight in proportion to their side, but at least this.
Full weight on faces that are barely recognisable causes false positives."""


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Architecture of the network."""

    separable: bool
    """Whether the convolutions after the stem are depthwise and 1x1; else dense 3x3."""
    stem: tuple[int, int]
    """Channels at strides 2 and 4."""
    channels: tuple[int, int, int]
    """At strides 8, 16 and 32."""
    blocks: tuple[int, int, int]
    """Residual blocks at those strides."""
    width: int = 40
    """Channels of the fused feature maps and of the head."""


DENSE = DetectorConfig(False, (16, 32), (48, 64, 72), (2, 2, 1))
SEPARABLE = DetectorConfig(True, (8, 24), (48, 80, 112), (2, 2, 2))
ARCHITECTURES = {"dense": DENSE, "separable": SEPARABLE}


class DetectorOutput(NamedTuple):
    """Predictions per cell; ``rows`` and ``columns`` are the image size divided by 8."""

    logits: Tensor
    """``(b, rows, columns)``"""
    faces: Tensor
    """``(b, rows, columns, 13)``: centre x, y, log side, five points x, y"""


class DetectionTargets(NamedTuple):
    """Training targets: arrays of one image, or tensors of a batch."""

    heat: Any
    """``(rows, columns)`` float32: Gaussians, 1 in the central cell of each face"""
    weight: Any
    """``(rows, columns)`` float32: 0 in ignored cells, a face's weight in its centre, else 1"""
    faces: Any
    """``(rows, columns, 13)`` float32"""
    faces_weight: Any
    """``(rows, columns, 13)`` float32: sums to a face's weight over its cells in known channels"""


class DetectionLosses(NamedTuple):
    """Weighted losses of a batch; ``total`` is their sum."""

    total: Tensor
    heat: Tensor
    box: Tensor
    points: Tensor


class _DenseBlock(nn.Module):
    """Residual block of two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _dense(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class _SeparableBlock(nn.Module):
    """Residual block: a depthwise 3x3 and two 1x1 convolutions, twice as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_depthwise(channels, 3),
            *_pointwise(channels, 2 * channels),
            nn.ReLU(inplace=True),
            *_pointwise(2 * channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class DetectorNetwork(nn.Module):
    """The detector network; the module docstring has a diagram."""

    def __init__(self, config: DetectorConfig = DENSE) -> None:
        super().__init__()
        self.config = config
        self.input_scale = INPUT_SCALE
        width = config.width
        self.stem = nn.Sequential(
            _dense(3, config.stem[0], stride=2), _dense(config.stem[0], config.stem[1], stride=2)
        )
        inputs = (config.stem[1], *config.channels[:2])
        block = _SeparableBlock if config.separable else _DenseBlock
        down = partial(_separable, kernel=5) if config.separable else _dense
        self.stages = nn.ModuleList(
            nn.Sequential(
                down(before, channels, stride=2), *(block(channels) for _ in range(count))
            )
            for before, channels, count in zip(inputs, config.channels, config.blocks, strict=True)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in config.channels)
        smooth = _separable if config.separable else _dense
        self.smooth = nn.ModuleList(smooth(width, width) for _ in range(2))
        last = nn.Conv2d(width, 1 + FACE_CHANNELS, 1)
        hidden = _separable(width, width) if config.separable else _DenseBlock(width)
        self.head = nn.Sequential(hidden, last)
        nn.init.normal_(last.weight, std=0.01)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            last.bias[0] = -float(np.log(1.0 / PRIOR - 1.0))

    def fold_input_scale(self) -> None:
        """Move the factor of the pixels into the weights of the first convolution."""
        first = next(each for each in self.stem.modules() if isinstance(each, nn.Conv2d))
        with torch.no_grad():
            first.weight *= self.input_scale
        self.input_scale = 1.0

    def forward(self, images: UInt8[Tensor, "b h w 3"]) -> DetectorOutput:
        """Predict faces in images; ``h`` and ``w`` are multiples of 32."""
        x = images.permute(0, 3, 1, 2).float()
        if not self.config.separable:
            x = x - OFFSET
        if self.input_scale != 1.0:
            x = x * self.input_scale
        x = self.stem(x)
        maps = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        fused = maps[2]
        for finer, smooth in zip((maps[1], maps[0]), self.smooth, strict=True):
            fused = smooth(finer + functional.interpolate(fused, scale_factor=2.0, mode="nearest"))
        cells = self.head(fused).permute(0, 2, 3, 1).float()
        return DetectorOutput(cells[..., 0], cells[..., 1:])


def _dense(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _separable(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a depthwise convolution and a 1x1 convolution."""
    return nn.Sequential(
        *_depthwise(inputs, kernel, stride), *_pointwise(inputs, outputs), nn.ReLU(inplace=True)
    )


def _depthwise(channels: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(
        channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False
    )
    return convolution, nn.BatchNorm2d(channels)


def _pointwise(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)


def detection_targets(
    size: tuple[int, int],
    boxes_xyxy: NDArray[np.float64],
    points: NDArray[np.float64],
    ignore_xyxy: NDArray[np.float64],
) -> DetectionTargets:
    """Convert the labels of one image to targets.

    Parameters
    ----------
    size
        ``(height, width)`` of the image, px.
    boxes_xyxy
        ``(k, 4)`` px, square. Faces below :data:`MIN_SIDE_PX` or with a centre outside the image
        are ignored.
    points
        ``(k, 5, 2)`` px; NaN for unknown points.
    ignore_xyxy
        ``(j, 4)`` px: regions excluded from the loss, except for labelled faces inside.
    """
    rows, columns = size[0] // STRIDE, size[1] // STRIDE
    heat = np.zeros((rows, columns), np.float32)
    weight = np.ones((rows, columns), np.float32)
    faces = np.zeros((rows, columns, FACE_CHANNELS), np.float32)
    faces_weight = np.zeros((rows, columns, FACE_CHANNELS), np.float32)
    x, y = ((np.arange(count) + 0.5) * STRIDE for count in (columns, rows))
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2.0
    sides = boxes_xyxy[:, 2] - boxes_xyxy[:, 0]
    inside = ((centres >= 0) & (centres < (size[1], size[0]))).all(1)
    trained = inside & (sides >= MIN_SIDE_PX)
    for box in (*ignore_xyxy, *boxes_xyxy[~trained]):
        across = (x >= box[0]) & (x < box[2])
        down = (y >= box[1]) & (y < box[3])
        weight[np.ix_(down, across)] = 0.0
    # From large to small, so that small faces overwrite large ones.
    for k in np.flatnonzero(trained)[np.argsort(-sides[trained])]:
        side, (centre_x, centre_y) = sides[k], centres[k]
        face_weight = np.clip(side / FULL_SIDE_PX, MIN_WEIGHT, 1.0)
        gaussian = np.outer(_gaussian_1d(y, centre_y, side), _gaussian_1d(x, centre_x, side))
        own = (gaussian >= REGRESSION_FROM) & (gaussian >= heat)
        heat = np.maximum(heat, gaussian)
        weight[gaussian >= 0.05] = 1.0
        weight[gaussian == 1.0] = face_weight
        cell = np.stack(np.meshgrid(x, y), -1)[own]
        values = np.concatenate(
            [
                (centres[k] - cell) / side,
                np.full((len(cell), 1), np.log(side / UNIT_SIDE_PX)),
                ((points[k] - cell[:, None]) / side).reshape(len(cell), -1),
            ],
            1,
        )
        share = face_weight * (gaussian[own] / max(gaussian[own].sum(), 1e-6))[:, None]
        faces[own] = np.nan_to_num(values)
        faces_weight[own] = np.where(np.isfinite(values), share, 0.0)
    return DetectionTargets(heat, weight, faces, faces_weight)


def _gaussian_1d(cells: NDArray[np.floating], centre: float, side: float) -> NDArray[np.float32]:
    """Return one axis of the Gaussian: 1 in the cell that contains the centre."""
    peak = (np.floor(centre / STRIDE) + 0.5) * STRIDE
    sigma = max(SIGMA_MIN_CELLS * STRIDE, SIGMA_SIDES * side)
    values: NDArray[np.float32] = np.exp(-0.5 * ((cells - peak) / sigma) ** 2).astype(np.float32)
    return values


def detection_losses(
    output: DetectorOutput,
    targets: DetectionTargets,
    box_weight: float = 4.0,
    points_weight: float = 4.0,
) -> DetectionLosses:
    """Return the losses of a batch, normalised by the number of faces.

    The heatmap loss is the focal loss of CenterNet (Zhou et al. 2019, Eq. 1), the others are L1.
    """
    faces = (targets.heat == 1.0).sum().clamp(min=1.0)
    log_face = functional.logsigmoid(output.logits)
    log_background = functional.logsigmoid(-output.logits)
    face, background = log_face.exp(), log_background.exp()
    hit = torch.where(targets.heat == 1.0, -log_face * background.square(), 0.0)
    miss = -log_background * face.square() * (1.0 - targets.heat) ** 4
    heat = ((hit + miss) * targets.weight).sum() / faces
    error = (output.faces - targets.faces).abs() * targets.faces_weight
    box = box_weight * error[..., :3].sum() / faces
    points = points_weight * error[..., 3:].sum() / (POINT_COUNT * faces)
    return DetectionLosses(heat + box + points, heat, box, points)
