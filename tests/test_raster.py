from __future__ import annotations

import numpy as np
import pytest

from trg.camera import Camera
from trg.geometry import normalize, rotation_from_euler
from trg.synth.place.light import Light
from trg.synth.render.mesh import Mesh, has_holes, pack, smooth_normals
from trg.synth.render.raster import render, surface_occlusion, visible_vertices
from trg.synth.render.sampling import LINEAR
from trg.synth.render.shade import irradiance
from trg.synth.render.surface import Material, Surface
from trg.synth.render.zbuffer import NEAR_M

EYE = np.eye(3)
ORIGIN = np.zeros(3)
MATTE = Material(specular=0.0, roughness=1.0)
WONKY = Camera(90.0, 70.0, 25.3, 37.8, 64, 56, distortion=(-0.2, 0.05, 0.004, -0.003, 0.0))


def flat(rgb=(255, 255, 255), alpha=255):
    return np.array([[[*rgb, alpha]]], np.uint8)


def make(vertices, triangles, *, uv=None, texture=None, material=MATTE, frame="camera", **more):
    vertices = np.asarray(vertices, np.float32)
    return Surface(
        "thing",
        vertices,
        np.asarray(triangles, np.int32).reshape(-1, 3),
        np.zeros((len(vertices), 2), np.float32) if uv is None else np.asarray(uv, np.float32),
        flat() if texture is None else texture,
        material,
        frame=frame,
        **more,
    )


def quad(x0, y0, x1, y1, z, **more):
    """Facing the camera; (0, 0) of the texture is at (x0, y0)."""
    corners = [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]
    more.setdefault("uv", [(0, 0), (1, 0), (1, 1), (0, 1)])
    return make(corners, [(0, 2, 1), (0, 3, 2)], **more)


def sphere(radius, centre, rings=24, **more):
    rows, columns = np.mgrid[0 : rings + 1, 0 : 2 * rings]
    polar, turn = rows.ravel() * np.pi / rings, columns.ravel() * np.pi / rings
    unit = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1)
    a = (rows[:-1] * 2 * rings + columns[:-1]).ravel()
    b = (rows[:-1] * 2 * rings + (columns[:-1] + 1) % (2 * rings)).ravel()
    a_low, b_low = a + 2 * rings, b + 2 * rings
    triangles = np.concatenate([np.stack([a, b, b_low], -1), np.stack([a, b_low, a_low], -1)])
    return make(unit * radius + centre, triangles, **more)


def lit(ambient=1.0, key=0.0, direction=(0.0, 0.0, -1.0), softness=0.0):
    sh = np.zeros((9, 3), np.float32)
    sh[0] = ambient
    return Light(
        sh,
        normalize(np.array(direction)).astype(np.float32),
        np.full(3, key, np.float32),
        softness,
        np.full((32, 64, 3), ambient, np.float32),
    )


def camera(side=32, focal=None):
    return Camera(focal or side, focal or side, side / 2, side / 2, side, side)


def draw(surfaces, cam=None, light=None, R=EYE, T=ORIGIN, background=0.0, **more):
    cam = cam or camera()
    back = np.full((cam.height, cam.width, 3), background, np.float32)
    return render(surfaces, R, T, cam, light or lit(), back, **more)


def random_mesh(rng, count, **more):
    middle = rng.uniform((-0.4, -0.4, 0.6), (0.4, 0.4, 1.4), (count, 1, 3))
    vertices = middle + rng.normal(0.0, 0.12, (count, 3, 3))
    uv = rng.random((3 * count, 2))
    return make(vertices.reshape(-1, 3), np.arange(3 * count), uv=uv, **more)


def naive_depth_picture(points, triangles, cam, scale, cull):
    """Every sample against every triangle, in double precision; ties and edges stay marked."""
    screen = cam.project(points) * scale
    shape = (cam.height * scale, cam.width * scale)
    best, ids, margin = np.zeros(shape), np.full(shape, -1), np.full(shape, np.inf)
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    for t, (a, b, c) in enumerate(triangles):
        if min(points[a, 2], points[b, 2], points[c, 2]) < NEAR_M:
            continue
        matrix = np.stack([np.append(screen[i], 1.0) for i in (a, b, c)], axis=1)
        if abs(np.linalg.det(matrix)) < 1e-9 or (cull and np.linalg.det(matrix) > 0):
            continue
        weights = np.linalg.inv(matrix) @ np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])
        nearness = (weights.T @ (1.0 / points[[a, b, c], 2])).reshape(shape)
        edge = weights.min(axis=0).reshape(shape)
        wins = (edge >= 0) & (nearness > best)
        close = np.where(edge > 0, np.abs(nearness - best), np.inf)
        margin = np.minimum(margin, np.minimum(np.abs(edge), close))
        best, ids = np.where(wins, nearness, best), np.where(wins, t, ids)
    return best, ids, margin > 1e-4


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("cam", [camera(24), WONKY])
def test_depth_picture_equals_the_naive_twin(two_sided, cam):
    for seed in range(4):
        material = Material(two_sided=two_sided)
        surface = random_mesh(np.random.default_rng(seed), 12, material=material)
        drawn = draw([surface], cam, supersample=2)
        nearness, ids, sure = naive_depth_picture(
            surface.vertices_m.astype(float), surface.triangles, cam, 2, not two_sided
        )
        assert sure.mean() > 0.9
        assert (ids >= 0).any()
        np.testing.assert_array_equal(drawn.triangle_id[sure], ids[sure])
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(drawn.depth_m[sure], (1.0 / nearness)[sure], rtol=1e-4)


def test_neighbouring_triangles_leave_no_pinholes():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:40, 0:40]
    xy = (np.stack([columns, rows], -1) - 19.5) / 19.5 + rng.uniform(-0.01, 0.01, (40, 40, 2))
    vertices = np.insert(xy.reshape(-1, 2), 2, 1.0, axis=1)
    a = (rows[:-1, :-1] * 40 + columns[:-1, :-1]).ravel()
    triangles = np.concatenate(
        [np.stack([a, a + 41, a + 1], -1), np.stack([a, a + 40, a + 41], -1)]
    )
    drawn = draw([make(vertices, triangles)], camera(128, 128.0))
    assert (drawn.triangle_id >= 0).all()
    assert (drawn.coverage == 1.0).all()


def test_texture_is_interpolated_in_perspective():
    ramp = np.zeros((4, 256, 4), np.uint8)
    ramp[..., :3] = np.arange(256)[None, :, None]
    ramp[..., 3] = 255
    corners = [(-0.5, -0.3, 0.6), (0.5, -0.3, 2.0), (0.5, 0.3, 2.0), (-0.5, 0.3, 0.6)]
    floor = make(corners, [(0, 2, 1), (0, 3, 2)], uv=[(0, 0), (1, 0), (1, 1), (0, 1)], texture=ramp)
    cam = camera(64, 64.0)
    drawn = draw([floor], cam, supersample=1)
    ray = (np.arange(64) + 0.5 - 32.0) / 64.0
    # On the plane x = -0.5 + u, z = 0.6 + 1.4 u, so ray = x / z gives u.
    u = (0.5 + 0.6 * ray) / (1.0 - 1.4 * ray)
    inside = (u > 0.03) & (u < 0.97)
    expected = np.interp(u * 256 - 0.5, np.arange(256), LINEAR)
    assert inside.sum() > 20
    np.testing.assert_allclose(drawn.rgb[32, inside, 0], expected[inside], atol=0.012)


@pytest.mark.parametrize("angle_deg", [10.0, 33.0, 71.0])
def test_edges_are_smoothed_by_the_share_they_cover(angle_deg):
    along = np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    inward = np.array([-along[1], along[0]])
    xy = np.array([-9 * along, 9 * along, 9 * along + 9 * inward, -9 * along + 9 * inward])
    half = make(
        np.insert(xy, 2, 1.0, axis=1),
        [(0, 1, 2), (0, 2, 3)],
        material=Material(two_sided=True, specular=0.0),
    )
    drawn = draw([half], camera(24, 24.0), supersample=4)
    fine = (np.mgrid[0:480, 0:480][::-1] + 0.5) / 20.0 - 12.0
    inside = np.tensordot(inward, fine, 1) > 0
    exact = inside.reshape(24, 20, 24, 20).mean((1, 3))
    assert np.abs(drawn.coverage - exact).max() < 0.2
    assert abs(drawn.coverage.mean() - exact.mean()) < 0.004
    np.testing.assert_allclose(drawn.rgb[..., 0], drawn.coverage, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_exact(seed):
    """Vertices that face the camera are drawn where the labels say, to half a pixel."""
    rng = np.random.default_rng(seed)
    ball = sphere(0.1, (0.0, 0.0, 0.0), frame="head")
    R = rotation_from_euler(rng.uniform(-60, 60, 3))
    T = np.array([0.03, -0.02, 0.5])
    cam = Camera(190.0, 150.0, 40.7, 61.2, 96, 100, distortion=(-0.25, 0.08, 0.003, -0.004, 0.0))
    drawn = draw([ball], cam, R=R, T=T)
    points = ball.vertices_m @ R.T + T
    normals = (points - T) / 0.1
    facing = (normals * normalize(points)).sum(-1) < -0.1
    facing &= np.abs(ball.vertices_m[:, 1]) < 0.095  # near the poles triangles are slivers
    pixels = cam.project(points)
    inside = ((pixels > 1) & (pixels < (cam.width - 1, cam.height - 1))).all(-1)
    checked = np.flatnonzero(facing & inside)
    assert len(checked) > 200
    rows, columns = np.nonzero(drawn.triangle_id >= 0)
    owners = ball.triangles[drawn.triangle_id[rows, columns]]
    centres = np.stack([columns + 0.5, rows + 0.5], -1) / 2
    for vertex in checked:
        near = np.linalg.norm(centres - pixels[vertex], axis=-1) <= 0.5
        assert (owners[near] == vertex).any()
    assert visible_vertices(drawn, points[checked], cam).all()


def test_visibility_tells_front_from_back():
    ball = sphere(0.1, (0.0, 0.0, 0.5))
    cam = camera(96, 192.0)
    drawn = draw([ball], cam)
    points = ball.vertices_m.astype(float)
    looking = -((points - (0, 0, 0.5)) * normalize(points)).sum(-1) / 0.1
    seen = visible_vertices(drawn, points, cam)
    assert seen[looking > 0.1].all()
    assert not seen[looking < -0.2].any()
    outside = np.array([[0.0, 0.0, -0.5], [9.0, 0.0, 0.5]])
    assert not visible_vertices(drawn, outside, cam).any()
    with pytest.raises(ValueError, match="expected the one that was rendered"):
        visible_vertices(drawn, points, camera(50, 192.0))


def test_same_input_gives_the_same_bits():
    surfaces = [random_mesh(np.random.default_rng(5), 60), sphere(0.2, (0, 0, 1.0))]
    first, second = (draw(surfaces, WONKY, lit(0.3, 1.0, (1, -1, -1), 0.3)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_to_draw_leaves_the_background():
    drawn = draw([], background=0.25)
    assert (drawn.rgb == 0.25).all()
    assert (drawn.coverage == 0).all()
    assert (drawn.surface_id == -1).all()
    assert np.isinf(drawn.depth_m).all()
    assert drawn.first_triangle.tolist() == [0]


@pytest.mark.parametrize(
    "corners",
    [
        [(5, 5, 1), (5, 6, 1), (6, 5, 1)],  # outside the picture
        [(0, 0, -1), (0, 1, -1), (1, 0, -1)],  # behind the camera
        [(-1, -1, 1), (0, 2, 1), (2, -1, 0.001)],  # through the camera's plane
        [(0, 0, 1), (0, 0, 1), (0, 0, 1)],  # a point
        [(-1, -1, 1), (2, -1, 1), (-1, 2, 1)],  # seen from behind
    ],
)
def test_triangles_that_cannot_be_seen(corners):
    assert (draw([make(corners, [(0, 1, 2)])]).triangle_id == -1).all()


def test_rays_beyond_the_lens_model_are_not_folded_back():
    cam = Camera(32.0, 32.0, 16.0, 16.0, 32, 32, distortion=(-0.3, 0.0, 0.0, 0.0, 0.0))
    far_out = quad(3.0, -0.3, 3.6, 0.3, 1.0)
    assert (draw([far_out], cam).triangle_id == -1).all()


def test_nearer_surface_wins_whatever_the_order():
    near, far = quad(-1, -1, 1, 1, 1.0), quad(-1, -1, 1, 1, 1.5)
    assert (draw([near, far]).surface_id == 0).all()
    assert (draw([far, near]).surface_id == 1).all()


def test_head_frame_follows_the_pose_and_camera_frame_does_not():
    patch = quad(-0.1, -0.1, 0.1, 0.1, 0.0, frame="head")
    still = quad(-0.5, -0.5, -0.4, -0.4, 1.0)
    moved = draw([patch, still], T=np.array([0.25, 0.25, 1.0])).surface_id
    ys, xs = np.nonzero(moved == 0)
    assert abs(xs.mean() - 23.5) < 0.6
    assert abs(ys.mean() - 23.5) < 0.6
    assert moved[1, 1] == 1


def test_holes_are_cut_at_half_opacity():
    texture = np.zeros((8, 8, 4), np.uint8)
    texture[..., :3] = 255
    texture[:, 4:, 3] = 255
    assert has_holes(texture)
    assert not has_holes(flat())
    card = quad(-0.5, -0.5, 0.5, 0.5, 1.0, texture=texture)
    covered = draw([card]).coverage
    assert (covered[:, :15] == 0).all()
    assert (covered[:, 17:] == 1).all()


def test_lens_tints_what_lies_behind_and_stays_out_of_the_labels():
    wall = quad(-1, -1, 1, 1, 1.5)
    lens = quad(
        -0.2,
        -0.2,
        0.2,
        0.2,
        1.0,
        texture=flat((0, 0, 0), 102),
        material=Material(specular=0.0, blend=True),
    )
    drawn = draw([lens, wall])
    assert drawn.rgb[16, 16, 0] == pytest.approx(0.6, abs=0.03)
    assert drawn.rgb[2, 2, 0] == pytest.approx(1.0, abs=0.03)
    assert (drawn.surface_id == 1).all()
    hidden = draw(
        [quad(-0.2, -0.2, 0.2, 0.2, 2.0, texture=flat(alpha=9), material=lens.material), wall]
    )
    np.testing.assert_allclose(hidden.rgb, draw([wall]).rgb)


def test_even_light_shows_the_albedo():
    texture = flat((188, 99, 30))
    ball = sphere(0.3, (0, 0, 1.0), texture=texture)
    drawn = draw([ball])
    inner = drawn.coverage == 1
    expected = LINEAR[[188, 99, 30]]
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


def test_no_finish_sends_back_more_light_than_falls_in():
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


def test_mirror_shows_the_surroundings_the_right_way_round():
    surroundings = np.zeros((32, 64, 3), np.float32)
    surroundings[:16, :, 0] = 1.0  # up
    surroundings[:, 32:, 1] = 1.0  # right
    surroundings[:, 16:48, 2] = 1.0  # forward
    dark = lit(0.0)
    light = Light(dark.irradiance_sh, dark.key_direction, dark.key_rgb, 0.0, surroundings)
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


def test_flat_and_round_things_do_not_shadow_themselves():
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
    np.testing.assert_allclose(surface_occlusion([floor])[0], 1.0, atol=0.02)
    grid = np.stack(np.meshgrid(np.linspace(-0.1, 0.1, 9), np.linspace(-0.1, 0.1, 9)), -1)
    points = np.insert(grid.reshape(-1, 2), 2, 0.5, axis=1)
    a = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    ground = make(
        points, np.concatenate([np.stack([a, a + 10, a + 1], -1), np.stack([a, a + 9, a + 10], -1)])
    )
    lid = quad(-0.1, -0.1, 0.1, 0.1, 0.46)
    under, _ = surface_occlusion([ground, lid], directions=64)
    assert under[40] < 0.2  # the middle
    assert under[0] > 2 * under[40]
    glass = quad(-0.1, -0.1, 0.1, 0.1, 0.46, material=Material(blend=True))
    np.testing.assert_allclose(surface_occlusion([ground, glass])[0], 1.0, atol=0.02)


def test_packing_counts_on():
    mesh = pack([quad(0, 0, 1, 1, 1), quad(0, 0, 1, 1, 2, occlusion=np.full(4, 0.5, np.float32))])
    assert isinstance(mesh, Mesh)
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
def test_broken_surfaces_are_named(broken, message):
    with pytest.raises(ValueError, match="surface 'thing'") as caught:
        draw([broken()])
    assert message in str(caught.value)


def test_broken_settings_are_refused():
    with pytest.raises(ValueError, match="background_rgb"):
        render([], EYE, ORIGIN, camera(), lit(), np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="supersample"):
        draw([], supersample=0)
    with pytest.raises(ValueError, match="cam_from_head_R"):
        draw([], R=np.eye(4))
