"""Calibration from a clip: choice of views, correction of the fit, and what the user is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trg.app.calibrate_camera import (
    FIT_OFFSET,
    FIT_SHARE,
    PRIOR_FOCAL,
    PRIOR_LOG_STD,
    View,
    calibrate_from_views,
    choose_frames,
    corrected_focal,
    landmark_std_px,
    one_person,
)
from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER
from trg.error_bars import QUANTITIES, STD_COUNT, ErrorBars
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.rotations import rotation_from_euler
from trg.geometry.self_calibration import FocalFit
from trg.geometry.shape_basis import bundled_shape_basis
from trg.inference.bundle import DEFAULT_BUNDLE, bundled, read_bundle
from trg.inference.detector import FaceDetector
from trg.inference.pose_pipeline import FaceRequest, PosePipeline
from trg.inference.runtime import PoseRuntime
from trg.io.images import read_image

CAMERA = Camera.from_fov(60.0, 1280, 720, "diagonal", "assumed")


@pytest.fixture(scope="module")
def topology():
    return read_bundle(bundled(DEFAULT_BUNDLE)).topology


def clip(topology, count=12, distance_m=0.5, yaw_deg=25.0, lean=0.15, moved_m=0.05):
    rng = np.random.default_rng(1)
    shape = bundled_shape_basis().vertices_m(rng.standard_normal(10))
    found = []
    for frame in range(count):
        rotation = rotation_from_euler(rng.normal(0.0, (yaw_deg, 0.4 * yaw_deg, 5.0)))
        depth_m = distance_m * np.exp(lean * rng.standard_normal())
        face = Face(
            rotation, (*(moved_m * rng.standard_normal(2)), depth_m), shape, 0.9, CAMERA, topology
        )
        found.append(View(frame, face, face.landmarks68_px))
    return found


def fit_of(moved: float, log_focal_std: float = 0.03, views: int = 20) -> FocalFit:
    return FocalFit(CAMERA.fx * np.exp(moved), log_focal_std, np.zeros((views, 68, 2)))


def test_the_error_bar_grows_with_the_fits_and_a_clip_that_tells_nothing_gives_the_prior():
    moved = FIT_SHARE * 0.1 + FIT_OFFSET
    near_px, near_std = corrected_focal(fit_of(moved, 0.02), CAMERA)
    _, wide_std = corrected_focal(fit_of(moved, 0.3), CAMERA)
    vague_px, vague_std = corrected_focal(fit_of(0.5, 50.0), CAMERA)
    assert CAMERA.fx < near_px < CAMERA.fx * np.exp(0.1)  # towards the prior
    assert near_std < wide_std < vague_std
    assert vague_px == pytest.approx(PRIOR_FOCAL * np.hypot(1280, 720), rel=0.01)
    assert vague_std == pytest.approx(PRIOR_LOG_STD, rel=0.01)


def test_errors_that_all_views_share_are_not_lowered_by_more_views():
    _, few = corrected_focal(fit_of(0.1, 0.08, views=10), CAMERA)
    _, many = corrected_focal(fit_of(0.1, 0.04, views=40), CAMERA)
    assert many == pytest.approx(few)


def test_a_focal_length_that_hardly_any_camera_has_gets_a_wide_error_bar():
    _, usual = corrected_focal(fit_of(0.1, 0.03), CAMERA)
    _, absurd = corrected_focal(fit_of(1.0, 0.03), CAMERA)
    assert absurd > max(0.2, 3.0 * usual)


def test_frames_are_chosen_for_variety_in_the_order_of_the_clip(topology):
    still = clip(topology, 30, yaw_deg=0.5, lean=0.01, moved_m=0.002)
    turned = {100 + view.frame: view.face for view in clip(topology, 3, yaw_deg=40.0)}
    chosen = choose_frames({view.frame: view.face for view in still} | turned, 6)
    assert len(chosen) == 6
    assert set(turned) <= set(chosen)
    assert list(chosen) == sorted(chosen)
    assert len(choose_frames(turned, 6)) == 3


def test_several_people_or_none_are_an_error_that_says_what_to_do(topology):
    views = clip(topology, 10)
    found = {view.frame: view.face for view in views}
    some = {frame: found[frame] for frame in range(5)}
    assert one_person({4: found, 7: {0: found[0]}}, None) is found
    with pytest.raises(ValueError, match=r"several people.*ids 4 in 10 frames, 7 in 5 frames.*--f"):
        one_person({4: found, 7: some}, None)
    assert one_person({4: found, 7: some}, 7) is some
    with pytest.raises(ValueError, match="got 9"):
        one_person({4: found}, 9)
    with pytest.raises(ValueError, match=r"no face; sit 0\.3"):
        one_person({}, None)
    with pytest.raises(ValueError, match="at least 8 frames"):
        calibrate_from_views(views[:5])


def test_a_calibration_states_its_error_bar_and_what_makes_the_clip_weak(topology):
    near = calibrate_from_views(clip(topology, 31))
    assert near.camera.source == "clip"
    assert near.is_usable
    assert near.camera.focal_std_px == pytest.approx(near.log_std * near.camera.fx)
    assert near.residuals.shape == (31, 68, 2)
    assert not near.weaknesses
    far = calibrate_from_views(clip(topology, 12, distance_m=3.0, yaw_deg=2.0, lean=0.01))
    assert far.log_std > near.log_std
    told = ", ".join(far.weaknesses)
    assert all(words in told for words in ("far", "turns little", "hardly changes", "12 frames"))


def test_a_face_that_is_partly_covered_gets_a_wider_error_bar_and_a_reason(topology):
    views = clip(topology, 31)

    def with_std(share: float) -> list[View]:
        std = np.full(STD_COUNT, 0.02)
        std[QUANTITIES["landmarks"]] = share
        bars = ErrorBars(std)
        return [each._replace(face=replace(each.face, error_bars=bars)) for each in views]

    clear, covered = (calibrate_from_views(with_std(share)) for share in (0.006, 0.018))
    assert covered.log_std > 1.3 * clear.log_std
    assert covered.weaknesses == ("the face is partly covered or hard to see",)
    assert not clear.weaknesses


def test_the_face_model_of_other_weights_is_refused(topology):
    views = clip(topology, 8)
    other = replace(topology, template_m=topology.template_m * 1.1)
    views[0] = views[0]._replace(face=replace(views[0].face, topology=other))
    with pytest.raises(ValueError, match="landmark mesh"):
        calibrate_from_views(views)


def test_landmarks_that_the_network_is_unsure_of_weigh_less(topology):
    given = [view.face for view in clip(topology, 8)]
    numbers = np.full(STD_COUNT, 0.01)
    numbers[QUANTITIES["landmarks"]] = np.where(np.arange(68) < 17, 0.03, 0.01)
    told = [replace(face, error_bars=ErrorBars(numbers)) for face in given]
    sure = [View(0, face, face.landmarks68_px) for face in told]
    equal = landmark_std_px([View(0, face, face.landmarks68_px) for face in given])
    weighted = landmark_std_px(sure)
    np.testing.assert_allclose(weighted[:, :17], 3.0 * weighted[:, 17:18].repeat(17, 1), rtol=1e-6)
    assert (weighted > equal).all()  # the usual standard deviation is smaller


def test_the_heatmaps_landmarks_hardly_follow_the_focal_length_that_the_network_is_told():
    pixels = read_image(SELFTEST_FOLDER / IMAGE_NAME).pixels
    height, width = pixels.shape[:2]
    box = FaceDetector().detect(pixels).boxes_xyxy[0]
    cameras = [Camera.from_fov(fov_deg, width, height) for fov_deg in (35.0, 75.0)]
    pipeline = PosePipeline(PoseRuntime(bundled(DEFAULT_BUNDLE)), refine=False)
    narrow, wide = pipeline.estimate_with_features(
        [FaceRequest(pixels, camera, box) for camera in cameras]
    )
    side_px = np.ptp(narrow.face.box_xyxy[::2])
    off_px = narrow.heatmap68_px() - narrow.face.landmarks68_px
    assert np.median(np.linalg.norm(off_px, axis=1)) < 0.05 * side_px
    moved = np.linalg.norm(narrow.heatmap68_px() - wide.heatmap68_px(), axis=1)
    assert np.median(moved) < 0.01 * side_px
