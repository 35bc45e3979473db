"""``trg camera``."""

from __future__ import annotations

import json

import pytest
from PIL import ExifTags, Image

from tests.support.cli import Cli
from trg.geometry.camera import Camera
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


def test_predict_takes_a_device_by_name(cli, tmp_path):
    Image.new("RGB", (640, 360)).save(tmp_path / "plain.png")
    done = cli("predict", tmp_path / "plain.png", "--camera", "Logitech C920")
    assert done.code == 0
    assert done.records[0]["camera"]["source"] == "device"
    assert done.records[0]["camera"]["fx"] == pytest.approx(453.4, abs=0.1)
