"""Calibration files round-trip to the camera they were written from; errors are descriptive."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.support.calibration_files import (
    FISHEYE,
    LENS,
    PINHOLE,
    RADIAL,
    centre_from_zero,
    colmap_text,
    kalibr_yaml,
    opencv_json,
    opencv_xml,
    opencv_yaml,
    roi_text,
    ros_message,
    ros_yaml,
    written,
)
from trg.geometry.camera import Camera
from trg.geometry.camera_source import SizelessCalibration, resolve_camera
from trg.io.calibration import read_calibration


def assert_same(camera: Camera, expected: Camera) -> None:
    np.testing.assert_allclose(camera.matrix, expected.matrix, rtol=1e-12)
    np.testing.assert_allclose(camera.distortion, expected.distortion, rtol=1e-12)
    assert (camera.width, camera.height) == (expected.width, expected.height)
    assert camera.source == expected.source
    assert camera.lens_model == expected.lens_model
    assert camera.focal_std_px == expected.focal_std_px


@pytest.mark.parametrize("camera", [PINHOLE, LENS])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("opencv.yml", opencv_yaml),
        ("opencv.yaml", lambda camera: opencv_yaml(camera, "dist_coeffs")),
        ("opencv.json", opencv_json),
        ("ros.yaml", ros_yaml),
        ("ros2.yaml", ros_message),
        ("own.json", lambda camera: json.dumps(camera.to_dict())),
        ("windows.yml", lambda camera: "\ufeff" + opencv_yaml(camera).replace("\n", "\r\n")),
    ],
)
def test_round_trip(camera, name, write, tmp_path):
    assert_same(read_calibration(written(tmp_path, name, write(camera))), camera)


@pytest.mark.parametrize(
    ("model", "camera"),
    [
        ("SIMPLE_PINHOLE", Camera(700.0, 700.0, 319.0, 241.0, 640, 480)),
        ("PINHOLE", PINHOLE),
        ("SIMPLE_RADIAL", Camera(700.0, 700.0, 319.0, 241.0, 640, 480, (-0.1, 0, 0, 0, 0))),
        ("RADIAL", RADIAL),
        ("OPENCV", Camera(812.5, 809.25, 331.0, 237.5, 640, 480, (-0.12, 0.08, 0.002, -0.003, 0))),
    ],
)
def test_colmap_round_trip(model, camera, tmp_path):
    path = written(tmp_path, "cameras.txt", colmap_text(camera, model))
    assert_same(read_calibration(path), camera)


def test_json_keeps_the_camera_source(tmp_path):
    guess = Camera.from_fov(60, 640, 480, source="assumed")
    path = written(tmp_path, "guess.json", json.dumps(guess.to_dict()))
    assert read_calibration(path) == guess


def test_eight_and_more_coefficients_are_the_rational_and_thin_prism_model(tmp_path):
    text = ros_yaml(LENS, "rational_polynomial")
    given = f"{list(LENS.distortion)}"
    plain = text.replace(given, f"{[*LENS.distortion, 0.0, 0.0, 0.0]}")
    assert_same(read_calibration(written(tmp_path, "ros.yaml", plain)), LENS)
    for more in ([0.1, 0.02, -0.01], [0.1, 0.02, -0.01, 1e-3, 0.0, -1e-3, 2e-4]):
        numbers = [*LENS.distortion, *more]
        path = written(tmp_path, "ros.yaml", text.replace(given, f"{numbers}"))
        assert_same(read_calibration(path), replace(LENS, distortion=tuple(numbers)))
    tilted = [*LENS.distortion, *[0.0] * 7, 0.01, 0.0]
    with pytest.raises(ValueError, match="without tilt"):
        read_calibration(written(tmp_path, "ros.yaml", text.replace(given, f"{tilted}")))


def test_kalibr_camchains_are_read(tmp_path):
    lens = replace(LENS, distortion=LENS.distortion[:4])
    assert_same(read_calibration(written(tmp_path, "k.yaml", kalibr_yaml(lens, "radtan"))), lens)
    text = kalibr_yaml(FISHEYE, "equidistant")
    assert_same(read_calibration(written(tmp_path, "k.yaml", text)), FISHEYE)
    two = text + kalibr_yaml(FISHEYE, "equidistant", "cam1")
    with pytest.raises(ValueError, match="one camera, got \\['cam0', 'cam1'\\]"):
        read_calibration(written(tmp_path, "k.yaml", two))
    with pytest.raises(ValueError, match="camera model 'pinhole', got 'omni'"):
        read_calibration(written(tmp_path, "k.yaml", text.replace("pinhole", "omni")))


def test_fisheye_models_are_read(tmp_path):
    coefficients = f"{list(LENS.distortion)}"
    ros = ros_yaml(replace(FISHEYE, lens_model="brown_conrady"), "equidistant")
    ros = ros.replace(f"{[*FISHEYE.distortion, 0.0]}", f"{list(FISHEYE.distortion)}")
    assert coefficients not in ros
    assert_same(read_calibration(written(tmp_path, "ros.yaml", ros)), FISHEYE)
    opencv = opencv_yaml(FISHEYE).replace("fisheye_model: 0", "fisheye_model: 1")
    assert_same(read_calibration(written(tmp_path, "cv.yml", opencv)), FISHEYE)
    colmap = (
        f"1 OPENCV_FISHEYE 640 480 {FISHEYE.fx} {FISHEYE.fy} {FISHEYE.cx} {FISHEYE.cy} "
        + " ".join(map(str, FISHEYE.distortion))
    )
    assert_same(read_calibration(written(tmp_path, "cameras.txt", colmap)), FISHEYE)
    own = json.dumps(FISHEYE.to_dict())
    assert read_calibration(written(tmp_path, "own.json", own)) == FISHEYE


def test_opencvs_xml_is_read(tmp_path):
    assert_same(read_calibration(written(tmp_path, "cv.xml", opencv_xml(LENS))), LENS)


@pytest.mark.parametrize(
    ("matrix", "distortion"),
    [("mtx", "dist"), ("camera_matrix", "dist_coeffs"), ("CAMERA_MATRIX", "DIST"), ("K", "D")],
)
def test_names_in_any_case_and_npz_are_read(matrix, distortion, tmp_path):
    K = np.reshape(centre_from_zero(LENS), (3, 3))
    fields = {matrix: K.tolist(), distortion: [list(LENS.distortion)], "imageSize": [640, 480]}
    assert_same(read_calibration(written(tmp_path, "a.json", json.dumps(fields))), LENS)
    views = {"rvecs": np.array([{}], object), "corners": np.zeros((100, 2))}
    np.savez(
        tmp_path / "a.npz", **{name: np.array(value) for name, value in fields.items()}, **views
    )
    assert_same(read_calibration(tmp_path / "a.npz"), LENS)


def test_a_calibration_without_a_size_holds_for_images_that_fit_its_principal_point(tmp_path):
    K = np.reshape(centre_from_zero(LENS), (3, 3))
    np.savez_compressed(tmp_path / "a.npz", mtx=K, dist=np.array(LENS.distortion))
    calibration = read_calibration(tmp_path / "a.npz")
    assert isinstance(calibration, SizelessCalibration)
    assert_same(resolve_camera(640, 480, calibration), LENS)
    with pytest.raises(ValueError, match="1280x960 px; add image_width"):
        resolve_camera(1280, 960, calibration)


def test_the_region_and_binning_of_camera_info_shift_and_scale_the_camera(tmp_path):
    point = [0.1, -0.05, 1.0]
    full_px = LENS.project(point)
    for text, expected_px, size in [
        (roi_text(0, 0, 0, 0), full_px, (640, 480)),
        (roi_text(100, 60, 320, 240), full_px - (100, 60), (320, 240)),
        (roi_text(100, 60, 320, 240, 2), (full_px - (100, 60)) / 2, (160, 120)),
        (roi_text(0, 0, 0, 0, 4), full_px / 4, (160, 120)),
    ]:
        camera = read_calibration(written(tmp_path, "ros.yaml", text))
        np.testing.assert_allclose(camera.project(point), expected_px, rtol=1e-12)
        assert (camera.width, camera.height) == size
    with pytest.raises(ValueError, match="roi: expected a region inside 640x480"):
        read_calibration(written(tmp_path, "ros.yaml", roi_text(400, 60, 320, 240)))
