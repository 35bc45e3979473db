"""What time gains on clips: treated as by the tracker, lag, and incomplete clips."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.made_samples import make_samples
from tests.support.oracle_network import (  # noqa: F401 -- a fixture
    Head,
    OracleDetector,
    UnsureOfSize,
    grey_image,
    numbered_crops,
)
from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import Camera
from trglab.evaluation.clips import ClipFace, Treatment, lag_s, measure_clips
from trglab.synth.clips import CLIP_FPS

CAMERA = Camera.from_fov(60.0, 640, 480)
SCENE = [Head((0.05, -0.03, 0.7), (20.0, -10.0, 5.0))]


@pytest.mark.usefixtures("numbered_crops")
def test_a_treatment_is_that_of_the_tracker():
    def faces(**options):
        estimator = HeadPoseEstimator(UnsureOfSize([SCENE]), OracleDetector([SCENE], CAMERA))
        frames = [grey_image(0)] * 20
        return [each.faces[0] for each in estimator.stream(frames, CAMERA, fps=CLIP_FPS, **options)]

    sample = make_samples(1)[0]
    raw = faces(size="frame", smooth=False)
    clip = [ClipFace(i, i / CLIP_FPS, face, sample) for i, face in enumerate(raw)]
    for treatment in (Treatment("person", True), Treatment("person", False)):
        tracked = faces(size=treatment.size, smooth=treatment.smooth)
        for ours, theirs in zip(treatment.apply(clip), tracked, strict=True):
            np.testing.assert_allclose(ours.translation_m, theirs.translation_m)
            np.testing.assert_allclose(ours.landmarks_m, theirs.landmarks_m)
    both = Treatment("two passes", False).apply(clip)
    assert np.ptp([face.interpupillary_m for face in both]) < 1e-9


@pytest.mark.parametrize("delay", [0.0, 0.5, 2.0])
def test_lag_is_the_delay_of_a_signal(delay):
    frame = np.arange(70)

    def signal(at):
        return 0.1 * np.sin(2.0 * np.pi * 0.5 * at / CLIP_FPS)

    assert lag_s(frame, signal(frame - delay) + 0.03, signal(frame)) == pytest.approx(
        delay / CLIP_FPS, abs=0.06 / CLIP_FPS
    )


def test_incomplete_clips_are_refused():
    with pytest.raises(ValueError, match="multiple of 100 frames, got 3"):
        measure_clips(None, make_samples(3))
