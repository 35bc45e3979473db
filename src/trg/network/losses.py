"""Section 3.5: the training losses, Eq. 4 to 7, for samples with partial labels.

Choices that the paper leaves open:

* Each term is a mean over the batch of one value per sample, 0 where the label is missing. A
  sample's weight does not depend on the rest of the batch, and batches can be split and summed.
* L_img is measured in pixels of the image, resized so that the side b of the face box has
  :data:`FACE_BOX_PX` pixels. An error of a given fraction of the face then costs the same in every
  data set. In the pixels of the original images it would depend on their resolution; in those of
  one focal length, on the data set's: 300W-LP, with a nominal 5000 px on images of 450 px, would
  weigh an eighth of ARKitFace.
* For a sample without pose or vertices, L_img compares the 68 landmarks with their projections.
* A network that estimates no vertices poses the template. Its pose is supervised through the true
  vertices instead, where there are labels: every loss is 0 at the true pose of any person.
* The edge loss is a mean over triangles of the sum over three edges. The plain sum of Eq. 5 grows
  with the mesh and would outweigh the other terms, which are means over vertices, a hundredfold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import crop_from_rays, rays_from_points, transform
from trg.network.feature_extractor import cell_centres
from trg.network.trg import MIN_DEPTH_M, NetworkOutput, StepOutput

FACE_BOX_PX = 192.0
"""Side of the face box in the pixels of L_img: that of the paper's crop (section 4.1), also for
networks with smaller crops, so that one lambda_img suits all."""

HEATMAP_SIGMA = 1.0
"""Standard deviation of a target heatmap, in cells."""

FIVE_POINTS = (39, 42, 30, 48, 54)
"""Indices among the 68 landmarks: inner eye corners, nose tip, mouth corners."""


class Targets(NamedTuple):
    """Labels of ``b`` samples. Missing labels hold arbitrary finite values and are masked."""

    bbox_info: Tensor
    """``(b, 3)``"""
    landmarks68_crop: Tensor
    """``(b, 68, 2)`` in crop coordinates; all samples have them"""
    landmarks68_weight: Tensor
    """``(b, 68)``: weight of each landmark, 0 to 1"""
    rotation: Tensor
    """``(b, 3, 3)``, ``cam_from_head``"""
    translation_m: Tensor
    """``(b, 3)``"""
    has_pose: Tensor
    """``(b,)`` bool: whether rotation and translation are labels"""
    vertices_m: Tensor
    """``(b, n, 3)`` in the head frame"""
    has_vertices: Tensor
    """``(b,)`` bool: whether vertices are labels"""


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
    """Not in the paper; the authors' release adds five projected points with weight 0.1."""
    heatmaps: float = 0.0
    """Not in the paper, which supervises heatmaps by their soft-argmax (L_L) only. That can be
    right for heatmaps as wide as the face, from which fine detail is learnt slowly."""


class Losses(NamedTuple):
    """The weighted total (Eq. 7) and its unweighted terms: scalars, means over the batch."""

    total: Tensor
    head: Tensor
    """L_head (Eq. 4): metres, L1 norm, mean over vertices"""
    camera: Tensor
    """L_cam (Eq. 4): the same in the camera frame"""
    image: Tensor
    """L_img (Eq. 4): pixels, with a face box of :data:`FACE_BOX_PX`, L1 norm"""
    rotation: Tensor
    """L_rot (Eq. 4): Frobenius norm"""
    edge: Tensor
    """L_ed (Eq. 5): metres, of the last step"""
    landmarks: Tensor
    """L_L (Eq. 6): crop coordinates, L1 norm"""
    five_points: Tensor
    """Five projected landmarks: crop coordinates, L1 norm"""
    heatmaps: Tensor
    """Kullback-Leibler divergence of the heatmaps from Gaussians at the true landmarks, nats"""


class TRGLoss(nn.Module):
    """The loss of Eq. 7 for one mesh.

    Parameters
    ----------
    geometry
        Whether the network estimates vertices. If not, the true ones take the template's place.
    """

    triangles: Tensor
    landmarks68: Tensor

    def __init__(
        self,
        topology: FaceTopology,
        weights: LossWeights | None = None,
        *,
        geometry: bool = True,
    ) -> None:
        super().__init__()
        self.weights = LossWeights() if weights is None else weights
        self.geometry = geometry
        for name, indices in (
            ("triangles", topology.triangles),
            ("landmarks68", topology.landmarks68),
        ):
            self.register_buffer(name, torch.tensor(indices, dtype=torch.int64), persistent=False)

    def forward(self, output: NetworkOutput, targets: Targets) -> Losses:
        """Return the losses of a forward pass."""
        steps = output.steps
        if not self.geometry:
            steps = tuple(_with_true_vertices(step, targets) for step in steps)
        count = len(steps)
        terms = [self._step_terms(step, targets) for step in steps]
        # Eq. 4: weight 2^(t-3), that is 1 for the last of any number of steps.
        step_weights = terms[0].new_tensor([2.0 ** (t + 1 - count) for t in range(count)])
        head, camera, image, rotation, five_points = step_weights @ torch.stack(terms)
        edge = _masked_mean(
            edge_length_error_m(steps[-1].vertices_m, targets.vertices_m, self.triangles),
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

    def _step_terms(self, step: StepOutput, targets: Targets) -> Float[Tensor, " 5"]:
        """Return L_head, L_cam, L_img, L_rot and the five-point term of one step."""
        has_both = targets.has_pose & targets.has_vertices
        true_cam = transform(targets.vertices_m, targets.rotation, targets.translation_m)
        cam = transform(step.vertices_m, step.rotation, step.translation_m)
        true_crop = crop_from_rays(rays_from_points(true_cam, MIN_DEPTH_M), targets.bbox_info)
        off_crop = step.vertices_crop[:, self.landmarks68] - targets.landmarks68_crop
        dense_image = _l1(step.vertices_crop - true_crop).mean(-1)
        sparse_image = _weighted_l1(off_crop, targets.landmarks68_weight)
        image = torch.where(has_both, dense_image, sparse_image)
        rotation = torch.linalg.matrix_norm(step.rotation - targets.rotation)
        five = list(FIVE_POINTS)
        five_points = _weighted_l1(off_crop[:, five], targets.landmarks68_weight[:, five])
        return torch.stack(
            [
                _masked_mean(
                    _l1(step.vertices_m - targets.vertices_m).mean(-1), targets.has_vertices
                ),
                _masked_mean(_l1(cam - true_cam).mean(-1), has_both),
                image.mean() * (FACE_BOX_PX / 2.0),  # a box is two units of crop coordinates
                _masked_mean(rotation, targets.has_pose),
                five_points.mean(),
            ]
        )


def _with_true_vertices(step: StepOutput, targets: Targets) -> StepOutput:
    """Return a step's pose with the true vertices; with its own where there are none."""
    vertices_m = torch.where(
        targets.has_vertices[:, None, None], targets.vertices_m, step.vertices_m
    )
    rays = rays_from_points(transform(vertices_m, step.rotation, step.translation_m), MIN_DEPTH_M)
    return step._replace(
        vertices_m=vertices_m, vertices_crop=crop_from_rays(rays, targets.bbox_info)
    )


def edge_length_error_m(
    vertices_m: Float[Tensor, "b n 3"],
    true_vertices_m: Float[Tensor, "b n 3"],
    triangles: Int64[Tensor, "m 3"],
) -> Float[Tensor, " b"]:
    """Return Eq. 5 per sample: the summed length errors of three edges, mean over triangles."""
    ends = triangles[:, [1, 2, 0]]
    length = torch.linalg.vector_norm(vertices_m[:, triangles] - vertices_m[:, ends], dim=-1)
    true_length = torch.linalg.vector_norm(
        true_vertices_m[:, triangles] - true_vertices_m[:, ends], dim=-1
    )
    return (length - true_length).abs().sum(-1).mean(-1)


def heatmap_divergence(
    heatmaps: Float[Tensor, "b k h w"], points_crop: Float[Tensor, "b k 2"]
) -> Float[Tensor, "b k"]:
    """Return each heatmap's KL divergence from a Gaussian at its landmark, in nats.

    The standard deviation is :data:`HEATMAP_SIGMA` cells. A regularisation of the soft-argmax, as
    in Nibali et al. 2018 ("Numerical coordinate regression with convolutional neural networks").
    """
    height, width = heatmaps.shape[-2:]
    log_density = [
        -0.5 * ((cell_centres(cells).to(heatmaps) - point) * (cells / 2.0 / HEATMAP_SIGMA)) ** 2
        for cells, point in zip((width, height), points_crop[..., None].unbind(2), strict=True)
    ]
    x, y = (axis.log_softmax(-1) for axis in log_density)
    target = (y[..., :, None] + x[..., None, :]).flatten(2)
    predicted = heatmaps.flatten(2).log_softmax(-1)
    return (target.exp() * (target - predicted)).sum(-1)


def _l1(difference: Float[Tensor, "*points d"]) -> Float[Tensor, "*points"]:
    """Return the L1 norm over the last axis."""
    return difference.abs().sum(-1)


def _weighted_l1(
    difference: Float[Tensor, "b k d"], weight: Float[Tensor, "b k"]
) -> Float[Tensor, " b"]:
    """Return the weighted mean L1 norm over the k points; 0 if all weights are 0."""
    return _weighted_mean(_l1(difference), weight)


def _weighted_mean(
    values: Float[Tensor, "b k"], weight: Float[Tensor, "b k"]
) -> Float[Tensor, " b"]:
    """Return the weighted mean over the k points; 0 if all weights are 0."""
    total = weight.sum(-1)
    return (values * weight).sum(-1) / torch.where(total > 0, total, 1.0)


def _masked_mean(values: Float[Tensor, " b"], mask: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return the mean over the whole batch, with 0 for masked samples."""
    return torch.where(mask, values, 0.0).mean()
