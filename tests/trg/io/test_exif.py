"""Focal lengths from EXIF without the 35 mm equivalent."""

from __future__ import annotations

import math

import pytest
from PIL import ExifTags, Image

from trg.io.exif import exif_camera

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
    assert camera.source == "exif"


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
    assert exif_camera(exif_of(Make="Other", Model="7", FocalLength=30.0), 600, 400) is None
