"""Error bars of faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.constant_bundle import write_constant_bundle
from tests.support.faces import VGA, face_topology, make_face
from trg.error_bars import INTERPUPILLARY_STD, QUANTITIES, STD_COUNT, ErrorBars
from trg.estimator import HeadPoseEstimator
from trg.face import STD_PROPERTIES
from trg.geometry.face_mesh import LANDMARK_GROUPS, landmark_groups

STD = np.linspace(0.01, 0.05, STD_COUNT)


def test_error_bars_have_the_units_of_the_face():
    bars = ErrorBars(STD)
    face = make_face(error_bars=bars)
    np.testing.assert_array_equal(face.rotation_std_deg, STD[:3])
    across, along = bars["across"][0], bars["along"][0]
    expected_m = face.distance_m * np.array([across, across, along])
    np.testing.assert_allclose(face.translation_std_m, expected_m)
    assert face.landmarks_std_m.shape == (len(LANDMARK_GROUPS),)
    side_px = face.box_xyxy[2] - face.box_xyxy[0]
    np.testing.assert_allclose(face.landmarks_std_px, STD[-68:] * side_px)


def test_an_uncertain_focal_length_makes_the_distance_uncertain():
    face = make_face(error_bars=ErrorBars(STD))
    camera = replace(VGA, focal_std_px=0.1 * VGA.fx)
    uncertain = make_face(error_bars=ErrorBars(STD), camera=camera)
    before, after = (each.translation_std_m / each.distance_m for each in (face, uncertain))
    np.testing.assert_allclose(after, [*before[:2], np.hypot(before[2], 0.1)])


def test_quantities_take_every_number_once():
    taken = np.concatenate([np.arange(STD_COUNT)[part] for part in QUANTITIES.values()])
    np.testing.assert_array_equal(taken, np.arange(STD_COUNT))


def test_a_face_without_error_bars_has_none():
    face = make_face()
    assert [getattr(face, name) for name in STD_PROPERTIES] == [None] * 4


def test_a_known_size_leaves_the_error_bars_of_the_rest():
    std = STD.copy()
    std[QUANTITIES["along"]], std[QUANTITIES["along_sized"]] = 0.05, 0.01
    std[QUANTITIES["shape_sized"]] = 0.002
    face = make_face(error_bars=ErrorBars(std))
    sized = face.with_interpupillary(1.1 * face.interpupillary_m)
    relative = sized.translation_std_m / sized.distance_m
    size_std = np.hypot(INTERPUPILLARY_STD, 0.002 / sized.interpupillary_m)
    assert relative[2] == pytest.approx(np.hypot(0.01, size_std))
    np.testing.assert_allclose(relative[:2], face.translation_std_m[:2] / face.distance_m)
    np.testing.assert_array_equal(sized.rotation_std_deg, face.rotation_std_deg)
    np.testing.assert_array_equal(sized.landmarks_std_px, face.landmarks_std_px)


@pytest.mark.parametrize(
    ("std", "message"),
    [(STD[:-1], "shape"), (np.full(STD_COUNT, np.nan), "finite"), (-STD, "from 0")],
)
def test_invalid_error_bars_are_refused(std, message):
    with pytest.raises(ValueError, match=message):
        ErrorBars(std)


def test_landmarks_belong_to_the_group_of_the_nearest_standard_one():
    topology = face_topology()
    groups = landmark_groups(topology)
    named = [LANDMARK_GROUPS[group] for group in groups[topology.landmarks68]]
    assert named == [
        *["jaw"] * 17, *["brows"] * 10, *["nose"] * 9, *["eyes"] * 12, *["mouth"] * 20,
    ]  # fmt: skip
    top = topology.template_m[:, 1].argmin()
    assert LANDMARK_GROUPS[groups[top]] == "rest"


@pytest.mark.parametrize("flip", [False, True])
def test_a_bundle_with_error_bars_gives_them_to_its_faces(tmp_path, flip):
    """Landmarks of flipped crops are swapped before they are averaged."""
    path = tmp_path / "constant.trg"
    write_constant_bundle(path, face_topology(), (0.0, 0.0, 0.6), STD)
    estimator = HeadPoseEstimator(path, flip=flip, refine=False)
    (face,) = estimator(np.zeros((480, 640, 3), np.uint8), VGA, boxes=[(260, 180, 380, 300)])
    np.testing.assert_allclose(face.rotation_std_deg, STD[:3], rtol=1e-6)
    jaw = STD[QUANTITIES["landmarks"]][:17]
    expected = (jaw + jaw[::-1]) / 2.0 if flip else jaw
    np.testing.assert_allclose(face.error_bars["landmarks"][:17], expected, rtol=1e-6)


def test_a_bundle_without_error_bars_gives_none(tmp_path):
    path = tmp_path / "constant.trg"
    write_constant_bundle(path, face_topology(), (0.0, 0.0, 0.6))
    estimator = HeadPoseEstimator(path, refine=False)
    (face,) = estimator(np.zeros((480, 640, 3), np.uint8), VGA, boxes=[(260, 180, 380, 300)])
    assert face.error_bars is None
