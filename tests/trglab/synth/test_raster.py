"""Rasterisation: depth, edges, exactness of labels, visibility."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.scenes import ASYMMETRIC, camera, draw, flat, lit, make, quad, sphere
from trg.geometry.camera import Camera
from trg.geometry.rotations import normalize, rotation_from_euler
from trglab.synth.render.mesh import has_holes
from trglab.synth.render.raster import visible_vertices
from trglab.synth.render.sampling import SRGB_TO_LINEAR
from trglab.synth.render.surface import Material
from trglab.synth.render.zbuffer import NEAR_PLANE_M, SAME_LAYER_DEPTH_SHARE, resolve_fragments


def random_mesh(rng, count, **more):
    middle = rng.uniform((-0.4, -0.4, 0.6), (0.4, 0.4, 1.4), (count, 1, 3))
    vertices = middle + rng.normal(0.0, 0.12, (count, 3, 3))
    uv = rng.random((3 * count, 2))
    return make(vertices.reshape(-1, 3), np.arange(3 * count), uv=uv, **more)


def naive_depth_buffer(points, triangles, cam, scale, cull):
    """Every sample against every triangle, in double precision; ties and edges stay marked."""
    screen = cam.project(points) * scale
    shape = (cam.height * scale, cam.width * scale)
    best, ids, margin = np.zeros(shape), np.full(shape, -1), np.full(shape, np.inf)
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    for t, (a, b, c) in enumerate(triangles):
        if min(points[a, 2], points[b, 2], points[c, 2]) < NEAR_PLANE_M:
            continue
        matrix = np.stack([np.append(screen[i], 1.0) for i in (a, b, c)], axis=1)
        if abs(np.linalg.det(matrix)) < 1e-9 or (cull and np.linalg.det(matrix) > 0):
            continue
        weights = np.linalg.inv(matrix) @ np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])
        inverse_depth = (weights.T @ (1.0 / points[[a, b, c], 2])).reshape(shape)
        edge = weights.min(axis=0).reshape(shape)
        wins = (edge >= 0) & (inverse_depth > best)
        close = np.where(edge > 0, np.abs(inverse_depth - best), np.inf)
        margin = np.minimum(margin, np.minimum(np.abs(edge), close))
        best, ids = np.where(wins, inverse_depth, best), np.where(wins, t, ids)
    return best, ids, margin > 1e-4


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("cam", [camera(24), ASYMMETRIC])
def test_depth_buffer_equals_the_naive_implementation(two_sided, cam):
    for seed in range(4):
        material = Material(two_sided=two_sided)
        surface = random_mesh(np.random.default_rng(seed), 12, material=material)
        drawn = draw([surface], cam, supersample=2)
        inverse_depth, ids, sure = naive_depth_buffer(
            surface.vertices_m.astype(float), surface.triangles, cam, 2, not two_sided
        )
        assert sure.mean() > 0.9
        assert (ids >= 0).any()
        np.testing.assert_array_equal(drawn.triangle_id[sure], ids[sure])
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(drawn.depth_m[sure], (1.0 / inverse_depth)[sure], rtol=1e-4)


def naive_fragments(inverse_depth, ids, scale, first_triangle):
    """(surface, pixel, triangle, x, y, samples) of every layer, sample by sample."""
    owner = np.searchsorted(first_triangle, ids, side="right") - 1
    found = []
    for row, column in np.ndindex(ids.shape[0] // scale, ids.shape[1] // scale):
        samples = [
            (scale * row + i // scale, scale * column + i % scale)
            for i in range(scale * scale)
            if ids[scale * row + i // scale, scale * column + i % scale] >= 0
        ]
        while samples:
            first = samples[0]
            near = inverse_depth[first]
            layer = [
                s
                for s in samples
                if owner[s] == owner[first]
                and not abs(inverse_depth[s] - near) > np.float32(SAME_LAYER_DEPTH_SHARE) * near
            ]
            y, x = np.mean([s for s in layer if ids[s] == ids[first]], axis=0) + 0.5
            pixel = row * (ids.shape[1] // scale) + column
            found.append((int(owner[first]), pixel, int(ids[first]), x, y, len(layer)))
            samples = [s for s in samples if s not in layer]
    return sorted(found, key=lambda fragment: fragment[0])


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_pixel_is_resolved_into_one_fragment_for_each_layer(scale):
    rng = np.random.default_rng(scale)
    first_triangle = np.array([0, 2, 5], np.int32)
    # Pixels of one triangle, with and without a step in depth, and of several triangles.
    ids = np.repeat(np.repeat(rng.integers(-1, 5, (9, 11)), scale, 0), scale, 1).astype(np.int32)
    mixed = rng.random(ids.shape) < 0.15
    ids[mixed] = rng.integers(-1, 5, mixed.sum())
    inverse_depth = np.where(
        ids < 0, 0.0, rng.choice([1.0, 1.005, 1.1], ids.shape, p=(0.8, 0.1, 0.1))
    )
    inverse_depth = inverse_depth.astype(np.float32)
    fragments, first = resolve_fragments(inverse_depth, ids, scale, first_triangle, (0, 0, 11, 9))
    expected = naive_fragments(inverse_depth, ids, scale, first_triangle)
    assert np.diff(first).tolist() == [sum(e[0] == s for e in expected) for s in range(2)]
    _, pixel, triangle, x, y, samples = (np.array(column) for column in zip(*expected, strict=True))
    np.testing.assert_array_equal(fragments.pixel, pixel)
    np.testing.assert_array_equal(fragments.triangle, triangle)
    np.testing.assert_allclose(fragments.x, x, rtol=1e-6)
    np.testing.assert_allclose(fragments.y, y, rtol=1e-6)
    np.testing.assert_allclose(fragments.weight, samples / scale**2, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_surfaces_with_holes_are_drawn_wherever_nothing_is_in_front_of_them(seed):
    rng = np.random.default_rng(seed)
    cards = random_mesh(rng, 30, texture=checkerboard())
    walls = random_mesh(rng, 4, material=Material(two_sided=True))
    cam = camera(29, 20.0)  # not a whole number of the tiles that the occlusion test uses
    together, hair, wall = (draw(s, cam).depth_m for s in ([walls, cards], [cards], [walls]))
    assert (hair < wall).any()
    assert (hair > wall).any()
    np.testing.assert_array_equal(together, np.minimum(hair, wall))


def checkerboard():
    """Every second texel is a hole."""
    texture = flat().repeat(8, 0).repeat(8, 1)
    texture[np.indices((8, 8)).sum(0) % 2 == 0, 3] = 0
    return texture


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
    expected = np.interp(u * 256 - 0.5, np.arange(256), SRGB_TO_LINEAR)
    assert inside.sum() > 20
    np.testing.assert_allclose(drawn.rgb[32, inside, 0], expected[inside], atol=0.012)


@pytest.mark.parametrize("angle_deg", [10.0, 33.0, 71.0])
def test_edges_are_antialiased_by_coverage(angle_deg):
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
    visible = (normals * normalize(points)).sum(-1) < -0.1
    visible &= np.abs(ball.vertices_m[:, 1]) < 0.095  # near the poles triangles are slivers
    pixels = cam.project(points)
    inside = ((pixels > 1) & (pixels < (cam.width - 1, cam.height - 1))).all(-1)
    checked = np.flatnonzero(visible & inside)
    assert len(checked) > 200
    rows, columns = np.nonzero(drawn.triangle_id >= 0)
    owners = ball.triangles[drawn.triangle_id[rows, columns]]
    centres = np.stack([columns + 0.5, rows + 0.5], -1) / 2
    for vertex in checked:
        near = np.linalg.norm(centres - pixels[vertex], axis=-1) <= 0.5
        assert (owners[near] == vertex).any()
    assert visible_vertices(drawn, points[checked], cam).all()


def test_only_front_vertices_are_visible():
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
    with pytest.raises(ValueError, match="expected the one used for rendering"):
        visible_vertices(drawn, points, camera(50, 192.0))


def test_rendering_is_deterministic():
    surfaces = [random_mesh(np.random.default_rng(5), 60), sphere(0.2, (0, 0, 1.0))]
    first, second = (draw(surfaces, ASYMMETRIC, lit(0.3, 1.0, (1, -1, -1), 0.3)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_surfaces_the_background_is_unchanged():
    drawn = draw([], background=0.25)
    assert (drawn.rgb == 0.25).all()
    assert (drawn.coverage == 0).all()
    assert (drawn.surface_id == -1).all()
    assert np.isinf(drawn.depth_m).all()
    assert drawn.first_triangle.tolist() == [0]


@pytest.mark.parametrize(
    "corners",
    [
        [(5, 5, 1), (5, 6, 1), (6, 5, 1)],  # outside the image
        [(0, 0, -1), (0, 1, -1), (1, 0, -1)],  # behind the camera
        [(-1, -1, 1), (0, 2, 1), (2, -1, 0.001)],  # through the camera's plane
        [(0, 0, 1), (0, 0, 1), (0, 0, 1)],  # a point
        [(-1, -1, 1), (2, -1, 1), (-1, 2, 1)],  # seen from behind
    ],
)
def test_invisible_triangles_are_not_drawn(corners):
    assert (draw([make(corners, [(0, 1, 2)])]).triangle_id == -1).all()


def test_points_beyond_the_valid_distortion_are_not_drawn():
    cam = Camera(32.0, 32.0, 16.0, 16.0, 32, 32, distortion=(-0.3, 0.0, 0.0, 0.0, 0.0))
    far_out = quad(3.0, -0.3, 3.6, 0.3, 1.0)
    assert (draw([far_out], cam).triangle_id == -1).all()


def test_the_closer_surface_wins_in_any_order():
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


def test_alpha_to_coverage_covers_that_share_of_the_pixels():
    strands = Material(coverage=True)
    for alpha, share in ((255, 1.0), (190, 0.75), (128, 0.5), (64, 0.25), (10, 0.0)):
        card = quad(-2, -2, 2, 2, 1.0, texture=flat((255, 255, 255), alpha), material=strands)
        assert draw([card]).coverage.mean() == pytest.approx(share, abs=0.01)
    # Layers hide independent samples, so that a second one covers more than the first alone.
    layers = [
        quad(-2, -2, 2, 2, depth, texture=flat((255, 255, 255), 128), material=strands)
        for depth in (1.0, 1.1, 1.2)
    ]
    assert draw(layers[:2]).coverage.mean() > 0.6
    assert draw(layers).coverage.mean() > 0.7


def test_a_lens_tints_the_background_and_leaves_the_labels_unchanged():
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
        [
            quad(-0.2, -0.2, 0.2, 0.2, 2.0, texture=flat(alpha=9), material=lens.material),
            wall,
        ]
    )
    np.testing.assert_allclose(hidden.rgb, draw([wall]).rgb)
