"""The estimator with the bundled weights: any image gives faces or none, and no exception."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER, TRUTH_NAME
from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import Camera
from trg.inference.bundle import DEFAULT_BUNDLE, bundled_names
from trg.inference.confidence import CARD_KEY
from trg.inference.detections import FixedBoxes
from trg.inference.detector import bundled_model

pytestmark = pytest.mark.skipif(
    DEFAULT_BUNDLE not in bundled_names(), reason="needs the bundled weights"
)


@pytest.fixture(scope="module")
def estimator() -> HeadPoseEstimator:
    return HeadPoseEstimator(detector=FixedBoxes([(10, 10, 60, 60)]), min_confidence=0.0)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


CAMERAS = [
    None,
    Camera.from_fov(150.0, 320, 240),
    Camera(90.0, 400.0, 10.0, 230.0, 320, 240),
    Camera(200.0, 200.0, 160.0, 120.0, 320, 240, (-0.4, 0.2, 0.01, 0.01, 0.0)),
]


@pytest.mark.parametrize("camera", CAMERAS)
def test_any_boxes_give_valid_faces_or_none(estimator, noise, camera):
    rng = np.random.default_rng(1)
    corners = rng.uniform((-200, -200), (420, 340), (24, 2))
    boxes = np.concatenate([corners, corners + np.exp(rng.uniform(0, 7, (24, 2)))], 1)
    faces = estimator(noise, camera, boxes=boxes)
    assert len(faces) <= 24
    for face in faces:
        assert np.isfinite(face.landmarks_px).all()
        assert face.mesh().vertices_m[:, 2].min() > 0
        assert 0 <= face.confidence <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 3), (8, 8), (20, 2000)])
@pytest.mark.parametrize("value", [0, 255])
def test_extreme_image_sizes_are_accepted(estimator, size, value):
    image = np.full((*size, 3), value, np.uint8)
    estimator(image)
    estimator(image, boxes=[(0, 0, size[1] + 1, size[0] + 1)])
    assert len(list(estimator.batch([image] * 3))) == 3
    assert len(list(estimator.stream([image] * 3))) == 3


def test_noise_has_low_confidence(estimator, noise):
    assert CARD_KEY in estimator.card.training
    faces = estimator(noise, boxes=[(40, 20, 240, 220), (100, 100, 180, 180)])
    assert all(face.confidence < 0.5 for face in faces)


def covered(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    is_covered = np.arange(image.shape[1]) > (box[0] + box[2]) / 2
    return np.where(is_covered[:, None], np.uint8(100), image)


def blurred(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    radius_px = 0.06 * float(box[2] - box[0])
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius_px)))


def tiny(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """As a camera sees a face of 16 px, enlarged again."""
    drawn = Image.fromarray(image)
    factor = 16.0 / float(box[2] - box[0])
    small = drawn.resize((round(drawn.width * factor), round(drawn.height * factor)))
    return np.asarray(small.resize(drawn.size))


def without_face(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("change", "growth"), [(covered, 1.5), (blurred, 1.5), (tiny, 1.3), (without_face, 5.0)]
)
def test_error_bars_grow_as_a_face_is_harder_to_see(estimator, change, growth):
    """Of the rotation and of the landmarks; the face itself is the same."""
    image = np.asarray(Image.open(SELFTEST_FOLDER / IMAGE_NAME).convert("RGB"))
    box = np.array(json.loads((SELFTEST_FOLDER / TRUTH_NAME).read_text())["box_xyxy"])
    clear, unclear = (
        estimator(each, boxes=[box])[0].error_bars for each in (image, change(image, box))
    )
    for quantity in ("rotation", "across", "landmarks"):
        ratio = unclear[quantity].mean() / clear[quantity].mean()
        assert ratio > growth, f"{quantity}: {ratio:.2f}"


@pytest.mark.skipif(not bundled_model().is_file(), reason="needs the bundled detector")
def test_no_face_is_found_in_noise_and_black_images(noise):
    with_detector = HeadPoseEstimator()
    assert with_detector(noise) == []
    assert with_detector(np.zeros((480, 640, 3), np.uint8)) == []
    assert with_detector(np.zeros((1, 1, 3), np.uint8)) == []
