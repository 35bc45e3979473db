"""Synthetic clips: what is constant over a clip, and how the head moves and holds still."""

from __future__ import annotations

import numpy as np
import pytest

from trg.geometry.rotations import geodesic_angle_deg
from trglab.synth.clips import (
    CLIP_FPS,
    CLIP_FRAMES,
    STILL_FRAME,
    ClipMovement,
    SyntheticClips,
    movement_time_s,
)

PLAIN = ("photo_skin", "panoramas", "hair_meshes", "hair_alpha", "hair", "occluders")


@pytest.fixture(scope="module")
def clips() -> SyntheticClips:
    return SyntheticClips(5, distance_m=(0.6, 0.6), without=PLAIN)


@pytest.fixture(scope="module")
def movement(clips) -> ClipMovement:
    return ClipMovement(np.random.default_rng(1), clips._studio.model, (0.4, 0.4))


def test_a_frame_depends_on_seed_and_index_alone(clips):
    frames = {index: clips.sample(index) for index in (3, CLIP_FRAMES + 2)}
    again = SyntheticClips(5, distance_m=(0.6, 0.6), without=PLAIN).sample(3)
    np.testing.assert_array_equal(again.image, frames[3].image)
    np.testing.assert_array_equal(again.vertices_m, frames[3].vertices_m)
    assert frames[3].identity != frames[CLIP_FRAMES + 2].identity


def test_person_camera_and_background_are_constant_over_a_clip_and_the_noise_is_new(clips):
    first, last = clips.sample(CLIP_FRAMES - 2), clips.sample(CLIP_FRAMES - 1)
    assert first.camera == last.camera
    assert first.identity == last.identity
    np.testing.assert_allclose(first.translation_m, last.translation_m)
    corner_a, corner_b = (each.image[:40, :40].astype(float) for each in (first, last))
    assert np.abs(corner_a - corner_b).max() > 0
    assert abs(corner_a.mean() - corner_b.mean()) < 2.0


def test_the_head_moves_smoothly_then_holds_still_while_the_face_goes_on(movement):
    shots = [movement.shot(frame) for frame in range(CLIP_FRAMES)]
    position = np.array([shot.translation_m for shot in shots])
    speed = np.linalg.norm(np.diff(position, axis=0), axis=1) * CLIP_FPS
    assert speed[:60].mean() > 0.02
    assert np.abs(np.diff(speed)).max() < 0.1  # no jump
    np.testing.assert_array_equal(speed[STILL_FRAME:], 0.0)
    turns = geodesic_angle_deg(shots[STILL_FRAME].rotation, shots[-1].rotation)
    assert turns == pytest.approx(0.0, abs=1e-6)
    expressions = np.array([movement.expression(frame) for frame in range(CLIP_FRAMES)])
    assert np.abs(np.diff(expressions[STILL_FRAME:], axis=0)).max() > 0
    assert np.abs(np.diff(expressions, axis=0)).max() < 0.3


def test_the_movement_stops_without_a_jump_in_speed():
    times = np.array([movement_time_s(frame) for frame in range(CLIP_FRAMES)])
    steps = np.diff(times) * CLIP_FPS
    assert steps[0] == pytest.approx(1.0)
    assert (np.diff(steps) <= 1e-9).all()
    assert np.abs(np.diff(steps)).max() < 0.15
    assert steps[-1] == 0.0


@pytest.mark.parametrize("distance_m", [(0.1, 0.5), (0.8, 0.5)])
def test_distances_out_of_range_are_refused(distance_m):
    with pytest.raises(ValueError, match="nearest <= farthest"):
        SyntheticClips(distance_m=distance_m)


def test_after_a_cut_another_person_has_the_place_and_the_pose():
    clips = SyntheticClips(5, distance_m=(0.6, 0.6), cut_frame=50, without=PLAIN)
    before, after = clips.sample(49), clips.sample(50)
    assert before.identity != after.identity
    assert before.camera == after.camera
    assert np.linalg.norm(before.translation_m - after.translation_m) < 0.05
    assert np.abs(clips.neutral_m(49) - clips.neutral_m(50)).max() > 1e-3
    np.testing.assert_array_equal(clips.neutral_m(49), clips.neutral_m(0))
