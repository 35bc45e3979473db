from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from trg.geometry.rotations import rotation_from_euler
from trglab.synth.accessories.body import COLLAR_KINDS, Body
from trglab.synth.accessories.builder import (
    Accessories,
    AccessoryBuilder,
    AccessoryProbabilities,
    resample_occluder,
    sample_accessories,
)
from trglab.synth.accessories.facewear import BEARD_KINDS, MASK_KINDS, Beard, FaceMask, beard_growth
from trglab.synth.accessories.glasses import LENS_SHAPES, Glasses, sample_glasses
from trglab.synth.accessories.hair_meshes import MeshHair
from trglab.synth.accessories.headwear import HEADWEAR_KINDS, Headwear
from trglab.synth.accessories.occluders import OCCLUDER_KINDS, Occluder, occluder_surfaces
from trglab.synth.accessories.shapes import box, capsule, ellipsoid, lathe, merge, sheet, tube
from trglab.synth.accessories.textures import fabric_texture, uniform_texture
from trglab.synth.head.face_model import load_face_model

NONE = AccessoryProbabilities(
    **{entry.name: 0.0 for entry in dataclasses.fields(AccessoryProbabilities)}
)


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def builder(model):
    return AccessoryBuilder(model)


def _volume_m3(mesh) -> float:
    a, b, c = (mesh.vertices_m[mesh.triangles[:, k]].astype(np.float64) for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6.0)


def _check(surfaces, budget: int) -> None:
    for surface in surfaces:
        assert surface.vertices_m.dtype == np.float32
        assert surface.triangles.dtype == np.int32
        assert np.isfinite(surface.vertices_m).all()
        assert surface.uv.shape == (len(surface.vertices_m), 2)
        assert -1e-6 <= surface.uv.min() <= surface.uv.max() <= 1.0 + 1e-6
        assert surface.triangles.min() >= 0
        assert surface.triangles.max() < len(surface.vertices_m)
        assert surface.texture.dtype == np.uint8
        assert surface.texture.shape[2] == 4
    assert sum(len(surface.triangles) for surface in surfaces) <= budget


def test_closed_shapes_face_outward():
    assert _volume_m3(box((1, 2, 3))) == pytest.approx(6.0)
    assert _volume_m3(ellipsoid((0.1, 0.2, 0.3), 30, 40)) == pytest.approx(0.0251, rel=0.03)
    assert _volume_m3(lathe(np.array([[1e-6, 0], [1, 0], [1, 2], [1e-6, 2]]), 60)) == pytest.approx(
        2 * np.pi, rel=0.01
    )
    line = np.array([[0.0, 0.0, 0.0], [0.1, 0.3, 0.2], [0.2, 1.0, 0.3]])
    length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    assert _volume_m3(capsule(line, 0.05, 16)) == pytest.approx(
        np.pi * 0.05**2 * (length + 0.07), rel=0.1
    )
    ring = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([np.cos(ring), np.sin(ring), 0 * ring], -1)
    torus = tube(circle, 0.1, 12, closed=True, up=(0, 0, 1))
    assert abs(_volume_m3(torus)) == pytest.approx(2 * np.pi**2 * 0.01, rel=0.1)


def test_front_of_a_sheet_has_rows_down_and_columns_right():
    v, u = np.mgrid[0:3, 0:4].astype(float)
    mesh = sheet(np.stack([u, v, 0 * u], -1))
    a, b, c = (mesh.vertices_m[mesh.triangles[:, k]] for k in range(3))
    assert (np.cross(b - a, c - a)[:, 2] < 0).all()
    two = merge([mesh, mesh])
    assert two.triangles.max() == len(two.vertices_m) - 1


def test_accessories_are_plain_data_and_reproducible():
    for seed in range(40):
        one = sample_accessories(np.random.default_rng(seed), skin_darkness=seed / 40, mesh_count=9)
        assert one == sample_accessories(
            np.random.default_rng(seed), skin_darkness=seed / 40, mesh_count=9
        )


def test_each_kind_can_be_disabled_and_enforced():
    absent = sample_accessories(np.random.default_rng(0), NONE)
    for name in ("hair", "beard", "headwear", "glasses", "mask", "body", "occluder"):
        assert getattr(absent, name) is None, name
    for name in ("headwear", "glasses", "mask", "body", "occluder"):
        probabilities = dataclasses.replace(NONE, **{name: 1.0})
        accessories = sample_accessories(np.random.default_rng(0), probabilities)
        assert getattr(accessories, name) is not None, name
    with pytest.raises(ValueError, match=r"AccessoryProbabilities.mask: expected 0 to 1, got 1.5"):
        AccessoryProbabilities(mask=1.5)


def test_frequencies_match_the_probabilities():
    rng = np.random.default_rng(5)
    styles = [sample_accessories(rng) for _ in range(800)]
    for name, expected in (("glasses", 0.28), ("headwear", 0.12), ("occluder", 0.22)):
        share = np.mean([getattr(accessories, name) is not None for accessories in styles])
        assert share == pytest.approx(expected, abs=0.05), name


def test_another_image_changes_only_the_occluder():
    rng = np.random.default_rng(6)
    accessories = sample_accessories(rng)
    others = [resample_occluder(accessories, rng) for _ in range(50)]
    assert {other.occluder is None for other in others} == {True, False}
    assert all(dataclasses.replace(o, occluder=accessories.occluder) == accessories for o in others)


@pytest.mark.parametrize("kind", HEADWEAR_KINDS)
def test_headwear_covers_the_skull_from_outside(builder, model, kind):
    surfaces = builder.person_surfaces(Accessories(headwear=Headwear(kind=kind)), model.mean_m)
    _check(surfaces, 2500)
    points = np.concatenate([surface.vertices_m for surface in surfaces])
    head_map = builder.head_map
    out = points - head_map.centre_m
    upper = out[:, 1] < -0.03
    gap = np.linalg.norm(out, axis=-1) - head_map.skull_radius_m(out)
    assert gap[upper].min() > 0.0
    if kind != "headband":
        assert points[:, 1].min() < builder.head_map.mean_points_m[..., 1].min() - 0.003


@pytest.mark.parametrize("shape", LENS_SHAPES)
def test_glasses_sit_before_the_eyes_and_on_the_ears(builder, model, shape):
    surfaces = builder.person_surfaces(Accessories(glasses=Glasses(shape=shape)), model.mean_m)
    _check(surfaces, 1500)
    frame, lenses = surfaces
    eyes = model.mean_m[model.landmarks68[36:48]]
    assert lenses.material.blend
    assert lenses.vertices_m[:, 2].max() < eyes[:, 2].min() + 0.02
    for centre in (eyes[:6].mean(0), eyes[6:].mean(0)):
        near = np.abs(lenses.vertices_m[:, 0] - centre[0]) < 0.04
        low, high = lenses.vertices_m[near, 1].min(), lenses.vertices_m[near, 1].max()
        assert low < centre[1] < high
    left, right = frame.vertices_m[:, 0].min(), frame.vertices_m[:, 0].max()
    assert left == pytest.approx(-right, abs=0.004)
    assert frame.vertices_m[:, 2].max() > eyes[:, 2].max() + 0.04


def test_glasses_scale_with_the_face(builder, model):
    glasses = sample_glasses(np.random.default_rng(1))
    small, large = (
        builder.person_surfaces(Accessories(glasses=glasses), scale * model.mean_m)[1].vertices_m
        for scale in (0.7, 1.0)
    )
    ratio = np.ptp(small[:, 0]) / np.ptp(large[:, 0])
    assert ratio == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize("kind", BEARD_KINDS)
def test_beard_lies_on_the_skin_and_moves_with_it(builder, model, kind):
    accessories = Accessories(beard=Beard(kind, length_m=0.01))
    (beard,) = builder.image_surfaces(accessories, model.mean_m)
    _check([beard], 30_000)
    skin = model.mean_m[builder.lower_face.vertices]
    nearest = np.linalg.norm(beard.vertices_m[:, None] - skin[None], axis=-1).min(axis=1)
    assert nearest.max() < 0.012
    moved = model.mean_m.copy()
    moved[builder.lower_face.vertices] += np.float32(0.01)
    (after,) = builder.image_surfaces(accessories, moved)
    np.testing.assert_allclose(after.vertices_m - beard.vertices_m, 0.01, atol=1e-5)


def test_no_beard_on_lips_nose_or_eyes(model):
    mean = model.mean_m.astype(float)
    landmarks = mean[model.landmarks68]
    growth = beard_growth(landmarks, landmarks)
    assert growth[:, 27:].max() == 0.0
    assert growth[0, 8] > 0.5
    assert growth[2, 8] == 0.0
    under_nose = 0.5 * (landmarks[33] + landmarks[51])
    assert beard_growth(under_nose[None], landmarks)[2, 0] > 0.3


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_mask_covers_mouth_and_nose(builder, model, kind):
    mask, straps = builder.image_surfaces(Accessories(mask=FaceMask(kind)), model.mean_m)
    _check([mask, straps], 1500)
    landmarks = model.mean_m[model.landmarks68]
    for index in (30, 51, 57, 8):
        point = landmarks[index]
        near = np.linalg.norm(mask.vertices_m[:, :2] - point[:2], axis=1) < 0.02
        assert mask.vertices_m[near, 2].min() < point[2] - 0.001, index
    assert mask.vertices_m[:, 1].min() > landmarks[36:48, 1].max() - 0.005
    (again, _) = builder.image_surfaces(Accessories(mask=FaceMask(kind)), model.mean_m)
    assert again.texture is mask.texture  # painted once per person


@pytest.mark.parametrize("kind", OCCLUDER_KINDS)
def test_occluders_are_valid_and_near_their_landmark(model, kind):
    landmarks = model.mean_m[model.landmarks68].astype(float)
    thing = Occluder(kind, landmark=8, offset_m=(0.0, 0.0, -0.03), seed=3)
    (surface,) = occluder_surfaces(thing, landmarks)
    _check([surface], 1500)
    (again,) = occluder_surfaces(thing, landmarks)
    np.testing.assert_array_equal(surface.vertices_m, again.vertices_m)
    np.testing.assert_array_equal(surface.texture, again.texture)
    low, high = surface.vertices_m.min(axis=0), surface.vertices_m.max(axis=0)
    beside = np.maximum(low - landmarks[8], 0.0) + np.maximum(landmarks[8] - high, 0.0)
    assert np.linalg.norm(beside) < 0.1
    (moved,) = occluder_surfaces(thing, landmarks + np.array([0.0, 0.4, 0.5]))
    shift = np.broadcast_to((0.0, 0.4, 0.5), moved.vertices_m.shape)
    np.testing.assert_allclose(moved.vertices_m - surface.vertices_m, shift, atol=1e-5)


@pytest.mark.parametrize("collar", COLLAR_KINDS)
def test_body_turns_below_the_chin_only(builder, model, collar):
    fit = builder.fit(model.mean_m)
    straight = builder.body_surfaces(Accessories(body=Body(collar)), fit)
    _check(straight, 1500)
    unturned = builder.turn_body(straight, fit, np.eye(3))
    for one, two in zip(straight, unturned, strict=True):
        np.testing.assert_allclose(one.vertices_m, two.vertices_m, atol=1e-6)
    turn = rotation_from_euler(np.array([40.0, 0.0, 0.0]))
    turned = builder.turn_body(straight, fit, turn)[1].vertices_m
    low = straight[1].vertices_m[:, 1] > model.mean_m[model.landmarks68[8], 1] + 0.15
    pivot = np.array([0.0, turned[low, 1].mean(), turned[low, 2].mean()])
    # A head that looks to one side has, in its own frame, a body turned to the other.
    expected = (straight[1].vertices_m[low] - pivot) @ turn
    got = turned[low] - pivot
    assert np.abs(got - expected - (got - expected).mean(0)).max() < 1e-5


def test_people_stay_in_the_triangle_budget(builder, model):
    rng = np.random.default_rng(8)
    for _ in range(8):
        accessories = sample_accessories(rng, skin_darkness=float(rng.random()))
        neutral = model.neutral(rng.normal(0.0, 0.7, len(model.identity)))
        fit = builder.fit(neutral)
        _check(builder.person_surfaces(accessories, neutral, fit), 12_000)
        _check(builder.body_surfaces(accessories, fit), 1500)
        _check(builder.image_surfaces(accessories, neutral), 30_000)


def test_wrong_vertices_are_refused(builder):
    with pytest.raises(ValueError, match="neutral vertices: expected shape"):
        builder.fit(np.zeros((5, 3)))


def test_mesh_hair_needs_hair_meshes(builder, model):
    with pytest.raises(ValueError, match="mesh_count=0"):
        builder.person_surfaces(Accessories(hair=MeshHair()), model.mean_m)


def test_fabrics_are_opaque_and_differ():
    rng = np.random.default_rng(0)
    cloths = [fabric_texture(rng) for _ in range(12)]
    assert all((cloth[..., 3] == 255).all() for cloth in cloths)
    assert len({cloth.tobytes() for cloth in cloths}) == 12
    assert (uniform_texture(np.array([1.0, 2.0, 300.0]), 0.5) == (1, 2, 255, 127)).all()
