"""Images without a face: reproducibility, panoramas, distractors, sensors."""

from __future__ import annotations

import numpy as np
import pytest

from trglab.synth.distractors import DISTRACTOR_PAINTERS, scatter_distractors
from trglab.synth.environment.panorama import Panorama
from trglab.synth.negatives import (
    add_speckle_noise,
    face_free_images,
    sample_sensor,
    split_panoramas,
)

WHITE = np.ones(3, np.float32)


def test_face_free_images_are_reproducible_and_differ():
    first = list(face_free_images(11, 6, (64, 48)))
    again = list(face_free_images(11, 6, (64, 48)))
    other = list(face_free_images(12, 6, (64, 48)))
    for number, image in enumerate(first):
        assert image.shape == (48, 64, 3)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, again[number])
        assert not np.array_equal(image, other[number])
    assert len({image.tobytes() for image in first}) == 6


def test_every_second_face_free_image_is_a_view_of_a_panorama():
    dull = np.linspace(0.5, 1.5, 32)[:, None, None] * np.ones((32, 64, 3))
    places = [Panorama.from_radiance(name, dull**power) for name, power in (("a", 1), ("b", 3))]
    one, other = (list(face_free_images(4, 6, (64, 64), [place])) for place in places)
    same = [np.array_equal(a, b) for a, b in zip(one, other, strict=True)]
    assert same == [False, True] * 3


def test_reserved_panoramas_are_not_used_for_training():
    places = [Panorama.from_radiance(str(i), np.full((32, 64, 3), i + 1.0)) for i in range(9)]
    training, reserved = split_panoramas(places)
    assert [place.name for place in reserved] == ["3", "7"]
    assert sorted([*training, *reserved], key=lambda p: p.name) == places
    assert split_panoramas(places[:3]) == (places[:3], places[:3])


@pytest.mark.parametrize("kind", list(DISTRACTOR_PAINTERS))
def test_distractors_are_painted_and_marked_in_the_owner_map(kind):
    rng = np.random.default_rng(0)
    scene, owner = np.full((120, 120, 3), 0.2, np.float32), np.full((120, 120), -1, np.int16)
    scatter_distractors(scene, rng, WHITE, 12, owner, (kind,))
    assert np.isfinite(scene).all()
    assert scene.min() >= 0
    assert (owner == -2).any()
    unchanged = owner == -1
    assert np.abs(scene[~unchanged] - 0.2).max() > 0.05


def test_speckle_noise_keeps_the_size_and_adds_variance():
    flat = np.full((40, 50, 3), 0.5, np.float32)
    rough = add_speckle_noise(flat, np.random.default_rng(3))
    assert rough.shape == flat.shape
    assert rough.std() > 0.01


def test_some_sensors_are_grey_or_dark():
    sensors = [sample_sensor(np.random.default_rng(i)) for i in range(300)]
    assert 0.03 < np.mean([sensor.mode == "grey" for sensor in sensors]) < 0.2
    assert 0.05 < np.mean([sensor.exposure_stops < -1.1 for sensor in sensors]) < 0.2
