"""The TRG network: 6DoF head pose and dense landmarks from a face crop (section 3 of the paper).

Section 3.2, the feature extractor, is in :mod:`trg.network.feature_extractor`. Here are section
3.3, :class:`FeatureSampler`; section 3.4, :class:`FaceRegressor` with Eq. 2 and 3; and the loop
over three steps, :class:`TRGNetwork`. Section 3.5, the losses, is in :mod:`trg.network.losses`.

The network works in normalised image coordinates ("rays"): the crop is an ideal pinhole image of a
square box, and ``bbox_info`` ``(tau_x / f, tau_y / f, b / f)`` is the box's centre and side. Pixels
and focal lengths do not appear below.

::

    crop (B, 3, S, S)                            bbox_info I (B, 3)
      |                                                   |
      |  ResNet trunk, S/4 to S/32 (with ``skips``, its   |
      |    maps are added to phi of the same resolution)  |
      |  deconvolution 1 --> phi_1, S/16 ----+            |
      |  deconvolution 2 --> phi_2, S/8  ----|---+        |
      |  deconvolution 3 --> phi_3, S/4  ----|---|---+    |
      |                                      |   |   |    |
      |  1x1 convolution, soft-argmax        |   |   |    |
      v                                      |   |   |    |
    L (B, 68, 2), peaks (B, 68)              |   |   |    |
                                             v   v   v    |
    P_0: 18x18 grid -----------------> step  1,  2,  3 <--+
    Theta_0: R_0, V_0 given,                 |   ^   ^
             c_0 (1, 0, 0)                   +---+---+   Theta_t = (R_t, c_t, V_t),
                                                         P_t = 305 projected vertices

    step t:   phi_t, P_{t-1} --bilinear--> (B, N_P, C) --point MLP--> (B, N_P, 5) --flatten--+
              Theta_{t-1}: 305 vertices, R as 6D, c ----------------------------------------+|
              L - 68 projected vertices, in head axes (``reprojection_residual``) ----------+|
              I ----------------------------------------------------------------------------+|
                                                                                             v
              Theta_t = Theta_{t-1} + MLP_t(concatenation)
              T_t = Eq. 2 (c_t, I)
              V_t --R_t, T_t--> camera --/z--> rays --I--> crop coordinates --305--> P_t   (Eq. 3)
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
from trg.network.feature_extractor import Decoder, ResNet, cell_centres, soft_argmax

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MIN_DEPTH_M = 0.05
"""Depth clamp of the projection: an untrained network may put vertices behind the camera."""

HEAD_GAIN = 0.01
"""Xavier gain of the output layers: training starts at Theta_0."""

LANDMARK_COUNT = 68


class Theta(NamedTuple):
    """Theta_t of section 3.4: the parameters that each step refines."""

    rotation_6d: Tensor
    """R_t, ``(b, 6)``: the first two columns of the rotation, not yet orthonormal."""
    correction: Tensor
    """c_t, ``(b, 3)``: s and the two offsets of Eq. 2; with "direct" translation, T in metres."""
    vertices_m: Tensor
    """V_t, ``(b, n, 3)`` in the head frame."""


class StepOutput(NamedTuple):
    """Estimates of one step, for ``b`` faces and ``n`` vertices."""

    rotation_6d: Tensor
    """``(b, 6)``, as in :class:`Theta`"""
    rotation: Tensor
    """``(b, 3, 3)``, ``cam_from_head``"""
    correction: Tensor
    """``(b, 3)``, as in :class:`Theta`"""
    translation_m: Tensor
    """``(b, 3)``, the head's origin in the camera frame"""
    vertices_m: Tensor
    """``(b, n, 3)`` in the head frame"""
    vertices_crop: Tensor
    """``(b, n, 2)`` in crop coordinates: -1 to 1 over the box, beyond that outside"""


class NetworkOutput(NamedTuple):
    """Estimates of a forward pass."""

    steps: tuple[StepOutput, ...]
    """One per step; the last is the result."""
    landmarks68_crop: Tensor
    """L, ``(b, 68, 2)``: the heatmaps' landmarks in crop coordinates"""
    peaks: Tensor
    """``(b, 68)``: the largest softmax value of each heatmap, 0 to 1"""
    heatmaps: Tensor
    """``(b, 68, h, w)``: logits; L is the soft-argmax"""


class FeatureSampler(nn.Module):
    """Section 3.3: landmark-aligned features of one feature map (Eq. 1)."""

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
        """Sample a feature map at points in crop coordinates; returns ``(b, p * features)``."""
        sampled = functional.grid_sample(feature_map, points_crop[:, None], align_corners=False)
        return cast(Tensor, self.mlp(sampled[:, :, 0].transpose(1, 2)).flatten(1))


class FaceRegressor(nn.Module):
    """Section 3.4: the MLP of one step, which estimates the residual of Theta."""

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
        self.pose_head = _output_layer(inputs, 9)
        self.vertex_head: nn.Module | None = None
        self.vertex_unit_m = config.vertex_unit_m
        if geometry and config.vertex_rank is not None:
            self.vertex_head = nn.Sequential(
                nn.Linear(inputs, config.vertex_rank, bias=False),
                _output_layer(config.vertex_rank, 3 * vertex_count),
            )
        elif geometry:
            self.vertex_head = _output_layer(inputs, 3 * vertex_count)

    def forward(
        self, inputs: Float[Tensor, "b inputs"]
    ) -> tuple[Float[Tensor, "b 6"], Float[Tensor, "b 3"], Float[Tensor, "b n 3"] | None]:
        """Return the residuals of R (6D), c, and V in metres (None without geometry)."""
        hidden = self.trunk(inputs)
        pose = self.pose_head(hidden)
        vertices_m = None
        if self.vertex_head is not None:
            vertices_m = self.vertex_head(hidden).unflatten(1, (-1, 3)) * self.vertex_unit_m
        return pose[:, :6], pose[:, 6:], vertices_m


class TRGNetwork(nn.Module):
    """The TRG network of section 3.

    Parameters
    ----------
    config
        Layers, sizes and variants.
    topology
        The landmark mesh.
    start_rotation
        R_0, ``(3, 3)``. None: identity, facing the camera.
    start_vertices_m
        V_0, ``(n, 3)`` in the head frame. None: the template of the mesh, which a network without
        geometry always has.
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
        self,
        config: TRGConfig,
        topology: FaceTopology,
        start_rotation: Tensor | None = None,
        start_vertices_m: Tensor | None = None,
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
            channels = config.decoder[self._map_index(step)]
            self.samplers.append(FeatureSampler(channels, config.sampler))
            self.regressors.append(
                FaceRegressor(
                    self._regressor_inputs(step),
                    topology.vertex_count,
                    config.regressor,
                    config.geometry,
                )
            )
        if start_vertices_m is None or not config.geometry:
            start_vertices_m = torch.tensor(topology.template_m)
        if start_rotation is None:
            start_rotation = torch.eye(3)
        self._register_constants(start_rotation, start_vertices_m)

    def forward(self, crop: Tensor, bbox_info: Tensor) -> NetworkOutput:
        """Estimate faces.

        Parameters
        ----------
        crop
            ``(b, 3, s, s)`` RGB, 0 to 255, uint8 or floating point; normalised here.
        bbox_info
            ``(b, 3)``: box centre and side in normalised image coordinates.

        Raises
        ------
        ValueError
            A shape is not the network's, or the batch sizes differ.
        """
        size = self.config.crop_size
        if crop.shape[1:] != (3, size, size) or bbox_info.shape != (crop.shape[0], 3):
            raise ValueError(
                f"network: expected crops (b, 3, {size}, {size}) and bbox_info (b, 3), "
                f"got {tuple(crop.shape)} and {tuple(bbox_info.shape)}"
            )
        pixels = (crop.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        maps = self.decoder(self.backbone(pixels))
        heatmaps = self.heatmaps(maps[-1]) * self.config.heatmap_gain
        landmarks68_crop, peaks = soft_argmax(heatmaps)
        output = self._step_output(self._theta_0(bbox_info), bbox_info)
        steps = []
        for step in range(self.config.iterations):
            # Each step learns from its own losses only. With gradients through the sampling points
            # or Theta_{t-1}, the steps adapt to each other and training becomes unstable.
            previous = StepOutput(*(tensor.detach() for tensor in output))
            points_crop = self._sampling_points(step, previous)
            features = self.samplers[step](maps[self._map_index(step)], points_crop)
            theta = self._regress(step, features, previous, landmarks68_crop.detach(), bbox_info)
            output = self._step_output(theta, bbox_info)
            steps.append(output)
        return NetworkOutput(tuple(steps), landmarks68_crop, peaks, heatmaps)

    def _theta_0(self, bbox_info: Float[Tensor, "b 3"]) -> Theta:
        batch = bbox_info.shape[0]
        return Theta(
            self.start_rotation_6d.expand(batch, -1),
            self.start_correction.expand(batch, -1),
            self.start_vertices_m.expand(batch, -1, -1),
        )

    def _sampling_points(self, step: int, previous: StepOutput) -> Float[Tensor, "b p 2"]:
        """Return P_{t-1}: the grid at the first step, then the projected, subsampled vertices."""
        if step > 0 and self.config.features == "aligned":
            return previous.vertices_crop[:, self.subsample]
        return self.grid_crop.expand(previous.vertices_crop.shape[0], -1, -1)

    def _regress(
        self,
        step: int,
        features: Float[Tensor, "b features"],
        previous: StepOutput,
        landmarks68_crop: Float[Tensor, "b 68 2"],
        bbox_info: Float[Tensor, "b 3"],
    ) -> Theta:
        """Return Theta_t = Theta_{t-1} + MLP_t(features, Theta_{t-1}, I)."""
        regressor = cast(FaceRegressor, self.regressors[step])
        inputs = [features]
        if self.config.geometry:
            # Relative to V_0: the difference between faces is small beside the coordinates
            # themselves. The first layer's bias makes the two forms equivalent.
            change_m = (previous.vertices_m - self.start_vertices_m)[:, self.subsample]
            inputs.append(change_m.flatten(1) / regressor.vertex_unit_m)
        centre = bbox_info[:, :2] * self.config.box_centre_gain
        inputs += [previous.rotation_6d, previous.correction, centre, bbox_info[:, 2:]]
        if self.config.reprojection_residual:
            residual_crop = landmarks68_crop - previous.vertices_crop[:, self.landmarks68]
            # Rotated into the head's axes, in which a residual means the same for every pose.
            inputs.append((residual_crop @ previous.rotation[:, :2]).flatten(1))
        rotation_6d, correction, vertices_m = regressor(torch.cat(inputs, 1))
        return Theta(
            previous.rotation_6d + rotation_6d,
            previous.correction + correction,
            previous.vertices_m if vertices_m is None else previous.vertices_m + vertices_m,
        )

    def _step_output(self, theta: Theta, bbox_info: Float[Tensor, "b 3"]) -> StepOutput:
        """Compute rotation, translation (Eq. 2) and projected vertices (Eq. 3) from Theta_t."""
        rotation = rotation_from_6d(theta.rotation_6d)
        translation_m = theta.correction
        if self.config.translation == "correction":
            translation_m = translation_from_correction(theta.correction, bbox_info)
        rays = rays_from_points(transform(theta.vertices_m, rotation, translation_m), MIN_DEPTH_M)
        return StepOutput(
            theta.rotation_6d,
            rotation,
            theta.correction,
            translation_m,
            theta.vertices_m,
            crop_from_rays(rays, bbox_info),
        )

    def _map_index(self, step: int) -> int:
        return step if self.config.multi_scale else 0

    def _regressor_inputs(self, step: int) -> int:
        aligned = step > 0 and self.config.features == "aligned"
        points = len(self.topology.subsample) if aligned else GRID_SIDE**2
        vertices = 3 * len(self.topology.subsample) if self.config.geometry else 0
        residual = 3 * LANDMARK_COUNT if self.config.reprojection_residual else 0
        return points * self.config.sampler.features + vertices + 6 + 3 + 3 + residual

    def _register_constants(self, start_rotation: Tensor, start_vertices_m: Tensor) -> None:
        """Register constants as buffers: they move with the module and are saved with it."""
        correction = (1.0, 0.0, 0.0)
        if self.config.translation == "direct":
            correction = (0.0, 0.0, self.config.start_depth_m)
        centres = cell_centres(GRID_SIDE)
        grid_y, grid_x = torch.meshgrid(centres, centres, indexing="ij")
        constants = {
            "start_vertices_m": start_vertices_m.to(torch.float32),
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


def _output_layer(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer with small weights and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, gain=HEAD_GAIN)
    nn.init.zeros_(layer.bias)
    return layer
