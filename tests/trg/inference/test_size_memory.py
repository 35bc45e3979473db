"""A person's size over many views: what is averaged, what counts how much, and what never lags."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.faces import face_topology, make_face
from trg.error_bars import INTERPUPILLARY_STD, QUANTITIES, STD_COUNT, ErrorBars
from trg.face import Face
from trg.inference.size_memory import (
    COMMON_STD,
    CORRELATION_S,
    FORGET_S,
    SizeEstimate,
    SizeMemory,
    in_one_size,
    log_face_size,
    view_std,
)

TEMPLATE_M = face_topology().template_m.astype(float)


def face_of(scale: float, depth_m: float = 0.6, **changes) -> Face:
    """A face that its frame takes for ``scale`` times as large, and as far, as it is."""
    return make_face(
        translation_m=(0.05 * scale, -0.03 * scale, depth_m * scale),
        landmarks_m=TEMPLATE_M * scale,
        **changes,
    )


def depths_m(sizes, fps: float = 30.0, memory: SizeMemory | None = None, depth_m=0.6) -> np.ndarray:
    memory = memory or SizeMemory()
    depth = np.broadcast_to(depth_m, len(sizes))
    return np.array(
        [
            memory.remember(face_of(size, z), i / fps).translation_m[2]
            for i, (size, z) in enumerate(zip(sizes, depth, strict=True))
        ]
    )


def noisy_sizes(count: int, sd: float = 0.03, correlation: float = 0.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    noise = [rng.normal(0.0, sd)]
    for step in rng.normal(0.0, sd * np.sqrt(1.0 - correlation**2), count - 1):
        noise.append(correlation * noise[-1] + step)
    return np.exp(noise)


def test_a_scaled_face_moves_no_pixel_and_says_both_sizes():
    memory = SizeMemory(SizeEstimate(log_face_size(face_of(1.0)), 0.01))
    frame = face_of(1.2)
    face = memory.remember(frame)
    np.testing.assert_allclose(face.translation_m, face_of(1.0).translation_m)
    np.testing.assert_allclose(face.landmarks_m, face_of(1.0).landmarks_m)
    again = Face(*(getattr(face, name) for name in (
        "rotation", "translation_m", "landmarks_m", "confidence", "camera", "topology",
    )))  # fmt: skip
    np.testing.assert_allclose(again.landmarks_px, frame.landmarks_px, atol=1e-9)
    assert face.frame_interpupillary_m == pytest.approx(frame.interpupillary_m)
    assert face.person_size.std == pytest.approx(np.hypot(COMMON_STD, 0.01))


def test_the_first_frame_is_handed_out_as_it_is():
    np.testing.assert_allclose(depths_m([1.1]), 0.6 * 1.1)


def test_noise_of_the_size_is_averaged_and_its_posterior_narrows():
    memory = SizeMemory()
    depths = depths_m(noisy_sizes(300), memory=memory)
    assert depths[-1] == pytest.approx(0.6, rel=0.01)
    assert np.abs(np.diff(np.log(depths[60:]))).max() < 0.002
    assert memory.estimate.std < 0.01


def test_the_scale_follows_smoothly_from_a_first_frame_that_is_far_off():
    depths = depths_m([1.15, *noisy_sizes(200, 0.01)])
    assert np.abs(np.diff(np.log(depths))).max() < 0.02
    assert depths[-1] == pytest.approx(0.6, rel=0.015)


def test_outliers_hardly_count():
    sizes = noisy_sizes(300, 0.01)
    sizes[100:110] = 1.5
    clean = depths_m(noisy_sizes(300, 0.01))
    assert depths_m(sizes)[-1] == pytest.approx(clean[-1], rel=0.004)


def test_many_frames_per_second_count_no_more_than_few():
    """Errors of successive frames are correlated."""
    stds = []
    for fps in (10.0, 30.0, 120.0):
        memory = SizeMemory()
        depths_m(np.ones(int(4.0 * fps)), fps, memory)
        stds.append(memory.estimate.std)
    np.testing.assert_allclose(stds, stds[0], rtol=0.05)
    expected = view_std(face_of(1.0)) / np.sqrt(1.0 + 4.0 / (2.0 * CORRELATION_S))
    assert stds[0] == pytest.approx(expected, rel=0.15)  # Student's t counts good views more


def test_true_motion_in_depth_has_no_lag():
    step = np.where(np.arange(90) < 45, 0.6, 0.45)
    memory = SizeMemory()
    sizes = noisy_sizes(90, 0.02)
    assert depths_m(sizes, memory=memory, depth_m=step)[45:].max() < 0.5
    scale = depths_m(sizes, depth_m=step) / step
    assert np.abs(np.diff(np.log(scale)))[30:].max() < 0.003  # none at the step either


def test_uncertain_views_count_less():
    def with_bars(scale: float, along: float) -> Face:
        std = np.full(STD_COUNT, 0.01)
        std[QUANTITIES["along"]], std[QUANTITIES["along_sized"]] = along, 0.01
        return face_of(scale, error_bars=ErrorBars(std))

    memory = SizeMemory()
    memory.remember(with_bars(1.0, 0.03))
    sure = memory.estimate.log_size
    memory.remember(with_bars(1.1, 0.12))
    assert memory.estimate.log_size - sure < 0.1 * np.log(1.1)
    assert view_std(with_bars(1.0, 0.03)) < view_std(with_bars(1.0, 0.06))
    bars = memory.remember(with_bars(1.0, 0.06)).error_bars
    assert bars["along"][0] == pytest.approx(np.hypot(0.01, memory.estimate.total_std))


def test_old_views_are_forgotten_slowly():
    sizes = np.concatenate([np.ones(100), np.full(int(30 * FORGET_S), 1.1)])
    depths = depths_m(sizes, 10.0)
    assert depths[140] < 0.6 * 1.03
    assert depths[-1] > 0.6 * 1.09


def test_a_known_size_holds_from_the_first_frame_on():
    known = SizeEstimate(log_face_size(face_of(1.0)), 0.005)
    memory = SizeMemory(known)
    np.testing.assert_allclose(depths_m([1.1, 0.9, 1.3], memory=memory), 0.6)
    assert memory.estimate == known


def test_repeated_and_decreasing_times_are_allowed():
    memory = SizeMemory()
    for time_s in (0.0, 0.0, 1.0, 0.5, 1.0):
        memory.remember(face_of(1.0), time_s)
    assert np.isfinite(memory.estimate).all()


def test_a_known_eye_distance_is_kept_on_average_while_the_eyes_estimates_vary():
    topology = face_topology()
    eyelids = topology.landmarks68[36:48]
    memory, faces = SizeMemory(interpupillary_m=0.066), []
    for i, wider in enumerate(noisy_sizes(200, 0.03, seed=3)):
        landmarks_m = TEMPLATE_M.copy()
        landmarks_m[eyelids, 0] *= wider
        faces.append(memory.remember(make_face(landmarks_m=landmarks_m), i / 3.0))
    sizes = np.array([log_face_size(face) for face in faces[50:]])
    eyes_m = np.array([face.interpupillary_m for face in faces[50:]])
    assert sizes.std() < 0.003 < 0.02 < np.log(eyes_m).std()
    assert eyes_m.mean() == pytest.approx(0.066, rel=0.005)
    assert faces[-1].person_size.std == pytest.approx(INTERPUPILLARY_STD, rel=0.05)


def test_only_the_largest_face_of_a_photo_is_the_persons():
    known = SizeEstimate(log_face_size(face_of(1.0)), 0.005)
    near, far = face_of(1.2, 0.5), face_of(1.2, 1.0)
    first, second = in_one_size([far, near], known)
    assert first is far
    assert second.translation_m[2] == pytest.approx(0.5)
    assert in_one_size([], known) == []


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(scale):
    with pytest.raises(ValueError, match="scale: expected a finite number above 0"):
        make_face().with_person_size(scale, 0.01)
