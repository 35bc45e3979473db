"""Confidence: its features, and its model on weight cards."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.oracle_network import (  # noqa: F401 -- a fixture
    CARD,
    TOPOLOGY,
    Head,
    OracleNetwork,
    grey_image,
    numbered_crops,
)
from trg.geometry.camera import Camera
from trg.inference.confidence import (
    CARD_KEY,
    FEATURES,
    UNCALIBRATED,
    ConfidenceModel,
    confidence_features,
)

pytestmark = pytest.mark.usefixtures("numbered_crops")

CAMERA = Camera.from_fov(60.0, 640, 480)


def features_of(head: Head, **changes) -> dict[str, float]:
    numbers = np.array([[*head.box_rays]])
    arrays = OracleNetwork([[head]])(np.zeros((1, 32, 32, 3), np.uint8), numbers)
    arrays = arrays._replace(**{name: change(arrays) for name, change in changes.items()})
    row = confidence_features(arrays, TOPOLOGY.landmarks68)[0]
    return dict(zip(FEATURES, row, strict=True))


def test_features_are_fractions_of_the_box_side():
    head = Head((0.02, 0.01, 0.6), (10.0, 0.0, 0.0))
    same = features_of(head)
    assert same["bias"] == 1
    assert same["disagreement"] == pytest.approx(np.log(1e-3), abs=0.01)
    assert same["side"] == pytest.approx(0, abs=1e-4)
    assert same["offset"] == pytest.approx(0, abs=1e-4)
    assert same["peak"] == pytest.approx(np.log(0.5))
    shifted = features_of(head, landmarks68_crop=lambda a: a.landmarks68_crop + (0.2, 0.0))
    assert shifted["disagreement"] == pytest.approx(np.log(0.1 + 1e-3), abs=1e-3)
    assert shifted["tail"] == pytest.approx(np.log(0.1 + 1e-3), abs=1e-3)
    small = features_of(head, vertices_crop=lambda a: a.vertices_crop / 2 + (0.3, 0.4))
    assert small["side"] == pytest.approx(np.log(2), abs=1e-3)
    assert small["offset"] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("broken", ["landmarks68_crop", "peaks", "vertices_crop"])
def test_non_finite_estimates_have_finite_features_and_no_confidence(broken):
    row = features_of(Head((0, 0, 0.6)), **{broken: lambda a: getattr(a, broken) * np.nan})
    assert np.isfinite(list(row.values())).all()
    assert UNCALIBRATED.predict(np.array([list(row.values())]))[0] < 1e-3


def test_models_round_trip_through_cards_and_outdated_ones_are_refused():
    model = ConfidenceModel((1.0, -2.0, -1.0, 0.5, -3.0, 0.0))
    assert ConfidenceModel.from_training({CARD_KEY: model.to_dict()}) == model
    by_name = dict(sorted(model.to_dict().items()))  # as a bundle's card keeps them
    assert ConfidenceModel.from_training({CARD_KEY: by_name}) == model
    assert ConfidenceModel.from_training({}) is UNCALIBRATED
    with pytest.raises(ValueError, match="fit them again"):
        ConfidenceModel.from_training({CARD_KEY: {"bias": 1.0}})
    with pytest.raises(ValueError, match="confidence weights"):
        ConfidenceModel((1.0, 2.0))
