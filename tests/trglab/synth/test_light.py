"""Irradiance, procedural and hard light, and backgrounds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.sphere_maps import brute_force_irradiance, random_normals, smooth_map
from trglab.synth.environment.backgrounds import (
    BACKGROUND_PAINTERS,
    add_foreground_shapes,
    fractal_noise,
    paint_background,
)
from trglab.synth.environment.hard_lights import HARD_LIGHTS, hard_light
from trglab.synth.environment.light import (
    ENVIRONMENT_MAP_SHAPE,
    LUMINANCE,
    evaluate_irradiance,
    project_irradiance,
    random_tint,
    rotate_irradiance,
    scale_light,
    sphere_grid,
    white_point,
)
from trglab.synth.environment.panorama import (
    random_orientation,
)
from trglab.synth.environment.procedural_lights import (
    LIGHTING_SETUPS,
    Ambient,
    Source,
    infrared_light,
    light_from_sources,
    procedural_light,
    rgb_from_kelvin,
)
from trglab.synth.environment.sensor import simulate_infrared


def test_solid_angles_cover_the_sphere():
    directions, solid_angles = sphere_grid(32, 64)
    assert solid_angles.sum() * 64 == pytest.approx(4 * np.pi, rel=1e-5)
    assert directions[0, 0, 1] < -0.99  # up
    np.testing.assert_allclose(directions[16, 32], (0, 0, 1), atol=0.08)  # forward
    assert directions[16, 0, 2] < -0.99  # back
    assert directions[16, 48, 0] > 0.99  # right


def test_irradiance_is_the_brute_force_integral():
    radiance, normals = smooth_map(), random_normals(50)
    expected = brute_force_irradiance(radiance, normals)
    got = evaluate_irradiance(project_irradiance(radiance), normals)
    np.testing.assert_allclose(got, expected, rtol=2e-3)


def test_a_white_environment_lights_everything_white():
    sh = project_irradiance(np.ones((32, 64, 3), np.float32))
    np.testing.assert_allclose(evaluate_irradiance(sh, random_normals(9)), 1.0, atol=2e-3)


def test_irradiance_turns_with_the_camera_even_mirrored():
    sh, normals = project_irradiance(smooth_map(3)), random_normals(20)
    for seed in range(6):
        M = random_orientation(np.random.default_rng(seed))
        turned = evaluate_irradiance(rotate_irradiance(sh, M), normals @ M.T)
        np.testing.assert_allclose(turned, evaluate_irradiance(sh, normals), atol=1e-5)


def test_sources_send_back_what_they_say():
    sources = [
        Source(30.0, 20.0, 10.0, np.array([1.0, 0.8, 0.6])),
        Source(-90.0, 0.0, 15.0, np.array([0.3, 0.3, 0.4])),
    ]
    black = Ambient(np.zeros(3), np.zeros(3), np.zeros(3))
    light = light_from_sources(sources, black)
    np.testing.assert_allclose(light.key_rgb, sources[0].rgb)
    assert light.key_direction[0] > 0  # to the image's right
    assert light.key_direction[1] < 0  # above
    assert light.key_direction[2] < 0  # on the camera's side
    irradiance = evaluate_irradiance(light.irradiance_sh, sources[1].direction)
    np.testing.assert_allclose(irradiance, sources[1].rgb, rtol=0.1)
    assert light.environment_map.max() > 1.0


def test_procedural_lights_are_valid_and_reproducible():
    for name, (_, recipe) in LIGHTING_SETUPS.items():
        for seed in range(20):
            light = light_from_sources(*recipe(np.random.default_rng(seed)))
            numbers = np.concatenate([light.irradiance_sh.ravel(), light.key_rgb])
            assert np.isfinite(numbers).all(), name
            assert np.linalg.norm(light.key_direction) == pytest.approx(1.0, abs=1e-5)
            assert 0.0 <= light.key_softness <= 1.0
            assert light.environment_map.shape == (*ENVIRONMENT_MAP_SHAPE, 3)
            assert light.environment_map.min() >= 0.0
            total = (light.irradiance_sh[0] + light.key_rgb) @ LUMINANCE
            assert 0.02 < total < 5.0, name
    first, second = (procedural_light(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.irradiance_sh, second.irradiance_sh)
    np.testing.assert_array_equal(first.environment_map, second.environment_map)


def test_infrared_is_grey_and_comes_from_the_camera():
    light = infrared_light(np.random.default_rng(0))
    assert light.key_direction[2] < -0.8
    np.testing.assert_allclose(light.key_rgb, light.key_rgb[0])
    image = np.random.default_rng(1).random((32, 32, 3), dtype=np.float32) + 0.1
    grey = simulate_infrared(image, 0.5)
    assert np.ptp(grey, axis=2).max() == 0.0
    red = image @ np.array([0.9, 0.15, -0.05], dtype=np.float32)
    assert grey[..., 0].std() / grey.mean() < red.std() / red.mean()


def test_tint_scales_all_parts_of_a_light():
    light = procedural_light(np.random.default_rng(2))
    tint = random_tint(np.random.default_rng(3))
    scaled = scale_light(light, tint)
    np.testing.assert_allclose(scaled.key_rgb, light.key_rgb * tint)
    np.testing.assert_allclose(scaled.irradiance_sh[4], light.irradiance_sh[4] * tint)
    np.testing.assert_allclose(scaled.environment_map[3, 5], light.environment_map[3, 5] * tint)


def test_the_white_point_includes_the_key_light_only_from_the_front():
    dim, lamp = np.full(3, 0.1), np.array([1.0, 0.5, 0.2])
    ambient = Ambient(dim, dim, dim)
    front = light_from_sources([Source(0.0, 0.0, 1.0, lamp)], ambient)
    behind = light_from_sources([Source(180.0, 0.0, 1.0, lamp)], ambient)
    np.testing.assert_allclose(white_point(front), lamp + 0.1, atol=1e-3)
    np.testing.assert_allclose(white_point(behind), 0.1, atol=1e-3)


def test_colour_temperature():
    candle, daylight, sky = (rgb_from_kelvin(kelvin) for kelvin in (1900, 6500, 15000))
    np.testing.assert_allclose(daylight, 1.0, atol=0.06)
    assert candle[0] > 2.0 > 0.3 > candle[2]
    assert sky[2] > 1.3 > 0.9 > sky[0]
    for rgb in (daylight, sky):
        assert rgb @ LUMINANCE == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("kind", BACKGROUND_PAINTERS)
def test_backgrounds_are_valid_varied_and_reproducible(kind):
    images = []
    for seed in range(4):
        image = paint_background(96, 64, np.random.default_rng(seed), kind)
        assert image.shape == (64, 96, 3)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= 0.0
        assert image.max() < 12.0
        images.append(image)
    again = paint_background(96, 64, np.random.default_rng(0), kind)
    np.testing.assert_array_equal(again, images[0])
    assert np.abs(images[0] - images[1]).mean() > 1e-3


def test_unknown_backgrounds_raise_and_foreground_shapes_copy_the_image():
    with pytest.raises(ValueError, match="bricks"):
        paint_background(8, 8, np.random.default_rng(0), "castle")
    plain = np.zeros((40, 40, 3), np.float32)
    assert add_foreground_shapes(plain, np.random.default_rng(0)).max() > 0
    assert plain.max() == 0
    assert abs(fractal_noise(64, 64, np.random.default_rng(0)).mean()) < 0.2


def test_hard_light_leaves_half_of_the_face_dark_or_comes_from_where_it_says():
    towards = {
        "side": lambda x, y, z: abs(x) > 0.6,
        "behind": lambda x, y, z: z > 0.3,
        "phone": lambda x, y, z: y > 0.3,  # from below
        "high sun": lambda x, y, z: y < -0.7,
    }
    assert set(towards) == set(HARD_LIGHTS)
    for kind, is_there in towards.items():
        for seed in range(20):
            light, background_gain = hard_light(np.random.default_rng(seed), kind)
            assert is_there(*light.key_direction), kind
            lit = evaluate_irradiance(light.irradiance_sh, light.key_direction) + light.key_rgb
            shaded = evaluate_irradiance(light.irradiance_sh, -light.key_direction)
            assert lit @ LUMINANCE > 2.5 * shaded @ LUMINANCE, kind
            assert background_gain > 0
    with pytest.raises(ValueError, match="hard light: expected one of"):
        hard_light(np.random.default_rng(0), "moon")
