"""Scenes for a face detector: compositing, cut-outs, labels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from trg.geometry.crop import face_box
from trglab.detector.compositing import (
    HEADROOM,
    Similarity,
    composite,
    decode,
    downsample,
    encode,
)
from trglab.detector.covers import cover_face
from trglab.detector.cutouts import FACE_SAMPLES, Cutout, CutoutRenderer, five_points
from trglab.detector.scenes import DetectionScenes, _label, _Placed

WHITE = np.ones(3, np.float32)
SMALL = {"size": (96, 80), "people": 1, "scenes_per_person": 40}


@pytest.fixture(scope="module")
def maker():
    return CutoutRenderer(3)


@pytest.fixture(scope="module")
def person(maker):
    return maker.person(0)


@pytest.fixture(scope="module")
def scenes():
    return DetectionScenes(5, **SMALL)


def random_cutout(rng, height=9, width=7):
    cover = rng.random((height, width))
    return encode(rng.random((height, width, 3)) * cover[..., None], cover)


def blank(height=24, width=20):
    return np.full((height, width, 3), 0.2, np.float32), np.full((height, width), -1, np.int16)


def pose(place=(0.0, 0.0), scale=1.0, roll=0.0, flipped=False, centre=(0.0, 0.0)):
    return Similarity.from_centre(np.array(centre), np.array(place), scale, roll, flipped)


def composite_by_pixel(scene, cutout, similarity, light):
    """Bilinear lookup of premultiplied light, pixel by pixel; empty outside."""
    values = np.pad(decode(cutout).astype(np.float64), ((1, 2), (1, 2), (0, 0)))
    inverse = np.linalg.inv(similarity.matrix)
    out = scene.astype(np.float64)
    for y in range(scene.shape[0]):
        for x in range(scene.shape[1]):
            u, v = inverse @ (np.array([x + 0.5, y + 0.5]) - similarity.offset_px) - 0.5
            if not (-1 < u < cutout.shape[1] and -1 < v < cutout.shape[0] - 0.5):
                continue
            left, top = int(np.floor(u)), int(np.floor(v))
            fx, fy = u - left, v - top
            block = values[top + 1 : top + 3, left + 1 : left + 3]
            rgba = np.einsum("i,j,ijc->c", [1 - fy, fy], [1 - fx, fx], block)
            out[y, x] = out[y, x] * (1 - rgba[3]) + rgba[:3] * light
    return out


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(("scale", "roll"), [(1.0, 0.0), (1.7, 0.4), (0.8, -2.5)])
def test_compositing_equals_a_loop_over_pixels(scale, roll, flipped):
    rng = np.random.default_rng(1)
    cutout, light = random_cutout(rng), np.array([0.5, 1.0, 2.0])
    scene, cutout_index = blank()
    similarity = pose((9.3, 11.8), scale, roll, flipped, (3.5, 4.5))
    expected = composite_by_pixel(scene, cutout, similarity, light)
    composite(scene, cutout_index, 4, cutout, similarity, light)
    np.testing.assert_allclose(scene, expected, atol=2e-5)
    assert set(np.unique(cutout_index)) == {-1, 4}


def test_an_opaque_cutout_replaces_the_scene_and_a_transparent_one_keeps_it():
    scene, cutout_index = blank(8, 8)
    solid = encode(np.full((8, 8, 3), 0.75), np.ones((8, 8)))
    composite(scene, cutout_index, 0, solid, pose(), WHITE, tail=1.0)
    np.testing.assert_allclose(scene, 0.75, atol=0.01)
    assert (cutout_index == 0).all()
    before = scene.copy()
    composite(scene, cutout_index, 1, np.zeros((8, 8, 4), np.uint8), pose(), WHITE)
    np.testing.assert_array_equal(scene, before)


def test_a_cutout_outside_the_image_changes_nothing():
    scene, cutout_index = blank()
    before = scene.copy()
    composite(
        scene, cutout_index, 0, random_cutout(np.random.default_rng(0)), pose((500.0, -90.0)), WHITE
    )
    np.testing.assert_array_equal(scene, before)
    assert (cutout_index == -1).all()


def test_a_tail_repeats_the_lowest_row():
    scene, cutout_index = blank(24, 6)
    rows = np.linspace(0.1, 0.9, 4)[:, None, None] * np.ones((4, 6, 3))
    cutout = encode(rows, np.ones((4, 6)))
    composite(scene, cutout_index, 0, cutout, pose(), WHITE, tail=2.0)
    assert (cutout_index[:12] == 0).all()
    assert (cutout_index[12:] == -1).all()
    np.testing.assert_allclose(scene[4:11], 0.9, atol=0.02)


def test_points_follow_the_pixels():
    light = np.zeros((21, 21, 3))
    light[4, 15] = 2.0
    cutout = encode(light, np.zeros((21, 21)))
    for roll, flipped in ((0.0, False), (1.1, False), (-2.0, True)):
        scene, cutout_index = np.zeros((90, 90, 3), np.float32), np.full((90, 90), -1, np.int16)
        similarity = pose((44.0, 47.0), 2.6, roll, flipped, (10.5, 10.5))
        composite(scene, cutout_index, 0, cutout, similarity, WHITE)
        bright = scene[..., 0] / scene[..., 0].sum()
        rows, columns = np.indices(bright.shape) + 0.5
        found = (bright * columns).sum(), (bright * rows).sum()
        np.testing.assert_allclose(found, similarity.apply(np.array([15.5, 4.5])), atol=0.05)


def test_positive_roll_is_clockwise():
    right, below = pose(roll=np.pi / 2).apply(np.array([[1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(right, (0.0, 1.0), atol=1e-12)
    np.testing.assert_allclose(below, (-1.0, 0.0), atol=1e-12)


def test_encoding_preserves_values_and_clips_above_the_headroom():
    light = np.linspace(0.0, HEADROOM, 60).reshape(4, 5, 3)
    back = decode(encode(light, np.full((4, 5), 0.5)))
    np.testing.assert_allclose(np.sqrt(back[..., :3]), np.sqrt(light), atol=0.004)
    np.testing.assert_allclose(back[..., 3], 0.5, atol=0.003)
    assert decode(encode(light + 9.0, np.ones((4, 5))))[..., :3].max() == pytest.approx(HEADROOM)


def test_downsampling_preserves_light_and_positions():
    cutout = random_cutout(np.random.default_rng(2), 8, 6)
    half = downsample(cutout)
    assert half.shape == (4, 3, 4)
    blocks = decode(cutout).reshape(4, 2, 3, 2, 4).mean((1, 3))
    np.testing.assert_allclose(decode(half), blocks, atol=0.02)
    assert downsample(random_cutout(np.random.default_rng(2), 7, 5)).shape == (4, 3, 4)
    transform = pose((30.0, 20.0), 0.5, 0.3)
    point = np.array([4.0, 6.0])
    np.testing.assert_allclose(transform.at_level(1).apply(point / 2), transform.apply(point))


def test_a_person_is_a_pure_function_of_seed_and_number(maker, person):
    again = CutoutRenderer(3).person(0)
    for one, other in zip(person, again, strict=True):
        assert one.kind == other.kind
        for a, b in zip(one.levels, other.levels, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(one.landmarks68_px, other.landmarks68_px)
    assert not np.array_equal(maker.person(1)[0].landmarks68_px, person[0].landmarks68_px)


def test_cutouts_are_labelled_heads_of_the_expected_sizes(person):
    heads, negative = person[:-1], person[-1]
    assert negative.kind == "negative"
    assert {head.kind for head in heads} <= {"face", "back"}
    for head in heads:
        height, width = head.levels[0].shape[:2]
        side = head.box_xyxy[2] - head.box_xyxy[0]
        assert min(abs(side - size) for size in (56, 120, 260)) < 0.5
        inside = (head.landmarks68_px > -2).all() and (
            head.landmarks68_px < (width + 2, height + 2)
        ).all()
        assert inside
        cover = head.levels[0][..., 3]
        assert (cover[head.face_px[:, 1].astype(int), head.face_px[:, 0].astype(int)] > 0).all()
        assert -1 <= head.light_x <= 1
    faces = [head for head in heads if head.kind == "face"]
    assert np.mean([face.face_seen.mean() for face in faces]) > 0.6


def test_the_five_points_are_eyes_nose_and_mouth():
    landmarks = np.arange(136.0).reshape(68, 2)
    right, left, nose, mouth_right, mouth_left = five_points(landmarks)
    np.testing.assert_allclose(right, landmarks[36:42].mean(0))
    np.testing.assert_allclose(left, landmarks[42:48].mean(0))
    np.testing.assert_array_equal([nose, mouth_right, mouth_left], landmarks[[30, 48, 54]])


def test_scenes_are_a_pure_function_of_seed_and_index(scenes):
    ahead = [scenes.sample(index) for index in (3, 0, 7)]
    fresh = pickle.loads(pickle.dumps(scenes))
    for index, scene in zip((7, 0, 3), reversed(ahead), strict=True):
        for one, other in zip(fresh.sample(index), scene, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(ahead[0].image, ahead[1].image)


def test_labels_have_the_documented_shapes(scenes):
    counts = []
    for index in range(40):
        scene = scenes.sample(index)
        count = len(scene.boxes_xyxy)
        counts.append(count)
        assert scene.image.shape == (80, 96, 3)
        assert scene.image.dtype == np.uint8
        assert scene.boxes_xyxy.shape == (count, 4)
        assert scene.points.shape == (count, 5, 2)
        assert scene.visible.shape == (count,)
        assert scene.ignore_xyxy.shape[1:] == (4,)
        assert ((scene.visible >= 0) & (scene.visible <= 1)).all()
        sides = scene.boxes_xyxy[:, 2:] - scene.boxes_xyxy[:, :2]
        np.testing.assert_allclose(sides[:, 0], sides[:, 1])
        assert (sides > 10).all()
        low, high = scene.boxes_xyxy[:, None, :2], scene.boxes_xyxy[:, None, 2:]
        assert ((scene.points >= low) & (scene.points <= high)).all()
    assert 0.1 < np.mean(np.array(counts) == 0) < 0.5
    assert max(counts) <= 40


def with_people(scenes, person, **options):
    """Return scenes with other options whose people are already rendered."""
    changed = DetectionScenes(scenes.seed, **{**SMALL, **options})
    changed._person = person
    return changed


def test_people_change_gradually(scenes, person):
    requested = set()

    def get_person(index):
        requested.add(index)
        return person

    watched = with_people(scenes, get_person, people=3)
    for index in (40, 45, 50, 60, 70, 79):
        watched.sample(index)
    assert requested == {1, 2, 3}


def test_people_are_rendered_once_while_they_are_in_use(scenes, monkeypatch, person):
    rendered = []

    def render(self, index):
        rendered.append(index)
        return person

    monkeypatch.setattr(CutoutRenderer, "person", render)
    fresh = DetectionScenes(scenes.seed, **{**SMALL, "face_free_share": 0.0})
    for index in range(80):
        fresh.sample(index)
    assert rendered == [0, 1]


def test_face_free_share_is_kept(scenes):
    none = with_people(scenes, scenes._person, face_free_share=1.0)
    assert sum(len(none.sample(index).boxes_xyxy) for index in range(12)) == 0
    always = with_people(scenes, scenes._person, face_free_share=0.0)
    heads = [always.sample(index) for index in range(12)]
    assert all(len(scene.boxes_xyxy) + len(scene.ignore_xyxy) for scene in heads)


def test_a_crowd_has_more_than_ten_faces_of_similar_size(scenes, monkeypatch):
    monkeypatch.setattr("trglab.detector.scenes.CROWD_PROBABILITY", 1.0)
    crowd = with_people(scenes, scenes._person, size=(400, 320), face_free_share=0.0)
    drawn = [crowd.sample(index) for index in range(4)]
    assert max(len(scene.boxes_xyxy) for scene in drawn) > 10
    for scene in drawn:
        sides = scene.boxes_xyxy[:, 2] - scene.boxes_xyxy[:, 0]
        assert sides.max() < 4.0 * sides.min()


def test_heads_are_rolled_by_any_angle(scenes):
    many = with_people(scenes, scenes._person, face_free_share=0.0, size=(160, 128))
    points = np.concatenate([many.sample(index).points for index in range(60)])
    x, y = (points[:, 3:].mean(1) - points[:, :2].mean(1)).T
    rolls = np.abs(np.degrees(np.arctan2(-x, y)))
    assert np.mean(rolls < 45) > 0.6
    assert 0.05 < np.mean(rolls > 60) < 0.3


def face_cutout(side=40, kind="face"):
    rng = np.random.default_rng(9)
    landmarks = rng.uniform(0.2, 0.8, (68, 2)) * side
    landmarks[36:42], landmarks[42:48] = (0.3 * side, 0.3 * side), (0.7 * side, 0.3 * side)
    places = rng.uniform(0.0, 1.0, (FACE_SAMPLES, 2)) * side
    seen = np.ones(FACE_SAMPLES, bool)
    pixels = encode(np.full((side, side, 3), 0.5), np.ones((side, side)))
    return Cutout(kind, (pixels,), landmarks.astype(np.float32), places, seen, 0.0)


def labels_of(*pasted, size=(60, 100)):
    """Paste in order and return the labels."""
    scene, cutout_index = blank(*size)
    for number, one in enumerate(pasted):
        composite(scene, cutout_index, number, one.cutout.levels[0], one.scene_from_cutout, WHITE)
    return _label(np.zeros((*size, 3), np.uint8), cutout_index, list(pasted))


def test_visible_is_the_unoccluded_share():
    cutout = face_cutout()
    alone = _Placed(cutout, pose((5.0, 5.0)), False)
    assert labels_of(alone).visible == [1.0]
    half_over = _Placed(cutout, pose((25.0, 5.0)), False)
    far, near = labels_of(alone, half_over).visible
    assert near == 1.0
    assert far == pytest.approx(0.5, abs=0.15)
    cut_off = _Placed(cutout, pose((-20.0, 5.0)), False)
    assert labels_of(cut_off).visible[0] == pytest.approx(0.5, abs=0.15)
    masked = cutout._replace(face_seen=np.arange(FACE_SAMPLES) % 4 == 0)
    assert labels_of(_Placed(masked, pose((5.0, 5.0)), False)).visible == [0.25]


def test_boxes_enclose_the_landmarks_and_the_persons_right_eye_is_first():
    cutout = face_cutout()
    for roll, flipped in ((0.0, False), (0.9, False), (0.0, True), (3.1, True)):
        similarity = pose((50.0, 30.0), 0.8, roll, flipped, (20.0, 20.0))
        labels = labels_of(_Placed(cutout, similarity, flipped))
        np.testing.assert_allclose(
            labels.boxes_xyxy[0], face_box(similarity.apply(cutout.landmarks68_px)), atol=1e-4
        )
        right, left = labels.points[0, :2]
        upright = np.array([np.cos(roll), np.sin(roll)])
        assert (left - right) @ upright > 0


def test_heads_from_behind_are_ignored_and_hard_negatives_have_no_label():
    at = pose((5.0, 5.0))
    labels = labels_of(
        _Placed(face_cutout(kind="back"), at, False),
        _Placed(face_cutout(kind="negative"), at, False),
    )
    assert len(labels.boxes_xyxy) == 0
    assert labels.ignore_xyxy.shape == (1, 4)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seed": -1}, "seed"),
        ({"size": (320, 8)}, "size"),
        ({"people": 0}, "people"),
        ({"scenes_per_person": 0}, "scenes_per_person"),
        ({"face_free_share": 1.5}, "face_free_share"),
        ({"min_box_px": 500.0}, "min_box_px"),
    ],
)
def test_parameters_out_of_range_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        DetectionScenes(**options)


def test_a_negative_index_is_refused(scenes):
    with pytest.raises(ValueError, match="index"):
        scenes.sample(-1)


def test_a_cover_hides_at_most_about_half_of_a_face():
    """An object before a face hides part of it: the half on the other side remains visible."""
    box = np.array([20.0, 20.0, 80.0, 80.0])
    angle = np.linspace(0.0, 2.0 * np.pi, 400)
    radius = np.sqrt(np.linspace(0.0, 1.0, 400))
    face = (50.0 + 20.0 * radius * np.array([np.cos(97 * angle), np.sin(97 * angle)])).astype(int)
    hidden = []
    for seed in range(40):
        scene, cutout_index = blank(100, 100)
        before = scene.copy()
        cover_face(scene, cutout_index, box, np.random.default_rng(seed), WHITE)
        covered = cutout_index == -2
        assert (scene[covered] != before[covered]).any()
        hidden.append(covered[face[1], face[0]].mean())
    assert max(hidden) < 0.6
    assert np.mean(np.array(hidden) > 0.1) > 0.5
