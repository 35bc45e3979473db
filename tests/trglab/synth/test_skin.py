from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from trglab.synth.colour import lab_from_linear, linear_from_lab, linear_from_srgb, srgb_from_linear
from trglab.synth.head.procedural_head import load_procedural_head
from trglab.synth.noise import lattice_noise, noise_lattice
from trglab.synth.render.sampling import mipmaps
from trglab.synth.skin.appearance import sample_skin_appearance
from trglab.synth.skin.maps import MIRROR_68, polygon_distance, skin_maps
from trglab.synth.skin.paint import paint_skin
from trglab.synth.skin.person_textures import appearance_maps, appearance_surfaces, paint_person
from trglab.synth.skin.texels import FACE_SHARE, enlarge_face_region, texel_map
from trglab.synth.skin.tone import sample_skin_tone, skin_tone, tone_from_linear

SIZE = 128


@pytest.fixture(scope="module")
def model():
    return load_procedural_head()


@pytest.fixture(scope="module")
def all_maps(model):
    return appearance_maps(model, SIZE)


def plain_appearance(**changes):
    appearance = sample_skin_appearance(np.random.default_rng(0), tone=skin_tone(40.0), scalp=0.0)
    make_up = dataclasses.replace(
        appearance.make_up, lipstick=0.0, shadow=0.0, liner=0.0, blush=0.0, paint=0.0
    )
    beard = dataclasses.replace(appearance.beard, kind=None, shadow=0.0)
    appearance = dataclasses.replace(
        appearance, make_up=make_up, beard=beard, moles=0, freckles=0.0
    )
    return dataclasses.replace(appearance, **changes)


def test_texels_of_a_square_have_their_positions():
    corners = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
    uv = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], np.float32)
    texels = texel_map(corners, np.array([[0, 1, 2], [0, 2, 3]]), uv, 8)
    centres = (np.arange(8) + 0.5) / 8
    assert texels.used.all()
    np.testing.assert_allclose(texels.position_m[3, :, 0], centres, atol=1e-6)
    np.testing.assert_allclose(texels.position_m[:, 5, 1], 2.0 * centres, atol=1e-6)
    np.testing.assert_allclose(texels.normal[2, 2], [0.0, 0.0, 1.0], atol=1e-6)


def test_islands_are_dilated_by_the_margin_only():
    corners = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    uv = np.array([[0.0, 0.0], [0.25, 0.0], [0.0, 0.25]], np.float32)
    bare = texel_map(corners, np.array([[0, 1, 2]]), uv, 32, margin=0)
    grown = texel_map(corners, np.array([[0, 1, 2]]), uv, 32, margin=2)
    assert bare.used.sum() == 8 * 9 / 2
    assert grown.used.sum() > bare.used.sum()
    assert not grown.used[12:].any()


def test_texel_map_refuses_coordinates_outside_the_texture():
    with pytest.raises(ValueError, match=r"uv in \[0, 1\]"):
        texel_map(np.eye(3), np.array([[0, 1, 2]]), np.array([[0.0, 0], [2, 0], [0, 1]]), 8)


def test_face_region_is_enlarged_only_in_layouts_with_two_halves():
    halves = np.array([[0.0, 0.0], [0.49, 0.0], [0.49, 1.0], [0.6, 0.0], [1.0, 0.0], [1.0, 1.0]])
    wide = enlarge_face_region(halves, np.array([[0, 1, 2], [3, 4, 5]]))
    assert wide[1, 0] == pytest.approx(FACE_SHARE * 0.98)
    assert wide[4, 0] == pytest.approx(1.0)
    seam = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(enlarge_face_region(seam, np.array([[0, 1, 2], [1, 3, 2]])), seam)
    whole = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(enlarge_face_region(whole, np.array([[0, 1, 2]])), whole)


def test_noise_is_normal_reproducible_and_interpolates_its_lattice():
    lattice = noise_lattice(np.random.default_rng(1))
    points = np.random.default_rng(2).uniform(0, 32, (20000, 3)).astype(np.float32)
    values = lattice_noise(lattice, points, 1.0, np.zeros(3))
    assert abs(values.mean()) < 0.1
    assert 0.7 < values.std() < 1.3
    np.testing.assert_array_equal(values, lattice_noise(lattice, points, 1.0, np.zeros(3)))
    at_node = lattice_noise(lattice, np.array([[3.0, 4.0, 35.0]]), 1.0, np.zeros(3))
    assert at_node[0] == pytest.approx(1.7 * lattice[3, 4, 3], rel=1e-5)


def test_polygon_distance_agrees_with_a_square():
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    x, y = np.random.default_rng(3).uniform(-3, 3, (2, 40, 5)).astype(np.float32)
    qx, qy = np.abs(x) - 1.0, np.abs(y) - 1.0
    outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
    expected = outside + np.minimum(np.maximum(qx, qy), 0)
    np.testing.assert_allclose(polygon_distance(x, y, square), expected, atol=1e-5)


def test_mirror_of_landmarks_is_its_own_inverse():
    np.testing.assert_array_equal(MIRROR_68[MIRROR_68], np.arange(68))


def test_colour_conversions_are_inverse():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_allclose(
        srgb_from_linear(linear_from_srgb(levels))[8:].astype(int), levels[8:].astype(int), atol=1
    )
    linear = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(linear_from_lab(lab_from_linear(linear)), linear, atol=1e-9)


def test_tones_span_human_skin_and_keep_their_typology_angle():
    rng = np.random.default_rng(4)
    lightness = [lab_from_linear(np.exp(-sample_skin_tone(rng).density))[0] for _ in range(300)]
    assert min(lightness) < 32.0
    assert max(lightness) > 70.0
    for angle in (60.0, 30.0, -20.0, -50.0):
        tone = skin_tone(angle)
        assert tone_from_linear(np.exp(-tone.density)).typology_deg == pytest.approx(angle, abs=6.0)
        assert (tone.melanin > 0).all()
        red, green, blue = np.exp(-tone.density)
        assert red > green > blue


def test_maps_locate_lips_brows_and_eyes_symmetrically(all_maps):
    maps = all_maps.skin
    used = maps.texels.used
    lips = used & (maps.lips_m < 0)
    assert lips.any()
    mouth = maps.landmarks_m[48:60]
    assert maps.y_m[lips].min() >= mouth[:, 1].min() - 1e-3
    assert maps.y_m[lips].max() <= mouth[:, 1].max() + 1e-3
    assert (used & (np.abs(maps.brow_across_m) < 0.003)).any()
    mirrored = maps.texels.mirror_index
    found = mirrored >= 0
    assert found.sum() > 0.5 * used.sum()
    other = maps.lips_m.ravel()[mirrored[found]]
    assert np.abs(maps.lips_m[found] - other).max() < 0.004


def test_skin_textures_are_reproducible(all_maps):
    appearance = sample_skin_appearance(np.random.default_rng(5))
    first = paint_skin(all_maps.skin, appearance, np.random.default_rng(6))
    again = paint_skin(all_maps.skin, appearance, np.random.default_rng(6))
    other = paint_skin(all_maps.skin, appearance, np.random.default_rng(7))
    np.testing.assert_array_equal(first.albedo, again.albedo)
    np.testing.assert_array_equal(first.height, again.height)
    assert (first.albedo != other.albedo).any()
    assert first.albedo.shape == (SIZE, SIZE, 4)
    assert (first.albedo[..., 3] == 255).all()


def test_a_texture_of_half_the_size_shows_the_same_skin(all_maps, model):
    maps = all_maps.skin
    appearance = sample_skin_appearance(np.random.default_rng(5), masculine=True, age_years=40.0)
    small = paint_skin(maps, appearance, np.random.default_rng(6)).albedo
    large = paint_skin(skin_maps(model, 2 * SIZE), appearance, np.random.default_rng(6)).albedo
    used = maps.texels.used
    difference = small[used].astype(float) - mipmaps(large)[0][used]
    assert abs(difference.mean()) < 1.0
    assert np.abs(difference).mean() < 4.0


def mean_linear(all_maps, appearance, where):
    albedo = paint_skin(all_maps.skin, appearance, np.random.default_rng(8)).albedo
    return linear_from_srgb(albedo[..., :3])[where].mean(axis=0)


def test_mean_skin_colour_is_the_tone(all_maps):
    maps = all_maps.skin
    cheeks = maps.texels.used & (maps.beard < 0.01) & (maps.eyes_m > 0.02) & (maps.lips_m > 0.01)
    for angle in (55.0, 0.0, -50.0):
        tone = skin_tone(angle)
        colour = mean_linear(all_maps, plain_appearance(tone=tone), cheeks)
        np.testing.assert_allclose(colour, np.exp(-tone.density), rtol=0.25)


def test_lipstick_beard_and_scalp_hair_stay_in_their_regions(all_maps):
    maps, appearance = all_maps.skin, plain_appearance()
    bare = paint_skin(maps, appearance, np.random.default_rng(9)).albedo.astype(int)

    def changed(**changes):
        painted = paint_skin(
            maps, dataclasses.replace(appearance, **changes), np.random.default_rng(9)
        )
        return (np.abs(painted.albedo.astype(int) - bare).max(axis=-1) > 3) & maps.texels.used

    red = dataclasses.replace(appearance.make_up, lipstick=0.9, lipstick_rgb=(200.0, 0.0, 0.0))
    lips = changed(make_up=red)
    assert lips.any()
    assert maps.lips_m[lips].max() < 0.001
    full = dataclasses.replace(appearance.beard, kind="full", rgb=(10.0, 8.0, 8.0), density=0.9)
    beard = changed(beard=full)
    assert beard.sum() > 50
    assert np.maximum(maps.beard, maps.moustache)[beard].min() > 0.0
    scalp = changed(scalp=1.0, hair_rgb=(10.0, 8.0, 8.0))
    assert scalp.any()
    assert maps.scalp_m[scalp].min() > -0.04


def test_children_have_no_beard_make_up_or_wrinkles():
    for seed in range(40):
        appearance = sample_skin_appearance(np.random.default_rng(seed), age_years=7.0)
        assert appearance.beard.kind is None
        assert appearance.beard.shadow == 0.0
        assert appearance.make_up.lipstick == 0.0
        assert appearance.wrinkles == 0.0


def test_pupil_is_dark_and_sclera_is_light(all_maps):
    rng = np.random.default_rng(10)
    person = paint_person(all_maps, plain_appearance(), rng)
    for name, maps in all_maps.eyes.items():
        grey = person.by_part[name][..., :3].mean(axis=-1)
        pupil = maps.texels.used & (maps.radius_m < 0.001)
        white = maps.texels.used & (maps.radius_m > 0.0075) & (maps.radius_m < 0.010)
        white &= maps.toward_lids_m < 0.0
        assert white.any()
        assert grey[white].mean() > 130.0
        if pupil.any():
            assert grey[pupil].mean() < 60.0


def test_surfaces_follow_the_vertices(all_maps, model):
    person = paint_person(all_maps, plain_appearance(), np.random.default_rng(11))
    moved = model.mean_m + np.float32(0.5)
    surfaces = appearance_surfaces(all_maps, person, moved, np.full(len(moved), 0.5))
    assert surfaces[0].name == "skin"
    total = sum(len(surface.triangles) for surface in surfaces)
    assert total == len(model.triangles)
    for surface in surfaces:
        assert surface.triangles.max() < len(surface.vertices_m) == len(surface.uv)
        assert surface.texture.dtype == np.uint8
        np.testing.assert_allclose(
            surface.vertices_m, moved[all_maps.part_vertices[surface.name]], atol=1e-6
        )
        assert (surface.occlusion == 0.5).all()


def test_surfaces_refuse_vertices_of_another_model(all_maps):
    person = SimpleNamespace(by_part={}, skin_height=None, oiliness=0.0)
    with pytest.raises(ValueError, match="all the face model's vertices"):
        appearance_surfaces(all_maps, person, np.zeros((5, 3)))
