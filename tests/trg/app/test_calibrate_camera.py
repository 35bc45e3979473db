"""Calibration from a clip: choice of views, correction of the fit, and what the user is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trg.app.calibrate_camera import (
    FIT_OFFSET,
    PRIOR_FOCAL,
    PRIOR_LOG_STD,
    View,
    calibrate_from_views,
    choose_views,
    corrected_focal,
    landmark_std_px,
    one_person,
)
from trg.error_bars import QUANTITIES, STD_COUNT, ErrorBars
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.rotations import rotation_from_euler
from trg.geometry.self_calibration import FocalFit
from trg.geometry.shape_basis import bundled_shape_basis
from trg.inference.bundle import DEFAULT_BUNDLE, bundled, read_bundle

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
        found.append(View(frame, face))
    return found


def fit_of(moved: float, log_focal_std: float = 0.03) -> FocalFit:
    return FocalFit(CAMERA.fx * np.exp(moved), log_focal_std, np.zeros((1, 68, 2)))


def test_the_correction_extends_the_fit_and_keeps_the_prior_of_far_faces():
    near_px, near_std = corrected_focal(fit_of(0.1), CAMERA, 0.4)
    far_px, far_std = corrected_focal(fit_of(FIT_OFFSET), CAMERA, 0.02)
    assert near_px > CAMERA.fx * np.exp(0.1)
    assert near_std < 0.12
    assert far_px == pytest.approx(PRIOR_FOCAL * np.hypot(1280, 720), rel=0.05)
    assert far_std == pytest.approx(PRIOR_LOG_STD, rel=0.02)
    assert corrected_focal(fit_of(0.1, 0.15), CAMERA, 0.4)[1] > near_std


def test_views_are_chosen_for_variety_in_the_order_of_the_clip(topology):
    still = clip(topology, 30, yaw_deg=0.5, lean=0.01, moved_m=0.002)
    turned = [View(100 + view.frame, view.face) for view in clip(topology, 3, yaw_deg=40.0)]
    chosen = choose_views(still + turned, 6)
    assert len(chosen) == 6
    assert {view.frame for view in turned} <= {view.frame for view in chosen}
    assert [view.frame for view in chosen] == sorted(view.frame for view in chosen)
    assert len(choose_views(turned, 6)) == 3


def test_several_people_or_none_are_an_error_that_says_what_to_do(topology):
    found = clip(topology, 10)
    assert one_person({4: found, 7: found[:1]}, None) is found
    with pytest.raises(ValueError, match=r"several people.*ids 4 in 10 frames, 7 in 5 frames.*--f"):
        one_person({4: found, 7: found[:5]}, None)
    assert len(one_person({4: found, 7: found[:5]}, 7)) == 5
    with pytest.raises(ValueError, match="got 9"):
        one_person({4: found}, 9)
    with pytest.raises(ValueError, match=r"no face; sit 0\.3"):
        one_person({}, None)
    with pytest.raises(ValueError, match="at least 8 frames"):
        calibrate_from_views(found[:5])


def test_a_calibration_states_its_error_bar_and_what_makes_the_clip_weak(topology):
    near = calibrate_from_views(clip(topology, 31))
    assert near.camera.source == "clip"
    assert near.is_usable
    assert near.camera.focal_std_px == pytest.approx(near.log_std * near.camera.fx)
    assert near.residuals.shape == (31, 68, 2)
    assert not near.weaknesses
    far = calibrate_from_views(clip(topology, 12, distance_m=2.0, yaw_deg=2.0, lean=0.01))
    assert far.log_std > near.log_std
    assert not far.is_usable
    told = ", ".join(far.weaknesses)
    assert all(words in told for words in ("far", "turns little", "hardly changes", "12 frames"))


def test_the_face_model_of_other_weights_is_refused(topology):
    views = clip(topology, 8)
    other = replace(topology, template_m=topology.template_m * 1.1)
    views[0] = View(0, replace(views[0].face, topology=other))
    with pytest.raises(ValueError, match="landmark mesh"):
        calibrate_from_views(views)


def test_landmarks_that_the_network_is_unsure_of_weigh_less(topology):
    given = [view.face for view in clip(topology, 8)]
    numbers = np.full(STD_COUNT, 0.01)
    numbers[QUANTITIES["landmarks"]] = np.where(np.arange(68) < 17, 0.03, 0.01)
    sure = [View(0, replace(face, error_bars=ErrorBars(numbers))) for face in given]
    equal = landmark_std_px([View(0, face) for face in given])
    weighted = landmark_std_px(sure)
    np.testing.assert_allclose(weighted[:, :17], 3.0 * weighted[:, 17:18].repeat(17, 1), rtol=1e-6)
    assert np.sqrt(np.mean((weighted / equal) ** 2)) == pytest.approx(1.0)
