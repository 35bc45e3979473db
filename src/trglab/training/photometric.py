"""Photometric augmentation of batches of crops, on any torch device.

Crops are RGB from 0 to 255. The parameters, one per crop, are on the CPU, so that only the crops
that change are processed, without waiting for the device.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 luma weights."""

YIQ_FROM_RGB = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""NTSC colour space, in which a rotation of the (I, Q) plane is a hue shift."""

BLUR_RADIUS_PX = 4


def jitter_colours(
    crops: Float[Tensor, "b 3 s s"],
    brightness: Float[Tensor, " b"],
    contrast: Float[Tensor, " b"],
    saturation: Float[Tensor, " b"],
    hue_turns: Float[Tensor, " b"],
) -> Float[Tensor, "b 3 s s"]:
    """Change colours. A hue of 0 and factors of 1 change nothing.

    All four are combined into one affine map of the colours; it depends on the crop only through
    its mean luma, which the contrast preserves.
    """
    device = crops.device
    to_yiq = torch.tensor(YIQ_FROM_RGB, dtype=torch.float64)
    angle = -hue_turns.double() * (2.0 * torch.pi)  # red to yellow is clockwise in (I, Q)
    chroma = saturation.double()
    turn = torch.zeros(len(angle), 3, 3, dtype=torch.float64)
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = chroma * torch.cos(angle)
    turn[:, 2, 1] = chroma * torch.sin(angle)
    turn[:, 1, 2] = -turn[:, 2, 1]
    colour = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    gain = (colour * (brightness * contrast).double()[:, None, None]).float().to(device)
    luma = torch.tensor(LUMA, device=device)
    mean_grey = (crops.mean((2, 3)) * luma).sum(1)
    shift = mean_grey * (brightness * (1.0 - contrast)).to(device)
    mixed = torch.baddbmm(shift[:, None, None].expand(-1, 3, 1), gain, crops.flatten(2))
    return mixed.unflatten(2, crops.shape[2:]).clamp(0.0, 255.0)


def degrade(
    crops: Float[Tensor, "b 3 s s"],
    shrink: Int64[Tensor, " b"],
    blur_sigma_px: Float[Tensor, " b"],
    noise_level: Float[Tensor, " b"],
    noise_seed: Int64[Tensor, " b"],
) -> Float[Tensor, "b 3 s s"]:
    """Reduce resolution by the factor ``shrink``, then blur, then add noise."""
    for factor in (2, 3):
        chosen = torch.nonzero(shrink == factor)[:, 0]
        if len(chosen):
            where = chosen.to(crops.device)
            crops = crops.index_copy(0, where, _shrunken(crops[where], factor))
    chosen = torch.nonzero(blur_sigma_px > 0)[:, 0]
    if len(chosen):
        where = chosen.to(crops.device)
        sigma = blur_sigma_px[chosen].to(crops.device)
        crops = crops.index_copy(0, where, _blurred(crops[where], sigma))
    chosen = torch.nonzero(noise_level > 0)[:, 0]
    if len(chosen):
        where = chosen.to(crops.device)
        level = 255.0 * noise_level[chosen].to(crops.device)[:, None, None, None]
        noise = _noise(noise_seed[chosen].to(crops.device), crops.shape[1:])
        noisy = (crops[where] + level * noise).clamp(0.0, 255.0)
        crops = crops.index_copy(0, where, noisy)
    return crops


def mask_patches(
    crops: Float[Tensor, "b 3 s s"], box: Float[Tensor, "b 4"], colour: Float[Tensor, "b 3"]
) -> Float[Tensor, "b 3 s s"]:
    """Mask rectangles ``box`` (x, y, w, h over the side of the crop) with ``colour``, 0 to 1."""
    chosen = torch.nonzero(box[:, 2] > 0)[:, 0]
    if not len(chosen):
        return crops
    device, size = crops.device, crops.shape[-1]
    where = chosen.to(device)
    x, y, width, height = (box[chosen].to(device) * size).unbind(1)
    axis = torch.arange(size, device=device) + 0.5
    columns = (axis >= x[:, None]) & (axis < (x + width)[:, None])
    rows = (axis >= y[:, None]) & (axis < (y + height)[:, None])
    covered = (rows[:, :, None] & columns[:, None, :])[:, None]
    paint = 255.0 * colour[chosen].to(device)[:, :, None, None]
    return crops.index_copy(0, where, torch.where(covered, paint, crops[where]))


def _shrunken(crops: Float[Tensor, "b 3 s s"], factor: int) -> Float[Tensor, "b 3 s s"]:
    size = crops.shape[-2:]
    small = [max(1, side // factor) for side in size]
    low = functional.interpolate(crops, size=small, mode="area")
    return functional.interpolate(low, size=size, mode="bilinear", align_corners=False)


def _blurred(
    crops: Float[Tensor, "b 3 s s"], sigma_px: Float[Tensor, " b"]
) -> Float[Tensor, "b 3 s s"]:
    """Blur each crop with its own Gaussian, by grouped separable convolution."""
    offset = torch.arange(-BLUR_RADIUS_PX, BLUR_RADIUS_PX + 1, device=crops.device)
    kernel = torch.exp(-0.5 * (offset / sigma_px[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    planes = crops.flatten(0, 1)[None]
    count, reach = planes.shape[1], BLUR_RADIUS_PX
    padded = functional.pad(planes, (reach,) * 4, mode="replicate")
    across = functional.conv2d(padded, kernel[:, None, None, :], groups=count)
    both = functional.conv2d(across, kernel[:, None, :, None], groups=count)
    return both[0].unflatten(0, (-1, 3))


def _noise(seed: Int64[Tensor, " b"], shape: torch.Size) -> Float[Tensor, "b c h w"]:
    """Return noise of unit variance, of ``shape`` for each seed.

    Each value is a hash of seed and pixel index, so that it depends on neither the device nor the
    rest of the batch. The sum of two uniform 16-bit numbers approximates a Gaussian.
    """
    mask = 0xFFFFFFFF
    pixel = torch.arange(shape.numel(), device=seed.device).view(1, *shape)
    state = (pixel * 747796405 + seed.view(-1, 1, 1, 1) * 2891336453) & mask
    state = ((state ^ (state >> 16)) * 0x7FEB352D) & mask
    state = ((state ^ (state >> 15)) * 0x31848BAD) & mask
    state = state ^ (state >> 16)
    pair = (state & 0xFFFF) + (state >> 16)
    return (pair.float() / 65535.0 - 1.0) * 6.0**0.5
