"""Factors on the error bars of a network."""

from __future__ import annotations

import numpy as np
import pytest

from trg.error_bars import QUANTITIES, STD_COUNT
from trg.inference.error_bar_calibration import CARD_KEY, ErrorBarCalibration

FACTORS = tuple(float(i + 1) for i in range(len(QUANTITIES)))


def test_each_quantity_is_multiplied_by_its_factor():
    bars = ErrorBarCalibration(FACTORS).error_bars(np.full(STD_COUNT, 0.1, np.float32))
    for name, factor in zip(QUANTITIES, FACTORS, strict=True):
        np.testing.assert_allclose(bars[name], 0.1 * factor, rtol=1e-6)


def test_factors_survive_a_card():
    calibration = ErrorBarCalibration(FACTORS)
    by_name = dict(sorted(calibration.to_dict().items()))
    assert ErrorBarCalibration.from_training({CARD_KEY: by_name}) == calibration
    assert ErrorBarCalibration.from_training({}) == ErrorBarCalibration()


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({CARD_KEY: {"rotation": 1.0}}, "calibrate the bundle again"),
        ({CARD_KEY: dict.fromkeys(QUANTITIES, 0.0)}, "above 0"),
    ],
)
def test_foreign_factors_are_refused(training, message):
    with pytest.raises(ValueError, match=message):
        ErrorBarCalibration.from_training(training)
