"""The face detector's network, its targets and its losses.

One shot, no anchors: every cell of an 8-pixel grid says whether a face's centre lies in it, and
where the face's box and five points are if so::

    picture (h, w, 3) uint8, h and w multiples of 32
      | stem                 3 -> 16 -> 32          1/4
      | stride 8    48 channels, residual blocks    1/8  ------------- + -- smooth -- head --> 14
      | stride 16   64 channels                     1/16 ---- + -- smooth --^ twice as large
      | stride 32   72 channels                     1/32 -----^ twice as large

The 14 numbers of a cell are one logit and thirteen numbers that are counted from the cell's
centre: two for the box's centre and ten for the points, in sides of the box, and the logarithm of
the side over :data:`UNIT_SIDE_PX`. So faces of all sizes weigh the same in the loss. The box is
the paper's square, 1.5 times the larger side of the 68 landmarks' bounding rectangle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trg.inference.detections import POINT_COUNT
from trg.inference.detector import FACE_CHANNELS, STRIDE, UNIT_SIDE_PX

PRIOR = 0.01
"""Share of cells that hold a face, as the untrained network believes; keeps the first steps calm
(Lin et al. 2017)."""

SIGMA_SIDES = 0.06
"""Width of a face's bump in the heatmap, in sides of its box: shifted by that much, the box still
overlaps the true one by 0.85."""

SIGMA_MIN_CELLS = 0.6
RESPONSIBLE = 0.3
"""Cells where the bump is at least this high learn the face's box and points."""

MIN_SIDE_PX = 12.0
"""Smaller boxes are neither faces nor background to a detector that looks at every 8th pixel."""

FULL_SIDE_PX = 48.0
LEAST_SHARE = 0.25
"""Boxes below :data:`FULL_SIDE_PX` count in proportion to their side, but at least this much: at
16 px little tells a face from a blob, and whoever must be sure of those sees faces everywhere."""


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """The network's shape."""

    stem: tuple[int, int] = (16, 32)
    """Channels at strides 2 and 4."""
    channels: tuple[int, int, int] = (48, 64, 72)
    """At strides 8, 16 and 32."""
    blocks: tuple[int, int, int] = (2, 2, 1)
    """Residual blocks there."""
    width: int = 40
    """Channels of the fused maps and of the head."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return asdict(self)


class DetectorOutput(NamedTuple):
    """What the network says of each cell; ``rows`` and ``columns`` are the picture's over 8."""

    logits: Tensor
    """``(b, rows, columns)``"""
    faces: Tensor
    """``(b, rows, columns, 13)``: centre x, y, log side, five points x, y"""


class DetectionTargets(NamedTuple):
    """What the network should say, as arrays of one picture or as a batch of tensors."""

    heat: Any
    """``(rows, columns)`` float32: 1 in a face's central cell, falling around it"""
    weight: Any
    """``(rows, columns)`` float32: 0 where nobody knows whether there is a face, a face's
    importance in its central cell, 1 elsewhere"""
    faces: Any
    """``(rows, columns, 13)`` float32"""
    faces_weight: Any
    """``(rows, columns, 13)`` float32; each face's cells sum to its importance in each number that
    it has: 1, or less for a small face"""


class DetectionLosses(NamedTuple):
    """Losses of a batch, already weighted; ``total`` is their sum."""

    total: Tensor
    heat: Tensor
    box: Tensor
    points: Tensor


class _Block(nn.Module):
    """Two 3x3 convolutions and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class DetectorNetwork(nn.Module):
    """The network; see the module's drawing."""

    def __init__(self, config: DetectorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DetectorConfig()
        self.stem = nn.Sequential(
            _convolution(3, config.stem[0], stride=2),
            _convolution(config.stem[0], config.stem[1], stride=2),
        )
        inputs = (config.stem[1], *config.channels[:2])
        self.stages = nn.ModuleList(
            nn.Sequential(
                _convolution(before, channels, stride=2),
                *(_Block(channels) for _ in range(blocks)),
            )
            for before, channels, blocks in zip(inputs, config.channels, config.blocks, strict=True)
        )
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, config.width, 1) for channels in config.channels
        )
        self.smooth = nn.ModuleList(_convolution(config.width, config.width) for _ in range(2))
        last = nn.Conv2d(config.width, 1 + FACE_CHANNELS, 1)
        self.head = nn.Sequential(_Block(config.width), last)
        nn.init.normal_(last.weight, std=0.01)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            last.bias[0] = -float(np.log(1.0 / PRIOR - 1.0))

    def forward(self, images: UInt8[Tensor, "b h w 3"]) -> DetectorOutput:
        """Look for faces in pictures; ``h`` and ``w`` are multiples of 32."""
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
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


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def detection_targets(
    size: tuple[int, int],
    boxes_xyxy: NDArray[np.float64],
    points: NDArray[np.float64],
    ignore_xyxy: NDArray[np.float64],
) -> DetectionTargets:
    """Turn one picture's labels into what each cell should say.

    Parameters
    ----------
    size
        ``(height, width)`` of the picture, px.
    boxes_xyxy
        ``(k, 4)`` px, square. Faces below :data:`MIN_SIDE_PX`, and faces whose centre lies outside
        the picture, are ignored.
    points
        ``(k, 5, 2)`` px; NaN where a point is unknown.
    ignore_xyxy
        ``(j, 4)`` px: regions that teach nothing, but for the faces that are labelled there.
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
    learnt = inside & (sides >= MIN_SIDE_PX)
    for box in (*ignore_xyxy, *boxes_xyxy[~learnt]):
        across = (x >= box[0]) & (x < box[2])
        down = (y >= box[1]) & (y < box[3])
        weight[np.ix_(down, across)] = 0.0
    for k in np.flatnonzero(learnt)[np.argsort(-sides[learnt])]:  # small ones on top
        side = sides[k]
        importance = np.clip(side / FULL_SIDE_PX, LEAST_SHARE, 1.0)
        bump = np.outer(_bump(y, centres[k, 1], side), _bump(x, centres[k, 0], side))
        own = (bump >= RESPONSIBLE) & (bump >= heat)
        heat = np.maximum(heat, bump)
        weight[bump >= 0.05] = 1.0
        weight[bump == 1.0] = importance
        cell = np.stack(np.meshgrid(x, y), -1)[own]
        values = np.concatenate(
            [
                (centres[k] - cell) / side,
                np.full((len(cell), 1), np.log(side / UNIT_SIDE_PX)),
                ((points[k] - cell[:, None]) / side).reshape(len(cell), -1),
            ],
            1,
        )
        share = importance * (bump[own] / max(bump[own].sum(), 1e-6))[:, None]
        faces[own] = np.nan_to_num(values)
        faces_weight[own] = np.where(np.isfinite(values), share, 0.0)
    return DetectionTargets(heat, weight, faces, faces_weight)


def _bump(cells: NDArray[np.floating], centre: float, side: float) -> NDArray[np.float32]:
    """Return one axis of a face's bump: 1 in the cell that holds the centre."""
    peak = (np.floor(centre / STRIDE) + 0.5) * STRIDE
    sigma = max(SIGMA_MIN_CELLS * STRIDE, SIGMA_SIDES * side)
    bump: NDArray[np.float32] = np.exp(-0.5 * ((cells - peak) / sigma) ** 2).astype(np.float32)
    return bump


def detection_losses(
    output: DetectorOutput,
    targets: DetectionTargets,
    box_weight: float = 4.0,
    points_weight: float = 2.0,
) -> DetectionLosses:
    """Compare a batch with its targets; all losses are per face.

    The heatmap's is the focal loss of CenterNet (Zhou et al. 2019, Eq. 1), the others are L1.
    """
    faces = (targets.heat == 1.0).sum().clamp(min=1.0)
    log_yes = functional.logsigmoid(output.logits)
    log_no = functional.logsigmoid(-output.logits)
    yes, no = log_yes.exp(), log_no.exp()
    hit = torch.where(targets.heat == 1.0, -log_yes * no.square(), 0.0)
    miss = -log_no * yes.square() * (1.0 - targets.heat) ** 4
    heat = ((hit + miss) * targets.weight).sum() / faces
    error = (output.faces - targets.faces).abs() * targets.faces_weight
    box = box_weight * error[..., :3].sum() / faces
    points = points_weight * error[..., 3:].sum() / (POINT_COUNT * faces)
    return DetectionLosses(heat + box + points, heat, box, points)
