"""Expression coefficients of methods against the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.support.known_methods import Known
from trg.geometry.camera import Camera
from trg.geometry.shape_basis import EXPRESSION_NAMES, bundled_shape_basis
from trglab.datasets.sample import Sample
from trglab.evaluation.expressions import correlations, measure_expressions

CAMERA = Camera(600.0, 600.0, 32.0, 32.0, 64, 64)
COUNT = 40


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Faces with random jaws and blinks; every second one is in profile."""
    rng = np.random.default_rng(0)
    basis = bundled_shape_basis()
    made = []
    for index in range(COUNT):
        weights = np.zeros(52, np.float32)
        weights[EXPRESSION_NAMES.index("jawOpen")] = rng.uniform(0.0, 1.0)
        weights[EXPRESSION_NAMES.index("eyeBlinkLeft")] = rng.uniform(0.0, 1.0)
        yaw_deg = 80.0 * (index % 2)
        made.append(
            Sample(
                image=np.zeros((64, 64, 3), np.uint8),
                camera=CAMERA,
                box_xyxy=np.array([10.0, 10.0, 50.0, 50.0]),
                rotation=Rotation.from_euler("y", yaw_deg, degrees=True).as_matrix(),
                translation_m=np.array([0.0, 0.0, 0.6]),
                vertices_m=basis.vertices_m(rng.standard_normal(40), weights),
                landmarks68_px=np.zeros((68, 2)),
                landmarks68_visible=np.ones(68, bool),
                identity=str(index),
                name=f"made {index}",
                expressions=weights,
            )
        )
    return made


def blind_to_expressions_in_profile(estimate):
    """A method that answers the mean face to a head in profile, and misses no face."""
    if abs(estimate.rotation[0, 2]) > 0.5:
        return estimate._replace(vertices_m=bundled_shape_basis().mean_m)
    return estimate


def test_correlations_of_a_method_that_sees_frontal_faces_only(samples):
    scores = measure_expressions(samples, Known(blind_to_expressions_in_profile))
    assert scores.true.shape == scores.predicted.shape == (COUNT, 52)
    assert scores.is_clear.sum() == COUNT // 2
    jaw = EXPRESSION_NAMES.index("jawOpen")
    assert correlations(scores.of_true_shapes, scores.true)[jaw] > 0.99
    assert correlations(scores.predicted, scores.true)[jaw] < 0.9
    clear = scores.is_clear
    assert correlations(scores.predicted[clear], scores.true[clear])[jaw] > 0.99
    table = scores.table("made up")
    cells = {row.label: row.cells for row in table.rows}
    assert min(cells["jawOpen"][1], cells["jawOpen"][3]) >= "0.99"
    assert cells["tongueOut"] == ["0", "-", "-", "-"], "never present: no correlation"
    assert set(cells) == {*EXPRESSION_NAMES, "mean"}


def test_hidden_landmarks_are_no_clear_view(samples):
    hidden = np.arange(68) < 60
    hand = [replace(sample, landmarks68_visible=hidden) for sample in samples[:4]]
    assert not measure_expressions(hand, Known()).is_clear.any()


def test_faces_that_are_not_found_are_left_out(samples):
    found_first = Known(lambda each: each if each.rotation[0, 0] > 0.5 else None)
    assert len(measure_expressions(samples, found_first, limit=10).true) == 5


def test_samples_without_expressions_are_refused(samples):
    with pytest.raises(ValueError, match="expected a face that tells its expression"):
        measure_expressions([replace(samples[0], expressions=None)], Known())


def test_correlation_of_a_constant_is_not_a_number():
    a = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    assert correlations(a, -a)[0] == pytest.approx(-1.0)
    assert np.isnan(correlations(a, a)[1])
