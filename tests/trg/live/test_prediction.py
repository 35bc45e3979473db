"""Prediction by up to one frame."""

from __future__ import annotations

import numpy as np
import pytest

from trg.geometry.rotations import rotation_from_euler
from trg.live.prediction import PosePredictor


def pose_at(time_s: float) -> np.ndarray:
    """A head that turns by 90 degrees per second and moves by half a metre per second."""
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_euler(np.array([90.0 * time_s, 0.0, 0.0]))
    pose[:3, 3] = (0.5 * time_s, 0.0, 0.6)
    return pose


def test_a_steady_movement_is_predicted_one_frame_ahead():
    predictor = PosePredictor(1.0)
    for index in range(20):
        predicted = predictor.predict(pose_at(index / 30), 1, index / 30)
    np.testing.assert_allclose(predicted, pose_at(20 / 30), atol=1e-5)


def test_nothing_is_predicted_at_first_after_a_gap_for_another_person_and_by_default():
    predictor = PosePredictor(1.0)
    for person, time_s in [(1, 0.0), (1, 1.0), (2, 1.03)]:
        assert np.array_equal(predictor.predict(pose_at(time_s), person, time_s), pose_at(time_s))
    off = PosePredictor(0.0)
    for index in range(5):
        np.testing.assert_allclose(
            off.predict(pose_at(index / 30), 1, index / 30), pose_at(index / 30), atol=1e-12
        )


@pytest.mark.parametrize("frames", [-0.1, 1.5, float("nan")])
def test_more_than_a_frame_is_refused(frames):
    with pytest.raises(ValueError, match="0 to 1 frames"):
        PosePredictor(frames)
