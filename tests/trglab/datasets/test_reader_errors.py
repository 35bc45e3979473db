"""AFLW2000-3D, and the flips and outlines of 300W-LP."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from scipy.spatial.transform import Rotation

from tests.support.made_samples import as_fitted, make_samples, write
from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trglab.datasets.aflw2000 import AFLW2000
from trglab.datasets.biwi import BIWI
from trglab.datasets.files import UnreadableFileError
from trglab.datasets.w300lp import W300LP, rotation_from_pose


def write_aflw_picture(folder, number, pose, points):
    Image.new("RGB", (450, 450)).save(folder / f"image{number:05d}.jpg")
    labels = {"Pose_Para": np.array([[*pose, 0.0, 0.0, 0.0, 1e-4]]), "pt3d_68": points}
    savemat(folder / f"image{number:05d}.mat", labels)


def points_in_matlab(rng):
    return rng.uniform(1.0, 450.0, (3, 68))


def test_aflw2000_follows_the_published_formulas(tmp_path):
    rng = np.random.default_rng(0)
    pose, points = (0.3, -0.7, 0.2), points_in_matlab(rng)
    write_aflw_picture(tmp_path, 7, pose, points)
    sample = AFLW2000(tmp_path)[0]
    pitch, yaw, roll = pose
    turned = Rotation.from_euler("xyz", [pitch, -yaw, -roll]).as_matrix()
    np.testing.assert_allclose(sample.rotation, turned.T, atol=1e-12)
    # MATLAB's pixel 1 is the first, and its centre lies at 0.5.
    np.testing.assert_allclose(sample.landmarks68_px, points[:2].T - 0.5)
    assert (sample.translation_m, sample.vertices_m) == (None, None)
    assert sample.camera.source == "assumed"
    assert sample.name == "aflw2000/image00007"


def test_aflw2000_leaves_out_what_is_turned_too_far(tmp_path):
    rng = np.random.default_rng(1)
    degrees = [(98.9, 0, 0), (0, -99.1, 0), (0, 0, 120), (-98, 98, -98)]
    for number, angles in enumerate(degrees):
        write_aflw_picture(tmp_path, number, np.radians(angles), points_in_matlab(rng))
    reader = AFLW2000(tmp_path)
    assert [sample.name[-1] for sample in reader] == ["0", "3"]
    assert reader.left_out == 2
    assert len(AFLW2000(tmp_path, max_angle_deg=None)) == 4


def test_aflw2000_reads_back_what_was_written(tmp_path):
    samples = make_samples(3)
    write(samples, tmp_path, "aflw2000")
    write(samples, tmp_path / "w", "300wlp")
    for written, read, twin in zip(
        samples, AFLW2000(tmp_path), W300LP(tmp_path / "w"), strict=True
    ):
        np.testing.assert_allclose(read.rotation, as_fitted(written).rotation, atol=1e-9)
        np.testing.assert_allclose(read.landmarks68_px, twin.landmarks68_px, atol=1e-9)
        np.testing.assert_array_equal(read.image, twin.image)


@pytest.mark.parametrize("cut", [0, 7, 126, 150, 200, 400])
def test_aflw2000_keeps_damaged_images_on_the_list(tmp_path, cut):
    rng = np.random.default_rng(2)
    for number in range(4):
        write_aflw_picture(tmp_path, number, (0, 0, 0), points_in_matlab(rng))
    (tmp_path / "image00000.mat").unlink()
    labels = tmp_path / "image00001.mat"
    labels.write_bytes(labels.read_bytes()[:cut])
    (tmp_path / "image00002.jpg").unlink()
    write_aflw_picture(tmp_path, 3, (0, 0, 0), np.zeros((3, 21)))
    reader = AFLW2000(tmp_path)
    assert len(reader) == 4
    for index, (kind, message) in enumerate(
        [
            (FileNotFoundError, r"image00000\.mat"),
            (UnreadableFileError, r"image00001\.mat: expected a MATLAB 5 file"),
            (FileNotFoundError, r"image00002\.jpg"),
            (ValueError, r"image00003\.mat: pt3d_68: expected shape \(3, 68\), got \(3, 21\)"),
        ]
    ):
        with pytest.raises(kind, match=message):
            reader[index]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="found none"):
        AFLW2000(tmp_path / "empty")


@pytest.fixture
def flipped_folder(tmp_path):
    """One image of 300W-LP and its mirror image, both outlines apart."""
    write(make_samples(1), tmp_path, "300wlp")
    (image_path,) = (tmp_path / "AFW").glob("*.jpg")
    (tmp_path / "AFW_Flip").mkdir()
    with Image.open(image_path) as image:
        mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mirrored.save(tmp_path / "AFW_Flip" / image_path.name)
    labels = tmp_path / "landmarks" / "AFW" / f"{image_path.stem}_pts.mat"
    points = loadmat(labels)["pts_3d"]
    savemat(labels, {"pts_3d": points, "pts_2d": points + 7.0})
    return tmp_path, image_path.stem, points


def test_300wlp_gives_either_outline(flipped_folder):
    folder, _, points = flipped_folder
    np.testing.assert_allclose(W300LP(folder)[0].landmarks68_px, points + 0.5)
    np.testing.assert_allclose(W300LP(folder, outline="2d")[0].landmarks68_px, points + 7.5)
    with pytest.raises(ValueError, match="outline: expected '3d' or '2d'"):
        W300LP(folder, outline="4d")


def test_300wlp_flips_borrow_labels_or_have_their_own(flipped_folder):
    folder, name, points = flipped_folder
    straight, borrowed = W300LP(folder, rotations=True)
    mirror = np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(borrowed.rotation, mirror @ straight.rotation @ mirror, atol=1e-12)
    expected = (straight.landmarks68_px * (-1, 1) + (450, 0))[LANDMARKS68_MIRROR]
    np.testing.assert_allclose(borrowed.landmarks68_px, expected)
    assert borrowed.identity == straight.identity

    (folder / "landmarks" / "AFW_Flip").mkdir()
    own = {"pts_3d": points * 0.5, "pts_2d": points}
    savemat(folder / "landmarks" / "AFW_Flip" / f"{name}_pts.mat", own)
    pose = np.array([[0.1, 0.2, -0.3, 0, 0, 0, 1]])
    savemat(folder / "AFW_Flip" / f"{name}.mat", {"Pose_Para": pose})
    _, with_own = W300LP(folder, rotations=True)
    np.testing.assert_allclose(with_own.landmarks68_px, points * 0.5 + 0.5)
    np.testing.assert_allclose(with_own.rotation, rotation_from_pose(pose[0, :3]))


def test_a_image_is_missed_where_its_labels_are(tmp_path):
    write(make_samples(2), tmp_path / "w", "300wlp")
    write(make_samples(2), tmp_path / "b", "biwi")
    next((tmp_path / "w" / "AFW").glob("*0.jpg")).unlink()
    (tmp_path / "b" / "hpdb" / "01" / "frame_00001_pose.txt").unlink()
    images, frames = W300LP(tmp_path / "w"), BIWI(tmp_path / "b")
    assert (len(images), len(frames)) == (2, 2)
    with pytest.raises(FileNotFoundError, match=r"\.jpg: this file of 300W-LP is missing"):
        images[0]
    with pytest.raises(FileNotFoundError, match=r"frame_00001_pose\.txt"):
        frames[1]
