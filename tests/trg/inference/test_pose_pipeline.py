"""Faces at any roll: the crop is turned upright, whether the roll is known, wrong or unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.support.oracle_network import (  # noqa: F401 -- a fixture
    TURNS,
    Head,
    OracleNetwork,
    grey_image,
    numbered_crops,
)
from trg.geometry.camera import Camera
from trg.geometry.lens import LensModelWarning
from trg.geometry.rotations import geodesic_angle_deg, rotation_from_euler, rotation_to_euler
from trg.inference.detections import Detections
from trg.inference.pose_pipeline import (
    AGREED_CONFIDENCE,
    MAX_CROP_ROLL_DEG,
    SURE_CONFIDENCE,
    FaceRequest,
    PosePipeline,
    crop_roll_deg,
    requests_of,
)
from trg.inference.tracker import FaceTracker, TrackingOptions

pytestmark = pytest.mark.usefixtures("numbered_crops")

CAMERA = Camera.from_fov(60.0, 640, 480)
ROLLS_DEG = range(-180, 181, 15)
HALF_TURN = rotation_from_euler(np.array([0.0, 0.0, 180.0]))


@dataclass
class NearUprightNetwork(OracleNetwork):
    """Knows only nearly upright faces, as a trained network does.

    Beyond 70 degrees of roll in the crop it takes a face for an upright one, not quite certainly.
    """

    def _one(self, crop, numbers):
        rotation, translation_m, points_m, vertices, heat, peaks = super()._one(crop, numbers)
        if abs(rotation_to_euler(rotation)[2]) > 70.0:
            rotation = HALF_TURN @ rotation
            heat = heat + np.random.default_rng(0).normal(0.0, 0.5, heat.shape)
        return rotation, translation_m, points_m, vertices, heat, peaks


def rolled(roll_deg: float) -> Head:
    return Head((0.12, -0.05, 0.7), (20.0, -10.0, roll_deg))


def pipeline_of(head: Head) -> tuple[NearUprightNetwork, PosePipeline]:
    network = NearUprightNetwork([[head]])
    return network, PosePipeline(network)


@pytest.mark.parametrize("roll_deg", ROLLS_DEG)
def test_a_face_in_a_given_box_is_found_at_any_roll(roll_deg):
    head = rolled(roll_deg)
    network, pipeline = pipeline_of(head)
    (face,) = pipeline.estimate([FaceRequest(grey_image(0), CAMERA, head.box_px(CAMERA))])
    assert geodesic_angle_deg(face.rotation, head.rotation) < 1e-3
    np.testing.assert_allclose(face.translation_m, head.translation_m, atol=1e-6)
    assert face.confidence > 0.9
    assert sum(network.calls) <= 9


@pytest.mark.parametrize("roll_deg", [60, 120, 180, -90])
def test_a_known_roll_needs_no_search(roll_deg):
    head = rolled(roll_deg)
    network, pipeline = pipeline_of(head)
    box = head.box_px(CAMERA)
    (face,) = pipeline.estimate([FaceRequest(grey_image(0), CAMERA, box, roll_deg)])
    assert geodesic_angle_deg(face.rotation, head.rotation) < 1e-3
    assert sum(network.calls) <= 2


@pytest.mark.parametrize("told_deg", [0, 180])
def test_a_wrong_roll_is_corrected(told_deg):
    head = rolled(told_deg + 180)
    _, pipeline = pipeline_of(head)
    box = head.box_px(CAMERA)
    (face,) = pipeline.estimate([FaceRequest(grey_image(0), CAMERA, box, told_deg)])
    assert geodesic_angle_deg(face.rotation, head.rotation) < 1e-3


@pytest.mark.parametrize("roll_deg", [-19, 0, 12])
def test_crops_of_nearly_upright_faces_are_level_and_estimated_once(roll_deg):
    head = rolled(roll_deg)
    network, pipeline = pipeline_of(head)
    pipeline.estimate([FaceRequest(grey_image(0), CAMERA, head.box_px(CAMERA))])
    assert network.calls == [1]
    level, _, _ = TURNS[0].T
    assert abs(level[1]) < 0.05


class DoubtfulNetwork(NearUprightNetwork):
    """Its heatmaps are a little off, so that it is never sure of a face."""

    def _one(self, crop, numbers):
        *pose, heat, peaks = super()._one(crop, numbers)
        return *pose, heat + np.random.default_rng(0).normal(0.0, 0.25, heat.shape), peaks


@pytest.mark.parametrize(("detected_deg", "is_searched"), [(15, False), (None, True), (170, True)])
def test_a_doubtful_face_is_not_searched_where_the_detector_sees_the_same_roll(
    detected_deg, is_searched
):
    network = DoubtfulNetwork([[rolled(0)]])
    request = FaceRequest(grey_image(0), CAMERA, rolled(0).box_px(CAMERA))
    (face,) = PosePipeline(network).estimate([request._replace(detected_roll_deg=detected_deg)])
    assert AGREED_CONFIDENCE < face.confidence < SURE_CONFIDENCE
    assert (sum(network.calls) > 1) == is_searched
    assert geodesic_angle_deg(face.rotation, rolled(0).rotation) < 1e-3


def test_the_crops_roll_is_continuous_and_leaves_little_roll_to_the_network():
    rolls_deg = np.linspace(-180.0, 180.0, 3601)
    crops_deg = np.array([crop_roll_deg(roll_deg) for roll_deg in rolls_deg])
    assert np.abs(np.diff(crops_deg)).max() < 0.21
    assert (crops_deg[np.abs(rolls_deg) <= 20.0] == 0.0).all()
    assert (crops_deg[np.abs(rolls_deg) >= 40.0] == rolls_deg[np.abs(rolls_deg) >= 40.0]).all()
    assert np.abs(rolls_deg - crops_deg).max() < MAX_CROP_ROLL_DEG
    assert crop_roll_deg(180.0) == -crop_roll_deg(-180.0) == 180.0


def test_requests_take_their_roll_from_the_landmarks_where_it_is_large():
    upright = np.array([(-3.0, -4), (3, -4), (0, 0), (-2, 4), (2, 4)])
    points = np.stack(
        [upright @ rotation_from_euler(np.array([0, 0, r]))[:2, :2].T for r in (30.0, 130.0, -170)]
        + [np.full((5, 2), np.nan)]
    )
    boxes = np.tile([0.0, 0.0, 9.0, 9.0], (4, 1))
    detections = Detections(boxes, np.ones(4), points)
    np.testing.assert_allclose(detections.rolls_deg(), [30, 130, -170, 0], atol=1e-9)
    requests = requests_of(grey_image(0), CAMERA, detections)
    np.testing.assert_allclose([each.roll_deg for each in requests], [0, 130, -170, 0], atol=1e-9)
    assert [each.detected_roll_deg is None for each in requests] == [False, False, False, True]


def test_a_head_that_turns_once_round_is_followed_without_a_new_detection():
    class OneDetection:
        calls = 0

        def detect(self, image, max_faces=None, threshold=None):
            self.calls += 1
            box = rolled(0).box_px(CAMERA)
            return Detections(box[None], np.ones(1), np.full((1, 5, 2), np.nan))

    network, pipeline = pipeline_of(rolled(0))
    detector = OneDetection()
    options = TrackingOptions(redetect_every=1000, smoothing=None)
    tracker = FaceTracker(pipeline, detector, options)
    for frame, roll_deg in enumerate(range(0, 370, 10)):
        network.scenes[0] = [rolled(roll_deg)]
        (face,) = tracker.track(grey_image(0), CAMERA, frame / 30)
        assert face.id == 0
        assert geodesic_angle_deg(face.rotation, rolled(roll_deg).rotation) < 1e-3
    assert detector.calls == 1
    assert sum(network.calls) <= frame + 4


def test_a_face_beyond_the_fold_of_the_lens_model_is_told():
    folding = Camera(420.0, 420.0, 320.0, 240.0, 640, 480, (-0.5, 0.0, 0.0, 0.0, 0.0))
    _, pipeline = pipeline_of(rolled(0.0))
    image = np.zeros((480, 640, 3), np.uint8)
    with pytest.warns(LensModelWarning, match="a face has no pose"):
        assert pipeline.estimate([FaceRequest(image, folding, (580, 20, 630, 70))]) == [None]
