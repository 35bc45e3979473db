"""Panoramas: Radiance files, and their light and background."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.sphere_maps import brute_force_irradiance, random_normals, smooth_map
from trg.geometry.camera import Camera
from trglab.synth.environment.backgrounds import (
    render_panorama,
)
from trglab.synth.environment.light import (
    ENVIRONMENT_MAP_SHAPE,
    LUMINANCE,
    evaluate_irradiance,
    sphere_grid,
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
