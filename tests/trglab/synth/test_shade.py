"""Shading, shadows, normals, ambient occlusion, and validation of surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.scenes import EYE, ORIGIN, camera, draw, flat, lit, make, quad, sphere
from trg.geometry.rotations import normalize
from trglab.synth.environment.light import Light
from trglab.synth.render.mesh import PackedMesh, alpha_mask, pack_surfaces, smooth_normals
from trglab.synth.render.raster import ambient_occlusion, render
from trglab.synth.render.sampling import SRGB_TO_LINEAR
from trglab.synth.render.shade import irradiance
from trglab.synth.render.shadow import SHARP_MAP_SIZE, SOFT_MAP_SIZE, shadow_map_size
from trglab.synth.render.surface import Material


def test_uniform_light_shows_the_albedo():
    texture = flat((188, 99, 30))
    ball = sphere(0.3, (0, 0, 1.0), texture=texture)
    drawn = draw([ball])
    inner = drawn.coverage == 1
    expected = SRGB_TO_LINEAR[[188, 99, 30]]
    np.testing.assert_allclose(
        drawn.rgb[inner], np.broadcast_to(expected, (inner.sum(), 3)), atol=1e-4
    )


def test_key_light_follows_the_cosine():
    ball = sphere(0.3, (0, 0, 1.0), rings=48)
    direction = normalize(np.array([0.5, -0.4, -1.0]))
    drawn = draw([ball], camera(64, 64.0), lit(0.0, 0.8, direction), supersample=1)
    rows, columns = np.nonzero(drawn.triangle_id >= 0)
    z = drawn.depth_m[rows, columns]
    points = np.stack([(columns + 0.5 - 32) / 64 * z, (rows + 0.5 - 32) / 64 * z, z], -1)
    normals = normalize(points - (0, 0, 1.0))
    cosine = normals @ direction
    lit_side = cosine > 0.3
    np.testing.assert_allclose(
        drawn.rgb[rows, columns, 0][lit_side], 0.8 * cosine[lit_side], atol=0.03
    )
    assert drawn.rgb[rows, columns, 0][cosine < -0.05].max(initial=0.0) < 0.01


def test_no_material_reflects_more_light_than_it_receives():
    white = lit(1.0)
    for material in (
        Material(roughness=0.1, specular=0.04, mirror=1.0),
        Material(roughness=0.5, specular=0.028, scatter=0.3),
        Material(roughness=0.4, anisotropy=1.0),
    ):
        drawn = draw(
            [sphere(0.3, (0, 0, 1.0), texture=flat((0, 0, 0)), material=material)], light=white
        )
        shine = drawn.rgb[drawn.coverage == 1]
        assert (shine >= 0).all()
        assert shine.max() < 1.0
        assert 0.01 < shine.mean() < 0.3


def test_reflections_show_the_environment_map_in_the_right_orientation():
    environment_map = np.zeros((32, 64, 3), np.float32)
    environment_map[:16, :, 0] = 1.0  # up
    environment_map[:, 32:, 1] = 1.0  # right
    environment_map[:, 16:48, 2] = 1.0  # forward
    dark = lit(0.0)
    light = Light(dark.irradiance_sh, dark.key_direction, dark.key_rgb, 0.0, environment_map)
    ball = sphere(
        0.3,
        (0, 0, 1.0),
        rings=48,
        texture=flat((0, 0, 0)),
        material=Material(mirror=1.0, specular=0.9),
    )
    rgb = draw([ball], camera(64, 64.0), light).rgb
    assert rgb[26, 32, 0] > 0.5 > 0.1 > rgb[38, 32, 0]
    assert rgb[32, 38, 1] > 0.5 > 0.1 > rgb[32, 26, 1]
    assert rgb[32, 32, 2] < 0.1


def test_harmonics_are_in_the_documented_order():
    """Against the cosine integral of a sky that glows around one direction."""
    rng = np.random.default_rng(1)
    sky = normalize(rng.normal(size=(60_000, 3)))
    towards = normalize(np.array([0.4, -0.8, 0.3]))
    radiance = np.maximum(sky @ towards, 0.0) ** 2
    x, y, z = sky.T
    basis = np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y])
    squared = np.array([1.0, 3, 3, 3, 15, 15, 1.25, 15, 3.75])  # 4 pi times the constants' squares
    lobe = np.array([1.0, 2 / 3, 2 / 3, 2 / 3, 0.25, 0.25, 0.25, 0.25, 0.25])
    sh = (squared * lobe * (basis * radiance).mean(1))[:, None].repeat(3, 1).astype(np.float32)
    for normal in normalize(rng.normal(size=(20, 3))):
        exact = 4.0 * (radiance * np.maximum(sky @ normal, 0.0)).mean()
        assert irradiance(sh, *normal.astype(np.float32))[0] == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("softness", [0.0, 0.6])
@pytest.mark.parametrize("sideways", [-1.0, 1.0])
def test_shadow_falls_away_from_the_light(sideways, softness):
    wall = quad(-0.5, -0.5, 0.5, 0.5, 1.0)
    ball = sphere(0.04, (0.0, 0.0, 0.9), texture=flat((255, 0, 0)))
    light = lit(0.0, 1.0, (sideways, 0.0, -1.0), softness)
    drawn = draw([wall, ball], camera(96, 96.0), light, T=np.array([0.0, 0.0, 0.95]))
    wall_rgb = np.where(drawn.surface_id == 0, drawn.rgb[..., 2], np.nan)
    shadow_x, bright_x = int(48 - sideways * 9.6), int(48 + sideways * 9.6)
    assert np.nanmin(wall_rgb[48, shadow_x - 1 : shadow_x + 2]) < 0.25
    assert np.nanmin(wall_rgb[48, bright_x - 1 : bright_x + 2]) > 0.65


def test_flat_and_round_surfaces_do_not_shadow_themselves():
    ball = sphere(0.1, (0.0, 0.0, 0.5), rings=40)
    direction = normalize(np.array([0.6, -0.5, -1.0]))
    points = ball.vertices_m - np.float32([0, 0, 0.5])
    drawn = draw([ball], camera(96, 192.0), lit(0.0, 1.0, direction), T=np.array([0, 0, 0.5]))
    steep = np.stack([drawn.rgb[..., 0][drawn.coverage == 1]])
    assert points.shape[1] == 3
    assert steep.max() == pytest.approx(1.0, abs=0.03)


def test_scatter_reddens_the_terminator():
    ball = sphere(0.3, (0, 0, 1.0), rings=40, material=Material(specular=0.0, scatter=0.3))
    drawn = draw([ball], camera(64, 64.0), lit(0.0, 1.0, (1.0, 0.0, 0.0)), T=np.array([0, 0, 1.0]))
    dark_side = drawn.rgb[32, 26:32]
    assert (dark_side[:, 0] >= dark_side[:, 2]).all()
    assert dark_side[-1, 0] > 1.3 * dark_side[-1, 2] > 0


def test_bump_tilts_towards_the_slope():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8) * 3, (64, 64)).copy()
    bumpy = Material(specular=0.0, bump_m=0.2)
    wall = quad(-0.5, -0.5, 0.5, 0.5, 1.0, material=bumpy, height=ramp)
    left = draw([wall], light=lit(0.0, 1.0, (-1.0, 0.0, -1.0))).rgb[16, 16, 0]
    right = draw([wall], light=lit(0.0, 1.0, (1.0, 0.0, -1.0))).rgb[16, 16, 0]
    slope = 0.2 * 64 * 3 / 255
    assert left == pytest.approx((1 + slope) / np.sqrt(2 * (1 + slope**2)), abs=0.02)
    assert right == pytest.approx((1 - slope) / np.sqrt(2 * (1 + slope**2)), abs=0.02)


def test_fine_textures_are_averaged_from_afar():
    board = np.zeros((256, 256, 4), np.uint8)
    board[..., 3] = 255
    board[(np.indices((256, 256)).sum(0) // 2) % 2 == 0, :3] = 255
    wall = quad(-0.5, -0.5, 0.5, 0.5, 1.0, texture=board)
    rgb = draw([wall], camera(64, 64.0)).rgb[..., 0]
    assert rgb.mean() == pytest.approx(0.5, abs=0.02)
    assert rgb.std() < 0.15


def test_coarse_light_keeps_texture_and_edges():
    """Light is shared by blocks of pixels; what each pixel shows of the texture is not."""
    stripes = flat((40, 40, 40)).repeat(32, 0).repeat(32, 1)
    stripes[:, ::2, :3] = 220
    light = lit(0.3, 0.7, (-0.5, -0.5, -1.0))
    fine, coarse = (
        draw(
            [
                quad(-0.5, -0.5, 0.5, 0.5, 1.2, texture=stripes, material=material),
                sphere(0.2, (0.0, 0.0, 0.9), material=material),
            ],
            light=light,
        )
        for material in (
            Material(roughness=0.8, specular=0.02, coarse_light=shared) for shared in (False, True)
        )
    )
    np.testing.assert_array_equal(coarse.coverage, fine.coverage)
    difference = np.abs(coarse.rgb - fine.rgb)
    assert 0.0 < difference.mean() < 0.01
    # Only at the edge of the shadow on the wall do blocks of pixels show.
    assert (difference[fine.surface_id == 0] > 0.01).mean() < 0.03


def test_softer_lights_have_smaller_shadow_maps():
    sizes = [shadow_map_size(softness) for softness in (-0.1, 0.0, 0.05, 0.3, 1.0, 2.0)]
    assert sizes[0] == sizes[1] == SHARP_MAP_SIZE
    assert sizes[4] == sizes[5] == SOFT_MAP_SIZE
    assert sizes[1:5] == sorted(set(sizes), reverse=True)


def test_only_read_only_textures_are_examined_once():
    texture = flat().repeat(4, 0).repeat(4, 1)
    assert not alpha_mask(texture)[1]
    texture[0, 0, 3] = 0
    assert alpha_mask(texture)[1]
    texture.setflags(write=False)
    assert alpha_mask(texture)[0] is alpha_mask(texture)[0]
    np.testing.assert_array_equal(alpha_mask(texture)[0], texture[..., 3])


def normals_of(vertices, triangles):
    return smooth_normals(np.array(vertices, np.float32), np.array(triangles, np.int32))


def test_normals_of_a_sphere_and_across_a_seam():
    ball = sphere(1.0, (0, 0, 0), rings=30)
    inner = np.abs(ball.vertices_m[:, 1]) < 0.9999
    normals = normals_of(ball.vertices_m, ball.triangles)
    assert (normals[inner] * ball.vertices_m[inner]).sum(-1).min() > 0.999
    corners = ball.vertices_m[ball.triangles].reshape(-1, 3)
    split = normals_of(corners, np.arange(len(corners)).reshape(-1, 3))
    edges = ball.vertices_m[ball.triangles] - np.roll(ball.vertices_m[ball.triangles], 1, axis=1)
    real = (np.abs(edges).max(-1) > 1e-6).all(-1).repeat(3)  # at the poles quads are triangles
    np.testing.assert_allclose(split[real], normals[ball.triangles.ravel()[real]], atol=1e-4)


def test_two_faces_of_a_sheet_keep_their_own_normals():
    corners = [(0, 0, 1), (1, 0, 1), (0, 1, 1)]
    normals = normals_of(corners * 2, [(0, 1, 2), (3, 5, 4)])
    np.testing.assert_allclose(normals[:3], [(0, 0, 1)] * 3)
    np.testing.assert_allclose(normals[3:], [(0, 0, -1)] * 3)
    assert (normals_of([(0, 0, 1)], np.zeros((0, 3), int)) == 0).all()


def test_occlusion_of_open_ground_and_of_a_cover():
    floor = quad(-0.1, -0.1, 0.1, 0.1, 0.5)
    np.testing.assert_allclose(ambient_occlusion([floor])[0], 1.0, atol=0.02)
    grid = np.stack(np.meshgrid(np.linspace(-0.1, 0.1, 9), np.linspace(-0.1, 0.1, 9)), -1)
    points = np.insert(grid.reshape(-1, 2), 2, 0.5, axis=1)
    a = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    ground = make(
        points, np.concatenate([np.stack([a, a + 10, a + 1], -1), np.stack([a, a + 9, a + 10], -1)])
    )
    lid = quad(-0.1, -0.1, 0.1, 0.1, 0.46)
    under, _ = ambient_occlusion([ground, lid], directions=64)
    assert under[40] < 0.2  # the middle
    assert under[0] > 2 * under[40]
    glass = quad(-0.1, -0.1, 0.1, 0.1, 0.46, material=Material(blend=True))
    np.testing.assert_allclose(ambient_occlusion([ground, glass])[0], 1.0, atol=0.02)


def test_packing_offsets_the_vertex_indices():
    mesh = pack_surfaces(
        [quad(0, 0, 1, 1, 1), quad(0, 0, 1, 1, 2, occlusion=np.full(4, 0.5, np.float32))]
    )
    assert isinstance(mesh, PackedMesh)
    assert mesh.first_triangle.tolist() == [0, 2, 4]
    assert mesh.triangles[2:].min() == 4
    assert mesh.occlusion.tolist() == [1.0] * 4 + [0.5] * 4


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: make([(0, 0, 1)] * 3, [(0, 1, 3)]), "vertex numbers from 0 to 2, got 0 to 3"),
        (lambda: make([(0, 0, np.nan)] * 3, [(0, 1, 2)]), "finite"),
        (lambda: make([(0, 0, 1)] * 3, [(0, 1, 2)], uv=[(0, 0)]), "uv"),
        (
            lambda: make([(0, 0, 1)] * 3, [(0, 1, 2)], texture=np.zeros((2, 2, 3), np.uint8)),
            "texture",
        ),
        (lambda: make([(0, 0, 1)] * 3, [(0, 1, 2)], height=np.zeros((2, 2))), "height"),
    ],
)
def test_errors_name_the_invalid_surface(broken, message):
    with pytest.raises(ValueError, match="surface 'thing'") as caught:
        draw([broken()])
    assert message in str(caught.value)


def test_invalid_arguments_raise():
    with pytest.raises(ValueError, match="background_rgb"):
        render([], EYE, ORIGIN, camera(), lit(), np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="supersample"):
        draw([], supersample=0)
    with pytest.raises(ValueError, match="cam_from_head_R"):
        draw([], R=np.eye(4))
