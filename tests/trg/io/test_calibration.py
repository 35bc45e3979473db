"""Calibration files round-trip to the camera they were written from; errors are descriptive."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trg.geometry.camera import Camera
from trg.io.calibration import COLMAP_PARAMETERS, read_calibration

PINHOLE = Camera(812.5, 809.25, 331.0, 237.5, 640, 480)
LENS = Camera(812.5, 809.25, 331.0, 237.5, 640, 480, (-0.12, 0.08, 0.002, -0.003, 0.01))
RADIAL = Camera(812.5, 812.5, 331.0, 237.5, 640, 480, (-0.12, 0.08, 0.0, 0.0, 0.0))


def opencv_matrix(rows: int, numbers: list[float]) -> str:
    """One matrix as cv::FileStorage writes it."""
    data = ", ".join(f"{n:.16e}" for n in numbers)
    columns = len(numbers) // rows
    return f"!!opencv-matrix\n   rows: {rows}\n   cols: {columns}\n   dt: d\n   data: [ {data} ]"


def centre_from_zero(camera: Camera) -> list[float]:
    return [camera.fx, 0.0, camera.cx - 0.5, 0.0, camera.fy, camera.cy - 0.5, 0.0, 0.0, 1.0]


def opencv_yaml(camera: Camera, distortion_key: str = "distortion_coefficients") -> str:
    return (
        "%YAML:1.0\n---\n"
        'calibration_time: "Mon 07 Sep 2026 10:11:12"\n'
        f"image_width: {camera.width}\nimage_height: {camera.height}\nflags: 0\n"
        "fisheye_model: 0\n"
        f"camera_matrix: {opencv_matrix(3, centre_from_zero(camera))}\n"
        f"{distortion_key}: {opencv_matrix(5, list(camera.distortion))}\n"
        "avg_reprojection_error: 2.1e-01\n"
    )


def opencv_json(camera: Camera) -> str:
    def matrix(rows: int, numbers: list[float]) -> dict[str, object]:
        shape = {"rows": rows, "cols": len(numbers) // rows, "dt": "d"}
        return {"type_id": "opencv-matrix", **shape, "data": numbers}

    return json.dumps(
        {
            "image_width": camera.width,
            "image_height": camera.height,
            "camera_matrix": matrix(3, centre_from_zero(camera)),
            "distortion_coefficients": matrix(1, list(camera.distortion)),
        }
    )


def ros_yaml(camera: Camera, model: str = "plumb_bob") -> str:
    return (
        f"image_width: {camera.width}\nimage_height: {camera.height}\ncamera_name: head_camera\n"
        f"camera_matrix:\n  rows: 3\n  cols: 3\n  data: {centre_from_zero(camera)}\n"
        f"distortion_model: {model}\n"
        f"distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: {list(camera.distortion)}\n"
        "rectification_matrix:\n  rows: 3\n  cols: 3\n  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]\n"
        "projection_matrix:\n  rows: 3\n  cols: 4\n  data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]\n"
    )


def ros_message(camera: Camera) -> str:
    return (
        "header:\n  stamp:\n    sec: 3\n    nanosec: 5\n  frame_id: camera\n"
        f"height: {camera.height}\nwidth: {camera.width}\ndistortion_model: plumb_bob\n"
        f"d: {list(camera.distortion)}\nk: {centre_from_zero(camera)}\n---\n"
    )


def colmap_text(camera: Camera, model: str) -> str:
    k1, k2, p1, p2, _ = camera.distortion
    known = {"f": camera.fx, "fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    known |= {"k1": k1, "k2": k2, "p1": p1, "p2": p2}
    numbers = " ".join(repr(known[name]) for name in COLMAP_PARAMETERS[model].split())
    return (
        "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT, "
        f"PARAMS[]\n# Number of cameras: 1\n1 {model} {camera.width} {camera.height} {numbers}\n"
    )


def written(tmp_path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text)
    return path


def assert_same(camera: Camera, expected: Camera) -> None:
    np.testing.assert_allclose(camera.matrix, expected.matrix, rtol=1e-12)
    np.testing.assert_allclose(camera.distortion, expected.distortion, rtol=1e-12)
    assert (camera.width, camera.height) == (expected.width, expected.height)
    assert camera.source == expected.source


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


def test_rational_model_without_its_own_numbers_is_brown_conrady(tmp_path):
    text = ros_yaml(LENS, "rational_polynomial")
    text = text.replace(f"{list(LENS.distortion)}", f"{[*LENS.distortion, 0.0, 0.0, 0.0]}")
    assert_same(read_calibration(written(tmp_path, "ros.yaml", text)), LENS)
    text = text.replace(", 0.0, 0.0, 0.0]", ", 0.1, 0.0, 0.0]", 1)
    with pytest.raises(ValueError, match="at most 5 distortion numbers"):
        read_calibration(written(tmp_path, "ros.yaml", text))


def bomb() -> str:
    lines = ["a: &a [0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lines += [
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefg", "bcdefgK", strict=True)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ros.yaml", ros_yaml(LENS, "equidistant"), "plumb_bob.*'equidistant'"),
        ("ros.yaml", ros_yaml(LENS, "fisheye"), "plumb_bob.*'fisheye'"),
        ("cv.yml", opencv_yaml(LENS).replace("model: 0", "model: 1"), "'fisheye'"),
        ("cv.yml", opencv_yaml(LENS).replace("image_width", "w"), "add image_width"),
        ("cv.yml", opencv_yaml(LENS).replace("640", "-3"), "whole pixels"),
        ("cv.yml", opencv_yaml(LENS).replace("camera_matrix", "matrix"), "camera matrix under"),
        ("cv.yml", opencv_yaml(LENS).replace("e+02", "e+02, 1.0"), "camera matrix.*expected shape"),
        ("cv.yml", opencv_yaml(LENS).replace("[ 8", "[ .Nan, 8"), "camera matrix"),
        ("cv.yml", opencv_yaml(LENS)[:240], "YAML or JSON|camera matrix"),
        ("cv.xml", "<?xml version='1.0'?>", "XML is not read"),
        ("cv.yml", "just words", "named fields"),
        ("cv.yml", "", "named fields"),
        ("cv.yml", bomb(), "aliases"),
        ("cv.yml", "[" * 50_000, "deep nesting"),
        ("cv.yml", "x: !!timestamp never", "YAML or JSON"),
        ("cv.yml", "x: !!python/object/apply:os.getcwd []", "YAML or JSON"),
        ("own.json", '{"fx": 1, "fy": 1}', "expected the fields"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "focal": 3}), "expected the fields"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "fx": "wide"}), "fx, fy, cx, cy"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "fx": -1}), "positive focal lengths"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "source": "dream"}), "camera source"),
        ("own.json", '{"fx": ', "YAML or JSON"),
        ("own.json", '{"a":' * 50_000, "YAML or JSON"),
        ("cameras.txt", "# none\n", "one camera, got 0"),
        ("cameras.txt", colmap_text(RADIAL, "RADIAL") * 2, "one camera, got 2"),
        ("cameras.txt", "1 OPENCV_FISHEYE 9 9 1 2 3 4 5 6 7 8", "got 'OPENCV_FISHEYE'"),
        ("cameras.txt", "1 PINHOLE 9 9 1 2 3", "PINHOLE: expected the numbers"),
        ("cameras.txt", "1 PINHOLE 9 9 1 2 3 x", "PINHOLE: expected numbers"),
        ("cameras.txt", "1 PINHOLE", "CAMERA_ID MODEL"),
    ],
)
def test_errors_describe_the_problem(name, text, message, tmp_path):
    path = written(tmp_path, name, text)
    with pytest.raises(ValueError, match=f"(?s){name}.*({message})"):
        read_calibration(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_calibration(tmp_path / "none.yml")
    with pytest.raises(OSError, match="got a folder"):
        read_calibration(tmp_path)
    (tmp_path / "photo.yml").write_bytes(b"\xff\xd8\xff\xe0 photo")
    with pytest.raises(ValueError, match="binary data"):
        read_calibration(tmp_path / "photo.yml")
    (tmp_path / "long.yml").write_bytes(b"\0" * 1_000_001)
    with pytest.raises(ValueError, match="1,000,001 bytes"):
        read_calibration(tmp_path / "long.yml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cv.yml", opencv_yaml(LENS)),
        ("cv.json", opencv_json(LENS)),
        ("ros.yaml", ros_yaml(LENS)),
        ("cameras.txt", colmap_text(RADIAL, "RADIAL")),
        ("own.json", json.dumps(LENS.to_dict())),
    ],
)
def test_damaged_files_give_a_camera_or_a_plain_error(name, text, tmp_path):
    generator = np.random.default_rng(3)
    path = tmp_path / name
    fates = set()
    for _ in range(60):
        data = bytearray(text.encode())
        for at in generator.integers(0, len(data), 1 + generator.integers(3)):
            data[at] = generator.integers(32, 127)
        path.write_bytes(data[: int(generator.integers(1, 2 * len(data)))])
        try:
            fates.add(type(read_calibration(path)))
        except ValueError as error:
            fates.add(name in str(error))
    assert fates <= {Camera, True}
