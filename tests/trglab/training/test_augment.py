from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.dot_faces import TOPOLOGY, DotFaces
from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trg.geometry.projection import crop_from_rays, rays_from_points, transform
from trglab.datasets.view import Views, ViewSpec, select_views, stack_views, view_from_sample
from trglab.training import photometric
from trglab.training.augment import AugmentConfig, Augmenter, draw, select_draws, taps_for

CPU = torch.device("cpu")
SPEC = ViewSpec(size=224, margin=1.7)
CROP = 128
GEOMETRIC = replace(
    AugmentConfig.none(),
    centre_jitter=0.15,
    size_jitter=0.05,
    roll_deg=30.0,
    roll_probability=0.6,
    flip_probability=0.5,
)


def dot_views(count: int, dot: int | None = None, **options: object) -> Views:
    source = DotFaces(dots=() if dot is None else (dot,), **options)
    return stack_views([view_from_sample(source.sample(i), SPEC) for i in range(count)])


def augmenter(**options: object) -> Augmenter:
    return Augmenter(CROP, TOPOLOGY.mirror, **options)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def projected_crop(batch) -> np.ndarray:
    points = transform(batch.vertices_m, batch.rotation, batch.translation_m)
    return crop_from_rays(rays_from_points(points), batch.bbox_info).numpy()


def dot_centroids(crops: torch.Tensor) -> np.ndarray:
    """Centre of brightness above the background, in crop pixels."""
    weight = (crops.mean(1).numpy() - 24.0).clip(0.0)
    axis = np.arange(crops.shape[-1]) + 0.5
    total = weight.sum((1, 2))
    return np.stack([(weight.sum(1) * axis).sum(1), (weight.sum(2) * axis).sum(1)], -1) / np.stack(
        [total, total], -1
    )


@pytest.mark.parametrize("dot", [8, 30, 39])
def test_image_and_labels_move_together(dot: int) -> None:
    views = dot_views(32, dot)
    draws = draw(GEOMETRIC, 32, generator(dot))
    batch = augmenter()(views, draws, CPU)
    centroids = dot_centroids(batch.crops)
    drawn = np.where(draws.flip.numpy(), LANDMARKS68_MIRROR[dot], dot)
    rows = np.arange(32)
    landmark_px = (batch.landmarks68_crop.numpy()[rows, drawn] + 1.0) * CROP / 2.0
    inside = ((landmark_px > 8) & (landmark_px < CROP - 8)).all(-1)
    assert inside.sum() > 20
    assert draws.flip.any()
    assert (draws.roll_rad != 0).any()
    np.testing.assert_array_less(np.linalg.norm(centroids - landmark_px, axis=-1)[inside], 0.3)

    # The vertex that was drawn, after the flip's exchange of sides, is where the dot is.
    vertex = TOPOLOGY.landmarks68[dot]
    vertex = np.where(draws.flip.numpy(), TOPOLOGY.mirror[vertex], vertex)
    vertex_px = (projected_crop(batch)[rows, vertex] + 1.0) * CROP / 2.0
    np.testing.assert_array_less(np.linalg.norm(centroids - vertex_px, axis=-1)[inside], 0.3)


def test_labels_agree_with_each_other() -> None:
    """Projected vertices meet the landmarks; flipped or not, rotations stay rotations."""
    views = dot_views(16)
    draws = draw(replace(GEOMETRIC, flip_probability=0.0), 16, generator(3))
    batch = augmenter()(views, draws, CPU)
    seen = projected_crop(batch)[:, TOPOLOGY.landmarks68]
    np.testing.assert_allclose(seen, batch.landmarks68_crop.numpy(), atol=2e-5)
    flipped = augmenter()(views, draws._replace(flip=torch.ones(16, dtype=torch.bool)), CPU)
    for result in (batch, flipped):
        identity = result.rotation @ result.rotation.transpose(1, 2)
        torch.testing.assert_close(identity, torch.eye(3).expand(16, 3, 3), atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.linalg.det(result.rotation), torch.ones(16))


def test_flip_twice_is_no_flip() -> None:
    views = dot_views(4)
    draws = draw(AugmentConfig.none(), 4, generator())
    flip = draws._replace(flip=torch.ones(4, dtype=torch.bool))
    once = augmenter()(views, flip, CPU)
    plain = augmenter()(views, draws, CPU)
    again = augmenter()(
        views._replace(
            rotation=once.rotation.numpy(),
            translation_m=once.translation_m.numpy(),
            vertices_m=once.vertices_m.numpy(),
            landmarks68_visible=once.landmarks68_visible.numpy(),
        ),
        flip,
        CPU,
    )
    for name in ("rotation", "translation_m", "vertices_m", "landmarks68_visible"):
        torch.testing.assert_close(getattr(again, name), getattr(plain, name), msg=name)
    torch.testing.assert_close(once.crops, plain.crops.flip(-1), atol=1e-2, rtol=0)
    assert not torch.equal(once.landmarks68_visible, plain.landmarks68_visible)


def test_without_augmentation_the_box_is_the_source_s_own() -> None:
    views = dot_views(8)
    batch = augmenter()(views, draw(AugmentConfig.none(), 8, generator()), CPU)
    np.testing.assert_allclose(batch.bbox_info.numpy(), views.face_bbox_info, atol=1e-6)
    np.testing.assert_allclose(batch.rotation.numpy(), views.rotation, atol=1e-6)
    expected = crop_from_rays(views.landmarks68_rays, views.face_bbox_info)
    np.testing.assert_allclose(batch.landmarks68_crop.numpy(), expected, atol=1e-5)


def test_roll_recentres_the_box_on_the_turned_face() -> None:
    views = dot_views(8)
    draws = draw(AugmentConfig.none(), 8, generator())._replace(roll_rad=torch.full((8,), 0.5))
    batch = augmenter()(views, draws, CPU)
    low, high = batch.landmarks68_crop.amin(1), batch.landmarks68_crop.amax(1)
    torch.testing.assert_close((low + high) / 2.0, torch.zeros(8, 2), atol=0.03, rtol=0)
    torch.testing.assert_close((high - low).amax(1), torch.full((8,), 2 / 1.5), atol=0.03, rtol=0)


def test_parts_of_a_batch_are_the_whole_batch() -> None:
    views = dot_views(6, 30)
    draws = draw(AugmentConfig.strong(), 6, generator(5))
    whole = augmenter()(views, draws, CPU)
    for part in (slice(0, 3), slice(3, 6)):
        index = torch.arange(6)[part]
        some = augmenter()(select_views(views, part), select_draws(draws, index), CPU)
        for name in whole._fields:
            torch.testing.assert_close(getattr(some, name), getattr(whole, name)[part], msg=name)


def test_the_same_generator_state_gives_the_same_batch() -> None:
    views = dot_views(3, 8)
    first, second, other = (
        augmenter()(views, draw(AugmentConfig.strong(), 3, generator(seed)), CPU)
        for seed in (1, 1, 2)
    )
    for name in first._fields:
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert not torch.equal(first.crops, other.crops)


def test_unposed_samples_carry_their_flags() -> None:
    batch = augmenter()(dot_views(2, posed=False), draw(GEOMETRIC, 2, generator()), CPU)
    assert not batch.has_pose.any()
    assert not batch.has_vertices.any()
    assert torch.isfinite(batch.landmarks68_crop).all()


def test_shrinking_averages_what_lies_between() -> None:
    """Lines one view pixel wide vanish into their mean when a crop pixel spans three."""
    views = dot_views(1)
    stripes = np.zeros_like(views.image)
    stripes[:, :, ::2] = 255
    views = views._replace(image=stripes)
    draws = draw(AugmentConfig.none(), 1, generator())
    taps = taps_for(SPEC.size, SPEC.margin, 44)
    assert taps == 3
    spread = [
        Augmenter(44, TOPOLOGY.mirror, count)(views, draws, CPU).crops.std() for count in (1, taps)
    ]
    assert spread[1] < 0.35 * spread[0]


def test_colour_jitter_does_what_its_names_say() -> None:
    crops = torch.rand(1, 3, 8, 8, generator=generator()) * 120.0 + 40.0
    one, zero = torch.ones(1), torch.zeros(1)
    same = photometric.jitter_colours(crops, one, one, one, zero)
    torch.testing.assert_close(same, crops, atol=1e-3, rtol=0)
    brighter = photometric.jitter_colours(crops, one * 1.2, one, one, zero)
    torch.testing.assert_close(brighter, crops * 1.2, atol=1e-3, rtol=0)
    flat = photometric.jitter_colours(crops, one, one * 0.0, one, zero)
    assert flat.std() < 1e-2
    grey = photometric.jitter_colours(crops, one, one, one * 0.0, zero)
    torch.testing.assert_close(grey[:, 0], grey[:, 2], atol=1e-3, rtol=0)


def test_hue_turns_towards_the_next_colour() -> None:
    """Agrees with HSV for a small turn: red goes towards yellow, not towards magenta."""
    red = torch.tensor([200.0, 60.0, 60.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    turned = photometric.jitter_colours(red, *(torch.ones(1),) * 3, torch.tensor([0.03]))
    r, g, b = (turned[0, :, 0, 0] / 255.0).tolist()
    hue = colorsys.rgb_to_hsv(r, g, b)[0]
    assert hue == pytest.approx(0.03, abs=0.015)


def test_noise_is_centred_independent_and_of_the_asked_strength() -> None:
    crops = torch.full((2, 3, 64, 64), 128.0)
    level = torch.tensor([0.04, 0.04])
    none, seed = torch.zeros(2), torch.tensor([1, 2])
    noise = photometric.degrade(crops, torch.ones(2, dtype=torch.int64), none, level, seed) - 128.0
    assert abs(noise.mean()) < 0.3
    assert noise.std() == pytest.approx(0.04 * 255, rel=0.03)
    pairs = torch.stack([noise[0].flatten(), noise[1].flatten(), noise[0].roll(1, -1).flatten()])
    assert (torch.corrcoef(pairs) - torch.eye(3)).abs().max() < 0.05


def test_masks_cover_their_square_only() -> None:
    crops = torch.zeros(2, 3, 10, 10)
    box = torch.tensor([[0.2, 0.1, 0.3, 0.3], [0.0, 0.0, 0.0, 0.0]])
    masked = photometric.mask_patches(crops, box, torch.ones(2, 3))
    assert masked[0, :, 1:4, 2:5].min() == 255.0
    assert masked[0].sum() == 3 * 9 * 255.0
    assert masked[1].sum() == 0.0


@pytest.mark.parametrize(
    ("name", "value"), [("flip_probability", 1.5), ("roll_deg", -1.0), ("hue", float("nan"))]
)
def test_bad_configurations_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"augmentation {name}: expected a number"):
        AugmentConfig(**{name: value})


def test_a_view_needs_the_right_number_of_vertices() -> None:
    with pytest.raises(ValueError, match=r"dots/0: expected vertices of shape \(7, 3\)"):
        view_from_sample(DotFaces(dots=()).sample(0), ViewSpec(vertex_count=7))
