"""Calibrations that are damaged, hostile or of another kind give plain errors."""

from __future__ import annotations

import io
import json
import time
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.calibration_files import (
    FISHEYE,
    LENS,
    PINHOLE,
    RADIAL,
    colmap_text,
    kalibr_yaml,
    opencv_json,
    opencv_xml,
    opencv_yaml,
    roi_text,
    ros_yaml,
    written,
)
from trg.geometry.camera import Camera
from trg.geometry.camera_source import SizelessCalibration
from trg.io.calibration import read_calibration


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
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
