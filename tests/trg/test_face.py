"""One face: validation, representations of its pose, size, mesh and serialisation."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.support.faces import face_topology, make_face, shaped_face
from trg.geometry.axes import CAMERA_AXES, HEAD_AXES
from trg.geometry.camera import ASSUMED_FOV_DEG, Camera
from trg.geometry.crop import face_box
from trg.geometry.expression_fit import SEEN_EXPRESSIONS
from trg.geometry.head_points import NECK_FROM_SELLION
from trg.geometry.mesh import Mesh
from trg.geometry.shape_basis import EXPRESSION_NAMES

ANGLES = st.tuples(st.floats(-80, 80), st.floats(-60, 60), st.floats(-180, 180))
PLACES = st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0.4, 3.0))
FRAMES = ("opencv", "opengl", "ros", "unity", "blender")
ORIGINS = ("head", "sellion", "neck")


@settings(max_examples=30)
@given(ANGLES, PLACES)
def test_representations_of_the_pose_agree_with_scipy(angles, place):
    face = make_face(angles, place)
    scipys = Rotation.from_euler("yxz", angles, degrees=True)
    np.testing.assert_allclose(face.rotation, scipys.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(face.matrix[:3, :3], face.rotation)
    np.testing.assert_allclose(face.matrix[:, 3], (*place, 1.0))
    np.testing.assert_allclose(face.quaternion_xyzw, scipys.as_quat(canonical=True), atol=1e-9)
    np.testing.assert_allclose(face.euler(), scipys.as_euler("yxz", degrees=True), atol=1e-6)
    np.testing.assert_allclose(face.euler("ZYX"), scipys.as_euler("ZYX", degrees=True), atol=1e-4)
    assert face.distance_m == pytest.approx(sum(number**2 for number in place) ** 0.5)


@settings(max_examples=30)
@given(ANGLES, PLACES, st.sampled_from(FRAMES), st.sampled_from(ORIGINS))
def test_to_frame_moves_the_origin_and_keeps_the_axes(angles, place, frame, origin):
    face = make_face(angles, place)
    pose, camera, head = face.to_frame(frame, origin), CAMERA_AXES[frame], HEAD_AXES[frame]
    np.testing.assert_allclose(camera.T @ pose[:3, :3] @ head, face.rotation, atol=1e-12)
    expected = face.rotation @ face.origin_m(origin) + face.translation_m
    np.testing.assert_allclose(camera.T @ pose[:3, 3], expected, atol=1e-12)


def test_origins_are_at_their_landmarks():
    face = make_face()
    np.testing.assert_array_equal(face.origin_m("head"), np.zeros(3))
    sellion_px = face.camera.project(face.to_frame("opencv", "sellion")[:3, 3])
    np.testing.assert_allclose(sellion_px, face.landmarks68_px[27], atol=1e-9)
    right, down, back = face.origin_m("neck") - face.origin_m("sellion")
    assert right == 0.0
    assert 0.05 < down < 0.07  # metres, for eyes about 64 mm apart
    assert 0.10 < back < 0.13


def test_the_neck_stays_fixed_while_the_head_turns_on_it():
    level = make_face((0, 0, 0))
    pivot_m = level.to_frame("unity", "neck")[:3, 3]
    for angles in ((30, 0, 0), (0, 20, 0), (-10, -15, 25)):
        rotation = Rotation.from_euler("yxz", angles, degrees=True).as_matrix()
        neck_cam_m = level.origin_m("neck") + level.translation_m
        translation_m = neck_cam_m - rotation @ level.origin_m("neck")
        turned = make_face(angles, tuple(translation_m))
        np.testing.assert_allclose(turned.to_frame("unity", "neck")[:3, 3], pivot_m, atol=1e-12)
        assert np.linalg.norm(turned.to_frame("unity", "sellion")[:3, 3] - pivot_m) > 0.1


def test_the_neck_is_the_published_pivot():
    """17.0 mm behind and 33.1 mm below the ear canal; that 99 and 29 mm from the sellion."""
    offset_mm = np.array(NECK_FROM_SELLION) * 65.0
    np.testing.assert_allclose(offset_mm, (0.0, 29.0 + 33.1, 99.0 + 17.0), atol=1.0)


def test_interpupillary_distance_is_that_of_the_eyelid_means():
    face = make_face()
    points = [face.landmarks_m[vertex] for vertex in face.topology.landmarks68]
    right = sum(points[index] for index in range(36, 42)) / 6
    left = sum(points[index] for index in range(42, 48)) / 6
    assert face.interpupillary_m == pytest.approx(np.sqrt(((left - right) ** 2).sum()))
    assert 0.06 < face.interpupillary_m < 0.07


LENSES = [
    Camera.from_fov(60.0, 640, 480),
    Camera(700.0, 650.0, 300.0, 260.0, 640, 480, (-0.1, 0.02, 1e-3, -5e-4, 0.0)),
]


@settings(max_examples=30)
@given(ANGLES, PLACES, st.floats(0.04, 0.08), st.sampled_from(LENSES))
def test_a_known_interpupillary_distance_moves_no_pixel(angles, place, known_m, camera):
    face = make_face(angles, place, camera)
    scaled = face.with_interpupillary(known_m)
    assert scaled.interpupillary_m == pytest.approx(known_m)
    scale = known_m / face.interpupillary_m
    assert scaled.distance_m == pytest.approx(face.distance_m * scale)
    np.testing.assert_allclose(scaled.landmarks_m, face.landmarks_m * scale)
    np.testing.assert_array_equal(scaled.rotation, face.rotation)
    np.testing.assert_allclose(scaled.landmarks_px, face.landmarks_px, atol=1e-6)
    for origin in ORIGINS:
        here, there = face.to_frame("opencv", origin), scaled.to_frame("opencv", origin)
        np.testing.assert_allclose(there[:3, 3], here[:3, 3] * scale, atol=1e-9)


@pytest.mark.parametrize("wrong", [64.0, 6.4, 0.0, -0.06, float("nan"), "wide"])
def test_an_interpupillary_distance_in_other_units_is_refused(wrong):
    with pytest.raises(ValueError, match="interpupillary_m"):
        make_face().with_interpupillary(wrong)


def test_eyes_that_coincide_are_refused():
    face = make_face()
    points_m = face.landmarks_m.copy()
    points_m[face.topology.landmarks68[36:48]] = 0.0
    with pytest.raises(ValueError, match="coincide"):
        replace(face, landmarks_m=points_m).with_interpupillary(0.063)


def test_the_landmarks_are_projected_from_the_pose():
    face = make_face()
    for vertex in (0, 500, 1219):
        x, y, z = face.rotation @ face.landmarks_m[vertex] + face.translation_m
        expected = (face.camera.fx * x / z + 320.0, face.camera.fy * y / z + 240.0)
        np.testing.assert_allclose(face.landmarks_px[vertex], expected)
    np.testing.assert_array_equal(face.landmarks68_px, face.landmarks_px[face.topology.landmarks68])
    with pytest.raises(ValueError, match="in front of the camera"):
        make_face(translation_m=(0.0, 0.0, 0.05))
    before = make_face().landmarks_m + (0.0, 0.0, 0.5)
    with pytest.raises(ValueError, match=r"head's origin .* at a depth of -0\.1"):
        make_face((0.0, 0.0, 0.0), (0.0, 0.0, -0.1), landmarks_m=before)


def test_the_box_is_the_papers_box_of_the_projected_landmarks():
    face = make_face()
    np.testing.assert_allclose(face.box_xyxy, face_box(face.landmarks68_px))


def test_mesh_is_in_the_camera_frame_with_outward_normals():
    face = make_face()
    mesh = face.mesh()
    np.testing.assert_array_equal(mesh.triangles, face.topology.triangles)
    x, y, z = face.rotation @ face.landmarks_m[77] + face.translation_m
    np.testing.assert_allclose(mesh.vertices_m[77], (x, y, z))
    outwards = mesh.vertices_m - face.translation_m
    assert ((mesh.normals() * outwards).sum(1) > 0).all()


def test_normals_equal_a_loop_over_triangles():
    mesh = make_face().mesh()
    naive = np.zeros_like(mesh.vertices_m)
    for corners in mesh.triangles:
        a, b, c = mesh.vertices_m[corners]
        for corner in corners:
            naive[corner] += np.cross(b - a, c - a) / 2
    naive /= np.linalg.norm(naive, axis=1, keepdims=True)
    np.testing.assert_allclose(mesh.normals(), naive, atol=1e-12)


def test_a_vertex_without_triangles_has_no_normal():
    vertices_m = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [5, 5, 5.0]])
    normals = Mesh(vertices_m, np.array([[0, 1, 2]], dtype=np.int32)).normals()
    np.testing.assert_array_equal(normals, [[0, 0, 1]] * 3 + [[0, 0, 0]])


def test_to_dict_is_valid_json():
    face = make_face(id=np.int64(3), time_s=np.float32(0.5), confidence=np.float32(0.75))
    short = face.to_dict()
    assert json.loads(json.dumps(short, allow_nan=False)) == short
    assert list(short) == [
        "id", "confidence", "box_xyxy", "rotation", "translation_m", "euler_deg", "euler_sight_deg",
        "distance_m",
        "interpupillary_m", "frame_interpupillary_m", "size_std", "landmarks68_px",
        "rotation_std_deg", "translation_std_m", "landmarks_std_m", "landmarks_std_px",
    ]  # fmt: skip
    assert (short["id"], short["confidence"]) == (3, 0.75)
    assert short["euler_deg"] == pytest.approx({"yaw": 20.0, "pitch": -10.0, "roll": 5.0})
    long = face.to_dict(landmarks=True)
    np.testing.assert_array_equal(long["landmarks_px"], face.landmarks_px)
    np.testing.assert_array_equal(long["landmarks_m"], face.landmarks_m)


def test_blend_shapes_are_arkits_52_by_name_and_do_not_depend_on_size_or_pose():
    weights = {"jawOpen": 0.7, "eyeBlinkLeft": 0.9, "mouthSmileRight": 0.4}
    face = shaped_face(weights)
    found = face.blendshapes()
    assert tuple(found) == EXPRESSION_NAMES
    for name, value in found.items():
        assert value == pytest.approx(weights.get(name, 0.0), abs=0.08), name
    assert face.with_interpupillary(0.05).blendshapes() == pytest.approx(found, abs=1e-9)
    assert shaped_face(weights, yaw_pitch_roll_deg=(50.0, 20.0, -30.0)).blendshapes() == found


def test_blend_shapes_can_leave_out_what_the_networks_do_not_see():
    face = shaped_face({"jawOpen": 0.7})
    seen = face.blendshapes(seen_only=True)
    assert tuple(seen) == SEEN_EXPRESSIONS
    assert seen["jawOpen"] == face.blendshapes()["jawOpen"]


def test_blend_shapes_of_another_mesh_are_refused():
    with pytest.raises(ValueError, match="expected the landmark mesh of the bundled models"):
        make_face().blendshapes()


def test_a_face_is_immutable_and_copies_its_arrays():
    landmarks_m = face_topology().template_m.astype(np.float64)
    face = make_face(landmarks_m=landmarks_m)
    before = face.landmarks_m.copy()
    landmarks_m += 1.0
    np.testing.assert_array_equal(face.landmarks_m, before)
    with pytest.raises(ValueError, match="read-only"):
        face.rotation[0, 0] = 2.0
    with pytest.raises(FrozenInstanceError):
        face.id = 4
    assert face.landmarks_m.dtype == face.rotation.dtype == np.float64


def test_a_face_can_be_replaced_pickled_and_hashed():
    face = make_face()
    named = replace(face, id=7, time_s=1.25)
    assert (named.id, named.time_s, face.id, face.time_s) == (7, 1.25, None, None)
    sent = pickle.loads(pickle.dumps(named))
    np.testing.assert_array_equal(sent.landmarks_px, face.landmarks_px)
    assert sent.camera == face.camera
    assert face != make_face()
    assert len({face, named}) == 2


def test_a_number_in_a_track_keeps_everything_else():
    face = make_face()
    points_px = face.landmarks_px
    named = face.in_track(7, 1.25)
    assert (named.id, named.time_s, face.id, face.time_s) == (7, 1.25, None, None)
    assert named.landmarks_px is points_px
    assert named.to_dict(landmarks=True) == {**face.to_dict(landmarks=True), "id": 7}
    with pytest.raises(ValueError, match="time_s: expected finite"):
        face.in_track(7, float("nan"))


def test_what_a_face_derives_is_read_only_and_computed_once():
    face = make_face()
    for name in ("landmarks_px", "landmarks68_px", "box_xyxy"):
        assert getattr(face, name) is getattr(face, name)
        with pytest.raises(ValueError, match="read-only"):
            getattr(face, name)[0] = 1.0


def test_a_face_prints_in_one_line():
    text = repr(make_face(id=2))
    assert "id=2" in text
    assert "yaw=20.0, pitch=-10.0, roll=5.0 degrees" in text
    assert "1220 landmarks" in text
    assert len(text) < 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotation": np.diag([1.0, 1.0, -1.0])}, "face rotation: expected rotations"),
        ({"rotation": np.eye(4)}, r"face rotation: expected shape \(3, 3\), got \(4, 4\)"),
        ({"translation_m": (0.0, np.inf, 1.0)}, "face translation_m: expected finite"),
        ({"landmarks_m": np.zeros((305, 3))}, r"face landmarks_m: expected shape \(1220, 3\)"),
        ({"landmarks_m": np.zeros((1220, 3))}, "face landmarks_m: expected 68 landmarks at diff"),
        ({"confidence": 1.2}, "confidence: expected 0 to 1, got 1.2"),
        ({"confidence": float("nan")}, "confidence: expected 0 to 1"),
        ({"time_s": float("inf")}, "time_s: expected finite"),
    ],
)
def test_invalid_faces_are_refused_with_the_reason(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(make_face(), **changes)


@pytest.mark.parametrize("name", ["camera", "topology"])
def test_parts_of_a_wrong_type_are_named(name):
    with pytest.raises(TypeError, match=f"face {name}: expected a"):
        replace(make_face(), **{name: None})


def test_an_unknown_origin_names_the_known_ones():
    with pytest.raises(ValueError, match="'head', 'sellion', 'neck'"):
        make_face().to_frame("opencv", "chin")


def test_an_assumed_field_of_view_gives_a_range_of_distances():
    face = make_face(camera=Camera.assumed(640, 480))
    nearest_m, farthest_m = face.distance_range_m()
    for distance_m, error_deg in ((nearest_m, 10), (farthest_m, -10)):
        other = Camera.from_fov(ASSUMED_FOV_DEG + error_deg, 640, 480, "diagonal")
        assert distance_m == pytest.approx(face.distance_m * other.fx / face.camera.fx)
    assert nearest_m < face.distance_m < farthest_m
    with pytest.raises(ValueError, match="fov_error_deg"):
        face.distance_range_m(70.0)


@settings(max_examples=20)
@given(PLACES, ANGLES)
def test_a_head_that_faces_the_camera_has_no_angles_from_the_line_of_sight(place, angles):
    x, y, z = place
    yaw, pitch = np.degrees([np.arcsin(x / np.linalg.norm(place)), np.arctan2(-y, z)])
    towards = make_face((yaw, pitch, 0.0), place)
    axis_cam = towards.rotation @ (0.0, 0.0, 1.0)  # the back of the head
    np.testing.assert_allclose(axis_cam * towards.distance_m, place, atol=1e-9)
    np.testing.assert_allclose(towards.euler(relative_to="sight")[:2], 0.0, atol=1e-9)
    turned = make_face(angles, place)
    from_sight = turned.euler(relative_to="sight")
    level = make_face(tuple(from_sight), (0.0, 0.0, turned.distance_m))
    to_camera = turned.rotation.T @ turned.translation_m  # the camera, seen from the head
    np.testing.assert_allclose(level.rotation.T @ level.translation_m, to_camera, atol=1e-9)


def test_angles_relative_to_something_else_are_refused():
    with pytest.raises(ValueError, match="relative_to: expected one of"):
        make_face().euler(relative_to="floor")


def test_faces_beyond_90_degrees_of_a_fisheye_are_faces():
    lens = {"distortion": (0.0,) * 4, "lens_model": "fisheye"}
    camera = Camera(200.0, 200.0, 500.0, 500.0, 1000, 1000, **lens)
    face = make_face((100.0, 0.0, 0.0), (0.6, 0.0, -0.1), camera)
    assert face.translation_m[2] < 0
    np.testing.assert_allclose(camera.project(face.mesh().vertices_m), face.landmarks_px)
