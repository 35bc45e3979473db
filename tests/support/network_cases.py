"""Small networks and labelled batches that the network's tests share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import (
    crop_from_rays,
    rays_from_points,
    transform,
    translation_from_correction,
)
from trg.geometry.rotations import rotation_from_euler
from trg.network.config import BackboneConfig, RegressorConfig, SamplerConfig, TRGConfig
from trg.network.losses import Targets
from trg.network.trg import TRGNetwork


def tiny_config() -> TRGConfig:
    """Return a network of every part's smallest useful size: 32 px crops, 2/4/8 px maps."""
    return TRGConfig(
        crop_size=32,
        backbone=BackboneConfig(width=4, blocks=(1, 1, 1, 1)),
        decoder=(8, 8, 8),
        sampler=SamplerConfig(hidden=(8,), features=2),
        regressor=RegressorConfig(hidden=(16, 16), dropout=0.0, vertex_rank=8, vertex_unit_m=0.1),
    )


def tiny_mobile_config() -> TRGConfig:
    """Return a tiny network of the parts of the fast one."""
    return TRGConfig(
        crop_size=32,
        backbone=BackboneConfig(width=4, trunk="mobile"),
        decoder=(16, 8, 8),
        upsampling="nearest",
        skips=True,
        reprojection_residual=True,
        grid_side=2,
        sampler=SamplerConfig(hidden=(8, 8), features=2, reduces_map=True),
        regressor=RegressorConfig(
            hidden=(16, 16), dropout=0.0, vertex_rank=8, shared_basis=True, vertex_unit_m=0.1
        ),
    )


def seeded_network(config: TRGConfig, topology: FaceTopology, seed: int = 0) -> TRGNetwork:
    """Build a network with fixed weights, leaving torch's own generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TRGNetwork(config, topology)


def wake_heads(network: TRGNetwork, gain: float = 20.0) -> TRGNetwork:
    """Make an untrained network's output depend visibly on its input, and return the network.

    Its batch norms take the statistics of some crops; its output layers are multiplied by ``gain``.
    """
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    crops, targets = labelled_batch(network.topology, network.config.crop_size, 16)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "head" in name and name.endswith("weight"):
                parameter *= gain
        for norm in norms:
            norm.momentum = 1.0
        network.train()(crops, targets.bbox_info)
        for norm in norms:
            norm.momentum = 0.1
    return network


def labelled_batch(
    topology: FaceTopology, crop_size: int, count: int, seed: int = 0
) -> tuple[Tensor, Targets]:
    """Return blurred noise crops ``(b, 3, s, s)`` and consistent labels of random heads."""
    rng = np.random.default_rng(seed)
    rotation = rotation_from_euler(rng.uniform(-40, 40, (count, 3)))
    bbox_info = np.concatenate(
        [rng.uniform(-0.3, 0.3, (count, 2)), rng.uniform(0.15, 0.5, (count, 1))], 1
    )
    correction = np.concatenate(
        [rng.uniform(0.8, 1.2, (count, 1)), rng.uniform(-0.1, 0.1, (count, 2))], 1
    )
    translation_m = translation_from_correction(correction, bbox_info)
    waves = topology.template_m[None, :, [1, 2, 0]] * rng.uniform(10, 40, (count, 1, 3))
    vertices_m = topology.template_m * rng.uniform(0.85, 1.15, (count, 1, 3))
    vertices_m = vertices_m + 0.004 * np.sin(waves + rng.uniform(0, 6, (count, 1, 3)))
    rays = rays_from_points(transform(vertices_m, rotation, translation_m))
    landmarks68_crop = crop_from_rays(rays, bbox_info)[:, topology.landmarks68]
    coarse = torch.from_numpy(rng.integers(0, 256, (count, 3, 8, 8)).astype(np.float32))
    crops = torch.nn.functional.interpolate(coarse, size=(crop_size, crop_size), mode="bilinear")
    everyone = torch.ones(count, dtype=torch.bool)
    targets = Targets(
        bbox_info=torch.tensor(bbox_info, dtype=torch.float32),
        landmarks68_crop=torch.tensor(landmarks68_crop, dtype=torch.float32),
        landmarks68_weight=torch.ones(count, 68),
        rotation=torch.tensor(rotation, dtype=torch.float32),
        translation_m=torch.tensor(translation_m, dtype=torch.float32),
        has_pose=everyone,
        vertices_m=torch.tensor(vertices_m, dtype=torch.float32),
        has_vertices=everyone,
    )
    return crops, targets
