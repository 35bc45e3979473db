"""Scenes mixed from faces and face-free images, flipped, turned and stored."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.support.dot_faces import DotFaces
from tests.support.dot_scenes import DotScenes
from trglab.datasets.view_store import ViewStoreSettings, write_views
from trglab.detector.mixing import ReusedScenes, SceneMixer, flip_scene, turn_scene
from trglab.detector.scene_store import JoinedScenes, SceneStore, ViewScenes, write_scenes


def bright_region(image: np.ndarray) -> np.ndarray:
    """Bounding rectangle of the bright disc."""
    rows, columns = np.nonzero(image.min(2) > 120)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def test_mixed_scenes_have_correct_labels() -> None:
    """If a scene shows one complete disc, its box is twice as large and concentric."""
    mixer = SceneMixer(3, 96, negatives=DotScenes(1, 0), scenes=DotScenes(2, 1))
    checked = 0
    for number in range(120):
        scene = mixer.scene(number)
        inside = (scene.boxes_xyxy >= 0).all() and (scene.boxes_xyxy <= 96).all()
        if len(scene.boxes_xyxy) != 1 or len(scene.ignore_xyxy) or not inside:
            continue
        box = scene.boxes_xyxy[0]
        if box[2] - box[0] < 24 or (scene.image.min(2) > 120).mean() > 0.4:  # coloured filling
            continue
        found = bright_region(scene.image)
        side = box[2] - box[0]
        middle, half = (box[:2] + box[2:]) / 2, side / 4
        np.testing.assert_allclose(found[:2], middle - half, atol=0.06 * side + 1.0)
        np.testing.assert_allclose(found[2:], middle + half, atol=0.06 * side + 1.0)
        checked += 1
    assert checked >= 15


def test_scenes_are_a_function_of_seed_and_index() -> None:
    mixers = [
        SceneMixer(s, 96, negatives=DotScenes(1, 0), scenes=DotScenes(2, 3)) for s in (0, 0, 1)
    ]
    a, b, c = (mixer.scene(7) for mixer in mixers)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(a.image, c.image)


def test_reused_scenes_are_those_of_the_mixer_each_as_often_as_asked() -> None:
    mixer = SceneMixer(3, 96, negatives=DotScenes(1, 0), scenes=DotScenes(2, 1))
    reused = ReusedScenes(mixer, uses=3, block=4)
    scenes = [reused.scene(index) for index in range(24)]
    for first in (0, 4):  # two blocks
        originals = [mixer.scene(index) for index in range(first, first + 4)]
        block = scenes[3 * first : 3 * first + 12]
        counts = [
            [np.array_equal(each.image, whole.image) for each in block].count(True)
            + [np.array_equal(each.image, flip_scene(whole).image) for each in block].count(True)
            for whole in originals
        ]
        assert counts == [3, 3, 3, 3]
    again = ReusedScenes(mixer, uses=3, block=4)
    for index in (17, 5, 17):  # as after a resumption
        np.testing.assert_array_equal(again.scene(index).image, scenes[index].image)


def test_joined_scenes_follow_each_other() -> None:
    parts = [DotScenes(1, 1), DotScenes(2, 1)]
    joined = JoinedScenes(parts)
    first, second = map(len, parts)
    assert len(joined) == first + second
    for index, scene in (
        (0, parts[0].scene(0)),
        (first - 1, parts[0].scene(first - 1)),
        (first, parts[1].scene(0)),
        (first + second - 1, parts[1].scene(second - 1)),
    ):
        np.testing.assert_array_equal(joined.scene(index).image, scene.image)


def test_flipping_twice_restores_a_scene() -> None:
    scene = DotScenes(0, 2).scene(0)
    once, twice = flip_scene(scene), flip_scene(flip_scene(scene))
    np.testing.assert_array_equal(twice.image, scene.image)
    np.testing.assert_allclose(twice.boxes_xyxy, scene.boxes_xyxy)
    np.testing.assert_allclose(twice.points, scene.points)
    assert (once.points[:, 0, 0] < once.points[:, 1, 0]).all()  # from left to right
    assert (once.boxes_xyxy[:, 0] < once.boxes_xyxy[:, 2]).all()


def test_turning_a_scene_turns_its_labels() -> None:
    """Each point keeps its pixel, and the image turns clockwise."""
    scene = DotScenes(0, 2).scene(0)
    scene.image[:] = np.random.default_rng(0).integers(0, 255, scene.image.shape)
    scene = scene._replace(points=scene.points + 0.25)  # not between two pixels
    for quarters in range(-1, 5):
        turned = turn_scene(scene, quarters)
        np.testing.assert_array_equal(turned.image, np.rot90(scene.image, -quarters))
        (x, y), (u, v) = (np.floor(each.points).astype(int).T for each in (scene, turned))
        np.testing.assert_array_equal(turned.image[v, u], scene.image[y, x])
        low, high = turned.boxes_xyxy[:, None, :2], turned.boxes_xyxy[:, None, 2:]
        assert ((turned.points > low) & (turned.points < high)).all()
        sides = [boxes[:, 2] - boxes[:, 0] for boxes in (turned.boxes_xyxy, scene.boxes_xyxy)]
        np.testing.assert_allclose(*sides)


def test_a_mixer_needs_faces() -> None:
    with pytest.raises(ValueError, match="expected images with faces"):
        SceneMixer(0, 96, negatives=DotScenes(0, 0))


def test_scenes_are_stored_and_read_back(tmp_path) -> None:
    scenes = DotScenes(0, 2)
    write_scenes(tmp_path / "scenes", scenes.scene, 5, provenance={"seed": 0})
    store = SceneStore(tmp_path / "scenes")
    assert len(store) == 5
    for a, b in zip(store.scene(4), scenes.scene(4), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="expected a store of views, got one of scenes"):
        ViewScenes(tmp_path / "scenes")
    with pytest.raises(FileNotFoundError, match="trg data pack"):
        SceneStore(tmp_path / "nowhere")


def test_views_become_scenes_of_one_face(tmp_path) -> None:
    settings = ViewStoreSettings(96, image_format="raw")
    write_views(tmp_path / "views", DotFaces, settings, indices=range(2))
    scene = ViewScenes(tmp_path / "views").scene(1)
    box = scene.boxes_xyxy[0]
    np.testing.assert_allclose(box[2:] - box[:2], 96 / 1.6, atol=0.01)
    for x, y in scene.points[0]:
        assert (box[:2] < (x, y)).all()
        assert (box[2:] > (x, y)).all()
    assert scene.ignore_xyxy.shape == (4, 4)


def test_views_are_rolled_with_their_labels(tmp_path, monkeypatch) -> None:
    """Some views show the face rolled by any angle: the tip of the nose stays where it is bright,
    and the five points turn with it."""
    settings = ViewStoreSettings(96, image_format="raw")
    nose = partial(DotFaces, dots=(30,))
    write_views(tmp_path / "views", nose, settings, indices=range(24))
    views = ViewScenes(tmp_path / "views")
    rolled = [views.scene(index) for index in range(24)]
    monkeypatch.setattr("trglab.detector.scene_store.ROLLED_SHARE", 0.0)
    rolls = []
    for index, scene in enumerate(rolled):
        column, row = scene.points[0, 2].astype(int)
        assert scene.image[row, column, 0] > 0.8 * scene.image.max()
        before, after = (
            points[1] - points[0] for points in (views.scene(index).points[0], scene.points[0])
        )
        np.testing.assert_allclose(np.hypot(*after), np.hypot(*before))
        turn = np.arctan2(np.linalg.det([before, after]), before @ after)
        rolls.append(abs(np.degrees(turn)))
    assert 0.4 < np.mean(np.array(rolls) < 1.0) < 0.8
    assert max(rolls) > 90.0
