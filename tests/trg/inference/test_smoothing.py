"""One-Euro on vectors, rotations and whole faces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.support.oracle_network import TOPOLOGY
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.rotations import geodesic_angle_deg, rotation_from_euler
from trg.inference.smoothing import (
    FaceSmoother,
    OneEuroFilter,
    OneEuroParameters,
    OneEuroRotationFilter,
)

CAMERA = Camera.from_fov(60.0, 640, 480)
PARAMETERS = OneEuroParameters(1.0, 0.5)


def naive_one_euro(values, times, min_cutoff, beta):
    """The paper's algorithm on scalars, step by step."""

    def alpha(cutoff, dt):
        tau = 1 / (2 * np.pi * cutoff)
        return 1 / (1 + tau / dt)

    smooth, slope, results = values[0], 0.0, [values[0]]
    for i in range(1, len(values)):
        dt = times[i] - times[i - 1]
        a = alpha(1.0, dt)
        slope = a * (values[i] - smooth) / dt + (1 - a) * slope
        a = alpha(min_cutoff + beta * abs(slope), dt)
        smooth = a * values[i] + (1 - a) * smooth
        results.append(smooth)
    return np.array(results)


def test_values_are_smoothed_as_in_the_paper_at_any_frame_rate():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.005, 0.1, 200))
    values = np.sin(times * 3) + rng.normal(0, 0.05, 200)
    filtered = OneEuroFilter(PARAMETERS)
    got = [filtered.smooth(np.array([v]), t)[0] for v, t in zip(values, times, strict=True)]
    np.testing.assert_allclose(got, naive_one_euro(values, times, 1.0, 0.5), atol=1e-12)


def test_rotations_about_one_axis_are_smoothed_like_their_angle():
    rng = np.random.default_rng(1)
    axis = np.array([0.3, -0.8, 0.52])
    axis /= np.linalg.norm(axis)
    times = np.arange(100) / 30
    angles = 1.2 * np.sin(times) + rng.normal(0, 0.02, 100)
    filtered = OneEuroRotationFilter(PARAMETERS)
    expected = naive_one_euro(angles, times, 1.0, 0.5)
    for angle, time_s, want in zip(angles, times, expected, strict=True):
        got = filtered.smooth(Rotation.from_rotvec(angle * axis).as_matrix(), time_s)
        np.testing.assert_allclose(got, Rotation.from_rotvec(want * axis).as_matrix(), atol=1e-9)


def test_rotations_are_smoothed_the_same_in_any_frame():
    rng = np.random.default_rng(2)
    turn = Rotation.random(random_state=3).as_matrix()
    here, there = OneEuroRotationFilter(PARAMETERS), OneEuroRotationFilter(PARAMETERS)
    for i in range(30):
        rotation = rotation_from_euler(rng.normal(0, 20, 3))
        np.testing.assert_allclose(
            turn @ here.smooth(rotation, i), there.smooth(turn @ rotation, i), atol=1e-9
        )


def test_repeated_times_change_nothing_and_decreasing_times_reset():
    filtered = OneEuroFilter(PARAMETERS)
    filtered.smooth(np.zeros(3), 1.0)
    before = filtered.smooth(np.ones(3), 1.1)
    np.testing.assert_array_equal(filtered.smooth(np.full(3, 9.0), 1.1), before)
    np.testing.assert_array_equal(filtered.smooth(np.full(3, 5.0), 0.2), 5.0)
    assert 4.0 < filtered.smooth(np.full(3, 4.0), 0.3)[0] < 5.0


def test_long_gaps_reset_the_smoothing():
    filtered = OneEuroFilter(PARAMETERS)
    filtered.smooth(np.zeros(1), 0.0)
    assert filtered.smooth(np.ones(1), 100.0)[0] > 0.99


def make_face(rng: np.random.Generator, noise: float = 1.0) -> Face:
    rotation = rotation_from_euler(rng.normal(0, 0.7 * noise, 3))
    translation_m = np.array([0.05, 0.02, 0.7 * np.exp(rng.normal(0, 0.01 * noise))])
    landmarks_m = TOPOLOGY.template_m + rng.normal(0, 0.0005 * noise, (TOPOLOGY.vertex_count, 3))
    return Face(rotation, translation_m, landmarks_m, 0.9, CAMERA, TOPOLOGY)


def test_a_face_whose_smoothing_cannot_be_projected_is_returned_unchanged():
    smoother = FaceSmoother()
    beside = rotation_from_euler(np.array([90.0, 0.0, 0.0]))
    shape_m = TOPOLOGY.template_m
    depth_m = -float(shape_m[:, 2].min()) + 0.002
    frontal = Face(np.eye(3), (0, 0, depth_m), shape_m, 0.9, CAMERA, TOPOLOGY)
    width_m = float(np.abs(shape_m[:, 0]).max()) + 0.002
    profile = Face(beside, (0, 0, width_m), shape_m, 0.9, CAMERA, TOPOLOGY)
    assert smoother.smooth(profile, 0.0).translation_m[2] == pytest.approx(width_m)
    assert smoother.smooth(frontal, 1 / 30) is frontal, "still too near for a frontal head"


def test_a_face_beside_a_very_wide_lens_does_not_end_the_smoothing():
    """At a depth below 0, as a fisheye lens sees it, the logarithm of the depth is undefined."""
    lens = Camera(
        *(300.0, 300.0, 320.0, 240.0, 640, 480), distortion=(0.0,) * 4, lens_model="fisheye"
    )
    smoother = FaceSmoother()
    smoothed = []
    for index, depth_m in enumerate((0.05, -0.01, 0.0, 0.05, 0.06)):
        face = Face(np.eye(3), (0.6, 0, depth_m), TOPOLOGY.template_m, 0.9, lens, TOPOLOGY)
        smoothed.append((face, smoother.smooth(face, index / 30)))
    assert [found is face for face, found in smoothed[1:3]] == [True, True]
    for face, found in smoothed[3:]:
        assert found is not face
        assert np.isfinite(found.translation_m).all()


def test_a_still_face_jitters_less_and_stays_self_consistent():
    rng = np.random.default_rng(5)
    smoother = FaceSmoother()
    raw, smoothed = [], []
    for i in range(150):
        face = make_face(rng)
        smooth = smoother.smooth(face, i / 30)
        again = CAMERA.project(smooth.mesh().vertices_m)
        np.testing.assert_allclose(smooth.landmarks_px, again, atol=1e-9)
        np.testing.assert_array_equal(
            smooth.landmarks68_px, smooth.landmarks_px[TOPOLOGY.landmarks68]
        )
        np.testing.assert_allclose(smooth.box_xyxy, face_box(smooth.landmarks68_px))
        raw.append(face)
        smoothed.append(smooth)

    def jitter(faces):
        angles = [geodesic_angle_deg(a.rotation, b.rotation) for a, b in pairwise(faces[30:])]
        return np.mean(angles), np.std(np.diff([face.translation_m[2] for face in faces[30:]]))

    assert jitter(smoothed)[0] < jitter(raw)[0] / 3
    assert jitter(smoothed)[1] < jitter(raw)[1] / 3


def test_a_turning_head_is_followed_closely():
    """A quick look to the side, 60 degrees in 0.4 s, lags by less than one frame."""
    smoother = FaceSmoother()
    face = make_face(np.random.default_rng(6), noise=0.0)
    times = np.arange(60) / 30
    yaws = 60.0 * np.clip((times - 0.5) / 0.4, 0, 1)
    got = []
    for time_s, yaw in zip(times, yaws, strict=True):
        turned = Face(
            rotation_from_euler(np.array([yaw, 0.0, 0.0])),
            face.translation_m,
            face.landmarks_m,
            0.9,
            CAMERA,
            TOPOLOGY,
        )
        got.append(smoother.smooth(turned, time_s).euler()[0])
    lag_s = (yaws - np.array(got)).sum() / 30 / 60.0
    assert 0.0 < lag_s < 1 / 30
    assert got[-1] == pytest.approx(60.0, abs=0.5)


@pytest.mark.parametrize("numbers", [(0.0, 1.0), (-1.0, 0.0), (1.0, -1.0), (np.nan, 0.0)])
def test_invalid_parameters_are_refused(numbers):
    with pytest.raises(ValueError, match="min_cutoff_hz above 0"):
        OneEuroParameters(*numbers)


def test_axes_may_have_parameters_of_their_own():
    """A slow axis stays behind; the other moves as it would alone."""
    fast, slow = OneEuroParameters(5.0, 0.5), OneEuroParameters(0.1, 0.0)
    alone, apart = OneEuroFilter(fast), OneEuroFilter((fast, slow))
    for index in range(10):
        value = np.array([1.0, 1.0]) * (index > 0)
        both = apart.smooth(value, index / 30)
        one = alone.smooth(value[:1], index / 30)
    assert both[0] == pytest.approx(one[0])
    assert both[1] < 0.3 < 0.9 < both[0]
    smoother = OneEuroRotationFilter((slow, fast, fast))
    smoother.smooth(np.eye(3), 0.0)
    turned = smoother.smooth(rotation_from_euler(np.array([20.0, 20.0, 0.0])), 0.1)
    yaw, pitch, _ = Rotation.from_matrix(turned).as_euler("yxz", degrees=True)
    assert pitch < 5.0 < 10.0 < yaw
