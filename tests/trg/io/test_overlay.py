"""Drawn faces: mesh, axes, box, label, and extreme inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.support.faces import VGA, frontal_face, make_face, random_faces
from trg.error_bars import QUANTITIES, STD_COUNT, ErrorBars
from trg.face import Face
from trg.geometry.camera import Camera
from trg.io.overlay import (
    AXIS_COLOURS,
    AXIS_LENGTH_M,
    DEFAULT_LAYERS,
    OverlayStyle,
    colour_of,
    draw_faces,
)

GREY = np.full((480, 640, 3), 128, np.uint8)
NOTHING = OverlayStyle(mesh=False, axes=False, box=False, label=False)
MESH_ONLY = replace(NOTHING, mesh=True, opacity=1.0)


def changed(before, after):
    return (before != after).any(-1)


def silhouette(face: Face, size=(640, 480)):
    """A naive twin: every triangle filled, in no order, without smoothing."""
    mask = Image.new("1", size)
    pen = ImageDraw.Draw(mask)
    for triangle in face.landmarks_px[face.topology.triangles]:
        pen.polygon([tuple(corner) for corner in triangle.tolist()], fill=1)
    return np.asarray(mask)


def test_the_input_image_is_not_modified():
    before = GREY.copy()
    result = draw_faces(before, [frontal_face()])
    assert np.array_equal(before, GREY)
    assert result.shape == GREY.shape
    assert result.dtype == np.uint8
    assert changed(GREY, result).any()


def test_nothing_to_draw_changes_nothing():
    assert np.array_equal(draw_faces(GREY, []), GREY)
    assert np.array_equal(draw_faces(GREY, [frontal_face()], NOTHING), GREY)


def grown(mask, by=2):
    """Return a mask with a margin of ``by`` pixels."""
    return np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * by + 1)))


@pytest.mark.parametrize("angles", [(0, 0, 0), (60, 10, -30), (-100, 0, 20)])
def test_the_mesh_fills_its_silhouette_and_only_that(angles):
    face = make_face(angles, (0.0, 0.0, 0.5))
    drawn = changed(GREY, draw_faces(GREY, [face], MESH_ONLY))
    expected = silhouette(face)
    assert expected.sum() > 10_000
    assert not (drawn & (grown(expected) == 0)).any()
    if abs(angles[0]) < 90:  # otherwise a part shows its inner side
        assert (expected & (grown(drawn, 12) == 0)).sum() < 0.02 * expected.sum()


@pytest.mark.parametrize("distance_m", [0.3, 0.6, 2.0])
def test_the_mesh_leaves_the_face_visible(distance_m):
    """By default most of what the image shows of a face remains, also of a small one."""
    camera = Camera.from_fov(50.0, 1920, 1080)
    grey = np.full((1080, 1920, 3), 128, np.uint8)
    face = frontal_face((0.0, 0.0, distance_m), camera=camera)
    drawn = draw_faces(grey, [face], replace(NOTHING, mesh=True)).astype(float)
    inside = silhouette(face, (1920, 1080))
    share = np.abs(drawn - 128)[inside].mean() / np.abs(np.array(colour_of(face)) - 128.0).mean()
    assert 0.05 < share < 0.4


def test_lines_behind_other_parts_of_the_face_are_hidden():
    """Of two sheets, one behind the other, only the nearer is drawn."""
    face = frontal_face()
    behind = face.landmarks_m + (0.0, 0.0, 0.1)
    both = replace(
        face,
        landmarks_m=np.concatenate([face.landmarks_m, behind]),
        topology=doubled(face.topology),
    )
    near, all_drawn = (changed(GREY, draw_faces(GREY, [each], MESH_ONLY)) for each in (face, both))
    assert (near ^ all_drawn).sum() < 0.1 * near.sum()


def doubled(topology):
    """Return a mesh of two copies; the landmarks are the first's."""
    count = topology.vertex_count
    return replace(
        topology,
        template_m=np.tile(topology.template_m, (2, 1)),
        triangles=np.concatenate([topology.triangles, topology.triangles + count]),
        mirror=np.concatenate([topology.mirror, topology.mirror + count]),
    )


def test_lines_seen_from_inside_are_not_drawn():
    face = make_face((180, 0, 0), (0.0, 0.0, 0.5))
    assert changed(GREY, draw_faces(GREY, [face], MESH_ONLY)).mean() < 0.001


@pytest.mark.parametrize("left_top", [(560, 300), (560, 430), (50, 480), (480, 40)])
def test_faces_that_leave_the_image_are_drawn_as_in_a_larger_one(left_top):
    """The image shows a part of a larger one, and cuts the face at one or two of its sides."""
    left, top = left_top
    whole = Camera.from_fov(60.0, 1280, 960)
    part = replace(whole, width=640, height=480, cx=whole.cx - left, cy=whole.cy - top)
    style = replace(NOTHING, mesh=True, landmarks=True)
    drawn, expected = (
        draw_faces(
            np.full((camera.height, camera.width, 3), 128, np.uint8),
            [make_face((20, 5, 25), (0.0, 0.0, 0.8), camera=camera)],
            style,
        )
        for camera in (part, whole)
    )
    expected = expected[top : top + 480, left : left + 640]
    assert changed(GREY, expected).sum() > 1000
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_opacity_blends_the_mesh_with_the_image():
    face = frontal_face((0.0, 0.0, 0.3))
    none, half, full = (
        draw_faces(GREY, [face], replace(MESH_ONLY, opacity=opacity)).astype(float) - 128
        for opacity in (0.0, 0.3, 0.6)
    )
    assert not none.any()
    assert np.abs(2 * half - full).max() <= 3
    assert np.abs(full).max() == pytest.approx(0.6 * 127, abs=3)


def test_landmarks_are_points_at_their_pixels():
    face = frontal_face((0.0, 0.0, 0.3))
    drawn = draw_faces(GREY, [face], replace(NOTHING, landmarks=True))
    x, y = np.floor(face.landmarks68_px).astype(int).T
    assert (drawn[y, x].min(-1) > 230).mean() > 0.9  # some lie partly under others' borders
    assert changed(GREY, drawn).mean() < 0.03


def test_error_bars_are_ellipses_of_two_standard_deviations():
    """Around each landmark; and nothing for a face without error bars."""
    style = OverlayStyle.of(["errors"])
    std = np.full(STD_COUNT, 1e-4)
    std[QUANTITIES["landmarks"]][8] = 0.05  # the chin
    face = frontal_face(error_bars=ErrorBars(std))
    x, y = face.landmarks68_px[8]
    rows, columns = np.nonzero(changed(GREY, draw_faces(GREY, [face], style))[round(y) - 3 :])
    reach_px = 2.0 * face.landmarks_std_px[8]
    assert np.abs(columns + 0.5 - x).max() == pytest.approx(reach_px, abs=1.5)
    assert (rows + round(y) - 3 + 0.5 - y).max() == pytest.approx(reach_px, abs=1.5)
    np.testing.assert_array_equal(draw_faces(GREY, [frontal_face()], style), GREY)


def test_only_the_region_of_the_face_changes():
    face = frontal_face()
    drawn = changed(GREY, draw_faces(GREY, [face], OverlayStyle(landmarks=True)))
    x0, y0, x1, y1 = face.box_xyxy.astype(int)
    drawn[max(y0 - 40, 0) : y1 + 10, x0 - 10 : x1 + 10] = False
    assert not drawn.any()


def test_lines_and_text_grow_with_the_image():
    """A face is drawn alike in a larger picture of the scene, if both are shown at one size."""
    areas = []
    for width in (1600, 6400):
        camera = Camera.from_fov(60.0, width, width * 3 // 4)
        face = frontal_face((0.0, 0.0, 4.0), camera=camera)
        grey = np.full((width * 3 // 4, width, 3), 128, np.uint8)
        style = OverlayStyle.of(["axes", "box", "label"])
        areas.append(changed(grey, draw_faces(grey, [face], style)).mean())
    assert areas[1] == pytest.approx(areas[0], rel=0.3)


def test_layers_are_chosen_by_name():
    assert OverlayStyle.of(DEFAULT_LAYERS) == OverlayStyle()
    chosen = OverlayStyle.of(["landmarks", "box"])
    assert (chosen.landmarks, chosen.box) == (True, True)
    assert not any((chosen.mesh, chosen.axes, chosen.label))
    for wrong in (["wire", "box"], []):
        with pytest.raises(ValueError, match="mesh,landmarks,errors,axes,box,label"):
            OverlayStyle.of(wrong)


def test_axes_point_where_the_head_points():
    face = make_face((25, -15, 10), (0.0, 0.0, 0.5))
    drawn = draw_faces(GREY, [face], replace(NOTHING, axes=True))
    tips_m = np.diag((1.0, 1.0, -1.0)) * AXIS_LENGTH_M * 0.8
    tips_px = VGA.project(tips_m @ face.rotation.T + face.translation_m)
    for (x, y), colour in zip(tips_px, AXIS_COLOURS, strict=True):
        around = drawn[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].reshape(-1, 3)
        assert np.abs(around.astype(int) - colour).sum(-1).min() < 30


def test_box_corners_are_marked_and_its_middle_is_not():
    face = frontal_face(id=2)
    drawn = draw_faces(GREY, [face], replace(NOTHING, box=True))
    x0, y0, x1, y1 = np.rint(face.box_xyxy).astype(int)
    for y, x in ((y0, x0), (y0, x1 - 1), (y1 - 1, x0), (y1 - 1, x1 - 1)):
        assert tuple(drawn[y, x]) == colour_of(face)
    assert not changed(GREY, drawn)[y0 + 3 : y1 - 3, (x0 + x1) // 2].any()
    assert not changed(GREY, drawn)[y0 + 12 : y1 - 12, x0 + 12 : x1 - 12].any()


def test_the_label_marks_an_assumed_camera():
    label_only = replace(NOTHING, label=True)
    given = frontal_face()
    assumed = frontal_face(camera=replace(VGA, source="assumed"))
    named = frontal_face(id=12)
    images = [draw_faces(GREY, [face], label_only) for face in (given, assumed, named)]
    widths = [np.ptp(np.flatnonzero(changed(GREY, each).any(0))) for each in images]
    assert widths[0] < widths[1] < widths[2]


def test_identities_have_colours_of_their_own():
    assert colour_of(frontal_face()) == colour_of(frontal_face(id=0))
    assert len({colour_of(frontal_face(id=number)) for number in range(6)}) == 6


def test_people_without_identities_are_told_apart_by_colours():
    pair = [frontal_face((x, 0.0, 0.5)) for x in (-0.13, 0.13)]
    drawn = draw_faces(GREY, pair, OverlayStyle(mesh=False, axes=False, label=False))
    for number, face in enumerate(pair):
        x, y = face.box_xyxy[:2].round().astype(int)
        assert tuple(drawn[y, x]) == colour_of(face, number)
    assert colour_of(pair[0], 0) != colour_of(pair[1], 1)


def test_the_nearer_face_is_drawn_over_the_farther():
    near, far = frontal_face(id=0), frontal_face((0.03, 0.0, 0.8), id=1)
    for order in ([near, far], [far, near]):
        drawn = draw_faces(GREY, order, replace(MESH_ONLY, opacity=1.0))
        red, _, blue = drawn[240, 320].astype(int)
        assert blue > red  # number 0 is blue, number 1 orange


@pytest.mark.parametrize("size", [(1, 1), (16, 12), (320, 240), (1920, 1080)])
def test_every_size_of_image_and_face(size):
    width, height = size
    camera = Camera(width, width, width / 2, height / 2, width, height)
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    result = draw_faces(image, random_faces(rng, 2, camera=camera))
    assert result.shape == image.shape
    assert changed(image, result).any()


def test_lines_grow_with_the_face():
    box_only = replace(NOTHING, box=True)
    areas = [
        changed(GREY, draw_faces(GREY, [frontal_face((0, 0, z))], box_only)).sum()
        for z in (1.6, 0.8, 0.4)
    ]
    assert areas[0] < areas[1] / 1.5 < areas[2] / 2.5


def test_invisible_faces_are_omitted():
    faces = [
        frontal_face((5e11, 5e11, 0.5)),
        frontal_face((-5.0, -5.0, 0.5)),
        frontal_face((0.22, 0.15, 0.4)),
        frontal_face((0.0, 0.0, 80.0)),
    ]
    assert draw_faces(GREY, faces).shape == GREY.shape
    outside = replace(NOTHING, mesh=True, label=True)
    assert np.array_equal(draw_faces(GREY, [faces[1]], outside), GREY)


def test_errors_name_what_was_received():
    with pytest.raises(ValueError, match="uint8 RGB image"):
        draw_faces(GREY.astype(float), [])
    with pytest.raises(ValueError, match=r"opacity: expected 0 to 1, got 2"):
        OverlayStyle(opacity=2.0)
