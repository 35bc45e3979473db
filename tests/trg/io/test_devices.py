"""Webcams and phones by name."""

from __future__ import annotations

import re

import numpy as np
import pytest

from trg.geometry.camera import Camera
from trg.geometry.camera_source import resolve_camera
from trg.io.devices import camera_by_name, devices, find_device
from trg.io.tables import read_table


def test_every_device_and_sensor_states_where_its_figure_is_from():
    assert len({device.name for device in devices()}) == len(devices()) >= 20
    assert all(re.fullmatch(r"[^:]+: .+", device.reference) for device in devices())
    assert all(row["source"] for row in read_table("sensors"))


@pytest.mark.parametrize("name", ["Logitech C920", "logitech c920", "C920", " c920 Logitech"])
def test_a_device_is_found_by_its_name_or_some_words_of_it(name):
    assert find_device(name).name == "Logitech C920"


def test_a_switched_field_of_view_has_a_name_of_its_own_and_the_default_comes_first():
    assert find_device("brio").view.degrees == 90
    assert find_device("Brio at 65").view.degrees == 65


def test_an_unknown_or_ambiguous_name_tells_similar_ones():
    with pytest.raises(ValueError, match=r"did you mean: .*Logitech C920"):
        find_device("Logitech C921")
    with pytest.raises(ValueError, match="Azure Kinect, Microsoft Kinect v2"):
        find_device("kinect")
    with pytest.raises(ValueError, match="trg camera list"):
        find_device("")
    with pytest.raises(ValueError, match="a file 'C92' does not exist"):
        camera_by_name("C92")
    with pytest.raises(FileNotFoundError):
        camera_by_name("C920.yaml")


def test_the_field_of_view_is_that_of_the_whole_sensor_and_other_pictures_are_its_crops():
    view = find_device("Logitech C920").view
    hd = resolve_camera(1280, 720, view)
    assert hd.source == "device"
    assert hd.fov_deg("diagonal") == pytest.approx(78.0, abs=0.01)
    vga = resolve_camera(640, 480, view)  # the sides are cut off
    assert vga.fov_deg("vertical") == pytest.approx(hd.fov_deg("vertical"), abs=0.01)
    upright = resolve_camera(720, 1280, view)
    assert upright.fx == pytest.approx(hd.fx)
    square = resolve_camera(720, 720, view)
    assert square.fx == pytest.approx(hd.fx)
    cinema = resolve_camera(1280, 640, view)  # rows are cut off
    assert cinema.fx == pytest.approx(hd.fx)


def test_horizontal_and_vertical_angles_stay_with_the_sensors_sides_on_upright_pictures():
    view = find_device("Raspberry Pi Camera Module 2").view
    assert view.axis == "horizontal"
    upright = resolve_camera(960, 1280, view)
    assert upright.fov_deg("vertical") == pytest.approx(62.2, abs=0.01)


def test_the_aspect_of_a_field_of_view_is_validated():
    view = find_device("Logitech C920").view
    with pytest.raises(ValueError, match="aspect"):
        type(view)(78.0, "diagonal", (16.0, 0.0))
    assert isinstance(camera_by_name("c920").camera(64, 48), Camera)
    assert np.isfinite(camera_by_name("c920").camera(1, 1).fx)
