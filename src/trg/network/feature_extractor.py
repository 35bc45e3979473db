"""Section 3.2, the feature extractor: ResNet trunk, deconvolutions, heatmaps to landmarks.

The trunk is ResNet-18 (He et al. 2016) without pooling and classifier; its parameter names are
torchvision's. :class:`~trg.network.trg.TRGNetwork` holds the parts, and the 1x1 convolution between
the last feature map and the heatmaps. A cheaper trunk and decoder with the same interface are in
:mod:`trg.network.mobile_feature_extractor`.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trg.network.config import BackboneConfig


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions; the first has the stride."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b channels h2 w2"]:
        """Apply the block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return cast(Tensor, self.relu(self.bn2(self.conv2(x)) + shortcut))


class ResNet(nn.Module):
    """ResNet trunk: normalised crops ``(b, 3, s, s)`` to feature maps of four stages.

    Attributes
    ----------
    channels
        Of the feature maps of the four stages.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(width, width, config.blocks[0], stride=1)
        self.layer2 = _stage(width, 2 * width, config.blocks[1], stride=2)
        self.layer3 = _stage(2 * width, 4 * width, config.blocks[2], stride=2)
        self.layer4 = _stage(4 * width, 8 * width, config.blocks[3], stride=2)
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return the feature maps of the four stages, at strides 4, 8, 16 and 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class Decoder(nn.Module):
    """Deconvolutions that each double the resolution: the feature maps phi_1, phi_2, phi_3.

    With ``skips``, the trunk's map of equal resolution is added through a 1x1 convolution.
    """

    def __init__(
        self, trunk_channels: tuple[int, ...], channels: tuple[int, ...], skips: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.skips = nn.ModuleList()
        *shallow, channels_in = trunk_channels
        for channels_out in channels:
            deconvolution = nn.ConvTranspose2d(
                channels_in, channels_out, 4, stride=2, padding=1, bias=False
            )
            # Kaiming initialisation: with stride 2, 4 of the 16 taps contribute to each output.
            nn.init.normal_(deconvolution.weight, std=(2.0 / (4 * channels_in)) ** 0.5)
            self.layers.append(
                nn.Sequential(deconvolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))
            )
            channels_in = channels_out
            if skips:
                skip = nn.Conv2d(shallow.pop(), channels_out, 1)
                # Zero: training starts from the network without skips.
                for parameter in skip.parameters():
                    nn.init.zeros_(parameter)
                self.skips.append(skip)

    def forward(self, trunk_maps: list[Float[Tensor, "b _ _ _"]]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return maps of 2, 4, 8, ... times the resolution of the trunk's last, coarsest first."""
        *shallow, x = trunk_maps
        maps = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if self.skips:
                x = x + self.skips[index](shallow.pop())
            maps.append(x)
        return maps


def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [BasicBlock(channels, channels, stride=1) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(channels_in, channels, stride), *rest)


def cell_centres(count: int) -> Float[Tensor, " count"]:
    """Return the centres of ``count`` equal cells of [-1, 1].

    The convention of ``grid_sample(align_corners=False)``: -1 and 1 are the outer borders.
    """
    return (torch.arange(count, dtype=torch.float32) * 2.0 + 1.0) / count - 1.0


def soft_argmax(
    heatmaps: Float[Tensor, "b k h w"],
) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k"]]:
    """Return the soft-argmax of each heatmap in crop coordinates, and its peak.

    The soft-argmax is the mean of the cell centres weighted by the heatmap's softmax (Sun et al.
    2018, reference 42 of the paper); the peak is the largest softmax value, 0 to 1.
    """
    height, width = heatmaps.shape[-2:]
    weights = heatmaps.flatten(2).softmax(-1)
    peaks = weights.amax(-1)
    y, x = torch.meshgrid(cell_centres(height), cell_centres(width), indexing="ij")
    centres = torch.stack([x, y], -1).flatten(0, 1).to(heatmaps)
    return weights @ centres[None], peaks
