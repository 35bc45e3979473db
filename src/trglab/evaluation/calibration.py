"""Fit a network's confidence model on synthetic images.

The network runs on boxes around synthetic faces, accurate and inaccurate ones, and on boxes in
images without a face. An estimate counts as correct if its 68 projected landmarks lie within a
tenth of the face's size of the true ones. A logistic regression predicts that from the features of
:func:`trg.inference.confidence.confidence_features`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.geometry.camera import Camera
from trg.inference.bundle import WeightBundle
from trg.inference.confidence import CARD_KEY, ConfidenceModel
from trg.inference.pose_pipeline import FaceRequest, PosePipeline
from trg.inference.runtime import PoseNetwork, PoseRuntime
from trglab.evaluation.metrics import nme, rectangle_size_px
from trglab.synth.dataset import SyntheticFaces
from trglab.synth.negatives import face_free_images

Floats = NDArray[np.float64]

IMAGE_SIZE = (640, 480)
CORRECT_NME = 0.1
"""Largest NME of the 68 landmarks of a correct estimate."""

ACCURATE_BOXES, INACCURATE_BOXES, EMPTY_BOXES = 2, 1, 3
"""Boxes per face, with the errors of a detector and with larger ones, and per empty image."""

HELD_OUT_SHARE = 0.25
"""Share of the outcomes that is not fitted to and measures the fit."""

IMAGE_STRIDE = 6
"""Every sixth image of a person is used: people differ more than the images of one person."""

FACES_SEED = 3_000_017
"""Seed of the people, who occur neither in training nor in a hold-out."""


SHOTS = {"roll_sd": 60.0, "roll_max": 180.0}
"""Heads of all rolls, because a network may take a face that is upside down for an upright one."""


class Outcomes(NamedTuple):
    """Features and correctness of n estimates."""

    features: Floats
    """``(n, k)``, see :func:`trg.inference.confidence.confidence_features`"""
    is_right: NDArray[np.bool_]
    """``(n,)``"""


@dataclass(frozen=True, slots=True)
class ConfidenceFit:
    """A fitted confidence model and its quality on held-out outcomes."""

    model: ConfidenceModel
    right_above_half: float
    """Precision at a confidence of 0.5"""
    found_above_half: float
    """Recall at a confidence of 0.5"""
    bins: tuple[tuple[float, float, int], ...]
    """Reliability diagram, see :func:`reliability`"""

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return {
            "weights": self.model.to_dict(),
            "right_above_half": self.right_above_half,
            "found_above_half": self.found_above_half,
            "bins": [list(each) for each in self.bins],
        }


def calibrated(
    bundle: WeightBundle, images: int = 1000, seed: int = 0
) -> tuple[WeightBundle, ConfidenceFit]:
    """Return the bundle with a confidence model fitted to its weights on its card, and the fit.

    Renders ``images`` synthetic faces and as many images without a face, which takes minutes.
    """
    fit = fit_confidence(box_outcomes(PoseRuntime(bundle), images, seed))
    training = {**bundle.card.training, CARD_KEY: fit.model.to_dict()}
    return replace(bundle, card=replace(bundle.card, training=training)), fit


def box_outcomes(network: PoseNetwork, images: int, seed: int = 0) -> Outcomes:
    """Run a network on boxes around faces and on boxes without a face."""
    pipeline = PosePipeline(network)
    rows: list[Floats] = []
    is_right: list[bool] = []
    for requests, points_px in _requests(images, seed):
        for scored in pipeline.estimate_with_features(requests):
            if scored is None:
                continue
            rows.append(scored.features)
            is_right.append(
                points_px is not None and _is_right(scored.face.landmarks68_px, points_px)
            )
    return Outcomes(np.stack(rows), np.array(is_right))


def fit_confidence(outcomes: Outcomes) -> ConfidenceFit:
    """Fit the model to three quarters of the outcomes and measure it on the rest.

    Raises
    ------
    ValueError
        All outcomes belong to one class.
    """
    held_out = np.random.default_rng(0).random(len(outcomes.is_right)) < HELD_OUT_SHARE
    weights = fit_logistic(outcomes.features[~held_out], outcomes.is_right[~held_out])
    model = ConfidenceModel(tuple(weights.tolist()))
    confidence, is_right = model.predict(outcomes.features[held_out]), outcomes.is_right[held_out]
    above = confidence > 0.5
    return ConfidenceFit(
        model=model,
        right_above_half=float(is_right[above].mean()),
        found_above_half=float(above[is_right].mean()),
        bins=tuple(reliability(confidence, is_right)),
    )


def fit_logistic(
    features: Floats, is_right: NDArray[np.bool_], ridge: float = 1e-2, steps: int = 50
) -> Floats:
    """Return the weights ``(k,)`` of a logistic regression, by Newton's method.

    Parameters
    ----------
    features
        ``(n, k)``, the first column 1.
    is_right
        ``(n,)``.
    ridge
        L2 penalty on the weights of standardised features, per 100 samples; the bias is not
        penalised. Keeps weights finite where the features separate the classes.

    Raises
    ------
    ValueError
        All samples belong to one class.
    """
    if is_right.all() or not is_right.any():
        raise ValueError(
            "calibration: expected faces that these weights place rightly and others, got "
            f"{int(is_right.sum())} of {len(is_right)} placed rightly; use more images, or weights "
            "that were trained for longer"
        )
    mean, spread = features.mean(0), features.std(0)
    mean[0], spread[0] = 0.0, 1.0
    spread = np.where(spread > 0, spread, 1.0)
    standard = (features - mean) / spread
    penalty = np.full(features.shape[1], ridge * len(features) / 100.0)
    penalty[0] = 0.0
    weights = np.zeros(features.shape[1])
    for _ in range(steps):
        probability = 1.0 / (1.0 + np.exp(-np.clip(standard @ weights, -30.0, 30.0)))
        slope = standard.T @ (is_right - probability) - penalty * weights
        curvature = probability * (1.0 - probability) + 1e-9
        hessian = (standard * curvature[:, None]).T @ standard + np.diag(penalty)
        weights = weights + np.linalg.solve(hessian, slope)
    weights = weights / spread
    weights[0] -= weights[1:] @ mean[1:]
    return weights


def reliability(
    confidence: Floats, is_right: NDArray[np.bool_], bins: int = 10
) -> list[tuple[float, float, int]]:
    """Return the reliability diagram: per non-empty bin, mean confidence, accuracy and count."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        (float(confidence[index == i].mean()), float(is_right[index == i].mean()), int(count))
        for i, count in enumerate(np.bincount(index, minlength=bins))
        if count
    ]


def _requests(images: int, seed: int) -> Iterator[tuple[list[FaceRequest], Floats | None]]:
    """Yield the boxes of each image, and the true landmarks of its face, if any."""
    faces = SyntheticFaces(FACES_SEED + seed, window=None, image_size=IMAGE_SIZE, shots=SHOTS)
    for index, empty in enumerate(face_free_images(seed + 1, images, IMAGE_SIZE)):
        rng = np.random.default_rng((seed, index))
        sample = faces.sample(index * IMAGE_STRIDE)
        boxes = _boxes_near(rng, sample.box_xyxy)
        requests = [FaceRequest(sample.image, sample.camera, box) for box in boxes]
        yield requests, sample.require_landmarks68_px()
        camera = Camera.assumed(*IMAGE_SIZE)
        yield [FaceRequest(empty, camera, box) for box in _boxes_anywhere(rng)], None


def _boxes_near(rng: np.random.Generator, box: Floats) -> Floats:
    """Draw accurate boxes, with the errors of a detector, and inaccurate ones."""
    count = ACCURATE_BOXES + INACCURATE_BOXES
    inaccurate = np.arange(count) >= ACCURATE_BOXES
    shift = np.where(
        inaccurate[:, None], rng.normal(0, 0.35, (count, 2)), rng.normal(0, 0.08, (count, 2))
    )
    growth = np.exp(rng.normal(0, np.where(inaccurate, 0.45, 0.12)))
    centre, side = (box[:2] + box[2:]) / 2.0, (box[2:] - box[:2]).max()
    centres, halves = centre + shift * side, growth[:, None] * side / 2.0
    return np.concatenate([centres - halves, centres + halves], axis=1)


def _boxes_anywhere(rng: np.random.Generator) -> Floats:
    side = np.exp(rng.uniform(np.log(40.0), np.log(max(IMAGE_SIZE)), (EMPTY_BOXES, 1)))
    centre = rng.uniform((0.0, 0.0), IMAGE_SIZE, (EMPTY_BOXES, 2))
    return np.concatenate([centre - side / 2.0, centre + side / 2.0], axis=1)


def _is_right(found_px: Floats, true_px: Floats) -> bool:
    error = nme(found_px[None], true_px[None], rectangle_size_px(true_px[None]))
    return bool(error[0] < CORRECT_NME)
