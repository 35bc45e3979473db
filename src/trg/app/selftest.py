"""Is this installation sound? Versions, what ONNX Runtime can use, models, and a self-test."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trg import __version__
from trg.estimator import HeadPoseEstimator, ImageLike
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.rotations import geodesic_angle_deg
from trg.inference.bundle import bundled, bundled_names, read_bundle
from trg.inference.detections import Detector
from trg.inference.detector import FaceDetector, bundled_model

PACKAGES = ("numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "av", "pyyaml", "cyclopts", "rich")
EXTRAS = ("pyarrow", "matplotlib", "torch", "numba", "onnx")

SELF_TEST = Path(__file__).parent / "selftest_face"
PICTURE, TRUTH = "face.jpg", "face.json"

ROTATION_TOLERANCE_DEG = 10.0
DISTANCE_TOLERANCE = 0.2
LANDMARK_TOLERANCE = 0.06
"""Wide enough for any network that was trained; a broken installation misses by far more."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How far an estimate of the bundled face is from its ground truth."""

    faces: int
    """Found by the detector; the picture shows one"""
    rotation_error_deg: float
    distance_error: float
    """As a share of the true distance"""
    landmark_error: float
    """Mean over the 68 landmarks, as a share of the face box's side"""

    @property
    def passed(self) -> bool:
        """Whether one face was found, and where it is."""
        return (
            self.faces == 1
            and self.rotation_error_deg <= ROTATION_TOLERANCE_DEG
            and self.distance_error <= DISTANCE_TOLERANCE
            and self.landmark_error <= LANDMARK_TOLERANCE
        )


@dataclass(frozen=True, slots=True)
class ModelNote:
    """What is known of one of the package's models."""

    name: str
    kind: Literal["head pose", "face detector"]
    path: Path
    sha256: str
    """Of the whole file"""
    bytes: int
    licence: str
    attribution: tuple[str, ...]
    parameters: int | None
    multiply_adds: int | None
    """For one crop, or for a picture of 320x256"""
    crop_size: int | None
    """Side of the crops that it sees, px; None: whole pictures"""
    figures: Mapping[str, float]
    """What it reached on held-out pictures, units in the names"""


def self_test(model: str | None = None, detector: Detector | None = None) -> SelfTest:
    """Estimate the face of the bundled picture, and compare it with its ground truth.

    The picture was made by :mod:`trglab.synth`; ``made_by`` beside its truth says how.

    Parameters
    ----------
    model
        As for :class:`~trg.estimator.HeadPoseEstimator`.
    detector
        None: the package's own.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no model or no detector, or it is damaged.
    """
    truth = json.loads((SELF_TEST / TRUTH).read_text())
    camera = Camera(**{**truth["camera"], "distortion": tuple(truth["camera"]["distortion"])})
    picture: ImageLike = SELF_TEST / PICTURE
    faces = HeadPoseEstimator(model, detector)(picture, camera)
    return compare(faces, truth)


def compare(faces: list[Face], truth: Mapping[str, Any]) -> SelfTest:
    """Return how far the first face is from the truth; infinitely where there is none."""
    if not faces:
        return SelfTest(0, np.inf, np.inf, np.inf)
    face = faces[0]
    distance_m = float(np.linalg.norm(truth["translation_m"]))
    box = np.array(truth["box_xyxy"])
    apart_px = np.linalg.norm(face.landmarks68_px - truth["landmarks68_px"], axis=1)
    return SelfTest(
        faces=len(faces),
        rotation_error_deg=float(geodesic_angle_deg(face.rotation, np.array(truth["rotation"]))),
        distance_error=abs(face.distance_m / distance_m - 1.0),
        landmark_error=float(apart_px.mean() / (box[2] - box[0])),
    )


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of what is installed beside it."""
    found = {"trg": __version__, "Python": f"{platform.python_version()}, {platform.platform()}"}
    for name in (*PACKAGES, *EXTRAS):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def providers() -> tuple[str, ...]:
    """Return the execution providers of the installed ONNX Runtime."""
    import onnxruntime

    return tuple(onnxruntime.get_available_providers())


def models() -> list[ModelNote]:
    """Return what is known of the models inside the package, each verified.

    Raises
    ------
    ValueError
        One is damaged.
    """
    notes = [_bundle_note(name) for name in bundled_names()]
    with suppress(FileNotFoundError):  # without one the package is of use with given boxes
        notes.append(_detector_note())
    return notes


def _bundle_note(name: str) -> ModelNote:
    path = bundled(name)
    card = read_bundle(path).card
    return ModelNote(
        name=name,
        kind="head pose",
        path=path,
        sha256=_sha256(path),
        bytes=path.stat().st_size,
        licence=card.licence,
        attribution=card.attribution,
        parameters=card.parameters,
        multiply_adds=card.multiply_adds,
        crop_size=card.crop_size,
        figures=_numbers(card.training.get("figures")),
    )


def _detector_note() -> ModelNote:
    path = bundled_model()
    card = FaceDetector().card
    return ModelNote(
        name=str(card.get("name", path.stem)),
        kind="face detector",
        path=path,
        sha256=_sha256(path),
        bytes=path.stat().st_size,
        licence=str(card.get("licence", "unknown")),
        attribution=tuple(card.get("attribution", ())),
        parameters=card.get("parameters"),
        multiply_adds=card.get("multiply_adds_320x256"),
        crop_size=None,
        figures=_numbers(card.get("figures")),
    )


def _numbers(figures: Any) -> dict[str, float]:
    """Return the numbers of a card's figures by name; nested ones with both names."""
    numbers: dict[str, float] = {}
    for name, value in (figures or {}).items():
        if isinstance(value, Mapping):
            numbers.update({f"{name} {k}": v for k, v in _numbers(value).items()})
        elif isinstance(value, int | float):
            numbers[name] = float(value)
    return numbers


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
