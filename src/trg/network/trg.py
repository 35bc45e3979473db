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

from typing import NamedTuple

import numpy as np
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
from trg.network.config import TRGConfig
from trg.network.feature_extractor import Decoder, ResNet, cell_centres, soft_argmax
from trg.network.mobile_feature_extractor import MobileTrunk, NearestDecoder
from trg.network.refinement import FaceRegressor, FeatureSampler, output_layer

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MIN_DEPTH_M = 0.05
"""Depth clamp of the projection: an untrained network may put vertices behind the camera."""

LANDMARK_COUNT = 68


class Theta(NamedTuple):
    """Theta_t of section 3.4: the parameters that each step refines."""

    rotation_6d: Tensor
    """R_t, ``(b, 6)``: the first two columns of the rotation, not yet orthonormal."""
    correction: Tensor
    """c_t, ``(b, 3)``: s and the two offsets of Eq. 2; with "direct" translation, T in metres."""
    shape: Tensor
    """V_t, ``(b, n, 3)`` in metres in the head frame; with a shared basis, ``(b, rank)`` codes."""


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
    needed: Tensor
    landmarks68_of_needed: Tensor
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
        self.backbone: ResNet | MobileTrunk
        if config.backbone.trunk == "mobile":
            self.backbone = MobileTrunk(config.backbone.width)
        else:
            self.backbone = ResNet(config.backbone)
        self.decoder: Decoder | NearestDecoder
        if config.upsampling == "nearest":
            self.decoder = NearestDecoder(self.backbone.channels, config.decoder)
        else:
            self.decoder = Decoder(self.backbone.channels, config.decoder, config.skips)
        self.heatmaps = nn.Conv2d(config.decoder[-1], LANDMARK_COUNT, 1)
        self.basis: nn.Linear | None = None
        if config.geometry and config.regressor.shared_basis:
            assert config.regressor.vertex_rank is not None
            self.basis = output_layer(config.regressor.vertex_rank, 3 * topology.vertex_count)
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
        thetas, landmarks68_crop, peaks, heatmaps = self.refine(crop, bbox_info)
        steps = tuple(self.step_output(theta, bbox_info) for theta in thetas)
        return NetworkOutput(steps, landmarks68_crop, peaks, heatmaps)

    def refine(
        self, crop: Tensor, bbox_info: Tensor
    ) -> tuple[list[Theta], Float[Tensor, "b 68 2"], Float[Tensor, "b 68"], Tensor]:
        """Return Theta_1, Theta_2, ... and the heatmaps' landmarks, peaks and logits.

        Parameters are those of :meth:`forward`. Between the steps only those vertices are computed
        that the next one needs.
        """
        pixels = (crop.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        maps = self.decoder(self.backbone(pixels))
        heatmaps = self.heatmaps(maps[-1]) * self.config.heatmap_gain
        landmarks68_crop, peaks = soft_argmax(heatmaps)
        theta = self._theta_0(bbox_info.shape[0])
        thetas = []
        for step in range(self.config.iterations):
            # Each step learns from its own losses only. With gradients through the sampling points
            # or Theta_{t-1}, the steps adapt to each other and training becomes unstable.
            theta = Theta(*(tensor.detach() for tensor in theta))
            # Theta_0 is projected for a batch of one, whose nodes an exported graph needs not have.
            projected = theta if step else self._theta_0(1)
            previous = self.step_output(projected, bbox_info, self.needed)
            previous = StepOutput(*(tensor.detach() for tensor in previous))
            feature_map = maps[self._map_index(step)]
            points_crop = self._sampling_points(step, previous, feature_map.shape[-1])
            features = self.samplers[step](feature_map, points_crop)
            inputs = self._regressor_input(
                features, theta, previous, landmarks68_crop.detach(), bbox_info
            )
            theta = self._update(step, theta, inputs)
            thetas.append(theta)
        return thetas, landmarks68_crop, peaks, heatmaps

    def _theta_0(self, batch: int | torch.SymInt) -> Theta:
        return Theta(
            self.start_rotation_6d.expand(batch, -1),
            self.start_correction.expand(batch, -1),
            self.start_shape.expand(batch, *self.start_shape.shape),
        )

    def _sampling_points(
        self, step: int, previous: StepOutput, map_side: int
    ) -> Float[Tensor, "b p 2"] | None:
        """Return P_{t-1}: the grid at the first step, then the projected, subsampled vertices.

        None if the grid's points are the cells of the map.
        """
        if step > 0 and self.config.features == "aligned":
            return previous.vertices_crop[:, : len(self.topology.subsample)]
        if self.config.grid_side == map_side:
            return None
        return self.grid_crop.expand(previous.vertices_crop.shape[0], -1, -1)

    def _regressor_input(
        self,
        features: Float[Tensor, "b features"],
        theta: Theta,
        previous: StepOutput,
        landmarks68_crop: Float[Tensor, "b 68 2"],
        bbox_info: Float[Tensor, "b 3"],
    ) -> Float[Tensor, "b inputs"]:
        """Concatenate the features, Theta_{t-1} and I."""
        inputs = [features]
        shape = theta.shape
        if self.config.geometry:
            if self.basis is None:
                # Relative to V_0: the difference between faces is small beside the coordinates
                # themselves. The first layer's bias makes the two forms equivalent.
                change_m = (shape - self.start_vertices_m).index_select(1, self.subsample)
                shape = change_m.flatten(1) / self.config.regressor.vertex_unit_m
            inputs.append(shape)
        centre = bbox_info[:, :2] * self.config.box_centre_gain
        inputs += [theta.rotation_6d, theta.correction, centre, bbox_info[:, 2:]]
        if self.config.reprojection_residual:
            projected = previous.vertices_crop.index_select(1, self.landmarks68_of_needed)
            residual_crop = landmarks68_crop - projected
            # Rotated into the head's axes, in which a residual means the same for every pose.
            inputs.append((residual_crop @ previous.rotation[:, :2]).flatten(1))
        return torch.cat(inputs, 1)

    def _update(self, step: int, theta: Theta, inputs: Float[Tensor, "b inputs"]) -> Theta:
        """Return Theta_t = Theta_{t-1} + MLP_t(features, Theta_{t-1}, I)."""
        rotation_6d, correction, shape = self.regressors[step](inputs)
        return Theta(
            theta.rotation_6d + rotation_6d,
            theta.correction + correction,
            theta.shape if shape is None else theta.shape + shape,
        )

    def step_output(
        self, theta: Theta, bbox_info: Float[Tensor, "b 3"], chosen: Tensor | None = None
    ) -> StepOutput:
        """Compute rotation, translation (Eq. 2) and projected vertices (Eq. 3) from Theta_t.

        ``chosen`` are the indices of the vertices; None: all.
        """
        rotation = rotation_from_6d(theta.rotation_6d)
        translation_m = theta.correction
        if self.config.translation == "correction":
            translation_m = translation_from_correction(theta.correction, bbox_info)
        vertices_m = self._vertices_m(theta.shape, chosen)
        rays = rays_from_points(transform(vertices_m, rotation, translation_m), MIN_DEPTH_M)
        return StepOutput(
            theta.rotation_6d,
            rotation,
            theta.correction,
            translation_m,
            vertices_m,
            crop_from_rays(rays, bbox_info),
        )

    def _vertices_m(self, shape: Tensor, chosen: Tensor | None) -> Float[Tensor, "b n 3"]:
        """Return vertices of V_t: Theta's, or those of its codes."""
        if self.basis is None:
            return shape if chosen is None else shape.index_select(1, chosen)
        weight, bias, start_m = self.basis.weight, self.basis.bias, self.start_vertices_m
        if chosen is not None:
            weight, bias = (
                each.unflatten(0, (-1, 3)).index_select(0, chosen).flatten(0, 1)
                for each in (weight, bias)
            )
            start_m = start_m.index_select(0, chosen)
        change = functional.linear(shape, weight, bias)
        unit_m = self.config.regressor.vertex_unit_m
        return start_m + change.unflatten(1, (-1, 3)) * unit_m

    @property
    def start_shape(self) -> Tensor:
        """The shape of Theta_0: V_0, ``(n, 3)``; with a shared basis, codes of zero."""
        if self.basis is None:
            return self.start_vertices_m
        return self.start_vertices_m.new_zeros(self.basis.in_features)

    def _map_index(self, step: int) -> int:
        return step if self.config.multi_scale else 0

    def _regressor_inputs(self, step: int) -> int:
        aligned = step > 0 and self.config.features == "aligned"
        points = len(self.topology.subsample) if aligned else self.config.grid_side**2
        shape = 3 * len(self.topology.subsample) if self.config.geometry else 0
        if self.basis is not None:
            shape = self.basis.in_features
        residual = 3 * LANDMARK_COUNT if self.config.reprojection_residual else 0
        return points * self.config.sampler.features + shape + 6 + 3 + 3 + residual

    def _register_constants(self, start_rotation: Tensor, start_vertices_m: Tensor) -> None:
        """Register constants as buffers: they move with the module and are saved with it."""
        correction = (1.0, 0.0, 0.0)
        if self.config.translation == "direct":
            correction = (0.0, 0.0, self.config.start_depth_m)
        centres = cell_centres(self.config.grid_side)
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
        subsample, landmarks68 = self.topology.subsample, self.topology.landmarks68
        needed = np.concatenate([subsample, np.setdiff1d(landmarks68, subsample)])
        places = {vertex: place for place, vertex in enumerate(needed.tolist())}
        derived = {
            "needed": needed,
            "landmarks68_of_needed": [places[vertex] for vertex in landmarks68.tolist()],
        }
        for name, indices in derived.items():
            self.register_buffer(name, torch.tensor(indices, dtype=torch.int64), persistent=False)
