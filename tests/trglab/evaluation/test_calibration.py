"""Fitting of the confidence model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.support.oracle_network import (  # noqa: F401 -- a fixture
    CARD,
    TOPOLOGY,
    Head,
    OracleNetwork,
    grey_image,
    numbered_crops,
)
from trg.geometry.camera import Camera
from trg.geometry.rotations import rotation_to_euler
from trg.inference.confidence import CARD_KEY, ConfidenceModel
from trg.inference.pose_pipeline import FaceRequest
from trglab.evaluation import calibration
from trglab.evaluation.calibration import fit_logistic, reliability
from trglab.synth.holdout import HOLDOUT_VERSIONS
from trglab.synth.shots import ShotDistribution, sample_shot

pytestmark = pytest.mark.usefixtures("numbered_crops")

CAMERA = Camera.from_fov(60.0, 640, 480)


def test_the_regression_is_the_maximum_of_its_likelihood():
    rng = np.random.default_rng(0)
    features = np.column_stack([np.ones(3000), rng.normal(2.0, 3.0, 3000), rng.normal(size=3000)])
    truth = np.array([-1.0, 0.7, -1.5])
    is_right = rng.random(3000) < 1 / (1 + np.exp(-features @ truth))

    def negative_log_likelihood(weights):
        logit = features @ weights
        return np.logaddexp(0, logit).sum() - logit[is_right].sum()

    best = minimize(negative_log_likelihood, np.zeros(3)).x
    fitted = fit_logistic(features, is_right, ridge=1e-9)
    np.testing.assert_allclose(fitted, best, atol=1e-4)
    np.testing.assert_allclose(fitted, truth, atol=0.3)
    with pytest.raises(ValueError, match="3000 of 3000 placed rightly"):
        fit_logistic(features, np.ones(3000, bool))


def test_classes_that_features_separate_keep_weights_finite():
    values = np.linspace(-1, 1, 100)
    features = np.column_stack([np.ones(100), values, np.zeros(100)])
    weights = fit_logistic(features, values > 0)
    assert np.isfinite(weights).all()
    assert weights[1] > 5


def test_reliability_counts_what_is_right_per_bin():
    confidence = np.array([0.05, 0.05, 0.95, 1.0])
    assert reliability(confidence, np.array([False, True, True, True])) == [
        (pytest.approx(0.05), 0.5, 2),
        (pytest.approx(0.975), 1.0, 2),
    ]


def test_fitting_tells_faces_from_others(monkeypatch):
    """Boxes on heads, and on heads that the heatmaps contradict, of any distance."""

    def requests(images, seed):
        rng = np.random.default_rng(seed)
        for i in range(images):
            head = network.scenes[i][0]
            box = head.box_px(CAMERA) + rng.normal(0, 5, 4)
            true = CAMERA.pixels_from_rays(head.rays)[TOPOLOGY.landmarks68]
            yield [FaceRequest(grey_image(i), CAMERA, box)], true if head.sure else None

    rng = np.random.default_rng(1)
    scenes = [[Head((0, 0, rng.uniform(0.4, 1.5)), sure=bool(i % 2))] for i in range(200)]
    network = OracleNetwork(scenes)
    monkeypatch.setattr(calibration, "_requests", requests)
    outcomes = calibration.box_outcomes(network, 200)
    assert outcomes.is_right.mean() == pytest.approx(0.5)
    fit = calibration.fit_confidence(outcomes)
    assert fit.right_above_half == 1.0
    assert fit.found_above_half == 1.0
    sharp = replace(CARD, training={CARD_KEY: fit.model.to_dict()})
    assert ConfidenceModel.from_training(sharp.training) == fit.model


def test_fitting_sees_heads_at_all_rolls():
    rng = np.random.default_rng(0)
    distribution = ShotDistribution(**calibration.SHOTS)
    shots = [sample_shot(rng, distribution, calibration.IMAGE_SIZE) for _ in range(400)]
    rolls_deg = np.array([rotation_to_euler(shot.rotation)[2] for shot in shots])
    counts, _ = np.histogram(rolls_deg, np.linspace(-180, 180, 9))
    assert counts.min() >= 3
    assert (np.abs(rolls_deg) < 45).mean() > 0.4


def test_nobody_in_a_hold_out_is_fitted_to():
    seeds = {version.seed for version in HOLDOUT_VERSIONS.values()}
    assert not seeds & set(range(calibration.FACES_SEED, calibration.FACES_SEED + 1000))


def test_boxes_for_fitting_lie_around_the_face_or_anywhere():
    rng = np.random.default_rng(0)
    box = np.array([100.0, 100.0, 200.0, 200.0])
    near = np.stack([calibration._boxes_near(rng, box) for _ in range(200)])
    sides = near[..., 2] - near[..., 0]
    assert (sides > 0).all()
    centres = (near[..., :2] + near[..., 2:]) / 2 - 150
    good = calibration.ACCURATE_BOXES
    assert np.abs(centres[:, :good]).std() < np.abs(centres[:, good:]).std() / 2
    anywhere = calibration._boxes_anywhere(rng)
    assert (anywhere[:, 2:] > anywhere[:, :2]).all()
