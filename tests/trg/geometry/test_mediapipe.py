"""MediaPipe's landmarks and poses beside this package's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.faces import face_topology, make_face
from trg.geometry.camera import Camera
from trg.geometry.face_mesh import LANDMARKS68_MIRROR, nearest_of_68
from trg.geometry.mediapipe import (
    MEDIAPIPE_COUNT,
    MEDIAPIPE_OF_68,
    MEDIAPIPE_ORIGIN_M,
    MEDIAPIPE_VERTICAL_FOV_DEG,
    mediapipe_points,
    pose_from_mediapipe,
    pose_to_mediapipe,
)
from trg.geometry.rotations import rotation_from_euler
from trg.inference.bundle import DEFAULT_BUNDLE, bundled, bundled_names, read_bundle

NOSE_TIP, CHIN, FOREHEAD, SELLION = 4, 152, 10, 168
CORNERS = {33: 36, 133: 39, 362: 42, 263: 45, 61: 48, 291: 54}
"""Of eyes and mouth, by MediaPipe's number: that of the 68."""
LEFT_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400)
"""Half of MediaPipe's outline of the face, from the forehead towards the chin."""
PAIRS = ((33, 263), (61, 291), (133, 362), (70, 300), (234, 454), (127, 356), (50, 280), (98, 327))
"""Points that mirror each other."""


@pytest.fixture(scope="module")
def topology():
    if DEFAULT_BUNDLE not in bundled_names():
        pytest.skip("this copy of the package has no weights")
    return read_bundle(bundled()).topology


def test_known_points_are_those_of_the_68_landmarks(topology):
    points = mediapipe_points(topology)
    assert points.vertices.shape == points.median_mm.shape == (MEDIAPIPE_COUNT,)
    template_mm = 1000.0 * topology.template_m
    known = {NOSE_TIP: 30, CHIN: 8, SELLION: 27, **CORNERS}
    for number, landmark in known.items():
        here = template_mm[points.vertices[number]]
        assert np.linalg.norm(here - template_mm[topology.landmarks68[landmark]]) < 3.5, number
        assert points.median_mm[number] < 6.0
    x, y, _ = template_mm[points.vertices[FOREHEAD]]
    assert abs(x) < 1e-6
    assert y < template_mm[topology.landmarks68[19], 1] - 15.0, "above the brows"
    apart_mm = template_mm[points.vertices[MEDIAPIPE_OF_68]] - template_mm[topology.landmarks68]
    distances_mm = np.linalg.norm(apart_mm, axis=1)
    assert np.median(distances_mm[17:]) < 2.0
    assert distances_mm.max() < 11.0, "the jaw"


def test_the_map_mirrors(topology):
    vertices = mediapipe_points(topology).vertices
    for right, left in PAIRS:
        assert topology.mirror[vertices[right]] == vertices[left]
    on_both_sides = set(topology.mirror[vertices].tolist())
    assert on_both_sides == set(vertices.tolist())


def test_the_outline_goes_down_from_the_forehead_to_the_chin(topology):
    outline_m = topology.template_m[mediapipe_points(topology).vertices[list(LEFT_OVAL)]]
    slack_m = 0.001
    assert np.all(np.diff(outline_m[:, 1]) >= -slack_m)
    assert np.all(outline_m[1:, 0] > 0.0), "the person's left"
    widest = outline_m[:, 0].argmax()
    assert np.all(np.diff(outline_m[: widest + 1, 0]) >= -slack_m)
    assert np.all(np.diff(outline_m[widest:, 0]) <= slack_m)


def test_most_points_have_a_good_counterpart(topology):
    points = mediapipe_points(topology)
    assert np.median(points.median_mm) < 3.5
    assert points.is_doubtful.mean() < 0.2
    assert len(set(points.vertices.tolist())) > 350
    with pytest.raises(ValueError, match="read-only"):
        points.vertices[0] = 1


def test_each_standard_landmark_has_its_own_point():
    assert len(set(MEDIAPIPE_OF_68.tolist())) == 68
    assert MEDIAPIPE_OF_68.max() < MEDIAPIPE_COUNT
    assert {number: int(MEDIAPIPE_OF_68[of_68]) for number, of_68 in CORNERS.items()} == {
        number: number for number in CORNERS
    }
    assert MEDIAPIPE_OF_68[8] == CHIN


def test_another_mesh_has_no_map():
    with pytest.raises(ValueError, match="expected the landmark mesh of the bundled models"):
        mediapipe_points(face_topology())


def test_each_vertex_has_a_nearest_standard_landmark(topology):
    nearest, distances_m = nearest_of_68(topology)
    assert nearest[topology.landmarks68].tolist() == list(range(68))
    assert not distances_m[topology.landmarks68].any()
    sides = LANDMARKS68_MIRROR[nearest] == nearest[topology.mirror]
    assert sides.mean() > 0.99, "except for ties"


@pytest.mark.parametrize(
    ("yaw_pitch_roll_deg", "row", "sign"),
    [((-30, 0, 0), 0, 1), ((30, 0, 0), 0, -1), ((0, -30, 0), 1, 1), ((0, 30, 0), 1, -1)],
    ids=["to their left", "to their right", "up", "down"],
)
def test_mediapipes_matrix_turns_its_face_the_same_way(yaw_pitch_roll_deg, row, sign):
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_euler(np.array(yaw_pitch_roll_deg, dtype=float))
    pose[:3, 3] = (0.0, 0.0, 0.6)
    matrix = pose_to_mediapipe(pose)
    out_of_the_face = matrix[:3, 2]  # OpenGL: x to the image's right, y up, z to the viewer
    assert out_of_the_face[row] == pytest.approx(sign * 0.5)
    assert out_of_the_face[2] > 0.8
    assert matrix[2, 3] == pytest.approx(-54.4, abs=1.5), "centimetres in front of the camera"


def test_mediapipes_camera_sees_the_origin_of_its_face_at_the_same_pixel():
    width, height = 640, 480
    camera = Camera.from_fov(MEDIAPIPE_VERTICAL_FOV_DEG, width, height, axis="vertical")
    face = make_face((20.0, -10.0, 5.0), (0.05, -0.03, 0.6), camera)
    x, y, z, _ = pose_to_mediapipe(face.matrix)[:, 3]
    up = np.tan(np.radians(63.0 / 2.0))
    ndc = np.array([x / -z / (up * width / height), y / -z / up])
    pixel = (ndc * (1.0, -1.0) + 1.0) / 2.0 * (width, height)
    origin_cam_m = face.rotation @ MEDIAPIPE_ORIGIN_M + face.translation_m
    assert pixel == pytest.approx(camera.project(origin_cam_m[None])[0])


def test_mediapipes_matrices_give_the_pose_they_were_made_of():
    pose = make_face().matrix
    matrix = pose_to_mediapipe(pose)
    scaled = matrix.copy()
    scaled[:3, :3] *= 1.3
    np.testing.assert_allclose(pose_from_mediapipe(matrix), pose, atol=1e-12)
    np.testing.assert_allclose(pose_from_mediapipe(scaled), pose, atol=1e-12)
    for wrong in (matrix.T, matrix * (-1.0, 1.0, 1.0, 1.0)):
        with pytest.raises(ValueError, match="facial transformation matrix: expected"):
            pose_from_mediapipe(wrong)
