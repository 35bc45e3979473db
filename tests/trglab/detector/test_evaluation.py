"""Recall and false-positive rate of detectors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from tests.support.dot_scenes import DotScenes
from trg.inference.detections import Detections, FixedBoxes
from trglab.detector.evaluation import (
    LabelledImage,
    SceneResults,
    detection_time_ms,
    evaluation_report,
    labelled_stills,
    negative_scores,
    operating_point,
    positive_scores,
    recall_by_rotation,
    threshold_for,
)
from trglab.detector.mixing import turn_scene

IMAGE = np.zeros((100, 100, 3), np.uint8)


class Scripted:
    """Returns the detections at the index that the first pixel of an image holds."""

    def __init__(self, answers: list[tuple[list[list[float]], list[float]]]) -> None:
        self.answers = answers

    def detect(self, image, max_faces=None, threshold=None) -> Detections:
        boxes, scores = self.answers[int(image[0, 0, 0])]
        return FixedBoxes(np.reshape(boxes, (-1, 4)), scores=scores).detect(
            image, threshold=threshold
        )


def image_of_index(number: int) -> np.ndarray:
    image = IMAGE.copy()
    image[0, 0] = number
    return image


def test_positive_scores_are_those_of_the_best_matching_detection() -> None:
    detector = Scripted(
        [
            ([[10, 10, 50, 50], [12, 12, 52, 52], [60, 60, 90, 90]], [0.4, 0.6, 0.9]),
            ([[60, 60, 90, 90]], [0.9]),
            ([], []),
            ([[10, 10, 50, 30]], [0.8]),  # the square around it is 10 px off: IoU 0.6
        ]
    )
    box = np.array([10.0, 10.0, 50.0, 50.0])
    images = [LabelledImage(str(k), image_of_index(k), box) for k in range(4)]
    positives = positive_scores(detector, images)
    np.testing.assert_allclose(positives, [0.6, 0.0, 0.0, 0.8])
    negatives = negative_scores(detector, [image_of_index(k) for k in (0, 1, 2)])
    np.testing.assert_allclose(negatives, [0.9, 0.9, 0.0])
    point = operating_point(positives, negatives, 0.7)
    assert (point.recall, point.false_positive_rate) == (0.25, pytest.approx(2 / 3))
    figures = evaluation_report(positives, negatives, 0.7)
    assert figures["at_threshold"] == dataclasses.asdict(point)
    assert evaluation_report(positives[:0], negatives, 0.7)["at_threshold"]["recall"] is None
    found = [each["recall"] for each in figures["curve"]]
    assert found == sorted(found, reverse=True)


def test_threshold_is_the_lowest_with_the_false_positive_rate() -> None:
    negatives = np.array([0.0] * 97 + [0.305, 0.5, 0.92])
    for share, expected in ((0.03, 0.01), (0.02, 0.31), (0.01, 0.51), (0.0, 0.93)):
        assert threshold_for(negatives, share) == pytest.approx(expected)
    with pytest.raises(ValueError, match="expected at most 10"):
        threshold_for(np.ones(5), 0.1)
    with pytest.raises(ValueError, match="got none"):
        threshold_for(np.zeros(0), 0.1)


def test_scenes_give_recall_by_size_roll_and_visibility() -> None:
    """One of two faces is found, the other has a wrong box; one scene has a stray detection."""
    scenes = [DotScenes(0, 2).scene(k) for k in range(6)]
    for k, scene in enumerate(scenes):
        scene.image[0, 0, 0] = k
    scenes[2] = turn_scene(scenes[2], 2)
    answers = [(scene.boxes_xyxy[:1].tolist(), [0.9]) for scene in scenes]
    answers[3] = ([[0.0, 0.0, 5.0, 5.0]], [0.9])
    scenes[2].image[0, 0, 0] = 2
    results = SceneResults.measure(Scripted(answers), scenes)
    assert len(results.found) == 12
    assert results.found.mean() == pytest.approx(5 / 12)
    assert results.stray.mean() == pytest.approx(1 / 6)
    by_size = results.recall_between(results.side_px, (30, 45, 61))
    assert sum(each["faces"] for each in by_size.values()) == 12
    by_roll = results.report()["by_roll_deg"]
    assert {name: each["faces"] for name, each in by_roll.items()} == {
        "0 to 30": 10,
        "120 to 180.01": 2,
    }
    hidden = [scene._replace(visible=np.full(2, 0.4)) for scene in scenes]
    report = SceneResults.measure(Scripted(answers), hidden).report()
    assert report["by_side_px"] == {}
    assert report["by_visible_share"]["0.25 to 0.5"]["faces"] == 12
    assert SceneResults.measure(Scripted(answers), []).report()["by_roll_deg"] == {}


def test_recall_by_rotation_counts_boxes_over_the_image_centre() -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    table = recall_by_rotation(FixedBoxes([[40, 20, 60, 35]]), [image])
    assert table == {"0 deg": 1.0, "90 deg": 0.0, "180 deg": 1.0, "270 deg": 0.0}
    assert 0 < detection_time_ms(FixedBoxes([[40, 20, 60, 35]]), runs=3) < 1000


def test_stills_have_the_papers_box(tmp_path) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(30, 70, (2, 68, 2))
    points[:, 0], points[:, 1] = (30, 30), (70, 50)
    for k in range(2):
        Image.fromarray(IMAGE).save(tmp_path / f"{k}.png")
    np.savez(tmp_path / "landmarks68.npz", names=["0.png", "1.png"], points=points)
    stills = list(labelled_stills(tmp_path))
    assert [still.name for still in stills] == ["0.png", "1.png"]
    assert stills[0].box_xyxy[2] - stills[0].box_xyxy[0] == pytest.approx(60.0, abs=0.5)
    with pytest.raises(FileNotFoundError, match="expected the stills"):
        list(labelled_stills(tmp_path / "nowhere"))
