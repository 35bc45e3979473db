"""The training losses, Eq. 4 to 7 of the paper, for samples that may lack some labels.

What the paper leaves open is settled here:

* Every term is a mean over the batch of one number per sample, zero where the label is missing. So
  a sample weighs the same whatever company it is in, and batches may be split and summed.
* Image distances (L_img) are measured in the full image of one imagined camera with a focal length
  of :data:`REFERENCE_FOCAL_PX`: one pixel there is a milliradian. The same face through the same
  lens then costs the same whether the picture has one megapixel or twelve.
* A sample without pose or vertices has only its 68 points: L_img compares the projections of those
  68 vertices with them.
* The edge loss is the mean over triangles of the sum over their three edges. Eq. 5's plain sum
  would grow with the mesh, and outweigh the other terms, which are means over vertices, a
  hundredfold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import rays_from_crop, rays_from_points, transform
from trg.network.trg import MIN_DEPTH_M, NetworkOutput, StageOutput, cell_centres

REFERENCE_FOCAL_PX = 1000.0
"""Focal length of the camera in whose pixels L_img is measured; near that of a webcam at 720p."""

HEATMAP_SPREAD = 1.0
"""SD of an ideal heatmap, in its cells."""

FIVE_POINTS = (39, 42, 30, 48, 54)
"""Of the 68: inner eye corners, nose tip, mouth corners."""


class Targets(NamedTuple):
    """Labels of ``b`` samples. Missing ones are filled with any finite numbers, and masked."""

    bbox_info: Tensor
    """``(b, 3)``"""
    landmarks68_crop: Tensor
    """``(b, 68, 2)`` in crop coordinates; every sample has them"""
    landmarks68_weight: Tensor
    """``(b, 68)``: 1 to count a point, 0 to leave it out, or between"""
    rotation: Tensor
    """``(b, 3, 3)``, ``cam_from_head``"""
    translation_m: Tensor
    """``(b, 3)``"""
    has_pose: Tensor
    """``(b,)`` bool: rotation and translation are labels"""
    vertices_m: Tensor
    """``(b, n, 3)`` in head space"""
    has_vertices: Tensor
    """``(b,)`` bool: vertices are labels"""


@dataclass(frozen=True, slots=True)
class LossWeights:
    """The lambdas of Eq. 7. The defaults are the paper's (section 3.5)."""

    head: float = 20.0
    camera: float = 2.0
    image: float = 0.01
    rotation: float = 10.0
    edge: float = 2.0
    landmarks: float = 1.25
    five_points: float = 0.0
    """Not in the paper; its authors' release adds five projected points with weight 0.1."""
    heatmaps: float = 0.0
    """Not in the paper, which judges heatmaps by their means (L_L) alone. Means can be right while
    every heatmap is as wide as the face, and details are then slow to come."""


class Losses(NamedTuple):
    """The weighted total, and its parts before weighting. Scalars, means over the batch."""

    total: Tensor
    head: Tensor
    """L_head: metres, L1 over x, y, z, mean over vertices"""
    camera: Tensor
    """L_cam: likewise in the camera frame"""
    image: Tensor
    """L_img: reference pixels, L1 over x, y"""
    rotation: Tensor
    """L_rot: Frobenius norm"""
    edge: Tensor
    """L_ed: metres, of the last step"""
    landmarks: Tensor
    """L_L: crop coordinates, L1 over x, y"""
    five_points: Tensor
    """Five projected points in crop coordinates, L1 over x, y"""
    heatmaps: Tensor
    """Kullback-Leibler divergence of the heatmaps from narrow ones about the true points, nats"""


class TRGLoss(nn.Module):
    """Eq. 7 for one topology."""

    triangles: Tensor
    landmarks68: Tensor

    def __init__(self, topology: FaceTopology, weights: LossWeights | None = None) -> None:
        super().__init__()
        self.weights = LossWeights() if weights is None else weights
        for name, indices in (
            ("triangles", topology.triangles),
            ("landmarks68", topology.landmarks68),
        ):
            self.register_buffer(name, torch.tensor(indices, dtype=torch.int64), persistent=False)

    def forward(self, output: NetworkOutput, targets: Targets) -> Losses:
        """Compare a forward pass with its labels."""
        count = len(output.stages)
        parts = [self._stage_parts(stage, targets) for stage in output.stages]
        # Later steps count double (Eq. 4); the last one counts once, whatever their number.
        doubling = parts[0].new_tensor([2.0 ** (step + 1 - count) for step in range(count)])
        head, camera, image, rotation, five_points = doubling @ torch.stack(parts)
        edge = _masked_mean(
            edge_length_error_m(output.stages[-1].vertices_m, targets.vertices_m, self.triangles),
            targets.has_vertices,
        )
        landmarks = _weighted_l1(
            output.landmarks68_crop - targets.landmarks68_crop, targets.landmarks68_weight
        ).mean()
        heatmaps = _weighted_mean(
            heatmap_divergence(output.heatmaps, targets.landmarks68_crop),
            targets.landmarks68_weight,
        ).mean()
        w = self.weights
        total = (
            w.head * head
            + w.camera * camera
            + w.image * image
            + w.rotation * rotation
            + w.edge * edge
            + w.landmarks * landmarks
            + w.five_points * five_points
            + w.heatmaps * heatmaps
        )
        return Losses(total, head, camera, image, rotation, edge, landmarks, five_points, heatmaps)

    def _stage_parts(self, stage: StageOutput, targets: Targets) -> Float[Tensor, " 5"]:
        """Return one step's L_head, L_cam, L_img, L_rot and five-point term."""
        has_both = targets.has_pose & targets.has_vertices
        true_cam = transform(targets.vertices_m, targets.rotation, targets.translation_m)
        cam = transform(stage.vertices_m, stage.rotation, stage.translation_m)
        true_rays = rays_from_points(true_cam, MIN_DEPTH_M)
        rays = rays_from_crop(stage.vertices_crop, targets.bbox_info)
        true_rays68 = rays_from_crop(targets.landmarks68_crop, targets.bbox_info)
        dense_image = _l1(rays - true_rays).mean(-1)
        sparse_image = _weighted_l1(
            rays[:, self.landmarks68] - true_rays68, targets.landmarks68_weight
        )
        rotation = torch.linalg.matrix_norm(stage.rotation - targets.rotation)
        five = list(FIVE_POINTS)
        five_points = _weighted_l1(
            stage.vertices_crop[:, self.landmarks68[five]] - targets.landmarks68_crop[:, five],
            targets.landmarks68_weight[:, five],
        )
        return torch.stack(
            [
                _masked_mean(
                    _l1(stage.vertices_m - targets.vertices_m).mean(-1), targets.has_vertices
                ),
                _masked_mean(_l1(cam - true_cam).mean(-1), has_both),
                torch.where(has_both, dense_image, sparse_image).mean() * REFERENCE_FOCAL_PX,
                _masked_mean(rotation, targets.has_pose),
                five_points.mean(),
            ]
        )


def edge_length_error_m(
    vertices_m: Float[Tensor, "b n 3"],
    true_vertices_m: Float[Tensor, "b n 3"],
    triangles: Int64[Tensor, "m 3"],
) -> Float[Tensor, " b"]:
    """Eq. 5 per sample: mean over triangles of their three edges' length errors, summed."""
    ends = triangles[:, [1, 2, 0]]
    length = torch.linalg.vector_norm(vertices_m[:, triangles] - vertices_m[:, ends], dim=-1)
    true_length = torch.linalg.vector_norm(
        true_vertices_m[:, triangles] - true_vertices_m[:, ends], dim=-1
    )
    return (length - true_length).abs().sum(-1).mean(-1)


def heatmap_divergence(
    heatmaps: Float[Tensor, "b k h w"], points_crop: Float[Tensor, "b k 2"]
) -> Float[Tensor, "b k"]:
    """Return each heatmap's divergence from a normal distribution about its point, in nats.

    A standard deviation is :data:`HEATMAP_SPREAD` cells. Nibali et al. 2018 ("Numerical coordinate
    regression with convolutional neural networks") add such a term to the soft-argmax's.
    """
    height, width = heatmaps.shape[-2:]
    nearness = [
        -0.5 * ((cell_centres(cells).to(heatmaps) - point) * (cells / 2.0 / HEATMAP_SPREAD)) ** 2
        for cells, point in zip((width, height), points_crop[..., None].unbind(2), strict=True)
    ]
    x, y = (axis.log_softmax(-1) for axis in nearness)
    target = (y[..., :, None] + x[..., None, :]).flatten(2)
    got = heatmaps.flatten(2).log_softmax(-1)
    return (target.exp() * (target - got)).sum(-1)


def _l1(difference: Float[Tensor, "*points d"]) -> Float[Tensor, "*points"]:
    """Return the L1 norm over the last axis."""
    return difference.abs().sum(-1)


def _weighted_l1(
    difference: Float[Tensor, "b k d"], weight: Float[Tensor, "b k"]
) -> Float[Tensor, " b"]:
    """Return the weighted mean over the k points of their L1 norms; 0 without weight."""
    return _weighted_mean(_l1(difference), weight)


def _weighted_mean(
    values: Float[Tensor, "b k"], weight: Float[Tensor, "b k"]
) -> Float[Tensor, " b"]:
    """Return the weighted mean over the k points; 0 without weight."""
    total = weight.sum(-1)
    return (values * weight).sum(-1) / torch.where(total > 0, total, 1.0)


def _masked_mean(values: Float[Tensor, " b"], mask: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return the mean over the whole batch, counting masked-out samples as zero."""
    return torch.where(mask, values, 0.0).mean()
