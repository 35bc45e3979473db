"""The self-test: estimate the face of a bundled synthetic image and compare it with its pose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trg.estimator import HeadPoseEstimator
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.rotations import geodesic_angle_deg

SELFTEST_FOLDER = Path(__file__).parent / "selftest_face"
IMAGE_NAME, TRUTH_NAME = "face.jpg", "face.json"

# Wide enough for any trained network; a broken installation is off by far more.
MAX_ROTATION_ERROR_DEG = 10.0
MAX_DISTANCE_ERROR = 0.2
MAX_LANDMARK_ERROR = 0.06


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """Errors of the estimate of the bundled face."""

    faces: int
    """Number of detected faces; the image shows one."""
    rotation_error_deg: float
    distance_error: float
    """Relative to the true distance."""
    landmark_error: float
    """Mean over the 68 landmarks, relative to the side of the face box."""

    @property
    def passed(self) -> bool:
        """Whether exactly one face was found and its errors are small."""
        return (
            self.faces == 1
            and self.rotation_error_deg <= MAX_ROTATION_ERROR_DEG
            and self.distance_error <= MAX_DISTANCE_ERROR
            and self.landmark_error <= MAX_LANDMARK_ERROR
        )


def run_selftest(model: str | None = None) -> SelfTestResult:
    """Estimate the face of the bundled image and compare it with the ground truth.

    The image was rendered by :mod:`trglab.synth`; ``made_by`` in the ground truth records how.
    ``model`` is as in :class:`~trg.estimator.HeadPoseEstimator`.

    Raises
    ------
    FileNotFoundError, ValueError
        The model or the detector is missing or damaged.
    """
    truth = json.loads((SELFTEST_FOLDER / TRUTH_NAME).read_text())
    camera = Camera(**{**truth["camera"], "distortion": tuple(truth["camera"]["distortion"])})
    faces = HeadPoseEstimator(model)(SELFTEST_FOLDER / IMAGE_NAME, camera)
    return compare(faces, truth)


def compare(faces: list[Face], truth: Mapping[str, Any]) -> SelfTestResult:
    """Return the errors of the first face; infinite if there is none."""
    if not faces:
        return SelfTestResult(0, np.inf, np.inf, np.inf)
    face = faces[0]
    distance_m = float(np.linalg.norm(truth["translation_m"]))
    x0, _, x1, _ = truth["box_xyxy"]
    errors_px = np.linalg.norm(face.landmarks68_px - truth["landmarks68_px"], axis=1)
    return SelfTestResult(
        faces=len(faces),
        rotation_error_deg=float(geodesic_angle_deg(face.rotation, np.array(truth["rotation"]))),
        distance_error=abs(face.distance_m / distance_m - 1.0),
        landmark_error=float(errors_px.mean() / (x1 - x0)),
    )
