"""Mesh files against trimesh, and the GLB's structure and animation against the specification."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from tests.support.faces import frontal_face, make_face, random_faces
from trg.geometry.camera import Camera
from trg.io.gltf import GltfBuilder
from trg.io.meshes import MESH_WRITERS, HeadAnimation, write_glb

COMPONENTS = {5126: "<f4", 5123: "<u2", 5125: "<u4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def in_viewers_axes(face):
    """What a viewer must find: x right, y up, z towards it."""
    return face.mesh().vertices_m * (1.0, -1.0, -1.0)


def read_glb(path):
    """Return the document and a reader of accessors, checking the container on the way."""
    content = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    json_length, kind = struct.unpack_from("<I4s", content, 12)
    assert (kind, json_length % 4) == (b"JSON", 0)
    document = json.loads(content[20 : 20 + json_length])
    binary_length, kind = struct.unpack_from("<I4s", content, 20 + json_length)
    assert (kind, binary_length % 4) == (b"BIN\0", 0)
    binary = content[28 + json_length :]
    assert len(binary) == binary_length
    assert binary_length - document["buffers"][0]["byteLength"] in range(4)

    def accessor(number):
        entry = document["accessors"][number]
        view = document["bufferViews"][entry["bufferView"]]
        dtype = np.dtype(COMPONENTS[entry["componentType"]])
        assert view["byteOffset"] % dtype.itemsize == 0
        count = entry["count"] * WIDTHS[entry["type"]]
        assert view["byteLength"] == count * dtype.itemsize
        assert view["byteOffset"] + view["byteLength"] <= document["buffers"][0]["byteLength"]
        values = np.frombuffer(binary, dtype, count, view["byteOffset"])
        rows = values.reshape(entry["count"], -1)
        if "min" in entry:
            assert rows.min(0).tolist() == entry["min"]
            assert rows.max(0).tolist() == entry["max"]
        return rows

    return document, accessor


def read_by_trimesh(path, **options):
    """Return all that is in a file as one mesh, in the order of the names."""
    scene = trimesh.load_scene(path, process=False, **options)
    parts = []
    for node in sorted(scene.graph.nodes_geometry):
        matrix, name = scene.graph[node]
        parts.append(scene.geometry[name].copy().apply_transform(matrix))
    return trimesh.util.concatenate(parts)


def write_animated_glb(path, frames):
    animation = HeadAnimation()
    for time_s, faces in frames:
        animation.add(faces, time_s)
    animation.write(path)


def channels_of(document, accessor, node):
    """Return the animation of a node: path -> (times, values, interpolation)."""
    (animation,) = document["animations"]
    result = {}
    for channel in animation["channels"]:
        if channel["target"]["node"] == node:
            sampler = animation["samplers"][channel["sampler"]]
            times, values = accessor(sampler["input"])[:, 0], accessor(sampler["output"])
            assert "min" in document["accessors"][sampler["input"]]
            assert (np.diff(times) > 0).all()
            assert len(times) == len(values)
            result[channel["target"]["path"]] = (times, values, sampler["interpolation"])
    return result


@pytest.mark.parametrize("ending", MESH_WRITERS)
@pytest.mark.parametrize("count", [1, 3])
def test_trimesh_reads_the_same_surface(tmp_path, ending, count):
    faces = random_faces(np.random.default_rng(count), count)
    path = tmp_path / f"faces.{ending}"
    MESH_WRITERS[ending](path, faces)
    read = read_by_trimesh(path)
    expected = np.concatenate([in_viewers_axes(face) for face in faces])
    assert read.vertices == pytest.approx(expected, abs=2e-6)
    size = faces[0].topology.vertex_count
    triangles = [face.topology.triangles + size * k for k, face in enumerate(faces)]
    assert np.array_equal(read.faces, np.concatenate(triangles))


@pytest.mark.parametrize("ending", MESH_WRITERS)
def test_normals_look_out_of_the_face(tmp_path, ending):
    path = tmp_path / f"face.{ending}"
    MESH_WRITERS[ending](path, [frontal_face()])
    read = read_by_trimesh(path)
    written, own = read.vertex_normals, trimesh.Trimesh(read.vertices, read.faces).vertex_normals
    assert (written * own).sum(-1).min() > 0.97  # trimesh weights by angles, this by areas
    nose = read.vertices[:, 2].argmax()
    assert written[nose, 2] > 0.9  # towards the camera, which is at z = 0 and looks along -z


def test_obj_has_one_object_per_face(tmp_path):
    path = tmp_path / "two.obj"
    MESH_WRITERS["obj"](path, [frontal_face(), frontal_face((0.1, 0, 0.6), id=7)])
    lines = path.read_text().splitlines()
    assert [line for line in lines if line.startswith("o ")] == ["o face_0", "o head_7"]
    assert "metres" in lines[0]


def test_ply_vertices_have_the_index_of_their_face(tmp_path):
    path = tmp_path / "two.ply"
    MESH_WRITERS["ply"](path, random_faces(np.random.default_rng(0), 2))
    rows = trimesh.load_mesh(path, process=False).metadata["_ply_raw"]["vertex"]["data"]
    assert np.array_equal(rows["face"], np.repeat([0, 1], 1220))


def test_glb_places_a_head_by_its_node(tmp_path):
    face = make_face((30, -20, 10), (0.1, -0.05, 0.7), id=4)
    path = tmp_path / "face.glb"
    write_glb(path, [face])
    document, accessor = read_glb(path)
    assert document["asset"]["version"] == "2.0"
    node, camera = document["nodes"]
    assert (node["name"], camera["name"]) == ("head_4", "camera")
    primitive = document["meshes"][node["mesh"]]["primitives"][0]
    position = primitive["attributes"]["POSITION"]
    assert {"min", "max"} <= document["accessors"][position].keys()
    placed = Rotation.from_quat(node["rotation"]).apply(accessor(position)) + node["translation"]
    assert placed == pytest.approx(in_viewers_axes(face), abs=1e-6)
    indices = document["accessors"][primitive["indices"]]
    assert (indices["componentType"], indices["type"]) == (5123, "SCALAR")
    targets = [view.get("target") for view in document["bufferViews"]]
    assert targets == [34962, 34962, 34963]


def seen_by(camera, points):
    """Project points in glTF's axes as its specification says, to 0..1 from the top left."""
    perspective = camera["perspective"]
    half_height = np.tan(perspective["yfov"] / 2)
    x = points[:, 0] / -points[:, 2] / (half_height * perspective["aspectRatio"])
    y = points[:, 1] / -points[:, 2] / half_height
    return np.stack([(1 + x) / 2, (1 - y) / 2], -1)


def mesh_of(document, accessor, node):
    primitive = document["meshes"][node["mesh"]]["primitives"][0]
    values = {name: accessor(each) for name, each in primitive["attributes"].items()}
    return values, document["materials"][primitive["material"]]


def test_the_camera_of_a_glb_sees_the_heads_at_their_pixels(tmp_path):
    camera = Camera(900.0, 850.0, 320.0, 240.0, 640, 480)
    face = make_face((30, -20, 10), (0.1, -0.05, 0.7), camera=camera)
    write_glb(tmp_path / "still.glb", [face])
    write_animated_glb(tmp_path / "clip.glb", [(0.0, [face]), (0.1, [face])])
    for name in ("still.glb", "clip.glb"):
        document, _ = read_glb(tmp_path / name)
        node = document["nodes"][-1]
        assert node.keys() == {"name", "camera"}  # at the origin, without rotation
        seen = seen_by(document["cameras"][node["camera"]], in_viewers_axes(face))
        assert seen * (640, 480) == pytest.approx(face.landmarks_px, abs=1e-3)


@pytest.mark.parametrize("distortion", [(0.0,) * 5, (-0.2, 0.05, 0.001, -0.002, 0.0)])
def test_the_photo_is_behind_the_heads_where_the_camera_took_it(tmp_path, distortion):
    camera = Camera(700.0, 710.0, 300.0, 250.0, 640, 480, distortion)
    faces = [
        make_face((30, -20, 10), (0.1, -0.05, 0.7), camera=camera),
        frontal_face((-0.1, 0.0, 0.9), camera=camera),
    ]
    photo = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    path = tmp_path / "photo.glb"
    write_glb(path, faces, photo)
    document, accessor = read_glb(path)
    names = [node["name"] for node in document["nodes"]]
    assert names == ["face_0", "face_1", "photo", "camera"]
    assert document["extensionsUsed"] == ["KHR_materials_unlit"]

    plane, material = mesh_of(document, accessor, document["nodes"][2])
    points = plane["POSITION"] * (1.0, -1.0, -1.0)
    expected_px = plane["TEXCOORD_0"] * (640, 480)
    assert camera.project(points) == pytest.approx(expected_px, abs=0.05)
    assert plane["TEXCOORD_0"].min(0).tolist() == [0, 0]
    assert plane["TEXCOORD_0"].max(0).tolist() == [1, 1]
    deepest_m = max(face.mesh().vertices_m[:, 2].max() for face in faces)
    assert points[:, 2] == pytest.approx(deepest_m + 0.1, abs=1e-5)

    texture = document["textures"][material["pbrMetallicRoughness"]["baseColorTexture"]["index"]]
    view = document["bufferViews"][document["images"][texture["source"]]["bufferView"]]
    content = path.read_bytes()
    start = 28 + struct.unpack_from("<I", content, 12)[0] + view["byteOffset"]
    with Image.open(io.BytesIO(content[start : start + view["byteLength"]])) as image:
        assert (image.format, image.size) == ("JPEG", (640, 480))

    for node, face in zip(document["nodes"][: len(faces)], faces, strict=True):
        head, material = mesh_of(document, accessor, node)
        assert "KHR_materials_unlit" in material["extensions"]
        assert head["TEXCOORD_0"] * (640, 480) == pytest.approx(face.landmarks_px, abs=1e-3)
    geometry = trimesh.load_scene(path).geometry
    assert geometry["photo"].visual.material.baseColorTexture.size == (640, 480)


def test_a_photo_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="camera's size 640x480"):
        write_glb(tmp_path / "x.glb", [frontal_face()], np.zeros((5, 5, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_large_photos_are_reduced_to_what_graphics_cards_accept(tmp_path):
    camera = Camera(6000.0, 6000.0, 4500.0, 50.0, 9000, 100)
    write_glb(tmp_path / "x.glb", [frontal_face(camera=camera)], np.zeros((100, 9000, 3), np.uint8))
    texture = trimesh.load_scene(tmp_path / "x.glb").geometry["photo"].visual.material
    assert texture.baseColorTexture.size[0] == 4096


def test_large_meshes_use_32_bit_indices(tmp_path):
    vertices = np.random.default_rng(0).normal(size=(70_000, 3))
    builder = GltfBuilder()
    mesh = builder.add_mesh("many", vertices, vertices, [[0, 1, 69_999]], (255, 0, 0))
    builder.add_node("many", mesh=mesh)
    path = tmp_path / "many.glb"
    path.write_bytes(builder.to_bytes())
    read = read_by_trimesh(path)
    assert read.faces.tolist() == [[0, 1, 69_999]]


def test_animation_reproduces_the_pose_of_each_frame(tmp_path):
    rng = np.random.default_rng(5)
    times_s = 10.0 + np.cumsum(rng.uniform(0.02, 0.06, 20))
    yaws = np.linspace(-300, 300, 20)  # further than once around: quaternions change their sign
    heads = [
        [
            make_face((yaw, 10, 5), (0.1, 0.02 * k, 0.6), id=3),
            make_face((0, yaw / 10, 0), (-0.1, 0, 0.8 + 0.01 * k), id=8),
        ]
        for k, yaw in enumerate(yaws)
    ]
    path = tmp_path / "heads.glb"
    write_animated_glb(path, zip(times_s, heads, strict=True))
    document, accessor = read_glb(path)
    for node, identity in enumerate((3, 8)):
        assert document["nodes"][node]["name"] == f"head {identity}"
        channels = channels_of(document, accessor, node)
        assert channels.keys() == {"rotation", "translation"}
        times, quaternions, how = channels["rotation"]
        assert how == "LINEAR"
        assert times == pytest.approx(times_s - times_s[0], abs=1e-6)
        assert ((quaternions[1:] * quaternions[:-1]).sum(-1) > 0).all()
        assert np.linalg.norm(quaternions, axis=1) == pytest.approx(1.0, abs=1e-6)
        mesh = document["meshes"][document["nodes"][node]["mesh"]]
        vertices = accessor(mesh["primitives"][0]["attributes"]["POSITION"])
        for key in (0, 7, 19):
            placed = Rotation.from_quat(quaternions[key]).apply(vertices)
            placed += channels["translation"][1][key]
            assert placed == pytest.approx(in_viewers_axes(heads[key][node]), abs=1e-5)
    assert len(trimesh.load_scene(path).geometry) == 2


def test_animated_mesh_is_the_mean_over_the_frames(tmp_path):
    face = frontal_face(id=0)
    smaller = replace(face, landmarks_m=face.landmarks_m * 0.9)
    path = tmp_path / "mean.glb"
    write_animated_glb(path, [(0.0, [face]), (0.1, [smaller])])
    document, accessor = read_glb(path)
    position = document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]
    expected = face.landmarks_m * 0.95 * (1.0, -1.0, -1.0)
    assert accessor(position) == pytest.approx(expected, abs=1e-6)


def test_a_head_is_hidden_while_it_is_not_visible(tmp_path):
    first, second = frontal_face(id=0), frontal_face((0.1, 0, 0.6), id=1)
    frames = [[first], [first, second], [first], [first, second], [first, second], [first]]
    path = tmp_path / "gaps.glb"
    write_animated_glb(path, [(k / 10, faces) for k, faces in enumerate(frames)])
    document, accessor = read_glb(path)
    assert "scale" not in channels_of(document, accessor, 0)
    times, scales, how = channels_of(document, accessor, 1)["scale"]
    assert how == "STEP"
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.5])
    assert scales.tolist() == [[0] * 3, [1] * 3, [0] * 3, [1] * 3, [0] * 3]


def test_errors_leave_no_file(tmp_path):
    for ending, write in MESH_WRITERS.items():
        with pytest.raises(ValueError, match="expected at least one"):
            write(tmp_path / f"none.{ending}", [])
    animation = HeadAnimation()
    assert not animation
    with pytest.raises(ValueError, match="face in at least one frame"):
        animation.write(tmp_path / "none.glb")
    animation.add([frontal_face()], 0.5)
    with pytest.raises(ValueError, match=r"time_s: expected a time above 0\.5, got 0\.5"):
        animation.add([], 0.5)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        write_glb(tmp_path / "no folder" / "face.glb", [frontal_face()])
