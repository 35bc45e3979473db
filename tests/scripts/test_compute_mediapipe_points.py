"""The map of MediaPipe's points: how it is measured."""

from __future__ import annotations

import numpy as np
import pytest
from scripts.compute_mediapipe_points import Sightings, nearest_landmarks

from tests.support.faces import face_topology
from trg.geometry.rotations import rotation_from_euler

PX_PER_M = 2000.0
PAIRS = 12


def made_sightings(vertices: np.ndarray, offset_m: np.ndarray) -> Sightings:
    """Return faces seen from eleven sides whose points are at vertices, some off by an offset."""
    template_m = face_topology().template_m.astype(np.float64)
    points, landmarks = [], []
    for yaw_deg in np.linspace(-40.0, 40.0, 11):
        rotation = rotation_from_euler(np.array([yaw_deg, yaw_deg / 3.0, 0.0]))
        points.append(((template_m[vertices] + offset_m) @ rotation.T)[:, :2] * PX_PER_M)
        landmarks.append((template_m @ rotation.T)[:, :2] * PX_PER_M)
    mm_per_px = np.full(len(points), 1000.0 / PX_PER_M)
    return Sightings(*(np.array(each, np.float32) for each in (points, landmarks, mm_per_px)))


@pytest.fixture(scope="module")
def vertices() -> np.ndarray:
    """Vertices that mirror each other."""
    topology = face_topology()
    own = np.flatnonzero(topology.mirror > np.arange(topology.vertex_count))
    chosen = np.random.default_rng(0).choice(own, PAIRS, replace=False)
    return np.concatenate([chosen, topology.mirror[chosen]])


def test_points_find_their_landmark_and_how_far_it_is(vertices):
    offset_m = np.zeros((2 * PAIRS, 3))
    offset_m[7, 0] = 0.001
    found, median_mm = nearest_landmarks(made_sightings(vertices, offset_m), face_topology())
    np.testing.assert_array_equal(found, vertices)
    assert np.flatnonzero(median_mm > 0.1).tolist() == [7, 7 + PAIRS], "the worse side counts"
    assert median_mm[7] == median_mm[7 + PAIRS] == pytest.approx(0.94, abs=0.05)


def test_landmarks_that_are_rarely_seen_are_not_chosen(vertices):
    seen = made_sightings(vertices, np.zeros((2 * PAIRS, 3)))
    hidden = np.array([vertices[0], face_topology().mirror[vertices[0]]])
    seen.landmarks_px[1:, hidden] = np.nan
    found, median_mm = nearest_landmarks(seen, face_topology())
    assert not np.isin(hidden, found).any()
    np.testing.assert_array_equal(np.delete(found, [0, PAIRS]), np.delete(vertices, [0, PAIRS]))
    assert median_mm[0] > 0.1
