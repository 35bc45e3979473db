"""Panoramas, image-based and procedural lighting, backgrounds and filters."""

from __future__ import annotations

import numpy as np
import pytest

from trg.geometry.camera import Camera
from trglab.synth.environment.backgrounds import (
    BACKGROUND_PAINTERS,
    add_foreground_shapes,
    fractal_noise,
    paint_background,
    render_panorama,
)
from trglab.synth.environment.filters import blur, motion_blur, resize_smooth, scale_channels
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
    Panorama,
    light_from_panorama,
    load_panorama,
    load_panoramas,
    random_orientation,
    read_radiance_hdr,
    sample_sphere,
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


def random_normals(count: int, seed: int = 0) -> np.ndarray:
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def smooth_map(seed: int = 0, height: int = 64) -> np.ndarray:
    """Radiance that spherical harmonics of order 2 hold exactly, positive everywhere."""
    directions, _ = sphere_grid(height, 2 * height)
    x, y, z = np.moveaxis(directions, -1, 0)
    numbers = np.random.default_rng(seed).uniform(-0.2, 0.2, (8, 3))
    terms = [x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y]
    return (1.5 + np.stack(terms, -1) @ numbers).astype(np.float32)


def brute_force_irradiance(radiance: np.ndarray, normals: np.ndarray) -> np.ndarray:
    directions, solid_angles = sphere_grid(*radiance.shape[:2])
    facing = np.maximum(directions.reshape(-1, 3) @ normals.T, 0.0)
    flux = (radiance * solid_angles[..., None]).reshape(-1, 3)
    return facing.T @ flux / np.pi


def encode_rgbe(rgb: np.ndarray) -> np.ndarray:
    """The naive encoder: shared exponent of the largest channel."""
    largest = rgb.max(-1)
    mantissa, exponent = np.frexp(largest)
    scale = np.where(largest > 1e-32, mantissa * 256.0 / np.maximum(largest, 1e-32), 0.0)
    out = np.zeros((*rgb.shape[:2], 4), dtype=np.uint8)
    out[..., :3] = rgb * scale[..., None]
    out[..., 3] = np.where(largest > 1e-32, exponent + 128, 0)
    return out


def write_hdr(path, rgbe: np.ndarray, packed: bool) -> None:
    height, width = rgbe.shape[:2]
    body = b""
    for row in rgbe:
        if not packed:
            body += row.tobytes()
            continue
        body += bytes([2, 2, width >> 8, width & 255])
        for channel in row.T:
            at = 0
            while at < width:
                run = 1
                while at + run < width and run < 127 and channel[at + run] == channel[at]:
                    run += 1
                if run > 2:
                    body += bytes([128 + run, channel[at]])
                else:
                    run = min(2, width - at)
                    body += bytes([run, *channel[at : at + run]])
                at += run
    header = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n"
    path.write_bytes(header.encode() + body)


@pytest.mark.parametrize("packed", [True, False])
def test_radiance_files_read_back(tmp_path, packed):
    rng = np.random.default_rng(0)
    rgb = np.exp(rng.normal(0, 3, (16, 40, 3)))
    rgb[:, 10:30] = rgb[:, 10:11]  # long runs
    rgb[3] = 0.0
    rgbe = encode_rgbe(rgb)
    write_hdr(tmp_path / "a.hdr", rgbe, packed)
    read = read_radiance_hdr(tmp_path / "a.hdr")
    expected = rgbe[..., :3].astype(float) * 2.0 ** (rgbe[..., 3:].astype(float) - 136)
    expected[rgbe[..., 3] == 0] = 0.0
    np.testing.assert_allclose(read, expected, rtol=1e-6)
    np.testing.assert_allclose(read, rgb, atol=rgb.max(-1).max() / 200)


def test_radiance_errors_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="polyhaven"):
        read_radiance_hdr(tmp_path / "none.hdr")
    with pytest.raises(FileNotFoundError, match="polyhaven"):
        load_panoramas(tmp_path)
    (tmp_path / "b.hdr").write_bytes(b"\x89PNG....")
    with pytest.raises(ValueError, match="RADIANCE"):
        read_radiance_hdr(tmp_path / "b.hdr")
    (tmp_path / "c.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n+Y 4 +X 8\n")
    with pytest.raises(ValueError, match="-Y height"):
        read_radiance_hdr(tmp_path / "c.hdr")
    for packed in (True, False):
        write_hdr(tmp_path / "d.hdr", encode_rgbe(np.ones((8, 16, 3))), packed)
        data = (tmp_path / "d.hdr").read_bytes()
        (tmp_path / "d.hdr").write_bytes(data[:-7])
        with pytest.raises(ValueError, match="truncated"):
            read_radiance_hdr(tmp_path / "d.hdr")


def test_panoramas_must_be_whole_spheres(tmp_path):
    with pytest.raises(ValueError, match="twice as wide"):
        Panorama.from_radiance("x", np.ones((64, 64, 3)))
    with pytest.raises(ValueError, match="some light"):
        Panorama.from_radiance("x", np.zeros((64, 128, 3)))
    with pytest.raises(ValueError, match="finite"):
        Panorama.from_radiance("x", np.full((64, 128, 3), np.nan))
    write_hdr(tmp_path / "e.hdr", encode_rgbe(smooth_map(height=64)), True)
    assert load_panorama(tmp_path / "e.hdr", height=32).radiance.shape == (32, 64, 3)


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


def test_panorama_light_with_its_key_is_all_the_light():
    """Ambient and key together are the integral over the whole map, key taken as a point."""
    radiance = smooth_map(1, 128)
    directions, _ = sphere_grid(128, 256)
    sun = np.array([0.5, -0.6, 0.62]) / np.linalg.norm([0.5, -0.6, 0.62])
    radiance[directions @ sun > np.cos(np.radians(3))] += (300.0, 250.0, 180.0)
    panorama = Panorama.from_radiance("made", radiance)
    light = panorama.light
    assert light.key_direction @ sun > np.cos(np.radians(1))
    assert light.key_softness == pytest.approx(3 / 90, rel=0.2)
    normals = random_normals(60)
    got = evaluate_irradiance(light.irradiance_sh, normals)
    got = got + np.maximum(normals @ light.key_direction, 0)[:, None] * light.key_rgb
    expected = brute_force_irradiance(panorama.radiance, normals)
    np.testing.assert_allclose(got, expected, atol=0.02 * expected.max())
    _, solid_angles = sphere_grid(128, 256)
    mean = (panorama.radiance @ LUMINANCE * solid_angles).sum() / (4 * np.pi)
    assert mean == pytest.approx(1.0, rel=1e-4)


def test_light_background_and_reflections_turn_together():
    """A bright patch is found by light, reflections and view at the same place of the camera."""
    radiance = np.full((128, 256, 3), 0.1, dtype=np.float32)
    directions, _ = sphere_grid(128, 256)
    camera = Camera.from_fov(70.0, 200, 150)
    target_px = np.array([132.0, 61.0])
    ray = np.append(camera.unproject(target_px), 1.0)
    ray /= np.linalg.norm(ray)
    for seed in range(4):
        M = random_orientation(np.random.default_rng(seed))
        lamp = radiance.copy()
        lamp[directions @ (M.T @ ray) > np.cos(np.radians(4))] = 50.0
        panorama = Panorama.from_radiance("lamp", lamp)
        light = light_from_panorama(panorama, M)
        assert light.key_direction @ ray > np.cos(np.radians(1.0))
        grid, _ = sphere_grid(*ENVIRONMENT_MAP_SHAPE)
        row, column = np.unravel_index(
            light.environment_map.sum(-1).argmax(), ENVIRONMENT_MAP_SHAPE
        )
        assert grid[row, column] @ ray > np.cos(np.radians(8.0))
        rng = np.random.default_rng(1)
        view = render_panorama(panorama, camera, M, rng)[..., 0]
        view = view - view.min()
        rows, columns = np.indices(view.shape) + 0.5
        found = np.array([(columns * view).sum(), (rows * view).sum()]) / view.sum()
        np.testing.assert_allclose(found, target_px, atol=1.5)


def test_view_agrees_with_the_slow_lookup():
    rng = np.random.default_rng(0)
    panorama = Panorama.from_radiance("noise", rng.random((64, 128, 3)))
    camera = Camera.from_fov(160.0, 90, 70)
    M = random_orientation(rng)
    columns, rows = np.meshgrid(np.arange(90) + 0.5, np.arange(70) + 0.5)
    rays = np.insert(camera.unproject(np.stack([columns, rows], -1)), 2, 1.0, -1)
    expected = sample_sphere(panorama.radiance, rays @ M)
    got = render_panorama(panorama, camera, M, FixedOdds())
    np.testing.assert_allclose(got, expected, atol=0.02)


class FixedOdds:
    """A generator whose every draw says no."""

    def random(self) -> float:
        return 0.99


def test_a_windows_view_is_a_cut_out_of_the_whole_view():
    panorama = Panorama.from_radiance("smooth", smooth_map())
    camera, M = Camera.from_fov(70.0, 160, 120), np.eye(3)
    whole = render_panorama(panorama, camera, M, FixedOdds())
    window = render_panorama(panorama, camera.crop(30, 20, 64, 48), M, FixedOdds())
    np.testing.assert_allclose(window[8:-8, 8:-8], whole[28:60, 38:86], atol=2e-3)


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
    facing = evaluate_irradiance(light.irradiance_sh, sources[1].direction)
    np.testing.assert_allclose(facing, sources[1].rgb, rtol=0.1)
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


def test_box_filter_is_the_naive_average():
    image = np.random.default_rng(0).random((11, 13, 3), dtype=np.float32)
    sigma = np.sqrt((2 * 1**2 + 2 * 0.5 * 2**2) / 4.0)  # one pass with radius 1.5
    taps = np.array([0.5, 1, 1, 1, 0.5]) / 4.0
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    expected = sum(
        taps[i] * taps[j] * padded[i : i + 11, j : j + 13] for i in range(5) for j in range(5)
    )
    np.testing.assert_allclose(blur(image, sigma, passes=1), expected, atol=1e-5)


def test_a_narrow_blur_is_the_naive_average_at_all_sizes():
    """A radius below one pixel, as that of noise grain, is computed without running sums."""
    for height, width in ((1, 1), (2, 5), (7, 3), (11, 13)):
        image = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
        sigma = np.sqrt(2 * 0.5 / 2.0)  # one pass with radius 0.5
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        taps = np.array([0.5, 1.0, 0.5]) / 2.0
        expected = sum(
            taps[i] * taps[j] * padded[i : i + height, j : j + width]
            for i in range(3)
            for j in range(3)
        )
        np.testing.assert_allclose(blur(image, sigma, passes=1), expected, atol=1e-5)


@pytest.mark.parametrize("angle_rad", [0.0, 0.7, 2.1, 0.5 * np.pi])
def test_motion_blur_is_the_mean_of_shifted_images(angle_rad):
    image = np.random.default_rng(1).random((9, 12, 3), dtype=np.float32)
    rows, columns = np.indices((9, 12))
    for length_px in (0.6, 3.0, 30.0):  # the last one leaves the image
        taps = max(3, 2 * int(length_px / 2.0 + 0.999) + 1)
        expected = np.zeros_like(image)
        for along in np.linspace(-0.5, 0.5, taps) * length_px:
            y, x = rows + along * np.sin(angle_rad), columns + along * np.cos(angle_rad)
            top, left = np.floor(y).astype(int), np.floor(x).astype(int)
            for dy, dx in np.ndindex(2, 2):
                weight = np.abs(1 - dy - (y - top)) * np.abs(1 - dx - (x - left))
                shifted = image[np.clip(top + dy, 0, 8), np.clip(left + dx, 0, 11)]
                expected += weight[..., None] * shifted / taps
        np.testing.assert_allclose(motion_blur(image, length_px, angle_rad), expected, atol=1e-5)


def test_scaling_channels_is_multiplication():
    image = np.random.default_rng(2).random((5, 7, 3), dtype=np.float32)
    factors = np.array([0.5, 1.3, 2.0], np.float32)
    np.testing.assert_array_equal(scale_channels(image, factors), image * factors)


def test_filters_keep_mean_and_position():
    image = np.zeros((41, 41, 3), np.float32)
    image[20, 20] = 1.0
    rows, columns = np.indices((41, 41))
    for filtered in (blur(image, 2.3), blur(image, 1.1, 3), motion_blur(image, 9.0, 0.7)):
        assert filtered[..., 0].sum() == pytest.approx(1.0, rel=1e-3)
        assert (rows * filtered[..., 1]).sum() == pytest.approx(20.0, abs=0.02)
        assert (columns * filtered[..., 1]).sum() == pytest.approx(20.0, abs=0.02)
    for sigma in (0.2, 0.7, 2.3, 3.1):
        variance = (blur(image, sigma)[..., 0] * (rows - 20) ** 2).sum()
        assert variance == pytest.approx(sigma**2, rel=2e-3)
    ramp = np.tile(np.linspace(0, 1, 8, dtype=np.float32)[None, :, None], (4, 1, 3))
    wide = resize_smooth(ramp, 40, 80)
    assert (np.diff(wide[0, :, 0]) >= -1e-6).all()
    np.testing.assert_allclose(wide.mean(), 0.5, atol=1e-3)


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
