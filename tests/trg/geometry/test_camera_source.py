"""Choice of the image's camera; the estimator's tests cover the sources together."""

from __future__ import annotations

import numpy as np
import pytest

from trg.geometry.camera import ASSUMED_FOV_DEG, Camera
from trg.geometry.camera_source import (
    FieldOfView,
    SizelessCalibration,
    is_single_camera,
    resolve_camera,
    scale_calibration,
)
from trg.geometry.lens import LensModelWarning

FOLDING = (-0.5, 0.0, 0.0, 0.0, 0.0)
LENS = Camera(812.5, 808.0, 331.25, 236.5, 640, 480, (-0.21, 0.05, 0.001, -0.002, 0.01))


@pytest.mark.parametrize(
    ("given", "exif", "expected"),
    [
        (None, None, Camera.from_fov(ASSUMED_FOV_DEG, 640, 480, "diagonal", "assumed")),
        (None, LENS, LENS),
        (LENS, Camera.assumed(640, 480), LENS),
        (FieldOfView(70.0, "vertical"), None, Camera.from_fov(70.0, 640, 480, "vertical")),
        (512.5, None, Camera(512.5, 512.5, 320, 240, 640, 480)),
        ([[500, 0, 300], [0, 510, 250], [0, 0, 1]], None, Camera(500, 510, 300, 250, 640, 480)),
    ],
)
def test_the_given_camera_precedes_exif_and_exif_the_assumption(given, exif, expected):
    assert resolve_camera(640, 480, given, exif) == expected


@pytest.mark.parametrize("given", ["wide", np.eye(4), [500.0, 510.0], object()])
def test_what_is_not_a_camera_is_refused(given):
    with pytest.raises(ValueError, match="expected a Camera, a FieldOfView"):
        resolve_camera(640, 480, given)


@pytest.mark.parametrize(("degrees", "axis"), [(0.0, "diagonal"), (180.0, "diagonal"), (60, "up")])
def test_invalid_fields_of_view_are_refused(degrees, axis):
    with pytest.raises(ValueError, match="field of view"):
        FieldOfView(degrees, axis)


def test_a_single_camera_is_told_from_a_sequence():
    single = (LENS, FieldOfView(60.0), 500.0, np.eye(3), np.float32(500.0))
    assert all(is_single_camera(value) for value in single)
    several = ([LENS, LENS], [500.0, 510.0], [np.eye(3)] * 2, [LENS, None], [])
    assert not any(is_single_camera(value) for value in several)


def test_a_calibration_holds_for_scaled_images():
    assert scale_calibration(LENS, 640, 480) is LENS
    half = scale_calibration(LENS, 320, 240)
    np.testing.assert_allclose(
        half.project([0.1, 0.2, 1.0]), LENS.project([0.1, 0.2, 1.0]) / 2, rtol=1e-12
    )
    full_hd = Camera.from_fov(70, 1920, 1080)
    assert scale_calibration(full_hd, 854, 480).width == 854  # the encoder's rounding of 853.3


@pytest.mark.parametrize(
    ("size", "hint"),
    [((640, 360), "Camera.crop"), ((480, 640), "rotated by 90"), ((240, 320), "rotated by 90")],
)
def test_a_calibration_with_another_aspect_ratio_is_refused(size, hint):
    with pytest.raises(ValueError, match=rf"640x480 px.*{size[0]}x{size[1]}.*{hint}"):
        scale_calibration(LENS, *size)


@pytest.mark.parametrize("kind", [Camera, SizelessCalibration])
def test_a_lens_model_that_folds_over_inside_the_picture_is_told(kind):
    size = (640, 480) if kind is Camera else ()
    folding = kind(420.0, 420.0, 320.0, 240.0, *size, distortion=FOLDING)
    with pytest.warns(LensModelWarning, match="folds over 39 degrees"):
        resolve_camera(640, 480, folding)


def test_python_users_reach_the_choice_of_a_camera_without_deep_imports():
    import trg

    assert trg.resolve_camera(640, 480, trg.FieldOfView(60.0)).source == "fov"
    assert trg.read_calibration.__module__ == "trg.io.calibration"
