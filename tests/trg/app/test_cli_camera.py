"""``trg camera``."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.support.cli import Cli
from trg.app.calibrate_camera import ClipCalibration
from trg.geometry.camera import Camera
from trg.io.calibration import read_calibration
from trg.io.devices import devices


@pytest.fixture
def cli(capsys, monkeypatch):
    return Cli(capsys, monkeypatch)


def test_show_tells_how_the_focal_length_of_a_photo_is_known(cli, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    exif[ExifTags.Base.Orientation] = 6  # stored on its side
    Image.new("RGB", (640, 480)).save(tmp_path / "phone.jpg", exif=exif)
    Image.new("RGB", (640, 480)).save(tmp_path / "plain.png")
    done = cli("camera", "show", tmp_path / "phone.jpg")
    assert done.code == 0
    assert "35 mm equivalent, 26 mm" in done.out
    assert "480x640 px" in done.out
    done = cli("camera", "show", tmp_path / "phone.jpg", tmp_path / "plain.png")
    assert "EXIF has no focal length" in done.out
    assert "trg camera calibrate" in done.out


def test_show_describes_calibrations_and_devices(cli, tmp_path):
    path = tmp_path / "camera.json"
    camera = Camera(800.0, 800.0, 320.0, 240.0, 640, 480, source="clip", focal_std_px=40.0)
    path.write_text(json.dumps(camera.to_dict()))
    done = cli("camera", "show", path)
    assert "standard deviation 40.0 px" in done.out
    assert "to 5.0%" in done.out
    assert "70.4 x 43.3 degrees, diagonal 78.0" in cli("camera", "show", "c920").out


def test_list_names_every_device_with_its_reference(cli):
    out = cli("camera", "list").out
    assert all(device.name in out and device.reference in out for device in devices())


def test_a_camera_without_an_argument_or_of_an_unknown_name_is_an_error(cli):
    assert cli("camera", "show").code == 2
    done = cli("camera", "show", "Logitech C921")
    assert done.code == 2
    assert "Logitech C920" in done.err
    assert (
        "nowhere.jpg: expected a photo, found no such file"
        in cli("camera", "show", "nowhere.jpg").err
    )


def test_predict_takes_a_device_by_name(cli, tmp_path):
    Image.new("RGB", (640, 360)).save(tmp_path / "plain.png")
    done = cli("predict", tmp_path / "plain.png", "--camera", "Logitech C920")
    assert done.code == 0
    assert done.records[0]["camera"]["source"] == "device"
    assert done.records[0]["camera"]["fx"] == pytest.approx(453.4, abs=0.1)


@pytest.fixture
def calibration(monkeypatch):
    """Replaces the calibration by one with a given share of error."""

    def use(share: float) -> ClipCalibration:
        camera = Camera(800.0, 800.0, 320.0, 240.0, 640, 480, source="clip")
        found = ClipCalibration(
            replace(camera, focal_std_px=800.0 * share),
            20,
            (790.0, 812.0),
            np.random.default_rng(0).normal(0.0, 0.01, (20, 68, 2)),
            0.5,
            ("the head turns little, by 3 degrees",),
        )
        monkeypatch.setattr("trg.app.calibrate_camera.calibrate_from_clip", lambda *_: found)
        return found

    return use


def test_calibrate_writes_a_camera_that_predict_takes(cli, tmp_path, calibration):
    found = calibration(0.06)
    out = tmp_path / "me.json"
    done = cli("camera", "calibrate", "clip.mp4", "-o", out)
    assert done.code == 0
    assert "focal length 800 px, standard deviation 48 px (6%)" in done.err
    assert "first half of the views 790 px" in done.err
    assert read_calibration(out) == found.camera
    Image.new("RGB", (640, 480)).save(tmp_path / "plain.png")
    camera = cli("predict", tmp_path / "plain.png", "--camera", out).records[0]["camera"]
    assert (camera["source"], camera["fx"]) == ("clip", 800.0)
    done = cli("camera", "calibrate", "clip.mp4", "-o", out)
    assert done.code == 2
    assert "--overwrite" in done.err


def test_a_clip_that_cannot_tell_says_so_and_what_to_do_and_writes_nothing(
    cli, tmp_path, calibration
):
    calibration(0.24)
    done = cli("camera", "calibrate", "clip.mp4", "-o", tmp_path / "me.json")
    assert done.code == 1
    assert "does not tell the focal length: the head turns little" in done.err
    assert "turn your head slowly left and right" in done.err
    assert not (tmp_path / "me.json").exists()
    calibration(0.16)
    done = cli("camera", "calibrate", "clip.mp4", "-o", tmp_path / "me.json")
    assert done.code == 0
    assert "a rough estimate" in done.err


def test_calibrate_draws_residuals_and_the_estimate(cli, tmp_path, calibration):
    calibration(0.06)
    plot = tmp_path / "fit.png"
    done = cli("camera", "calibrate", "clip.mp4", "-o", tmp_path / "me.json", "--plot", plot)
    assert done.code == 0
    with Image.open(plot) as image:
        assert image.size == (1200, 528)


def test_a_chessboard_needs_opencv_and_says_so(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    done = cli("camera", "from-chessboard", tmp_path)
    assert done.code == 2
    assert "pip install opencv-python-headless" in done.err


def test_a_chessboard_calibrates_the_camera_that_took_its_photos(cli, tmp_path):
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    from trg.geometry.rotations import rotation_from_euler

    camera = Camera(700.0, 700.0, 322.0, 236.0, 640, 480)
    x, y = np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5)
    rays = camera.directions(np.stack([x, y], -1))
    for number, angles in enumerate([(0, 0, 0), (30, 0, 5), (-30, 5, 0), (0, 30, 0), (5, -30, 9),
                                     (25, 25, 0), (-25, 20, -9)]):  # fmt: skip
        turned = rays @ rotation_from_euler(np.array(angles, float))
        centre = np.array([0.0, 0.0, 16.0]) @ rotation_from_euler(np.array(angles, float))
        board = turned * (centre[2] / turned[..., 2:]) - centre + (5.0, 3.5, 0.0)
        square = np.floor(board[..., :2]).astype(int)
        inside = ((square >= 0) & (square < (10, 7))).all(-1)
        grey = np.where(inside & (square.sum(-1) % 2 == 0), 20, 235).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{number}.png")
    out = tmp_path / "board.json"
    done = cli("camera", "from-chessboard", tmp_path, "-o", out)
    assert done.code == 0, done.err
    found = read_calibration(out)
    assert found.fx == pytest.approx(700.0, rel=0.01)
    assert 0.0 < found.focal_std_px < 10.0
