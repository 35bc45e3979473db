"""Calibration files round-trip to the camera they were written from; errors are descriptive."""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trg.geometry.camera import Camera
from trg.geometry.camera_source import SizelessCalibration, resolve_camera
from trg.io.calibration import COLMAP_PARAMETERS, read_calibration

PINHOLE = Camera(812.5, 809.25, 331.0, 237.5, 640, 480)
LENS = Camera(812.5, 809.25, 331.0, 237.5, 640, 480, (-0.12, 0.08, 0.002, -0.003, 0.01))
FISHEYE = Camera(
    310.0, 305.5, 331.0, 237.5, 640, 480, (-0.01, 0.02, -0.01, 0.001), lens_model="fisheye"
)
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


def kalibr_yaml(camera: Camera, model: str, name: str = "cam0") -> str:
    return (
        f"{name}:\n  cam_overlaps: []\n  camera_model: pinhole\n"
        f"  distortion_coeffs: {list(camera.distortion[:4])}\n  distortion_model: {model}\n"
        f"  intrinsics: [{camera.fx}, {camera.fy}, {camera.cx - 0.5}, {camera.cy - 0.5}]\n"
        f"  resolution: [{camera.width}, {camera.height}]\n  rostopic: /cam0/image_raw\n"
    )


def opencv_xml(camera: Camera) -> str:
    def matrix(name: str, rows: int, numbers: list[float]) -> str:
        data = " ".join(f"{n:.16e}" for n in numbers)
        return (
            f'<{name} type_id="opencv-matrix"><rows>{rows}</rows><cols>{len(numbers) // rows}'
            f"</cols><dt>d</dt><data>\n {data}</data></{name}>\n"
        )

    return (
        '<?xml version="1.0"?>\n<opencv_storage>\n<calibration_Time>"now"</calibration_Time>\n'
        f"<image_Width>{camera.width}</image_Width>\n<image_Height>{camera.height}</image_Height>"
        + matrix("Camera_Matrix", 3, centre_from_zero(camera))
        + matrix("Distortion_Coefficients", 5, list(camera.distortion))
        + "</opencv_storage>\n"
    )


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


def roi_text(x: int, y: int, width: int, height: int, binning: int = 0) -> str:
    return (
        ros_message(LENS).removesuffix("---\n")
        + f"binning_x: {binning}\nbinning_y: {binning}\nroi:\n  x_offset: {x}\n  y_offset: {y}\n"
        f"  height: {height}\n  width: {width}\n  do_rectify: false\n"
    )


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


def test_hostile_files_below_the_size_limit_are_refused_quickly(tmp_path):
    bomb_npz = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb_npz, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mtx.npy", bytes(200_000_000))
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 9)}
    )
    claims_npz = tmp_path / "claims.npz"
    with zipfile.ZipFile(claims_npz, "w") as archive:
        archive.writestr("mtx.npy", huge.getvalue())
    laughs = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    hostile = [
        bomb_npz,
        claims_npz,
        written(tmp_path, "many.yml", "mtx: [" + "1," * 490_000 + "1]"),
        written(tmp_path, "names.yml", "".join(f"k{i}: {i}\n" for i in range(80_000))),
        written(tmp_path, "sixty.yml", "mtx: 1" + ":59" * 300_000),
        written(tmp_path, "digits.json", '{"mtx": ' + "9" * 900_000 + "}"),
        written(tmp_path, "laughs.xml", laughs),
    ]
    start_s = time.process_time()
    for path in hostile:
        with pytest.raises(ValueError, match=path.name):
            read_calibration(path)
    assert time.process_time() - start_s < 30.0  # one of these took a minute


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
SOUND = {
    "camera_matrix": [[500.0, 0.0, 319.5], [0.0, 500.0, 239.5], [0.0, 0.0, 1.0]],
    "dist": [0.1, 0.0, 0.0, 0.0, 0.0],
    "image_size": [640, 480],
    "distortion_model": "plumb_bob",
    "roi": {"x_offset": 0},
    "binning_x": 1,
    "fx": 500.0,
    "fy": 500.0,
    "cx": 320.0,
    "cy": 240.0,
    "width": 640,
    "height": 480,
    "distortion": [],
    "lens_model": "fisheye",
    "cam0": {"camera_model": "pinhole"},
}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    junk=st.dictionaries(st.sampled_from(sorted(SOUND)), JUNK, min_size=1),
    kept=st.sets(st.sampled_from(sorted(SOUND))),
)
def test_any_json_gives_a_camera_that_projects_or_a_plain_error(junk, kept, tmp_path):
    path = written(tmp_path, "junk.json", json.dumps({name: SOUND[name] for name in kept} | junk))
    try:
        camera = read_calibration(path)
    except ValueError as error:
        assert "junk.json" in str(error)  # noqa: PT017
    else:
        if isinstance(camera, Camera):
            camera.project(np.random.default_rng(0).normal(size=(20, 3)))
            assert 0.0 <= camera.blind_share <= 1.0


def bomb() -> str:
    lines = ["a: &a [0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lines += [
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefg", "bcdefgK", strict=True)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ros.yaml", ros_yaml(LENS, "equidistant"), "0 or 4 coefficients of the fisheye"),
        ("ros.yaml", ros_yaml(LENS, "fov"), "plumb_bob.*'fov'"),
        ("cv.yml", opencv_yaml(LENS).replace("model: 0", "model: 1"), "of the fisheye model"),
        ("cv.yml", opencv_yaml(LENS).replace("image_width", "columns"), "image size"),
        ("cv.yml", opencv_yaml(LENS).replace("640", "-3"), "whole pixels"),
        ("cv.yml", opencv_yaml(LENS).replace("camera_matrix", "numbers"), "camera matrix under"),
        ("cv.yml", opencv_yaml(LENS).replace("e+02", "e+02, 1.0"), "camera matrix.*expected shape"),
        ("cv.yml", opencv_yaml(LENS).replace("[ 8", "[ .Nan, 8"), "camera matrix"),
        ("cv.yml", opencv_yaml(LENS)[:240], "YAML, JSON or XML|camera matrix"),
        ("cv.xml", "<?xml version='1.0'?>", "YAML, JSON or XML, got no element"),
        ("cv.yml", "just words", "named fields"),
        ("cv.yml", "", "named fields"),
        ("cv.yml", bomb(), "aliases"),
        ("cv.yml", "[" * 50_000, "deep nesting"),
        ("cv.yml", "x: !!timestamp never", "camera matrix under"),
        ("cv.yml", "x: !!python/object/apply:os.getcwd []", "camera matrix under"),
        ("own.json", '{"fx": 1, "fy": 1}', "expected the fields"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "focal": 3}), "expected the fields"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "fx": "wide"}), "fx, fy, cx, cy"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "fx": -1}), "positive focal lengths"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "source": "dream"}), "camera source"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "focal_std_px": []}), "focal_std_px.*shape"),
        ("own.json", json.dumps({**PINHOLE.to_dict(), "focal_std_px": [1, 2]}), "focal_std_px"),
        ("own.json", '{"fx": ', "YAML, JSON or XML"),
        ("own.json", '{"a":' * 50_000, "YAML, JSON or XML"),
        ("cameras.txt", "# none\n", "one camera, got 0"),
        ("cameras.txt", colmap_text(RADIAL, "RADIAL") * 2, "one camera, got 2"),
        ("cameras.txt", "1 FOV 9 9 1 2 3 4 5", "got 'FOV'"),
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
        ("cv.xml", opencv_xml(LENS)),
        ("kalibr.yaml", kalibr_yaml(FISHEYE, "equidistant")),
        ("ros.yaml", roi_text(10, 20, 320, 240)),
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
    assert fates <= {Camera, SizelessCalibration, True}
