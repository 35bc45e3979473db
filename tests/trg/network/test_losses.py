from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.network_cases import labelled_batch, seeded_network, tiny_config, wake_heads
from tests.support.synthetic_topology import ellipsoid_topology
from trg.geometry.projection import (
    crop_from_rays,
    rays_from_points,
    transform,
    translation_from_correction,
)
from trg.geometry.rotations import rotation_from_euler
from trg.network.config import BackboneConfig, RegressorConfig, table1_variants, trg_s
from trg.network.losses import (
    FACE_BOX_PX,
    FIVE_POINTS,
    HEATMAP_SIGMA,
    Losses,
    LossWeights,
    Targets,
    TRGLoss,
)
from trg.network.trg import NetworkOutput, StepOutput

TOPOLOGY = ellipsoid_topology()


def _output(
    targets: Targets, seed: int = 0, step_count: int = 3, noise: float = 1.0
) -> NetworkOutput:
    """Return the labels, disturbed by ``noise``, as a network would put them."""
    rng = np.random.default_rng(seed)

    def disturbed(tensor: Tensor, sigma: float) -> Tensor:
        return tensor + torch.as_tensor(rng.normal(0, noise * sigma, tensor.shape)).to(tensor)

    steps = []
    for _ in range(step_count):
        euler = rng.normal(0, 5 * noise, (len(targets.rotation), 3))
        rotation = targets.rotation @ torch.as_tensor(rotation_from_euler(euler)).to(
            targets.rotation
        )
        translation_m = disturbed(targets.translation_m, 0.02)
        vertices_m = disturbed(targets.vertices_m, 0.005)
        rays = rays_from_points(transform(vertices_m, rotation, translation_m))
        steps.append(
            StepOutput(
                rotation_6d=rotation.mT[:, :2].flatten(1),
                rotation=rotation,
                correction=translation_m,
                translation_m=translation_m,
                vertices_m=vertices_m,
                vertices_crop=crop_from_rays(rays, targets.bbox_info),
            )
        )
    landmarks = disturbed(targets.landmarks68_crop, 0.05)
    heatmaps = disturbed(_ideal_heatmaps(targets.landmarks68_crop), 2.0)
    return NetworkOutput(tuple(steps), landmarks, torch.ones_like(landmarks[..., 0]), heatmaps)


def _ideal_heatmaps(points_crop: Tensor, side: int = 8) -> Tensor:
    """Return heatmaps ``(b, 68, side, side)`` that are normal about the points, one cell wide."""
    cells = (points_crop + 1.0) * side / 2.0 - 0.5
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    off = cells[:, :, None, None] - torch.stack([x, y], -1)
    return -0.5 * (off / HEATMAP_SIGMA).square().sum(-1)


def _batch(count: int = 4, dtype: torch.dtype = torch.float64) -> Targets:
    _, targets = labelled_batch(TOPOLOGY, 32, count)
    return Targets(*(t if t.dtype == torch.bool else t.to(dtype) for t in targets))


def _naive(output: NetworkOutput, targets: Targets, weights: LossWeights) -> dict[str, float]:
    """Eq. 4 to 7 in loops, from what the paper says."""
    parts = dict.fromkeys(Losses._fields[1:], 0.0)
    count, last = len(targets.rotation), len(output.steps)
    for b in range(count):
        truth = {name: getattr(targets, name)[b].numpy() for name in Targets._fields}
        cam_true = truth["vertices_m"] @ truth["rotation"].T + truth["translation_m"]
        for t, stage in enumerate(output.steps, start=1):
            w = 2.0 ** (t - last) / count
            V, R, T = (
                x[b].numpy() for x in (stage.vertices_m, stage.rotation, stage.translation_m)
            )
            cam = V @ R.T + T
            focal_px = FACE_BOX_PX / truth["bbox_info"][2]
            image = focal_px * (cam[:, :2] / cam[:, 2:])
            image_true = focal_px * (cam_true[:, :2] / cam_true[:, 2:])
            parts["head"] += w * np.abs(V - truth["vertices_m"]).sum(1).mean()
            parts["camera"] += w * np.abs(cam - cam_true).sum(1).mean()
            parts["image"] += w * np.abs(image - image_true).sum(1).mean()
            parts["rotation"] += w * np.sqrt(((R - truth["rotation"]) ** 2).sum())
            points = stage.vertices_crop[b].numpy()[TOPOLOGY.landmarks68]
            off = np.abs(points - truth["landmarks68_crop"]).sum(1)
            parts["five_points"] += w * off[list(FIVE_POINTS)].mean()
        V = output.steps[-1].vertices_m[b].numpy()
        for i, j, k in TOPOLOGY.triangles:
            for n, m in ((i, j), (j, k), (k, i)):
                length = np.linalg.norm(V[n] - V[m])
                length_true = np.linalg.norm(truth["vertices_m"][n] - truth["vertices_m"][m])
                parts["edge"] += abs(length - length_true) / len(TOPOLOGY.triangles) / count
        L = output.landmarks68_crop[b].numpy()
        parts["landmarks"] += np.abs(L - truth["landmarks68_crop"]).sum(1).mean() / count
        ideal = _ideal_heatmaps(targets.landmarks68_crop)[b].numpy()
        for got, wanted in zip(output.heatmaps[b].numpy(), ideal, strict=True):
            p, q = np.exp(wanted) / np.exp(wanted).sum(), np.exp(got) / np.exp(got).sum()
            parts["heatmaps"] += (p * np.log(p / q)).sum() / 68 / count
    parts["total"] = sum(getattr(weights, name) * value for name, value in parts.items())
    return parts


def test_losses_agree_with_loops_over_the_papers_sums() -> None:
    targets = _batch(count=2)
    output = _output(targets)
    weights = LossWeights(five_points=0.1, heatmaps=0.5)
    losses = TRGLoss(TOPOLOGY, weights)(output, targets)._asdict()
    expected = _naive(output, targets, weights)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        expected, rel=1e-6
    )


def test_default_weights_are_the_papers() -> None:
    assert LossWeights() == LossWeights(20.0, 2.0, 0.01, 10.0, 2.0, 1.25, 0.0, 0.0)


def test_exact_estimates_have_zero_loss() -> None:
    targets = _batch()
    losses = TRGLoss(TOPOLOGY, LossWeights(heatmaps=1.0))(_output(targets, noise=0.0), targets)
    assert losses.total.item() < 1e-4  # the labels' landmarks were rounded to float32


def test_gradients_agree_with_finite_differences() -> None:
    targets = _batch(count=2)
    targets = targets._replace(has_vertices=torch.tensor([True, False]))
    loss = TRGLoss(TOPOLOGY, LossWeights(five_points=0.1, heatmaps=0.5))
    output = _output(targets, step_count=2)
    leaves = [t.clone().requires_grad_() for stage in output.steps for t in stage]
    leaves += [t.clone().requires_grad_() for t in (output.landmarks68_crop, output.heatmaps)]

    def total(*tensors: Tensor) -> Tensor:
        steps = (StepOutput(*tensors[:6]), StepOutput(*tensors[6:12]))
        answer = NetworkOutput(steps, tensors[12], output.peaks, tensors[13])
        return loss(answer, targets).total

    # fast_mode compares along random directions; the full Jacobian has 15,000 columns
    assert torch.autograd.gradcheck(total, tuple(leaves), fast_mode=True, eps=1e-7)


def test_gradients_of_a_whole_network_agree_with_finite_differences() -> None:
    """One step: from the second on, gradients stop between steps by design."""
    config = replace(table1_variants(tiny_config())["1-iter"])
    network = wake_heads(seeded_network(config, TOPOLOGY)).double().eval()
    crops, targets = labelled_batch(TOPOLOGY, 32, 2)
    targets = Targets(*(t if t.dtype == torch.bool else t.double() for t in targets))
    loss = TRGLoss(TOPOLOGY)

    def total() -> Tensor:
        return loss(network(crops.double(), targets.bbox_info), targets).total

    total().backward()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        slope = (parameter.grad * direction).sum().item()
        step = 1e-7
        with torch.no_grad():
            parameter += step * direction
            above = total().item()
            parameter -= 2 * step * direction
            below = total().item()
            parameter += step * direction
        assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-3, abs=1e-4), name


def test_missing_labels_leave_the_other_terms() -> None:
    targets = _batch()
    output = _output(targets)
    loss = TRGLoss(TOPOLOGY)
    missing = torch.zeros(4, dtype=torch.bool)
    no_pose = loss(output, targets._replace(has_pose=missing))
    assert no_pose.rotation == no_pose.camera == 0
    assert no_pose.head > 0
    assert no_pose.edge > 0
    no_vertices = loss(output, targets._replace(has_vertices=missing))
    assert no_vertices.head == no_vertices.edge == no_vertices.camera == 0
    assert no_vertices.rotation > 0
    only_2d = loss(output, targets._replace(has_pose=missing, has_vertices=missing))
    assert only_2d.head == only_2d.camera == only_2d.rotation == only_2d.edge == 0
    expected = 0.0
    for t, stage in enumerate(output.steps):
        off = stage.vertices_crop[:, TOPOLOGY.landmarks68.astype(int)] - targets.landmarks68_crop
        pixels = off * FACE_BOX_PX / 2
        expected += 2.0 ** (t - 2) * pixels.abs().sum(-1).mean().item()
    assert only_2d.image.item() == pytest.approx(expected, rel=1e-6)
    assert only_2d.landmarks > 0


def test_labels_that_are_masked_out_have_no_influence() -> None:
    targets = _batch()
    mask = torch.tensor([True, False, True, False])
    masked = targets._replace(has_pose=mask, has_vertices=mask)
    rubbish = masked._replace(
        rotation=torch.where(mask[:, None, None], masked.rotation, 7.0),
        translation_m=torch.where(mask[:, None], masked.translation_m, -9.0),
        vertices_m=torch.where(mask[:, None, None], masked.vertices_m, 5.0),
    )
    output = _output(targets)
    loss = TRGLoss(TOPOLOGY)
    assert torch.equal(torch.stack(loss(output, masked)), torch.stack(loss(output, rubbish)))


def test_unweighted_points_have_no_influence_and_no_points_have_zero_loss() -> None:
    targets = _batch()
    weight = targets.landmarks68_weight.clone()
    weight[:, :40] = 0
    missing = torch.zeros(4, dtype=torch.bool)
    weighted = targets._replace(landmarks68_weight=weight, has_pose=missing)
    moved = weighted.landmarks68_crop.clone()
    moved[:, :40] += 3.0
    output = _output(targets)
    loss = TRGLoss(TOPOLOGY, LossWeights(five_points=0.1, heatmaps=0.5))
    a, b = loss(output, weighted), loss(output, weighted._replace(landmarks68_crop=moved))
    assert torch.equal(torch.stack(a), torch.stack(b))
    none = weighted._replace(landmarks68_weight=torch.zeros_like(weight))
    losses = loss(output, none)
    assert losses.image == losses.landmarks == losses.heatmaps == 0


def test_a_batch_is_the_mean_of_its_samples() -> None:
    targets = _batch()
    mixed = targets._replace(has_vertices=torch.tensor([True, False, True, True]))
    output = _output(targets)
    loss = TRGLoss(TOPOLOGY)
    each = []
    for i in range(4):
        steps = tuple(StepOutput(*(t[i : i + 1] for t in stage)) for stage in output.steps)
        one = NetworkOutput(steps, *(t[i : i + 1] for t in output[1:]))
        each.append(loss(one, Targets(*(t[i : i + 1] for t in mixed))).total)
    assert loss(output, mixed).total.item() == pytest.approx(torch.stack(each).mean().item())


def test_the_image_loss_weighs_both_training_sets_alike() -> None:
    """The same error relative to the face: the same loss and gradient, whatever the camera.

    A mixed batch of the same four heads twice: as in ARKitFace, 0.3 to 0.9 m away with all labels,
    where b / f is about 0.4, and as in 300W-LP, with landmarks only and a nominal focal length of
    5000 px on images of 450 px, where b / f is about 0.05.
    """
    rng = np.random.default_rng(4)
    _, targets = labelled_batch(TOPOLOGY, 32, 4)
    targets = Targets(*(torch.cat([tensor, tensor]) for tensor in targets))
    rotation, vertices_m = targets.rotation.double(), targets.vertices_m.double()
    sides = torch.tensor([0.4] * 4 + [0.05] * 4, dtype=torch.float64)
    bbox_info = torch.stack([0.3 * sides, -0.1 * sides, sides], -1)

    def posed(correction: Tensor) -> StepOutput:
        translation_m = translation_from_correction(correction, bbox_info)
        rays = rays_from_points(transform(vertices_m, rotation, translation_m))
        crop = crop_from_rays(rays, bbox_info)
        return StepOutput(rotation[:, :2], rotation, correction, translation_m, vertices_m, crop)

    correction = torch.tensor([[1.0, 0.02, -0.01]] * 8, dtype=torch.float64)
    error = torch.tensor(np.tile(rng.normal(0.0, (0.02, 0.04, 0.04), (4, 3)), (2, 1)))
    truth, estimate = posed(correction), (correction + error).requires_grad_()
    has_labels = torch.arange(8) < 4
    targets = targets._replace(
        bbox_info=bbox_info,
        rotation=rotation,
        translation_m=truth.translation_m,
        vertices_m=vertices_m,
        landmarks68_crop=truth.vertices_crop[:, torch.tensor(TOPOLOGY.landmarks68)],
        has_pose=has_labels,
        has_vertices=has_labels,
    )
    heatmaps = _ideal_heatmaps(targets.landmarks68_crop)
    output = NetworkOutput((posed(estimate),), targets.landmarks68_crop, heatmaps, heatmaps)

    def image_loss(has_landmarks: Tensor, has_pose: Tensor) -> float:
        """Return the part of the samples that keep their labels."""
        some = targets._replace(
            landmarks68_weight=has_landmarks[:, None].expand(-1, 68).double(), has_pose=has_pose
        )
        return TRGLoss(TOPOLOGY)(output, some).image.item()

    missing = torch.zeros(8, dtype=torch.bool)
    losses = image_loss(missing, has_labels), image_loss(~has_labels, missing)
    (gradient,) = torch.autograd.grad(TRGLoss(TOPOLOGY)(output, targets).image, estimate)
    gradients = gradient[:4].norm().item(), gradient[4:].norm().item()
    # The rest is the difference between the mean over all vertices and that over 68 of them.
    assert losses[1] == pytest.approx(losses[0], rel=0.2)
    assert gradients[1] == pytest.approx(gradients[0], rel=0.2)


def test_without_geometry_the_true_pose_of_any_person_has_zero_loss() -> None:
    """The template stands for the person only where no vertices are labelled."""
    targets = _batch()
    template = torch.tensor(TOPOLOGY.template_m).to(targets.vertices_m).expand(4, -1, -1)
    assert (targets.vertices_m - template).abs().max() > 0.005
    rays = rays_from_points(transform(template, targets.rotation, targets.translation_m))
    true_pose = tuple(
        step._replace(vertices_m=template, vertices_crop=crop_from_rays(rays, targets.bbox_info))
        for step in _output(targets, noise=0.0).steps
    )
    answer = _output(targets, noise=0.0)._replace(steps=true_pose)
    weights = LossWeights(five_points=0.1, heatmaps=1.0)
    with_geometry = TRGLoss(TOPOLOGY, weights)(answer, targets)
    without = TRGLoss(TOPOLOGY, weights, geometry=False)(answer, targets)
    assert min(with_geometry.camera, with_geometry.image, with_geometry.head) > 0.005
    assert without.total.item() < 1e-4  # the labels' landmarks were rounded to float32
    unlabelled = targets._replace(has_vertices=torch.zeros(4, dtype=torch.bool))
    assert TRGLoss(TOPOLOGY, geometry=False)(answer, unlabelled).image > 0.1


def test_without_geometry_the_pose_learns_from_the_true_vertices() -> None:
    targets = _batch(count=2)
    output = _output(targets, step_count=1)
    step = output.steps[0]._replace(translation_m=output.steps[0].translation_m.requires_grad_())
    step = step._replace(rotation=step.rotation.requires_grad_())
    loss = TRGLoss(TOPOLOGY, geometry=False)
    losses = loss(output._replace(steps=(step,)), targets)
    posed = transform(targets.vertices_m, step.rotation, step.translation_m)
    truth = transform(targets.vertices_m, targets.rotation, targets.translation_m)
    assert losses.head == losses.edge == 0
    assert losses.camera.item() == pytest.approx((posed - truth).abs().sum(-1).mean().item())
    (gradient,) = torch.autograd.grad(losses.image, step.translation_m)
    assert (gradient.abs() > 0).all()


def test_image_loss_does_not_depend_on_the_cameras_resolution() -> None:
    """Twice the face at twice the distance: the same rays, bbox_info and loss."""
    targets = _batch()
    output = _output(targets)
    far = targets._replace(
        vertices_m=2 * targets.vertices_m, translation_m=2 * targets.translation_m
    )
    far_output = output._replace(
        steps=tuple(
            stage._replace(vertices_m=2 * stage.vertices_m, translation_m=2 * stage.translation_m)
            for stage in output.steps
        )
    )
    loss = TRGLoss(TOPOLOGY)
    near_losses, far_losses = loss(output, targets), loss(far_output, far)
    assert far_losses.image.item() == pytest.approx(near_losses.image.item(), rel=1e-9)
    assert far_losses.head.item() == pytest.approx(2 * near_losses.head.item(), rel=1e-9)


def test_a_guess_behind_the_camera_stays_finite() -> None:
    config = table1_variants(tiny_config())["t-prediction"]
    network = seeded_network(config, TOPOLOGY)
    with torch.no_grad():
        network.start_correction.copy_(torch.tensor([0.0, 0.0, -1.0]))
    crops, targets = labelled_batch(TOPOLOGY, 32, 2)
    losses = TRGLoss(TOPOLOGY)(network(crops, targets.bbox_info), targets)
    losses.total.backward()
    assert all(part.isfinite() for part in losses)
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def _train(config, steps: int, learning_rate: float, count: int) -> tuple[list[float], float]:
    """Train on one fixed batch; return the losses and the last mean landmark error in mm."""
    network = seeded_network(config, TOPOLOGY).train()
    loss = TRGLoss(TOPOLOGY)
    crops, targets = labelled_batch(TOPOLOGY, config.crop_size, count)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    trace = []
    for _ in range(steps):
        losses = loss(network(crops, targets.bbox_info), targets)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        schedule.step()
        trace.append(losses.total.item())
    with torch.no_grad():
        last = network.eval()(crops, targets.bbox_info).steps[-1]
    error_m = torch.linalg.vector_norm(last.vertices_m - targets.vertices_m, dim=-1).mean()
    return trace, 1000.0 * error_m.item()


# fmt: off
GOLDEN_TRACE = [
    20.7314, 20.3950, 19.9626, 19.4567, 19.0193, 18.7584, 18.6857, 18.7042, 18.7443, 18.7089,
    18.6021, 18.4901, 18.3947, 18.2956, 18.1579, 18.0338, 17.9297, 17.8514, 17.8024, 17.7786,
]
# fmt: on


def test_twenty_steps_follow_the_golden_trace() -> None:
    """Any change to the network, its start or the losses moves these numbers: update on purpose."""
    trace, _ = _train(tiny_config(), steps=20, learning_rate=2e-3, count=4)
    assert trace == pytest.approx(GOLDEN_TRACE, rel=5e-4)


def test_a_small_network_overfits_four_faces() -> None:
    config = replace(
        tiny_config(),
        backbone=BackboneConfig(width=8, blocks=(1, 1, 1, 1)),
        decoder=(16, 16, 16),
        regressor=RegressorConfig(
            hidden=(128, 128), dropout=0.0, vertex_rank=32, vertex_unit_m=0.01
        ),
    )
    _, error_mm = _train(config, steps=120, learning_rate=4e-3, count=4)
    assert error_mm < 3.0  # about 2 mm on the processors that were tried


@pytest.mark.slow
def test_the_small_preset_overfits_eight_faces() -> None:
    _, error_mm = _train(trg_s(), steps=180, learning_rate=1e-3, count=8)
    assert error_mm < 2.0
