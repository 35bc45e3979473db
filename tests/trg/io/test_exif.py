"""Focal lengths from EXIF without the 35 mm equivalent."""

from __future__ import annotations

import math

import pytest
from PIL import ExifTags, Image

from trg.io.exif import exif_camera, explain_exif_camera

Base = ExifTags.Base


@pytest.fixture(autouse=True)
def no_lensfun(tmp_path, monkeypatch):
    monkeypatch.setattr("trg.io.sensor_size.LENSFUN_FOLDER", tmp_path)


def exif_of(**values) -> Image.Exif:
    exif = Image.Exif()
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    for name, value in values.items():
        (exif if name in ("Make", "Model") else tags)[Base[name]] = value
    return exif


@pytest.mark.parametrize(("unit", "unit_mm"), [(2, 25.4), (3, 10.0), (4, 1.0), (None, 25.4)])
@pytest.mark.parametrize("size", [(6000, 4000), (1500, 1000), (1000, 1500)])
def test_the_resolution_of_the_focal_plane_gives_pixels(unit, unit_mm, size):
    units = {} if unit is None else {"FocalPlaneResolutionUnit": unit}
    exif = exif_of(
        FocalLength=50.0, FocalPlaneXResolution=6000 / 22.3 * unit_mm,
        ExifImageWidth=6000, ExifImageHeight=4000, **units,
    )  # fmt: skip
    camera = exif_camera(exif, *size)
    assert camera.fx == pytest.approx(50.0 / 22.3 * max(size))
    assert camera.source == "focal_plane"


@pytest.mark.parametrize(
    "changes",
    [
        {"FocalPlaneXResolution": 3.2 * 6000 / 22.3},  # of the full sensor, for a smaller image
        {"FocalPlaneXResolution": 0.0},
        {"FocalPlaneXResolution": math.nan},
        {"FocalPlaneResolutionUnit": 1},
        {"FocalLength": 0.0},
        {"ExifImageHeight": 3375},  # cropped
    ],
)
def test_implausible_resolutions_give_no_camera(changes):
    values = {
        "FocalLength": 50.0, "FocalPlaneXResolution": 6000 / 22.3, "FocalPlaneResolutionUnit": 4,
        "ExifImageWidth": 6000, "ExifImageHeight": 4000,
    }  # fmt: skip
    assert exif_camera(exif_of(**values), 6000, 4000) is not None
    assert exif_camera(exif_of(**{**values, **changes}), 6000, 4000) is None


def test_an_installed_lensfun_database_tells_the_sensor(tmp_path):
    (tmp_path / "version_1").mkdir()
    (tmp_path / "version_1" / "cameras.xml").write_text(
        "<lensdatabase><camera><maker>Maker Corp.</maker><model>Model 7</model>"
        '<model lang="en">Seven</model><cropfactor>1.5</cropfactor></camera></lensdatabase>'
    )
    (tmp_path / "version_1" / "damaged.xml").write_text("<lensdatabase><camera>")
    exif = exif_of(Make="MAKER CORP.\0", Model="Model 7 ", FocalLength=30.0)
    camera = exif_camera(exif, 600, 400)
    assert camera.fx == pytest.approx(45.0 / math.hypot(36, 24) * math.hypot(600, 400))
    assert camera.source == "lensfun"
    assert exif_camera(exif_of(Make="Other", Model="7", FocalLength=30.0), 600, 400) is None


@pytest.mark.parametrize(
    ("make", "model", "size", "sensor_mm"),
    [
        ("Canon", "Canon EOS 40D", (3888, 2592), 22.2),
        ("OLYMPUS IMAGING CORP.  ", "E-M5            ", (4608, 3456), 17.3),
        ("Panasonic", "DMC-GX7", (4592, 2584), 17.3),  # 16:9 from a 4:3 sensor
        ("RaspberryPi", "/base/soc/i2c0mux/i2c@1/imx477@1a", (4056, 3040), 6.287),
    ],
)
def test_the_table_of_sensors_gives_the_focal_length_in_pixels(make, model, size, sensor_mm):
    exif = exif_of(Make=make, Model=model, FocalLength=25.0)
    camera = exif_camera(exif, *size)
    assert camera.source == "sensor_table"
    assert camera.fx == pytest.approx(25.0 / sensor_mm * size[0], rel=0.003)
    portrait = exif_camera(exif, *size[::-1])
    assert portrait.fx == pytest.approx(camera.fx)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"FocalLengthIn35mmFilm": 26}, "35 mm equivalent, 26 mm"),
        ({}, "no focal length"),
        ({"FocalLength": 4.2, "Make": "Maker", "Model": "Seven"}, "sensor of Maker Seven is unk"),
        ({"FocalLength": 4.2, "FocalPlaneXResolution": 9e5}, "which is not made"),
        ({"FocalLength": 25.0, "Make": "Panasonic", "Model": "DC-G9"}, "17.3 x 13 mm"),
        (
            {"FocalLengthIn35mmFilm": 26, "ExifImageWidth": 600, "ExifImageHeight": 600},
            "is a crop",
        ),
    ],
)
def test_the_reason_says_how_the_camera_is_known_or_what_is_missing(values, words):
    found = explain_exif_camera(exif_of(**values), 600, 400)
    assert words in found.reason
    assert (found.camera is None) == (
        words in ("no focal length", "which is not made", "is a crop") or "unk" in words
    )
