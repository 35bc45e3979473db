"""The TRG network: 6DoF head pose and dense landmarks from a face crop (section 3 of the paper).

Everything happens in normalised rays: the crop is what an ideal pinhole sees through a square box,
and three *box numbers* ``(tau_x / f, tau_y / f, b / f)`` say where that box lies. No pixel and no
focal length appears below.

::

    crop (B, 3, S, S)                            box numbers I (B, 3)
      |                                                   |
      |  ResNet trunk, S/4 to S/32 (its maps join those   |
      |    below that have their side: ``skips``)         |
      |  deconvolution 1 --> map 1, S/16 ----+            |
      |  deconvolution 2 --> map 2, S/8  ----|---+        |
      |  deconvolution 3 --> map 3, S/4  ----|---|---+    |
      |                                      |   |   |    |
      |  1x1 convolution, soft-argmax        |   |   |    |
      v                                      |   |   |    |
    L (B, 68, 2), peaks (B, 68)              |   |   |    |
                                             v   v   v    |
    P_0: 18x18 grid -----------------> step  1,  2,  3 <--+
    Theta_0: V_0 template,                   |   ^   ^
             R_0 identity, c_0 (1, 0, 0)     +---+---+   Theta_t = (R_t, c_t, V_t),
                                                         P_t = 305 projected vertices

    step t:   map t, P_{t-1} --bilinear--> (B, N_P, C) --point MLP--> (B, N_P, 5) --flat--+
              Theta_{t-1}: 305 vertices, R as 6D, c -------------------------------------+|
              L - its 68 projected vertices, in head axes (``reprojection_residual``) ---+|
              I -------------------------------------------------------------------------+|
                                                                                          v
              Theta_t = Theta_{t-1} + MLP_t(all of it)                    (residuals, section 3.4)
              T_t = Eq. 2 (c_t, I)
              V_t --R_t, T_t--> camera --/z--> rays --I--> crop coordinates --305--> P_t  (Eq. 3)
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import (
    crop_from_rays,
    rays_from_points,
    transform,
    translation_from_correction,
)
from trg.geometry.rotations import rotation_from_6d, rotation_to_6d
from trg.network.config import GRID_SIDE, RegressorConfig, SamplerConfig, TRGConfig
from trg.network.feature_extractor import Decoder, ResNet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MIN_DEPTH_M = 0.05
"""Nearest depth that a projected vertex may have; an untrained guess may lie behind the camera."""

HEAD_GAIN = 0.01
"""Xavier gain of the output layers: training starts from the template, facing the camera."""

LANDMARK_COUNT = 68


class State(NamedTuple):
    """Theta_t: what one step hands to the next."""

    rotation_6d: Tensor
    """``(b, 6)``: the first two columns of R, not yet orthonormal."""
    correction: Tensor
    """``(b, 3)``: s and the two offsets of Eq. 2; with "direct" translation, T in metres."""
    vertices_m: Tensor
    """``(b, n, 3)`` in head space."""


class StageOutput(NamedTuple):
    """What one step estimates. ``b`` faces, ``n`` vertices."""

    rotation_6d: Tensor
    """``(b, 6)``"""
    rotation: Tensor
    """``(b, 3, 3)``, ``cam_from_head``"""
    correction: Tensor
    """``(b, 3)``, as in :class:`State`"""
    translation_m: Tensor
    """``(b, 3)``, the head's origin in the camera frame"""
    vertices_m: Tensor
    """``(b, n, 3)`` in head space"""
    vertices_crop: Tensor
    """``(b, n, 2)`` in crop coordinates: -1 to 1 over the box, outside where the box cuts off"""


class NetworkOutput(NamedTuple):
    """All that a forward pass estimates."""

    stages: tuple[StageOutput, ...]
    """One per iteration, the best last."""
    landmarks68_crop: Tensor
    """``(b, 68, 2)``: L, from the heatmaps, in crop coordinates"""
    peaks: Tensor
    """``(b, 68)``: the largest share of each heatmap in one cell, 0 to 1"""
    heatmaps: Tensor
    """``(b, 68, h, w)``: whose softmax over the cells L is the mean of"""


class PointSampler(nn.Module):
    """Eq. 1: reads a map at points, and reduces each reading to a few numbers."""

    def __init__(self, channels: int, config: SamplerConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for hidden in config.hidden:
            layers += [nn.Linear(channels, hidden), nn.LeakyReLU()]
            channels = hidden
        self.mlp = nn.Sequential(*layers, nn.Linear(channels, config.features))

    def forward(
        self, feature_map: Float[Tensor, "b c h w"], points_crop: Float[Tensor, "b p 2"]
    ) -> Float[Tensor, "b features"]:
        """Sample a map at points in crop coordinates; the result is ``(b, p * features)``."""
        sampled = functional.grid_sample(feature_map, points_crop[:, None], align_corners=False)
        return cast(Tensor, self.mlp(sampled[:, :, 0].transpose(1, 2)).flatten(1))


class FaceRegressor(nn.Module):
    """One step's MLP: features, the last state and box numbers to the state's residual."""

    def __init__(
        self, inputs: int, vertex_count: int, config: RegressorConfig, geometry: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for hidden in config.hidden:
            layers.append(nn.Linear(inputs, hidden))
            layers += [nn.LeakyReLU()] if config.nonlinear else []
            layers += [nn.Dropout(config.dropout)] if config.dropout else []
            inputs = hidden
        self.trunk = nn.Sequential(*layers)
        self.pose_head = _small_linear(inputs, 9)
        self.vertex_head: nn.Module | None = None
        self.vertex_unit_m = config.vertex_unit_m
        if geometry and config.vertex_rank is not None:
            self.vertex_head = nn.Sequential(
                nn.Linear(inputs, config.vertex_rank, bias=False),
                _small_linear(config.vertex_rank, 3 * vertex_count),
            )
        elif geometry:
            self.vertex_head = _small_linear(inputs, 3 * vertex_count)

    def forward(
        self, inputs: Float[Tensor, "b inputs"]
    ) -> tuple[Float[Tensor, "b 6"], Float[Tensor, "b 3"], Float[Tensor, "b n 3"] | None]:
        """Return the residuals of R, as 6D, of c, and of V in metres."""
        hidden = self.trunk(inputs)
        pose = self.pose_head(hidden)
        vertices_m = None
        if self.vertex_head is not None:
            vertices_m = self.vertex_head(hidden).unflatten(1, (-1, 3)) * self.vertex_unit_m
        return pose[:, :6], pose[:, 6:], vertices_m


class TRGNetwork(nn.Module):
    """The whole network.

    Parameters
    ----------
    config
        What to build.
    topology
        The landmark mesh; its template is V_0.
    start_rotation
        ``(3, 3)``: R_0. None: facing the camera.
    """

    start_vertices_m: Tensor
    start_rotation_6d: Tensor
    start_correction: Tensor
    subsample: Tensor
    landmarks68: Tensor
    grid_crop: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self, config: TRGConfig, topology: FaceTopology, start_rotation: Tensor | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.topology = topology
        self.backbone = ResNet(config.backbone)
        self.decoder = Decoder(self.backbone.channels, config.decoder, config.skips)
        self.heatmaps = nn.Conv2d(config.decoder[-1], LANDMARK_COUNT, 1)
        self.samplers = nn.ModuleList()
        self.regressors = nn.ModuleList()
        for step in range(config.iterations):
            self.samplers.append(PointSampler(config.decoder[self._map_of(step)], config.sampler))
            self.regressors.append(
                FaceRegressor(
                    self._regressor_inputs(step),
                    topology.vertex_count,
                    config.regressor,
                    config.geometry,
                )
            )
        self._register_constants(torch.eye(3) if start_rotation is None else start_rotation)

    def forward(self, crop: Tensor, bbox_info: Tensor) -> NetworkOutput:
        """Estimate from crops ``(b, 3, s, s)``, RGB 0 to 255, and box numbers ``(b, 3)``.

        Crops may be uint8 or floating point. Normalisation happens here.

        Raises
        ------
        ValueError
            A shape is not this network's, or there are not as many crops as box numbers.
        """
        size = self.config.crop_size
        if crop.shape[1:] != (3, size, size) or bbox_info.shape != (crop.shape[0], 3):
            raise ValueError(
                f"network: expected crops (b, 3, {size}, {size}) and box numbers (b, 3), "
                f"got {tuple(crop.shape)} and {tuple(bbox_info.shape)}"
            )
        pixels = (crop.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        maps = self.decoder(self.backbone(pixels))
        heatmaps = self.heatmaps(maps[-1]) * self.config.heatmap_gain
        landmarks68_crop, peaks = soft_argmax(heatmaps)
        stage = self._place(self._start(bbox_info), bbox_info)
        stages = []
        for step in range(self.config.iterations):
            # Each step learns from its own losses: gradients through where the last step looked,
            # or through what it said, make three networks in a row chase each other.
            last = StageOutput(*(tensor.detach() for tensor in stage))
            features = self.samplers[step](maps[self._map_of(step)], self._look_at(step, last))
            state = self._refine(step, features, last, landmarks68_crop.detach(), bbox_info)
            stage = self._place(state, bbox_info)
            stages.append(stage)
        return NetworkOutput(tuple(stages), landmarks68_crop, peaks, heatmaps)

    def _look_at(self, step: int, last: StageOutput) -> Float[Tensor, "b p 2"]:
        """Return where a step reads its map: a grid at first, then the projected vertices."""
        if step > 0 and self.config.features == "aligned":
            return last.vertices_crop[:, self.subsample]
        return self.grid_crop.expand(last.vertices_crop.shape[0], -1, -1)

    def _refine(
        self,
        step: int,
        features: Float[Tensor, "b features"],
        last: StageOutput,
        landmarks68_crop: Float[Tensor, "b 68 2"],
        bbox_info: Float[Tensor, "b 3"],
    ) -> State:
        """Theta_t = Theta_{t-1} + MLP_t(features, Theta_{t-1}, I)."""
        regressor = cast(FaceRegressor, self.regressors[step])
        inputs = [features]
        if self.config.geometry:
            # Relative to the template, so that what differs between faces is not a small ripple
            # on a large constant; the first layer's bias makes this the same function.
            change_m = (last.vertices_m - self.start_vertices_m)[:, self.subsample]
            inputs.append(change_m.flatten(1) / regressor.vertex_unit_m)
        centre = bbox_info[:, :2] * self.config.box_centre_gain
        inputs += [last.rotation_6d, last.correction, centre, bbox_info[:, 2:]]
        if self.config.reprojection_residual:
            residual_crop = landmarks68_crop - last.vertices_crop[:, self.landmarks68]
            inputs.append((residual_crop @ last.rotation[:, :2]).flatten(1))  # in the head's axes
        rotation_6d, correction, vertices_m = regressor(torch.cat(inputs, 1))
        return State(
            last.rotation_6d + rotation_6d,
            last.correction + correction,
            last.vertices_m if vertices_m is None else last.vertices_m + vertices_m,
        )

    def _place(self, state: State, bbox_info: Float[Tensor, "b 3"]) -> StageOutput:
        """Turn a state into rotation, translation (Eq. 2) and projected vertices (Eq. 3)."""
        rotation = rotation_from_6d(state.rotation_6d)
        translation_m = state.correction
        if self.config.translation == "correction":
            translation_m = translation_from_correction(state.correction, bbox_info)
        rays = rays_from_points(transform(state.vertices_m, rotation, translation_m), MIN_DEPTH_M)
        return StageOutput(
            state.rotation_6d,
            rotation,
            state.correction,
            translation_m,
            state.vertices_m,
            crop_from_rays(rays, bbox_info),
        )

    def _start(self, bbox_info: Float[Tensor, "b 3"]) -> State:
        """Return Theta_0 for as many faces as there are box numbers."""
        batch = bbox_info.shape[0]
        return State(
            self.start_rotation_6d.expand(batch, -1),
            self.start_correction.expand(batch, -1),
            self.start_vertices_m.expand(batch, -1, -1),
        )

    def _map_of(self, step: int) -> int:
        return step if self.config.multi_scale else 0

    def _regressor_inputs(self, step: int) -> int:
        aligned = step > 0 and self.config.features == "aligned"
        points = len(self.topology.subsample) if aligned else GRID_SIDE**2
        vertices = 3 * len(self.topology.subsample) if self.config.geometry else 0
        reprojection_residual = 3 * LANDMARK_COUNT if self.config.reprojection_residual else 0
        return points * self.config.sampler.features + vertices + 6 + 3 + 3 + reprojection_residual

    def _register_constants(self, start_rotation: Tensor) -> None:
        """Keep what is fixed as buffers, so that it moves with the module and is saved with it."""
        correction = (1.0, 0.0, 0.0)
        if self.config.translation == "direct":
            correction = (0.0, 0.0, self.config.start_depth_m)
        centres = cell_centres(GRID_SIDE)
        grid_y, grid_x = torch.meshgrid(centres, centres, indexing="ij")
        constants = {
            "start_vertices_m": torch.tensor(self.topology.template_m),
            "start_rotation_6d": rotation_to_6d(start_rotation.to(torch.float32)),
            "start_correction": torch.tensor(correction),
            "subsample": torch.tensor(self.topology.subsample, dtype=torch.int64),
            "landmarks68": torch.tensor(self.topology.landmarks68, dtype=torch.int64),
            "grid_crop": torch.stack([grid_x, grid_y], -1).reshape(-1, 2),
            "pixel_mean": 255.0 * torch.tensor(IMAGENET_MEAN)[:, None, None],
            "pixel_std": 255.0 * torch.tensor(IMAGENET_STD)[:, None, None],
        }
        for name, tensor in constants.items():
            self.register_buffer(name, tensor)


def cell_centres(count: int) -> Float[Tensor, " count"]:
    """Return the centres of ``count`` equal cells of [-1, 1].

    The same convention as ``grid_sample(align_corners=False)``: -1 and 1 are outer borders.
    """
    return (torch.arange(count, dtype=torch.float32) * 2.0 + 1.0) / count - 1.0


def soft_argmax(
    heatmaps: Float[Tensor, "b k h w"],
) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k"]]:
    """Return the mean position under each heatmap, and its peak.

    Positions are crop coordinates, the mean of the cell centres under the heatmap's softmax (Sun
    et al. 2018, reference 42 of the paper); a peak is the largest softmax value.
    """
    height, width = heatmaps.shape[-2:]
    share = heatmaps.flatten(2).softmax(-1)
    peaks = share.amax(-1)
    grid = share.unflatten(2, (height, width))
    x = (grid.sum(2) * cell_centres(width).to(heatmaps)).sum(-1)
    y = (grid.sum(3) * cell_centres(height).to(heatmaps)).sum(-1)
    return torch.stack([x, y], -1), peaks


def _small_linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, gain=HEAD_GAIN)
    nn.init.zeros_(layer.bias)
    return layer
