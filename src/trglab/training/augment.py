"""Augmentation of batches on any torch device; image, camera and labels change together.

Every geometric change is one that a real camera can make, so the labels stay exact:

* a flip mirrors the world in the plane x = 0;
* an in-plane rotation is a roll of the camera about its optical axis: R, T and all rays are
  rotated by Rz, and the crop is centred on the rotated face;
* box jitter only moves the window of the crop.

Drawing and applying are separate: :func:`draw` draws all random numbers of a batch on the CPU, and
:class:`Augmenter` applies them on the device. Processes that share a batch draw for all of it and
apply their part, so the samples do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trg.geometry.projection import crop_from_rays
from trglab.datasets.view import Views
from trglab.training import photometric


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Kinds and strengths of augmentation. Probabilities are per sample."""

    centre_jitter: float = 0.15
    """Maximum shift of the box centre along x and y, over the extent of the landmarks."""
    size_jitter: float = 0.05
    """Maximum relative change of the side of the box."""
    roll_deg: float = 30.0
    roll_probability: float = 0.3
    flip_probability: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.2
    hue: float = 0.01
    """Maximum hue shift, in turns; the three above are relative."""
    grey_probability: float = 0.0
    blur_probability: float = 0.0
    blur_sigma_px: float = 1.5
    """Maximum standard deviation of the blur, in pixels of the crop."""
    noise_probability: float = 0.0
    noise_level: float = 0.04
    """Maximum standard deviation of the noise; white is 1."""
    shrink_probability: float = 0.0
    """Probability of reducing the resolution to a half or a third."""
    mask_probability: float = 0.0
    mask_side: float = 0.35
    """Maximum side of a masked square, over the side of the crop."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0.0 or (field.name.endswith("probability") and value > 1.0):
                raise ValueError(
                    f"augmentation {field.name}: expected a number from 0"
                    f"{' to 1' if field.name.endswith('probability') else ''}, got {value}"
                )

    @classmethod
    def none(cls) -> AugmentConfig:
        """Return the configuration that changes nothing."""
        return cls(**{field.name: 0.0 for field in fields(cls)})

    @classmethod
    def strong(cls) -> AugmentConfig:
        """Return the default changes and all degradations, for training on renders."""
        return cls(
            grey_probability=0.1,
            blur_probability=0.2,
            noise_probability=0.3,
            shrink_probability=0.15,
            mask_probability=0.2,
        )


class Draws(NamedTuple):
    """The random numbers of a batch, on the CPU; each ``(b,)`` unless stated."""

    flip: Tensor
    """bool"""
    roll_rad: Tensor
    centre_shift: Tensor
    """``(b, 2)``, over the landmarks' extent"""
    size_factor: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue_turns: Tensor
    blur_sigma_px: Tensor
    """0: no blur"""
    noise_level: Tensor
    """0: no noise"""
    noise_seed: Tensor
    """int64"""
    shrink: Tensor
    """int64: downsampling factor, 1 to 3"""
    mask_box: Tensor
    """``(b, 4)``: x, y, width, height over the side of the crop; zero width: no mask"""
    mask_colour: Tensor
    """``(b, 3)``, 0 to 1"""


class TrainingBatch(NamedTuple):
    """Inputs and labels of the network for ``b`` faces with ``v`` vertices."""

    crops: Tensor
    """``(b, 3, s, s)`` float32 RGB, 0 to 255"""
    bbox_info: Tensor
    """``(b, 3)``: tau_x / f, tau_y / f, b / f"""
    rotation: Tensor
    """``(b, 3, 3)``, ``cam_from_head``"""
    translation_m: Tensor
    """``(b, 3)``"""
    vertices_m: Tensor
    """``(b, v, 3)`` in head space"""
    landmarks68_crop: Tensor
    """``(b, 68, 2)`` in crop coordinates"""
    landmarks68_visible: Tensor
    """``(b, 68)`` bool"""
    has_pose: Tensor
    """``(b,)`` bool"""
    has_vertices: Tensor
    """``(b,)`` bool"""


def draw(config: AugmentConfig, count: int, generator: torch.Generator) -> Draws:
    """Draw the random numbers for ``count`` samples with a CPU generator."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    def happens(probability: float) -> Tensor:
        return torch.rand(count, generator=generator) < probability

    roll_rad = float(np.radians(config.roll_deg))
    side = uniform(0.1, 1.0) * config.mask_side * happens(config.mask_probability)
    return Draws(
        flip=happens(config.flip_probability),
        roll_rad=uniform(-roll_rad, roll_rad) * happens(config.roll_probability),
        centre_shift=uniform(-config.centre_jitter, config.centre_jitter, 2),
        size_factor=uniform(1.0 - config.size_jitter, 1.0 + config.size_jitter),
        brightness=uniform(1.0 - config.brightness, 1.0 + config.brightness),
        contrast=uniform(1.0 - config.contrast, 1.0 + config.contrast),
        saturation=uniform(1.0 - config.saturation, 1.0 + config.saturation)
        * ~happens(config.grey_probability),
        hue_turns=uniform(-config.hue, config.hue),
        blur_sigma_px=uniform(0.3, config.blur_sigma_px) * happens(config.blur_probability),
        noise_level=uniform(0.0, config.noise_level) * happens(config.noise_probability),
        noise_seed=torch.randint(0, 2**31, (count,), generator=generator),
        shrink=1
        + torch.randint(1, 3, (count,), generator=generator) * happens(config.shrink_probability),
        mask_box=torch.cat(
            [uniform(0.0, 1.0, 2) - side[:, None] / 2, side[:, None].expand(-1, 2)], 1
        ),
        mask_colour=uniform(0.0, 1.0, 3),
    )


def concatenate_draws(parts: Sequence[Draws]) -> Draws:
    """Concatenate the draws of several datasets to those of a batch."""
    return Draws(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def select_draws(draws: Draws, index: Int64[Tensor, " n"]) -> Draws:
    """Select the draws of some samples of a batch."""
    return Draws(*(tensor[index] for tensor in draws))


class Augmenter:
    """Turns stored views into training batches.

    Parameters
    ----------
    crop_size
        Side of the network's crop, px.
    vertex_mirror
        ``(v,)``: for each vertex, the one on the other side of the face.
    taps
        Each crop pixel is the mean of ``taps`` x ``taps`` samples of the view; see
        :func:`taps_for`.
    """

    def __init__(self, crop_size: int, vertex_mirror: NDArray[np.int32], taps: int = 1) -> None:
        self.crop_size = crop_size
        self.taps = taps
        self.vertex_mirror = torch.from_numpy(np.array(vertex_mirror, dtype=np.int64))
        self.landmark_mirror = torch.from_numpy(LANDMARKS68_MIRROR.astype(np.int64))

    def __call__(self, views: Views, draws: Draws, device: torch.device) -> TrainingBatch:
        """Apply ``draws`` to a batch of views, on ``device``."""

        def tensor(array: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(array).to(device, non_blocking=True)

        flip = draws.flip.to(device)
        mirror = torch.where(flip, -1.0, 1.0)
        roll = _roll_matrices(draws.roll_rad.to(device))
        landmarks = tensor(views.landmarks68_rays)
        face_box = tensor(views.face_bbox_info)
        rays = _flip_rows(landmarks, flip, self.landmark_mirror.to(device))
        rays = _mirror_x(rays, mirror) @ roll[:, :2, :2].transpose(1, 2)
        bbox_info = _jittered_box(landmarks, face_box, rays, draws, mirror)
        crops = self._sample_crops(
            tensor(views.image), tensor(views.view_bbox_info), bbox_info, roll, mirror
        )
        crops = photometric.jitter_colours(
            crops, draws.brightness, draws.contrast, draws.saturation, draws.hue_turns
        )
        crops = photometric.degrade(
            crops, draws.shrink, draws.blur_sigma_px, draws.noise_level, draws.noise_seed
        )
        crops = photometric.mask_patches(crops, draws.mask_box, draws.mask_colour)
        vertices_m = _flip_rows(tensor(views.vertices_m), flip, self.vertex_mirror.to(device))
        visible = tensor(views.landmarks68_visible)
        return TrainingBatch(
            crops=crops,
            bbox_info=bbox_info,
            rotation=roll @ _mirror_rotation(tensor(views.rotation), mirror),
            translation_m=(
                roll @ _mirror_x(tensor(views.translation_m)[:, None], mirror).transpose(1, 2)
            )[..., 0],
            vertices_m=_mirror_x(vertices_m, mirror),
            landmarks68_crop=crop_from_rays(rays, bbox_info),
            landmarks68_visible=_flip_rows(visible, flip, self.landmark_mirror.to(device)),
            has_pose=tensor(views.has_pose),
            has_vertices=tensor(views.has_vertices),
        )

    def _sample_crops(
        self,
        image: UInt8[Tensor, "b v v 3"],
        view_box: Float[Tensor, "b 3"],
        bbox_info: Float[Tensor, "b 3"],
        roll: Float[Tensor, "b 3 3"],
        mirror: Float[Tensor, " b"],
    ) -> Float[Tensor, "b 3 s s"]:
        """Sample the crops from the views: the ray of each pixel, rolled and flipped back."""
        fine = self.crop_size * self.taps
        axis = (torch.arange(fine, device=image.device) + 0.5) * (2.0 / fine) - 1.0
        grid_y, grid_x = torch.meshgrid(axis, axis, indexing="ij")
        grid = torch.stack([grid_x, grid_y], -1).reshape(1, -1, 2)
        centre, half = bbox_info[:, None, :2], bbox_info[:, None, 2:] / 2.0
        rays = (grid * half + centre) @ roll[:, :2, :2]  # a row times Rz is Rz.T times a column
        where = crop_from_rays(_mirror_x(rays, mirror), view_box)
        read = functional.grid_sample(
            image.permute(0, 3, 1, 2).float(),
            where.unflatten(1, (fine, fine)),
            align_corners=False,
        )
        return functional.avg_pool2d(read, self.taps) if self.taps > 1 else read


def taps_for(view_size: int, margin: float, crop_size: int) -> int:
    """Return the supersampling factor per axis that avoids aliasing.

    Bilinear sampling alone suffices up to about 1.25 view pixels per crop pixel.
    """
    return max(1, int(np.ceil(view_size / (margin * crop_size) - 0.25)))


def _jittered_box(
    landmarks: Float[Tensor, "b k 2"],
    face_box: Float[Tensor, "b 3"],
    new_landmarks: Float[Tensor, "b k 2"],
    draws: Draws,
    mirror: Float[Tensor, " b"],
) -> Float[Tensor, "b 3"]:
    """Transfer the face box to the changed landmarks, then jitter it.

    The box keeps its offset from the bounding rectangle of the landmarks and its size relative to
    it, so that unchanged landmarks keep their box, by whatever convention it was made.
    """
    old_centre, old_extent = _bounding_square(landmarks)
    new_centre, new_extent = _bounding_square(new_landmarks)
    scale = new_extent / old_extent
    offset = (face_box[:, :2] - old_centre) * scale[:, None]
    offset = torch.stack([offset[:, 0] * mirror, offset[:, 1]], -1)
    shift = draws.centre_shift.to(face_box) * new_extent[:, None]
    side = face_box[:, 2] * scale * draws.size_factor.to(face_box)
    return torch.cat([new_centre + offset + shift, side[:, None]], -1)


def _bounding_square(
    rays: Float[Tensor, "b k 2"],
) -> tuple[Float[Tensor, "b 2"], Float[Tensor, " b"]]:
    """Return centre and larger side of the bounding rectangle of points."""
    low, high = rays.amin(1), rays.amax(1)
    return (low + high) / 2.0, (high - low).amax(-1)


def _roll_matrices(angle_rad: Float[Tensor, " b"]) -> Float[Tensor, "b 3 3"]:
    """Return Rz; positive angles rotate x towards y, clockwise in the image."""
    cos, sin = torch.cos(angle_rad), torch.sin(angle_rad)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [cos, -sin, zero, sin, cos, zero, zero, zero, one]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def _mirror_x(
    points: Float[Tensor, "b k d"], mirror: Float[Tensor, " b"]
) -> Float[Tensor, "b k d"]:
    """Multiply the x of points by ``mirror``, 1 or -1."""
    x = points[..., :1] * mirror[:, None, None]
    return torch.cat([x, points[..., 1:]], -1)


def _mirror_rotation(
    rotation: Float[Tensor, "b 3 3"], mirror: Float[Tensor, " b"]
) -> Float[Tensor, "b 3 3"]:
    """Return ``M R M`` with ``M = diag(mirror, 1, 1)``."""
    return _mirror_x(_mirror_x(rotation, mirror).transpose(1, 2), mirror).transpose(1, 2)


def _flip_rows(
    values: Shaped[Tensor, "b k *rest"], flip: Bool[Tensor, " b"], partner: Int64[Tensor, " k"]
) -> Shaped[Tensor, "b k *rest"]:
    """Exchange left and right rows of the samples in ``flip``."""
    flipped = values[:, partner]
    return torch.where(flip.view(-1, *[1] * (values.ndim - 1)), flipped, values)
