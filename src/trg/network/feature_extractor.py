"""The convolutions: a trunk and a decoder that turns its maps into finer ones.

The trunk is ResNet-18 (He et al. 2016) without its pooling and classifier, named as torchvision
names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trg.network.config import BackboneConfig


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the map shrinks by the stride."""

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
    """The trunk: normalised crops ``(b, 3, s, s)`` to ``(b, 8 width, s / 32, s / 32)``.

    ``channels`` counts those of its four stages.
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
        """Return the maps of the four stages: 1/4, 1/8, 1/16 and 1/32 of the crop's side."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class Decoder(nn.Module):
    """Transposed convolutions, each doubling the map; gives all maps, the coarsest first.

    With ``skips``, each map is joined by the trunk's map of its side, through a 1x1 convolution.
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
            # He et al.'s variance: with stride 2, 4 of the 16 taps reach each output.
            nn.init.normal_(deconvolution.weight, std=(2.0 / (4 * channels_in)) ** 0.5)
            self.layers.append(
                nn.Sequential(deconvolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))
            )
            channels_in = channels_out
            if skips:
                skip = nn.Conv2d(shallow.pop(), channels_out, 1)
                # Training starts from the network without skips, and lets details in as they pay.
                for parameter in skip.parameters():
                    nn.init.zeros_(parameter)
                self.skips.append(skip)

    def forward(self, trunk_maps: list[Float[Tensor, "b _ _ _"]]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return maps of 2, 4, 8, ... times the side of the trunk's last."""
        *shallow, x = trunk_maps
        maps = []
        for step, layer in enumerate(self.layers):
            x = layer(x)
            if self.skips:
                x = x + self.skips[step](shallow.pop())
            maps.append(x)
        return maps


def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [BasicBlock(channels, channels, stride=1) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(channels_in, channels, stride), *rest)


def load_imagenet_weights(backbone: ResNet, path: str | PathLike[str]) -> None:
    """Fill a trunk from a file of torchvision's resnet18 weights; its classifier is left out.

    Parameters
    ----------
    path
        A state dict as torchvision publishes it, such as ``resnet18-f37072fd.pth``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is not such a state dict, or a name or shape differs from the trunk's.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected torchvision's resnet18 weights, found no file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are not its own
        raise ValueError(
            f"{path}: expected a state dict of tensors, as torchvision publishes it, got a file "
            f"that cannot be read safely as one ({type(error).__name__})"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path}: expected a state dict of tensors, as torchvision publishes it")
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    load_state_strictly(backbone, trunk, str(path))


def load_state_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load ``state`` into ``module``; names and shapes must all agree.

    Raises
    ------
    ValueError
        Names the missing and unexpected keys and the shapes that differ.
    """
    own = module.state_dict()
    missing, unexpected = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    shapes = [
        f"{name}: expected {tuple(own[name].shape)}, got {tuple(state[name].shape)}"
        for name in sorted(set(own) & set(state))
        if own[name].shape != state[name].shape
    ]
    if missing or unexpected or shapes:
        raise ValueError(
            f"{source}: weights do not fit the network. Missing: {missing}. "
            f"Unexpected: {unexpected}. Shapes: {shapes}"
        )
    module.load_state_dict(dict(state))
