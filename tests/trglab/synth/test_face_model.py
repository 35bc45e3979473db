from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.meshes import boundary
from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trg.geometry.rotations import rotation_from_euler
from trg.inference.bundle import bundled, bundled_names, read_bundle
from trglab.synth.cache import cache_folder, cached_arrays, fingerprint
from trglab.synth.head import ict_facekit
from trglab.synth.head.face_model import PARTS, FaceModel, load_face_model
from trglab.synth.head.ict_facekit import (
    HEAD_FROM_ICT,
    LANDMARKS68,
    face_model_from_ict,
    load_ict_facekit,
    read_folder,
    read_packed,
)
from trglab.synth.head.mesh_indices import landmark_indices
from trglab.synth.head.procedural_head import load_procedural_head

FACE_NARROW_END = 6706
"""ICT-FaceKit's vertices below this belong to the face without ears and neck."""

PACKED = Path(
    os.environ.get("TRG_FACE_MODEL")
    or Path(__file__).resolve().parents[4] / "shared/facemodel/ict_facekit.npz"
)
needs_facekit = pytest.mark.skipif(
    not PACKED.is_file(),
    reason="needs a packed ICT-FaceKit: set TRG_FACE_MODEL to its .npz file",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("TRG_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def head():
    return load_procedural_head()


@pytest.fixture(scope="module")
def facekit(cache):
    return load_ict_facekit(PACKED)


# ---- any face model --------------------------------------------------------------------------


@pytest.fixture(params=["head", pytest.param("facekit", marks=needs_facekit)])
def model(request) -> FaceModel:
    return request.getfixturevalue(request.param)


def test_the_landmark_mesh_has_1220_vertices_and_305_samples(model):
    topology = model.topology
    assert topology.vertex_count == 1220
    assert len(topology.subsample) == 305
    assert np.array_equal(model.dense[topology.landmarks68], model.landmarks68)
    assert np.array_equal(topology.mirror[topology.landmarks68], topology.landmarks68[
        LANDMARKS68_MIRROR
    ])  # fmt: skip
    assert np.isin(topology.landmarks68, topology.subsample).all()
    assert np.allclose(topology.template_m, model.mean_m[model.dense], atol=1e-7)


def test_the_landmark_mesh_is_symmetric(model):
    topology = model.topology
    mirrored = topology.template_m * (-1, 1, 1)
    assert np.abs(mirrored - topology.template_m[topology.mirror]).max() < 1e-4
    turned = topology.mirror[topology.triangles]
    faces = {tuple(sorted(face)) for face in topology.triangles.tolist()}
    assert faces == {tuple(sorted(face)) for face in turned.tolist()}


def test_the_landmark_mesh_is_one_sheet_with_eyes_and_mouth_open(model):
    triangles = model.topology.triangles
    assert len(np.unique(triangles)) == 1220
    rim = boundary(triangles)
    assert (np.unique(rim, return_counts=True)[1] == 2).all(), "borders are simple loops"
    loops = {int(start): int(start) for start in np.unique(rim)}

    def root(vertex):
        while loops[vertex] != vertex:
            vertex = loops[vertex]
        return vertex

    for a, b in rim.tolist():
        loops[root(a)] = root(b)
    assert len({root(vertex) for vertex in loops}) == 4, "outline, two eyes, mouth"


def test_the_head_frame_is_x_right_y_down_z_away(model):
    points = model.mean_m[model.landmarks68]
    assert points[:, 2].argmin() == 30, "the nose tip is nearest to the camera"
    assert points[0, 0] < -0.05 < 0.05 < points[16, 0]
    assert points[8, 1] > points[57, 1] > points[33, 1] > points[27, 1]
    a, b, c = model.mean_m[model.dense][model.topology.triangles].swapaxes(0, 1)
    normal = np.cross(b - a, c - a)
    assert normal[:, 2].sum() < 0, "front faces point to the camera"


def test_parts_have_their_own_texture_and_no_mixed_triangles(model):
    part = model.part[model.triangles]
    assert (part == part[:, :1]).all()
    assert model.uv.min() >= 0
    assert model.uv.max() <= 1
    assert sum(map(len, model.part_triangles.values())) == len(model.triangles)
    assert set(model.part_vertices) == set(PARTS)
    for name in ("skin", "mouth", "teeth", "eyeball_left", "eyeball_right"):
        assert len(model.part_triangles[name]) > 20
    left, right = (
        model.mean_m[model.part_vertices[name], 0].mean()
        for name in ("eyeball_left", "eyeball_right")
    )
    assert left > 0.02 > -0.02 > right


def test_vertices_equal_the_naive_sum_of_shapes(model):
    rng = np.random.default_rng(1)
    identity = rng.standard_normal(len(model.identity))
    expression = np.zeros(len(model.expression_names))
    expression[[model.expression_index[n] for n in ("jawOpen", "eyeBlink_L")]] = 0.7, 0.4
    naive = model.mean_m.astype(float)
    for coefficient, shape in zip(identity, model.identity, strict=True):
        naive = naive + coefficient * shape
    for coefficient, shape in zip(expression, model.expression, strict=True):
        naive = naive + coefficient * shape
    assert np.allclose(
        model.express(model.neutral(identity, 0.9), expression, 0.9), 0.9 * naive, atol=2e-6
    )
    assert np.array_equal(model.neutral([]), model.mean_m)


def sphere_centre(points):
    """Naive implementation: |x|^2 = 2 c x + (r^2 - |c|^2), solved for c."""
    system = np.column_stack([2.0 * points, np.ones(len(points))]).astype(float)
    return np.linalg.lstsq(system, (points.astype(float) ** 2).sum(1), rcond=None)[0][:3]


def test_eyes_rotate_about_their_centre_in_the_gaze_direction(model):
    expression = np.zeros(len(model.expression_names))
    for name in ("eyeLookOut_L", "eyeLookIn_R", "eyeLookDown_L", "eyeLookDown_R"):
        expression[model.expression_index[name]] = 0.5
    rest, moved = model.mean_m, model.express(model.mean_m, expression)
    for part in ("eyeball_left", "eyeball_right"):
        ball = model.part_vertices[part]
        centre = sphere_centre(rest[ball])
        assert np.allclose(sphere_centre(moved[ball]), centre, atol=1e-5)
        pupil = ball[rest[ball, 2].argmin()]
        shift = moved[pupil] - rest[pupil]
        assert shift[0] > 0.002, "the pupil goes to the image's right"
        assert shift[1] > 0.001, "and down"
        expected = (rest[ball] - centre) @ rotation_from_euler(np.array([-15.0, 14.0, 0.0])).T
        assert np.allclose(moved[ball], expected + centre, atol=1e-5)


def test_the_jaw_opens_the_mouth_and_a_blink_closes_the_eye(model):
    def gap(points, upper, lower):
        landmarks = points[model.landmarks68]
        return np.linalg.norm(landmarks[upper] - landmarks[lower], axis=-1).min()

    expression = np.zeros((2, len(model.expression_names)))
    expression[0, model.expression_index["jawOpen"]] = 1.0
    expression[1, model.expression_index["eyeBlink_R"]] = 1.0
    opened, closed = (model.express(model.mean_m, row) for row in expression)
    assert gap(opened, [61, 62, 63], [67, 66, 65]) > 0.015
    assert gap(closed, [37, 38], [41, 40]) < 0.5 * gap(model.mean_m, [37, 38], [41, 40])
    assert gap(closed, [43, 44], [47, 46]) == pytest.approx(
        gap(model.mean_m, [43, 44], [47, 46]), rel=0.05
    )


def test_invalid_coefficients_raise(model):
    with pytest.raises(ValueError, match="identity: expected at most"):
        model.neutral(np.zeros(len(model.identity) + 1))
    with pytest.raises(ValueError, match="expression: expected shape"):
        model.express(model.mean_m, np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        model.neutral([np.nan])
    with pytest.raises(ValueError, match="vertex numbers below"):
        replace(model, triangles=model.triangles + len(model.mean_m))


def test_storage_round_trip(model):
    again = FaceModel.from_arrays(model.to_arrays())
    for name, array in model.to_arrays().items():
        assert np.array_equal(array, again.to_arrays()[name]), name


# ---- loading and the cache -------------------------------------------------------------------


def test_without_a_model_the_built_in_head_is_loaded_and_training_warns(cache):
    assert load_face_model().name == "built-in procedural head"
    with pytest.warns(UserWarning, match="ICT-FaceKit.*trg asset face-model"):
        load_face_model(for_training=True)


def test_errors_of_missing_or_damaged_models_name_the_origin(tmp_path, monkeypatch):
    monkeypatch.setenv("TRG_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match="ICT-VGL/ICT-FaceKit"):
        load_face_model(tmp_path / "nowhere")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(ValueError, match="ICT-VGL/ICT-FaceKit"):
        load_face_model(tmp_path / "broken.npz")
    with pytest.raises(FileNotFoundError, match=r"generic_neutral_mesh\.obj"):
        load_face_model(tmp_path)


def test_the_cache_is_used_repaired_and_optional(tmp_path, monkeypatch):
    monkeypatch.setenv("TRG_CACHE", str(tmp_path / "deep" / "cache"))
    calls = []

    def build():
        calls.append(1)
        return {"numbers": np.arange(5)}

    for _ in range(2):
        assert cached_arrays("thing", build)["numbers"].tolist() == [0, 1, 2, 3, 4]
    assert len(calls) == 1
    file = cache_folder() / "thing.npz"
    assert [path.name for path in file.parent.iterdir()] == ["thing.npz"]
    file.write_bytes(file.read_bytes()[:60])
    assert cached_arrays("thing", build)["numbers"].tolist() == [0, 1, 2, 3, 4]
    assert len(calls) == 2
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRG_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="TRG_CACHE"):
        assert len(cached_arrays("thing", build)["numbers"]) == 5


def test_the_cache_follows_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    first = fingerprint(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"two")
    assert fingerprint(tmp_path / "a") != first
    before = fingerprint(tmp_path)
    (tmp_path / "b").write_bytes(b"")
    assert fingerprint(tmp_path) != before


# ---- ICT-FaceKit -----------------------------------------------------------------------------


def write_obj(path, vertices, uv, faces):
    lines = ["mtllib ICTFaceModelMaterial.mtl"]
    lines += ["v " + " ".join(f"{number:.15f}" for number in vertex) for vertex in vertices]
    lines += ["vt " + " ".join(f"{number:.6f}" for number in pair) for pair in uv]
    lines += ["f " + " ".join(f"{corner[0]}/{corner[1]}" for corner in face) for face in faces]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def facexmodel(tmp_path):
    """A miniature of the kit's folder: a quad and a triangle, two identities, two expressions."""
    vertices = np.array([[-1, 0, 10], [1, 0, 10], [1, 2, 9.5], [-1, 2, 9.5], [0, 3, 9.0]])
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.9], [0.1, 0.9]])
    faces = [[(1, 1), (2, 2), (3, 3), (4, 4)], [(4, 6), (3, 3), (5, 5)]]
    write_obj(tmp_path / "generic_neutral_mesh.obj", vertices, uv, faces)
    moves = {"identity000": 0, "identity001": 1, "jawOpen": 2, "PupilDilate_L": 3}
    for name, vertex in moves.items():
        moved = vertices.copy()
        moved[vertex] += (0.5, -0.25, 0.125)
        write_obj(tmp_path / f"{name}.obj", moved, uv, faces)
    return tmp_path


def test_the_obj_folder_is_read(facexmodel):
    arrays = read_folder(facexmodel)
    assert arrays.mean[0] == pytest.approx([-0.01, 0, 0.1])
    assert arrays.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 4]]
    assert arrays.uv_triangles.tolist() == [[0, 1, 2], [0, 2, 3], [5, 2, 4]]
    assert arrays.expression_names == ("PupilDilate_L", "jawOpen")
    assert arrays.expression[1, 2] == pytest.approx([0.005, -0.0025, 0.00125])
    assert np.count_nonzero(arrays.identity.any(-1), axis=1).tolist() == [1, 1]
    (facexmodel / "vertex_indices.json").write_text('{"expressions": ["jawOpen"]}')
    assert read_folder(facexmodel).expression_names == ("jawOpen",)


def test_a_damaged_obj_folder_raises(facexmodel):
    (facexmodel / "vertex_indices.json").write_text('{"expressions": ["jawOpen", "mouthClose"]}')
    with pytest.raises(FileNotFoundError, match=r"mouthClose\.obj.*ICT-VGL"):
        read_folder(facexmodel)
    (facexmodel / "vertex_indices.json").write_text('{"expressions": ["jawOpen"]}')
    text = (facexmodel / "identity001.obj").read_text().splitlines()
    (facexmodel / "identity001.obj").write_text("\n".join(text[:3]))
    with pytest.raises(ValueError, match=r"identity001\.obj.*damaged"):
        read_folder(facexmodel)


def test_another_model_in_the_same_format_raises(facexmodel):
    with pytest.raises(ValueError, match="26719 vertices, got 5"):
        face_model_from_ict(read_folder(facexmodel))


@needs_facekit
def test_folder_and_packed_file_give_the_same_arrays(tmp_path):
    packed = read_packed(PACKED)
    few = replace(
        packed,
        identity=packed.identity[:2],
        expression=packed.expression[26:27],
        expression_names=packed.expression_names[26:27],
    )
    corners = np.stack([few.triangles + 1, few.uv_triangles + 1], -1).tolist()
    names = ["generic_neutral_mesh", "identity000", "identity001", few.expression_names[0]]
    offsets = [np.zeros_like(few.mean), *few.identity, *few.expression]
    for name, offset in zip(names, offsets, strict=True):
        faces = corners if offset is offsets[0] else []
        write_obj(tmp_path / f"{name}.obj", 100 * (few.mean + offset), few.uv, faces)
    read = read_folder(tmp_path)
    assert read.expression_names == few.expression_names
    for name in ("mean", "identity", "expression", "uv", "triangles", "uv_triangles"):
        assert np.allclose(getattr(read, name), getattr(few, name), atol=1e-6), name


@needs_facekit
def test_the_rendered_mesh_of_facekit_stays_close_to_the_full_one(facekit):
    assert len(facekit.mean_m) < 9000
    assert len(facekit.triangles) < 15500
    full = read_packed(PACKED)
    mean_m = full.mean * HEAD_FROM_ICT
    face = np.unique(full.triangles[(full.triangles < FACE_NARROW_END).all(1)])
    a, b, c = facekit.mean_m[facekit.part_triangles["skin"]].astype(float).swapaxes(0, 1)
    middle = (a + b + c) / 3
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    points = mean_m[rng.choice(face, 600, replace=False)]
    near = np.argsort(((points[:, None] - middle) ** 2).sum(-1), axis=1)[:, :6]
    gap = np.abs(((points[:, None] - a[near]) * normal[near]).sum(-1)).min(1)
    assert np.median(gap) < 1e-4
    assert np.quantile(gap, 0.99) < 7e-4


@needs_facekit
def test_facekit_is_loaded_from_the_cache(facekit, monkeypatch):
    monkeypatch.setattr(ict_facekit, "read_packed", lambda path: pytest.fail("not cached"))
    again = load_ict_facekit(PACKED)
    assert np.array_equal(again.mean_m, facekit.mean_m)


@pytest.mark.parametrize("name", bundled_names())
def test_shipped_bundles_have_the_landmark_mesh_of_ict_facekit(name):
    topology = read_bundle(bundled(name)).topology
    indices = landmark_indices("ict_facekit")
    assert np.array_equal(topology.triangles, indices.triangles)
    assert np.array_equal(topology.subsample, indices.subsample)
    assert np.array_equal(topology.mirror, indices.mirror)
    assert np.array_equal(indices.dense[topology.landmarks68], LANDMARKS68)


@needs_facekit
@pytest.mark.parametrize("name", bundled_names())
def test_shipped_bundles_have_the_mean_face_of_ict_facekit(facekit, name):
    template_m = read_bundle(bundled(name)).topology.template_m
    assert np.array_equal(template_m, facekit.topology.template_m)
