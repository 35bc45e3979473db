"""Fits a network's confidence: how likely its points lie on a face, given how it came to them.

Boxes on synthetic faces, as detectors place them and worse, and boxes on pictures without a face
are run through the network. What comes out is right if the projected 68 points lie within a tenth
of the face's size of the true ones. A logistic regression learns to tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera
from trg.inference.bundle import WeightBundle
from trg.inference.confidence import CARD_KEY, ConfidenceModel, fit_logistic, reliability
from trg.inference.pose_pipeline import FaceRequest, PoseNetwork, PosePipeline
from trg.inference.runtime import PoseRuntime
from trglab.evaluation.metrics import nme, rectangle_size_px
from trglab.synth.dataset import SyntheticFaces
from trglab.synth.negatives import face_free_images

Floats = NDArray[np.float64]

PICTURE_SIZE = (640, 480)
RIGHT_NME = 0.1
"""Mean distance of the 68 points over the face's size, up to which they lie on the face."""

GOOD_BOXES, ASTRAY_BOXES, EMPTY_BOXES = 2, 1, 3
"""Per face: boxes as a detector places them, and boxes gone astray; per picture without a face."""

HELD_OUT_SHARE = 0.25
"""Share of the outcomes that measure the regression and do not fit it."""

PICTURES_APART = 6
"""Every so many pictures of each person are used, for people vary more than their pictures."""

FACES_SEED = 2_000_003
"""Of the people here, who are neither in trainings nor in the hold-out."""


class Outcomes(NamedTuple):
    """What became of n boxes."""

    features: Floats
    """``(n, k)``, see :func:`trg.inference.confidence.confidence_features`"""
    is_right: NDArray[np.bool_]
    """``(n,)``"""


@dataclass(frozen=True, slots=True)
class ConfidenceFit:
    """A fitted regression and how it does on outcomes that it was not fitted to."""

    model: ConfidenceModel
    right_above_half: float
    """Of the boxes whose confidence is above 0.5, the share that is right"""
    found_above_half: float
    """Of the right ones, the share whose confidence is above 0.5"""
    bins: tuple[tuple[float, float, int], ...]
    """Per tenth of confidence: its mean, the share that is right, the count"""

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers by name."""
        return {
            "weights": self.model.to_facts(),
            "right_above_half": self.right_above_half,
            "found_above_half": self.found_above_half,
            "bins": [list(each) for each in self.bins],
        }


def calibrated(
    bundle: WeightBundle, pictures: int = 1000, seed: int = 0
) -> tuple[WeightBundle, ConfidenceFit]:
    """Return the bundle with a confidence fitted to its weights on its card, and the fit.

    Renders ``pictures`` synthetic faces and as many pictures without one: some minutes.
    """
    fit = fit_confidence(box_outcomes(PoseRuntime(bundle), pictures, seed))
    training = {**bundle.card.training, CARD_KEY: fit.model.to_facts()}
    return replace(bundle, card=replace(bundle.card, training=training)), fit


def box_outcomes(network: PoseNetwork, pictures: int, seed: int = 0) -> Outcomes:
    """Run a network on boxes around faces, beside them and where there are none."""
    stage = PosePipeline(network)
    rows: list[Floats] = []
    right: list[bool] = []
    for requests, points_px in _requests(pictures, seed):
        for measured in stage.measure(requests):
            if measured is None:
                continue
            rows.append(measured.features)
            right.append(
                points_px is not None and _is_right(measured.face.landmarks68_px, points_px)
            )
    return Outcomes(np.stack(rows), np.array(right))


def fit_confidence(outcomes: Outcomes) -> ConfidenceFit:
    """Fit a regression to three quarters of the outcomes and measure it on the others.

    Raises
    ------
    ValueError
        The outcomes are all right, or all wrong.
    """
    held_out = np.random.default_rng(0).random(len(outcomes.is_right)) < HELD_OUT_SHARE
    weights = fit_logistic(outcomes.features[~held_out], outcomes.is_right[~held_out])
    model = ConfidenceModel(tuple(weights.tolist()))
    confidence, is_right = model(outcomes.features[held_out]), outcomes.is_right[held_out]
    above = confidence > 0.5
    return ConfidenceFit(
        model=model,
        right_above_half=float(is_right[above].mean()),
        found_above_half=float(above[is_right].mean()),
        bins=tuple(reliability(confidence, is_right)),
    )


def _requests(pictures: int, seed: int) -> Iterator[tuple[list[FaceRequest], Floats | None]]:
    """Yield a picture's boxes, and the true points of its face if it has one."""
    faces = SyntheticFaces(FACES_SEED + seed, window=None, picture_size=PICTURE_SIZE)
    for index, empty in enumerate(face_free_images(seed + 1, pictures, PICTURE_SIZE)):
        rng = np.random.default_rng((seed, index))
        sample = faces.sample(index * PICTURES_APART)
        boxes = _boxes_near(rng, sample.box_xyxy)
        requests = [FaceRequest(sample.image, sample.camera, box) for box in boxes]
        yield requests, sample.require_landmarks68_px()
        camera = Camera.assumed(*PICTURE_SIZE)
        yield [FaceRequest(empty, camera, box) for box in _boxes_anywhere(rng)], None


def _boxes_near(rng: np.random.Generator, box: Floats) -> Floats:
    """Draw boxes as detectors place them around a face's, and some that have gone astray."""
    count = GOOD_BOXES + ASTRAY_BOXES
    astray = np.arange(count) >= GOOD_BOXES
    shift = np.where(
        astray[:, None], rng.normal(0, 0.35, (count, 2)), rng.normal(0, 0.08, (count, 2))
    )
    growth = np.exp(rng.normal(0, np.where(astray, 0.45, 0.12)))
    centre, side = (box[:2] + box[2:]) / 2.0, (box[2:] - box[:2]).max()
    centres, halves = centre + shift * side, growth[:, None] * side / 2.0
    return np.concatenate([centres - halves, centres + halves], axis=1)


def _boxes_anywhere(rng: np.random.Generator) -> Floats:
    side = np.exp(rng.uniform(np.log(40.0), np.log(max(PICTURE_SIZE)), (EMPTY_BOXES, 1)))
    centre = rng.uniform((0.0, 0.0), PICTURE_SIZE, (EMPTY_BOXES, 2))
    return np.concatenate([centre - side / 2.0, centre + side / 2.0], axis=1)


def _is_right(found_px: Floats, true_px: Floats) -> bool:
    error = nme(found_px[None], true_px[None], rectangle_size_px(true_px[None]))
    return bool(error[0] < RIGHT_NME)
