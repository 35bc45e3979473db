"""What the measures of detectors count."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.support.dot_scenes import DotScenes
from trg.inference.detections import Detections, FixedBoxes
from trglab.detector.evaluation import (
    LabelledImage,
    labelled_stills,
    milliseconds,
    negative_scores,
    operating_point,
    positive_scores,
    recall_by_rotation,
    recall_by_size,
    report,
    threshold_for,
)

PICTURE = np.zeros((100, 100, 3), np.uint8)


class Scripted:
    """Answers with the boxes that each picture's first pixel names."""

    def __init__(self, answers: list[tuple[list[list[float]], list[float]]]) -> None:
        self.answers = answers

    def detect(self, image, max_faces=None, threshold=None) -> Detections:
        boxes, scores = self.answers[int(image[0, 0, 0])]
        return FixedBoxes(np.reshape(boxes, (-1, 4)), scores=scores).detect(
            image, threshold=threshold
        )


def numbered(number: int) -> np.ndarray:
    picture = PICTURE.copy()
    picture[0, 0] = number
    return picture


def test_a_face_counts_with_the_surest_answer_that_overlaps_enough() -> None:
    detector = Scripted(
        [
            ([[10, 10, 50, 50], [12, 12, 52, 52], [60, 60, 90, 90]], [0.4, 0.6, 0.9]),
            ([[60, 60, 90, 90]], [0.9]),
            ([], []),
            ([[10, 10, 50, 30]], [0.8]),  # the square around it is 10 px off: IoU 0.6
        ]
    )
    box = np.array([10.0, 10.0, 50.0, 50.0])
    pictures = [LabelledImage(str(k), numbered(k), box) for k in range(4)]
    labelled = positive_scores(detector, pictures)
    np.testing.assert_allclose(labelled, [0.6, 0.0, 0.0, 0.8])
    empty = negative_scores(detector, [numbered(k) for k in (0, 1, 2)])
    np.testing.assert_allclose(empty, [0.9, 0.9, 0.0])
    point = operating_point(labelled, empty, 0.7)
    assert (point.found, point.false_alarms) == (0.25, pytest.approx(2 / 3))
    figures = report(labelled, empty, 0.7)
    assert figures["at_threshold"] == point.to_dict()
    assert report(labelled[:0], empty, 0.7)["at_threshold"]["found"] is None
    found = [each["found"] for each in figures["curve"]]
    assert found == sorted(found, reverse=True)


def test_the_threshold_is_the_lowest_that_is_quiet_enough() -> None:
    empty = np.array([0.0] * 97 + [0.305, 0.5, 0.92])
    for share, expected in ((0.03, 0.01), (0.02, 0.31), (0.01, 0.51), (0.0, 0.93)):
        assert threshold_for(empty, share) == pytest.approx(expected)
    with pytest.raises(ValueError, match="expected at most 10"):
        threshold_for(np.ones(5), 0.1)
    with pytest.raises(ValueError, match="got none"):
        threshold_for(np.zeros(0), 0.1)


def test_faces_are_counted_by_size_and_strangers_apart() -> None:
    scenes = [DotScenes(0, 2).scene(k) for k in range(6)]
    for k, scene in enumerate(scenes):
        scene.image[0, 0, 0] = k
    answers = [(scene.boxes_xyxy[:1].tolist(), [0.9]) for scene in scenes]
    answers[3] = ([[0.0, 0.0, 5.0, 5.0]], [0.9])
    table = recall_by_size(Scripted(answers), scenes, edges_px=(30, 45, 61))
    assert table["all"]["faces"] == 12
    assert table["all"]["found"] == pytest.approx(5 / 12)
    assert table["all"]["answers_at_no_head"] == pytest.approx(1 / 6)
    assert table["30 to 45 px"]["faces"] + table["45 to 61 px"]["faces"] == 12
    hidden = [scene._replace(visible=np.zeros(2)) for scene in scenes]
    assert recall_by_size(Scripted(answers), hidden)["all"]["faces"] == 0


def test_turned_pictures_are_looked_at_in_their_middle() -> None:
    picture = np.zeros((60, 100, 3), np.uint8)
    table = recall_by_rotation(FixedBoxes([[40, 20, 60, 35]]), [picture])
    assert table == {"0 deg": 1.0, "90 deg": 0.0, "180 deg": 1.0, "270 deg": 0.0}
    assert 0 < milliseconds(FixedBoxes([[40, 20, 60, 35]]), runs=3) < 1000


def test_stills_are_read_with_the_papers_box(tmp_path) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(30, 70, (2, 68, 2))
    points[:, 0], points[:, 1] = (30, 30), (70, 50)
    for k in range(2):
        Image.fromarray(PICTURE).save(tmp_path / f"{k}.png")
    np.savez(tmp_path / "landmarks68.npz", names=["0.png", "1.png"], points=points)
    stills = list(labelled_stills(tmp_path))
    assert [still.name for still in stills] == ["0.png", "1.png"]
    assert stills[0].box_xyxy[2] - stills[0].box_xyxy[0] == pytest.approx(60.0, abs=0.5)
    with pytest.raises(FileNotFoundError, match="expected the stills' points"):
        list(labelled_stills(tmp_path / "nowhere"))
