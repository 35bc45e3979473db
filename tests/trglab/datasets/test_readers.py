"""Each data set's reader on folders in its exact format, and by hand."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from tests.support.made_samples import CAMERA, TOPOLOGY, as_fitted, make_samples, write
from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trglab.datasets.arkitface import ARKitFace, camera_from_projection, projection_from_camera
from trglab.datasets.biwi import BIWI, read_calibration, shift_inside
from trglab.datasets.files import UnreadableFileError
from trglab.datasets.w300lp import W300LP, pose_from_rotation, rotation_from_pose


def test_arkitface_reads_back_what_was_written(tmp_path):
    samples = make_samples(4)
    assert write(samples, tmp_path / "a", "arkitface", split="test") == 4
    reader = ARKitFace(tmp_path / "a", "test")
    assert len(reader) == 4
    for written, read in zip(samples, reader, strict=True):
        np.testing.assert_allclose(read.rotation, written.rotation, atol=1e-12)
        np.testing.assert_allclose(read.translation_m, written.translation_m, atol=1e-12)
        np.testing.assert_allclose(read.vertices_m, written.vertices_m, atol=1e-9)
        np.testing.assert_allclose(read.camera.matrix, written.camera.matrix, atol=1e-9)
        np.testing.assert_allclose(read.landmarks68_px, written.landmarks68_px, atol=1e-3)
        np.testing.assert_allclose(read.box_xyxy, written.box_xyxy, atol=2e-3)
        assert read.identity == written.identity
        assert np.abs(read.image.astype(int) - written.image).mean() < 2
    assert np.array_equal(reader.triangles, TOPOLOGY.triangles)


def test_arkitface_labels_mean_what_opengl_says(tmp_path):
    """By hand: a point through the row-vector matrix and the projection lands on its pixel."""
    samples = make_samples(1)
    write(samples, tmp_path / "a", "arkitface")
    info = np.load(
        tmp_path / "a/ARKitFace_info_train/info/7/synthetic/0000000_info.npz", allow_pickle=False
    )
    eye_space = np.append(info["verts"][5], 1.0) @ info["R_t"]
    assert eye_space[2] < 0  # before an OpenGL camera
    P = np.loadtxt(tmp_path / "a/ARKitFace_resources/npy/projection_matrix.txt")
    clip = eye_space @ P
    column = (clip[0] / clip[3] + 1.0) * 320.0
    expected = CAMERA.project(
        samples[0].vertices_m[5] @ samples[0].rotation.T + samples[0].translation_m
    )
    assert column == pytest.approx(expected[0], abs=1e-3)


def test_arkitface_intrinsics_follow_the_published_formula():
    P = np.array([[1.6, 0, 0, 0], [0, 2.1, 0, 0], [0.02, -0.03, -1, -1], [0, 0, -0.001, 0]])
    M = P @ [[480, 0, 0, 0], [0, 360, 0, 0], [0, 0, 1, 0], [480, 360, 0, 1]]
    camera = camera_from_projection(P, 960, 720)
    assert (camera.fx, camera.fy) == (M[0, 0], M[1, 1])
    assert (camera.cx, camera.cy) == (-M[2, 0], -M[2, 1])
    np.testing.assert_allclose(projection_from_camera(camera)[:3], P[:3], atol=1e-12)


def test_arkitface_needs_one_camera(tmp_path):
    samples = make_samples(1) + make_samples(1, replace(CAMERA, fx=500.0))
    with pytest.raises(ValueError, match="one projection matrix"):
        write(samples, tmp_path / "a", "arkitface")
    with pytest.raises(ValueError, match="half written"):
        ARKitFace(tmp_path / "a")


def test_arkitface_names_the_missing_file(tmp_path):
    write(make_samples(1), tmp_path / "a", "arkitface")
    with pytest.raises(FileNotFoundError, match=r"ARKitFace_test\.csv"):
        ARKitFace(tmp_path / "a", "test")
    (tmp_path / "a/ARKitFace_resources/npy/kpt_ind.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"kpt_ind\.npy"):
        ARKitFace(tmp_path / "a", "train")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ARKitFace(tmp_path / "nowhere")


def test_arkitface_names_the_damaged_file(tmp_path):
    write(make_samples(2), tmp_path / "a", "arkitface")
    reader = ARKitFace(tmp_path / "a")
    image = next((tmp_path / "a").rglob("*0_ar.jpg"))
    image.write_bytes(image.read_bytes()[:600])
    with pytest.raises(ValueError, match=r"0_ar\.jpg: this image of ARKitFace is damaged"):
        reader[0]
    info = next((tmp_path / "a").rglob("*1_info.npz"))
    whole = info.read_bytes()
    for content in (whole[:300], b"", b"no arrays at all"):
        info.write_bytes(content)
        with pytest.raises(ValueError, match=r"1_info\.npz: expected the arrays verts and R_t"):
            reader[1]
    np.savez(info, verts=np.zeros((1219, 3)), R_t=np.eye(4))
    with pytest.raises(ValueError, match=r"1_info\.npz: verts: expected shape \(1220, 3\)"):
        reader[1]
    numbers = tmp_path / "a/ARKitFace_resources/npy/kpt_ind.npy"
    np.save(numbers, np.arange(68) + 1200)
    with pytest.raises(ValueError, match=r"kpt_ind\.npy: expected vertex numbers from 0 to 1219"):
        ARKitFace(tmp_path / "a")
    numbers.write_bytes(b"")
    with pytest.raises(ValueError, match=r"kpt_ind\.npy: damaged"):
        ARKitFace(tmp_path / "a")
    frames = next((tmp_path / "a").rglob("*.csv"))
    rows = frames.read_bytes()
    for damaged, message in (
        (rows[:-5] + b"\xff\xfe", "no text"),
        (rows[: rows.rfind(b",")], "line 3: expected"),
    ):
        frames.write_bytes(damaged)
        with pytest.raises(UnreadableFileError, match=rf"ARKitFace_train\.csv.*{message}"):
            ARKitFace(tmp_path / "a")


def test_readers_can_be_sent_to_worker_processes(tmp_path):
    for layout in ("arkitface", "300wlp", "biwi"):
        write(make_samples(1), tmp_path / layout, layout)
    for reader in (
        ARKitFace(tmp_path / "arkitface"), W300LP(tmp_path / "300wlp"), BIWI(tmp_path / "biwi"),
    ):  # fmt: skip
        sent = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(sent[0].image, reader[0].image)


def test_300wlp_angles_are_scipys():
    angles = np.random.default_rng(1).uniform(-1.2, 1.2, (20, 3))
    for pitch, yaw, roll in angles:
        expected = Rotation.from_euler("xyz", [pitch, -yaw, -roll]).as_matrix().T
        ours = rotation_from_pose(np.array([pitch, yaw, roll]))
        np.testing.assert_allclose(ours, expected, atol=1e-12)
        np.testing.assert_allclose(pose_from_rotation(ours), [pitch, yaw, roll], atol=1e-12)


def test_300wlp_reads_back_landmarks_and_rotation(tmp_path):
    samples = make_samples(3)
    write(samples, tmp_path / "w", "300wlp")
    reader = W300LP(tmp_path / "w", rotations=True)
    assert len(reader) == 3
    assert W300LP(tmp_path / "w")[0].rotation is None
    for written, read in zip(samples, reader, strict=True):
        np.testing.assert_allclose(read.rotation, as_fitted(written).rotation, atol=1e-9)
        assert read.translation_m is None
        assert read.vertices_m is None
        assert read.image.shape == (450, 450, 3)
        assert (read.camera.fx, read.camera.source) == (5000.0, "assumed")
        assert read.identity == written.identity
        # The crop is a square of rays: landmarks map by one scale per axis and a shift.
        box = written.box_xyxy
        side = (box[2:] - box[:2])[0] / np.array([CAMERA.fx, CAMERA.fy])
        rays = written.landmarks68_px / (CAMERA.fx, CAMERA.fy)
        centre = (box[:2] + box[2:]) / 2 / (CAMERA.fx, CAMERA.fy)
        expected = 225 + (rays - centre) * 450 / (1.6 * side.max())
        np.testing.assert_allclose(read.landmarks68_px, expected, atol=1e-6)


def test_300wlp_image_and_landmarks_agree(tmp_path):
    """A dark dot on a landmark is found where the file says, half-pixel convention included."""
    sample = make_samples(1)[0]
    image = np.full_like(sample.image, 255)
    point = np.floor(sample.landmarks68_px[30]) + 0.5
    image[int(point[1]) - 1 : int(point[1]) + 2, int(point[0]) - 1 : int(point[0]) + 2] = 0
    landmarks_px = sample.landmarks68_px.copy()
    landmarks_px[30] = point
    write([replace(sample, image=image, landmarks68_px=landmarks_px)], tmp_path / "w", "300wlp")
    read = W300LP(tmp_path / "w")[0]
    x, y = read.landmarks68_px[30]
    window = 255.0 - read.image[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13].mean(-1)
    rows, columns = np.indices(window.shape) + 0.5
    found = ((columns * window).sum(), (rows * window).sum()) / window.sum()
    np.testing.assert_allclose(found + (int(x) - 12, int(y) - 12), (x, y), atol=0.1)


def test_300wlp_mirrored_images_borrow_landmarks(tmp_path):
    write(make_samples(1), tmp_path / "w", "300wlp")
    name = next((tmp_path / "w" / "AFW").glob("*.jpg")).stem
    (tmp_path / "w" / "AFW_Flip").mkdir()
    with Image.open(tmp_path / "w" / "AFW" / f"{name}.jpg") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
            tmp_path / "w" / "AFW_Flip" / f"{name}.jpg"
        )
    straight, mirrored = W300LP(tmp_path / "w")
    expected = straight.landmarks68_px[LANDMARKS68_MIRROR] * (-1, 1) + (450, 0)
    np.testing.assert_allclose(mirrored.landmarks68_px, expected)


def test_300wlp_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="AFW_Flip"):
        W300LP(tmp_path)
    (tmp_path / "AFW").mkdir()
    (tmp_path / "landmarks" / "AFW").mkdir(parents=True)
    Image.new("RGB", (450, 450)).save(tmp_path / "AFW" / "x_0.jpg")
    with pytest.raises(FileNotFoundError, match=r"x_0_pts\.mat"):
        W300LP(tmp_path)[0]
    savemat(tmp_path / "landmarks/AFW/x_0_pts.mat", {"pts_2d": np.zeros((68, 2))})
    with pytest.raises(ValueError, match="pts_3d"):
        W300LP(tmp_path)[0]
    (tmp_path / "landmarks/AFW/x_0_pts.mat").write_bytes(b"no matlab file at all")
    with pytest.raises(ValueError, match="MATLAB"):
        W300LP(tmp_path)[0]


def test_biwi_reads_back_pose_camera_and_mesh(tmp_path):
    bent = replace(CAMERA, distortion=(-0.05, 0.01, 0.001, -0.002, 0.0))
    samples = make_samples(4) + make_samples(1, bent, seed=3)
    write(samples, tmp_path / "b", "biwi")
    reader = BIWI(tmp_path / "b")
    assert reader.frames == tuple(
        f"{number}/frame_{frame:05d}" for number, frame in
        [("01", 0), ("01", 1), ("02", 0), ("02", 1), ("03", 0)]
    )  # fmt: skip
    for written, read in zip(samples, reader, strict=True):
        np.testing.assert_allclose(read.rotation, written.rotation, atol=1e-10)
        np.testing.assert_allclose(read.translation_m, written.translation_m, atol=1e-10)
        np.testing.assert_allclose(read.camera.matrix, written.camera.matrix, atol=1e-8)
        np.testing.assert_allclose(read.camera.distortion, written.camera.distortion)
        assert np.array_equal(read.image, written.image)
        assert read.vertices_m is None
    mesh = reader.mesh("02")
    np.testing.assert_allclose(mesh.vertices_m, samples[2].vertices_m, atol=1e-9)
    assert np.array_equal(mesh.triangles, TOPOLOGY.triangles)


@pytest.fixture
def biwi_by_hand(tmp_path):
    """One frame whose numbers are simple enough to follow with a pencil."""
    base = tmp_path / "hpdb"
    (base / "05").mkdir(parents=True)
    # A quarter turn about z: depth's x becomes colour's y, depth's y becomes colour's -x.
    (base / "05" / "rgb.cal").write_text(
        "517.7 0 320\n0 517.7 240.5\n0 0 1\n\n0 0 0 0\n\n"
        "0 -1 0\n1 0 0\n0 0 1\n\n20 10 -5\n\n640 480\n"
    )
    (base / "05" / "frame_00003_pose.txt").write_text("1 0 0\n0 1 0\n0 0 1\n\n100 50 900\n")
    (base / "05.obj").write_text(
        "# mm\nv -80 -100 0\nv 80 -100 0\nv 0 100 0\nv 0 0 -90\nf 1/1 3/3 4/4\nf 3 2 4\n"
    )
    Image.new("RGB", (640, 480)).save(base / "05" / "frame_00003_rgb.png")
    return tmp_path


def test_biwi_numbers_by_hand(biwi_by_hand):
    sample = BIWI(biwi_by_hand)[0]
    np.testing.assert_allclose(sample.translation_m, [-0.050 + 0.020, 0.100 + 0.010, 0.895])
    np.testing.assert_allclose(sample.rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert (sample.camera.cx, sample.camera.cy) == (320.5, 241.0)  # pixel centres at +0.5 here
    # Corners at depth 0.895 m: x from -130 to 70 mm, y from 30 to 190 mm: 200 mm is the side.
    side = 0.2 * 517.7 / 0.895
    centre = np.array([320.5, 241.0]) + 517.7 * np.array([-0.03, 0.11]) / 0.895
    np.testing.assert_allclose(sample.box_xyxy, [*(centre - side / 2), *(centre + side / 2)])
    assert sample.identity == "05"
    assert BIWI(biwi_by_hand / "hpdb").mesh("05").triangles.tolist() == [[0, 2, 3], [2, 1, 3]]


def test_biwi_uses_the_callers_boxes_and_moves_them_inside(biwi_by_hand):
    name = "05/frame_00003"
    sample = BIWI(biwi_by_hand, boxes={name: (-30, 400, 120, 550)})[0]
    np.testing.assert_allclose(sample.box_xyxy, [0, 330, 150, 480])
    assert len(BIWI(biwi_by_hand, boxes={})) == 0
    np.testing.assert_allclose(
        shift_inside(np.array([-50.0, 10, 700, 760]), 640, 480), [-55, -135, 695, 615]
    )


def test_biwi_errors_name_the_file(biwi_by_hand, tmp_path):
    with pytest.raises(FileNotFoundError, match="frame_"):
        BIWI(biwi_by_hand / "hpdb" / "05")
    calibration = biwi_by_hand / "hpdb" / "05" / "rgb.cal"
    calibration.write_text("1 0 0 0 1 0 0 0 1")
    with pytest.raises(ValueError, match=r"rgb\.cal: expected 27 numbers, got 9"):
        read_calibration(calibration)
    mesh = biwi_by_hand / "hpdb" / "05.obj"
    for line, message in (("f 1 2 9", "from 1 to 4, got 1 to 9"), ("f 1 x 2", "faces")):
        mesh.write_text(f"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n{line}\n")
        with pytest.raises(ValueError, match=rf"05\.obj.*{message}"):
            BIWI(biwi_by_hand).mesh("05")
    for path, read in (
        (mesh, lambda: BIWI(biwi_by_hand).mesh("05")),
        (calibration, lambda: read_calibration(calibration)),
        (calibration.with_name("frame_00003_pose.txt"), lambda: BIWI(biwi_by_hand)[0]),
    ):
        path.write_bytes(b"\xff\xd8 no text")
        with pytest.raises(UnreadableFileError, match=rf"{path.name}: .* is no text"):
            read()
    (biwi_by_hand / "hpdb" / "05" / "frame_00003_rgb.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"frame_00003_rgb\.png"):
        BIWI(biwi_by_hand)[0]
