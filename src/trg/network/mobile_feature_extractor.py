"""A feature extractor for one CPU core: trunk of inverted bottlenecks, nearest-neighbour decoder.

Inverted bottlenecks are MobileNetV2's (Sandler et al. 2018) with ReLU: HardSwish and
squeeze-and-excitation cost more time than they are worth on a CPU. Trunk and decoder replace
:class:`~trg.network.feature_extractor.ResNet` and
:class:`~trg.network.feature_extractor.Decoder`.
"""

from __future__ import annotations

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn


def convolution(
    channels_in: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return a convolution without bias, and its batch normalisation."""
    layer = nn.Conv2d(
        channels_in, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(channels))


def depthwise(channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution of each channel on its own, and its batch normalisation."""
    return convolution(channels, channels, kernel, stride, groups=channels)


def relu() -> nn.ReLU:
    """Return the activation function of this module's layers."""
    return nn.ReLU(inplace=True)


class Residual(nn.Module):
    """The sum of some layers' input and output."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Apply the layers."""
        return cast(Tensor, x + self.body(x))


def bottleneck(channels_in: int, channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Return an inverted bottleneck: 1x1 expansion, depthwise, linear 1x1 convolution.

    The hidden layer has two times as many channels, with a stride three times.
    """
    hidden = channels_in * (2 if stride == 1 else 3)
    return [
        convolution(channels_in, hidden),
        relu(),
        depthwise(hidden, kernel, stride),
        relu(),
        convolution(hidden, channels),
    ]


def residual_bottleneck(channels: int, kernel: int) -> Residual:
    """Return an inverted bottleneck that keeps the shape, with a residual connection."""
    return Residual(*bottleneck(channels, channels, kernel))


class MobileTrunk(nn.Module):
    """Trunk of inverted bottlenecks: normalised crops ``(b, 3, s, s)`` to maps of four stages.

    Parameters
    ----------
    width
        Channels after the first convolution; the stages have 2, 4, 6 and 8 times as many.

    Attributes
    ----------
    channels
        Of the feature maps of the four stages.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = c1, c2, c3, c4 = (2 * width, 4 * width, 6 * width, 8 * width)
        self.stem = nn.Sequential(
            convolution(3, width, 3, stride=2), relu(), convolution(width, c1, 3, stride=2), relu()
        )
        self.layer1 = nn.Sequential(depthwise(c1, 3), convolution(c1, c1), relu())
        self.layer2 = nn.Sequential(
            convolution(c1, 3 * c1, 3, stride=2),
            relu(),
            convolution(3 * c1, c2),
            residual_bottleneck(c2, 3),
        )
        self.layer3 = nn.Sequential(
            depthwise(c2, 5),
            *bottleneck(c2, c3, 5, stride=2),
            *(residual_bottleneck(c3, kernel) for kernel in (3, 3, 5, 5)),
            Residual(depthwise(c3, 3), convolution(c3, 4 * c3), relu(), convolution(4 * c3, c3)),
        )
        self.layer4 = nn.Sequential(
            *bottleneck(c3, c4, 3, stride=2),
            *(residual_bottleneck(c4, kernel) for kernel in (3, 3)),
        )

    def forward(self, x: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return the feature maps of the four stages, at strides 4, 8, 16 and 32."""
        x = self.stem(x)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class NearestDecoder(nn.Module):
    """Layers that each double the resolution by repetition and add the trunk's map of that size."""

    def __init__(self, trunk_channels: tuple[int, ...], channels: tuple[int, ...]) -> None:
        super().__init__()
        *shallow, deepest = trunk_channels
        self.entry = nn.Sequential(convolution(deepest, channels[0]), relu())
        self.narrow = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.layers = nn.ModuleList()
        width = channels[0]
        for width_out in channels:
            same = width == width_out
            self.narrow.append(nn.Identity() if same else convolution(width, width_out))
            self.skips.append(convolution(shallow.pop(), width_out))
            self.layers.append(
                nn.Sequential(depthwise(width_out, 3), convolution(width_out, width_out), relu())
            )
            width = width_out
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, trunk_maps: list[Float[Tensor, "b _ _ _"]]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return maps of 2, 4, 8, ... times the resolution of the trunk's last, coarsest first."""
        *shallow, x = trunk_maps
        x = self.entry(x)
        maps = []
        for narrow, skip, layer in zip(self.narrow, self.skips, self.layers, strict=True):
            x = layer(self.upsample(narrow(x)) + skip(shallow.pop()))
            maps.append(x)
        return maps
