"""Sections 3.3 and 3.4, the parts of one refinement step: feature sampler and face regressor."""

from __future__ import annotations

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from trg.network.config import RegressorConfig, SamplerConfig

HEAD_GAIN = 0.01
"""Xavier gain of the output layers: training starts at Theta_0."""


def output_layer(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer with small weights and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, gain=HEAD_GAIN)
    nn.init.zeros_(layer.bias)
    return layer


class FeatureSampler(nn.Module):
    """Section 3.3: landmark-aligned features of one feature map (Eq. 1)."""

    def __init__(self, channels: int, config: SamplerConfig) -> None:
        super().__init__()
        self.reduce_map: nn.Module = nn.Identity()
        layers: list[nn.Module] = []
        if config.reduces_map:
            self.reduce_map = nn.Conv2d(channels, config.hidden[0], 1)
            layers.append(nn.LeakyReLU())
            channels = config.hidden[0]
        for hidden in config.hidden[int(config.reduces_map) :]:
            layers += [nn.Linear(channels, hidden), nn.LeakyReLU()]
            channels = hidden
        self.mlp = nn.Sequential(*layers, nn.Linear(channels, config.features))

    def forward(
        self, feature_map: Float[Tensor, "b c h w"], points_crop: Float[Tensor, "b p 2"] | None
    ) -> Float[Tensor, "b features"]:
        """Sample a feature map; returns ``(b, p * features)``.

        The points are in crop coordinates; None: the centres of the map's cells, row by row.
        """
        reduced = self.reduce_map(feature_map)
        if points_crop is None:
            sampled = reduced.flatten(2)
        else:
            sampled = functional.grid_sample(reduced, points_crop[:, None], align_corners=False)
            sampled = sampled.flatten(2)
        point_features = cast(Tensor, self.mlp(sampled.transpose(1, 2).flatten(0, 1)))
        return point_features.reshape(-1, sampled.shape[2] * point_features.shape[1])


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
        self.pose_head = output_layer(inputs, 9)
        self.vertex_head: nn.Module | None = None
        self.vertex_unit_m = config.vertex_unit_m
        self.estimates_codes = geometry and config.shared_basis
        if self.estimates_codes:
            assert config.vertex_rank is not None
            self.vertex_head = nn.Linear(inputs, config.vertex_rank)
            nn.init.normal_(self.vertex_head.weight, std=inputs**-0.5)
            nn.init.zeros_(self.vertex_head.bias)
        elif geometry and config.vertex_rank is not None:
            self.vertex_head = nn.Sequential(
                nn.Linear(inputs, config.vertex_rank, bias=False),
                output_layer(config.vertex_rank, 3 * vertex_count),
            )
        elif geometry:
            self.vertex_head = output_layer(inputs, 3 * vertex_count)

    def forward(
        self, inputs: Float[Tensor, "b inputs"]
    ) -> tuple[Float[Tensor, "b 6"], Float[Tensor, "b 3"], Tensor | None]:
        """Return the residuals of R (6D), c, and the shape of Theta (None without geometry)."""
        hidden = self.trunk(inputs)
        pose = self.pose_head(hidden)
        shape = None if self.vertex_head is None else self.vertex_head(hidden)
        if shape is not None and not self.estimates_codes:
            shape = shape.unflatten(1, (-1, 3)) * self.vertex_unit_m
        return pose[:, :6], pose[:, 6:], shape
